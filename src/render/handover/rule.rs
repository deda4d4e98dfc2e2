//! The rules on certificates: when each fires, what it says, and what it says of a given certificate at a given time.

use crate::handover::End;
use crate::pki::utc::Utc;

/// A rule on CAs or on leaves.
pub(super) struct Rule {
    /// The alert's name.
    pub(super) alert: &'static str,
    /// Its severity.
    pub(super) severity: &'static str,
    /// It is about CAs.
    pub(super) is_ca: bool,
    /// It fires with less than this left; without it, once the certificate has expired.
    pub(super) before: Option<Span>,
    /// It fires no more with less than this left: another does.
    pub(super) until: Option<Span>,
    /// What there is to do.
    pub(super) description: &'static str,
}

/// Days, or a part of the certificate's life if that is shorter.
#[derive(Clone, Copy)]
pub(super) struct Span {
    days: i64,
    part: i64,
}

const LATE_CA: Span = Span { days: 30, part: 50 };
const EARLY_CA: Span = Span {
    days: 180,
    part: 10,
};
const LATE: Span = Span { days: 7, part: 50 };
const EARLY: Span = Span { days: 30, part: 10 };

/// All rules: CAs first, the worst first.
pub(super) const RULES: [Rule; 6] = [
    Rule {
        alert: "RescueKitCaExpired",
        severity: "critical",
        is_ca: true,
        before: None,
        until: None,
        description: "rescue-kit explain RK0101; then rescue-kit run --ca renew",
    },
    Rule {
        alert: "RescueKitCaEnds",
        severity: "critical",
        is_ca: true,
        before: Some(LATE_CA),
        until: None,
        description: "rescue-kit explain RK0102; then rescue-kit ca renew",
    },
    Rule {
        alert: "RescueKitCaEndsSoon",
        severity: "warning",
        is_ca: true,
        before: Some(EARLY_CA),
        until: Some(LATE_CA),
        description: "rescue-kit explain RK0102; then rescue-kit ca renew",
    },
    Rule {
        alert: "RescueKitCertificateExpired",
        severity: "critical",
        is_ca: false,
        before: None,
        until: None,
        description: "rescue-kit explain RK0201; then rescue-kit run",
    },
    Rule {
        alert: "RescueKitCertificateEnds",
        severity: "critical",
        is_ca: false,
        before: Some(LATE),
        until: None,
        description: "rescue-kit explain RK0202; then rescue-kit run",
    },
    Rule {
        alert: "RescueKitCertificateEndsSoon",
        severity: "warning",
        is_ca: false,
        before: Some(EARLY),
        until: Some(LATE),
        description: "rescue-kit explain RK0202; then rescue-kit run",
    },
];

impl Span {
    fn promql(self) -> String {
        let Self { days, part } = self;
        format!("clamp_max(rescue_kit:certificate_life:seconds / {part}, {days} * 86400)")
    }

    /// Whether `left` seconds of a life are less than this.
    fn exceeds(self, left: i64, life: i64) -> bool {
        left < self.days * Utc::DAY && left.saturating_mul(self.part) < life
    }

    /// It in seconds, rounded up.
    pub(super) fn seconds(self, life: i64) -> i64 {
        let part = life
            .max(0)
            .unsigned_abs()
            .div_ceil(self.part.unsigned_abs());
        i64::try_from(part).map_or(0, |part| part.min(self.days * Utc::DAY))
    }
}

impl Rule {
    /// When it fires, in Prometheus' language. The value is what is left, in seconds.
    pub(super) fn promql(&self) -> String {
        let sign = if self.is_ca { "=" } else { "!=" };
        let left = format!("rescue_kit:certificate_left:seconds{{kind{sign}\"ca\"}}");
        match (self.before, self.until) {
            (None, _) => format!("{left} < 0"),
            (Some(before), None) => format!("({left} >= 0) < {}", before.promql()),
            (Some(before), Some(until)) => {
                format!("({left} >= {}) < {}", until.promql(), before.promql())
            },
        }
    }

    /// How long before the end of a certificate it begins to fire, in seconds.
    pub(super) fn seconds_before(&self, end: &End) -> i64 {
        self.before.map_or(0, |span| span.seconds(end.life()))
    }

    /// Whether it fires on a certificate of which `left` seconds are left.
    pub(super) fn fires(&self, end: &End, left: i64) -> bool {
        let below = |span: Span| span.exceeds(left, end.life());
        let begun = self.before.map_or(left < 0, below);
        let over = self.before.is_some() && self.until.map_or(left < 0, below);
        end.is_ca() == self.is_ca && begun && !over
    }

    /// What it says, with Prometheus' own holes.
    pub(super) fn summary(&self) -> String {
        self.sentence(
            "{{ $labels.id }}",
            "{{ $labels.instance }}",
            "{{ $value | humanizeDuration }}",
        )
    }

    /// What it says of `id`.
    pub(super) fn sentence(&self, id: &str, instance: &str, left: &str) -> String {
        let what = if self.is_ca { "CA " } else { "" };
        match self.before {
            None => format!("{what}{id} of {instance} has expired"),
            Some(_) => format!("{what}{id} of {instance} ends in {left}"),
        }
    }
}

/// A duration as Prometheus' `humanizeDuration` writes it; one second at least.
pub(super) fn humanized(seconds: i64) -> String {
    let (days, rest) = (seconds / Utc::DAY, seconds % Utc::DAY);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, ..) => format!("{hours}h {minutes}m {seconds}s"),
        _ => format!("{days}d {hours}h {minutes}m {seconds}s"),
    }
}
