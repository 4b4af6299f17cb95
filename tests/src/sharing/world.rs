//! Four firms with machines, the real stores, and what was agreed so far.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use sandan_ingest::access::{Access, Firm, Pseudonyms};
use sandan_ingest::auth::{Member, Secret, TokenKind};
use sandan_ingest::consent::Role;
use sandan_ingest::fleet::{Board, Bounds};
use sandan_ingest::id::MemberId;
use sandan_ingest::metrics::Metrics;
use sandan_ingest::notary::Notary;
use sandan_ingest::store::Readings;
use sandan_ingest::store::control::Change;
use sandan_ingest::store::sqlite::control::SqliteControl;
use sandan_ingest::store::sqlite::{Options, SqliteReadings};
use sandan_ingest::time::Clock;
use sandan_proto::batch::{Column, Group, Values};
use sandan_proto::id::{FirmId, SeriesKey};
use sandan_proto::reading::ValueType;

use super::reference::Deal;
use crate::storebench::plant::{BEGAN_US, Plant, Series};

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const FIRMS: usize = 4;
pub(super) const ASSETS: usize = 2;
pub(super) const METRICS: [&str; 2] = ["press_force", "temperature"];
/// Readings of each series, one a second.
pub(super) const SECONDS: i64 = 600;
/// The first of them, and behind the last, µs since 1970.
pub(super) const DATA: (i64, i64) = (BEGAN_US, BEGAN_US + SECONDS * SECOND_US);
/// Where the clock begins: amid the readings, so that some are too young for a while.
const NOW_US: i64 = BEGAN_US + 300 * SECOND_US;

/// Everything, and everybody's view of it.
pub(super) struct World {
    pub(super) access: Arc<Access>,
    pub(super) control: Arc<SqliteControl>,
    /// By grantor.
    deals: [Mutex<Vec<Deal>>; FIRMS],
    clock: Clock,
    decisions: AtomicU64,
}

pub(super) fn firm(number: usize) -> FirmId {
    FirmId::new(&format!("firm-{number}")).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn asset(number: usize) -> String {
    format!("press-{number}")
}

pub(super) fn series(firm: usize, asset: usize, metric: usize) -> anyhow::Result<SeriesKey> {
    Ok(SeriesKey { firm: self::firm(firm), asset: self::asset(asset).parse()?, metric: METRICS[metric].parse()? })
}

/// The value of a second, which no other series has at any time.
pub(super) fn value(firm: usize, asset: usize, metric: usize, time_us: i64) -> f64 {
    let number = (firm * ASSETS + asset) * METRICS.len() + metric;
    number as f64 * 10_000.0 + ((time_us - BEGAN_US) / SECOND_US) as f64
}

impl World {
    pub(super) async fn make(dir: &Path) -> anyhow::Result<Self> {
        let control = Arc::new(SqliteControl::open(&dir.join("control.db"))?);
        let begun = Instant::now();
        let clock: Clock =
            Arc::new(move || NOW_US + i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX / 2));
        // By its own clock: by the one of this machine the readings are past their retention.
        let options = Options { now: clock.clone(), ..Options::default() };
        let store = Arc::new(SqliteReadings::open(dir, options)?);
        let fleet = Arc::new(Board::new(clock.clone(), Bounds::default(), []));
        let audit = dir.join("audit");
        let notary = Notary::open("saesol", &audit, audit.clone(), &*control, &clock).await?;
        let names = Pseudonyms::open(&dir.join("pseudonyms"))?;
        let doors = (control.clone() as _, store.clone() as _);
        let access = Access::new(doors, notary.into(), names, fleet, clock.clone(), Arc::<Metrics>::default()).await?;
        for number in 0..FIRMS {
            let it =
                Firm { id: firm(number), name_ko: format!("{number}호 업체"), name_en: format!("Firm {number}") };
            access.apply(Change::AddFirm(it), "command line").await?;
            fill(&store, number).await?;
        }
        Ok(Self { access, control, deals: Default::default(), clock, decisions: AtomicU64::new(0) })
    }

    pub(super) fn now_us(&self) -> i64 {
        (self.clock)()
    }

    pub(super) fn decisions(&self) -> u64 {
        self.decisions.load(Ordering::Relaxed)
    }

    /// The number of a decision that is about to be made.
    pub(super) fn decide(&self) -> u64 {
        self.decisions.fetch_add(1, Ordering::Relaxed)
    }

    /// The consents of a grantor, also those that have gone.
    pub(super) fn deals(&self, grantor: usize) -> MutexGuard<'_, Vec<Deal>> {
        self.deals[grantor].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn member(&self, of: usize) -> anyhow::Result<Member> {
        let it = Member {
            id: MemberId::random(),
            firm: firm(of),
            name: "김하늘".into(),
            role: Role::Member,
            until_us: None,
        };
        let token = Secret::mint(TokenKind::Member).ok().context("no randomness for a token")?.hash();
        let change = Change::AddMember {
            id: it.id,
            firm: it.firm.clone(),
            name: it.name.clone(),
            token,
            role: it.role,
            until_us: None,
        };
        self.access.apply(change, "command line").await?;
        Ok(it)
    }
}

/// All readings of a firm; half of them are packed.
async fn fill(store: &SqliteReadings, firm: usize) -> anyhow::Result<()> {
    let all: Vec<_> = (0..ASSETS).flat_map(|asset| (0..METRICS.len()).map(move |metric| (asset, metric))).collect();
    let of: Vec<_> = all
        .iter()
        .map(|(asset, metric)| Series {
            asset: self::asset(*asset),
            metric: METRICS[*metric].into(),
            of: ValueType::F64,
        })
        .collect();
    let mut plant = Plant::connect(store, &format!("firm-{firm}/gw"), &of).await?;
    for half in 0..2 {
        let times_us: Vec<i64> = (half * SECONDS / 2..(half + 1) * SECONDS / 2).map(|it| it * SECOND_US).collect();
        let column = |(number, (asset, metric)): (u32, &(usize, usize))| {
            let values = times_us.iter().map(|time_us| value(firm, *asset, *metric, BEGAN_US + time_us)).collect();
            Column { series: number, quality: Vec::new(), values: Values::F64(values) }
        };
        let columns = (0..).zip(&all).map(column).collect();
        plant.deliver(store, &[Group { times_us: times_us.clone(), columns }]).await?;
        plant.settle(0).await?;
        if half == 0 {
            store.compact(&plant.firm()).await?;
        }
    }
    Ok(())
}
