//! The clock gate: certificates must not be issued by a clock that cannot be right.

use crate::inventory::{ClockFacts, Witness};
use crate::pki::utc::Utc;

/// How far a clock may lie behind a witness: clocks of two machines are never the same.
const SLACK: i64 = 300;

/// How far a clock may lie ahead of every witness before somebody must say that it is true.
const AHEAD: i64 = 4 * 365 * Utc::DAY;

impl ClockFacts {
    /// Judges whether certificates may be dated by `at`.
    ///
    /// # Errors
    ///
    /// The reason, as one sentence without full stop: a witness of a later time, years without any witness, a stated time
    /// that the live system's clock (then `hardware` or `system` bears witness) does not share.
    pub fn judge(&self, at: Utc) -> Result<(), String> {
        // A certificate may have been dated by somebody else's wrong clock, so a stated time outranks it; a file that
        // this very system wrote outranks the statement.
        let binding = |witness: &&Witness| !witness.certificate || self.stated.is_none();
        if let Some(witness) = self.witnesses.iter().find(binding)
            && witness.at.since(at) > SLACK
        {
            return Err(format!(
                "the time is {at}, but the {} is {}: the clock is behind",
                witness.source, witness.at
            ));
        }
        if let Some(hardware) = self.hardware
            && self.stated.is_none()
            && hardware.since(at).abs() > Utc::DAY
        {
            return Err(format!(
                "the system says {at}, but the hardware clock says {hardware}"
            ));
        }
        match self.witnesses.first() {
            Some(witness) if self.stated.is_none() && at.since(witness.at) > AHEAD => Err(format!(
                "the time is {at}, more than 4 years after the latest trace of life ({}, {})",
                witness.source, witness.at
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(witness: &str, stated: Option<&str>) -> ClockFacts {
        ClockFacts {
            system: Utc::from_unix(0),
            stated: stated.and_then(Utc::parse),
            witnesses: vec![Witness {
                at: Utc::parse(witness).unwrap(),
                source: "w".to_owned(),
                certificate: false,
            }],
            hardware: None,
        }
    }

    #[test]
    fn a_clock_behind_a_witness_is_refused_even_if_stated() {
        let at = Utc::parse("2026-01-01T00:00:00Z").unwrap();
        assert!(clock("2026-06-01T00:00:00Z", None).judge(at).is_err());
        assert!(
            clock("2026-06-01T00:00:00Z", Some("2026-01-01T00:00:00Z"))
                .judge(at)
                .is_err()
        );
        assert!(clock("2026-01-01T00:04:00Z", None).judge(at).is_ok());
    }

    #[test]
    fn a_clock_years_ahead_needs_to_be_stated() {
        let at = Utc::parse("2036-01-01T00:00:00Z").unwrap();
        assert!(clock("2026-06-01T00:00:00Z", None).judge(at).is_err());
        assert!(
            clock("2026-06-01T00:00:00Z", Some("2036-01-01T00:00:00Z"))
                .judge(at)
                .is_ok()
        );
    }
}
