//! Rows as CSV (RFC 4180, `\r\n`), UTF-8. A text that a spreadsheet would take for a
//! formula gets a `'` in front, unless it is asked for as it is.

use std::collections::BTreeSet;
use std::fmt::Write;

use sandan_proto::reading::Value;

use super::readings::{seconds, statistic};
use crate::access::{Bucket, Rows, SeriesInfo};
use crate::consent::{Form, Function};
use crate::time::rfc3339;

/// How cells are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// A byte-order mark in front: without it some spreadsheets take UTF-8 for something else.
    pub(super) bom: bool,
    /// Texts that look like formulas are made plain.
    pub(super) guarded: bool,
}

pub(super) fn header(style: Style, form: &Form, functions: &BTreeSet<Function>) -> String {
    let mark = if style.bom { "\u{feff}" } else { "" };
    match form {
        Form::Raw => format!("{mark}time,firm,asset,metric,unit,value,quality\r\n"),
        Form::Bucketed { .. } => {
            let mut line = format!("{mark}start,firm,asset,metric,unit");
            for function in functions {
                line.push(',');
                line.push_str(function.as_str());
            }
            line + "\r\n"
        }
    }
}

pub(super) fn body(style: Style, series: &SeriesInfo, functions: &BTreeSet<Function>, rows: &Rows) -> String {
    let text = |it: &str| text(it, style.guarded);
    let key = &series.key;
    // The alphabet of ids needs no quotes.
    let middle = format!("{},{},{},{}", key.firm, key.asset, key.metric, text(&series.unit));
    let mut lines = String::new();
    match rows {
        Rows::Raw(rows) => {
            for row in rows {
                let value = row.value.as_ref().map(|it| cell(it, text)).unwrap_or_default();
                let _ = write!(lines, "{},{middle},{value},{}\r\n", rfc3339(row.time_us), row.quality);
            }
        }
        Rows::Buckets(rows) => {
            for row in rows {
                let _ = write!(lines, "{},{middle}", rfc3339(row.start_us));
                for function in functions {
                    let value = match function {
                        Function::Count => row.count.to_string(),
                        Function::Durations => text(&durations(row)),
                        other => number(statistic(row, *other)),
                    };
                    let _ = write!(lines, ",{value}");
                }
                lines.push_str("\r\n");
            }
        }
    }
    lines
}

/// `running=120.5;stopped=3`, seconds, in one cell.
fn durations(bucket: &Bucket) -> String {
    let all: Vec<_> = bucket.durations.iter().map(|(state, us)| format!("{state}={}", number(seconds(*us)))).collect();
    all.join(";")
}

fn cell(value: &Value, text: impl Fn(&str) -> String) -> String {
    match value {
        Value::Text(value) => text(value),
        Value::F64(value) => number(*value),
        Value::Bool(_) | Value::I64(_) => value.to_string(),
    }
}

/// The shortest text that reads back as the same number; empty for what is none.
fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        String::new()
    } else if size == 0.0 || (1e-5..1e16).contains(&size) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

fn text(text: &str, guarded: bool) -> String {
    let formula = guarded && text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
    // A unit of one sign, such as %, is no formula.
    let mark = if formula && text.chars().count() > 1 { "'" } else { "" };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{mark}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_are_no_formulas() {
        for (given, wanted) in [
            ("kN", "kN"),
            ("%", "%"),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2", "'-2"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=a\nb", "\"'=a\nb\""),
            ("정지", "정지"),
        ] {
            assert_eq!(text(given, true), wanted);
        }
        assert_eq!((text("=1+1", false), text("-a,b", false)), ("=1+1".to_owned(), "\"-a,b\"".to_owned()));
    }

    #[test]
    fn numbers_read_back_as_they_were() {
        for value in [0.0, -0.1, 1.0, 123_456_789.125, 1e300, 5e-324, -1e16, 0.1 + 0.2] {
            let shown = number(value);
            assert!(shown.len() <= 24, "{shown}");
            assert_eq!(shown.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
        assert_eq!(number(f64::NAN), "");
        assert_eq!(cell(&Value::I64(i64::MIN), str::to_owned), i64::MIN.to_string());
    }
}
