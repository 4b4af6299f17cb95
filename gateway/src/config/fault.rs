//! Faults of a configuration: what is wrong, where, and what to do about it.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

/// Everything that is wrong with a configuration: its files in the order of their names, then
/// the templates and tables that they name, each from its begin to its end.
///
/// Shown, each fault takes a line `file:line:column: what is wrong` and a line
/// `  hint: what to do`. No text of a fault holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// At least one.
    pub list: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named, or what else holds the text.
    pub file: PathBuf,
    /// Where in it; `None` when it could not be read at all.
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
            write!(f, "{}", fault.file.display())?;
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
    pub(super) fn empty_directory(folder: &Path) -> Self {
        let hint = "name a configuration, or a directory of files that end in .toml";
        Self::one(folder, None, "is a directory without a file that ends in .toml".into(), hint)
    }

    /// The one fault of a file in another encoding.
    pub(super) fn not_utf8(file: &Path, error: &std::string::FromUtf8Error) -> Self {
        let (bytes, end) = (error.as_bytes(), error.utf8_error().valid_up_to());
        let at = str::from_utf8(&bytes[..end]).ok().map(Position::behind);
        let what = format!("the byte 0x{:02X} here is not UTF-8", bytes.get(end).copied().unwrap_or_default());
        Self::one(file, at, what, "save it as UTF-8; an editor may have saved it as EUC-KR (CP949) or UTF-16")
    }

    fn one(file: &Path, at: Option<Position>, what: String, hint: &str) -> Self {
        Self { list: vec![Fault { file: file.into(), at, what, excerpt: None, hint: hint.into() }] }
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

/// Collects faults while a configuration is read, and knows the texts that they are in.
#[derive(Debug, Default)]
pub(super) struct Log {
    sources: RefCell<Vec<Source>>,
    faults: RefCell<Vec<(usize, Fault)>>,
    /// What is wrong not with the texts, but with what they name on this machine.
    on_this_machine: RefCell<Vec<(usize, Fault)>>,
}

/// A text with its range in the row of all byte offsets.
#[derive(Debug)]
struct Source {
    file: PathBuf,
    text: String,
    base: usize,
    /// Of a table, where its cells begin and what a spreadsheet calls them.
    cells: Vec<(usize, String)>,
}

impl Log {
    /// Takes a text; gives the offset at which its range begins.
    pub(super) fn add(&self, file: &Path, text: &str) -> usize {
        let mut sources = self.sources.borrow_mut();
        // One more, for what is behind the last byte.
        let base = sources.last().map_or(0, |last| last.base + last.text.len() + 1);
        sources.push(Source { file: file.into(), text: text.into(), base, cells: Vec::new() });
        base
    }

    /// Names the cells of the text that was taken last, each by its offset within that text.
    pub(super) fn name_cells(&self, cells: Vec<(usize, String)>) {
        if let Some(last) = self.sources.borrow_mut().last_mut() {
            last.cells = cells;
        }
    }

    /// SHA-256 of all texts; of a single one that of its bytes.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hash = sha2::Sha256::new();
        for (index, source) in self.sources.borrow().iter().enumerate() {
            // No byte of UTF-8: two texts are not one that is as long as both.
            if index > 0 {
                hash.update([0xFF]);
            }
            hash.update(source.text.as_bytes());
        }
        hash.finalize().into()
    }

    /// Notes a fault at an offset.
    pub(super) fn fault(&self, at: usize, what: impl Into<String>, hint: impl Into<String>) {
        self.note(&self.faults, at, what.into(), None, hint.into());
    }

    /// Notes that something named at an offset is not as it must be on this machine.
    pub(super) fn fault_on_this_machine(&self, at: usize, what: impl Into<String>, hint: impl Into<String>) {
        self.note(&self.on_this_machine, at, what.into(), None, hint.into());
    }

    /// Notes what the TOML parser said about the text that begins at `base`, with the line.
    pub(super) fn syntax(&self, base: usize, error: &toml::de::Error) {
        let at = base + error.span().map_or(0, |span| span.start);
        let what = format!("not TOML: {}", error.message().replace('\n', ", "));
        let hint = "mind quotes, brackets and commas on this line and the one before".into();
        self.note(&self.faults, at, what, self.excerpt(at), hint);
    }

    fn note(
        &self,
        list: &RefCell<Vec<(usize, Fault)>>,
        at: usize,
        what: String,
        excerpt: Option<String>,
        hint: String,
    ) {
        let sources = self.sources.borrow();
        let Some(source) = source_of(&sources, at) else { return };
        let what = match source.cell(at) {
            Some(cell) => format!("cell {cell}: {what}"),
            None => what,
        };
        let fault = Fault { file: source.file.clone(), at: Some(source.position(at)), what, excerpt, hint };
        let mut list = list.borrow_mut();
        // What stands once in a template is wrong once, however many devices are made of it.
        if !list.iter().any(|(_, told)| *told == fault) {
            list.push((at, fault));
        }
    }

    /// All faults in order; when the texts have none, those of this machine are no error.
    pub(super) fn finish(self) -> Result<Option<Faults>, Faults> {
        let is_clean = self.is_clean();
        let mut faults = self.on_this_machine.into_inner();
        faults.extend(self.faults.into_inner());
        faults.sort_by_key(|(at, _)| *at);
        let faults = Faults { list: faults.into_iter().map(|(_, fault)| fault).collect() };
        match is_clean {
            true if faults.list.is_empty() => Ok(None),
            true => Ok(Some(faults)),
            false => Err(faults),
        }
    }

    /// Whether nothing is wrong with the texts so far.
    pub(super) fn is_clean(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    /// `file:line:column`.
    pub(super) fn place(&self, at: usize) -> String {
        let sources = self.sources.borrow();
        source_of(&sources, at).map_or_else(String::new, |source| {
            let Position { line, column } = source.position(at);
            format!("{}:{line}:{column}", source.file.display())
        })
    }

    /// The line with a caret; nothing for a line that may hold a secret.
    fn excerpt(&self, at: usize) -> Option<String> {
        const MAY_HOLD_A_SECRET: [&str; 5] = ["password", "secret", "token", "key", "@"];
        const LONGEST: usize = 200;
        let sources = self.sources.borrow();
        let source = source_of(&sources, at)?;
        let Position { line, column } = source.position(at);
        let text = source.text.lines().nth(line - 1)?;
        let lower = text.to_lowercase();
        if text.len() > LONGEST || MAY_HOLD_A_SECRET.iter().any(|word| lower.contains(word)) {
            return None;
        }
        let margin = " ".repeat(line.to_string().len());
        let caret = " ".repeat(column - 1);
        Some(format!("  {margin} |\n  {line} | {}\n  {margin} | {caret}^\n", text.replace('\t', " ")))
    }
}

fn source_of(sources: &[Source], at: usize) -> Option<&Source> {
    sources.iter().rev().find(|source| source.base <= at)
}

impl Source {
    fn position(&self, at: usize) -> Position {
        Position::behind(&self.text[..self.text.floor_char_boundary(at - self.base)])
    }

    fn cell(&self, at: usize) -> Option<&str> {
        let behind = self.cells.partition_point(|(begins, _)| *begins <= at - self.base);
        Some(self.cells[behind.checked_sub(1)?].1.as_str())
    }
}
