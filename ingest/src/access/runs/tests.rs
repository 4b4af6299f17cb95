use super::*;
use crate::access::fixture::{BEGIN, Complex, NOW, force, request};
use crate::access::{AccessError, Kind};
use crate::consent::{Purpose, SharedForm};
use crate::id::ConsentId;
use crate::time::SECOND_US;

const LOTS: &str = "lot_no";
const CUSTOMERS: &str = "customer_no";

fn signal(name: &str) -> SeriesKey {
    SeriesKey { metric: name.parse().unwrap(), ..force() }
}

/// The tag of press-1 up to a second: 0 where no lot is on.
fn tag(to_s: i64) -> Tag {
    Tag {
        asset: force().asset,
        metric: LOTS.parse().unwrap(),
        from_us: BEGIN,
        to_us: BEGIN + to_s * SECOND_US,
        customer: Customer::Told(CUSTOMERS.parse().unwrap()),
    }
}

/// A complex in which press-1 made lots 11 and 12 of customer 7, and lot 13 of customer 8 between.
async fn complex() -> Complex {
    let complex = Complex::new().await;
    let at = |(second, value): (i64, f64)| (BEGIN + second * SECOND_US, value);
    let lots = [(0, 0.0), (100, 11.0), (200, 13.0), (300, 0.0), (310, 12.0), (400, 0.0)];
    complex.memory.put(&signal(LOTS), lots.map(at));
    complex.memory.put(&signal(CUSTOMERS), [(90, 7.0), (195, 8.0), (300, 7.0)].map(at));
    complex
}

async fn customers(complex: &Complex) -> ConsentId {
    complex.agree(1, SharedForm::Raw, |agreed| agreed.runs_of = Some("7".to_owned())).await
}

/// The seconds of the force that the customer sees of the first thousand.
async fn seen(complex: &Complex) -> Result<Vec<i64>, AccessError> {
    let mut ask = request("saesol", Form::Raw, 0, 1_000);
    ask.manner.purpose = Some(Purpose::Quality);
    let mut reader = complex.access.read(&complex.partner.0, ask, None).await?;
    let mut seen = Vec::new();
    while let Some(Rows::Raw(rows)) = reader.next(usize::MAX).await? {
        seen.extend(rows.iter().map(|row| (row.time_us - BEGIN) / SECOND_US));
    }
    Ok(seen)
}

fn entry(id: &str, customer: &str, from_s: i64, to_s: Option<i64>) -> RunEntry {
    let us = |s: i64| BEGIN + s * SECOND_US;
    let (asset, customer) = (force().asset, customer.to_owned());
    RunEntry { id: id.to_owned(), run: Run { asset, customer, from_us: us(from_s), to_us: to_s.map(us) } }
}

#[tokio::test]
async fn through_the_tag_a_customer_gets_the_curve_of_his_charges_and_not_one_second_more() {
    let complex = complex().await;
    customers(&complex).await;
    assert!(matches!(seen(&complex).await, Err(AccessError::Denied(..))), "no run is noted");
    // While the first goes on nobody sees it.
    let taken = complex.access.take_runs(&complex.owner.0, tag(150)).await.unwrap();
    assert_eq!(taken, [entry("11@2026-03-02T00:01:40Z", "7", 100, None)]);
    assert!(matches!(seen(&complex).await, Err(AccessError::Denied(..))), "it goes on");
    // It ends, others come, and the one that is known is not taken twice.
    let taken = complex.access.take_runs(&complex.owner.0, tag(1_000)).await.unwrap();
    let ids: Vec<_> = taken.iter().map(|it| it.id.split('@').next().unwrap()).collect();
    assert_eq!(ids, ["11", "13", "12"]);
    let mine: Vec<_> = (100..200).chain(310..400).collect();
    assert_eq!(seen(&complex).await.unwrap(), mine, "and nothing of lot 13, nor of the time between");
    assert!(complex.access.take_runs(&complex.owner.0, tag(1_000)).await.unwrap().is_empty());
    // What people corrected stays corrected.
    complex
        .access
        .put_runs(&complex.owner.0, vec![RunEntry { id: taken[0].id.clone(), ..entry("", "7", 110, Some(190)) }])
        .await
        .unwrap();
    assert!(complex.access.take_runs(&complex.owner.0, tag(1_000)).await.unwrap().is_empty());
    assert_eq!(seen(&complex).await.unwrap(), (110..190).chain(310..400).collect::<Vec<_>>());
    let log = complex.log().await;
    let put = log.iter().filter(|it| it.kind == Kind::RunsChanged).count();
    assert_eq!(put, 3, "each change is in the firm's log");
}

#[tokio::test]
async fn runs_that_overlap_or_are_corrected_after_they_were_read_open_nothing_else() {
    let complex = complex().await;
    let consent = customers(&complex).await;
    let put = async |runs: Vec<RunEntry>| complex.access.put_runs(&complex.owner.0, runs).await.unwrap();
    // Two of the customer overlap: each reading comes once. One of another lies across both.
    put(vec![entry("a", "7", 100, Some(200)), entry("b", "7", 150, Some(250)), entry("c", "8", 0, Some(900))]).await;
    assert_eq!(seen(&complex).await.unwrap(), (100..250).collect::<Vec<_>>());
    // Sent again it is the same.
    put(vec![entry("a", "7", 100, Some(200))]).await;
    assert_eq!(seen(&complex).await.unwrap(), (100..250).collect::<Vec<_>>());
    // Corrected while it is read: the read ends, and the next one sees what is right.
    let mut ask = request("saesol", Form::Raw, 0, 1_000);
    ask.manner.purpose = Some(Purpose::Quality);
    let mut reader = complex.access.read(&complex.partner.0, ask, None).await.unwrap();
    assert!(reader.next(10).await.unwrap().is_some());
    put(vec![entry("b", "8", 150, Some(250))]).await;
    assert!(matches!(reader.next(10).await, Err(AccessError::Withdrawn)));
    assert_eq!(seen(&complex).await.unwrap(), (100..200).collect::<Vec<_>>());
    // Opened again, it is nobody's until it has ended.
    put(vec![entry("a", "7", 100, None)]).await;
    assert!(matches!(seen(&complex).await, Err(AccessError::Denied(..))));
    put(vec![entry("a", "7", 100, Some(120))]).await;
    assert_eq!(seen(&complex).await.unwrap(), (100..120).collect::<Vec<_>>());
    complex.withdraw(consent).await;
    assert!(matches!(seen(&complex).await, Err(AccessError::Denied(..))));
}

#[tokio::test]
async fn runs_come_in_pages_and_what_cannot_be_is_refused() {
    let complex = complex().await;
    let runs: Vec<_> =
        (0..5).map(|number| entry(&format!("L{number}"), "7", number * 10, Some(number * 10 + 10))).collect();
    complex.access.put_runs(&complex.owner.0, runs.clone()).await.unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let owner = &complex.owner.0.firm;
        let page = complex.access.runs(owner, None, (i64::MIN, i64::MAX), after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(RunPlace { asset: last.run.asset.clone(), from_us: last.run.from_us, id: last.id.clone() });
        all.extend(page);
    }
    assert_eq!(all, runs);
    let of_partner = complex.access.runs(&complex.partner.0.firm, None, (i64::MIN, i64::MAX), None, 9).await.unwrap();
    assert!(of_partner.is_empty(), "of one's own firm alone");
    assert!(entry("L9", "7", 0, Some(2 * 86_400)).run.fault("L9", NOW).is_some(), "an end that is yet to come");
}
