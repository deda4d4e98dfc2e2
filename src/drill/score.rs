//! The score sheet of a guided drill: what was chosen, whether that was right, and what would have been.
//!
//! Pure: what a choice did to the throw-away node is told by whoever carried it out, and only judged here.

use serde::Serialize;

use crate::drill::Scenario;
use crate::pki::utc::Utc;

/// A way out that a trainee may choose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Issue what is due with the CAs that are here.
    Renew,
    /// Renew the CAs with their own keys, and then what they signed.
    RenewAuthority,
    /// Have certificates signed where the CA's key is.
    Request,
    /// Put the files back as they are in the backup.
    Restore,
    /// Give the cluster CAs with other keys.
    Rotate,
    /// Set the node's clock right.
    SetClock,
}

/// What a choice was worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The way out, or the next step of it.
    Right,
    /// It worked, and cost more than was needed.
    TooMuch,
    /// It did not bring the node nearer to its rescue.
    Wrong,
}

/// What a trainee did once, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The choice.
    pub remedy: Remedy,
    /// How often the trainee had looked at the node before.
    pub looks: usize,
    /// Whether everything could be verified afterwards.
    pub recovered: bool,
}

/// A choice, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// The choice.
    pub remedy: Remedy,
    /// What it was worth.
    pub grade: Grade,
    /// Why, as a sentence fragment.
    pub why: &'static str,
}

/// An exercise, as it went.
#[derive(Clone, Debug)]
pub struct Exercise {
    /// What was broken, by name.
    pub scenario: Scenario,
    /// What was broken, one line each.
    pub broken: Vec<String>,
    /// What the trainee looked with, in order.
    pub looked: Vec<String>,
    /// What the trainee did, in order.
    pub taken: Vec<Taken>,
    /// When it began.
    pub at: Utc,
    /// Seconds from the situation to the end.
    pub seconds: u64,
}

/// The score sheet; as JSON, `rescue-kit/score/v1`.
#[derive(Clone, Debug, Serialize)]
pub struct Sheet {
    /// The form of this object.
    pub schema: &'static str,
    /// When the exercise began.
    pub at: Utc,
    /// What was broken, by name.
    pub scenario: &'static str,
    /// What was broken, one line each.
    pub broken: Vec<String>,
    /// What the trainee looked with.
    pub looked: Vec<String>,
    /// What the trainee chose.
    pub chosen: Vec<Judged>,
    /// What would have been right, in order.
    pub right: &'static [Remedy],
    /// Whether the node was rescued.
    pub recovered: bool,
    /// Seconds from the situation to the end.
    pub seconds: u64,
    /// Of [`Sheet::of`].
    pub points: u32,
    /// How many there are.
    pub of: u32,
}

/// For the first choice: all of them if it was right, half if it was too much.
const FIRST: u32 = 40;

/// For the rescue.
const RESCUE: u32 = 30;

/// For looking before the first choice.
const LOOK: u32 = 20;

/// For a rescue within [`SWIFT`].
const TIME: u32 = 10;

/// What a wrong choice costs, each.
const MISTAKE: u32 = 10;

/// A quarter of an hour, in seconds.
const SWIFT: u64 = 15 * 60;

impl Remedy {
    /// All of them, the most common first.
    pub const ALL: [Self; 6] = [
        Self::Renew,
        Self::RenewAuthority,
        Self::Request,
        Self::Restore,
        Self::Rotate,
        Self::SetClock,
    ];

    /// What it does, and with which command.
    pub fn label(self) -> &'static str {
        match self {
            Self::Renew => "renew what is due with the CAs that are here: run",
            Self::RenewAuthority => {
                "renew the CAs with their own keys, and the rest: run --ca renew"
            },
            Self::Request => {
                "have it signed where the CA's key is kept: csr generate, sign, install"
            },
            Self::Restore => "put back yesterday's backup: backup restore",
            Self::Rotate => "give the cluster CAs with other keys: ca rotate",
            Self::SetClock => "set the node's clock by your own: date",
        }
    }
}

/// The way out of a scenario, step by step.
pub fn right(scenario: Scenario) -> &'static [Remedy] {
    match scenario {
        Scenario::CaExpired => &[Remedy::RenewAuthority],
        Scenario::CaKeyMissing => &[Remedy::Request],
        Scenario::ClockWrong => &[Remedy::SetClock, Remedy::Renew],
        Scenario::ForeignCa => &[Remedy::Restore, Remedy::Renew],
        Scenario::KubeletOnly
        | Scenario::LeavesExpired
        | Scenario::MismatchedPair
        | Scenario::MissingLeaf
        | Scenario::Truncated
        | Scenario::WrongSan => &[Remedy::Renew],
    }
}

/// Judges an exercise.
pub fn sheet(exercise: &Exercise) -> Sheet {
    let chosen = judged(exercise);
    let recovered = exercise.taken.iter().any(|taken| taken.recovered);
    Sheet {
        schema: "rescue-kit/score/v1",
        at: exercise.at,
        scenario: exercise.scenario.name(),
        broken: exercise.broken.clone(),
        looked: exercise.looked.clone(),
        right: right(exercise.scenario),
        recovered,
        seconds: exercise.seconds,
        points: points(exercise, &chosen, recovered),
        of: FIRST + RESCUE + LOOK + TIME,
        chosen,
    }
}

/// Follows the way out: each choice is measured by the step of it that was due.
fn judged(exercise: &Exercise) -> Vec<Judged> {
    let mut due = right(exercise.scenario).iter();
    let mut next = due.next();
    let judge = |taken: &Taken| {
        let remedy = taken.remedy;
        let grade = match next {
            Some(right) if *right == remedy => Grade::Right,
            _ if taken.recovered => Grade::TooMuch,
            _ => Grade::Wrong,
        };
        if grade == Grade::Right {
            next = due.next();
        }
        Judged {
            remedy,
            grade,
            why: why(exercise.scenario, remedy, grade),
        }
    };
    exercise.taken.iter().map(judge).collect()
}

fn points(exercise: &Exercise, chosen: &[Judged], recovered: bool) -> u32 {
    let first = match chosen.first().map(|judged| judged.grade) {
        Some(Grade::Right) => FIRST,
        Some(Grade::TooMuch) => FIRST / 2,
        Some(Grade::Wrong) | None => 0,
    };
    let looked = exercise.taken.first().is_some_and(|taken| taken.looks > 0);
    let earned = first
        + if recovered { RESCUE } else { 0 }
        + if looked { LOOK } else { 0 }
        + if recovered && exercise.seconds <= SWIFT {
            TIME
        } else {
            0
        };
    let wrong = chosen.iter().filter(|judged| judged.grade == Grade::Wrong);
    let lost = wrong.map(|_| MISTAKE).sum();
    earned.saturating_sub(lost)
}

fn why(scenario: Scenario, remedy: Remedy, grade: Grade) -> &'static str {
    match grade {
        Grade::Right => why_right(remedy),
        Grade::TooMuch => why_too_much(remedy),
        Grade::Wrong => why_wrong(scenario, remedy),
    }
}

fn why_right(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Renew => {
            "the CAs are well and their keys are here: what is due is issued anew, all at once"
        },
        Remedy::RenewAuthority => {
            "with its own key a CA gets a later end, and everything that trusts it goes on trusting it"
        },
        Remedy::Request => {
            "the CA's key stays where it is kept, and only requests and certificates travel"
        },
        Remedy::Restore => {
            "only the CA's certificate was changed, and a copy of that brings it back; what has expired is renewed next"
        },
        Remedy::Rotate => "everybody gets the new CA",
        Remedy::SetClock => {
            "what is dated by a wrong clock is the next outage; with the right time the rest can be renewed"
        },
    }
}

fn why_too_much(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Renew | Remedy::RenewAuthority => {
            "it worked, and no CA was due: `run` alone does the same"
        },
        Remedy::Request => "it worked, and took keys to be carried about that were here already",
        Remedy::Restore | Remedy::SetClock => "it worked, and was not needed",
        Remedy::Rotate => {
            "it worked here, and now every other node, kubeconfig and pod needs the new CA, which nothing asked for"
        },
    }
}

fn why_wrong(scenario: Scenario, remedy: Remedy) -> &'static str {
    match (scenario, remedy) {
        (_, Remedy::SetClock) => "the clock was right, and what has expired stays expired",
        (_, Remedy::Restore) => "what has expired is just as expired in every backup",
        (Scenario::ClockWrong, _) => {
            "new certificates would get the dates of a clock that is wrong, which is the next outage"
        },
        (_, Remedy::Rotate) => {
            "what is broken here is not mended by a CA with another key, which everybody would have to get"
        },
        (Scenario::CaExpired, Remedy::Renew | Remedy::Request) => {
            "whatever a CA signs that has expired is refused by everybody"
        },
        (Scenario::CaKeyMissing, _) => {
            "nothing can be signed here: the CA's key is not on this node"
        },
        (Scenario::ForeignCa, _) => {
            "the certificate in ca.crt belongs to another key and another cluster: nobody here trusts what it stands for"
        },
        _ => "the node was no nearer to its rescue",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exercise(scenario: Scenario, taken: &[(Remedy, bool)], looks: usize) -> Exercise {
        let taken = taken.iter().map(|(remedy, recovered)| Taken {
            remedy: *remedy,
            looks,
            recovered: *recovered,
        });
        Exercise {
            scenario,
            broken: vec!["something".to_owned()],
            looked: vec!["inspect".to_owned(); looks],
            taken: taken.collect(),
            at: Utc::from_unix(0),
            seconds: 60,
        }
    }

    fn grades(sheet: &Sheet) -> Vec<Grade> {
        sheet.chosen.iter().map(|judged| judged.grade).collect()
    }

    #[test]
    fn who_looks_and_then_does_what_is_right_has_all_points() {
        for scenario in Scenario::ALL {
            let steps = right(scenario);
            let last = steps.len() - 1;
            let taken: Vec<(Remedy, bool)> = steps
                .iter()
                .enumerate()
                .map(|(index, remedy)| (*remedy, index == last))
                .collect();
            let sheet = sheet(&exercise(scenario, &taken, 1));
            assert_eq!((sheet.points, sheet.of), (100, 100), "{scenario}");
            assert!(grades(&sheet).iter().all(|grade| *grade == Grade::Right));
        }
    }

    #[test]
    fn a_wrong_choice_costs_and_the_right_one_after_it_still_counts() {
        let taken = [(Remedy::Renew, false), (Remedy::RenewAuthority, true)];
        let sheet = sheet(&exercise(Scenario::CaExpired, &taken, 2));
        assert_eq!(grades(&sheet), [Grade::Wrong, Grade::Right]);
        assert!(sheet.chosen[0].why.contains("refused by everybody"));
        assert_eq!(sheet.points, RESCUE + LOOK + TIME - MISTAKE);
    }

    #[test]
    fn what_works_and_was_not_needed_is_half_right() {
        let taken = [(Remedy::Rotate, true)];
        let sheet = sheet(&exercise(Scenario::LeavesExpired, &taken, 0));
        assert_eq!(grades(&sheet), [Grade::TooMuch]);
        assert_eq!(sheet.points, FIRST / 2 + RESCUE + TIME);
    }

    #[test]
    fn the_second_step_is_only_right_after_the_first() {
        let taken = [
            (Remedy::Renew, false),
            (Remedy::SetClock, false),
            (Remedy::Renew, true),
        ];
        let sheet = sheet(&exercise(Scenario::ClockWrong, &taken, 1));
        assert_eq!(grades(&sheet), [Grade::Wrong, Grade::Right, Grade::Right]);
    }

    #[test]
    fn whoever_gives_up_has_what_was_earned_and_never_less_than_nothing() {
        let wrong = [(Remedy::Restore, false); 5];
        assert_eq!(sheet(&exercise(Scenario::CaExpired, &wrong, 1)).points, 0);
        assert_eq!(sheet(&exercise(Scenario::CaExpired, &[], 3)).points, 0);
        let mut slow = exercise(Scenario::KubeletOnly, &[(Remedy::Renew, true)], 0);
        slow.seconds = SWIFT + 1;
        assert_eq!(sheet(&slow).points, FIRST + RESCUE);
    }

    #[test]
    fn every_choice_says_why_and_fits_a_menu() {
        for remedy in Remedy::ALL {
            assert!(remedy.label().chars().count() <= 74, "{}", remedy.label());
            for grade in [Grade::Right, Grade::TooMuch, Grade::Wrong] {
                for scenario in Scenario::ALL {
                    assert!(why(scenario, remedy, grade).len() > 15);
                }
            }
        }
    }
}
