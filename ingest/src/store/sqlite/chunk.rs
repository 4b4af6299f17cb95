//! Chunks: the packed columns of a block, one behind the other in a few rows of the file.
//!
//! A column takes some 2 KB. In rows of their own such columns leave a third to a half of each
//! page empty; in rows of many pages the last one is all that is lost.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::file::failed;
use crate::store::StoreError;

/// Bytes at which a chunk is full: eight pages. A larger one would save little more, and a
/// column costs reading its whole chunk.
const CHUNK_BYTES: usize = 32 << 10;
/// A chunk's id is its block's, shifted by so much, and its number in it.
const NUMBER_BITS: u32 = 20;

/// Where a piece lies in its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Number of the chunk.
    pub chunk: i64,
    /// First byte.
    pub at: usize,
}

/// Writes a block's chunks.
pub(super) struct Chunks<'a> {
    tx: &'a Transaction<'a>,
    block: i64,
    number: i64,
    bytes: Vec<u8>,
    written: u64,
}

fn id(block: i64, number: i64) -> i64 {
    block << NUMBER_BITS | number
}

impl<'a> Chunks<'a> {
    pub(super) fn new(tx: &'a Transaction<'a>, block: i64) -> Self {
        Self { tx, block, number: 0, bytes: Vec::with_capacity(CHUNK_BYTES), written: 0 }
    }

    /// Adds a piece, all of which lies in one chunk.
    pub(super) fn put(&mut self, parts: [&[u8]; 2]) -> Result<Place, StoreError> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if !self.bytes.is_empty() && self.bytes.len() + len > CHUNK_BYTES {
            self.end()?;
        }
        let place = Place { chunk: self.number, at: self.bytes.len() };
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        Ok(place)
    }

    /// Writes what is left. Gives how many bytes were written since the beginning.
    pub(super) fn end(&mut self) -> Result<u64, StoreError> {
        self.tx
            .prepare_cached("INSERT INTO chunk (id, data) VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![id(self.block, self.number), self.bytes]))
            .map_err(failed("writing a firm file"))?;
        self.number += 1;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(self.written)
    }
}

/// The two parts of a piece.
pub(super) fn get(conn: &Connection, block: i64, place: Place, lens: [usize; 2]) -> Result<[Vec<u8>; 2], StoreError> {
    let len = lens[0].saturating_add(lens[1]);
    // None of an empty one.
    let piece: Option<Option<Vec<u8>>> = conn
        .prepare_cached("SELECT substr(data, ?2 + 1, ?3) FROM chunk WHERE id = ?1")
        .and_then(|mut find| {
            find.query_row(params![id(block, place.chunk), place.at as i64, len as i64], |row| row.get(0)).optional()
        })
        .map_err(failed("reading a firm file"))?;
    let mut piece = piece.flatten().unwrap_or_default();
    if piece.len() != len {
        return Err(StoreError::Damaged(format!("chunk {} of block {block} is gone or cut off", place.chunk)));
    }
    let second = piece.split_off(lens[0]);
    Ok([piece, second])
}

/// Deletes a chunk that no column needs any more. The first one stays, which has the block's times.
pub(super) fn forget(tx: &Transaction<'_>, block: i64, number: i64) -> rusqlite::Result<()> {
    if number > 0 {
        tx.prepare_cached(
            "DELETE FROM chunk WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM packed WHERE block = ?2 AND chunk = ?3)",
        )?
        .execute(params![id(block, number), block, number])?;
    }
    Ok(())
}

/// Deletes the chunks of a block.
pub(super) fn forget_all(tx: &Transaction<'_>, block: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM chunk WHERE id >= ?1 AND id < ?2")?
        .execute(params![id(block, 0), id(block + 1, 0)])
        .map(drop)
}
