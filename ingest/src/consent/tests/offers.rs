//! The list of what may be read and the decision on a read say the same.

use proptest::prelude::*;

use super::props::{any_grant, any_request, any_rules, of};
use super::*;

/// What asks for all that is offered.
fn following(offer: &Offer) -> Request {
    let (form, functions) = match &offer.form {
        Offered::Raw => (Form::Raw, BTreeSet::new()),
        Offered::Bucketed { floor_us, functions } => (Form::buckets(*floor_us), functions.clone()),
    };
    let address = match offer.identity {
        Identity::Named => Address::Name,
        Identity::Pseudonym => Address::Pseudonym(offer.consent),
    };
    let manner =
        Manner { purpose: offer.purposes.first().copied(), address, holds: Holds { commits: true, quotas: true } };
    let from_us = offer.event.from_us.unwrap_or(-400 * S);
    let to_us = offer.event.to_us.unwrap_or(400 * S);
    Request { asker: firm("saesol"), series: series("press-1", "press_force"), form, functions, from_us, to_us, manner }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_offered_can_be_read_as_it_is_offered(
        grants in proptest::collection::vec(any_grant(), 0..5), rules in any_rules(), now_s in 0..60_i64, used in 0..2_u64,
    ) {
        let snapshot = of(&grants, &rules, used);
        for offer in offers(&snapshot, &firm("saesol"), &series("press-1", "press_force"), now_s * S) {
            let request = following(&offer);
            let decision = decide(&snapshot, &request, now_s * S);
            prop_assert!(decision.as_ref().is_ok_and(|it| it.consents.contains(&offer.consent)), "{:?}: {:?}", offer, decision);
            if let Offered::Bucketed { floor_us, .. } = offer.form {
                let finer = Request { form: Form::Raw, functions: BTreeSet::new(), ..request.clone() };
                let by = |request: &Request| decide(&snapshot, request, now_s * S).is_ok_and(|it| it.consents.contains(&offer.consent));
                prop_assert!(!by(&finer), "no reading");
                prop_assert!(!by(&Request { form: Form::buckets(floor_us + S), ..request.clone() }), "no part of a bucket");
                for function in Function::ALL.into_iter().filter(|it| !request.functions.contains(it)) {
                    prop_assert!(!by(&Request { functions: [function].into(), ..request.clone() }), "not {}", function);
                }
            }
        }
    }

    #[test]
    fn what_can_be_read_is_offered(
        grants in proptest::collection::vec(any_grant(), 0..5), rules in any_rules(), request in any_request(),
        now_s in 0..60_i64, used in 0..2_u64,
    ) {
        let snapshot = of(&grants, &rules, used);
        let offered: BTreeSet<_> =
            offers(&snapshot, &request.asker, &request.series, now_s * S).into_iter().map(|it| it.consent).collect();
        if let Ok(decision) = decide(&snapshot, &request, now_s * S) {
            prop_assert!(decision.consents.is_subset(&offered), "{:?}: {:?}", decision, offered);
        }
        // To nobody else.
        prop_assert!(offers(&snapshot, &firm("stranger"), &request.series, now_s * S).is_empty());
        prop_assert!(offers(&snapshot, snapshot.grantor(), &request.series, now_s * S).is_empty());
    }
}
