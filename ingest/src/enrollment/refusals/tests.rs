use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::access::fixture::Complex;
use crate::audit::Field;

#[tokio::test]
async fn a_flood_is_one_entry_an_hour_that_counts_it() {
    let complex = Complex::new().await;
    let time = Arc::new(AtomicI64::new(1_000));
    let now = time.clone();
    let refusals = Refusals::new(complex.control.clone(), Arc::new(move || now.load(Ordering::SeqCst)));
    let id = GatewayId::new("hanbit/gw").unwrap();
    for _ in 0..50 {
        refusals.denied(&Denied::Revoked(id.clone())).await;
    }
    time.fetch_add(HOUR_US, Ordering::SeqCst);
    refusals.denied(&Denied::Revoked(id.clone())).await;
    for reason in ["a", "b"] {
        refusals.note(Chain::Complex, None, reason, None).await;
    }
    let log = complex.control.audit(&Chain::Firm(id.firm()), 0, 100).await.unwrap();
    let refused: Vec<_> = log.iter().filter(|entry| entry.kind == Kind::GatewayRefused).collect();
    let times: Vec<_> = refused.iter().map(|entry| entry.detail["times"].clone()).collect();
    assert_eq!(times, [Field::Number(1), Field::Number(50)]);
    assert_eq!(refused[0].detail["reason"], Field::Text("revoked".into()));
    let strangers = complex.control.audit(&Chain::Complex, 0, 100).await.unwrap();
    assert_eq!(strangers.iter().filter(|entry| entry.kind == Kind::GatewayRefused).count(), 2);
}

#[tokio::test]
async fn no_chain_takes_more_than_some_dozens_an_hour() {
    let complex = Complex::new().await;
    let refusals = Refusals::new(complex.control.clone(), Arc::new(|| 1_000));
    for gateway in 0..100 {
        let id = GatewayId::new(&format!("saesol/gw-{gateway}")).unwrap();
        refusals.denied(&Denied::LongExpired(id)).await;
    }
    let chain = Chain::Firm("saesol".parse().unwrap());
    let log = complex.control.audit(&chain, 0, 200).await.unwrap();
    assert_eq!(log.iter().filter(|entry| entry.kind == Kind::GatewayRefused).count(), MAX_PER_CHAIN);
}
