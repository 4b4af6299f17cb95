//! Four firms with machines, the real stores, what answers for them, and what was agreed so far.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use prometheus_client::registry::Registry;
use sandan_ingest::access::{Access, Firm, Pseudonyms};
use sandan_ingest::api::{self, Api, Limiter, Rates};
use sandan_ingest::auth::{Auth, Member, Secret, TokenKind};
use sandan_ingest::consent::{Group as RealGroup, GroupKind, Role};
use sandan_ingest::fleet::{Board, Bounds};
use sandan_ingest::id::{MemberId, OperatorId};
use sandan_ingest::metrics::Metrics;
use sandan_ingest::notary::Notary;
use sandan_ingest::store::control::{Change, Control, SharingChange, Stamp};
use sandan_ingest::store::postgres::readings::{self, PostgresReadings};
use sandan_ingest::store::postgres::{Database, PostgresControl, Settings};
use sandan_ingest::store::sqlite::control::SqliteControl;
use sandan_ingest::store::sqlite::{Options, SqliteReadings};
use sandan_ingest::store::{Readings, control};
use sandan_ingest::time::Clock;
use sandan_proto::batch::{Column, Group, Values};
use sandan_proto::id::{FirmId, GroupId, SeriesKey};
use sandan_proto::reading::ValueType;
use serde_json::{Value as Json, json};

use super::draw;
use super::http::Http;
use super::reference::{self, Book, House, Question, Stretch, Timeline};
use crate::chance::Chance;
use crate::harness::{Ingest, Programs};
use crate::servers;
use crate::storebench::plant::{BEGAN_US, Plant, Series};

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const FIRMS: usize = 4;
pub(super) const ASSETS: usize = 2;
pub(super) const METRICS: [&str; 3] = ["press_force", "temperature", "stroke_rate"];
/// The number of the one that competition law is about.
pub(super) const SENSITIVE: usize = 2;
/// Groups, and whether their firms compete.
pub(super) const GROUPS: [(&str, bool); 2] = [("moulders", true), ("chain", false)];
/// Readings of each series, one a second.
pub(super) const SECONDS: i64 = 600;
/// Of ten seconds the readings of one come late, second by second.
const LATE_EVERY: i64 = 10;
/// Where the clock begins: amid the readings, so that some are too young for a while.
const NOW_S: i64 = 300;
/// A withdrawal may take so long to hold at another process.
const ELSEWHERE_US: i64 = SECOND_US;

/// Who acts for a firm.
pub(super) struct People {
    /// A member's token.
    pub(super) member: String,
    /// Two officers who approve, and one who waits.
    pub(super) officers: [String; 3],
}

/// Everything, and everybody's view of it.
pub(super) struct World {
    /// The door itself, where it is in this process.
    pub(super) access: Option<Arc<Access>>,
    pub(super) control: Arc<dyn Control>,
    readings: Arc<dyn Readings>,
    /// Where reads are asked for.
    pub(super) doors: Vec<Http>,
    /// Where commands are given.
    pub(super) desk: Http,
    pub(super) names: Pseudonyms,
    pub(super) people: Vec<People>,
    /// The alliance's administrator.
    pub(super) alliance: String,
    /// When readings are, µs since 1970; its begin is a multiple of all widths.
    pub(super) data: Stretch,
    /// How late a withdrawal may be seen.
    pub(super) patience_us: i64,
    /// By owner.
    books: Mutex<Vec<Book>>,
    /// What is done to the consents of a grantor is done one after the other.
    pub(super) busy: [tokio::sync::Mutex<()>; FIRMS],
    /// So are changes of what holds for all.
    pub(super) ruling: tokio::sync::Mutex<()>,
    plants: Vec<tokio::sync::Mutex<Plant>>,
    /// By firm: the seconds that come late, in the order in which they do.
    late: Vec<Vec<i64>>,
    clock: Clock,
    decisions: AtomicU64,
    processes: Mutex<Option<Processes>>,
}

/// Two ingests on one database.
struct Processes {
    all: Vec<Ingest>,
    _database: servers::Database,
}

/// What a world is made of.
struct Made {
    access: Option<Arc<Access>>,
    control: Arc<dyn Control>,
    readings: Arc<dyn Readings>,
    doors: Vec<Http>,
    names: Pseudonyms,
    clock: Clock,
    begin_us: i64,
    patience_us: i64,
    processes: Option<Processes>,
}

pub(super) fn firm(number: usize) -> FirmId {
    FirmId::new(&format!("firm-{number}")).unwrap_or_else(|error| panic!("{error}"))
}

/// The number of a firm's name.
pub(super) fn numbered(name: &str) -> Option<usize> {
    name.strip_prefix("firm-")?.parse().ok()
}

pub(super) fn asset(number: usize) -> String {
    format!("press-{number}")
}

pub(super) fn series(firm: usize, asset: usize, metric: usize) -> anyhow::Result<SeriesKey> {
    Ok(SeriesKey { firm: self::firm(firm), asset: self::asset(asset).parse()?, metric: METRICS[metric].parse()? })
}

impl World {
    /// In files and in this process, with a port of its own.
    pub(super) async fn in_files(dir: &Path, seed: u64) -> anyhow::Result<Self> {
        let control = Arc::new(SqliteControl::open(&dir.join("control.db"))?);
        let begun = Instant::now();
        let now_us = BEGAN_US + NOW_S * SECOND_US;
        let clock: Clock =
            Arc::new(move || now_us + i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX / 2));
        // By its own clock: by the one of this machine the readings are past their retention.
        let options = Options { now: clock.clone(), ..Options::default() };
        let store = Arc::new(SqliteReadings::open(dir, options)?);
        let fleet = Arc::new(Board::new(clock.clone(), Bounds::default(), []));
        let audit = dir.join("audit");
        let notary = Notary::open("saesol", &audit, audit.clone(), &*control, &clock).await?;
        let names = || Pseudonyms::open(&dir.join("pseudonyms"));
        let doors = (control.clone() as _, store.clone() as _);
        let metrics = Arc::<Metrics>::default();
        let access = Access::new(doors, notary.into(), names()?, fleet, clock.clone(), metrics.clone()).await?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let http = Http::new(listener.local_addr()?);
        let many = u64::from(u32::MAX);
        let api = Api {
            access: access.clone(),
            auth: Auth::new(control.clone()),
            limiter: Limiter::new(Rates { token_per_minute: many, firm_per_minute: many }),
            slots: Arc::default(),
            registry: Registry::default(),
        };
        let pages = api::limited(api::router(Arc::new(api)), metrics);
        tokio::spawn(sandan_ingest::run::serve_plain(listener, pages));
        let made = Made {
            access: Some(access),
            control,
            readings: store,
            doors: vec![http],
            names: names()?,
            clock,
            begin_us: BEGAN_US,
            patience_us: 0,
            processes: None,
        };
        Self::make(made, seed).await
    }

    /// Two processes on one PostgreSQL database: commands are given at the first, and reads asked for at
    /// the second.
    pub(super) async fn in_processes(programs: &Programs, dir: &Path, seed: u64) -> anyhow::Result<Self> {
        let database = tokio::task::block_in_place(servers::plain);
        let further = format!(
            "[store]\nengine = \"postgres\"\nurl = \"{}\"\n\n[api]\nrequests_per_minute = 1000000\n\
             firm_requests_per_minute = 1000000\n",
            database.dsn()
        );
        let ingest = |name: &str| Ingest::with(programs, &dir.join(name), &further);
        let (mut first, mut second) = (ingest("first")?, ingest("second")?);
        tokio::task::block_in_place(|| {
            first.start()?;
            first.share_authority(&second)
        })?;
        // As for the authority: what one calls a machine, the other calls alike.
        let secret = |name: &str| dir.join(name).join("data").join("pseudonyms");
        let names = Pseudonyms::open(&secret("first"))?;
        Pseudonyms::open(&secret("second"))?;
        std::fs::copy(secret("first").join("key"), secret("second").join("key"))?;
        tokio::task::block_in_place(|| second.start())?;
        let stores = Database::connect(Settings::of(database.dsn().parse()?)).await?;
        let control = Arc::new(PostgresControl::new(stores.clone()));
        let options = readings::Options { upkeep: None, ..readings::Options::default() };
        let store = Arc::new(PostgresReadings::open(stores, options).await?);
        let clock = sandan_ingest::time::system_clock();
        let minute_us = 60 * SECOND_US;
        let begin_us = (clock() - NOW_S * SECOND_US) / minute_us * minute_us;
        let made = Made {
            access: None,
            control,
            readings: store,
            doors: vec![Http::new(first.http()), Http::new(second.http())],
            names,
            clock,
            begin_us,
            patience_us: ELSEWHERE_US,
            processes: Some(Processes { all: vec![first, second], _database: database }),
        };
        Self::make(made, seed).await
    }

    async fn make(made: Made, seed: u64) -> anyhow::Result<Self> {
        let Made { access, control, readings, doors, names, clock, begin_us, patience_us, processes } = made;
        let mut chance = Chance::new(seed ^ 0x5eed);
        let mut late: Vec<Vec<i64>> =
            (0..FIRMS).map(|_| (0..SECONDS).filter(|second| comes_late(*second)).collect()).collect();
        for order in &mut late {
            chance.shuffle(order);
        }
        let desk = doors[0].clone();
        let mut world = Self {
            access,
            control,
            readings,
            doors,
            desk,
            names,
            people: Vec::new(),
            alliance: String::new(),
            data: (begin_us, begin_us + SECONDS * SECOND_US),
            patience_us,
            books: Mutex::default(),
            busy: Default::default(),
            ruling: tokio::sync::Mutex::default(),
            plants: Vec::new(),
            late,
            clock,
            decisions: AtomicU64::new(0),
            processes: Mutex::new(processes),
        };
        for number in 0..FIRMS {
            let it =
                Firm { id: firm(number), name_ko: format!("{number}호 업체"), name_en: format!("Firm {number}") };
            world.apply(Change::AddFirm(it)).await?;
            let plant = world.fill(number).await?;
            world.plants.push(tokio::sync::Mutex::new(plant));
            let people = world.people(number).await?;
            world.people.push(people);
        }
        world.alliance = world.administrator().await?;
        world.rule(&mut chance).await?;
        Ok(world)
    }

    /// The groups, the alliance's first rule, and an empty book of each firm.
    async fn rule(&self, chance: &mut Chance) -> anyhow::Result<()> {
        let mut groups = Vec::new();
        for (name, are_competitors) in GROUPS {
            let kind = if are_competitors { GroupKind::SameIndustry } else { GroupKind::ValueChain };
            let firms = (0..FIRMS).map(firm).collect();
            let made = SharingChange::SaveGroup {
                id: GroupId::new(name)?,
                before: None,
                after: RealGroup::new(kind, firm(0), firms),
            };
            self.apply(made.into()).await?;
            let rosters = vec![(0..FIRMS).collect()];
            groups.push(Timeline::new(reference::Group { are_competitors, rosters }));
        }
        let alliance = draw::alliance(chance, false);
        self.apply(SharingChange::SetAllianceRule(Box::new(draw::real_alliance(&alliance)?)).into()).await?;
        let book = Book {
            deals: Vec::new(),
            house: Timeline::new(House::default()),
            runs: Timeline::new(Vec::new()),
            alliance: Timeline::new(alliance),
            groups,
            deliveries: Vec::new(),
            sensitive: SENSITIVE,
        };
        *self.books() = vec![book; FIRMS];
        Ok(())
    }

    /// Changes the control data, as a command on the host does.
    pub(super) async fn apply(&self, change: Change) -> Result<(), control::ControlError> {
        match &self.access {
            Some(access) => access.apply(change, "command line").await,
            None => self.control.apply(change, Stamp { actor: "command line".into(), now_us: self.now_us() }).await,
        }
    }

    pub(super) fn now_us(&self) -> i64 {
        (self.clock)()
    }

    pub(super) fn decisions(&self) -> u64 {
        self.decisions.load(Ordering::Relaxed)
    }

    /// Counts a decision that is about to be made.
    pub(super) fn decide(&self) {
        self.decisions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Vec<Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What judges an answer.
    pub(super) fn book(&self, it: &Question) -> Book {
        self.books()[it.owner].about(it)
    }

    /// The value of a second, which no other series has at any time.
    pub(super) fn value(&self, firm: usize, asset: usize, metric: usize, time_us: i64) -> f64 {
        let number = (firm * ASSETS + asset) * METRICS.len() + metric;
        number as f64 * 10_000.0 + ((time_us - self.data.0) / SECOND_US) as f64
    }

    /// In which late delivery a second comes; 0 for those that were there from the beginning.
    pub(super) fn delivery(&self, firm: usize, time_us: i64) -> usize {
        let second = (time_us - self.data.0) / SECOND_US;
        self.late[firm].iter().position(|it| *it == second).map_or(0, |at| at + 1)
    }

    /// The times of a bucket, or of a reading, that are there after so many late deliveries.
    pub(super) fn times(&self, firm: usize, (begin, end): (i64, i64), deliveries: usize) -> Vec<i64> {
        let end = end.max(begin + 1).min(self.data.1);
        let steps = (begin.max(self.data.0)..end).step_by(usize::try_from(SECOND_US).unwrap_or(1));
        steps.filter(|time_us| self.delivery(firm, *time_us) <= deliveries).collect()
    }

    /// One more late delivery of a firm; nothing where all has come.
    pub(super) async fn deliver(&self, number: usize) -> anyhow::Result<()> {
        let mut plant = self.plants[number].lock().await;
        let done = self.books()[number].deliveries.len();
        let Some(second) = self.late[number].get(done).copied() else { return Ok(()) };
        self.books()[number].deliveries.push((self.now_us(), None));
        let group = self.readings_of(number, &[self.data.0 + second * SECOND_US]);
        plant.deliver(&*self.readings, &[group]).await?;
        plant.settle(0).await?;
        let now_us = self.now_us();
        if let Some(last) = self.books()[number].deliveries.last_mut() {
            last.1 = Some(now_us);
        }
        Ok(())
    }

    fn readings_of(&self, number: usize, times_us: &[i64]) -> Group {
        let all = (0..ASSETS).flat_map(|asset| (0..METRICS.len()).map(move |metric| (asset, metric)));
        let column = |(series, (asset, metric)): (u32, (usize, usize))| {
            let values = times_us.iter().map(|time_us| self.value(number, asset, metric, *time_us)).collect();
            Column { series, quality: Vec::new(), values: Values::F64(values) }
        };
        let columns = (0..).zip(all).map(column).collect();
        Group { times_us: times_us.iter().map(|time_us| time_us - BEGAN_US).collect(), columns }
    }

    /// All readings of a firm but those that come late; half of them are packed.
    async fn fill(&self, number: usize) -> anyhow::Result<Plant> {
        let all = (0..ASSETS).flat_map(|asset| METRICS.map(|metric| (asset, metric)));
        let series = |(asset, metric): (usize, &str)| Series {
            asset: self::asset(asset),
            metric: metric.into(),
            of: ValueType::F64,
        };
        let of: Vec<_> = all.map(series).collect();
        let mut plant = Plant::connect(&*self.readings, &format!("firm-{number}/gw"), &of).await?;
        for half in 0..2 {
            let seconds = (half * SECONDS / 2..(half + 1) * SECONDS / 2).filter(|second| !comes_late(*second));
            let times_us: Vec<i64> = seconds.map(|it| self.data.0 + it * SECOND_US).collect();
            let group = self.readings_of(number, &times_us);
            plant.deliver(&*self.readings, &[group]).await?;
            plant.settle(0).await?;
            if half == 0 {
                self.readings.compact(&plant.firm()).await?;
            }
        }
        Ok(plant)
    }

    /// A further member of a firm, and its token.
    pub(super) async fn member(&self, of: usize) -> anyhow::Result<(Member, String)> {
        let it = Member {
            id: MemberId::random(),
            firm: firm(of),
            name: "김하늘".into(),
            role: Role::Member,
            until_us: None,
        };
        let token = minted(TokenKind::Member)?;
        let change = Change::AddMember {
            id: it.id,
            firm: it.firm.clone(),
            name: it.name.clone(),
            token: token.hash(),
            role: it.role,
            until_us: None,
        };
        self.apply(change).await?;
        Ok((it, token.reveal()))
    }

    async fn people(&self, of: usize) -> anyhow::Result<People> {
        let (_, member) = self.member(of).await?;
        let link = minted(TokenKind::OfficerLink)?;
        let expires_us = self.now_us() + 3_600 * SECOND_US;
        self.apply(SharingChange::LinkOfficer { firm: firm(of), link: link.hash(), expires_us }.into()).await?;
        let made = |token: Option<&str>, path: &str, body: Json| -> anyhow::Result<Json> {
            let answer = self.desk.post(token, path, &body)?;
            anyhow::ensure!(matches!(answer.status, 200 | 201), "{path}: {} {:?}", answer.status, answer.body);
            Ok(answer.json())
        };
        let token = |of: &Json| of["token"].as_str().map(str::to_owned).context("an officer has no token");
        let first = token(&made(None, "/v1/officers/first", json!({ "link": link.reveal(), "name": "김하늘" }))?)?;
        let second = made(Some(&first), "/v1/officers", json!({ "name": "박서연" }))?;
        let person = second["person"].as_str().context("an officer has no id")?;
        made(Some(&first), &format!("/v1/officers/{person}/confirm"), json!({}))?;
        let waiting = made(Some(&first), "/v1/officers", json!({ "name": "이도윤" }))?;
        Ok(People { member, officers: [first, token(&second)?, token(&waiting)?] })
    }

    async fn administrator(&self) -> anyhow::Result<String> {
        let token = minted(TokenKind::Operator)?;
        let (id, name) = (OperatorId::random(), "연합 사무국".to_owned());
        let change = Change::AddOperator { id, name, role: Role::AllianceAdministrator, token: token.hash() };
        self.apply(change).await?;
        Ok(token.reveal())
    }

    /// Ends what answers, so that the log holds everything.
    pub(super) async fn finish(&self) -> anyhow::Result<()> {
        if let Some(access) = &self.access {
            access.finish().await;
        }
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        for ingest in processes.iter_mut().flat_map(|it| &mut it.all) {
            let ended = tokio::task::block_in_place(|| ingest.terminate())?;
            anyhow::ensure!(ended.success(), "an ingest ended with {ended}: {}", ingest.log().tail());
        }
        Ok(())
    }
}

fn comes_late(second: i64) -> bool {
    second % LATE_EVERY == 3
}

fn minted(kind: TokenKind) -> anyhow::Result<Secret> {
    Secret::mint(kind).ok().context("no randomness for a token")
}
