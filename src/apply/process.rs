//! Steps that do something to processes: intent, act, outcome, as with files.

use crate::apply::{ApplyError, Event, Hands, fail};
use crate::converge::ConvergeError;
use crate::journal::{self, Body, Converged, Evidence, Way};
use crate::place::Observed;
use crate::plan::step::Act;
use crate::run::Run;

/// Stops a unit for a while, or starts it again.
pub(super) fn hold(run: &mut Run, hands: &Hands, id: &str, way: Way) -> Result<(), ApplyError> {
    let lost = || ApplyError::Missing(format!("step {id}"));
    let step = run.plan.hold(id).cloned().ok_or_else(lost)?;
    let actor = hands.actor.ok_or_else(lost)?;
    let what = if way == Way::Forward {
        "hold"
    } else {
        "release"
    };
    begin(run, hands, id, way, (&step.who, what, 1))?;
    let acted = actor.hold(&step, way);
    end(run, hands, id, way, &step.who, acted)
}

/// Does a converge step, or makes its consumer use the old files again.
pub(super) fn converge(run: &mut Run, hands: &Hands, id: &str, way: Way) -> Result<(), ApplyError> {
    let lost = || ApplyError::Missing(format!("step {id}"));
    let step = run.plan.converge(id).cloned().ok_or_else(lost)?;
    let actor = hands.actor.ok_or_else(lost)?;
    let holds = &run.plan.phases.hold;
    let held = holds
        .iter()
        .any(|hold| journal::is_held(&run.plan, run.records(), &hold.id));
    let what = match (&step.act, way) {
        (_, Way::Back) | (Act::Restart, _) => "restart",
        (Act::Prove(_), _) => "prove",
        (Act::Publish { .. }, _) => "publish",
        (Act::Settle | Act::Nodes(_), _) => "watch",
        (Act::SetAside, _) => "hold",
        (Act::PutBack, _) => "release",
        (Act::Start, _) => "start",
        (Act::Stop, _) => "stop",
    };
    begin(
        run,
        hands,
        id,
        way,
        (&step.who, what, step.act.usual_seconds()),
    )?;
    let acted = actor.act(&step, way, held);
    end(run, hands, id, way, &step.who, acted)
}

fn begin(
    run: &mut Run,
    hands: &Hands,
    id: &str,
    way: Way,
    (who, what, usual): (&str, &'static str, u32),
) -> Result<(), ApplyError> {
    run.append(Body::Intent {
        step: id.to_owned(),
        way,
        before: Observed::Absent,
        temp: String::new(),
    })?;
    fail::point("intent", id, way)?;
    let who = who.to_owned();
    (hands.tell)(Event::Converging { who, what, usual });
    Ok(())
}

fn end(
    run: &mut Run,
    hands: &Hands,
    id: &str,
    way: Way,
    who: &str,
    acted: Result<Converged, ConvergeError>,
) -> Result<(), ApplyError> {
    let acted = acted.and_then(|done| injected(id, way).map(|()| done));
    let step = id.to_owned();
    match acted {
        Ok(done) => {
            (hands.tell)(Event::Converged {
                who: who.to_owned(),
                seen: done.seen.last().cloned().unwrap_or_default(),
                took_ms: done.took_ms,
            });
            let result = Ok(Evidence::Converged(Box::new(done)));
            run.append(Body::Outcome { step, way, result })?;
            fail::point("outcome", id, way)
        },
        Err(ConvergeError::Interrupted(signal)) => Err(ApplyError::Interrupted(signal)),
        Err(error) => {
            let result = Err(error.to_string());
            run.append(Body::Outcome { step, way, result })?;
            Err(ApplyError::Converge(error))
        },
    }
}

/// The tests' failure after an act, as if the process had not come back.
fn injected(id: &str, way: Way) -> Result<(), ConvergeError> {
    fail::point("act", id, way).map_err(|error| ConvergeError::Control {
        what: "finish",
        who: id.to_owned(),
        why: error.to_string(),
    })
}
