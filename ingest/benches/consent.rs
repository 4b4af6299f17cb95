//! What one decision costs with 10,000 consents in force.
//!
//! `cargo bench -p sandan-ingest --bench consent`

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

fn snapshot() -> Snapshot {
    Snapshot::of("hanbit".parse().unwrap(), 1, (0..CONSENTS).map(grant).collect(), Rules::default())
}

fn request(number: usize) -> Request {
    let series = SeriesKey {
        firm: "hanbit".parse().unwrap(),
        asset: asset(number * 31 % ASSETS),
        metric: "press_force".parse().unwrap(),
    };
    let raw = number.is_multiple_of(2);
    Request {
        asker: firm(number % FIRMS),
        series,
        form: if raw { Form::Raw } else { Form::buckets(60_000_000) },
        functions: if raw { BTreeSet::new() } else { [Function::Mean].into() },
        from_us: 0,
        to_us: 300 * 86_400_000_000,
        manner: Manner { purpose: Some(Purpose::Quality), ..Manner::default() },
    }
}

/// Requests of all firms for all machines, one after the other: 200 consents reach each firm's
/// machines.
#[divan::bench]
fn indexed(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot().indexed();
    let requests: Vec<_> = (0..5_000).map(request).collect();
    let mut at = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        at = (at + 1) % requests.len();
        decide(black_box(&snapshot), &requests[at], 400 * 86_400_000_000)
    });
}

/// The same without the index: what a read costs that brings its snapshot along.
#[divan::bench]
fn one_by_one(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    let requests: Vec<_> = (0..5_000).map(request).collect();
    let mut at = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        at = (at + 1) % requests.len();
        decide(black_box(&snapshot), &requests[at], 400 * 86_400_000_000)
    });
}

/// Making the index.
#[divan::bench]
fn index(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    bencher.with_inputs(|| snapshot.clone()).bench_values(Snapshot::indexed);
}

/// The 99th and the 99.9th percentile of 100,000 decisions, each timed by itself.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn percentiles() {
    let snapshot = snapshot().indexed();
    let requests: Vec<_> = (0..5_000).map(request).collect();
    let mut took: Vec<_> = (0..100_000)
        .map(|number| {
            let begun = std::time::Instant::now();
            let answer = decide(black_box(&snapshot), &requests[number % requests.len()], 400 * 86_400_000_000);
            let took = begun.elapsed();
            drop(black_box(answer));
            took
        })
        .collect();
    took.sort_unstable();
    eprintln!("p50 {:?}, p99 {:?}, p99.9 {:?}", took[50_000], took[99_000], took[99_900]);
}
