//! What a member and a firm can prove later from what they were answered.

use super::super::audit::RECEIPT;
use super::*;
use crate::access::{Chain, Kind, Proof, PublicKey, Receipt};
use crate::audit::offline::{Kept, Refuted};

/// Whom a member of another firm would ask for the keys.
async fn keys(pages: &Router) -> Vec<PublicKey> {
    let (_, answer) = json_of(pages, "/v1/audit/keys", "").await;
    serde_json::from_value(answer["keys"].clone()).unwrap()
}

fn receipt_of(response: &Response) -> Option<Receipt> {
    let header = response.headers().get(RECEIPT)?;
    Some(serde_json::from_str(header.to_str().unwrap()).unwrap())
}

#[tokio::test]
async fn each_read_of_another_firms_data_is_receipted_and_stands_in_its_log() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    complex.grant_raw().await;
    let mut receipts = Vec::new();
    for rest in ["", "&format=csv"] {
        let response = get(&pages, &pull(rest, 0, 10), &complex.partner.1).await;
        assert_eq!(response.status(), 200);
        receipts.extend(receipt_of(&response));
        text(response).await;
    }
    // A refusal of what is known to be there is an entry too.
    let denied = get(&pages, &pull("", 0, 10).replace("press_force", "temperature"), &complex.partner.1).await;
    assert_eq!((denied.status().as_u16(), receipt_of(&denied)), (404, None), "nothing is told of what is not shared");
    let own = get(&pages, &pull("", 0, 10), &complex.owner.1).await;
    assert_eq!((own.status().as_u16(), receipt_of(&own)), (200, None));

    assert_eq!(receipts.len(), 2);
    let export = text(get(&pages, "/v1/audit?format=ndjson", &complex.owner.1).await).await;
    let kept = Kept { keys: keys(&pages).await, receipts: receipts.clone(), proofs: Vec::new() };
    let held = kept.check(Some(&mut export.as_bytes())).unwrap();
    assert_eq!((held.first, held.shown_to), (1, Some(receipts[1].number)));
    let log = complex.log().await;
    for receipt in &receipts {
        let entry = log.iter().find(|entry| entry.number == receipt.number).unwrap();
        assert_eq!((entry.kind, entry.hash, entry.time_us), (Kind::ReadStarted, receipt.entry, receipt.time_us));
    }
    // The firm's log without the read that was receipted.
    let until: String =
        export.lines().take(usize::try_from(receipts[1].number).unwrap() - 1).flat_map(|it| [it, "\n"]).collect();
    assert!(matches!(kept.check(Some(&mut until.as_bytes())), Err(Refuted::CutOff { .. })));
}

#[tokio::test]
async fn a_refusal_that_may_be_told_is_receipted() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    complex.grant_minutes().await;
    let response = get(&pages, &pull("", 0, 10), &complex.partner.1).await;
    assert_eq!(response.status(), 403);
    let receipt = receipt_of(&response).unwrap();
    assert_eq!(receipt.verify(&keys(&pages).await), Ok(()));
    assert_eq!(complex.log().await.last().map(|entry| (entry.kind, entry.hash)), Some((Kind::Denied, receipt.entry)));
}

#[tokio::test]
async fn a_firm_keeps_the_signed_end_of_its_own_log_and_of_no_other() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let (status, answer) = json_of(&pages, "/v1/audit/head", &complex.owner.1).await;
    assert_eq!(status, 200);
    let proof: Proof = serde_json::from_value(answer).unwrap();
    assert_eq!(proof.chain, Chain::Firm(firm("hanbit")));
    assert_eq!(proof.verify(&keys(&pages).await), Ok(()));
    let (status, problem) = json_of(&pages, "/v1/audit/head?firm=hanbit", &complex.partner.1).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("other_firm")));
}
