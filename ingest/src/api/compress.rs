//! Answers in gzip or zstd, as `Accept-Encoding` would have it.
//!
//! What a body hands on is compressed and flushed at once, piece by piece: nothing of a
//! stream is held back for the sake of a better ratio, and one that breaks off ends with an
//! error here too. Small bodies are left as they are.

use std::io::{self, Write};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;

use super::negotiate::{self, Coding};

/// Below it the heads of packets outweigh what is saved.
const LEAST_BYTES: u64 = 1_024;
/// zstd's, of 1 to 22: rows of figures come to a tenth, at some 300 MB/s of one core.
const ZSTD_LEVEL: i32 = 3;
/// What is worth it. Events are left out: they are small, and each must leave by itself.
const KINDS: [&str; 6] = [
    "application/json",
    "application/problem+json",
    "application/x-ndjson",
    "application/openmetrics-text",
    "text/csv",
    "text/plain",
];

/// Marks an answer whose stream is short, which its size hint does not tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short;

/// Whether a stream that begins with `begun` bytes, and has no more where `ended`, is short.
pub(super) fn is_short(begun: usize, ended: bool) -> bool {
    ended && (begun as u64) < LEAST_BYTES
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// All that `piece` comes to.
    fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let out = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out).into())
    }

    fn end(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        }
        .into())
    }
}

/// Compresses the answer where that is wanted and worth it.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let is_head = request.method() == Method::HEAD;
    let coding = negotiate::coding(request.headers());
    let mut response = next.run(request).await;
    if !is_worth_it(&response) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let Some(coding) = coding.filter(|_| !is_head) else { return response };
    let Ok(encoder) = Encoder::new(coding) else { return response };
    let (mut head, body) = response.into_parts();
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    head.headers.remove(header::CONTENT_LENGTH);
    let pieces = futures::stream::try_unfold(Some((encoder, body.into_data_stream())), async |state| {
        let Some((mut encoder, mut pieces)) = state else { return Ok::<_, axum::BoxError>(None) };
        Ok(match pieces.next().await {
            Some(piece) => Some((encoder.push(&piece?)?, Some((encoder, pieces)))),
            None => Some((encoder.end()?, None)),
        })
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    response.status() != StatusCode::NOT_MODIFIED
        && KINDS.contains(&kind)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && response.extensions().get::<Short>().is_none()
        && response.body().size_hint().exact().is_none_or(|bytes| bytes >= LEAST_BYTES)
}
