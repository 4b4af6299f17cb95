//! The table of what was seen, as the documents have it.

use std::fmt::Write;

use super::Seen;

/// Between these lines of a document stands the table.
pub const MARKS: [&str; 2] = ["<!-- scenarios: written by the test, see tests/e2e/scenarios.rs -->", "<!-- end -->"];

/// In English, or in Korean.
pub fn table(seen: &[Seen], korean: bool) -> String {
    let mut out = String::from(if korean {
        "| 고장 | 게이트웨이 | 장치 | 알림이 하는 말 | 알림 | 알리기까지 | 끝을 알리기까지 |\n"
    } else {
        "| fault | gateway | device | what is said | alert | told within | end told within |\n"
    });
    out.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    let of = usize::from(korean);
    for it in seen {
        let expected = &it.expected;
        let said = it.sentence.as_ref().map_or_else(
            || "–".to_owned(),
            |[english, korean]| {
                if of == 0 { format!("{english} / {korean}") } else { format!("{korean} / {english}") }
            },
        );
        let (alert, told) = match expected.alert {
            Some(kind) => (format!("`{kind}`"), expected.told.words(korean)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let link = if expected.link.is_empty() { "–".to_owned() } else { format!("`{}`", expected.link) };
        let (fault, state, ended) = (expected.fault[of], expected.state, expected.ended.words(korean));
        let _ = writeln!(out, "| {fault} | `{state}` | {link} | {said} | {alert} | {told} | {ended} |");
    }
    out
}

/// The document with this table between its marks; none where the marks are not there.
pub fn within(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}\n\n{table}\n{}{after}", MARKS[0], MARKS[1]))
}
