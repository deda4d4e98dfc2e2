//! A TCP connection with one deadline for all that is done over it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::Error;

use super::{TlsError, rustls_error};

/// A connection. No call on it lasts longer than what is left of its time; then it fails with [`ErrorKind::TimedOut`].
pub(crate) struct Wire {
    at: SocketAddr,
    stream: TcpStream,
    within: Duration,
    deadline: Instant,
}

impl Wire {
    /// Connects; `within` is for this and everything after it, and at most a day.
    pub(crate) fn open(at: SocketAddr, within: Duration) -> Result<Self, TlsError> {
        let within = within.min(Duration::from_secs(24 * 3600));
        let deadline = Instant::now() + within;
        // The system knows no timeout of zero.
        let stream = TcpStream::connect_timeout(&at, within.max(Duration::from_millis(1)));
        let stream = stream.map_err(|source| match source.kind() {
            ErrorKind::ConnectionRefused => TlsError::Refused { at },
            ErrorKind::TimedOut | ErrorKind::WouldBlock => TlsError::TimedOut { at, within },
            _ => TlsError::Unreachable { at, source },
        })?;
        // Requests are small and waited for; without it works too, more slowly.
        stream.set_nodelay(true).unwrap_or_default();
        Ok(Self {
            at,
            stream,
            within,
            deadline,
        })
    }

    /// Why a handshake over this connection failed.
    pub(crate) fn explain(&self, error: io::Error) -> TlsError {
        let at = self.at;
        match rustls_error(&error) {
            Some(Error::InvalidMessage(_)) => TlsError::NotTls { at },
            Some(error) => TlsError::Handshake {
                at,
                why: error.to_string(),
            },
            None => match error.kind() {
                ErrorKind::TimedOut => TlsError::TimedOut {
                    at,
                    within: self.within,
                },
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => TlsError::Handshake {
                    at,
                    why: "the server closed the connection".to_owned(),
                },
                _ => TlsError::Unreachable { at, source: error },
            },
        }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(self.left()?)?;
            match self.stream.read(buffer) {
                Err(error) if again(&error) => {},
                other => return other,
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(self.left()?)?;
            match self.stream.write(bytes) {
                Err(error) if again(&error) => {},
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A signal came, or the socket's timeout, which may round below what is left: the deadline decides.
fn again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
    )
}
