//! Rows of readings in the format of a binary COPY, put together in pieces of bounded size.
//!
//! The format is PostgreSQL's, as its manual says under COPY: a signature, then for each row
//! the number of its fields and each field with its length, big-endian, then -1.

use bytes::{BufMut, Bytes, BytesMut};
use sandan_proto::batch::Values;
use sandan_proto::reading::Quality;

use super::types::Ts;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: i16 = -1;
const FIELDS: i16 = 6;
const NULL: i32 = -1;
/// Bytes of one piece: some thousands of rows to a message.
const PIECE: usize = 128 << 10;

/// The rows of one table.
#[derive(Debug, Default)]
pub(super) struct Rows {
    whole: Vec<Bytes>,
    open: BytesMut,
    pub count: u64,
}

/// What every row of a column has in common, and where its ties begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    pub series: i32,
    pub commit: i64,
    /// Observation times, µs since 1970, ascending.
    pub times_us: &'a [i64],
    pub offset_us: i64,
    /// Where `nth` of the column's readings begins; it rises along readings of one time.
    pub nth: i16,
}

/// A value as a field.
trait Field {
    /// None where it is no value of a reading that is not bad.
    fn is_value(&self) -> bool {
        true
    }
    fn put(&self, out: &mut BytesMut);
}

impl Field for f64 {
    fn is_value(&self) -> bool {
        self.is_finite()
    }
    fn put(&self, out: &mut BytesMut) {
        out.put_i32(8);
        out.put_f64(*self);
    }
}

impl Field for i64 {
    fn put(&self, out: &mut BytesMut) {
        out.put_i32(8);
        out.put_i64(*self);
    }
}

impl Field for bool {
    fn put(&self, out: &mut BytesMut) {
        i64::from(*self).put(out);
    }
}

impl Field for String {
    fn put(&self, out: &mut BytesMut) {
        // Admission bounds a text far below what the length can say.
        out.put_i32(i32::try_from(self.len()).unwrap_or(0));
        out.put_slice(self.as_bytes());
    }
}

impl Rows {
    /// Appends a column; gives the greatest `nth` that was used.
    pub(super) fn push(&mut self, column: Column<'_>, values: &Values, quality: impl Iterator<Item = Quality>) -> i16 {
        match values {
            Values::F64(values) => self.fields(column, values, quality, false),
            Values::I64(values) => self.fields(column, values, quality, false),
            Values::Bool(values) => self.fields(column, values, quality, false),
            Values::Text(values) => self.fields(column, values, quality, true),
        }
    }

    fn fields<T: Field>(
        &mut self,
        column: Column<'_>,
        values: &[T],
        quality: impl Iterator<Item = Quality>,
        value_last: bool,
    ) -> i16 {
        let Column { series, commit, times_us, offset_us, nth } = column;
        let (mut most, mut tie, mut before) = (nth, nth, None);
        for ((&time_us, value), quality) in times_us.iter().zip(values).zip(quality) {
            // Ties keep their order; beyond 32,767 of them they share a place.
            tie = if before == Some(time_us) { tie.saturating_add(1) } else { nth };
            (before, most) = (Some(time_us), most.max(tie));
            let out = self.room();
            out.put_i16(FIELDS);
            out.put_i32(8);
            out.put_i64(Ts(time_us.saturating_add(offset_us)).to_server());
            let is_bad = quality.is_bad() || !value.is_value();
            let put_value = |out: &mut BytesMut| if is_bad { out.put_i32(NULL) } else { value.put(out) };
            if !value_last {
                put_value(out);
            }
            out.put_i32(8);
            out.put_i64(commit);
            out.put_i32(4);
            out.put_i32(series);
            let quality = if is_bad && !quality.is_bad() { Quality::BAD_OUT_OF_RANGE } else { quality };
            out.put_i32(2);
            out.put_i16(quality.code().into());
            out.put_i32(2);
            out.put_i16(tie);
            if value_last {
                put_value(out);
            }
            self.count += 1;
        }
        most
    }

    fn room(&mut self) -> &mut BytesMut {
        if self.open.len() >= PIECE {
            self.whole.push(self.open.split().freeze());
        }
        if self.open.capacity() == 0 {
            self.open.reserve(PIECE + 4_096);
        }
        if self.count == 0 && self.open.is_empty() {
            self.open.put_slice(SIGNATURE);
        }
        &mut self.open
    }

    /// The pieces that are whole, in order: what comes after them is in the others.
    pub(super) fn take_whole(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.whole)
    }

    /// The pieces in order that were not taken, the last of which ends the copy; none where there is no row.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        if self.count == 0 {
            return Vec::new();
        }
        let mut last = BytesMut::with_capacity(self.open.len() + 2);
        last.put_slice(&self.open);
        last.put_i16(END);
        self.whole.iter().cloned().chain([last.freeze()]).collect()
    }
}
