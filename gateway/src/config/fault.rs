//! Faults of a configuration: what is wrong, where, and what to do about it.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with a configuration, in the order of the file.
///
/// Shown, each fault takes a line `file:line:column: what is wrong` and a line
/// `  hint: what to do`. No text of a fault holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// The file, as it was named.
    pub file: PathBuf,
    /// At least one.
    pub list: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where; `None` when the file could not be read at all.
    pub at: Option<Position>,
    /// What is wrong, in one line.
    pub what: String,
    /// The line that a parser stumbled over, and a caret under the spot.
    pub excerpt: Option<String>,
    /// What to do.
    pub hint: String,
}

/// A place in a file, both counted from 1 and in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The place behind a text that begins where the file does.
    fn behind(before: &str) -> Self {
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.list {
            write!(f, "{}", self.file.display())?;
            if let Some(at) = fault.at {
                write!(f, ":{}:{}", at.line, at.column)?;
            }
            writeln!(f, ": {}", fault.what)?;
            if let Some(excerpt) = &fault.excerpt {
                write!(f, "{excerpt}")?;
            }
            writeln!(f, "  hint: {}", fault.hint)?;
        }
        Ok(())
    }
}

impl Faults {
    /// The one fault of a file that cannot be read.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        Self::one(
            file,
            None,
            format!("cannot be read: {error}"),
            "name a configuration that this user may read; `configs/gateway.toml` is an example",
        )
    }

    /// The one fault of a directory.
    pub(super) fn directory(file: &Path) -> Self {
        Self::one(file, None, "is a directory".into(), "name the configuration in it: gateway.toml, for example")
    }

    /// The one fault of a file in another encoding.
    pub(super) fn not_utf8(file: &Path, error: &std::string::FromUtf8Error) -> Self {
        let (bytes, end) = (error.as_bytes(), error.utf8_error().valid_up_to());
        let at = str::from_utf8(&bytes[..end]).ok().map(Position::behind);
        let what = format!("the byte 0x{:02X} here is not UTF-8", bytes.get(end).copied().unwrap_or_default());
        Self::one(file, at, what, "save it as UTF-8; an editor may have saved it as EUC-KR (CP949) or UTF-16")
    }

    fn one(file: &Path, at: Option<Position>, what: String, hint: &str) -> Self {
        Self { file: file.into(), list: vec![Fault { at, what, excerpt: None, hint: hint.into() }] }
    }

    /// The one fault of a file that gave no configuration although nothing was found in it.
    /// A reader that forgets to note a fault is mended; until then this is better than a panic.
    pub(super) fn unexplained(file: &Path) -> Self {
        Self::one(
            file,
            None,
            "gives no complete configuration, and what it lacks was not noted".into(),
            "try again if a file that it names was being changed; else report this as a defect",
        )
    }
}

/// Collects faults while a configuration is read.
#[derive(Debug)]
pub(super) struct Log<'t> {
    text: &'t str,
    faults: RefCell<Vec<(usize, Fault)>>,
    /// What is wrong not with the text, but with what it names on this machine.
    on_this_machine: RefCell<Vec<(usize, Fault)>>,
}

impl<'t> Log<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, faults: RefCell::default(), on_this_machine: RefCell::default() }
    }

    /// Notes a fault at a byte offset.
    pub(super) fn fault(&self, at: usize, what: impl Into<String>, hint: impl Into<String>) {
        self.note(at, what.into(), None, hint.into());
    }

    /// Notes that something named at a byte offset is not as it must be on this machine.
    pub(super) fn fault_on_this_machine(&self, at: usize, what: impl Into<String>, hint: impl Into<String>) {
        let fault = Fault { at: Some(self.position(at)), what: what.into(), excerpt: None, hint: hint.into() };
        self.on_this_machine.borrow_mut().push((at, fault));
    }

    /// Notes what the TOML parser said, with the line it said it about.
    pub(super) fn syntax(&self, error: &toml::de::Error) {
        let at = error.span().map_or(0, |span| span.start);
        let what = format!("not TOML: {}", error.message().replace('\n', ", "));
        self.note(
            at,
            what,
            self.excerpt(at),
            "mind quotes, brackets and commas on this line and the one before".into(),
        );
    }

    fn note(&self, at: usize, what: String, excerpt: Option<String>, hint: String) {
        let fault = Fault { at: Some(self.position(at)), what, excerpt, hint };
        self.faults.borrow_mut().push((at, fault));
    }

    /// All faults in the order of the file; when the text has none, those of this machine
    /// are no error.
    pub(super) fn finish(self, file: &Path) -> Result<Option<Faults>, Faults> {
        let is_clean = self.is_clean();
        let mut faults = self.on_this_machine.into_inner();
        faults.extend(self.faults.into_inner());
        faults.sort_by_key(|(at, _)| *at);
        let list: Vec<_> = faults.into_iter().map(|(_, fault)| fault).collect();
        let faults = Faults { file: file.into(), list };
        match is_clean {
            true if faults.list.is_empty() => Ok(None),
            true => Ok(Some(faults)),
            false => Err(faults),
        }
    }

    /// Whether nothing is wrong with the text so far.
    pub(super) fn is_clean(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    fn position(&self, at: usize) -> Position {
        Position::behind(&self.text[..self.text.floor_char_boundary(at)])
    }

    /// The line with a caret; nothing for a line that may hold a secret.
    fn excerpt(&self, at: usize) -> Option<String> {
        const MAY_HOLD_A_SECRET: [&str; 5] = ["password", "secret", "token", "key", "@"];
        const LONGEST: usize = 200;
        let Position { line, column } = self.position(at);
        let text = self.text.lines().nth(line - 1)?;
        let lower = text.to_lowercase();
        if text.len() > LONGEST || MAY_HOLD_A_SECRET.iter().any(|word| lower.contains(word)) {
            return None;
        }
        let margin = " ".repeat(line.to_string().len());
        let caret = " ".repeat(column - 1);
        Some(format!("  {margin} |\n  {line} | {}\n  {margin} | {caret}^\n", text.replace('\t', " ")))
    }
}
