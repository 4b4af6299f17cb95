//! The tables of readings: a hypertable each where the server has TimescaleDB, else a
//! partition for each day (UTC), made ahead and dropped by the service.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::{Object, Transaction};
use jiff::Timestamp;
use sandan_proto::id::TimelineId;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::database::{Database, Timescale};
use super::super::migrate::LOCKS;
use super::Shared;
use super::error::failed;
use super::types::Ts;
use crate::store::StoreError;
use crate::time::DAY_US;

/// The tables, by the kind of the values in them.
pub(super) const READINGS: [&str; 3] = ["readings.reading", "readings.reading_i64", "readings.reading_text"];
/// Days from today on for which partitions are made ahead: a service that stands still over a
/// night goes on without making any.
const AHEAD_DAYS: i64 = 2;
/// Days before today for which partitions are made when readings of them come. What is still
/// older goes into the partition for the rest: nothing that a gateway sends makes tables without
/// end.
const BEHIND_DAYS: i64 = 400;
/// The first version in which direct compression is known not to lose readings.
const SAFE_TO_COMPRESS: (u32, u32, u32) = (2, 28, 1);
/// Whoever makes tables or partitions holds this lock, beside the one of the layout.
const MAKING: i32 = 3;

/// How the tables are cut by time. Fixed when they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptAs {
    Partitions,
    Hypertables,
}

impl KeptAs {
    pub(super) fn word(self) -> &'static str {
        match self {
            KeptAs::Partitions => "partitions",
            KeptAs::Hypertables => "hypertables",
        }
    }
    pub(super) fn of_word(word: &str) -> Result<Self, StoreError> {
        [KeptAs::Partitions, KeptAs::Hypertables]
            .into_iter()
            .find(|kept_as| kept_as.word() == word)
            .ok_or_else(|| StoreError::Damaged(format!("readings are kept as {word:?}")))
    }
    /// Ends the statement that makes a table.
    pub(super) fn clause(self) -> &'static str {
        match self {
            KeptAs::Partitions => "PARTITION BY RANGE (ts)",
            KeptAs::Hypertables => "",
        }
    }
}

/// What is known of the tables of one store.
#[derive(Debug)]
pub(super) struct Tables {
    kept_as: KeptAs,
    /// Days that need no partition any more.
    there: Mutex<HashSet<i64>>,
}

impl Tables {
    pub(super) fn new(kept_as: KeptAs) -> Self {
        Self { kept_as, there: Mutex::default() }
    }

    /// Days among these whose partitions are not known to be there.
    fn missing(&self, days: &BTreeSet<i64>) -> Vec<i64> {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        days.iter().copied().filter(|day| !there.contains(day)).collect()
    }
    fn note(&self, day: i64) {
        self.there.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
    }
    fn forget_before(&self, day: i64) {
        self.there.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| *known >= day);
    }
}

/// The day of a time.
pub(super) fn day_of(time_us: i64) -> i64 {
    time_us.div_euclid(DAY_US)
}

/// The three numbers of a version; what follows a dash is before it.
fn version_of(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let whole = (next(), next(), next());
    match whole {
        (major, minor, patch) if text.contains('-') => (major, minor, patch.saturating_sub(1)),
        whole => whole,
    }
}

/// What the store's own row says.
pub(super) struct Opened {
    pub timeline: TimelineId,
    pub kept_as: KeptAs,
}

/// Makes the tables of readings where there are none, in the best way that the server can.
pub(super) async fn open(database: &Database) -> Result<Opened, StoreError> {
    let failed = failed("opening the store");
    let mut client = database
        .client()
        .await
        .map_err(|error| StoreError::Engine { what: "connecting to the database", source: Box::new(error) })?;
    let transaction = client.transaction().await.map_err(&failed)?;
    // Whoever waits here finds the work done.
    let alone = format!("SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({LOCKS}, {MAKING})");
    transaction.batch_execute(&alone).await.map_err(&failed)?;
    let find = "SELECT timeline, kept_as FROM readings.store";
    let mut found = transaction.query_opt(find, &[]).await.map_err(&failed)?;
    if found.is_none() {
        make(&transaction, database.facts().timescale.as_ref()).await.map_err(&failed)?;
        found = transaction.query_opt(find, &[]).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)?;
    let row = found.ok_or_else(|| StoreError::Damaged("the store has no row of its own".into()))?;
    let timeline = TimelineId::from_bytes(row.get(0)).map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(Opened { timeline, kept_as: KeptAs::of_word(row.get(1))? })
}

async fn make(transaction: &Transaction<'_>, timescale: Option<&Timescale>) -> Result<(), Error> {
    let kept_as = if timescale.is_some() { KeptAs::Hypertables } else { KeptAs::Partitions };
    let columns = include_str!("sql/make_readings.sql").replace("{{partitioned}}", kept_as.clause());
    transaction.batch_execute(&columns).await?;
    for table in READINGS {
        let further = match timescale {
            None => format!("CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT"),
            Some(timescale) => {
                let cut = format!(
                    "SELECT create_hypertable('{table}', 'ts', chunk_time_interval => INTERVAL '1 day',
                                              create_default_indexes => false);"
                );
                // By time alone: with the ties in it, a day that is packed twice comes out unsorted
                // (seen in 2.23), also where its newest reading is looked for.
                let packed = format!(
                    "ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby = 'series_id',
                         timescaledb.compress_orderby = 'ts');
                     SELECT add_compression_policy('{table}', INTERVAL '2 days')"
                );
                if is_community(timescale) { cut + &packed } else { cut }
            }
        };
        transaction.batch_execute(&further).await?;
    }
    transaction
        .execute(
            "INSERT INTO readings.store (one, timeline, kept_as) VALUES (1, $1, $2)",
            &[&TimelineId::random().to_vec(), &kept_as.word()],
        )
        .await
        .map(drop)
}

/// The edition with compression and policies.
fn is_community(timescale: &Timescale) -> bool {
    timescale.license == "timescale"
}

/// What a transaction that copies readings says first: a server that can compress them safely
/// as they come is told to.
pub(super) fn preamble(shared: &Shared) -> Option<&'static str> {
    let timescale = shared.database.facts().timescale.as_ref()?;
    let safe = is_community(timescale) && version_of(&timescale.version) >= SAFE_TO_COMPRESS;
    safe.then_some("SET LOCAL timescaledb.enable_direct_compress_copy = on")
}

/// By what the readings of a series are sorted. A day that is packed, written to and packed
/// again may be taken for sorted when it is not: TimescaleDB is asked for a sort that it cannot
/// leave out.
pub(super) fn order(shared: &Shared) -> &'static str {
    match shared.tables.kept_as {
        KeptAs::Partitions => "ts, commit_no, nth",
        KeptAs::Hypertables => "ts + INTERVAL '0', commit_no, nth",
    }
}

/// Makes the partitions of the next days.
pub(super) async fn ahead(shared: &Shared) -> Result<(), StoreError> {
    let today = day_of((shared.options.now)());
    ensure(shared, &(today - 1..=today + AHEAD_DAYS).collect()).await
}

/// Makes the partitions of these days where there are none. Cheap where they are known.
pub(super) async fn ensure(shared: &Shared, days: &BTreeSet<i64>) -> Result<(), StoreError> {
    if shared.tables.kept_as == KeptAs::Hypertables {
        return Ok(());
    }
    let today = day_of((shared.options.now)());
    let missing = shared.tables.missing(days);
    if missing.is_empty() {
        return Ok(());
    }
    let mut client = shared.session().await?;
    for day in missing {
        if (today - BEHIND_DAYS..=today + AHEAD_DAYS).contains(&day) {
            for table in READINGS {
                attach(&mut client, table, day).await?;
            }
        }
        shared.tables.note(day);
    }
    Ok(())
}

async fn attach(client: &mut Object, table: &str, day: i64) -> Result<(), StoreError> {
    let failed = failed("making a partition");
    let (name, [from, to]) = (partition(table, day)?, bounds(day)?);
    let transaction = client.transaction().await.map_err(&failed)?;
    // One process makes it; the others find it.
    let alone = format!("SELECT pg_advisory_xact_lock({LOCKS}, {MAKING})");
    transaction.batch_execute(&alone).await.map_err(&failed)?;
    let there: bool =
        transaction.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await.map_err(&failed)?.get(0);
    if there {
        return Ok(());
    }
    // Made beside and attached, readings go on being read and written meanwhile.
    let sql = format!(
        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
         ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}')"
    );
    match transaction.batch_execute(&sql).await {
        Ok(()) => transaction.commit().await.map_err(&failed),
        // Readings of the day lie with the rest; that is where the others go too.
        Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// `readings.reading_20261123`.
fn partition(table: &str, day: i64) -> Result<String, StoreError> {
    Ok(format!("{table}_{}", midnight(day)?.strftime("%Y%m%d")))
}

fn bounds(day: i64) -> Result<[String; 2], StoreError> {
    Ok([midnight(day)?.to_string(), midnight(day + 1)?.to_string()])
}

fn midnight(day: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_second(day.saturating_mul(DAY_US / 1_000_000))
        .map_err(|error| StoreError::Damaged(format!("day {day}: {error}")))
}

/// The tables of what lies outside the partitions of days, by the index of their kind.
pub(super) fn rests(shared: &Shared) -> Vec<(usize, String)> {
    match shared.tables.kept_as {
        KeptAs::Hypertables => Vec::new(),
        KeptAs::Partitions => READINGS.iter().map(|table| format!("{table}_rest")).enumerate().collect(),
    }
}

/// Drops the days before one, where everything in them is counted; else they stay until it is.
pub(super) async fn drop_days(shared: &Shared, before_us: i64) -> Result<(), StoreError> {
    let failed = failed("dropping days past their retention");
    let mut client = shared.session().await?;
    let mut old = Vec::new();
    for table in READINGS {
        old.extend(days_before(shared, &client, table, day_of(before_us)).await?);
    }
    if old.is_empty() {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(&failed)?;
    // Nobody stores readings from here on, and whoever did before is done. Reads go on.
    let alone = format!("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE", READINGS.join(", ONLY "));
    transaction.batch_execute(&alone).await.map_err(&failed)?;
    let waits = transaction.query_one(include_str!("sql/waits_to_be_counted.sql"), &[&before_us, &Ts(before_us)]).await;
    let mut waits: bool = waits.map_err(&failed)?.get(0);
    for (_, rest) in rests(shared) {
        let one =
            transaction.query_opt(&format!("SELECT 1 FROM {rest} WHERE ts < $1 LIMIT 1"), &[&Ts(before_us)]).await;
        waits |= one.map_err(&failed)?.is_some();
    }
    if waits {
        tracing::warn!("days past their retention stay: there are readings in them that are not counted");
        return Ok(());
    }
    for table in READINGS {
        let newest = include_str!("sql/note_gone.sql").replace("{{table}}", table);
        transaction.execute(&newest, &[&before_us, &Ts(before_us)]).await.map_err(&failed)?;
    }
    for statement in &old {
        transaction.batch_execute(statement).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)?;
    shared.tables.forget_before(day_of(before_us));
    tracing::info!("whole days past their retention: gone");
    Ok(())
}

/// Statements that drop the days of a table before one.
async fn days_before(shared: &Shared, client: &Object, table: &str, before: i64) -> Result<Vec<String>, StoreError> {
    let failed = failed("listing days past their retention");
    let limit = partition(table, before)?;
    if shared.tables.kept_as == KeptAs::Hypertables {
        let [at, _] = bounds(before)?;
        let old = format!("SELECT 1 FROM show_chunks('{table}', older_than => '{at}'::timestamptz) LIMIT 1");
        let old = client.query_opt(&old, &[]).await.map_err(&failed)?;
        return Ok(old
            .map(|_| format!("SELECT drop_chunks('{table}', older_than => '{at}'::timestamptz)"))
            .into_iter()
            .collect());
    }
    let known = client
        .query(
            "SELECT 'readings.' || child.relname FROM pg_inherits
             JOIN pg_class AS child ON child.oid = inhrelid
             WHERE inhparent = to_regclass($1) ORDER BY 1",
            &[&table],
        )
        .await
        .map_err(&failed)?;
    let is_day =
        |name: &String| name.len() == limit.len() && name[table.len() + 1..].bytes().all(|byte| byte.is_ascii_digit());
    let old = known.iter().map(|row| row.get::<_, String>(0)).filter(|name| is_day(name) && *name < limit);
    Ok(old.map(|name| format!("DROP TABLE IF EXISTS {name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_before_a_release_is_not_that_release() {
        assert_eq!(version_of("2.28.3"), (2, 28, 3));
        assert!(version_of("2.28.1") >= SAFE_TO_COMPRESS);
        assert!(version_of("2.28.1-dev") < SAFE_TO_COMPRESS);
        assert!(version_of("2.23.0-dev") < SAFE_TO_COMPRESS);
        assert!(version_of("3.0.0") > SAFE_TO_COMPRESS);
    }

    #[test]
    fn a_day_has_a_name_and_two_ends() {
        let day = day_of(1_795_392_000_000_000);
        assert_eq!(partition("readings.reading", day).unwrap(), "readings.reading_20261123");
        assert_eq!(bounds(day).unwrap(), ["2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"]);
    }
}
