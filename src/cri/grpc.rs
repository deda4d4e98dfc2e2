//! One unary gRPC call over a Unix socket (`grpc/doc/PROTOCOL-HTTP2.md`).

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, client};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Request};
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime;
use tokio::time::timeout;

/// The longest answer, in bytes: what the kubelet takes.
const MAX_ANSWER: usize = 16 << 20;

/// The longest list of headers, in bytes.
const MAX_HEADERS: u32 = 64 << 10;

/// How many characters of an error's text are kept.
const MAX_TEXT: usize = 1024;

/// Before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    Connect(io::Error),
    Protocol(String),
    Status { code: u32, message: String },
    TimedOut,
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Protocol(bounded(&error.to_string()))
    }
}

/// Asks over a connection of its own, so that a runtime that was restarted in between does not matter; `within` is for
/// the whole. The connection ends with the call, and with it what the runtime still does for us.
pub(super) fn call<A: Message + Default>(
    socket: &Path,
    path: &str,
    question: &impl Message,
    within: Duration,
) -> Result<A, Broken> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(Broken::Connect)?;
    let message = question.encode_to_vec();
    let answer = runtime.block_on(async {
        let asked = ask(socket, path, &message);
        timeout(within, asked).await.map_err(|_| Broken::TimedOut)?
    })?;
    A::decode(answer.as_slice()).map_err(|error| Broken::Protocol(error.to_string()))
}

async fn ask(socket: &Path, path: &str, message: &[u8]) -> Result<Vec<u8>, Broken> {
    let stream = UnixStream::connect(socket).await.map_err(Broken::Connect)?;
    let (sender, connection) = client::Builder::new()
        .max_header_list_size(MAX_HEADERS)
        .enable_push(false)
        .handshake(stream)
        .await?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost{path}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(())
        .map_err(|error| Broken::Protocol(error.to_string()))?;
    let (response, mut body) = sender.ready().await?.send_request(request, false)?;
    body.send_data(framed(message)?, true)?;
    let response = response.await?;
    if response.status() != http::StatusCode::OK {
        return Err(Broken::Protocol(format!("HTTP {}", response.status())));
    }
    // An answer that is an error only has its status among the headers.
    if let Some(broken) = failure(response.headers()) {
        return Err(broken);
    }
    let mut body = response.into_body();
    let bytes = receive(&mut body).await?;
    let trailers = body.trailers().await?;
    match trailers.as_ref().map(failure) {
        Some(None) => unframed(&bytes),
        Some(Some(broken)) => Err(broken),
        None => Err(Broken::Protocol("the answer has no status".to_owned())),
    }
}

async fn receive(body: &mut RecvStream) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        if bytes.len() + part.len() > MAX_ANSWER + PREFIX {
            return Err(Broken::Protocol("the answer is too long".to_owned()));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

fn framed(message: &[u8]) -> Result<Bytes, Broken> {
    let length = u32::try_from(message.len())
        .map_err(|_| Broken::Protocol("the question is too long".to_owned()))?;
    Ok([&[0], &length.to_be_bytes()[..], message].concat().into())
}

fn unframed(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    let framed = bytes.split_first_chunk::<PREFIX>();
    match framed {
        Some(([0, length @ ..], message))
            if message.len() == u32::from_be_bytes(*length) as usize =>
        {
            Ok(message.to_vec())
        },
        _ => Err(Broken::Protocol(
            "the answer is not one plain message".to_owned(),
        )),
    }
}

/// What `grpc-status` and `grpc-message` say, unless that is success or nothing.
fn failure(headers: &HeaderMap) -> Option<Broken> {
    let text = |name| headers.get(name).map(HeaderValue::as_bytes);
    let code = str::from_utf8(text("grpc-status")?).ok()?.parse().ok();
    // A code that is none means Unknown.
    let code = code.unwrap_or(2);
    (code != 0).then(|| Broken::Status {
        code,
        message: bounded(&unescaped(text("grpc-message").unwrap_or_default())),
    })
}

/// Undoes the percent-encoding.
fn unescaped(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let escaped = digits
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn bounded(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
