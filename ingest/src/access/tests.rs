mod catalogue;
mod duties;
mod unsure;

use std::sync::atomic::Ordering;

use super::fixture::{BEGIN, Complex, Engine, NOW, firm, force, on_both_engines, request};
use super::*;
use crate::audit::Field;
use crate::consent::{EventWindow, Form, SharedForm};
use crate::time::SECOND_US;

fn times(rows: &Rows) -> Vec<i64> {
    match rows {
        Rows::Raw(rows) => rows.iter().map(|row| (row.time_us - BEGIN) / SECOND_US).collect(),
        Rows::Buckets(rows) => rows.iter().map(|row| (row.start_us - BEGIN) / SECOND_US).collect(),
    }
}

async fn all(reader: &mut Reader) -> Result<Vec<i64>, AccessError> {
    let mut seen = Vec::new();
    while let Some(rows) = reader.next(usize::MAX).await? {
        seen.extend(times(&rows));
    }
    Ok(seen)
}

async fn open(complex: &Complex, from_s: i64, to_s: i64) -> Reader {
    let request = request("saesol", Form::Raw, from_s, to_s);
    complex.access.read(&complex.partner.0, request, None).await.unwrap()
}

/// The log once every read that was dropped has its end in it.
async fn finished(complex: &Complex) -> Vec<Entry> {
    complex.access.finish().await;
    complex.log().await
}

fn field(entry: &Entry, name: &str) -> Field {
    entry.detail[name].clone()
}

async fn a_read_across_firms_is_logged_before_its_first_row_and_at_its_end(on: Engine) {
    let complex = Complex::on(on).await;
    let consent = complex.grant_raw().await;
    let mut reader = open(&complex, 0, 1_500).await;
    let log = complex.log().await;
    assert_eq!(log.last().unwrap().kind, Kind::ReadStarted);
    assert_eq!(field(log.last().unwrap(), "consents"), Field::List(vec![consent.to_string()]));
    assert_eq!(all(&mut reader).await.unwrap(), (0..1_500).collect::<Vec<_>>());
    reader.count_bytes(77);
    drop(reader);
    let end = finished(&complex).await.pop().unwrap();
    assert_eq!((end.kind, field(&end, "outcome")), (Kind::ReadFinished, "complete".into()));
    assert_eq!((field(&end, "rows"), field(&end, "bytes")), (1_500.into(), 77.into()));
    assert_eq!(field(&end, "asker"), "saesol".into());
}

async fn no_log_no_read(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_raw().await;
    complex.behind("DROP TABLE audit");
    let ask = request("saesol", Form::Raw, 0, 10);
    let refused = complex.access.read(&complex.partner.0, ask, None).await.err();
    assert!(matches!(refused, Some(AccessError::Control(_))), "{refused:?}");
    assert_eq!(complex.memory.waiting.available_permits(), 0, "nothing was read");
    // One's own is no business of the log.
    let ask = request("hanbit", Form::Raw, 0, 10);
    let mut own = complex.access.read(&complex.owner.0, ask, None).await.unwrap();
    assert_eq!(all(&mut own).await.unwrap().len(), 10);
}

async fn a_revocation_ends_a_slow_read_in_its_middle(on: Engine) {
    let complex = Complex::on(on).await;
    let consent = complex.grant_raw().await;
    let mut reader = open(&complex, 0, 3_000).await;
    assert_eq!(times(&reader.next(usize::MAX).await.unwrap().unwrap()).len(), 1_000);
    // 2,000 rows more were read and wait for the consumer; none of them may leave.
    complex.revoke(consent).await;
    assert!(matches!(reader.next(usize::MAX).await, Err(AccessError::Withdrawn)));
    assert!(matches!(reader.check().await, Err(AccessError::Withdrawn)));
    drop(reader);
    let end = finished(&complex).await.pop().unwrap();
    assert_eq!((field(&end, "outcome"), field(&end, "rows")), ("withdrawn".into(), 1_000.into()));
}

async fn a_revocation_waits_for_the_chunk_that_is_read_and_that_chunk_stays_inside(on: Engine) {
    let complex = Complex::on(on).await;
    let consent = complex.grant_raw().await;
    let mut reader = open(&complex, 0, 3_000).await;
    let held = complex.memory.chunks.acquire_many(1_000).await.unwrap();
    let reading = tokio::spawn(async move { (reader.next(usize::MAX).await.err(), reader) });
    complex.memory.waiting.acquire().await.unwrap().forget();
    let revoking = complex.revoke(consent);
    tokio::pin!(revoking);
    // The read lock is held by the chunk in the middle: the revocation cannot be over.
    assert!(futures::poll!(&mut revoking).is_pending());
    drop(held);
    revoking.await;
    let (error, reader) = reading.await.unwrap();
    // Either it was handed on before the revocation returned, or not at all.
    if let Some(error) = error {
        assert!(matches!(error, AccessError::Withdrawn), "{error}");
        drop(reader);
    } else {
        let mut reader = reader;
        assert!(matches!(reader.next(usize::MAX).await, Err(AccessError::Withdrawn)));
    }
}

async fn a_member_that_is_revoked_reads_no_further_not_even_ones_own(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_raw().await;
    let own = complex.access.read(&complex.owner.0, request("hanbit", Form::Raw, 0, 3_000), None).await.unwrap();
    let shared = open(&complex, 0, 3_000).await;
    for (mut reader, member) in [(own, &complex.owner.0), (shared, &complex.partner.0)] {
        assert_eq!(times(&reader.next(usize::MAX).await.unwrap().unwrap()).len(), 1_000);
        let change = Change::RevokeMember { id: member.id, firm: member.firm.clone() };
        complex.access.apply(change, "command line").await.unwrap();
        assert!(matches!(reader.next(usize::MAX).await, Err(AccessError::Revoked)));
        assert!(matches!(reader.check().await, Err(AccessError::Revoked)));
    }
    let end = finished(&complex).await.pop().unwrap();
    assert_eq!((field(&end, "outcome"), field(&end, "rows")), ("withdrawn".into(), 1_000.into()));
}

async fn a_consent_that_ends_ends_the_read(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_raw().await;
    let mut reader = open(&complex, 0, 3_000).await;
    reader.next(usize::MAX).await.unwrap().unwrap();
    complex.now_us.fetch_add(3_600 * SECOND_US, Ordering::Relaxed);
    assert!(matches!(reader.next(usize::MAX).await, Err(AccessError::Withdrawn)));
    // A clock that is set back brings it not back.
    complex.now_us.fetch_sub(3_600 * SECOND_US, Ordering::Relaxed);
    let ask = request("saesol", Form::Raw, 0, 10);
    assert!(matches!(complex.access.read(&complex.partner.0, ask, None).await, Err(AccessError::Denied(..))));
}

async fn another_grant_in_the_middle_neither_ends_nor_repeats_anything(on: Engine) {
    let complex = Complex::on(on).await;
    let first = complex.grant_raw().await;
    // 1,500 readings of one time: the place within them must hold, too.
    let many = (0..1_500).map(|at| (BEGIN + 4_000 * SECOND_US, f64::from(at)));
    complex.memory.put(&force(), many);
    let mut reader = open(&complex, 0, 5_000).await;
    let mut seen = times(&reader.next(usize::MAX).await.unwrap().unwrap());
    let second = complex.grant_raw().await;
    for _ in 0..3 {
        seen.extend(times(&reader.next(usize::MAX).await.unwrap().unwrap()));
    }
    // Revoking the one it began with is no harm either: the other covers the rest.
    complex.revoke(first).await;
    seen.extend(all(&mut reader).await.unwrap());
    let wanted: Vec<_> = (0..3_000).chain(std::iter::repeat_n(4_000, 1_500)).collect();
    assert_eq!(seen, wanted);
    assert_eq!(reader.consents().len(), 2);
    complex.revoke(second).await;
    assert!(matches!(reader.check().await, Err(AccessError::Withdrawn)));
}

async fn a_narrower_consent_in_its_place_ends_the_read(on: Engine) {
    let complex = Complex::on(on).await;
    let wide = complex.grant_raw().await;
    let mut reader = open(&complex, 0, 3_000).await;
    reader.next(usize::MAX).await.unwrap().unwrap();
    let event = EventWindow { from_us: None, to_us: Some(BEGIN + 2_000 * SECOND_US) };
    complex.grant(SharedForm::Raw, event).await;
    complex.revoke(wide).await;
    assert!(matches!(reader.next(usize::MAX).await, Err(AccessError::Withdrawn)));
}

async fn two_windows_give_two_stretches_and_nothing_between(on: Engine) {
    let complex = Complex::on(on).await;
    for (from, to) in [(0, 100), (200, 300)] {
        let event = EventWindow { from_us: Some(BEGIN + from * SECOND_US), to_us: Some(BEGIN + to * SECOND_US) };
        complex.grant(SharedForm::Raw, event).await;
    }
    let mut reader = open(&complex, 50, 250).await;
    assert_eq!(reader.ranges().len(), 2);
    assert_eq!(all(&mut reader).await.unwrap(), (50..100).chain(200..250).collect::<Vec<_>>());
}

async fn pages_join_without_hole_or_overlap_also_over_windows(on: Engine) {
    let complex = Complex::on(on).await;
    for (from, to) in [(0, 120), (200, 330)] {
        let event = EventWindow { from_us: Some(BEGIN + from * SECOND_US), to_us: Some(BEGIN + to * SECOND_US) };
        complex.grant(SharedForm::Raw, event).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let ask = request("saesol", Form::Raw, 0, 3_000);
        let mut reader = complex.access.read(&complex.partner.0, ask, cursor).await.unwrap();
        if let Some(rows) = reader.next(50).await.unwrap() {
            seen.extend(times(&rows));
        }
        cursor = reader.cursor();
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..120).chain(200..330).collect::<Vec<_>>());
}

async fn a_made_up_cursor_cuts_no_bucket(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_minutes().await;
    let minutes = Form::buckets(60 * SECOND_US);
    let ask = async |offset_us, skip| {
        let cursor = Some(ReadCursor::new(0, BEGIN + offset_us, skip));
        let ask = request("saesol", minutes.clone(), 0, 180);
        match complex.access.read(&complex.partner.0, ask, cursor).await {
            Ok(mut reader) => all(&mut reader).await,
            Err(error) => Err(error),
        }
    };
    assert_eq!(ask(60 * SECOND_US, 0).await.unwrap(), [60, 120]);
    for (offset_us, skip) in
        [(59 * SECOND_US, 0), (60 * SECOND_US + 1, 0), (60 * SECOND_US - 1, 0), (60 * SECOND_US, 1)]
    {
        let answer = ask(offset_us, skip).await;
        assert!(matches!(answer, Err(AccessError::Cursor)), "{offset_us}.{skip}: {answer:?}");
    }
}

async fn a_bucket_that_still_fills_is_not_served(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_minutes().await;
    complex.memory.put(&force(), [(NOW - 90 * SECOND_US, 1.0), (NOW + 1, 2.0)]);
    let ask = async || {
        let (from_us, to_us) = (NOW - 120 * SECOND_US, NOW + 60 * SECOND_US);
        let ask = Request { from_us, to_us, ..request("saesol", Form::buckets(60 * SECOND_US), 0, 0) };
        let mut reader = complex.access.read(&complex.partner.0, ask, None).await.unwrap();
        all(&mut reader).await.unwrap().len()
    };
    complex.now_us.fetch_add(60 * SECOND_US - 1, Ordering::Relaxed);
    assert_eq!(ask().await, 1, "the last bucket ends in a microsecond");
    complex.now_us.fetch_add(1, Ordering::Relaxed);
    assert_eq!(ask().await, 2);
}

async fn denials_of_what_was_named_are_logged_and_others_are_not(on: Engine) {
    let complex = Complex::on(on).await;
    let ask = || request("saesol", Form::Raw, 0, 10);
    assert!(matches!(complex.access.read(&complex.partner.0, ask(), None).await, Err(AccessError::NotFound)));
    assert!(complex.log().await.is_empty());
    complex.grant_minutes().await;
    assert!(matches!(complex.access.read(&complex.partner.0, ask(), None).await, Err(AccessError::Denied(..))));
    let entry = complex.log().await.pop().unwrap();
    assert_eq!((entry.kind, field(&entry, "asker")), (Kind::Denied, "saesol".into()));
    assert!(matches!(field(&entry, "reasons"), Field::List(reasons) if reasons[0].ends_with("raw_not_shared")));
}

async fn a_firm_has_so_many_reads_open_and_no_more(on: Engine) {
    let complex = Complex::on(on).await;
    let ask = || request("hanbit", Form::Raw, 0, 10);
    let mut open = Vec::new();
    for _ in 0..MAX_READS_PER_FIRM {
        open.push(complex.access.read(&complex.owner.0, ask(), None).await.unwrap());
    }
    assert!(matches!(complex.access.read(&complex.owner.0, ask(), None).await, Err(AccessError::TooManyReads)));
    // Another firm is not concerned.
    complex.grant_raw().await;
    self::open(&complex, 0, 10).await;
    open.pop();
    assert!(complex.access.read(&complex.owner.0, ask(), None).await.is_ok());
}

async fn one_firm_leaves_turns_at_the_store_to_others(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_raw().await;
    let ask = || request("hanbit", Form::Raw, 0, 10);
    let mut own = complex.access.read(&complex.owner.0, ask(), None).await.unwrap();
    let slot = ReadSlot::take(&complex.access, &firm("hanbit")).unwrap();
    let first = slot.turn().await;
    let _second = slot.turn().await;
    let mut other = open(&complex, 0, 10).await;
    tokio::select! {
        biased;
        rows = own.next(10) => panic!("a third chunk of one firm: {rows:?}"),
        rows = other.next(10) => assert_eq!(times(&rows.unwrap().unwrap()).len(), 10),
    }
    drop(first);
    assert_eq!(all(&mut own).await.unwrap().len(), 10);
}

async fn a_chunk_that_queues_holds_no_revocation_up(on: Engine) {
    let complex = Complex::on(on).await;
    let consent = complex.grant_raw().await;
    let mut reader = open(&complex, 0, 10).await;
    let slot = ReadSlot::take(&complex.access, &firm("saesol")).unwrap();
    let turns = [slot.turn().await, slot.turn().await];
    let next = reader.next(10);
    tokio::pin!(next);
    tokio::select! {
        biased;
        rows = &mut next => panic!("a third chunk of one firm: {rows:?}"),
        () = complex.revoke(consent) => {}
    }
    drop(turns);
    assert!(matches!(next.await, Err(AccessError::Withdrawn)));
}

async fn the_list_shows_ones_own_and_what_a_consent_in_force_names(on: Engine) {
    let complex = Complex::on(on).await;
    let list = async || complex.access.series(&complex.partner.0, None, None, 10).await.unwrap().series;
    assert!(list().await.is_empty());
    let event = EventWindow { from_us: None, to_us: Some(BEGIN) };
    let past = complex.grant(SharedForm::Raw, event).await;
    let seen = list().await;
    assert_eq!((seen.len(), seen[0].own, seen[0].info.newest_us), (1, false, None), "the newest is not shared");
    complex.grant_minutes().await;
    let newest = async || list().await[0].info.newest_us.map(|us| (us - BEGIN) / SECOND_US);
    assert_eq!(newest().await, Some(2_940), "the minute of the newest, which is of 2999");
    let wider = SharedForm::Bucketed { floor_us: 300 * SECOND_US, functions: [crate::consent::Function::Mean].into() };
    complex.grant(wider, EventWindow { from_us: None, to_us: None }).await;
    assert_eq!(newest().await, Some(2_940), "the finest of both");
    let raw = complex.grant_raw().await;
    assert_eq!(newest().await, Some(2_999));
    complex.revoke(raw).await;
    complex.revoke(past).await;
    assert_eq!(list().await[0].offers.len(), 2);
    let own = complex.access.series(&complex.owner.0, Some(&firm("hanbit")), None, 10).await.unwrap().series;
    assert!(own[0].own && own[0].offers.is_empty());
    complex.now_us.fetch_add(3_600 * SECOND_US, Ordering::Relaxed);
    assert!(list().await.is_empty());
}

on_both_engines! {
    a_read_across_firms_is_logged_before_its_first_row_and_at_its_end,
    no_log_no_read,
    a_revocation_ends_a_slow_read_in_its_middle,
    a_revocation_waits_for_the_chunk_that_is_read_and_that_chunk_stays_inside,
    a_member_that_is_revoked_reads_no_further_not_even_ones_own,
    a_consent_that_ends_ends_the_read,
    another_grant_in_the_middle_neither_ends_nor_repeats_anything,
    a_narrower_consent_in_its_place_ends_the_read,
    two_windows_give_two_stretches_and_nothing_between,
    pages_join_without_hole_or_overlap_also_over_windows,
    a_made_up_cursor_cuts_no_bucket,
    a_bucket_that_still_fills_is_not_served,
    denials_of_what_was_named_are_logged_and_others_are_not,
    a_firm_has_so_many_reads_open_and_no_more,
    one_firm_leaves_turns_at_the_store_to_others,
    a_chunk_that_queues_holds_no_revocation_up,
    the_list_shows_ones_own_and_what_a_consent_in_force_names,
}
