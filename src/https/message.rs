//! HTTP/1.1 (RFC 9112): one request written, one answer read.

use std::io::{self, BufRead, BufReader, Read};

use httparse::{Header, Status};
use zeroize::Zeroizing;

use super::HttpsError;
use crate::pki::token::Token;

/// The longest body that is read, in bytes.
pub const MAX_BODY: usize = 4 << 20;

/// The longest status line with all headers, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The longest line that says a chunk's size, and the longest trailer line, in bytes.
const MAX_LINE: usize = 8 << 10;

/// How many headers, trailer lines and interim answers (100 to 199) are taken.
const MANY: usize = 64;

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// The status code, as `200`.
    pub status: u16,
    /// The body without its transfer encoding, at most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

/// Why there is no answer.
pub(super) enum Broken {
    Io(io::Error),
    Malformed(&'static str),
    TooLarge,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A request.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: Option<&'a [u8]>,
    pub(super) bearer: Option<&'a Token>,
}

impl Request<'_> {
    pub(super) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, HttpsError> {
        let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
        let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        let printable = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let refused = |part| Err(HttpsError::Request { part });
        if !token(self.method) {
            return refused("method");
        }
        if !(self.path.starts_with('/') && visible(self.path)) {
            return refused("path");
        }
        if !self.content_type.is_none_or(printable) {
            return refused("content type");
        }
        let host = match self.host {
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: rescue-kit\r\nAccept: */*\r\nConnection: close\r\n",
            self.method, self.path, self.port
        );
        if let Some(kind) = self.content_type {
            text.push_str(&format!("Content-Type: {kind}\r\n"));
        }
        if let Some(body) = self.body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let bearer = self.bearer.map_or("", Token::expose);
        let body = self.body.unwrap_or_default();
        // The room is taken at once, so that no growing vector leaves copies of the token.
        let room = text.len() + bearer.len() + body.len() + 64;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.extend_from_slice(text.as_bytes());
        if !bearer.is_empty() {
            for part in ["Authorization: Bearer ", bearer, "\r\n"] {
                bytes.extend_from_slice(part.as_bytes());
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Ok(bytes)
    }
}

impl Response {
    /// Reads the answer to a request with `method`.
    pub(super) fn read(from: &mut impl Read, method: &str) -> Result<Self, Broken> {
        let mut from = BufReader::new(from);
        for _ in 0..MANY {
            let head = Head::read(&mut from)?;
            if (100..200).contains(&head.status) {
                continue;
            }
            let bodiless = method == "HEAD" || matches!(head.status, 204 | 304);
            let body = match head.framing {
                _ if bodiless => Vec::new(),
                Framing::Length(length) => exactly(&mut from, length, &[])?,
                Framing::Chunked => chunks(&mut from)?,
                Framing::UntilClose => rest(&mut from)?,
            };
            return Ok(Self {
                status: head.status,
                body,
            });
        }
        Err(Broken::Malformed("interim answers without end"))
    }
}

struct Head {
    status: u16,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Chunked,
    Length(u64),
    UntilClose,
}

impl Head {
    fn read(from: &mut impl BufRead) -> Result<Self, Broken> {
        let mut text = Vec::new();
        loop {
            let start = text.len();
            line(from, MAX_HEAD - start, &mut text)?;
            if matches!(&text[start..], b"\r\n" | b"\n") {
                break;
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; MANY];
        let mut response = httparse::Response::new(&mut headers);
        let read = response.parse(&text);
        match (read, response.code) {
            (Ok(Status::Complete(_)), Some(status)) => Ok(Self {
                status,
                framing: Framing::of(response.headers)?,
            }),
            _ => Err(Broken::Malformed("its head cannot be read")),
        }
    }
}

impl Framing {
    /// How long the body is (RFC 9112, section 6.3).
    fn of(headers: &[Header<'_>]) -> Result<Self, Broken> {
        let all = |name: &'static str| {
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value.trim_ascii())
        };
        let mut encodings = all("transfer-encoding");
        if let Some(encoding) = encodings.next() {
            let chunked = encoding.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
            return chunked
                .then_some(Self::Chunked)
                .ok_or(Broken::Malformed("its transfer encoding is unknown"));
        }
        let mut lengths = all("content-length");
        let Some(length) = lengths.next() else {
            return Ok(Self::UntilClose);
        };
        let digits = length.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(length)
            .ok()
            .and_then(|text| text.parse().ok());
        match number {
            Some(number) if digits && lengths.all(|other| other == length) => {
                Ok(Self::Length(number))
            },
            _ => Err(Broken::Malformed("its length is no number")),
        }
    }
}

/// Appends a line with its end, at most `room` bytes.
fn line(from: &mut impl BufRead, room: usize, to: &mut Vec<u8>) -> Result<(), Broken> {
    from.take(room as u64).read_until(b'\n', to)?;
    match to.last() {
        Some(b'\n') => Ok(()),
        _ if from.fill_buf()?.is_empty() => Err(cut_off()),
        _ => Err(Broken::Malformed("it has a line without end")),
    }
}

/// Reads `length` bytes, which together with `before` are not too many.
fn exactly(from: &mut impl BufRead, length: u64, before: &[u8]) -> Result<Vec<u8>, Broken> {
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_BODY - before.len())
        .ok_or(Broken::TooLarge)?;
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(cut_off());
    }
    Ok(bytes)
}

fn chunks(from: &mut impl BufRead) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    loop {
        let mut size = Vec::new();
        line(from, MAX_LINE, &mut size)?;
        let Ok(Status::Complete((_, size))) = httparse::parse_chunk_size(&size) else {
            return Err(Broken::Malformed("it has a chunk without size"));
        };
        if size == 0 {
            return trailers(from).map(|()| body);
        }
        let chunk = exactly(from, size, &body)?;
        body.extend_from_slice(&chunk);
        let mut end = Vec::new();
        line(from, 2, &mut end)?;
        if end != b"\r\n" {
            return Err(Broken::Malformed("it has a chunk without end"));
        }
    }
}

fn trailers(from: &mut impl BufRead) -> Result<(), Broken> {
    for _ in 0..MANY {
        let mut text = Vec::new();
        line(from, MAX_LINE, &mut text)?;
        if matches!(text.as_slice(), b"\r\n" | b"\n") {
            return Ok(());
        }
    }
    Err(Broken::Malformed("it has trailers without end"))
}

fn rest(from: &mut impl BufRead) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    from.take(MAX_BODY as u64 + 1).read_to_end(&mut body)?;
    if body.len() > MAX_BODY {
        return Err(Broken::TooLarge);
    }
    Ok(body)
}

fn cut_off() -> Broken {
    Broken::Io(io::ErrorKind::UnexpectedEof.into())
}
