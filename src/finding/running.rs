//! Findings about what runs: obstacles, processes that use what was there before, components that are not well.

use crate::finding::{Code, Finding, Severity, finding};
use crate::inventory::Inventory;
use crate::live::{Live, Obstacle, ObstacleKind, Outcome};
use crate::place::Observed;
use crate::profile::Profile;
use crate::stale;

impl Finding {
    /// What keeps a node from coming back, as a finding.
    pub fn of_obstacle(obstacle: &Obstacle) -> Self {
        let code = match obstacle.kind {
            ObstacleKind::Disk => Code::Disk,
            ObstacleKind::Systemd => Code::Systemd,
            ObstacleKind::Runtime => Code::Runtime,
            ObstacleKind::Manifest => Code::Manifest,
            ObstacleKind::Image => Code::Image,
            ObstacleKind::Mount => Code::Mount,
            ObstacleKind::Etcd => Code::Etcd,
            ObstacleKind::StartLimit => Code::StartLimit,
            ObstacleKind::Unit => Code::Unit,
            ObstacleKind::Rival => Code::Rival,
            ObstacleKind::Signer => Code::Signer,
        };
        let severity = if obstacle.kind.forbids_restart() {
            Severity::Critical
        } else {
            Severity::Warning
        };
        Self {
            code,
            severity,
            subject: obstacle.subject.clone(),
            text: obstacle.text.clone(),
            hint: obstacle.hint.clone(),
        }
    }
}

/// What runs and should not be as it is.
pub(super) fn findings(live: &Live, inventory: &Inventory, profile: &Profile) -> Vec<Finding> {
    let mut all = Vec::new();
    let mend = "rescue-kit run restarts what has to be restarted, in order";
    for consumer in &profile.consumer {
        let running = live.consumer(&consumer.id);
        if let Some(running) = running.filter(|running| running.identity == Observed::Absent) {
            let text = format!("{} does not run: {}", consumer.id, running.state);
            all.push(finding(
                Code::Unwell,
                Severity::Critical,
                &consumer.id,
                text,
                mend,
            ));
        }
        if let Some(id) = stale::outdated(consumer, inventory) {
            let text = format!(
                "{} was renewed, {} was not restarted and still uses the old one",
                id, consumer.id
            );
            all.push(finding(
                Code::NotRestarted,
                Severity::Warning,
                &consumer.id,
                text,
                mend,
            ));
        }
        if stale::manifest_changed(consumer, profile, inventory) {
            let text = format!(
                "the manifest of {} was changed, and the pod still runs as it was before",
                consumer.id
            );
            all.push(finding(
                Code::NotRestarted,
                Severity::Warning,
                &consumer.id,
                text,
                mend,
            ));
        }
        if let Some(id) = stale::unserved(consumer, inventory, live) {
            let text = format!(
                "{} serves another certificate than the one in {id}'s file",
                consumer.id
            );
            all.push(finding(
                Code::NotServed,
                Severity::Warning,
                &consumer.id,
                text,
                mend,
            ));
        }
    }
    for check in &live.health {
        if let Outcome::Fail(why) = &check.outcome {
            let text = format!("{} of {}: {why}", check.name, check.subject);
            let hint = "rescue-kit verify -v";
            all.push(finding(
                Code::Unwell,
                Severity::Warning,
                &check.subject,
                text,
                hint,
            ));
        }
    }
    for member in &live.members {
        if let (false, Outcome::Fail(why)) = (member.here, &member.state) {
            let text = format!("etcd member {} {why}", member.name);
            let hint = "rescue that node too: rescue-kit inspect there";
            all.push(finding(
                Code::Peer,
                Severity::Warning,
                &member.name,
                text,
                hint,
            ));
        }
    }
    for other in &live.others {
        let text = format!("{} uses {}", other.name, other.mounts.join(", "));
        let hint = "it may have to be restarted after a renewal";
        all.push(finding(
            Code::OtherConsumer,
            Severity::Info,
            &other.name,
            text,
            hint,
        ));
    }
    all
}
