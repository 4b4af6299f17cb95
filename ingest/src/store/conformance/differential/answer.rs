//! What a store answers to a question, in words that do not tell the engine.

use super::super::SECOND;
use super::script::{Asked, Question};
use super::sender::Sender;
use crate::consent::{Form, Function, Grid, Permit};
use crate::fixture::BOOTED_US;
use crate::store::{Chunk, GapMark, ReadCursor, Readings, Rows};

impl Question {
    /// `began_us` are the times after which something was stored, µs after every test's boot.
    pub(super) fn permit(&self, senders: &[Sender], began_us: &[i64]) -> Permit {
        let keys = senders[self.plant].plant.keys();
        let keys = keys.into_iter().enumerate().filter(|(at, _)| self.series >> at & 1 == 1).map(|(_, key)| key);
        let form = match self.grid {
            Asked::Raw => Form::Raw,
            Asked::Every(seconds) => Form::buckets(seconds * SECOND),
            Asked::Days => Form::Bucketed { grid: Grid::Days { zone: jiff::tz::TimeZone::get("Asia/Seoul").unwrap() } },
        };
        let began_us = began_us[began_us.len() - 1 - self.ago.min(began_us.len() - 1)];
        let mut from_us = BOOTED_US + began_us + self.from * SECOND;
        let mut to_us = from_us + self.length * SECOND;
        if let Form::Bucketed { grid } = &form {
            // Consent gives whole buckets only.
            (from_us, to_us) = (grid.bucket(from_us).0, grid.bucket(to_us - 1).1);
        }
        let functions = Function::ALL.into_iter().enumerate().filter(|(at, _)| self.functions >> at & 1 == 1);
        Permit::for_test(keys.collect(), form, from_us, to_us).asking(functions.map(|(_, function)| function))
    }

    pub(super) async fn ask(&self, store: &dyn Readings, senders: &[Sender], began_us: &[i64]) -> String {
        Open::begin(self, store, senders, began_us).await.rest(store).await
    }
}

/// An answer of some pages, of which the first is there. Where a page ends is an engine's own affair.
pub(super) struct Open {
    title: String,
    permit: Permit,
    limit: usize,
    next: Option<ReadCursor>,
    rows: Vec<String>,
    gaps: Vec<GapMark>,
    as_of: Vec<i64>,
}

impl Open {
    pub(super) async fn begin(asked: &Question, store: &dyn Readings, senders: &[Sender], began_us: &[i64]) -> Self {
        let (permit, limit) = (asked.permit(senders, began_us), asked.limit);
        let (rows, gaps, as_of) = (Vec::new(), Vec::new(), Vec::new());
        let mut open = Self { title: format!("{asked:?}"), permit, limit, next: None, rows, gaps, as_of };
        open.page(store, None).await;
        open
    }

    async fn page(&mut self, store: &dyn Readings, cursor: Option<ReadCursor>) {
        let Chunk { rows, gaps, as_of, next } = store.read(&self.permit, cursor, self.limit).await.unwrap();
        let rows: Vec<String> = match rows {
            Rows::Raw(rows) => rows.iter().map(|row| format!("{row:?}")).collect(),
            Rows::Buckets(rows) => rows.iter().map(|row| format!("{row:?}")).collect(),
        };
        assert!(rows.len() <= self.limit, "{} rows of {}", rows.len(), self.limit);
        self.rows.extend(rows);
        self.gaps.extend(gaps);
        self.as_of.push(as_of);
        self.next = next;
    }

    /// The pages that follow, and then all of it: the same however it was cut into pages.
    pub(super) async fn rest(mut self, store: &dyn Readings) -> String {
        while let Some(cursor) = self.next.take() {
            self.page(store, Some(cursor)).await;
        }
        // Marks that meet are one.
        self.gaps.sort_by_key(|it| (it.series, i32::from(it.cause), it.uncertain, it.from_us, it.to_us));
        let mut marks: Vec<GapMark> = Vec::new();
        for mark in self.gaps {
            let same = |it: &GapMark| (it.series, it.cause, it.uncertain) == (mark.series, mark.cause, mark.uncertain);
            match marks.last_mut() {
                Some(last) if same(last) && mark.from_us <= last.to_us => last.to_us = last.to_us.max(mark.to_us),
                _ => marks.push(mark),
            }
        }
        self.as_of.dedup();
        format!("{} as of {:?}\n{}\n{marks:?}", self.title, self.as_of, self.rows.join("\n"))
    }
}
