use std::sync::atomic::Ordering;

use super::*;
use crate::access::fixture::{BEGIN, Complex, NOW, firm, request};
use crate::access::{AccessError, Reader};
use crate::audit::Field;
use crate::auth::{Member, Secret, TokenKind};
use crate::consent::{EventWindow, Form, Function, Request, SharedForm};
use crate::id::MemberId;
use crate::store::control::Change;
use crate::store::{ReadCursor, Rows};

fn ask() -> Request {
    request("saesol", Form::Raw, 0, 10)
}

async fn open(complex: &Complex, request: Request) -> Reader {
    complex.access.read(&complex.partner.0, request, None).await.unwrap()
}

/// Reads all of it; the number of the entry that its receipt names.
async fn read(complex: &Complex, request: Request) -> u64 {
    let mut reader = open(complex, request).await;
    while let Some(rows) = reader.next(usize::MAX).await.unwrap() {
        assert!(matches!(rows, Rows::Raw(_) | Rows::Buckets(_)));
        reader.count_bytes(100);
    }
    reader.receipt().unwrap().number
}

fn number(entry: &Entry, name: &str) -> i64 {
    match &entry.detail[name] {
        Field::Number(number) => *number,
        other => panic!("{name} is {other:?}"),
    }
}

fn later(complex: &Complex, us: i64) {
    complex.now_us.fetch_add(us, Ordering::Relaxed);
}

/// Entries of reads and denials, once what was closing is closed.
async fn entries(complex: &Complex) -> Vec<Entry> {
    complex.access.closing.close();
    complex.access.closing.wait().await;
    complex.access.closing.reopen();
    let mut log = complex.log().await;
    log.retain(|it| matches!(it.kind, Kind::ReadStarted | Kind::ReadFinished | Kind::Denied | Kind::Repeated));
    log
}

async fn kinds(complex: &Complex) -> Vec<Kind> {
    entries(complex).await.into_iter().map(|entry| entry.kind).collect()
}

#[tokio::test]
async fn what_is_read_again_within_a_minute_is_one_entry_and_a_count() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    let first = read(&complex, ask()).await;
    for _ in 0..3 {
        later(&complex, 15 * SECOND_US);
        assert_eq!(read(&complex, ask()).await, first, "the receipt names the entry that is repeated");
    }
    assert_eq!(kinds(&complex).await, [Kind::ReadStarted, Kind::ReadFinished]);
    complex.access.settle().await.unwrap();
    assert_eq!(kinds(&complex).await.len(), 2, "the minute is not over");
    later(&complex, 15 * SECOND_US);
    complex.access.settle().await.unwrap();
    let log = entries(&complex).await;
    let repeated = log.last().unwrap();
    assert_eq!((repeated.kind, repeated.actor.as_str()), (Kind::Repeated, log[0].actor.as_str()));
    let counted = ["entry", "times", "complete", "withdrawn", "aborted", "rows", "bytes"];
    assert_eq!(counted.map(|name| number(repeated, name)), [first.cast_signed(), 3, 3, 0, 0, 30, 300]);
    let told = ["of", "asker", "asset", "metric", "first", "last"].map(|name| repeated.detail[name].clone());
    let (begin, end) = (rfc3339(NOW + 15 * SECOND_US), rfc3339(NOW + 45 * SECOND_US));
    assert_eq!(told, ["read_started", "saesol", "press-1", "press_force", &begin, &end].map(Field::from));
    // The next minute begins with an entry, and what nobody repeats is not counted.
    assert!(read(&complex, ask()).await > first);
    complex.access.finish().await;
    assert_eq!(complex.log().await.iter().filter(|entry| entry.kind == Kind::Repeated).count(), 1);
}

#[tokio::test]
async fn whatever_differs_is_no_repetition() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    complex.grant_minutes().await;
    let minutes = |functions: &[Function]| Request {
        functions: functions.iter().copied().collect(),
        ..request("saesol", Form::buckets(60 * SECOND_US), 0, 120)
    };
    let mut asked = vec![
        ask(),
        Request { from_us: ask().from_us + 1, ..ask() },
        Request { to_us: ask().to_us + 1, ..ask() },
        minutes(&[Function::Mean]),
        Request { form: Form::buckets(120 * SECOND_US), ..minutes(&[Function::Mean]) },
    ];
    // What no entry says separates too.
    let mut purpose = ask();
    purpose.manner.purpose = Some(crate::consent::Purpose::Quality);
    asked.push(purpose);
    let mut seen = std::collections::BTreeSet::new();
    for request in asked {
        assert!(seen.insert(read(&complex, request).await));
    }
    // A page that begins elsewhere.
    let page = Some(ReadCursor::new(0, BEGIN + 5 * SECOND_US, 0));
    let reader = complex.access.read(&complex.partner.0, ask(), page).await.unwrap();
    assert!(seen.insert(reader.receipt().unwrap().number));
    // Another member of the same firm.
    let other = Member { id: MemberId::random(), name: "이바다".into(), ..complex.partner.0.clone() };
    let token = Secret::mint(TokenKind::Member).unwrap().hash();
    let add = Change::AddMember {
        id: other.id,
        firm: other.firm.clone(),
        name: other.name.clone(),
        role: other.role,
        until_us: other.until_us,
        token,
    };
    complex.access.apply(add, "command line").await.unwrap();
    let reader = complex.access.read(&other, ask(), None).await.unwrap();
    assert!(seen.insert(reader.receipt().unwrap().number));
    // The same, resting on other consents and another epoch.
    let another = complex.grant_raw().await;
    assert!(seen.insert(read(&complex, ask()).await));
    complex.revoke(another).await;
    assert!(seen.insert(read(&complex, ask()).await), "the consents of before, at another epoch");
    assert!(!seen.insert(read(&complex, ask()).await));
}

#[tokio::test]
async fn denials_are_counted_by_their_reasons() {
    let complex = Complex::new().await;
    complex.grant_minutes().await;
    let denied = async || match complex.access.read(&complex.partner.0, ask(), None).await {
        Err(AccessError::Denied(_, Some(receipt))) => receipt.number,
        other => panic!("{:?}", other.err()),
    };
    let first = denied().await;
    assert_eq!([denied().await, denied().await], [first, first]);
    let event = EventWindow { from_us: Some(BEGIN + 20 * SECOND_US), to_us: None };
    complex.grant(SharedForm::Raw, event).await;
    let second = denied().await;
    assert!(second > first, "refused for other reasons");
    assert_eq!(denied().await, second);
    complex.access.finish().await;
    let log = complex.log().await;
    let counted: Vec<_> = log.iter().filter(|entry| entry.kind == Kind::Repeated).collect();
    let mut counts: Vec<_> = counted.iter().map(|it| (number(it, "entry"), number(it, "times"))).collect();
    counts.sort_unstable();
    assert_eq!(counts, [(first.cast_signed(), 2), (second.cast_signed(), 1)]);
    let of_denials = |it: &&Entry| it.detail["of"] == Field::from("denied") && !it.detail.contains_key("rows");
    assert!(counted.iter().all(of_denials));
}

#[tokio::test]
async fn of_many_at_once_one_is_first_and_all_wait_for_it() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    let log = rusqlite::Connection::open(complex.dir.path().join("control.db")).unwrap();
    let at_once = async || {
        let reads = (0..8).map(|_| complex.access.read(&complex.partner.0, ask(), None));
        futures::future::join_all(reads).await
    };
    log.execute("ALTER TABLE audit RENAME TO gone", []).unwrap();
    for refused in at_once().await {
        assert!(matches!(refused, Err(AccessError::Control(_))), "no log, no read");
    }
    assert!(complex.access.repeats.state().tallies[&firm("saesol")].is_empty());
    log.execute("ALTER TABLE gone RENAME TO audit", []).unwrap();
    let first = at_once().await.into_iter().map(|read| read.unwrap().receipt().unwrap().number).collect::<Vec<_>>();
    assert!(first.iter().all(|number| *number == first[0]), "{first:?}");
    complex.access.finish().await;
    let log = complex.log().await;
    assert_eq!(log.iter().filter(|entry| entry.kind == Kind::ReadStarted).count(), 1);
    let counted = log.last().unwrap();
    // None of them took a row.
    assert_eq!(["times", "aborted", "rows"].map(|name| number(counted, name)), [7, 7, 0]);
}

#[tokio::test]
async fn a_repetition_that_outlives_its_minute_or_its_decision_has_an_end_of_its_own() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    read(&complex, ask()).await;
    let slow = open(&complex, ask()).await;
    let mut moved = open(&complex, request("saesol", Form::Raw, 0, 3_000)).await;
    let mut repeated = open(&complex, request("saesol", Form::Raw, 0, 3_000)).await;
    for reader in [&mut moved, &mut repeated] {
        reader.next(usize::MAX).await.unwrap().unwrap();
    }
    complex.grant_raw().await;
    for reader in [&mut moved, &mut repeated] {
        reader.next(usize::MAX).await.unwrap().unwrap();
    }
    drop(repeated);
    let ends = async |of: &Complex| entries(of).await.iter().filter(|it| it.kind == Kind::ReadFinished).count();
    assert_eq!(ends(&complex).await, 2, "it ended under more consents than it began with");
    later(&complex, WINDOW_US);
    complex.access.settle().await.unwrap();
    drop(slow);
    assert_eq!(ends(&complex).await, 3);
    let log = entries(&complex).await;
    let counts: Vec<_> = log.iter().filter(|entry| entry.kind == Kind::Repeated).collect();
    assert_eq!(counts.len(), 2);
    assert!(counts.iter().all(|it| number(it, "times") == 1 && number(it, "aborted") == 0));
}

#[tokio::test]
async fn a_count_that_cannot_be_written_waits_and_what_is_remembered_is_bounded() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    let first = read(&complex, ask()).await;
    read(&complex, ask()).await;
    for step in 1..=MAX_PER_FIRM {
        let to_us = ask().to_us + i64::try_from(step).unwrap();
        open(&complex, Request { to_us, ..ask() }).await;
    }
    assert_eq!(complex.access.repeats.state().tallies[&firm("saesol")].len(), MAX_PER_FIRM);
    // Beyond it everything has an entry of its own.
    let last = || Request { to_us: ask().to_us + 256, ..ask() };
    assert!(read(&complex, last()).await < read(&complex, last()).await);
    let log = rusqlite::Connection::open(complex.dir.path().join("control.db")).unwrap();
    entries(&complex).await;
    log.execute("ALTER TABLE audit RENAME TO gone", []).unwrap();
    later(&complex, WINDOW_US);
    assert!(complex.access.settle().await.is_err() && complex.access.settle().await.is_err());
    log.execute("ALTER TABLE gone RENAME TO audit", []).unwrap();
    complex.access.settle().await.unwrap();
    complex.access.settle().await.unwrap();
    let counts = entries(&complex).await.into_iter().filter(|entry| entry.kind == Kind::Repeated);
    assert_eq!(counts.map(|it| number(&it, "entry")).collect::<Vec<_>>(), [first.cast_signed()]);
    assert!(complex.access.repeats.state().tallies.is_empty());
}
