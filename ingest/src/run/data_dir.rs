//! The data directory, which one process has at a time, and the stores, in it or in a
//! database. Whether they are the newest state there was is settled before anybody sees them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use sandan_proto::id::TimelineId;

use super::RunError;
use crate::access::Source;
use crate::config::{Config, Engine, Packing, Postgres};
use crate::metrics::Metrics;
use crate::session::admission::readmit;
use crate::store::control::{Control, Restored, Stamp, Undone};
use crate::store::postgres::readings::{self, PostgresReadings};
use crate::store::postgres::{self, Database, PostgresControl};
use crate::store::sqlite::control::{self, SqliteControl};
use crate::store::sqlite::restore as files;
use crate::store::sqlite::{Compaction, Shares};
use crate::store::{Options, Readings, SqliteReadings, Stand, StoreError};
use crate::time::system_clock;
use crate::witness::{Record, Witness};

/// What the directory allows to nobody but its owner.
const OTHERS: u32 = 0o077;
/// Held as long as the stores are open.
pub(super) const LOCK: &str = "lock";
/// Firms, members, consents and the audit log.
pub(super) const CONTROL: &str = control::FILE;
/// There while a backup is being restored: what lies beside it is not whole.
pub(super) const RESTORING: &str = "restore-is-not-whole";
/// Who suspends consents after a restore, in the audit log.
const ACTOR: &str = "restore";

/// Watermarks, births, dead letters and what waits to be packed.
pub(super) const INBOX: &str = "inbox.db";

/// The stores, and the lock on the data directory.
pub(super) struct Stores {
    pub(super) control: Arc<dyn Control>,
    pub(super) readings: Arc<dyn Readings>,
    /// The same readings, as the door to them takes them.
    pub(super) source: Arc<dyn Source>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) witness: Option<Arc<Witness>>,
    pub(super) complex: String,
    /// Where other processes may be too; none where there are files.
    pub(super) database: Option<Database>,
    /// What whoever opened them has to be told: that the store is an older state.
    pub(super) notice: Option<String>,
    // Last, so that the stores are closed before another process may open them.
    _lock: Option<File>,
}

impl Stores {
    pub(super) fn timeline(&self) -> String {
        self.readings.timeline().to_string()
    }
}

/// Where the readings are, before they are opened.
pub(super) enum Place<'a> {
    /// In the data directory.
    Files(&'a Path),
    /// In a database.
    Database(&'a Database),
}

impl Place<'_> {
    async fn stand(&self) -> Result<Option<Stand>, StoreError> {
        match self {
            Self::Files(dir) => files::stand(dir),
            Self::Database(database) => postgres::stand(database).await,
        }
    }

    async fn begin_timeline(&self) -> Result<TimelineId, StoreError> {
        match self {
            Self::Files(dir) => files::begin_timeline(dir),
            Self::Database(database) => postgres::begin_timeline(database).await,
        }
    }
}

/// How the database of a configuration is reached.
pub(super) fn settings(it: &Postgres) -> postgres::Settings {
    postgres::Settings {
        server: it.server.clone(),
        ca_file: it.ca_file.clone(),
        pool_size: it.connections,
        statement_timeout: it.statement_timeout,
    }
}

/// Opens the stores, and makes them where there are none; none when another process
/// holds the lock.
pub(super) async fn open(config: &Config) -> Result<Option<Stores>, RunError> {
    let dir = &config.data_dir;
    let Some(lock) = claim(dir)? else { return Ok(None) };
    let known = config.witness.as_ref().map(|path| Record::load(path, &config.complex)).transpose()?.flatten();
    let stores = match &config.engine {
        Engine::Sqlite => in_files(config, known).await?,
        Engine::Postgres(it) => in_database(config, settings(it), known).await?,
    };
    Ok(Some(Stores { _lock: Some(lock), ..stores }))
}

async fn in_files(config: &Config, known: Option<Record>) -> Result<Stores, RunError> {
    let dir = &config.data_dir;
    if dir.join(RESTORING).exists() {
        return Err(RunError::HalfRestored(dir.clone()));
    }
    let control = SqliteControl::open(&dir.join(CONTROL))?;
    let place = Place::Files(dir);
    let notice = match behind(config, &control, &place, known.as_ref()).await? {
        None => None,
        Some(why) => Some(told(&why, go_on(&control, &place, known.as_ref(), &why).await?)),
    };
    Ok(Stores { notice, ..open_settled(config, control, known).await? })
}

async fn in_database(config: &Config, settings: postgres::Settings, known: Option<Record>) -> Result<Stores, RunError> {
    let database = Database::connect(settings).await?;
    if let Some(note) = database.half_pages() {
        tracing::warn!(database = %database.settings().shown(), "{note}");
    }
    database.migrate().await?;
    let control = PostgresControl::new(database.clone());
    let place = Place::Database(&database);
    let notice = match behind(config, &control, &place, known.as_ref()).await? {
        None => None,
        // Another process would go on with what is suspended here.
        Some(why) if database.is_shared().await? => return Err(RunError::Shared(why)),
        Some(why) => Some(told(&why, go_on(&control, &place, known.as_ref(), &why).await?)),
    };
    let retention_us = config.retention_us();
    let options = readings::Options {
        readmit: Some(readmit(retention_us)),
        classes: config.retention.clone(),
        retention_us,
        ..readings::Options::default()
    };
    let readings = Arc::new(PostgresReadings::open(database.clone(), options).await?);
    let stores = testified(config, Arc::new(control), readings.clone(), readings, known).await?;
    Ok(Stores { notice, database: Some(database), ..stores })
}

/// Makes the directory, shuts it to others and takes its lock; none when another process
/// has it.
pub(super) fn claim(dir: &Path) -> Result<Option<File>, RunError> {
    let refused = |source| RunError::DataDir { path: dir.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?;
    shut(dir).map_err(refused)?;
    lock(dir).map_err(refused)
}

/// Opens stores of which it is settled which state they are. The caller holds the lock.
pub(super) async fn open_settled(
    config: &Config,
    control: SqliteControl,
    known: Option<Record>,
) -> Result<Stores, RunError> {
    let retention_us = config.retention_us();
    let classes = config.retention.clone();
    let compaction = Compaction { shares: shares(config.packing), ..Compaction::default() };
    let options =
        Options { readmit: Some(readmit(retention_us)), retention_us, classes, compaction, ..Options::default() };
    let readings = Arc::new(SqliteReadings::open(&config.data_dir, options)?);
    testified(config, Arc::new(control), readings.clone(), readings, known).await
}

/// What packing may take, as the engine reckons.
pub(super) fn shares(packing: Packing) -> Shares {
    Shares { core: f64::from(packing.core_percent) / 100.0, bytes_per_s: packing.bytes_per_s }
}

/// The stores with their witness, which is brought up to them.
async fn testified(
    config: &Config,
    control: Arc<dyn Control>,
    readings: Arc<dyn Readings>,
    source: Arc<dyn Source>,
    known: Option<Record>,
) -> Result<Stores, RunError> {
    let metrics = Arc::new(Metrics::default());
    let mut witness = None;
    if let Some(path) = &config.witness {
        let (path, complex) = (path.clone(), config.complex.clone());
        let it = Witness::new(path, complex, known, control.clone(), readings.clone(), metrics.clone());
        match it.write().await {
            Ok(()) => control.set_witnessed(system_clock()()).await?,
            // One that could be written before is mended while the service goes on.
            Err(error) if !control.is_witnessed().await? => return Err(error.into()),
            Err(_) => {}
        }
        witness = Some(Arc::new(it));
    }
    let complex = config.complex.clone();
    Ok(Stores { control, readings, source, metrics, witness, complex, database: None, notice: None, _lock: None })
}

/// In what the stores are older than their witness; none when they are not.
pub(super) async fn behind(
    config: &Config,
    control: &dyn Control,
    place: &Place<'_>,
    known: Option<&Record>,
) -> Result<Option<String>, RunError> {
    let Some(path) = &config.witness else { return Ok(None) };
    let Some(record) = known else {
        let gone = control.is_witnessed().await?;
        return Ok(gone.then(|| format!("its witness {} is gone", path.display())));
    };
    let stand = place.stand().await?;
    let timeline = stand.map(|it| it.timeline.to_string());
    Ok(record.behind(control, timeline, stand.map_or(0, |it| it.commits)).await?)
}

/// Makes an older state safe to go on from: consents wait for their grantors, what was
/// withdrawn stays so, and gateways send again what they still have. A crash in between
/// leaves it older than its witness, and the next start does it all again.
pub(super) async fn go_on(
    control: &dyn Control,
    place: &Place<'_>,
    known: Option<&Record>,
    why: &str,
) -> Result<Undone, RunError> {
    let timeline = place.begin_timeline().await?.to_string();
    let revocations = known.map(|it| it.revocations().clone()).unwrap_or_default();
    let restored = Restored { why: why.to_owned(), timeline, revocations };
    let stamp = Stamp { actor: ACTOR.to_owned(), now_us: system_clock()() };
    Ok(control.after_restore(restored, stamp).await?)
}

/// For people, on one line.
fn told(why: &str, Undone { suspended, revoked }: Undone) -> String {
    format!(
        "the store is an older state: {why}; it goes on with a new timeline; consents suspended until \
         their grantors confirm them: {suspended}, revocations done again: {revoked}"
    )
}

/// Shuts a directory that was made with another mode to other users, by whom `control.db`
/// could be read. One that holds something else than ours is left as it is, and refused.
fn shut(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    if !dir.join(LOCK).exists() && fs::read_dir(dir)?.next().is_some() {
        return Err(io::Error::other(
            "other users can get into it, and it holds other things\n  hint: name a directory of its own, or run chmod 700 on it",
        ));
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Takes the lock, which ends with the process at the latest; none when another has it.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
