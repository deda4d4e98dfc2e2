//! Exit codes: a contract. Each says whether anything was changed.

/// How the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// A bug; the last line on stderr says whether anything was changed.
    Bug,
    /// The command line is wrong; nothing was changed.
    Usage,
    /// Something needs attention; nothing was changed.
    Attention,
    /// The operator said no; nothing was changed.
    Declined,
    /// Refused before any change.
    Refused,
    /// Failed, and everything is as it was.
    RolledBack,
    /// Failed, and a person is needed.
    Stuck,
    /// A signal; the journal says where the run stands.
    Signal(i32),
}

impl Exit {
    /// The number that the process returns.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Attention => 3,
            Self::Declined => 4,
            Self::Refused => 5,
            Self::RolledBack => 6,
            Self::Stuck => 7,
            // As shells count signals.
            Self::Signal(signal) => 128u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        }
    }
}
