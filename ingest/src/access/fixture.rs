//! A complex for tests: real control data, readings in memory, a clock that stands
//! still until it is moved.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sandan_proto::id::{AssetId, FirmId, GatewayId, LaneId, MetricId, SeriesKey};
use sandan_proto::reading::{Quality, Value, ValueType};
use sandan_proto::v1::DeadLetterReason;
use tokio::sync::Semaphore;

use super::*;
use crate::auth::{Auth, Secret, TokenKind};
use crate::consent::{
    AccessWindow, Act, Actor, Agreed, Agreement, Command, Event, EventWindow, Form, Function, Grantee, Identity,
    Manner, Officers, OnwardUse, PageHash, Party, Purpose, Relation, Role, Run, SharedForm, Situation, Standing, Terms,
};
use crate::id::{CommandId, ConsentId, MemberId, PersonId};
use crate::notary::Notary;
use crate::servers;
use crate::store::aggregate::{Fold, Rules};
use crate::store::control::{RunEntry, SharingChange};
use crate::store::postgres::Settings;
use crate::store::postgres::control::PostgresControl;
use crate::store::postgres::database::Database;
use crate::store::sqlite::control::SqliteControl;
use crate::store::{DeadReading, Letter, Retried};
use crate::time::SECOND_US;

/// 2026-03-02T00:00:00Z, a multiple of a day. Readings begin here.
pub(crate) const BEGIN: i64 = 1_772_409_600 * SECOND_US;
/// The time it is when a test begins: a day later.
pub(crate) const NOW: i64 = BEGIN + 86_400 * SECOND_US;

/// Time, value, commit.
type Kept = (i64, f64, i64);

/// Readings in memory.
pub(crate) struct Memory {
    series: Mutex<BTreeMap<SeriesKey, Vec<Kept>>>,
    /// A chunk takes one; a test that closes it in between sees a read in its middle.
    pub(crate) chunks: Semaphore,
    pub(crate) waiting: Semaphore,
    pub(crate) dead: AtomicBool,
    /// What was put aside, by number.
    pub(crate) letters: Mutex<BTreeMap<i64, DeadContent>>,
}

impl Memory {
    /// A record of one reading that its gateway had no clock for, and of `readings` by its count.
    pub(crate) fn put_aside(&self, id: i64, gateway: &str, readings: u64, value: f64) {
        let letter = Letter {
            series: None,
            count: 1,
            reason: DeadLetterReason::ClockUnknown,
            readings: Some(readings),
            detail: "its clock did not come".to_owned(),
        };
        let reading = DeadReading {
            monotonic_us: 7,
            time_us: None,
            series: Some((AssetId::new("press-1").unwrap(), MetricId::new("press_force").unwrap())),
            index: 0,
            value: Value::F64(value),
            quality: Quality::GOOD,
        };
        let record = DeadRecord {
            id,
            gateway: GatewayId::new(gateway).unwrap(),
            lane: LaneId::random(),
            sequence: 4,
            received_us: BEGIN,
            bytes: 2,
            letters: vec![(letter, None)],
        };
        let original = bytes::Bytes::from_static(&[0xff, 0x01]);
        self.letters.lock().unwrap().insert(id, DeadContent { record, readings: Some(vec![reading]), original });
    }

    pub(crate) fn put(&self, series: &SeriesKey, rows: impl IntoIterator<Item = (i64, f64)>) {
        self.put_in(1, series, rows);
    }

    /// In one commit.
    pub(crate) fn put_in(&self, commit: i64, series: &SeriesKey, rows: impl IntoIterator<Item = (i64, f64)>) {
        let rows = rows.into_iter().map(|(time, value)| (time, value, commit));
        let mut all = self.series.lock().unwrap();
        let series = all.entry(series.clone()).or_default();
        series.extend(rows);
        series.sort_by_key(|(time, _, commit)| (*time, *commit));
    }

    /// The newest commit of a firm.
    fn newest(&self, firm: &FirmId) -> i64 {
        let all = self.series.lock().unwrap();
        let own = all.iter().filter(|(key, _)| key.firm == *firm);
        own.flat_map(|(_, rows)| rows).map(|(_, _, commit)| *commit).max().unwrap_or(0)
    }
}

#[async_trait]
impl DeadLetters for Memory {
    async fn dead_records(
        &self,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadRecord>, StoreError> {
        let letters = self.letters.lock().unwrap();
        let chosen = letters.values().filter(|it| it.record.gateway.firm() == *firm && it.record.id > after);
        let chosen = chosen.filter(|it| choice.ids.is_empty() || choice.ids.contains(&it.record.id));
        Ok(chosen.map(|it| it.record.clone()).take(limit).collect())
    }
    async fn dead_content(&self, firm: &FirmId, id: i64) -> Result<Option<DeadContent>, StoreError> {
        let found = self.letters.lock().unwrap().get(&id).cloned();
        Ok(found.filter(|it| it.record.gateway.firm() == *firm))
    }
    async fn retry_dead(&self, firm: &FirmId, id: i64) -> Result<Option<Retried>, StoreError> {
        let found = self.dead_content(firm, id).await?;
        Ok(found.map(|it| {
            // What can be decoded is stored.
            let stored = it.readings.as_ref().map_or(0, Vec::len) as u64;
            let kept = it.record.letters.into_iter().map(|(letter, _)| letter).filter(|_| stored == 0).collect();
            if stored > 0 {
                self.letters.lock().unwrap().remove(&id);
            }
            Retried { stored, letters: kept }
        }))
    }
    async fn discard_dead(&self, firm: &FirmId, id: i64) -> Result<Option<u64>, StoreError> {
        let found = self.dead_content(firm, id).await?;
        self.letters.lock().unwrap().remove(&id);
        Ok(found.map(|it| it.record.letters.iter().filter_map(|(letter, _)| letter.readings).sum()))
    }
    async fn dead_totals(&self) -> Result<BTreeMap<GatewayId, Vec<DeadLetterCount>>, StoreError> {
        let mut totals = BTreeMap::<_, Vec<_>>::new();
        for it in self.letters.lock().unwrap().values() {
            let (letter, _) = &it.record.letters[0];
            totals.entry(it.record.gateway.clone()).or_default().push(DeadLetterCount {
                reason: letter.reason,
                letters: letter.count,
                readings: letter.readings.unwrap_or(0),
                discarded: 0,
                recovered: 0,
                newest_us: it.record.received_us,
                detail: letter.detail.clone(),
            });
        }
        Ok(totals)
    }
}

#[async_trait]
impl Source for Memory {
    async fn read(&self, permit: &Permit, cursor: Option<ReadCursor>, limit: usize) -> Result<Chunk, StoreError> {
        self.waiting.add_permits(1);
        let turn = self.chunks.acquire().await.unwrap();
        drop(turn);
        let as_of = cursor.as_ref().and_then(|at| at.as_of).unwrap_or_else(|| self.newest(permit.firm()));
        let after = cursor.as_ref().and_then(|at| at.after).unwrap_or(i64::MIN);
        let (from_us, skip) = cursor.map_or((permit.from_us(), 0), |at| (at.from_us, at.skip as usize));
        let all = self.series.lock().unwrap()[&permit.series()[0]].clone();
        let through = permit.through_commit().map_or(i64::MAX, u64::cast_signed).min(as_of);
        let inside = all.into_iter().filter(|(time, ..)| (from_us..permit.to_us()).contains(time));
        let inside = inside.filter(|(.., commit)| (after.saturating_add(1)..=through).contains(commit));
        let (rows, next) = match permit.form() {
            Form::Raw => {
                let row = |(time_us, value, commit)| {
                    let value = Some(Value::F64(value));
                    StoredReading { series: 0, time_us, value, quality: Quality::GOOD, commit }
                };
                let mut rows: Vec<_> = inside.skip(skip).map(row).collect();
                let more = rows.len() > limit;
                rows.truncate(limit);
                let next = rows.last().filter(|_| more).map(|last| {
                    let same = rows.iter().filter(|row| row.time_us == last.time_us).count();
                    let before = if last.time_us == from_us { skip } else { 0 };
                    let skip = u32::try_from(same + before).unwrap();
                    ReadCursor::new(0, last.time_us, skip)
                });
                (Rows::Raw(rows), next)
            }
            Form::Bucketed { grid } => {
                let rules = Rules::new(permit.functions(), 1_000);
                let mut fold = Fold::new(0, grid.clone(), rules, from_us);
                let mut rows = Vec::new();
                for (time, value, _) in inside {
                    fold.push(time, Some(&Value::F64(value)));
                    rows.extend(std::iter::from_fn(|| fold.pop()));
                }
                fold.end(permit.to_us());
                rows.extend(std::iter::from_fn(|| fold.pop()));
                let more = rows.len() > limit;
                rows.truncate(limit);
                let end = |last: &Bucket| ReadCursor::new(0, last.end_us, 0);
                let next = rows.last().filter(|_| more).map(end);
                (Rows::Buckets(rows), next)
            }
        };
        Ok(Chunk { rows, gaps: Vec::new(), as_of, next })
    }

    async fn gaps(&self, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError> {
        let restart = GapFact {
            gateway: GatewayId::new(&format!("{firm}/gw")).unwrap(),
            from_us: Some(BEGIN),
            to_us: None,
            cause: sandan_proto::v1::GapCause::Restart,
            readings: 0,
            uncertain: false,
        };
        let gap = GapFact {
            gateway: GatewayId::new(&format!("{firm}/gw")).unwrap(),
            from_us: None,
            to_us: Some(BEGIN),
            cause: sandan_proto::v1::GapCause::SpoolFull,
            readings: 12,
            uncertain: true,
        };
        Ok([gap, restart].into_iter().take(limit).collect())
    }

    async fn check(&self) -> Result<(), StoreError> {
        if self.dead.load(Ordering::Relaxed) { Err(StoreError::Closed) } else { Ok(()) }
    }

    async fn series_of(&self, key: &SeriesKey) -> Result<Option<SeriesInfo>, StoreError> {
        Ok(Source::series(self, &key.firm).await?.into_iter().find(|info| info.key == *key))
    }

    async fn newest_commit(&self, firm: &FirmId) -> Result<i64, StoreError> {
        Ok(self.newest(firm))
    }

    async fn series(&self, firm: &FirmId) -> Result<Vec<SeriesInfo>, StoreError> {
        let series = self.series.lock().unwrap();
        let info = |(key, rows): (&SeriesKey, &Vec<Kept>)| SeriesInfo {
            key: key.clone(),
            path: format!("plant-1/{}", key.asset),
            name_ko: "1호 프레스".into(),
            name_en: "Press 1".into(),
            time_zone: "Asia/Seoul".into(),
            unit: "kN".into(),
            other_units: vec!["tf".into()],
            value_type: ValueType::F64,
            expected_interval_ms: 1_000,
            gateway: GatewayId::new(&format!("{firm}/gw")).unwrap(),
            newest_us: rows.iter().map(|(time, ..)| *time).max(),
        };
        Ok(series.iter().filter(|(key, _)| key.firm == *firm).map(info).collect())
    }
}

/// Two firms with a member each; hanbit's press-1 has 3,000 readings of `press_force`, one a second.
pub(crate) struct Complex {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) fleet: Arc<Board>,
    pub(crate) access: Arc<Access>,
    pub(crate) auth: Auth,
    pub(crate) now_us: Arc<AtomicI64>,
    pub(crate) owner: (Member, String),
    pub(crate) partner: (Member, String),
    /// What the control data stand in, where that is a database.
    place: Option<servers::Database>,
}

pub(crate) fn firm(id: &str) -> FirmId {
    FirmId::new(id).unwrap()
}

pub(crate) fn force() -> SeriesKey {
    SeriesKey { firm: firm("hanbit"), asset: "press-1".parse().unwrap(), metric: "press_force".parse().unwrap() }
}

pub(crate) fn request(asker: &str, form: Form, from: i64, to: i64) -> Request {
    let functions = if form == Form::Raw { [].into() } else { [Function::Mean].into() };
    let (from_us, to_us) = (BEGIN + from * SECOND_US, BEGIN + to * SECOND_US);
    Request { asker: firm(asker), series: force(), form, functions, from_us, to_us, manner: Manner::default() }
}

/// For quality, without names, runs or rows withheld.
fn agreed(now_us: i64) -> Agreed {
    Agreed {
        dictionary: 1,
        identity: Identity::Named,
        relation: Relation::Customer,
        reason: "치수 불량의 원인을 찾기 위해".to_owned(),
        holders: ["품질팀".to_owned()].into(),
        return_by_us: now_us + 86_400 * SECOND_US,
        minimum_age_us: 0,
        runs_of: None,
        late_data: true,
        purposes: [Purpose::Quality].into(),
        onward_use: OnwardUse::Holders,
        quota_rows_per_day: None,
        cohort_floor: None,
    }
}

/// saesol's member who asks, and the officers of hanbit.
fn people() -> [Actor; 3] {
    let person = |number, of: &str, role| Actor { person: PersonId::numbered(number), role, firm: Some(firm(of)) };
    [person(1, "saesol", Role::Member), person(2, "hanbit", Role::DataOfficer), person(3, "hanbit", Role::DataOfficer)]
}

/// What the control data are kept in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A test for each case, over each engine.
macro_rules! on_both_engines {
    ($($case:ident,)+) => {
        mod sqlite {
            $(#[tokio::test] async fn $case() {
                super::$case(crate::access::fixture::Engine::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $case() {
                super::$case(crate::access::fixture::Engine::Postgres).await;
            })+
        }
    };
}
pub(crate) use on_both_engines;

impl Complex {
    pub(crate) async fn new() -> Self {
        Self::on(Engine::Sqlite).await
    }

    pub(crate) async fn on(engine: Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        match engine {
            Engine::Sqlite => {
                let control = SqliteControl::open(&dir.path().join("control.db")).unwrap();
                Self::over(dir, Arc::new(control), None).await
            }
            Engine::Postgres => {
                let place = tokio::task::spawn_blocking(servers::plain).await.unwrap();
                let dsn = place.dsn().to_owned();
                Self::at(dir, &dsn, place).await
            }
        }
    }

    /// Over a database that is reached by `dsn`.
    pub(crate) async fn at(dir: tempfile::TempDir, dsn: &str, place: servers::Database) -> Self {
        let database = Database::connect(Settings::of(dsn.parse().unwrap())).await.unwrap();
        database.migrate().await.unwrap();
        Self::over(dir, Arc::new(PostgresControl::new(database)), Some(place)).await
    }

    /// Runs SQL behind the back of the control data.
    pub(crate) fn behind(&self, sql: &str) {
        match &self.place {
            Some(place) => drop(place.sql(sql)),
            None => rusqlite::Connection::open(self.dir.path().join("control.db")).unwrap().execute_batch(sql).unwrap(),
        }
    }

    async fn over(dir: tempfile::TempDir, control: Arc<dyn Control>, place: Option<servers::Database>) -> Self {
        let memory = Arc::new(Memory {
            letters: Mutex::default(),
            series: Mutex::default(),
            chunks: Semaphore::new(1_000),
            waiting: Semaphore::new(0),
            dead: false.into(),
        });
        memory.put(&force(), (0..3_000).map(|s| (BEGIN + s * SECOND_US, s as f64)));
        let now_us = Arc::new(AtomicI64::new(NOW));
        let clock: Clock = {
            let now_us = now_us.clone();
            Arc::new(move || now_us.load(Ordering::Relaxed))
        };
        let fleet = Arc::new(Board::new(clock.clone(), crate::fleet::Bounds::default(), []));
        let metrics = Arc::new(Metrics::default());
        let audit_dir = dir.path().join("audit");
        let notary = Notary::open("saesol", &audit_dir, audit_dir.clone(), &*control, &clock).await.unwrap();
        let doors = (control.clone(), memory.clone() as _);
        let names = Pseudonyms::open(&dir.path().join("pseudonyms")).unwrap();
        let access = Access::new(doors, notary.into(), names, fleet.clone(), clock, metrics).await.unwrap();
        for (id, name_ko) in [("hanbit", "한빛금형"), ("saesol", "새솔열처리")] {
            let it = Firm { id: firm(id), name_ko: name_ko.into(), name_en: id.into() };
            access.apply(Change::AddFirm(it), "command line").await.unwrap();
        }
        let auth = Auth::new(control.clone());
        let owner = member(&access, "hanbit").await;
        let partner = member(&access, "saesol").await;
        Self { dir, control, memory, fleet, access, auth, now_us, owner, partner, place }
    }

    /// saesol asks and two officers of hanbit approve, whose newest commit is `commit` then.
    pub(crate) async fn agree(&self, commit: u64, form: SharedForm, change: impl FnOnce(&mut Agreed)) -> ConsentId {
        let now_us = self.access.now_us();
        let mut agreed = agreed(now_us);
        change(&mut agreed);
        let terms = Terms {
            assets: [force().asset].into(),
            metrics: [force().metric].into(),
            form,
            event: EventWindow { from_us: None, to_us: None },
            access: AccessWindow { not_before_us: now_us, until_us: now_us + 3_600 * SECOND_US },
            agreed: Some(Box::new(agreed)),
        };
        let [asker, first, second] = people();
        let page: PageHash = "ab".repeat(32).parse().unwrap();
        let grantee = Grantee::Firm(firm("saesol"));
        let drafted = Agreement::draft(ConsentId::random(), firm("hanbit"), grantee, Party::Grantee, terms);
        self.save(None, &drafted, Event::Drafted, &asker).await;
        self.act(drafted.id, &asker, Act::Send { page }, commit).await;
        let approved = self.act(drafted.id, &first, Act::Approve { page }, commit).await;
        if approved.in_force.is_none() {
            self.act(drafted.id, &second, Act::Approve { page }, commit).await;
        }
        drafted.id
    }

    /// An officer of hanbit withdraws what was agreed.
    pub(crate) async fn withdraw(&self, id: ConsentId) {
        let [_, officer, _] = people();
        self.act(id, &officer, Act::Revoke, 0).await;
    }

    async fn act(&self, id: ConsentId, by: &Actor, act: Act, commit: u64) -> Agreement {
        let before = self.control.agreement(id).await.unwrap().unwrap();
        let [_, first, second] = people();
        let officers = Officers::new([first, second].map(|it| (it.person, Standing::Confirmed)));
        let (page, now_us) = ("ab".repeat(32).parse().unwrap(), self.access.now_us());
        let situation = Situation { officers: &officers, coordinator: None, page, commit, now_us };
        let command = Command { key: CommandId::random(), on: before.revision, actor: by.clone(), act };
        let applied = before.apply(&command, &situation).unwrap();
        self.save(Some(&before), &applied.agreement, applied.event.unwrap(), by).await;
        applied.agreement
    }

    async fn save(&self, before: Option<&Agreement>, after: &Agreement, event: Event, by: &Actor) {
        let change = SharingChange::SaveAgreement {
            before: before.cloned().map(Box::new),
            after: Box::new(after.clone()),
            event,
            actor: by.clone(),
            coordinator: None,
        };
        self.access.apply(change.into(), &by.to_string()).await.unwrap();
    }

    /// hanbit's runs of press-1, in seconds since the beginning.
    pub(crate) async fn put_runs(&self, runs: &[(&str, &str, i64, Option<i64>)]) {
        let entry = |&(id, customer, from_s, to_s): &(&str, &str, i64, Option<i64>)| {
            let (from_us, to_us) = (BEGIN + from_s * SECOND_US, to_s.map(|to_s| BEGIN + to_s * SECOND_US));
            RunEntry { id: id.into(), run: Run { asset: force().asset, customer: customer.into(), from_us, to_us } }
        };
        let change = SharingChange::PutRuns { firm: firm("hanbit"), runs: runs.iter().map(entry).collect() };
        self.access.apply(change.into(), "command line").await.unwrap();
    }

    /// hanbit lets saesol read `press_force` of press-1 for an hour.
    pub(crate) async fn grant(&self, form: SharedForm, event: EventWindow) -> ConsentId {
        let now_us = self.access.now_us();
        let terms = Terms {
            assets: [force().asset].into(),
            metrics: [force().metric].into(),
            form,
            event,
            access: AccessWindow { not_before_us: now_us, until_us: now_us + 3_600 * SECOND_US },
            agreed: None,
        };
        let id = ConsentId::random();
        let change = Change::Grant { id, grantor: firm("hanbit"), grantee: firm("saesol"), terms };
        self.access.apply(change, "command line").await.unwrap();
        id
    }

    pub(crate) async fn grant_raw(&self) -> ConsentId {
        self.grant(SharedForm::Raw, EventWindow { from_us: None, to_us: None }).await
    }

    pub(crate) async fn grant_minutes(&self) -> ConsentId {
        let form = SharedForm::Bucketed { floor_us: 60 * SECOND_US, functions: [Function::Mean].into() };
        self.grant(form, EventWindow { from_us: None, to_us: None }).await
    }

    pub(crate) async fn revoke(&self, id: ConsentId) {
        let change = Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") };
        self.access.apply(change, "command line").await.unwrap();
    }

    /// hanbit's log from the first consent or read on, once every read has ended.
    pub(crate) async fn log(&self) -> Vec<Entry> {
        let chain = Chain::Firm(firm("hanbit"));
        let log = self.control.audit(&chain, 0, 10_000).await.unwrap();
        let added = |kind| matches!(kind, Kind::FirmAdded | Kind::MemberAdded | Kind::TokenMinted);
        log.into_iter().filter(|entry| !added(entry.kind)).collect()
    }
}

async fn member(access: &Access, of: &str) -> (Member, String) {
    let token = Secret::mint(TokenKind::Member).unwrap();
    let it =
        Member { id: MemberId::random(), firm: firm(of), name: "김하늘".into(), role: Role::Member, until_us: None };
    let change = Change::AddMember {
        id: it.id,
        firm: it.firm.clone(),
        name: it.name.clone(),
        role: it.role,
        until_us: it.until_us,
        token: token.hash(),
    };
    access.apply(change, "command line").await.unwrap();
    (it, token.reveal())
}
