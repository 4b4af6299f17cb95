use super::*;

fn unreadable(known: &serde_json::Value, pointer: &str, value: serde_json::Value) {
    let mut changed = known.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap()[key] = value;
    assert_eq!(StoredTerms::parse(&changed.to_string()), StoredTerms::Unknown, "{pointer}");
}

#[test]
fn an_unknown_field_or_version_makes_the_terms_unknown() {
    let short = serde_json::to_value(terms(&["a"], &["b"], bucketed(60, &[Function::Mean]))).unwrap();
    let whole = serde_json::to_value(full(bucketed(60, &[Function::Mean]), |_| {})).unwrap();
    for (version, known) in [(1, &short), (2, &whole)] {
        assert_eq!(known["version"], version);
        assert!(matches!(StoredTerms::parse(&known.to_string()), StoredTerms::Known(_)), "{known}");
        for (pointer, value) in [
            ("/version", serde_json::json!(3 - version)),
            ("/version", serde_json::json!(3)),
            ("/purpose", "research".into()),
            ("/form/bucketed/cohort", 5.into()),
            ("/form", "summary".into()),
            ("/form/bucketed/functions", serde_json::json!(["mean", "median"])),
            ("/event/runs_of", "saesol".into()),
            ("/access/quota", 100.into()),
        ] {
            unreadable(known, pointer, value);
        }
    }
    unreadable(&short, "/form", "benchmark".into());
    unreadable(&short, "/minimum_age_us", 0.into());
    assert_eq!(StoredTerms::parse("{}"), StoredTerms::Unknown);
}

/// What is left out, or empty, means no.
#[test]
fn a_full_record_says_everything_and_nothing_empty() {
    let whole = serde_json::to_value(full(bucketed(60, &[Function::Mean]), |_| {})).unwrap();
    let fields: Vec<_> = whole.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 19);
    for field in fields.iter().filter(|field| *field != "version") {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(field);
        assert_eq!(StoredTerms::parse(&without.to_string()), StoredTerms::Unknown, "without {field}");
    }
    for window in ["event", "access"] {
        for end in whole[window].as_object().unwrap().keys() {
            let mut without = whole.clone();
            without[window].as_object_mut().unwrap().remove(end);
            assert_eq!(StoredTerms::parse(&without.to_string()), StoredTerms::Unknown, "without {window}.{end}");
        }
    }
    for (pointer, value) in [
        ("/assets", serde_json::json!([])),
        ("/metrics", serde_json::json!([])),
        ("/metrics", serde_json::json!(["x_alarm"])),
        ("/purposes", serde_json::json!([])),
        ("/purposes", serde_json::json!(["curiosity"])),
        ("/holders", serde_json::json!([])),
        ("/holders", serde_json::json!([" "])),
        ("/reason", "".into()),
        ("/relation", "friend".into()),
        ("/identity", "anonymous".into()),
        ("/onward_use", "any".into()),
        ("/quota_rows_per_day", 0.into()),
        ("/quota_rows_per_day", (-1).into()),
        ("/runs_of", "".into()),
        ("/cohort_floor", 4.into()),
        ("/minimum_age_us", (-1).into()),
        ("/return_by_us", (UNTIL - 1).into()),
    ] {
        unreadable(&whole, pointer, value);
    }
}

/// Rows that were written before there was a full form, byte for byte.
#[test]
fn records_of_the_first_version_are_read_as_they_were_meant() {
    let old = r#"{"version":1,"assets":["press-1"],"metrics":["press_force"],"form":{"bucketed":{"floor_us":60000000,"functions":["mean"]}},"event":{"from_us":null,"to_us":200000000},"access":{"not_before_us":1000000000,"until_us":2000000000}}"#;
    let StoredTerms::Known(read) = StoredTerms::parse(old) else { panic!("it was not read") };
    let mut wanted = terms(&["press-1"], &["press_force"], bucketed(60, &[Function::Mean]));
    wanted.event.to_us = Some(200 * S);
    assert_eq!(read, wanted);
    assert_eq!(serde_json::to_string(&read).unwrap(), old, "and are written as they were");
    let asked = Request { manner: Manner::default(), ..buckets("saesol", 60, &[Function::Mean], 0, 700) };
    assert_eq!(shown(&decide(&snapshot(vec![consent(1, read)]), &asked, NOW)), "served [0, 180)");
}

#[test]
fn every_fault_of_a_grant_is_told() {
    let bad = Terms {
        event: EventWindow { from_us: Some(5), to_us: Some(5) },
        access: AccessWindow { not_before_us: 9, until_us: 9 },
        ..terms(&[], &["x_alarm"], bucketed(0, &[]))
    };
    assert_eq!(bad.faults(&firm("a"), &firm("a")).len(), 7);
    let empty = terms(&["a"], &[], SharedForm::Raw);
    assert_eq!(empty.faults(&firm("a"), &firm("b")), [TermFault::NoMetric]);
    let bad = full(SharedForm::Benchmark, |it| {
        it.reason = "\n".to_owned();
        it.holders.clear();
        it.return_by_us = 0;
        it.minimum_age_us = i64::MAX;
        it.runs_of = Some(String::new());
        it.purposes.clear();
        it.quota_rows_per_day = Some(0);
        it.cohort_floor = Some(1);
    });
    assert_eq!(bad.own_faults().len(), 9);
    assert_eq!(terms(&["a"], &["b"], SharedForm::Benchmark).own_faults(), [TermFault::BareBenchmark]);
    assert_eq!(full(SharedForm::Raw, |_| {}).own_faults(), []);
}

#[test]
fn what_is_chosen_from_a_list_has_an_id_and_words_in_both_languages() {
    for purpose in Purpose::ALL {
        assert_eq!(purpose.as_str().parse::<Purpose>().as_ref(), Ok(purpose));
        assert_eq!(serde_json::to_value(purpose).unwrap(), purpose.as_str());
    }
    for (id, json) in [
        (Identity::Pseudonym.as_str(), serde_json::to_value(Identity::Pseudonym).unwrap()),
        (Relation::Public.as_str(), serde_json::to_value(Relation::Public).unwrap()),
        (OnwardUse::Conclusions.as_str(), serde_json::to_value(OnwardUse::Conclusions).unwrap()),
    ] {
        assert_eq!(json, id);
    }
    let error = "any\u{1b}".parse::<OnwardUse>().unwrap_err();
    assert_eq!(error, "`any\\u{1b}` is not a onward use: one of holders, internal, conclusions, publication");
}

/// Each term alone: the narrower lies within the wider, and not the other way round.
#[test]
fn every_term_is_weighed_when_terms_are_narrowed() {
    let wide = full(bucketed(60, &[Function::Mean, Function::Max]), |it| {
        it.holders.insert("연구소".to_owned());
        it.purposes.insert(Purpose::Energy);
        it.onward_use = OnwardUse::Internal;
        it.quota_rows_per_day = Some(100);
        it.return_by_us = UNTIL + 9;
    });
    let agreed = |change: fn(&mut Agreed)| {
        let mut narrow = wide.clone();
        change(narrow.agreed.as_mut().unwrap());
        narrow
    };
    let two = Terms {
        assets: ["press-1".parse().unwrap(), "press-2".parse().unwrap()].into(),
        metrics: ["press_force".parse().unwrap(), "stroke_count".parse().unwrap()].into(),
        ..wide.clone()
    };
    let event = |from_us, to_us| Terms { event: EventWindow { from_us, to_us }, ..wide.clone() };
    let access = |not_before_us, until_us| Terms { access: AccessWindow { not_before_us, until_us }, ..wide.clone() };
    let form = |form| Terms { form, ..wide.clone() };
    let narrower = [
        (Terms { assets: wide.assets.clone(), ..two.clone() }, two.clone()),
        (Terms { metrics: wide.metrics.clone(), ..two.clone() }, two),
        (event(Some(5), None), wide.clone()),
        (event(None, Some(5)), wide.clone()),
        (event(Some(2), Some(3)), event(Some(1), Some(4))),
        (access(NOT_BEFORE + 1, UNTIL), wide.clone()),
        (access(NOT_BEFORE, UNTIL - 1), wide.clone()),
        (form(bucketed(120, &[Function::Mean, Function::Max])), wide.clone()),
        (form(bucketed(60, &[Function::Mean])), wide.clone()),
        (wide.clone(), form(SharedForm::Raw)),
        (agreed(|it| it.identity = Identity::Pseudonym), wide.clone()),
        (agreed(|it| it.holders = ["품질팀".to_owned()].into()), wide.clone()),
        (agreed(|it| it.return_by_us = UNTIL), wide.clone()),
        (agreed(|it| it.minimum_age_us = 1), wide.clone()),
        (agreed(|it| it.runs_of = Some("대한기계".to_owned())), wide.clone()),
        (agreed(|it| it.late_data = false), wide.clone()),
        (agreed(|it| it.purposes = [Purpose::Quality].into()), wide.clone()),
        (agreed(|it| it.onward_use = OnwardUse::Holders), wide.clone()),
        (agreed(|it| it.quota_rows_per_day = Some(99)), wide.clone()),
        (wide.clone(), agreed(|it| it.quota_rows_per_day = None)),
        (agreed(|it| it.cohort_floor = Some(6)), wide.clone()),
        (wide.clone(), Terms { agreed: None, ..wide.clone() }),
    ];
    for (number, (narrow, wide)) in narrower.iter().enumerate() {
        assert!(narrow.lie_within(wide), "{number}");
        assert!(!wide.lie_within(narrow), "{number}, the other way round");
        assert!(wide.lie_within(wide));
    }
    // Neither within the other.
    for other in [
        form(bucketed(90, &[Function::Mean])),
        form(SharedForm::Benchmark),
        agreed(|it| it.relation = Relation::Research),
        agreed(|it| it.reason = "다른 이유".to_owned()),
        agreed(|it| it.dictionary = 2),
    ] {
        assert!(!other.lie_within(&wide) && !wide.lie_within(&other));
    }
}
