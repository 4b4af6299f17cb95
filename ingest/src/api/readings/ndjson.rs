//! Rows as NDJSON: one JSON value a line, and around the rows lines of one key that say what
//! they are.
//!
//! The first line is `{"series": …, "form": …, "served": …}`. Rows follow. A stream says
//! after each piece of rows where it could be taken up again, `{"cursor": …}`. The last line
//! is `{"end": …}`: an answer without it is not whole.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::json;

use super::{about, completeness, gaps, shown};
use crate::access::{Reader, Rows};
use crate::consent::{Form, Function};

pub(super) fn first(reader: &Reader, form: &Form) -> String {
    format!("{}\n", about(reader, form))
}

pub(super) fn body(rows: &Rows, functions: &BTreeSet<Function>) -> String {
    shown(rows, functions).iter().fold(String::new(), |mut lines, row| {
        // Writing into a text cannot fail.
        let _ = writeln!(lines, "{row}");
        lines
    })
}

pub(super) fn cursor(cursor: &str) -> String {
    format!("{}\n", json!({ "cursor": cursor }))
}

pub(super) fn last(reader: &Reader, rows: usize, next: Option<&str>) -> String {
    let end = json!({
        "rows": rows,
        "gaps": gaps(reader),
        "completeness": completeness(reader),
        "consents": reader.consents(),
        "next": next,
    });
    format!("{}\n", json!({ "end": end }))
}
