//! What is put aside: counted in any case, and kept while there is room.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::deliver::Sql;
use super::plan::MOST_COUNTED;
use crate::store::delivery::{Content, Delivery, Letter, Stored};

/// Bytes of dead letters that are kept for each gateway, so that one that sends nothing else
/// cannot fill the disk. Beyond it they are only counted.
const KEPT_DEAD_BYTES: i64 = 64 << 20;
/// What one letter costs beside its record: its row and its sentence.
const LETTER_BYTES: i64 = 160;
/// Puts aside what came under a number that another record has; once, however often it comes.
pub(super) async fn forked(
    transaction: &Transaction<'_>,
    now_us: i64,
    gateway: i64,
    delivery: &Delivery,
    through: u64,
) -> Sql<Stored> {
    let Content::Forked { original, letter } = &delivery.content else { return Ok(Stored::Duplicate { through }) };
    let (lane, sequence) = (delivery.lane.to_vec(), delivery.last.cast_signed());
    let known = transaction
        .query_opt(
            "SELECT 1 FROM readings.dead_record
             WHERE gateway = $1 AND lane = $2 AND sequence = $3 AND original = $4 LIMIT 1",
            &[&gateway, &lane, &sequence, &original.as_ref()],
        )
        .await?;
    if known.is_some() {
        return Ok(Stored::Duplicate { through });
    }
    let at = At { gateway, now_us, counted: 0 };
    let letters = bury(transaction, at, delivery, (original, &[]), std::slice::from_ref(letter)).await?;
    Ok(Stored::Done { through, stored: 0, letters, newest_us: None })
}

/// Where and when something is put aside, and how many readings the gateway counted for it.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub gateway: i64,
    pub now_us: i64,
    pub counted: u64,
}

/// Counts dead letters, and keeps them with the record's bytes while there is room. `remains`
/// are these and the ordinals of the columns that are not stored; none of them: none is.
pub(super) async fn bury(
    transaction: &Transaction<'_>,
    at: At,
    delivery: &Delivery,
    (original, columns): (&[u8], &[u32]),
    letters: &[Letter],
) -> Sql<Vec<Letter>> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let letters: Vec<Letter> = letters
        .iter()
        .map(|letter| Letter { readings: Some(letter.readings.unwrap_or(at.counted)), ..letter.clone() })
        .collect();
    let (size, lane) = (kept_bytes(original.len(), letters.len()), delivery.lane.to_vec());
    let (sequence, columns) = (delivery.last.cast_signed(), ordinals(columns));
    let shown = Shown::of(&letters);
    let sql = transaction.prepare_cached(include_str!("sql/bury.sql")).await?;
    let values: [&(dyn ToSql + Sync); 13] = [
        &at.gateway,
        &size,
        &KEPT_DEAD_BYTES,
        &lane,
        &sequence,
        &at.now_us,
        &columns,
        &original,
        &shown.series,
        &shown.count,
        &shown.reason,
        &shown.readings,
        &shown.detail,
    ];
    transaction.execute(&sql, &values).await?;
    count_letters(transaction, at.now_us, at.gateway, &letters).await?;
    Ok(letters)
}

/// Letters, column by column.
pub(super) struct Shown<'a> {
    pub series: Vec<Option<i64>>,
    pub count: Vec<i64>,
    pub reason: Vec<i32>,
    pub readings: Vec<i64>,
    pub detail: Vec<&'a str>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(letters: &'a [Letter]) -> Self {
        Self {
            series: letters.iter().map(|letter| letter.series.map(i64::from)).collect(),
            count: letters.iter().map(|letter| letter.count.cast_signed()).collect(),
            reason: letters.iter().map(|letter| letter.reason.into()).collect(),
            readings: letters.iter().map(|letter| letter.readings.unwrap_or(0).cast_signed()).collect(),
            detail: letters.iter().map(|letter| letter.detail.as_str()).collect(),
        }
    }
}

/// What a dead record costs of its gateway's bound.
pub(super) fn kept_bytes(original: usize, letters: usize) -> i64 {
    original as i64 + LETTER_BYTES * letters as i64
}

/// Ordinals of columns as they stand in a row.
pub(super) fn ordinals(columns: &[u32]) -> Vec<u8> {
    columns.iter().flat_map(|ordinal| ordinal.to_le_bytes()).collect()
}

/// Adds letters to what is counted of a gateway.
pub(super) async fn count_letters(
    transaction: &Transaction<'_>,
    now_us: i64,
    gateway: i64,
    letters: &[Letter],
) -> Sql<()> {
    let mut sums = BTreeMap::<i32, (u64, u64, &str)>::new();
    for letter in letters {
        let (count, sum, detail) = sums.entry(letter.reason.into()).or_default();
        *count = count.saturating_add(letter.count);
        *sum = sum.saturating_add(letter.readings.unwrap_or(0)).min(MOST_COUNTED);
        *detail = &letter.detail;
    }
    let reasons: Vec<i32> = sums.keys().copied().collect();
    let counts: Vec<i64> = sums.values().map(|(count, ..)| count.cast_signed()).collect();
    let readings: Vec<i64> = sums.values().map(|(_, sum, _)| sum.cast_signed()).collect();
    let details: Vec<&str> = sums.values().map(|(.., detail)| *detail).collect();
    let sql = transaction.prepare_cached(include_str!("sql/count_letters.sql")).await?;
    transaction.execute(&sql, &[&gateway, &now_us, &reasons, &counts, &readings, &details]).await.map(drop)
}
