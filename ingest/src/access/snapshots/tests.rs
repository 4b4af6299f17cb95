use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::*;
use crate::access::fixture::{Complex, NOW, firm, force, request};
use crate::access::{AccessError, Change, Firm};
use crate::consent::{Form, Manner, Purpose, Request, SharedForm};
use crate::store::control::{Control, SharingChange};
use crate::store::sqlite::control::SqliteControl;

/// How many consents the kept snapshot of a firm has, and its epoch.
fn kept(complex: &Complex, of: &str) -> Option<(usize, u64)> {
    let state = complex.access.snapshots.state();
    state.kept.get(&firm(of)).map(|kept| (kept.snapshot.grants().len(), kept.snapshot.epoch()))
}

/// What a store says by itself, and what stands in for it.
async fn assert_same(complex: &Complex, of: &str) {
    let now_us = complex.access.now_us();
    let whole = complex.control.snapshot(&firm(of), now_us).await.unwrap();
    let given = complex.access.decided_on(&firm(of)).await.unwrap();
    assert_eq!((given.epoch(), given.newest_us, given.grants()), (whole.epoch(), whole.newest_us, whole.grants()));
    // Of what has ended nobody needs to know how much was read.
    let of_open = |mut used: BTreeMap<ConsentId, u64>| {
        used.retain(|consent, _| whole.quotas().any(|it| it == *consent));
        used
    };
    assert_eq!(of_open(given.used.clone()), of_open(whole.used.clone()));
    let (given, whole) = (given.rules(), whole.rules());
    assert_eq!((&given.alliance, given.house, &given.groups), (&whole.alliance, whole.house, &whole.groups));
    assert_eq!((&given.closed, &given.runs), (&whole.closed, &whole.runs));
}

/// Whatever changes what is read of a firm raises its epoch, so that nothing of before is kept.
#[tokio::test]
async fn what_is_kept_is_what_the_store_says_after_each_change() {
    let complex = Complex::new().await;
    assert_same(&complex, "hanbit").await;
    let short = complex.grant_raw().await;
    assert_same(&complex, "hanbit").await;
    let full = complex.agree(1, SharedForm::Raw, |agreed| agreed.quota_rows_per_day = Some(100)).await;
    assert_same(&complex, "hanbit").await;
    assert_eq!(kept(&complex, "hanbit").map(|(grants, _)| grants), Some(2));
    complex.put_runs(&[("L1", "saesol", 0, Some(10))]).await;
    complex.agree(1, SharedForm::Raw, |agreed| agreed.runs_of = Some("saesol".to_owned())).await;
    assert_same(&complex, "hanbit").await;
    complex.put_runs(&[("L2", "saesol", 20, Some(30))]).await;
    assert_same(&complex, "hanbit").await;
    assert_eq!(complex.access.decided_on(&firm("hanbit")).await.unwrap().rules().runs.len(), 2);
    let day = NOW.div_euclid(86_400 * SECOND_US);
    for rows in [3, 4] {
        complex.control.use_quota(full, day, rows).await.unwrap();
        assert_same(&complex, "hanbit").await;
    }
    assert_eq!(complex.access.decided_on(&firm("hanbit")).await.unwrap().used, [(full, 7)].into());
    complex.revoke(short).await;
    assert_same(&complex, "hanbit").await;
    complex.withdraw(full).await;
    assert_same(&complex, "hanbit").await;
    let third = Firm { id: firm("daeyang"), name_ko: "대양".into(), name_en: "Daeyang".into() };
    complex.access.apply(Change::AddFirm(third), "command line").await.unwrap();
    assert_same(&complex, "hanbit").await;
    complex.access.apply(SharingChange::CloseFirm(firm("daeyang")).into(), "command line").await.unwrap();
    assert_same(&complex, "hanbit").await;
    let erased = Change::EraseFirm { id: firm("saesol"), held: crate::store::Holdings::default() };
    complex.access.apply(erased, "command line").await.unwrap();
    assert_same(&complex, "hanbit").await;
    let closed = complex.access.decided_on(&firm("hanbit")).await.unwrap().rules().closed.clone();
    assert_eq!(closed, [firm("daeyang"), firm("saesol")].into());
}

/// Another process writes the same file.
#[tokio::test]
async fn what_another_process_withdraws_is_not_served_out_of_what_is_kept() {
    let complex = Complex::new().await;
    let consent = complex.grant_raw().await;
    let ask = || complex.access.read(&complex.partner.0, request("saesol", Form::Raw, 0, 10), None);
    drop(ask().await.unwrap());
    let before = kept(&complex, "hanbit").unwrap();
    drop(ask().await.unwrap());
    assert_eq!(kept(&complex, "hanbit"), Some(before), "not read anew");
    let other = SqliteControl::open(&complex.dir.path().join("control.db")).unwrap();
    let revoke = Change::Revoke { id: consent, grantor: firm("hanbit"), grantee: firm("saesol") };
    let by = crate::store::control::Stamp { actor: "command line".into(), now_us: NOW };
    other.apply(revoke, by).await.unwrap();
    assert!(matches!(ask().await, Err(AccessError::Denied(..))));
    assert_eq!(kept(&complex, "hanbit"), Some((1, before.1 + 1)));
}

#[tokio::test]
async fn a_store_whose_log_went_back_is_read_anew() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    let mut snapshot = complex.access.decided_on(&firm("hanbit")).await.unwrap();
    // As it would stand there had the log been further when it was made, with no consent.
    snapshot.newest_us += 1;
    let mut none = Snapshot::of(firm("hanbit"), snapshot.epoch(), Vec::new(), consent::Rules::default());
    none.newest_us = snapshot.newest_us;
    complex.access.snapshots.keep(&none, NOW, MAX_BYTES);
    assert_eq!(complex.access.decided_on(&firm("hanbit")).await.unwrap().grants().len(), 1);
}

#[tokio::test]
async fn of_what_is_kept_the_longest_unasked_goes_first_and_what_is_too_large_is_not_kept() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    let one = complex.access.decided_on(&firm("hanbit")).await.unwrap();
    let weight = one.weight();
    assert!(weight > 0 && complex.access.snapshots.state().bytes == weight);
    let snapshots = Snapshots::default();
    let grants = one.grants().to_vec();
    let of = |name: &str| Snapshot::of(firm(name), 1, grants.clone(), one.rules().clone());
    for name in ["a", "b"] {
        snapshots.keep(&of(name), NOW, 2 * weight);
        assert!(snapshots.find(&firm(name), NOW).is_some());
    }
    assert!(snapshots.find(&firm("a"), NOW).is_some());
    snapshots.keep(&of("c"), NOW, 2 * weight);
    let is_kept = |name: &str| snapshots.find(&firm(name), NOW).is_some();
    assert_eq!(["a", "b", "c"].map(is_kept), [true, false, true]);
    assert_eq!(snapshots.state().bytes, 2 * weight);
    // One in its own place takes no more.
    snapshots.keep(&of("c"), NOW, 2 * weight);
    assert_eq!(["a", "b", "c"].map(is_kept), [true, false, true]);
    snapshots.keep(&of("a"), NOW, weight - 1);
    assert_eq!(["a", "b", "c"].map(is_kept), [false, false, true]);
    assert!(snapshots.find(&firm("c"), NOW + KEPT_US).is_none(), "too old");
}

/// Consents that ended pile up; a read does not look at them, and a denial tells of the newest.
#[tokio::test]
async fn a_denial_tells_of_the_newest_of_many_that_ended() {
    const ENDED: usize = 40;
    let complex = Complex::new().await;
    let mut ended = Vec::new();
    for _ in 0..ENDED {
        let id = complex.grant_raw().await;
        complex.revoke(id).await;
        ended.push(id);
    }
    let manner = Manner { purpose: Some(Purpose::Quality), ..Manner::default() };
    let ask = || Request { manner, ..request("saesol", Form::Raw, 0, 10) };
    let Err(AccessError::Denied(reasons, _)) = complex.access.read(&complex.partner.0, ask(), None).await else {
        panic!("nothing is in force");
    };
    let mut told: Vec<_> = reasons.iter().map(|reason| reason.consent).collect();
    told.dedup();
    assert_eq!(told, ended[ENDED - 16..], "the newest, oldest first");
    let open = complex.grant_raw().await;
    let reader = complex.access.read(&complex.partner.0, ask(), None).await.unwrap();
    assert_eq!(reader.consents(), &[open].into());
    assert_eq!(reader.series().key, force());
    drop(reader);
    complex.now_us.fetch_add(3_600 * SECOND_US, Ordering::Relaxed);
    let Err(AccessError::Denied(reasons, _)) = complex.access.read(&complex.partner.0, ask(), None).await else {
        panic!("nothing is in force");
    };
    let mut told: Vec<_> = reasons.iter().map(|reason| reason.consent).collect();
    told.dedup();
    assert_eq!(told, [&ended[ENDED - 15..], &[open]].concat());
}
