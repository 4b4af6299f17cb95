//! What comes with a permit: a purpose, a quota, a commit.

use super::*;
use crate::consent::{Manner, Purpose};

fn asking(purpose: Option<Purpose>, from_s: i64, to_s: i64) -> Request {
    Request { manner: Manner { purpose, ..Manner::default() }, ..request("saesol", Form::Raw, from_s, to_s) }
}

#[tokio::test]
async fn each_request_names_a_purpose_that_was_agreed_and_the_log_has_it() {
    let complex = Complex::new().await;
    complex.grant_full(SharedForm::Raw, |_| {}).await;
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
