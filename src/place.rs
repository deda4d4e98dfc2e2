//! Places: the units of atomic replacement, and what was seen in them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::pki::digest::Digest;

/// What a look found. That we could not look is a value, not an error.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed<T> {
    /// There is nothing there.
    Absent,
    /// It is there.
    Present(T),
    /// It could not be seen; the sentence fragment says why.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, if it was seen.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Applies `f` to what was seen.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Absent => Observed::Absent,
            Self::Present(value) => Observed::Present(f(value)),
            Self::Unknown(why) => Observed::Unknown(why),
        }
    }
}

/// A unit of atomic replacement. Paths are absolute, as the node itself would say them: never with the root's prefix.
///
/// Serialised as the path, for [`Place::Entry`] with `entry:` before it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The name itself: a symbolic link is replaced, not followed.
    Entry(PathBuf),
    /// The content at a path: final links are followed and their target is replaced.
    File(PathBuf),
}

impl Place {
    /// The path, as the node says it.
    pub fn path(&self) -> &Path {
        match self {
            Self::Entry(path) | Self::File(path) => path,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let prefix = if matches!(self, Self::Entry(_)) {
            "entry:"
        } else {
            ""
        };
        serializer.serialize_str(&format!("{prefix}{}", self.path().display()))
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.strip_prefix("entry:") {
            Some(path) => Self::Entry(path.into()),
            None => Self::File(text.into()),
        })
    }
}

/// A file time with its nanoseconds, as `stat` gives it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileTime {
    /// Seconds since the Unix epoch; may be negative.
    pub seconds: i64,
    /// 0 to `999_999_999`.
    pub nanos: u32,
}

/// Everything about a file but its content.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Meta {
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// The `security.selinux` attribute, if the file has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Last access. Kept for exact restoring, never compared.
    pub atime: FileTime,
    /// Last change of the content.
    pub mtime: FileTime,
}

/// Which content and metadata a place had.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Version {
    /// Of the content; for a symbolic link, of its target's text.
    pub sha256: Digest,
    /// Bytes of content.
    pub size: u64,
    /// The target's text, if the place is a symbolic link (only for [`Place::Entry`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<PathBuf>,
    /// Whether the place is an empty directory, as it is made where a file is mounted that does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub directory: bool,
    /// Mode, owner, label, times.
    pub meta: Meta,
}

impl Version {
    /// Whether `other` has the same content and is of the same kind; metadata does not count.
    pub fn same_content(&self, other: &Self) -> bool {
        self.sha256 == other.sha256 && self.link == other.link && self.directory == other.directory
    }

    /// Whether nothing is lost with it: an empty file or directory, whose mode says nothing about what belongs there.
    pub fn is_blank(&self) -> bool {
        self.size == 0 && self.link.is_none()
    }
}

/// The content of a place. Wiped from memory when dropped: it may hold a private key.
#[derive(Clone, Eq, PartialEq)]
pub enum Blob {
    /// A regular file.
    File(Zeroizing<Vec<u8>>),
    /// A symbolic link with this target.
    Link(PathBuf),
    /// A directory with nothing in it.
    EmptyDirectory,
}

impl Blob {
    /// The digest that a [`Version`] of this content has.
    pub fn digest(&self) -> Digest {
        match self {
            Self::File(bytes) => Digest::of(bytes),
            Self::Link(target) => Digest::of(target.as_os_str().as_encoded_bytes()),
            Self::EmptyDirectory => Digest::of(b"an empty directory"),
        }
    }
}

/// What kind of thing a directory entry is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A FIFO, socket or device.
    Special,
}
