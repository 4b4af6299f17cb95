//! What one decision costs with 10,000 consents in force, and as many that have ended.
//!
//! `cargo bench -p sandan-ingest --bench consent`. Who asks and for which machine is drawn at
//! random, from a seed, out of 100 firms and 500 machines.

use std::collections::BTreeSet;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sandan_ingest::consent::{
    AccessWindow, Agreed, EventWindow, Form, Function, Grant, Grantee, Identity, Manner, OnwardUse, Purpose, Relation,
    Request, Rules, SharedForm, Snapshot, Status, StoredTerms, Terms, decide,
};
use sandan_ingest::id::ConsentId;
use sandan_proto::id::{AssetId, FirmId, SeriesKey};

/// Consents of one grantor.
const CONSENTS: usize = 10_000;
/// Firms that read.
const FIRMS: usize = 100;
/// Machines of the grantor.
const ASSETS: usize = 500;
/// When is decided, µs since 1970.
const NOW_US: i64 = 400 * 86_400_000_000;

fn main() {
    divan::main();
}

fn asset(number: usize) -> AssetId {
    format!("press-{number}").parse().unwrap()
}

fn firm(number: usize) -> FirmId {
    format!("firm-{number}").parse().unwrap()
}

fn grant(number: usize) -> Grant {
    let form = if number.is_multiple_of(3) {
        SharedForm::Raw
    } else {
        SharedForm::Bucketed { floor_us: 60_000_000, functions: [Function::Mean, Function::Max].into() }
    };
    let day = 86_400_000_000;
    let from_us = i64::try_from(number % 200).unwrap() * day;
    let agreed = Agreed {
        dictionary: 1,
        identity: Identity::Named,
        relation: Relation::Customer,
        reason: "치수 불량의 원인을 찾기 위해".to_owned(),
        holders: ["품질팀".to_owned()].into(),
        return_by_us: i64::MAX,
        minimum_age_us: 3_600_000_000,
        runs_of: None,
        late_data: true,
        purposes: [Purpose::Quality, Purpose::Energy].into(),
        onward_use: OnwardUse::Holders,
        quota_rows_per_day: None,
        cohort_floor: None,
    };
    let terms = Terms {
        assets: (0..10).map(|step| asset((number * 7 + step * 13) % ASSETS)).collect(),
        metrics: ["press_force", "stroke_count", "temperature"].iter().map(|id| id.parse().unwrap()).collect(),
        form,
        event: EventWindow { from_us: Some(from_us), to_us: Some(from_us + 60 * day) },
        access: AccessWindow { not_before_us: 0, until_us: i64::MAX },
        agreed: Some(Box::new(agreed)),
    };
    Grant {
        id: ConsentId::random(),
        grantee: Grantee::Firm(firm(number % FIRMS)),
        status: Status::Active,
        terms: StoredTerms::Known(terms),
        mark: None,
    }
}

/// In force, and as many more of the same firms and machines that were revoked.
fn snapshot() -> Snapshot {
    let revoked = |number| Grant { status: Status::Revoked { at_us: 1 }, ..grant(number) };
    let grants = (0..CONSENTS).flat_map(|number| [revoked(number), grant(number)]);
    Snapshot::of("hanbit".parse().unwrap(), 1, grants.collect(), Rules::default())
}

/// What is drawn next: splitmix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((it ^ (it >> 31)) % end as u64).unwrap()
    }

    fn request(&mut self) -> Request {
        let series = SeriesKey {
            firm: "hanbit".parse().unwrap(),
            asset: asset(self.below(ASSETS)),
            metric: "press_force".parse().unwrap(),
        };
        let raw = self.below(2) == 0;
        let day = 86_400_000_000;
        let from_us = i64::try_from(self.below(200)).unwrap() * day;
        Request {
            asker: firm(self.below(FIRMS)),
            series,
            form: if raw { Form::Raw } else { Form::buckets(60_000_000) },
            functions: if raw { BTreeSet::new() } else { [Function::Mean].into() },
            from_us,
            to_us: from_us + 100 * day,
            manner: Manner { purpose: Some(Purpose::Quality), ..Manner::default() },
        }
    }
}

fn requests() -> Vec<Request> {
    let mut draw = Draw(7);
    (0..5_000).map(|_| draw.request()).collect()
}

/// One decision after the other.
#[divan::bench]
fn indexed(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot().indexed();
    let requests = requests();
    let mut at = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        at = (at + 1) % requests.len();
        decide(black_box(&snapshot), &requests[at], NOW_US)
    });
}

/// The same without the index: every consent is looked at.
#[divan::bench]
fn one_by_one(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    let requests = requests();
    let mut at = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        at = (at + 1) % requests.len();
        decide(black_box(&snapshot), &requests[at], NOW_US)
    });
}

/// Making the index, once for each epoch of a grantor.
#[divan::bench(sample_count = 20)]
fn index(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(snapshot).bench_values(Snapshot::indexed);
}

/// Percentiles of decisions that are timed one by one, each of a request that is drawn for it.
/// `forget` happens before each, and is not timed.
fn percentiles(name: &str, decisions: usize, mut forget: impl FnMut()) {
    let snapshot = snapshot().indexed();
    let mut draw = Draw(11);
    let (mut took, mut served) = (Vec::with_capacity(decisions), 0);
    for _ in 0..decisions {
        let request = draw.request();
        forget();
        let begun = std::time::Instant::now();
        let answer = decide(black_box(&snapshot), black_box(&request), NOW_US);
        took.push(begun.elapsed());
        served += usize::from(black_box(answer).is_ok());
    }
    took.sort_unstable();
    let of_thousand = |share: usize| took[decisions * share / 1_000];
    let (p50, p99, p999) = (of_thousand(500), of_thousand(990), of_thousand(999));
    eprintln!("{name}: p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}; {served} of {decisions} served");
}

#[divan::bench(sample_count = 1, sample_size = 1)]
fn percentiles_one_after_the_other() {
    percentiles("one after the other", 100_000, || {});
}

/// With what a read does in between: 4 MiB of something else go through the processor's caches.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn percentiles_after_something_else() {
    let mut other = vec![1_u64; 4 << 17];
    percentiles("after something else", 20_000, || {
        other.iter_mut().step_by(8).for_each(|word| *word = word.wrapping_mul(3));
        black_box(&other);
    });
}
