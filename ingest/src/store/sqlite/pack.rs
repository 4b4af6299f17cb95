//! How columns are packed in firm files.
//!
//! Numbers by pco, decimals as whole numbers; a bool as a byte, 0 or 1; a text as its index in a
//! dictionary of the column's texts; qualities as runs. Everything is lossless, to the bit.

use std::collections::HashMap;

use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec};
use sandan_proto::batch::Values;
use sandan_proto::reading::Quality;

use crate::store::StoreError;

mod decimal;

pub(super) use crate::store::aggregate::packed::{pack_stats, unpack_stats};

/// Leading byte of a packed value column.
const F64: u8 = 1;
const I64: u8 = 2;
const BOOL: u8 = 3;
const TEXT: u8 = 4;
/// Floats that are decimals, from format 3 of the file on.
const DECIMAL: u8 = 5;

/// Bytes of one packed quality run: a count (little-endian) and a code.
const RUN_BYTES: usize = 5;

fn numbers<T: Number>(values: &[T], config: &ChunkConfig) -> Result<Vec<u8>, StoreError> {
    simple_compress(values, config).map_err(|source| StoreError::Engine { what: "packing", source: Box::new(source) })
}

/// Whole numbers, by the smaller of two ways: pco looks for a way on a sample, which misses values
/// that move in a line for a while, as set-points do, and those cost little to try.
fn integers(values: &[i64]) -> Result<Vec<u8>, StoreError> {
    let found = numbers(values, &ChunkConfig::default())?;
    let steps = pack_ascending(values)?;
    Ok(if steps.len() < found.len() { steps } else { found })
}

/// Exactly `rows` numbers: a few damaged bytes may claim millions.
fn unpacked<T: Number + Default>(bytes: &[u8], rows: usize) -> Result<Vec<T>, StoreError> {
    let mut values = vec![T::default(); rows];
    let progress = simple_decompress_into(bytes, &mut values).map_err(|error| damaged(&error.to_string()))?;
    if progress.n_processed != rows || !progress.finished {
        return Err(damaged("it has another length than its block"));
    }
    Ok(values)
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("a packed column cannot be read: {what}"))
}

/// Packs times, which ascend. A fixed delta order is 2.7 times
/// faster than a searched one and as small.
pub(super) fn pack_ascending(values: &[i64]) -> Result<Vec<u8>, StoreError> {
    numbers(values, &ChunkConfig::default().with_delta_spec(DeltaSpec::TryConsecutive(1)))
}

/// The other way.
pub(super) fn unpack_ascending(bytes: &[u8], rows: usize) -> Result<Vec<i64>, StoreError> {
    unpacked(bytes, rows)
}

/// Packs commit numbers: in one pass over rows they ascend with the times, and after a merge of
/// late data they mostly do.
pub(super) fn pack_commits(values: &[i64]) -> Result<Vec<u8>, StoreError> {
    pack_ascending(values)
}

/// The other way.
pub(super) fn unpack_commits(bytes: &[u8], rows: usize) -> Result<Vec<i64>, StoreError> {
    unpack_ascending(bytes, rows)
}

/// Packs values of one type.
pub(super) fn pack_values(values: &Values) -> Result<Vec<u8>, StoreError> {
    let config = ChunkConfig::default();
    let (kind, packed) = match values {
        Values::F64(values) => match decimal::pack(values)? {
            Some(packed) => (DECIMAL, packed),
            None => (F64, numbers(values, &config)?),
        },
        Values::I64(values) => (I64, integers(values)?),
        Values::Bool(values) => {
            let bits: Vec<u8> = values.iter().map(|&value| value.into()).collect();
            (BOOL, numbers(&bits, &config.with_enable_8_bit(true))?)
        }
        Values::Text(values) => (TEXT, pack_texts(values)?),
    };
    let mut bytes = Vec::with_capacity(packed.len() + 1);
    bytes.push(kind);
    bytes.extend(packed);
    Ok(bytes)
}

/// The other way.
pub(super) fn unpack_values(bytes: &[u8], rows: usize) -> Result<Values, StoreError> {
    let (&kind, packed) = bytes.split_first().ok_or_else(|| damaged("it is empty"))?;
    Ok(match kind {
        F64 => Values::F64(unpacked(packed, rows)?),
        DECIMAL => Values::F64(decimal::unpack(packed, rows)?),
        I64 => Values::I64(unpacked(packed, rows)?),
        BOOL => Values::Bool(unpacked::<u8>(packed, rows)?.into_iter().map(|bit| bit != 0).collect()),
        TEXT => Values::Text(unpack_texts(packed, rows)?),
        other => return Err(damaged(&format!("kind {other}"))),
    })
}

/// Number of distinct texts, each with its length before it, then the indices.
fn pack_texts(values: &[String]) -> Result<Vec<u8>, StoreError> {
    let mut known = HashMap::<&str, u32>::new();
    let mut dictionary = Vec::new();
    let mut indices = Vec::with_capacity(values.len());
    for text in values {
        let next = narrow(known.len())?;
        let index = *known.entry(text).or_insert(next);
        if index == next {
            dictionary.extend(narrow(text.len())?.to_le_bytes());
            dictionary.extend(text.as_bytes());
        }
        indices.push(index);
    }
    let mut bytes = narrow(known.len())?.to_le_bytes().to_vec();
    bytes.extend(dictionary);
    bytes.extend(numbers(&indices, &ChunkConfig::default())?);
    Ok(bytes)
}

fn unpack_texts(mut bytes: &[u8], rows: usize) -> Result<Vec<String>, StoreError> {
    fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], StoreError> {
        let (head, tail) = bytes.split_at_checked(len).ok_or_else(|| damaged("a text is cut off"))?;
        *bytes = tail;
        Ok(head)
    }
    let length = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
    let texts = length(take(&mut bytes, 4)?);
    let mut dictionary = Vec::new();
    for _ in 0..texts {
        let len = length(take(&mut bytes, 4)?);
        let text = take(&mut bytes, len)?;
        dictionary.push(std::str::from_utf8(text).map_err(|_| damaged("a text is not UTF-8"))?);
    }
    unpacked::<u32>(bytes, rows)?
        .into_iter()
        .map(|index| dictionary.get(index as usize).map(|&text| text.to_owned()))
        .collect::<Option<_>>()
        .ok_or_else(|| damaged("a text is not in the dictionary"))
}

fn narrow(len: usize) -> Result<u32, StoreError> {
    u32::try_from(len).map_err(|_| damaged("a length beyond 32 bits"))
}

/// Packs qualities; all good packs to nothing.
pub(super) fn pack_quality(quality: &[Quality]) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    if quality.iter().any(|&quality| quality != Quality::GOOD) {
        for run in quality.chunk_by(|one, next| one == next) {
            bytes.extend(narrow(run.len())?.to_le_bytes());
            bytes.push(run[0].code());
        }
    }
    Ok(bytes)
}

/// The other way; nothing unpacks to nothing, which means all good.
pub(super) fn unpack_quality(bytes: &[u8], rows: usize) -> Result<Vec<Quality>, StoreError> {
    let mut quality = Vec::new();
    for run in bytes.chunks(RUN_BYTES) {
        let &[a, b, c, d, code] = run else { return Err(damaged("a quality run is cut off")) };
        let code = Quality::from_code(code.into()).ok_or_else(|| damaged("a quality is unknown"))?;
        let count = u32::from_le_bytes([a, b, c, d]) as usize;
        if count > rows - quality.len() {
            return Err(damaged("its quality is longer than its block"));
        }
        quality.extend(std::iter::repeat_n(code, count));
    }
    if !quality.is_empty() && quality.len() != rows {
        return Err(damaged("its quality is shorter than its block"));
    }
    Ok(quality)
}

#[cfg(test)]
mod tests;
