//! The demo's voice: one line a step, Korean beside English, with the time since
//! the start.

use std::time::Instant;

/// Columns of the Korean and of the English label.
const LABELS: (usize, usize) = (12, 14);

/// Who tells.
pub(super) struct Tell {
    started: Instant,
}

impl Tell {
    pub(super) fn new() -> Self {
        Self { started: Instant::now() }
    }
    /// Seconds since the start.
    pub(super) fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
    /// A step: `  3.2 s  연결        link up       …`.
    pub(super) fn step(&self, ko: &str, en: &str, what: &str) {
        println!("{:6.1} s  {}{}{what}", self.elapsed(), pad(ko, LABELS.0), pad(en, LABELS.1));
    }
}

/// More of the same step.
pub(super) fn more(what: &str) {
    println!("{}{what}", " ".repeat(10 + LABELS.0 + LABELS.1));
}

/// A line of its own.
pub(super) fn line(what: &str) {
    println!("{what}");
}

/// Pads to a number of terminal columns; Hangul and full-width forms take two.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let wide = |c: char| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{ff00}'..='\u{ff60}');
    let taken: usize = text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum();
    format!("{text}{}", " ".repeat(columns.saturating_sub(taken)))
}
