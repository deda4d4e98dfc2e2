//! Archives: the same files always give the same bytes, and what comes in is not trusted.
//!
//! Format: one gzip member (RFC 1952, no name, no time) of a ustar archive (POSIX.1-1988). Members are regular files only,
//! sorted by the bytes of their names, owned by 0:0; a name that ustar cannot hold has a PAX header (POSIX.1-2001) with
//! `path`. Nothing here writes to the disk.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use tar::{Archive, Builder, EntryType, Header};
use zeroize::Zeroizing;

use crate::pki::utc::Utc;

/// The largest member, in bytes: 64 MiB.
pub const MAX_ENTRY: u64 = 64 << 20;

/// The most bytes that all members may have together: 512 MiB.
pub const MAX_TOTAL: u64 = 512 << 20;

/// The most members.
pub const MAX_ENTRIES: usize = 100_000;

/// The longest name, in bytes (Linux `PATH_MAX`).
const MAX_NAME: usize = 4096;

/// The largest PAX header, in bytes.
const MAX_PAX: u64 = 64 << 10;

/// The most that may come out of gzip: the members, and for each a header, a PAX header and padding.
const MAX_STREAM: u64 = MAX_TOTAL + (MAX_ENTRIES as u64) * 2048;

/// gzip's "unknown operating system" (RFC 1952, section 2.3.1).
const OS_UNKNOWN: u8 = 255;

/// A regular file in an archive. Its content is wiped from memory when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct Entry {
    /// Relative, `/` between components, none of them empty, `.` or `..`.
    pub name: String,
    /// Permission bits, `0o777` at most; others are left out.
    pub mode: u32,
    /// The content.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// Why an archive could not be made, or is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A member that is no regular file.
    #[error("`{}` in the archive is {kind}", name.escape_debug())]
    Kind {
        /// The member's name.
        name: String,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// A name that is absolute, leads upwards, is empty or too long, occurs twice, or is another's directory.
    #[error("the name `{}` in the archive {why}", name.escape_debug())]
    Name {
        /// The name.
        name: String,
        /// A predicate, such as `is absolute`.
        why: &'static str,
    },
    /// It is damaged, cut short, or no gzip-compressed tar archive.
    #[error("the archive is damaged")]
    Read {
        /// What the decoder said.
        source: io::Error,
    },
    /// More, or more of it, than is read.
    #[error("the archive has more than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Something follows the end.
    #[error("something follows the end of the archive")]
    Trailing,
    /// Its end is missing.
    #[error("the archive ends too early")]
    Truncated,
    /// A header that is not understood.
    #[error("the header of `{}` in the archive is not supported", name.escape_debug())]
    Unsupported {
        /// The member's name.
        name: String,
    },
    /// Writing failed.
    #[error("cannot write the archive")]
    Write {
        /// What the system answered.
        source: io::Error,
    },
}

/// Writes an archive of `entries`, in any order, with `at` as the time of all.
///
/// The same names, modes, bytes and time give the same archive, byte for byte. Flushing and syncing are the caller's duty.
///
/// # Errors
///
/// [`ArchiveError::Name`] and [`ArchiveError::TooLarge`] for what [`unpack`] would refuse; [`ArchiveError::Write`].
pub fn pack(entries: &[Entry], at: Utc, out: &mut dyn Write) -> Result<(), ArchiveError> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut intake = Intake::default();
    for entry in &sorted {
        intake.admit(&entry.name, entry.bytes.len() as u64)?;
    }
    let gzip = GzBuilder::new().mtime(0).operating_system(OS_UNKNOWN);
    let mut builder = Builder::new(gzip.write(out, Compression::new(6)));
    let write = || {
        for entry in sorted {
            append(&mut builder, entry, at)?;
        }
        builder.into_inner()?.finish()?.flush()
    };
    write().map_err(|source| ArchiveError::Write { source })
}

/// Reads a whole archive into memory, checking all of it before anything is given back.
///
/// # Errors
///
/// Every variant but [`ArchiveError::Write`]. Memory is bounded by [`MAX_TOTAL`], time by that of decompressing as much.
pub fn unpack(bytes: impl Read) -> Result<Vec<Entry>, ArchiveError> {
    unpack_within(bytes, MAX_STREAM)
}

/// As [`unpack`], with at most `limit` bytes out of gzip.
fn unpack_within(bytes: impl Read, limit: u64) -> Result<Vec<Entry>, ArchiveError> {
    let gzip = GzDecoder::new(BufReader::new(bytes));
    let mut archive = Archive::new(Stream {
        gzip,
        left: limit,
        state: State::Open,
    });
    let members = members(&mut archive);
    let mut stream = archive.into_inner();
    let checked = members.and_then(|members| finish(&mut stream).map(|()| members));
    match stream.state {
        // That the limit was hit explains better than what the readers made of it.
        State::Exceeded => Err(ArchiveError::TooLarge {
            limit,
            unit: "bytes",
        }),
        State::Ended | State::Open => checked,
    }
}

fn append(builder: &mut Builder<impl Write>, entry: &Entry, at: Utc) -> io::Result<()> {
    let mut header = header(EntryType::Regular, entry.bytes.len() as u64, at);
    header.set_mode(entry.mode & 0o777);
    // ustar names are ASCII (POSIX.1-1988, section 10.1.1).
    if !entry.name.is_ascii() || header.set_path(&entry.name).is_err() {
        let record = pax_record("path", &entry.name);
        let mut pax = self::header(EntryType::XHeader, record.len() as u64, at);
        pax.set_mode(0o644);
        pax.set_path("PaxHeader")?;
        pax.set_cksum();
        builder.append(&pax, record.as_bytes())?;
        header.set_path("long-name")?;
    }
    header.set_cksum();
    builder.append(&header, entry.bytes.as_slice())
}

fn header(kind: EntryType, size: u64, at: Utc) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(at.unix()).unwrap_or(0));
    header
}

/// One PAX record, `<length> <key>=<value>\n`, whose length counts its own digits.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// The members in the order of the archive. Headers are taken raw: this crate decides what they may say.
fn members(archive: &mut Archive<impl Read>) -> Result<Vec<Entry>, ArchiveError> {
    let damaged = |source| ArchiveError::Read { source };
    let mut intake = Intake::default();
    let mut members = Vec::new();
    let mut long_name: Option<String> = None;
    for member in archive.entries().map_err(damaged)?.raw(true) {
        let mut member = member.map_err(damaged)?;
        let header = member.header();
        let size = header.entry_size().map_err(damaged)?;
        let own_name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        match header.entry_type() {
            EntryType::Regular => {},
            EntryType::XHeader if long_name.is_none() && size <= MAX_PAX => {
                let text = read_exactly(&mut member, size)?;
                long_name = Some(pax_path(&text, own_name)?);
                continue;
            },
            other => {
                return Err(ArchiveError::Kind {
                    name: own_name,
                    kind: describe(other),
                });
            },
        }
        let mode = header.mode().map_err(damaged)? & 0o777;
        let name = long_name.take().map_or_else(|| utf8_name(header), Ok)?;
        intake.admit(&name, size)?;
        let bytes = read_exactly(&mut member, size)?;
        members.push(Entry { name, mode, bytes });
    }
    match long_name {
        Some(_) => Err(ArchiveError::Truncated),
        None => Ok(members),
    }
}

fn utf8_name(header: &Header) -> Result<String, ArchiveError> {
    String::from_utf8(header.path_bytes().into_owned()).map_err(|error| ArchiveError::Name {
        name: String::from_utf8_lossy(error.as_bytes()).into_owned(),
        why: "is not UTF-8",
    })
}

/// The `path` of a PAX header, its only key: others could change what the member is, or its size.
fn pax_path(text: &[u8], of: String) -> Result<String, ArchiveError> {
    let only = || {
        let (length, _) = str::from_utf8(text).ok()?.split_once(' ')?;
        let rest = str::from_utf8(text)
            .ok()?
            .strip_prefix(length)?
            .strip_prefix(" path=")?;
        let path = rest.strip_suffix('\n')?;
        (length.parse() == Ok(text.len()) && !path.contains('\n')).then(|| path.to_owned())
    };
    only().ok_or(ArchiveError::Unsupported { name: of })
}

/// Reads `size` bytes, which the caller has bounded, into memory that never moves.
fn read_exactly(from: &mut impl Read, size: u64) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
    let room = usize::try_from(size).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    from.take(size)
        .read_to_end(&mut bytes)
        .map_err(|source| ArchiveError::Read { source })?;
    if bytes.len() == room {
        Ok(bytes)
    } else {
        Err(ArchiveError::Truncated)
    }
}

/// After the tar reader's end only zeros may come, then the end of gzip with its checksum, then nothing.
fn finish(stream: &mut Stream<impl BufRead>) -> Result<(), ArchiveError> {
    // The tar reader stops at the first block of zeros; without one it ran into the end of the stream.
    if stream.state == State::Ended {
        return Err(ArchiveError::Truncated);
    }
    let damaged = |source| ArchiveError::Read { source };
    let mut block = [0; 8192];
    let mut zeros = 0;
    loop {
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(n) if block[..n].iter().all(|b| *b == 0) => zeros += n,
            Ok(_) => return Err(ArchiveError::Trailing),
            Err(source) => return Err(damaged(source)),
        }
    }
    // The second of the two blocks that end an archive.
    if zeros < 512 {
        return Err(ArchiveError::Truncated);
    }
    let rest = stream.gzip.get_mut().fill_buf().map_err(damaged)?;
    if rest.is_empty() {
        Ok(())
    } else {
        Err(ArchiveError::Trailing)
    }
}

fn describe(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Block | EntryType::Char => "a device",
        EntryType::Directory => "a directory",
        EntryType::Fifo => "a FIFO",
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::GNUSparse => "a sparse file",
        _ => "of a kind that is not read",
    }
}

/// What has been admitted so far, against the limits.
#[derive(Default)]
struct Intake {
    names: BTreeSet<String>,
    total: u64,
}

impl Intake {
    fn admit(&mut self, name: &str, size: u64) -> Result<(), ArchiveError> {
        self.total = self.total.saturating_add(size);
        if size > MAX_ENTRY {
            return Err(ArchiveError::TooLarge {
                limit: MAX_ENTRY,
                unit: "bytes in a file",
            });
        }
        if self.total > MAX_TOTAL {
            return Err(ArchiveError::TooLarge {
                limit: MAX_TOTAL,
                unit: "bytes",
            });
        }
        if self.names.len() == MAX_ENTRIES {
            return Err(ArchiveError::TooLarge {
                limit: MAX_ENTRIES as u64,
                unit: "files",
            });
        }
        if let Some(why) = fault(name).or_else(|| self.clash(name)) {
            return Err(ArchiveError::Name {
                name: name.to_owned(),
                why,
            });
        }
        self.names.insert(name.to_owned());
        Ok(())
    }

    /// Whether the name is taken, or a file would have to be a directory too.
    fn clash(&self, name: &str) -> Option<&'static str> {
        if self.names.contains(name) {
            return Some("occurs twice");
        }
        let inside = format!("{name}/");
        let is_directory = self
            .names
            .range(inside.clone()..)
            .next()
            .is_some_and(|n| n.starts_with(&inside));
        let is_below = name
            .match_indices('/')
            .any(|(i, _)| self.names.contains(&name[..i]));
        (is_directory || is_below).then_some("is a file and a directory")
    }
}

fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    if name.len() > MAX_NAME {
        return Some("is too long");
    }
    if name.starts_with('/') {
        return Some("is absolute");
    }
    if name.contains(['\0', '\n']) {
        return Some("has a character that names may not have");
    }
    let is_bad = |part: &str| part.is_empty() || part == "." || part == "..";
    name.split('/')
        .any(is_bad)
        .then_some("is not a plain relative path")
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Ended,
    Exceeded,
    Open,
}

/// What comes out of gzip, bounded.
struct Stream<R> {
    gzip: GzDecoder<R>,
    left: u64,
    state: State,
}

impl<R: BufRead> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.gzip.read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            self.state = State::Ended;
        }
        let Some(left) = self.left.checked_sub(n as u64) else {
            self.state = State::Exceeded;
            return Err(io::Error::other("more data than an archive may have"));
        };
        self.left = left;
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
