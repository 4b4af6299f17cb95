//! What is wrong with a configuration, where, and what to do.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// All faults of one file, in its order. Shown as `file:line:column: what` and a
/// line with a hint for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// As it was named.
    pub file: PathBuf,
    /// At least one.
    pub list: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line and column, from 1, in characters; none when the file could not be read.
    pub at: Option<(usize, usize)>,
    /// One line.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { at, what, hint }) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let place = at.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
            write!(f, "{}{place}: {what}\n  hint: {hint}", self.file.display())?;
        }
        Ok(())
    }
}

impl Faults {
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let fault = Fault {
            at: None,
            what: format!("cannot be read: {error}"),
            hint: "name a configuration with --config; `configs/ingest.toml` is an example".to_owned(),
        };
        Self { file: file.to_owned(), list: vec![fault] }
    }
}

/// Collects faults by byte offset.
pub(super) struct Log<'t> {
    file: &'t Path,
    text: &'t str,
    faults: RefCell<Vec<(usize, String, String)>>,
}

impl<'t> Log<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text, faults: RefCell::default() }
    }

    pub(super) fn note(&self, at: usize, what: String, hint: &str) {
        self.faults.borrow_mut().push((at, what, hint.to_owned()));
    }

    pub(super) fn syntax(&self, error: &toml::de::Error) {
        let at = error.span().map_or(0, |span| span.start);
        let what = format!("not TOML: {}", error.message().replace('\n', ", "));
        self.note(at, what, "mind quotes, brackets and commas on this line and the one before");
    }

    pub(super) fn into_faults(self) -> Faults {
        let mut noted = self.faults.into_inner();
        noted.sort_by_key(|(at, ..)| *at);
        let place = |at: usize| {
            let before = &self.text[..self.text.floor_char_boundary(at)];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
        };
        let list = noted.into_iter().map(|(at, what, hint)| Fault { at: Some(place(at)), what, hint }).collect();
        Faults { file: self.file.to_owned(), list }
    }
}
