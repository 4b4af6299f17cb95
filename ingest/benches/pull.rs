//! What consent costs a read: processor time of the pull path beside the bare store, and the wait for the
//! owner's log.
//!
//! `tests/bench/pull.sh` builds and runs it; `cpu` or `wait` alone, and `sqlite` or `postgres` alone, if it
//! is told so. A day of one series, one reading a second, is read raw:
//!
//! - *bare*: from the store with a permit that is at hand, in chunks of as many rows as the pull path reads;
//! - *pull*: through the door under another firm's consent: decided, logged before the first row and at the
//!   end, the epoch and the asker looked at for every piece, and once more before what was read last leaves.
//!
//! Both once as rows that are dropped, and once made into lines of JSON by the same function, piece by piece.
//! No two reads ask for the same, so that none is a repetition without an entry of its own. Processor time is
//! that of the whole process, its threads for the disk among it; PostgreSQL's own server is not in it. Bare and
//! pull take turns, and the ratio is that of the sums.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use plant::{BEGAN_US, Plant, Series};
use rustix::time::{ClockId, clock_gettime};
use sandan_ingest::access::{Access, Chain, Kind, Pseudonyms, Rows, Source};
use sandan_ingest::audit::Draft;
use sandan_ingest::auth::{Member, Secret, TokenKind};
use sandan_ingest::consent::{AccessWindow, EventWindow, Form, Manner, Permit, Request, Role, SharedForm, Terms};
use sandan_ingest::fleet::{Board, Bounds};
use sandan_ingest::id::{ConsentId, MemberId};
use sandan_ingest::metrics::Metrics;
use sandan_ingest::notary::Notary;
use sandan_ingest::store::control::{Change, Control, Firm};
use sandan_ingest::store::postgres::control::PostgresControl;
use sandan_ingest::store::postgres::database::{Database, Settings};
use sandan_ingest::store::postgres::readings::{self as postgres, PostgresReadings};
use sandan_ingest::store::sqlite::control::SqliteControl;
use sandan_ingest::store::sqlite::{self, Compaction, SqliteReadings};
use sandan_ingest::store::{ReadCursor, Readings};
use sandan_proto::batch::{Column, Group, Values};
use sandan_proto::id::{FirmId, SeriesKey};
use sandan_proto::reading::ValueType;

#[path = "../../tests/src/storebench/plant.rs"]
mod plant;
#[allow(dead_code, unreachable_pub)] // the rest of it serves the tests
#[path = "../../tests/src/servers.rs"]
mod servers;

/// Series of the device, of which one is read.
const SERIES: u32 = 10;
/// Readings of a series-day.
const DAY: usize = 86_400;
/// Readings a column of one batch.
const BATCH: usize = 100;
/// Rows of one chunk of the pull path.
const CHUNK: usize = 10_000;
/// Rows of one of its pieces.
const PIECE: usize = 1_000;
const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// Reads of each kind, and those before them that are not counted.
const ROUNDS: i64 = 30;
const WARM: i64 = 4;
/// In which what a read leaves behind, the entry of its end, is done: that is its own.
const AFTER: Duration = Duration::from_millis(30);
/// Who waits for the log at once, and how often all of them together.
const READERS: [usize; 3] = [1, 8, 64];
const WAITS: usize = 3_000;
/// Firms that read; each may have eight reads open.
const FIRMS: usize = 64;

/// Processor time of this process, ms.
fn cpu() -> f64 {
    let it = clock_gettime(ClockId::ProcessCPUTime);
    it.tv_sec as f64 * 1e3 + it.tv_nsec as f64 / 1e6
}

fn firm(number: usize) -> FirmId {
    format!("reader-{number}").parse().unwrap()
}

/// A complex with a day in it, and firms that may read it.
struct World {
    readings: Arc<dyn Source>,
    control: Arc<dyn Control>,
    access: Arc<Access>,
    series: SeriesKey,
    members: Vec<Member>,
    own: Permit,
}

async fn world<R: Readings + 'static>(
    dir: &std::path::Path,
    store: R,
    control: Arc<dyn Control>,
    pack: impl AsyncFn(&R, &FirmId),
) -> World {
    let of = |at| Series { asset: "press-1".into(), metric: format!("x_{at}"), of: ValueType::F64 };
    let mut series: Vec<_> = (0..SERIES).map(of).collect();
    // Firm-private metrics are not shared.
    series[0].metric = "press_force".into();
    let mut plant = Plant::connect(&store, "owner/gw", &series).await.unwrap();
    for from_s in (0..DAY).step_by(BATCH) {
        let seconds = (from_s..from_s + BATCH).map(|second| second as i64);
        let value = |series: u32, second: i64| (1_000 + second * (i64::from(series) + 3) % 57) as f64 / 10.0;
        let values = |series| seconds.clone().map(|second| value(series, second)).collect();
        let column = |series| Column { series, quality: Vec::new(), values: Values::F64(values(series)) };
        let times_us = seconds.clone().map(|second| second * SECOND_US).collect();
        plant.deliver(&store, &[Group { times_us, columns: (0..SERIES).map(column).collect() }]).await.unwrap();
    }
    plant.settle(0).await.unwrap();
    pack(&store, &plant.firm()).await;
    let series = plant.key(0);
    let own = plant::own(&series, Form::Raw, &[], BEGAN_US, BEGAN_US + DAY_US).unwrap();
    let readings: Arc<dyn Source> = Arc::new(store);
    let access = open(dir, &readings, &control).await;
    let mut members = Vec::new();
    let named = |id: FirmId| Change::AddFirm(Firm { name_ko: id.to_string(), name_en: id.to_string(), id });
    access.apply(named(series.firm.clone()), "bench").await.unwrap();
    for number in 0..FIRMS {
        access.apply(named(firm(number)), "bench").await.unwrap();
        members.push(member(&access, firm(number)).await);
        access.apply(grant(&series, firm(number)), "bench").await.unwrap();
    }
    World { readings, control, access, series, members, own }
}

/// A clock that goes on from the end of the day.
async fn open(dir: &std::path::Path, readings: &Arc<dyn Source>, control: &Arc<dyn Control>) -> Arc<Access> {
    let begun = Instant::now();
    let after = move || BEGAN_US + DAY_US + i64::try_from(begun.elapsed().as_micros()).unwrap();
    let clock: sandan_ingest::time::Clock = Arc::new(after);
    let audit = dir.join("audit");
    let notary = Notary::open("bench", &audit, audit.clone(), &**control, &clock).await.unwrap();
    let names = Pseudonyms::open(&dir.join("pseudonyms")).unwrap();
    let fleet = Arc::new(Board::new(clock.clone(), Bounds::default(), []));
    let doors = (control.clone(), readings.clone());
    Access::new(doors, notary.into(), names, fleet, clock, Arc::new(Metrics::default())).await.unwrap()
}

async fn member(access: &Access, firm: FirmId) -> Member {
    let it = Member { id: MemberId::random(), firm, name: "김하늘".into(), role: Role::Member, until_us: None };
    let change = Change::AddMember {
        id: it.id,
        firm: it.firm.clone(),
        name: it.name.clone(),
        role: it.role,
        until_us: None,
        token: Secret::mint(TokenKind::Member).unwrap().hash(),
    };
    access.apply(change, "bench").await.unwrap();
    it
}

fn grant(series: &SeriesKey, grantee: FirmId) -> Change {
    let terms = Terms {
        assets: [series.asset.clone()].into(),
        metrics: [series.metric.clone()].into(),
        form: SharedForm::Raw,
        event: EventWindow { from_us: None, to_us: None },
        access: AccessWindow { not_before_us: 0, until_us: i64::MAX },
        agreed: None,
    };
    Change::Grant { id: ConsentId::random(), grantor: series.firm.clone(), grantee, terms }
}

/// What is made of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Made {
    Nothing,
    Lines,
}

/// How many rows; `lines` are overwritten.
fn take(rows: &Rows, made: Made, lines: &mut String) -> usize {
    let Rows::Raw(rows) = rows else { return 0 };
    for piece in rows.chunks(PIECE) {
        lines.clear();
        if made == Made::Lines {
            for row in piece {
                let time = Timestamp::from_microsecond(row.time_us).unwrap().to_string();
                let row = serde_json::json!({ "time": time, "value": row.value, "quality": row.quality.to_string() });
                writeln!(lines, "{row}").unwrap();
            }
        }
        std::hint::black_box(&*lines);
    }
    rows.len()
}

impl World {
    async fn bare(&self, made: Made, chunk: usize) {
        let (mut at, mut rows, mut lines): (Option<ReadCursor>, _, _) = (None, 0, String::new());
        loop {
            let read = self.readings.read(&self.own, at, chunk).await.unwrap();
            rows += take(&read.rows, made, &mut lines);
            at = read.next;
            if at.is_none() {
                break;
            }
        }
        assert_eq!(rows, DAY);
        tokio::time::sleep(AFTER).await;
    }

    fn request(&self, reader: usize, from_us: i64, to_us: i64) -> Request {
        Request {
            asker: firm(reader),
            series: self.series.clone(),
            form: Form::Raw,
            functions: [].into(),
            from_us,
            to_us,
            manner: Manner::default(),
        }
    }

    async fn pull(&self, made: Made, round: i64) {
        let request = self.request(0, BEGAN_US - round, BEGAN_US + DAY_US);
        let mut reader = self.access.read(&self.members[0], request, None).await.unwrap();
        let (mut rows, mut lines) = (0, String::new());
        while let Some(read) = reader.next(usize::MAX).await.unwrap() {
            rows += take(&read, made, &mut lines);
            reader.count_bytes(lines.len());
        }
        reader.check().await.unwrap();
        assert_eq!(rows, DAY);
        drop(reader);
        tokio::time::sleep(AFTER).await;
    }

    async fn cost(&self, engine: &str) {
        for made in [Made::Nothing, Made::Lines] {
            let (mut bare, mut pull, mut large) = (0.0, 0.0, 0.0);
            let mut ratios = Vec::new();
            for round in 0..WARM + ROUNDS {
                let begun = cpu();
                self.bare(made, CHUNK).await;
                let then = cpu();
                self.pull(made, round + i64::from(made == Made::Lines) * 1_000).await;
                let last = cpu();
                self.bare(made, usize::MAX).await;
                if round >= WARM {
                    bare += then - begun;
                    pull += last - then;
                    large += cpu() - last;
                    ratios.push((last - then) / (then - begun));
                }
            }
            ratios.sort_by(f64::total_cmp);
            let ms = |sum: f64| sum / ROUNDS as f64;
            println!(
                "{engine}, a day of rows made into {made:?}: bare {:.2} ms, pull {:.2} ms of processor time: ratio {:.3} \
                 (median of the rounds {:.3}); bare in the largest chunks {:.2} ms",
                ms(bare),
                ms(pull),
                ms(pull) / ms(bare),
                ratios[ratios.len() / 2],
                ms(large),
            );
        }
    }

    /// How long each of `readers` at once waits for one entry, and for a read to begin.
    async fn wait(self: &Arc<Self>, engine: &str) {
        for readers in READERS {
            let log = self.waits(readers, World::entry).await;
            let read = self.waits(readers, World::begin).await;
            println!(
                "{engine}, {readers} at once: one entry p50 {:.2?}, p99 {:.2?}, most {:.2?}; a read until it may begin \
                 p50 {:.2?}, p99 {:.2?}, most {:.2?}",
                log[0], log[1], log[2], read[0], read[1], read[2]
            );
        }
    }

    /// One entry of the owner's log.
    fn entry(&self, reader: usize, number: i64) -> BoxFuture<'_, ()> {
        let chain = Chain::Firm(self.series.firm.clone());
        let draft = Draft::new(chain, Kind::ReadStarted, "a member of a firm").with("number", number);
        let draft = draft.with("asker", firm(reader).as_str());
        Box::pin(async move { drop(self.control.append(draft, BEGAN_US).await.unwrap()) })
    }

    /// A read up to where its first row could be read.
    fn begin(&self, reader: usize, number: i64) -> BoxFuture<'_, ()> {
        let from_us = BEGAN_US + number;
        let request = self.request(reader, from_us, from_us + SECOND_US);
        Box::pin(async move { drop(self.access.read(&self.members[reader], request, None).await.unwrap()) })
    }

    /// Median, 99th percentile and most of what each waits who does it again as soon as it is done.
    async fn waits(
        self: &Arc<Self>,
        readers: usize,
        of: for<'a> fn(&'a World, usize, i64) -> BoxFuture<'a, ()>,
    ) -> [Duration; 3] {
        let each = WAITS.div_ceil(readers);
        let one = |reader: usize| {
            let world = Arc::clone(self);
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(each);
                for number in 0..each {
                    let begun = Instant::now();
                    of(&world, reader, i64::try_from(number).unwrap()).await;
                    took.push(begun.elapsed());
                }
                took
            })
        };
        let tasks: Vec<_> = (0..readers).map(one).collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await.unwrap());
        }
        took.sort_unstable();
        [took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]]
    }
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let wants = |one: &str, other: &str| asked.iter().any(|it| it == one) || !asked.iter().any(|it| it == other);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ask = async |engine: &str, world: World| {
        let world = Arc::new(world);
        if wants("cpu", "wait") {
            world.cost(engine).await;
        }
        if wants("wait", "cpu") {
            world.wait(engine).await;
        }
        world.access.finish().await;
    };
    if wants("sqlite", "postgres") {
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let compaction = Compaction { check: None, ..Compaction::default() };
            let options = sqlite::Options { commit_interval: Duration::ZERO, compaction, ..sqlite::Options::default() };
            let store = SqliteReadings::open(dir.path(), options).unwrap();
            let control = Arc::new(SqliteControl::open(&dir.path().join("control.db")).unwrap());
            let pack = async |store: &SqliteReadings, firm: &FirmId| {
                store.compact(firm).await.unwrap();
            };
            ask("sqlite", world(dir.path(), store, control, pack).await).await;
        });
    }
    if wants("postgres", "sqlite") {
        let (dir, place) = (tempfile::tempdir().unwrap(), servers::plain());
        runtime.block_on(async {
            let database = Database::connect(Settings::of(place.dsn().parse().unwrap())).await.unwrap();
            database.migrate().await.unwrap();
            let options = postgres::Options {
                commit_interval: Duration::ZERO,
                now: Arc::new(|| BEGAN_US + DAY_US),
                upkeep: None,
                ..postgres::Options::default()
            };
            let store = PostgresReadings::open(database.clone(), options).await.unwrap();
            let control = Arc::new(PostgresControl::new(database));
            ask("postgres", world(dir.path(), store, control, async |_: &_, _: &_| {}).await).await;
        });
    }
}
