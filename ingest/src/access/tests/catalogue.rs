//! What is listed, by which names, by pages.

use super::*;
use crate::consent::{Function, Identity, Manner, Offered, Purpose};

async fn page(complex: &Complex, after: Option<&SeriesKey>, limit: usize) -> Page {
    complex.access.series(&complex.partner.0, None, after, limit).await.unwrap()
}

async fn pages_of_the_list_join_without_hole_or_overlap(on: Engine) {
    let complex = Complex::on(on).await;
    complex.grant_raw().await;
    for asset in ["press-1", "press-2", "press-3"] {
        let own = SeriesKey { firm: firm("saesol"), asset: asset.parse().unwrap(), metric: force().metric };
        complex.memory.put(&own, [(BEGIN, 1.0)]);
    }
    // Of another firm, and shared with nobody.
    complex.memory.put(&SeriesKey { asset: "press-2".parse().unwrap(), ..force() }, [(BEGIN, 1.0)]);
    let whole = page(&complex, None, 100).await;
    let names: Vec<_> = whole.series.iter().map(|it| it.info.key.to_string()).collect();
    let wanted = ["hanbit/press-1", "saesol/press-1", "saesol/press-2", "saesol/press-3"];
    assert_eq!(names, wanted.map(|it| format!("{it}/press_force")));
    assert_eq!(whole.next, None);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = page(&complex, after.as_ref(), 1).await;
        assert!(page.series.len() <= 1);
        seen.extend(page.series.iter().map(|it| it.info.key.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
}

async fn an_entry_says_how_far_it_may_be_read_and_what_it_is(on: Engine) {
    let complex = Complex::on(on).await;
    let form = SharedForm::Bucketed { floor_us: 60 * SECOND_US, functions: [Function::Mean, Function::Max].into() };
    let consent = complex
        .agree(1, form, |agreed| {
            agreed.quota_rows_per_day = Some(100);
            agreed.minimum_age_us = 3_600 * SECOND_US;
        })
        .await;
    let listed = page(&complex, None, 10).await.series.remove(0);
    let (word, class) = listed.metric.unwrap();
    assert_eq!((word.name.en.as_str(), word.unit.as_str(), class), ("Press force", "kN", consent::Class::Process));
    let offer = &listed.offers[0];
    assert_eq!((offer.consent, offer.minimum_age_us, offer.quota), (consent, 3_600 * SECOND_US, Some((100, 100))));
    assert_eq!(offer.purposes, [Purpose::Quality].into());
    let Offered::Bucketed { floor_us, functions } = &offer.form else { panic!("{offer:?}") };
    assert_eq!((*floor_us, functions), (60 * SECOND_US, &[Function::Mean, Function::Max].into()));
    // What was read counts.
    let manner = Manner { purpose: Some(Purpose::Quality), ..Manner::default() };
    let ask = Request { manner, ..request("saesol", Form::buckets(60 * SECOND_US), 0, 600) };
    let mut reader = complex.access.read(&complex.partner.0, ask, None).await.unwrap();
    assert_eq!(all(&mut reader).await.unwrap().len(), 10);
    assert_eq!(page(&complex, None, 10).await.series[0].offers[0].quota, Some((100, 90)));
    complex.withdraw(consent).await;
    assert!(page(&complex, None, 10).await.series.is_empty(), "only what can be read now");
}

async fn under_a_pseudonym_no_name_is_told_and_the_handle_opens_what_is_shared(on: Engine) {
    let complex = Complex::on(on).await;
    for _ in 0..2 {
        complex.agree(1, SharedForm::Raw, |agreed| agreed.identity = Identity::Pseudonym).await;
    }
    let listed = page(&complex, None, 10).await.series;
    assert_eq!(listed.len(), 2, "one for each consent");
    let told = format!("{:?}", listed.iter().map(|it| &it.info).collect::<Vec<_>>());
    for name in ["hanbit", "press-1", "plant-1", "프레스", "Press 1"] {
        assert!(!told.contains(name), "{name}: {told}");
    }
    let [one, other] = [&listed[0].info.key, &listed[1].info.key];
    assert!(one.firm != other.firm && one.asset != other.asset && one.metric == other.metric, "not to be joined");
    assert_ne!(listed[0].info.gateway, listed[1].info.gateway);
    assert_eq!(page(&complex, None, 10).await.series[0].info.key, *one, "stable");

    let ask = |series: &SeriesKey| {
        let manner = Manner { purpose: Some(Purpose::Quality), ..Manner::default() };
        let request = request("saesol", Form::Raw, 0, 10);
        let request = Request { series: series.clone(), manner, ..request };
        complex.access.read(&complex.partner.0, request, None)
    };
    let mut reader = ask(one).await.unwrap();
    assert_eq!(&reader.series().key, one);
    assert!(reader.receipt().is_none(), "it names the log's owner");
    assert_eq!(reader.consents().len(), 1, "of one consent alone");
    assert_eq!(all(&mut reader).await.unwrap().len(), 10);
    drop(reader);
    let log = finished(&complex).await;
    let entry = log.iter().rfind(|entry| entry.kind == Kind::ReadFinished).unwrap();
    assert_eq!((field(entry, "asset"), field(entry, "identity")), ("press-1".into(), "pseudonym".into()));
    // The firm of one with the machine of the other is nothing, and so is the name.
    let mixed = SeriesKey { asset: other.asset.clone(), ..one.clone() };
    for series in [mixed, force(), SeriesKey { firm: firm("p-aaaaaaaaaaaaaaaaaaaaaaaaaa"), ..force() }] {
        assert!(matches!(ask(&series).await, Err(AccessError::NotFound)), "{series}");
    }
    // To others, also to its owner, a handle leads nowhere.
    let stolen = Request { series: one.clone(), ..request("hanbit", Form::Raw, 0, 10) };
    assert!(matches!(complex.access.read(&complex.owner.0, stolen, None).await, Err(AccessError::NotFound)));
    complex.withdraw(listed[0].offers[0].consent).await;
    assert!(matches!(ask(one).await, Err(AccessError::Denied(_, None))), "and no receipt");
    assert!(ask(other).await.is_ok());
}

on_both_engines! {
    pages_of_the_list_join_without_hole_or_overlap,
    an_entry_says_how_far_it_may_be_read_and_what_it_is,
    under_a_pseudonym_no_name_is_told_and_the_handle_opens_what_is_shared,
}
