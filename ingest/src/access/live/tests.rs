use std::sync::atomic::Ordering;

use super::*;
use crate::access::fixture::{BEGIN, Complex, NOW, force, request};
use crate::access::{Entry, Kind};
use crate::consent::{Purpose, SharedForm};

/// A new stream from a time on, in seconds since the day began.
fn from(asker: &str, form: Form, from_s: i64) -> Follow {
    let request = request(asker, form, 86_400 + from_s, 86_400 + from_s);
    Follow { request, late_us: 3_600 * SECOND_US, place: None }
}

async fn shared(complex: &Complex, follow: Follow) -> Result<Follower, AccessError> {
    complex.access.follow(&complex.partner.0, follow).await
}

/// Seconds since the day began of what comes next.
async fn seconds(follower: &mut Follower) -> Vec<i64> {
    loop {
        match follower.next().await.unwrap() {
            News::Quiet => {}
            News::Rows(Rows::Raw(rows)) => return rows.iter().map(|row| (row.time_us - NOW) / SECOND_US).collect(),
            News::Rows(Rows::Buckets(rows)) => {
                return rows.iter().map(|row| (row.start_us - NOW) / SECOND_US).collect();
            }
        }
    }
}

/// The end of a stream, whatever comes before it.
async fn end(follower: &mut Follower) -> AccessError {
    loop {
        if let Err(error) = follower.next().await {
            return error;
        }
    }
}

fn put(complex: &Complex, commit: i64, seconds: impl IntoIterator<Item = i64>) {
    let rows = seconds.into_iter().map(|s| (NOW + s * SECOND_US, s as f64));
    complex.memory.put_in(commit, &force(), rows);
}

fn at(complex: &Complex, second: i64) {
    complex.now_us.store(NOW + second * SECOND_US, Ordering::Relaxed);
}

async fn log(complex: &Complex) -> Vec<Entry> {
    complex.access.finish().await;
    let of = |entry: &Entry| matches!(entry.kind, Kind::ReadStarted | Kind::ReadFinished | Kind::Repeated);
    complex.log().await.into_iter().filter(of).collect()
}

#[tokio::test]
async fn each_reading_comes_once_however_often_the_stream_breaks_off() {
    let complex = Complex::new().await;
    complex.grant_raw().await;
    let (mut follow, mut seen) = (from("saesol", Form::Raw, 0), Vec::<i64>::new());
    let mut expected = Vec::<i64>::new();
    for round in 0..6_i64 {
        // Three of each time, late ones, and more at once than one piece holds.
        let (begin, end) = (round * 500, (round + 1) * 500);
        let late = (begin - 1_700..begin - 200).filter(|second| *second >= 0);
        let rows: Vec<i64> = (begin..end).flat_map(|second| [second; 3]).chain(late).collect();
        expected.extend(&rows);
        put(&complex, 2 + round, rows);
        at(&complex, end);
        while seen.len() < expected.len() {
            // Each piece by a stream of its own.
            let mut follower = shared(&complex, follow.clone()).await.unwrap();
            let rows = seconds(&mut follower).await;
            assert!(!rows.is_empty() && rows.len() <= 1_000);
            seen.extend(rows);
            follow.place = Some(follower.place().clone());
        }
    }
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_stream_goes_on_by_itself_and_one_may_begin_before_now() {
    let complex = Complex::new().await;
    let mut own = complex.access.follow(&complex.owner.0, from("hanbit", Form::Raw, -86_400 + 2_995)).await.unwrap();
    assert_eq!(seconds(&mut own).await, (2_995..3_000).map(|s| s - 86_400).collect::<Vec<_>>());
    at(&complex, 10);
    put(&complex, 2, [4, 5]);
    assert_eq!(seconds(&mut own).await, [4, 5]);
    // What is late comes, and what is later than that does not; nor what is not yet.
    put(&complex, 3, [3, -4_000, 20]);
    assert_eq!(seconds(&mut own).await, [3]);
    at(&complex, 21);
    assert_eq!(seconds(&mut own).await, [20]);
    drop(own);
    assert!(log(&complex).await.is_empty(), "one's own is no business of the log");
}

#[tokio::test]
async fn a_revocation_ends_a_stream_that_waits_and_a_further_one_is_refused() {
    let complex = Complex::new().await;
    let consent = complex.grant_raw().await;
    let mut follower = shared(&complex, from("saesol", Form::Raw, 0)).await.unwrap();
    at(&complex, 10);
    put(&complex, 2, [1, 2]);
    assert_eq!(seconds(&mut follower).await, [1, 2]);
    complex.revoke(consent).await;
    put(&complex, 3, [3]);
    at(&complex, 20);
    let ended = tokio::time::timeout(Duration::from_secs(10), end(&mut follower)).await.unwrap();
    assert!(matches!(ended, AccessError::Withdrawn), "{ended}");
    let again = Follow { place: Some(follower.place().clone()), ..from("saesol", Form::Raw, 0) };
    drop(follower);
    assert!(matches!(shared(&complex, again).await.err(), Some(AccessError::Denied(..))));
    let log = log(&complex).await;
    let [first, last] = log.as_slice() else { panic!("{log:#?}") };
    assert_eq!((first.kind, last.kind), (Kind::ReadStarted, Kind::ReadFinished));
    assert_eq!(first.detail["consents"], vec![consent.to_string()].into());
    assert_eq!((&last.detail["outcome"], &last.detail["rows"]), (&"withdrawn".into(), &2.into()));
}

#[tokio::test]
async fn a_member_who_is_revoked_follows_no_further_not_even_ones_own() {
    let complex = Complex::new().await;
    let mut own = complex.access.follow(&complex.owner.0, from("hanbit", Form::Raw, 0)).await.unwrap();
    let gone =
        crate::store::control::Change::RevokeMember { id: complex.owner.0.id, firm: complex.owner.0.firm.clone() };
    complex.access.apply(gone, "command line").await.unwrap();
    assert!(matches!(end(&mut own).await, AccessError::Revoked));
}

#[tokio::test]
async fn under_a_floor_only_buckets_that_are_over_come_each_once() {
    let complex = Complex::new().await;
    let consent = complex.grant_minutes().await;
    let raw = shared(&complex, from("saesol", Form::Raw, 0)).await.err();
    assert!(matches!(raw, Some(AccessError::Denied(..))), "{raw:?}");
    let minutes = || from("saesol", Form::buckets(MINUTE_US), 0);
    // Nothing is over yet, and that is no refusal.
    let mut follower = shared(&complex, minutes()).await.unwrap();
    assert_eq!(follower.consents(), [consent].into());
    put(&complex, 2, 0..60);
    at(&complex, 65);
    put(&complex, 3, 60..65);
    at(&complex, 70);
    assert_eq!(seconds(&mut follower).await, [0], "and not the one that is being filled");
    let place = follower.place().clone();
    assert_eq!(place.edge_us, NOW + MINUTE_US);
    // Late ones change nothing of what was handed on.
    put(&complex, 4, [30]);
    put(&complex, 5, 65..125);
    at(&complex, 131);
    assert_eq!(seconds(&mut follower).await, [60]);
    drop(follower);
    let mut again = shared(&complex, Follow { place: Some(place), ..minutes() }).await.unwrap();
    assert_eq!(seconds(&mut again).await, [60]);
    // Finer ones are refused.
    let finer = shared(&complex, from("saesol", Form::buckets(SECOND_US), 0)).await.err();
    assert!(matches!(finer, Some(AccessError::Denied(..))));
}

#[tokio::test]
async fn what_is_too_young_comes_when_it_is_old_enough() {
    let complex = Complex::new().await;
    complex.agree(1, SharedForm::Raw, |agreed| agreed.minimum_age_us = 600 * SECOND_US).await;
    let mut follow = from("saesol", Form::Raw, 0);
    assert!(matches!(shared(&complex, follow.clone()).await.err(), Some(AccessError::Denied(..))), "no purpose");
    follow.request.manner.purpose = Some(Purpose::Quality);
    put(&complex, 2, 0..5);
    at(&complex, 5);
    let mut follower = shared(&complex, follow.clone()).await.unwrap();
    // Stored long before it is old enough, which its commit alone would not tell.
    at(&complex, 603);
    assert_eq!(seconds(&mut follower).await, [0, 1, 2]);
    let place = follower.place().clone();
    put(&complex, 3, [1, 602]);
    at(&complex, 605);
    assert_eq!(seconds(&mut follower).await, [1]);
    assert_eq!(seconds(&mut follower).await, [3, 4]);
    drop(follower);
    let mut again = shared(&complex, Follow { place: Some(place), ..follow }).await.unwrap();
    assert_eq!([seconds(&mut again).await, seconds(&mut again).await].concat(), [1, 3, 4]);
}

#[tokio::test]
async fn what_arrives_late_and_is_not_agreed_to_does_not_come() {
    let complex = Complex::new().await;
    at(&complex, 100);
    complex.agree(1, SharedForm::Raw, |agreed| agreed.late_data = false).await;
    let mut follow = from("saesol", Form::Raw, 100);
    follow.request.manner.purpose = Some(Purpose::Quality);
    let mut follower = shared(&complex, follow).await.unwrap();
    put(&complex, 2, [50, 101, 99, 102]);
    at(&complex, 110);
    assert_eq!(seconds(&mut follower).await, [101, 102]);
}

#[tokio::test]
async fn rows_of_a_stream_count_towards_the_quota_and_it_goes_on_the_next_day() {
    let complex = Complex::new().await;
    let day_s = 86_400;
    at(&complex, day_s - 100);
    complex.agree(1, SharedForm::Raw, |agreed| agreed.quota_rows_per_day = Some(5)).await;
    let mut follow = from("saesol", Form::Raw, day_s - 100);
    follow.request.manner.purpose = Some(Purpose::Quality);
    let mut follower = shared(&complex, follow.clone()).await.unwrap();
    put(&complex, 2, (0..8).map(|s| day_s - 90 + s));
    at(&complex, day_s - 50);
    assert_eq!(seconds(&mut follower).await.len(), 5);
    assert!(matches!(end(&mut follower).await, AccessError::QuotaExceeded { .. }));
    follow.place = Some(follower.place().clone());
    drop(follower);
    assert!(matches!(shared(&complex, follow.clone()).await.err(), Some(AccessError::QuotaExceeded { .. })));
    at(&complex, day_s + 10);
    let mut follower = shared(&complex, follow).await.unwrap();
    assert_eq!(seconds(&mut follower).await, (5..8).map(|s| day_s - 90 + s).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_log_counts_a_stream_by_the_minute_and_names_each_consent_before_it_is_used() {
    let complex = Complex::new().await;
    let one = complex.grant_raw().await;
    let mut follower = shared(&complex, from("saesol", Form::Raw, 0)).await.unwrap();
    assert!(follower.receipt().is_some());
    put(&complex, 2, 0..10);
    at(&complex, 10);
    assert_eq!(seconds(&mut follower).await.len(), 10);
    follower.count_bytes(700);
    let other = complex.grant_raw().await;
    put(&complex, 3, 10..20);
    at(&complex, 61);
    assert_eq!(seconds(&mut follower).await.len(), 10);
    complex.revoke(one).await;
    put(&complex, 4, 61..62);
    at(&complex, 62);
    assert_eq!(seconds(&mut follower).await, [61], "the other still covers it");
    drop(follower);
    let log = log(&complex).await;
    let kinds: Vec<_> = log.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::ReadStarted, Kind::Repeated, Kind::ReadStarted, Kind::ReadFinished]);
    assert_eq!((&log[1].detail["rows"], &log[1].detail["bytes"]), (&10.into(), &700.into()));
    assert_eq!(log[1].detail["entry"], i64::try_from(log[0].number).unwrap().into());
    let mut both = vec![one.to_string(), other.to_string()];
    both.sort();
    assert_eq!(log[2].detail["consents"], both.into());
    assert_eq!(log[3].detail["rows"], 21.into());
}

#[tokio::test]
async fn streams_are_bounded_by_token_and_a_place_of_something_else_is_refused() {
    let complex = Complex::new().await;
    let own = || complex.access.follow(&complex.owner.0, from("hanbit", Form::Raw, 0));
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(own().await.unwrap());
    }
    assert!(matches!(own().await.err(), Some(AccessError::TooManyStreams)));
    // Reads are counted by themselves.
    let read = complex.access.read(&complex.owner.0, request("hanbit", Form::Raw, 0, 5), None).await;
    assert!(read.is_ok());
    open.pop();
    let good = own().await.unwrap().place().clone();
    let late = LatePlace { from_us: BEGIN, at_us: NOW, skip: 0, through: 1 };
    for bad in [
        Place { commit: 2, ..good.clone() },
        Place { edge_us: NOW + 3_600 * SECOND_US, ..good.clone() },
        Place { edge_us: -1, ..good.clone() },
        Place { late: Some(late), ..good.clone() },
    ] {
        let follow = Follow { place: Some(bad.clone()), ..from("hanbit", Form::Raw, 0) };
        let refused = complex.access.follow(&complex.owner.0, follow).await.err();
        assert!(matches!(refused, Some(AccessError::Cursor)), "{bad:?}: {refused:?}");
    }
    let inside = Place { edge_us: NOW - 1, ..good };
    let follow = Follow { place: Some(inside), ..from("hanbit", Form::buckets(MINUTE_US), 0) };
    assert!(matches!(complex.access.follow(&complex.owner.0, follow).await.err(), Some(AccessError::Cursor)));
    // Nobody learns of what was never shared.
    assert!(matches!(shared(&complex, from("saesol", Form::Raw, 0)).await.err(), Some(AccessError::NotFound)));
    complex.access.end_streams();
    assert!(matches!(end(&mut open[0]).await, AccessError::Ending));
}
