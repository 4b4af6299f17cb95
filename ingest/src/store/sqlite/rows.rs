//! Inbox rows decoded into runs, without decoding the columns that nobody asked for.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rusqlite::{Connection, OptionalExtension};
use sandan_proto::batch::{self, Group};

use super::catalogue;
use super::file::failed;
use super::run::{Run, Stored};
use crate::store::{SeriesNo, StoreError};

/// One row of the inbox.
pub(super) struct Record {
    births: u32,
    stored: Stored,
    dead_columns: Vec<u32>,
    payload: Bytes,
}

/// A row by its id; none where it is not in the connection's snapshot.
pub(super) fn record(conn: &Connection, id: i64) -> Result<Option<Record>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT births, offset_us, commit_no, dead_columns, uncertain, payload FROM record WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let dead: Vec<u8> = row.get(3)?;
            Ok(Record {
                births: row.get(0)?,
                stored: Stored { offset_us: row.get(1)?, commit: row.get(2)?, uncertain: row.get(4)? },
                dead_columns: dead.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
                payload: row.get::<_, Vec<u8>>(5)?.into(),
            })
        })
        .optional()
    };
    find().map_err(failed("reading the inbox"))
}

/// Places of births, looked up once.
#[derive(Default)]
pub(super) struct Places(HashMap<u32, Arc<[Option<SeriesNo>]>>);

impl Places {
    /// The births that were looked up.
    pub(super) fn births(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }

    fn of(&mut self, conn: &Connection, births: u32) -> Result<Arc<[Option<SeriesNo>]>, StoreError> {
        if let Some(places) = self.0.get(&births) {
            return Ok(Arc::clone(places));
        }
        let places: Arc<[_]> = catalogue::places_of(conn, births)?.into();
        self.0.insert(births, Arc::clone(&places));
        Ok(places)
    }
}

/// Calls `each` with the stored columns of a record that `wanted` names.
pub(super) fn columns(
    conn: &Connection,
    places: &mut Places,
    record: &Record,
    wanted: impl Fn(SeriesNo) -> bool,
    mut each: impl FnMut(SeriesNo, &Group, &batch::Column, Stored),
) -> Result<(), StoreError> {
    let places = places.of(conn, record.births)?;
    let place = |series: u32| places.get(series as usize).copied().flatten();
    let groups = narrow(&record.payload, |ordinal, series| {
        place(series).is_some_and(&wanted) && record.dead_columns.binary_search(&ordinal).is_err()
    })?;
    for group in &groups {
        for column in &group.columns {
            if let Some(series) = place(column.series) {
                each(series, group, column, record.stored);
            }
        }
    }
    Ok(())
}

/// The readings of some versions of one series in a record, ordered by time. One run
/// for each type that occurs.
pub(super) fn runs(
    conn: &Connection,
    places: &mut Places,
    record: &Record,
    versions: &[SeriesNo],
) -> Result<Vec<Run>, StoreError> {
    let mut runs: Vec<Run> = Vec::new();
    columns(
        conn,
        places,
        record,
        |series| versions.contains(&series),
        |_, group, column, stored| {
            if !runs.iter_mut().any(|run| run.extend(group, column, stored)) {
                let mut run = Run::new(column.values.value_type());
                run.extend(group, column, stored);
                runs.push(run);
            }
        },
    )?;
    runs.iter_mut().for_each(Run::sort);
    Ok(runs)
}

/// As `v1::Batch`, but with its groups and columns left encoded.
#[derive(Clone, PartialEq, Message)]
struct RawBatch {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    groups: Vec<Bytes>,
}
#[derive(Clone, PartialEq, Message)]
struct RawGroup {
    #[prost(sint64, repeated, tag = "1")]
    time_deltas_us: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    columns: Vec<Bytes>,
}
#[derive(Clone, PartialEq, Message)]
struct RawColumn {
    #[prost(uint32, tag = "1")]
    series: u32,
}

/// Decodes only the columns that `keep` wants, given their ordinal over all groups and
/// their series index.
fn narrow(payload: &Bytes, keep: impl Fn(u32, u32) -> bool) -> Result<Vec<Group>, StoreError> {
    let damaged = |what: &dyn std::fmt::Display| StoreError::Damaged(format!("a batch of the inbox: {what}"));
    let mut narrowed = RawBatch { groups: Vec::new() };
    let mut ordinal = 0;
    let plain = batch::unpack(payload).map_err(|error| damaged(&error))?;
    for group in RawBatch::decode(plain).map_err(|error| damaged(&error))?.groups {
        let mut group = RawGroup::decode(group).map_err(|error| damaged(&error))?;
        let mut broken = None;
        group.columns.retain(|column| {
            let here = ordinal;
            ordinal += 1;
            match RawColumn::decode(column.clone()) {
                Ok(column) => keep(here, column.series),
                Err(error) => {
                    broken = Some(error);
                    false
                }
            }
        });
        if let Some(error) = broken {
            return Err(damaged(&error));
        }
        if !group.columns.is_empty() {
            narrowed.groups.push(group.encode_to_vec().into());
        }
    }
    batch::decode(&narrowed.encode_to_vec().into()).map_err(|error| damaged(&error))
}
