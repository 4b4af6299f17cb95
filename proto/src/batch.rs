//! A batch: readings in columns, columns in groups that share their times.
//!
//! One reply of a device gives many signals at one moment, so its columns share
//! one time column: a six-zone furnace costs one time per reply, not twelve. Times
//! are monotonic microseconds, delta-packed; a column without faults carries no
//! quality at all.

use bytes::Bytes;
use prost::Message;

use crate::limits::{MAX_PAYLOAD_BYTES, MAX_READINGS_PER_BATCH, MAX_SERIES, MAX_TEXT_BYTES};
use crate::reading::{Quality, Value, ValueType};
use crate::v1;

/// Columns that share their times.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Monotonic microseconds, never decreasing.
    pub times_us: Vec<i64>,
    /// Each with as many values as there are times.
    pub columns: Vec<Column>,
}

/// The values of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Index of the series in the batch's births.
    pub series: u32,
    /// Runs whose counts add up to the number of values; empty when all are good.
    pub quality: Vec<(u32, Quality)>,
    /// The values, in the order of the group's times.
    pub values: Values,
}

/// A column's values, of one type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

impl Values {
    /// An empty column of a type.
    pub fn empty(of: ValueType) -> Self {
        match of {
            ValueType::I64 => Self::I64(Vec::new()),
            ValueType::Bool => Self::Bool(Vec::new()),
            ValueType::Text => Self::Text(Vec::new()),
            ValueType::F64 | ValueType::Unspecified => Self::F64(Vec::new()),
        }
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Their type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::F64(_) => ValueType::F64,
            Self::I64(_) => ValueType::I64,
            Self::Bool(_) => ValueType::Bool,
            Self::Text(_) => ValueType::Text,
        }
    }
    /// The value at an index that is below [`len`](Self::len).
    pub fn get(&self, index: usize) -> Option<Value> {
        match self {
            Self::F64(values) => values.get(index).copied().map(Value::F64),
            Self::I64(values) => values.get(index).copied().map(Value::I64),
            Self::Bool(values) => values.get(index).copied().map(Value::Bool),
            Self::Text(values) => values.get(index).cloned().map(Value::Text),
        }
    }
    /// Appends a value of the same type; gives back a value of another.
    pub fn push(&mut self, value: Value) -> Result<(), Value> {
        match (self, value) {
            (Self::F64(values), Value::F64(value)) => values.push(value),
            (Self::I64(values), Value::I64(value)) => values.push(value),
            (Self::Bool(values), Value::Bool(value)) => values.push(value),
            (Self::Text(values), Value::Text(value)) => values.push(value),
            (_, value) => return Err(value),
        }
        Ok(())
    }
}

impl Column {
    /// The quality of each value in order.
    pub fn qualities(&self) -> impl Iterator<Item = Quality> + '_ {
        let all_good = if self.quality.is_empty() { self.values.len() } else { 0 };
        std::iter::repeat_n(Quality::GOOD, all_good)
            .chain(self.quality.iter().flat_map(|&(count, quality)| std::iter::repeat_n(quality, count as usize)))
    }
    /// Appends the quality of one more value, whose index is `index`.
    pub fn push_quality(&mut self, index: usize, quality: Quality) {
        if self.quality.is_empty() {
            if quality == Quality::GOOD {
                return;
            }
            if let Ok(before @ 1..) = u32::try_from(index) {
                self.quality.push((before, Quality::GOOD));
            }
        }
        match self.quality.last_mut() {
            Some((count, last)) if *last == quality => *count += 1,
            _ => self.quality.push((1, quality)),
        }
    }
}

/// Why a payload was refused.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Not a `Batch` message.
    #[error("payload is not a batch")]
    Undecodable(#[from] prost::DecodeError),
    /// The payload is larger than one may be.
    #[error("payload has {0} bytes, more than {MAX_PAYLOAD_BYTES}")]
    TooLarge(usize),
    /// Packed in a way that this build does not know, damaged, or twice.
    #[error("payload cannot be unpacked")]
    Packing,
    /// More readings than one batch may hold.
    #[error("batch has more than {MAX_READINGS_PER_BATCH} readings")]
    TooManyReadings,
    /// A column is not as long as its group's times.
    #[error("column of series {series} has {values} values for {times} times")]
    Length {
        /// The series index.
        series: u32,
        /// Values in the column.
        values: usize,
        /// Times in the group.
        times: usize,
    },
    /// A column without values, or of a kind this build does not know.
    #[error("column of series {0} has no values of a known type")]
    NoValues(u32),
    /// Quality runs do not add up, or a code is out of range.
    #[error("column of series {0} has quality runs that do not fit its values")]
    Quality(u32),
    /// Times go backwards or overflow.
    #[error("times of a group decrease or overflow")]
    Times,
    /// A series index beyond what births can hold.
    #[error("series index {0} is out of range")]
    SeriesIndex(u32),
    /// A text with NUL, or longer than one may be.
    #[error("column of series {0} has a text with NUL or of more than {MAX_TEXT_BYTES} bytes")]
    Text(u32),
}

/// How hard zstd tries: 1 takes 20 µs for a second of 500 readings on a small box, and higher
/// levels save little on columns of a few readings.
const ZSTD_LEVEL: i32 = 1;

/// Encodes groups as the payload of a sealed batch, packed where that is shorter.
pub fn encode(groups: &[Group]) -> Bytes {
    let plain = encode_plain(groups);
    match pack(&plain) {
        Some(packed) if packed.len() < plain.len() => packed.into(),
        _ => plain.into(),
    }
}

/// A `Batch` that holds an encoded one. None when the compressor has no memory.
fn pack(plain: &[u8]) -> Option<Vec<u8>> {
    use v1::packed::Compression;
    let packed = v1::Packed {
        compression: Compression::Zstd.into(),
        size: u32::try_from(plain.len()).ok()?,
        data: zstd::bulk::compress(plain, ZSTD_LEVEL).ok()?,
    };
    Some(v1::Batch { groups: Vec::new(), packed: Some(packed) }.encode_to_vec())
}

/// The encoded groups of a payload from outside: itself, or what it unpacks to, which is at
/// most [`MAX_PAYLOAD_BYTES`] long.
pub fn unpack(payload: &Bytes) -> Result<Bytes, BatchError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(BatchError::TooLarge(payload.len()));
    }
    // Looked for without decoding the groups, of which there may be many.
    let packed = match MaybePacked::decode(payload.clone())? {
        MaybePacked { packed: None, .. } => return Ok(payload.clone()),
        MaybePacked { packed: Some(_), groups } if !groups.is_empty() => return Err(BatchError::Packing),
        MaybePacked { packed: Some(packed), .. } => packed,
    };
    let size = packed.size as usize;
    if size > MAX_PAYLOAD_BYTES {
        return Err(BatchError::TooLarge(size));
    }
    if packed.compression() != v1::packed::Compression::Zstd {
        return Err(BatchError::Packing);
    }
    let plain = zstd::bulk::decompress(&packed.data, size).map_err(|_| BatchError::Packing)?;
    if plain.len() == size { Ok(plain.into()) } else { Err(BatchError::Packing) }
}

/// As `v1::Batch`, but with its groups left encoded.
#[derive(Clone, PartialEq, Message)]
struct MaybePacked {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    groups: Vec<Bytes>,
    #[prost(message, optional, tag = "2")]
    packed: Option<v1::Packed>,
}

pub(crate) fn encode_plain(groups: &[Group]) -> Vec<u8> {
    let groups = groups
        .iter()
        .map(|group| {
            let mut before = 0;
            v1::Group {
                time_deltas_us: group
                    .times_us
                    .iter()
                    .map(|&time| time - std::mem::replace(&mut before, time))
                    .collect(),
                columns: group.columns.iter().map(encode_column).collect(),
            }
        })
        .collect();
    v1::Batch { groups, packed: None }.encode_to_vec()
}

fn encode_column(column: &Column) -> v1::Column {
    use v1::column::Values as Wire;
    v1::Column {
        series: column.series,
        quality: column
            .quality
            .iter()
            .map(|&(count, quality)| v1::QualityRun { count, code: quality.code().into() })
            .collect(),
        values: Some(match &column.values {
            Values::F64(values) => Wire::F64(v1::F64Values { values: values.clone() }),
            Values::I64(values) => Wire::I64(v1::I64Values { values: values.clone() }),
            Values::Bool(values) => Wire::Bools(v1::BoolValues { values: values.clone() }),
            Values::Text(values) => Wire::Text(v1::TextValues { values: values.clone() }),
        }),
    }
}

/// Decodes and checks a payload from outside. What comes out keeps every promise
/// of [`Group`] and [`Column`].
pub fn decode(payload: &Bytes) -> Result<Vec<Group>, BatchError> {
    let batch = v1::Batch::decode(unpack(payload)?)?;
    if batch.packed.is_some() {
        return Err(BatchError::Packing);
    }
    let mut readings = 0usize;
    let mut groups = Vec::with_capacity(batch.groups.len());
    for group in batch.groups {
        readings += group.time_deltas_us.len() * group.columns.len();
        if readings > MAX_READINGS_PER_BATCH {
            return Err(BatchError::TooManyReadings);
        }
        let times_us = decode_times(&group.time_deltas_us)?;
        let columns =
            group.columns.into_iter().map(|column| decode_column(column, times_us.len())).collect::<Result<_, _>>()?;
        groups.push(Group { times_us, columns });
    }
    Ok(groups)
}

fn decode_times(deltas: &[i64]) -> Result<Vec<i64>, BatchError> {
    let mut time = 0i64;
    deltas
        .iter()
        .enumerate()
        .map(|(index, &delta)| {
            if index > 0 && delta < 0 {
                return Err(BatchError::Times);
            }
            time = time.checked_add(delta).ok_or(BatchError::Times)?;
            Ok(time)
        })
        .collect()
}

fn decode_column(column: v1::Column, times: usize) -> Result<Column, BatchError> {
    use v1::column::Values as Wire;
    let series = column.series;
    if series as usize >= MAX_SERIES {
        return Err(BatchError::SeriesIndex(series));
    }
    let values = match column.values.ok_or(BatchError::NoValues(series))? {
        Wire::F64(v1::F64Values { values }) => Values::F64(values),
        Wire::I64(v1::I64Values { values }) => Values::I64(values),
        Wire::Bools(v1::BoolValues { values }) => Values::Bool(values),
        Wire::Text(v1::TextValues { values }) => {
            if values.iter().any(|text| text.len() > MAX_TEXT_BYTES || text.contains('\0')) {
                return Err(BatchError::Text(series));
            }
            Values::Text(values)
        }
    };
    if values.len() != times {
        return Err(BatchError::Length { series, values: values.len(), times });
    }
    let mut covered = 0usize;
    let quality = column
        .quality
        .into_iter()
        .map(|run| {
            covered = covered.saturating_add(run.count as usize);
            Quality::from_code(run.code).map(|quality| (run.count, quality))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or(BatchError::Quality(series))?;
    if !quality.is_empty() && covered != times {
        return Err(BatchError::Quality(series));
    }
    Ok(Column { series, quality, values })
}

/// How many readings the groups hold.
pub fn count(groups: &[Group]) -> u64 {
    groups.iter().map(|group| (group.times_us.len() * group.columns.len()) as u64).sum()
}

/// Collects readings into groups: columns that turn out to have the same times
/// share them.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    columns: std::collections::BTreeMap<u32, (Vec<i64>, Column)>,
    /// Series whose readings did not come in the order of their times.
    unsorted: std::collections::BTreeSet<u32>,
    readings: usize,
    text_bytes: usize,
}

/// Upper bound of what one reading takes encoded, without its text: value 10,
/// time 10, and its share of a column's and a quality run's headers.
const ENCODED_READING_BYTES: usize = 32;

impl BatchBuilder {
    /// Adds one reading. The values of one series must keep one type; a reading that breaks
    /// this is given back. A source that tells its own times may tell them in any order:
    /// the batch has them in that of time.
    pub fn push(&mut self, series: u32, time_us: i64, value: Value, quality: Quality) -> Result<(), Value> {
        let (times, column) = self.columns.entry(series).or_insert_with(|| {
            let values = Values::empty(value.value_type());
            (Vec::new(), Column { series, quality: Vec::new(), values })
        });
        let text_bytes = if let Value::Text(text) = &value { text.len() + 4 } else { 0 };
        column.values.push(value)?;
        if times.last().is_some_and(|&last| time_us < last) {
            self.unsorted.insert(series);
        }
        column.push_quality(times.len(), quality);
        times.push(time_us);
        self.readings += 1;
        self.text_bytes += text_bytes;
        Ok(())
    }
    /// Readings so far.
    pub fn readings(&self) -> usize {
        self.readings
    }
    /// An upper bound of the encoded size so far.
    pub fn encoded_bound(&self) -> usize {
        self.readings * ENCODED_READING_BYTES + self.text_bytes
    }
    /// Takes everything out as groups, in order of their first series.
    pub fn take(&mut self) -> Vec<Group> {
        (self.readings, self.text_bytes) = (0, 0);
        let mut groups: Vec<Group> = Vec::new();
        let mut by_times = std::collections::HashMap::<Vec<i64>, usize>::new();
        let unsorted = std::mem::take(&mut self.unsorted);
        for (series, (mut times_us, mut column)) in std::mem::take(&mut self.columns) {
            if unsorted.contains(&series) {
                (times_us, column) = sorted(&times_us, &column);
            }
            if let Some(&group) = by_times.get(&times_us) {
                groups[group].columns.push(column);
            } else {
                by_times.insert(times_us.clone(), groups.len());
                groups.push(Group { times_us, columns: vec![column] });
            }
        }
        groups
    }
}

/// A column in the order of time; of one time in that in which its readings came.
fn sorted(times_us: &[i64], column: &Column) -> (Vec<i64>, Column) {
    let qualities: Vec<Quality> = column.qualities().collect();
    let mut order: Vec<usize> = (0..times_us.len()).collect();
    order.sort_by_key(|&at| times_us[at]);
    let values = Values::empty(column.values.value_type());
    let mut by_time = Column { series: column.series, quality: Vec::new(), values };
    for (index, &at) in order.iter().enumerate() {
        // A value of the column has the column's type.
        if let Some(value) = column.values.get(at) {
            by_time.push_quality(index, qualities[at]);
            let _ = by_time.values.push(value);
        }
    }
    (order.iter().map(|&at| times_us[at]).collect(), by_time)
}

#[cfg(test)]
mod tests;
