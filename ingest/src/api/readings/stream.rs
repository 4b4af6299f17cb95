//! Rows as lines, piece by piece: NDJSON and CSV.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};

use super::super::compress::{Short, is_short};
use super::super::csv;
use super::super::query::{Format, Pull, show_cursor};
use super::{Problem, head, length, ndjson};
use crate::access::{AccessError, Reader, Rows};

/// Before the rows.
fn first(reader: &Reader, pull: &Pull) -> String {
    match pull.format {
        Format::Csv(style) => csv::header(style, &pull.form, &pull.functions),
        Format::Json | Format::Ndjson => ndjson::first(reader, &pull.form),
    }
}

fn body(reader: &Reader, pull: &Pull, rows: &Rows) -> String {
    match pull.format {
        Format::Csv(style) => csv::body(style, reader.series(), &pull.functions, rows),
        Format::Json | Format::Ndjson => ndjson::body(rows, &pull.functions),
    }
}

/// Behind the rows, of which there were `rows`.
fn last(reader: &Reader, pull: &Pull, rows: usize, next: Option<&str>) -> String {
    match pull.format {
        Format::Csv(_) => String::new(),
        Format::Json | Format::Ndjson => ndjson::last(reader, rows, next),
    }
}

/// All lines of a page.
pub(super) fn page(reader: &Reader, pull: &Pull, pieces: &[Rows], next: Option<&str>) -> String {
    let mut text = first(reader, pull);
    text.extend(pieces.iter().map(|rows| body(reader, pull, rows)));
    text + &last(reader, pull, pieces.iter().map(length).sum(), next)
}

/// Where a stream is.
struct Stream {
    reader: Reader,
    pull: Pull,
    rows: usize,
    /// Made before the answer began, so that a refusal still has its status.
    begun: Option<String>,
    ended: bool,
}

impl Stream {
    /// The next rows as lines; of NDJSON with the place behind them.
    async fn piece(&mut self) -> Result<Option<String>, AccessError> {
        let Some(rows) = self.reader.next(usize::MAX).await? else { return Ok(None) };
        self.rows += length(&rows);
        let mut text = body(&self.reader, &self.pull, &rows);
        if let (Format::Ndjson, Some(at)) = (self.pull.format, self.reader.cursor()) {
            text.push_str(&ndjson::cursor(&show_cursor(&at)));
        }
        Ok(Some(text))
    }

    /// What is to be sent next; none when all was.
    async fn next(&mut self) -> Result<Option<String>, AccessError> {
        let text = match self.begun.take() {
            Some(begun) => {
                self.reader.check().await?;
                Some(begun)
            }
            None if self.ended => None,
            None => self.piece().await?,
        };
        let text = match text {
            None if self.ended => return Ok(None),
            None => {
                self.ended = true;
                last(&self.reader, &self.pull, self.rows, None)
            }
            Some(text) => text,
        };
        self.reader.count_bytes(text.len());
        Ok(Some(text))
    }
}

/// The whole range. An error ends the body without its last chunk, which every client
/// reports.
pub(super) async fn start(reader: Reader, pull: Pull) -> Result<Response, Problem> {
    let begun = first(&reader, &pull);
    let mut stream = Stream { reader, pull, rows: 0, begun: None, ended: false };
    let piece = stream.piece().await?.unwrap_or_default();
    let head = head(&stream.reader, &stream.pull, None);
    let begun = begun + &piece;
    let is_short = is_short(begun.len(), stream.reader.cursor().is_none());
    stream.begun = Some(begun);
    let body = futures::stream::try_unfold(stream, async |mut at| {
        let text = at.next().await?;
        Ok::<_, AccessError>(text.map(|text| (Bytes::from(text), at)))
    });
    let mut response = (head, Body::from_stream(body)).into_response();
    if is_short {
        response.extensions_mut().insert(Short);
    }
    Ok(response)
}
