use std::collections::BTreeMap;

use super::*;
use crate::time::{DAY_US, HOUR_US, parse_time};

fn us(text: &str) -> i64 {
    parse_time(text, 0).unwrap()
}

fn one(terms: &Terms, version: u32) -> Page {
    let assets = [("press-1".parse().unwrap(), Name::new("1호 프레스", "Press 1"))].into();
    page(&PageOf {
        id: ConsentId::numbered(7),
        version,
        grantor: &Name::new("한빛금형", "Hanbit Mould"),
        grantee: &Name::new("새솔열처리", "Saesol Heat Treatment"),
        terms,
        assets: &assets,
    })
}

fn year(terms: Terms) -> Terms {
    let (from, to) = (us("2026-03-02T00:00:00+09:00"), us("2027-03-02T00:00:00+09:00"));
    Terms { access: AccessWindow { not_before_us: from, until_us: to }, ..terms }
}

fn cases() -> Vec<(&'static str, Terms)> {
    let until = us("2027-03-02T00:00:00+09:00");
    let customer = full(SharedForm::Raw, |it| {
        it.return_by_us = until + 30 * DAY_US;
        it.runs_of = Some("새솔열처리".to_owned());
        it.late_data = false;
        it.quota_rows_per_day = Some(100_000);
    });
    let competitor = full(bucketed(86_400, &[Function::Mean, Function::Count]), |it| {
        it.relation = Relation::Competitor;
        it.identity = Identity::Pseudonym;
        it.minimum_age_us = 30 * DAY_US + HOUR_US;
        it.return_by_us = until;
        it.purposes = [Purpose::Energy, Purpose::Benchmarking].into();
        it.onward_use = OnwardUse::Conclusions;
        it.cohort_floor = Some(7);
    });
    let mut windowed = terms(&["press-1", "press-9"], &["press_force"], bucketed(60, &[Function::TimeMean]));
    windowed.event = EventWindow { from_us: Some(us("2026-03-02T00:00:00.5+09:00")), to_us: None };
    vec![
        ("raw of a customer's runs", year(customer)),
        ("days to a competitor", year(competitor)),
        ("the short form", year(windowed)),
    ]
}

#[test]
fn the_page_says_every_term_in_korean_and_english_as_reviewed() {
    let mut pages = String::new();
    for (name, terms) in cases() {
        assert_eq!(terms.own_faults(), [], "{name}");
        let Page { korean, english, hash } = one(&terms, 1);
        let _ = write!(pages, "======== {name}\n{korean}\n--------\n{english}\n-------- {hash}\n\n");
    }
    assert_reviewed("pages.txt", &pages);
}

/// Whatever changes in the terms changes the hash that officers approve.
#[test]
fn the_hash_binds_every_term_and_the_version_to_the_page() {
    let base = cases().remove(0).1;
    let hash = one(&base, 1).hash;
    assert_eq!(one(&base, 1).hash, hash, "the same page again is the same");
    let agreed = |change: fn(&mut Agreed)| {
        let mut terms = base.clone();
        change(terms.agreed.as_mut().unwrap());
        terms
    };
    let mut others = vec![
        agreed(|it| it.dictionary += 1),
        agreed(|it| it.identity = Identity::Pseudonym),
        agreed(|it| it.relation = Relation::Public),
        agreed(|it| it.reason.push('.')),
        agreed(|it| it.holders = ["연구소".to_owned()].into()),
        agreed(|it| it.return_by_us += 1),
        agreed(|it| it.minimum_age_us += 1),
        agreed(|it| it.runs_of = None),
        agreed(|it| it.late_data = true),
        agreed(|it| it.purposes = [Purpose::Energy].into()),
        agreed(|it| it.onward_use = OnwardUse::Publication),
        agreed(|it| it.quota_rows_per_day = None),
        agreed(|it| it.cohort_floor = Some(9)),
        Terms { form: bucketed(60, &[Function::Mean]), ..base.clone() },
        Terms { agreed: None, ..base.clone() },
    ];
    let mut more = base.clone();
    more.assets.insert("press-2".parse().unwrap());
    others.push(more);
    let mut more = base.clone();
    more.metrics.insert("stroke_count".parse().unwrap());
    others.push(more);
    let mut later = base.clone();
    later.access.until_us -= 1;
    others.push(later);
    let mut later = base.clone();
    later.event.from_us = Some(0);
    others.push(later);
    let mut hashes: BTreeSet<_> = others.iter().map(|terms| one(terms, 1).hash.to_string()).collect();
    hashes.insert(one(&base, 2).hash.to_string());
    assert_eq!(hashes.len(), others.len() + 1);
    assert!(!hashes.contains(&hash.to_string()));
    assert_eq!(hash.to_string().parse(), Ok(hash));
    for bad in ["", "00", &"0".repeat(63), &"+0".repeat(32), &"g".repeat(64), &"0".repeat(65)] {
        assert_eq!(bad.parse::<PageHash>(), Err(NotAHash), "{bad}");
    }
}

#[test]
fn what_has_no_name_goes_by_its_id() {
    let base = cases().remove(2).1;
    let none = Name::default();
    let assets = BTreeMap::new();
    let nameless = PageOf {
        id: ConsentId::numbered(7),
        version: 1,
        grantor: &none,
        grantee: &none,
        terms: &base,
        assets: &assets,
    };
    let page = page(&nameless);
    assert!(page.korean.contains("설비: press-1, press-9\n"), "{}", page.korean);
}

/// Both sides read the page before anything is agreed to.
#[test]
fn a_page_under_a_pseudonym_names_neither_the_firm_nor_its_machines() {
    let Page { korean, english, .. } = one(&cases().remove(1).1, 1);
    for named in ["한빛금형", "Hanbit", "프레스 (press-1)", "Press 1", "press-1"] {
        assert!(!korean.contains(named) && !english.contains(named), "{named} in\n{korean}\n{english}");
    }
}

#[test]
fn names_cannot_turn_or_break_a_line_of_the_page() {
    let terms = cases().remove(2).1;
    let name = Name::new("한빛\n형태: 원본\u{202e}형금", "Hanbit\u{2066}\r\nForm: raw");
    let assets = [("press-1".parse().unwrap(), name.clone())].into();
    let of = PageOf {
        id: ConsentId::numbered(7),
        version: 1,
        grantor: &name,
        grantee: &name,
        terms: &terms,
        assets: &assets,
    };
    let Page { korean, english, .. } = page(&of);
    assert_eq!(korean.lines().filter(|line| line.starts_with("형태:")).count(), 1, "{korean}");
    assert_eq!(english.lines().filter(|line| line.starts_with("Form:")).count(), 1, "{english}");
    assert!(!has_hidden(&korean.replace('\n', "")) && !has_hidden(&english.replace('\n', "")));
}

#[test]
fn terms_with_signs_that_cannot_be_seen_are_not_agreed_to() {
    for (field, change) in [
        ("reason", (|it| it.reason = "품질\u{202e}개선".to_owned()) as fn(&mut Agreed)),
        ("holders", |it| it.holders = ["품질팀\u{200b}".to_owned()].into()),
        ("runs_of", |it| it.runs_of = Some("새솔\u{2069}".to_owned())),
    ] {
        assert_eq!(full(SharedForm::Raw, change).own_faults(), [TermFault::HiddenSigns(field)]);
    }
}

#[test]
fn a_customer_of_a_subcontract_gets_drafts_of_the_request_and_of_the_confidentiality_as_reviewed() {
    let assets = [("press-1".parse().unwrap(), Name::new("1호 프레스", "Press 1"))].into();
    let drafts = |terms: &Terms| {
        papers(&PageOf {
            id: ConsentId::numbered(7),
            version: 1,
            grantor: &Name::new("한빛금형", "Hanbit Mould"),
            grantee: &Name::new("새솔열처리", "Saesol Heat Treatment"),
            terms,
            assets: &assets,
        })
    };
    let cases = cases();
    let Papers { request, confidentiality } = drafts(&cases[0].1).unwrap();
    let texts = [request.ko, request.en, confidentiality.ko, confidentiality.en];
    assert_reviewed("papers.txt", &texts.join("\n--------\n"));
    for (name, terms) in &cases[1..] {
        assert_eq!(drafts(terms), None, "{name}");
    }
}
