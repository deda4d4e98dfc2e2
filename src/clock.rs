//! Clocks: the system's, the hardware's, and one that only goes forward.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::pki::utc::Utc;
use crate::place::{Blob, Observed, Place};
use crate::store::Disk;

/// Where the kernel shows the hardware clock, in seconds since the Unix epoch (`rtc(4)`).
const RTC: &str = "/sys/class/rtc/rtc0/since_epoch";

/// Asks the system for the time. It may be wrong: the plan's clock gate judges it.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the system's clock is asked"
)]
pub fn system_now() -> Utc {
    let seconds = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    Utc::from_unix(seconds)
}

/// Nanoseconds from 1970 to the kernel's monotonic zero: turns systemd's monotonic stamps into times.
pub fn boot_ns() -> i64 {
    use rustix::time::{ClockId, clock_gettime};
    let of = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    of(ClockId::Realtime) - of(ClockId::Monotonic)
}

/// The system's clock in nanoseconds since 1970.
pub fn now_ns() -> i64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Asks again and again until there is an answer or the deadline has passed; it is asked at least once.
pub fn wait_for<T>(
    deadline: Instant,
    every: Duration,
    mut question: impl FnMut() -> Option<T>,
) -> Option<T> {
    loop {
        if let Some(answer) = question() {
            return Some(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(every.min(left));
    }
}

/// Reads the hardware clock, taken as UTC. `None` without one, and on a root that is not this host's.
pub fn rtc(disk: &Disk) -> Option<Utc> {
    if !disk.is_live() {
        return None;
    }
    match disk.read(&Place::File(PathBuf::from(RTC))) {
        Ok(Observed::Present((_, Blob::File(text)))) => seconds(&text),
        _ => None,
    }
}

/// Measures time from its start, unmoved by changes of the system's clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn seconds(text: &[u8]) -> Option<Utc> {
    str::from_utf8(text)
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Utc::from_unix)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_system_knows_a_time_after_this_was_written() {
        assert!(system_now() > Utc::parse("2025-01-01T00:00:00Z").unwrap());
        let watch = Stopwatch::start();
        assert!(watch.millis() <= watch.millis());
    }

    #[test]
    fn reads_the_hardware_clock_of_this_host_only() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/class/rtc/rtc0")).unwrap();
        fs::write(
            root.path().join("sys/class/rtc/rtc0/since_epoch"),
            "1763800000\n",
        )
        .unwrap();
        assert_eq!(rtc(&Disk::open(root.path()).unwrap()), None);
        assert_eq!(
            seconds(b"1763800000\n"),
            Some(Utc::from_unix(1_763_800_000))
        );
        assert_eq!(seconds(b"soon"), None);
    }
}
