//! A moment in time.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Seconds since the Unix epoch, UTC; years 0 to 9999.
///
/// Shown and serialised as RFC 3339 with a `Z`: `2026-11-22T08:15:43Z`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Utc(i64);

impl Utc {
    /// The first second of the year 0 and the last of 9999: what RFC 3339 can say.
    const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

    /// A day in seconds.
    pub const DAY: i64 = 86_400;

    /// Takes seconds since the Unix epoch, clamped to the years 0 to 9999.
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(*Self::RANGE.start(), *Self::RANGE.end()))
    }

    /// Seconds since the Unix epoch.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339, with any offset; fractions of a second are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text.trim(), &Rfc3339)
            .ok()
            .map(|at| Self::from_unix(at.unix_timestamp()))
    }

    /// When a certificate that is made at this time begins: five minutes earlier, as kubeadm's, so that clocks may differ
    /// (client-go, util/cert, `CertificateBackdate`).
    #[must_use]
    pub fn backdated(self) -> Self {
        self.plus(-300)
    }

    /// This moment, `seconds` later (or earlier, if negative).
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this moment; negative if `earlier` is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// For file names that sort: `20261122T081543Z`.
    pub fn compact(self) -> String {
        let t = self.calendar();
        format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }

    /// As the kubelet names its credentials: `2026-11-22-08-15-43`
    /// (client-go `util/certificate/certificate_store.go`).
    pub fn kubelet_stamp(self) -> String {
        let t = self.calendar();
        format!(
            "{:04}-{:02}-{:02}-{:02}-{:02}-{:02}",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }

    /// The date alone: `2026-11-22`.
    pub fn date(self) -> String {
        self.to_string()[..10].to_owned()
    }

    /// The same moment as the `time` crate's type, which rcgen takes.
    pub fn calendar(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.calendar();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Utc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not RFC 3339")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        let at = Utc::parse("2026-11-22T09:15:43.9+01:00").unwrap();
        assert_eq!(at.to_string(), "2026-11-22T08:15:43Z");
        assert_eq!(at.compact(), "20261122T081543Z");
        assert_eq!(at.kubelet_stamp(), "2026-11-22-08-15-43");
        assert_eq!(Utc::parse("yesterday"), None);
    }

    #[test]
    fn stays_inside_the_years_it_can_print() {
        assert_eq!(Utc::from_unix(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(
            Utc::from_unix(i64::MIN).plus(-1).to_string(),
            "0000-01-01T00:00:00Z"
        );
    }
}
