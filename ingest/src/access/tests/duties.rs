//! What comes with a permit: a purpose, a quota, a commit.

use super::*;
use crate::consent::{Manner, Purpose};

fn asking(purpose: Option<Purpose>, from_s: i64, to_s: i64) -> Request {
    Request { manner: Manner { purpose, ..Manner::default() }, ..request("saesol", Form::Raw, from_s, to_s) }
}

async fn each_request_names_a_purpose_that_was_agreed_and_the_log_has_it(on: Engine) {
    let complex = Complex::on(on).await;
    complex.agree(1, SharedForm::Raw, |_| {}).await;
    let ask = async |purpose| complex.access.read(&complex.partner.0, asking(purpose, 0, 10), None).await;
    for purpose in [None, Some(Purpose::Energy)] {
        assert!(matches!(ask(purpose).await, Err(AccessError::Denied(..))));
        let denied = complex.log().await.pop().unwrap();
        assert_eq!(denied.kind, Kind::Denied);
        assert_eq!(denied.detail.get("purpose"), purpose.map(|it| it.as_str().into()).as_ref());
    }
    let mut reader = ask(Some(Purpose::Quality)).await.unwrap();
    assert_eq!(all(&mut reader).await.unwrap().len(), 10);
    drop(reader);
    let log = finished(&complex).await;
    for kind in [Kind::ReadStarted, Kind::ReadFinished] {
        let entry = log.iter().rfind(|entry| entry.kind == kind).unwrap();
        assert_eq!(field(entry, "purpose"), "quality".into());
    }
    // One's own is read for whatever one likes.
    let own = request("hanbit", Form::Raw, 0, 10);
    assert!(complex.access.read(&complex.owner.0, own, None).await.is_ok());
}

fn quality(from_s: i64, to_s: i64) -> Request {
    asking(Some(Purpose::Quality), from_s, to_s)
}

async fn no_more_rows_than_the_quota_are_handed_on_in_a_day_by_however_many_reads(on: Engine) {
    let complex = Complex::on(on).await;
    complex.agree(1, SharedForm::Raw, |agreed| agreed.quota_rows_per_day = Some(1_500)).await;
    let open = async || complex.access.read(&complex.partner.0, quality(0, 3_000), None).await;
    let mut readers = [open().await.unwrap(), open().await.unwrap(), open().await.unwrap()];
    let mut rows = 0;
    // In turns: each was granted all of it when it began.
    let mut over = 0;
    while over < readers.len() {
        over = 0;
        for reader in &mut readers {
            match reader.next(200).await {
                Ok(piece) => rows += times(&piece.unwrap()).len(),
                Err(AccessError::QuotaExceeded { begins_anew_us }) => {
                    assert_eq!(begins_anew_us, NOW + 86_400 * SECOND_US);
                    over += 1;
                }
                Err(error) => panic!("{error}"),
            }
            // What was handed on before stays so.
            reader.check().await.unwrap();
        }
    }
    assert_eq!(rows, 1_500);
    drop(readers);
    let log = finished(&complex).await;
    let end = log.iter().find(|entry| entry.kind == Kind::ReadFinished).unwrap();
    assert_eq!(field(end, "outcome"), "quota_exceeded".into());
    assert!(matches!(open().await, Err(AccessError::QuotaExceeded { .. })));
    complex.now_us.fetch_add(3_500 * SECOND_US, Ordering::Relaxed);
    assert!(matches!(open().await, Err(AccessError::QuotaExceeded { .. })), "the same day");
}

async fn a_second_consent_without_a_quota_serves_what_the_first_has_no_rows_for(on: Engine) {
    let complex = Complex::on(on).await;
    complex.agree(1, SharedForm::Raw, |agreed| agreed.quota_rows_per_day = Some(100)).await;
    let mut reader = complex.access.read(&complex.partner.0, quality(0, 3_000), None).await.unwrap();
    assert_eq!(times(&reader.next(60).await.unwrap().unwrap()).len(), 60);
    // Amid a read too: what is left of it goes on under the other.
    complex.grant_raw().await;
    assert_eq!(all(&mut reader).await.unwrap().len(), 2_940);
}

async fn an_answer_says_how_much_of_what_was_expected_came(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_raw().await;
    // A reading each second from 0 to 3,000.
    let mut reader = open(&complex, 2_000, 4_000).await;
    assert_eq!(times(&reader.next(500).await.unwrap().unwrap()).len(), 500);
    let page = Completeness { readings: Some(500), expected_readings: Some(499), ..Completeness::default() };
    assert_eq!(reader.completeness(), page);
    all(&mut reader).await.unwrap();
    let whole = Completeness { readings: Some(1_000), expected_readings: Some(2_000), ..page };
    assert_eq!(reader.completeness(), whole);
    // Of buckets only themselves are counted, as long as their counts are not shared.
    let ask = request("saesol", Form::buckets(600 * SECOND_US), 0, 6_000);
    let mut reader = complex.access.read(&complex.partner.0, ask, None).await.unwrap();
    all(&mut reader).await.unwrap();
    let cells = Completeness { buckets: Some(5), expected_buckets: Some(10), ..Completeness::default() };
    assert_eq!(reader.completeness(), cells);
}

async fn what_arrives_late_is_not_handed_on_where_only_what_was_stored_is_shared(on: Engine) {
    let complex = Complex::on(on).await;
    // Half a second off each of the first ten, later than the approval, and three after it.
    complex.agree(1, SharedForm::Raw, |agreed| agreed.late_data = false).await;
    let at = |s: i64| BEGIN + s * SECOND_US;
    complex.memory.put_in(2, &force(), (0..10).map(|s| (at(s) + SECOND_US / 2, 9.0)));
    complex.memory.put_in(3, &force(), (1..4).map(|s| (NOW + s * SECOND_US, 5.0)));
    complex.now_us.fetch_add(600 * SECOND_US, Ordering::Relaxed);
    let ask = || Request { to_us: NOW + 600 * SECOND_US, ..quality(0, 0) };
    let commits = async || {
        let mut reader = complex.access.read(&complex.partner.0, ask(), None).await?;
        let mut commits = Vec::new();
        while let Some(rows) = reader.next(700).await? {
            let Rows::Raw(rows) = rows else { panic!("not raw") };
            commits.extend(rows.iter().map(|row| row.commit));
        }
        let of = |wanted: i64| commits.iter().filter(|commit| **commit == wanted).count();
        Ok::<_, AccessError>([of(1), of(2), of(3)])
    };
    assert_eq!(commits().await.unwrap(), [3_000, 0, 3]);
    // A mean over them knows nothing of it either.
    let minutes =
        Request { form: Form::buckets(60 * SECOND_US), functions: [crate::consent::Function::Mean].into(), ..ask() };
    let mut reader = complex.access.read(&complex.partner.0, minutes, None).await.unwrap();
    let Some(Rows::Buckets(rows)) = reader.next(1).await.unwrap() else { panic!("no bucket") };
    assert_eq!((rows[0].count, rows[0].mean()), (60, 29.5));
    // A second consent has them, for twelve rows a day: what was free before stays so.
    complex.agree(3, SharedForm::Raw, |agreed| agreed.quota_rows_per_day = Some(12)).await;
    assert_eq!(commits().await.unwrap(), [3_000, 10, 3]);
    // The next read finds two rows left, and ends where they do.
    assert!(matches!(commits().await, Err(AccessError::QuotaExceeded { .. })));
    assert_eq!(commits().await.unwrap(), [3_000, 0, 3], "without what is used up");
}

async fn a_customer_reads_the_curve_of_his_charge_and_not_one_second_more(on: Engine) {
    let complex = Complex::on(on).await;
    complex.agree(1, SharedForm::Raw, |agreed| agreed.runs_of = Some("새솔".to_owned())).await;
    let read = async || {
        let mut reader = complex.access.read(&complex.partner.0, quality(0, 3_000), None).await?;
        Ok::<_, AccessError>((reader.ranges().to_vec(), all(&mut reader).await?))
    };
    assert!(matches!(read().await, Err(AccessError::Denied(..))), "there is no run yet");
    complex
        .put_runs(&[("L1", "새솔", 100, Some(200)), ("L2", "대한", 200, Some(300)), ("L3", "새솔", 300, None)])
        .await;
    let charge = |from_s: i64, to_s: i64| (BEGIN + from_s * SECOND_US, BEGIN + to_s * SECOND_US);
    assert_eq!(read().await.unwrap(), (vec![charge(100, 200)], (100..200).collect()));
    let listed = complex.access.series(&complex.partner.0, None, None, 10).await.unwrap().series.remove(0);
    assert_eq!(listed.offers[0].runs, Some(vec![charge(100, 200)]));
    assert_eq!(listed.info.newest_us, None, "the newest is of nobody's charge");
    // When a run ends is known once it has ended.
    complex.put_runs(&[("L3", "새솔", 300, Some(350))]).await;
    let both = (vec![charge(100, 200), charge(300, 350)], (100..200).chain(300..350).collect());
    assert_eq!(read().await.unwrap(), both);
    // One that turns out to have been shorter ends a read of what was longer.
    let mut reader = complex.access.read(&complex.partner.0, quality(0, 3_000), None).await.unwrap();
    assert_eq!(times(&reader.next(10).await.unwrap().unwrap()), (100..110).collect::<Vec<_>>());
    complex.put_runs(&[("L1", "새솔", 100, Some(150))]).await;
    assert!(matches!(reader.next(10).await, Err(AccessError::Withdrawn)));
}

on_both_engines! {
    each_request_names_a_purpose_that_was_agreed_and_the_log_has_it,
    no_more_rows_than_the_quota_are_handed_on_in_a_day_by_however_many_reads,
    a_second_consent_without_a_quota_serves_what_the_first_has_no_rows_for,
    an_answer_says_how_much_of_what_was_expected_came,
    what_arrives_late_is_not_handed_on_where_only_what_was_stored_is_shared,
    a_customer_reads_the_curve_of_his_charge_and_not_one_second_more,
}
