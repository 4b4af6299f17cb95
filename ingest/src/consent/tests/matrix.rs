use super::*;

pub(super) mod acts;

/// Every request against every set of consents, and every act of everyone on a consent in
/// every state, as a file that people review. `SANDAN_BLESS=1` writes it anew.
#[test]
fn the_matrix_is_as_reviewed() {
    assert_reviewed("matrix.txt", &[short_forms(), full_forms(), acts::table()].join("\n"));
}

fn short_forms() -> String {
    use Function::{Max, Mean, Min};
    let press = || terms(&["press-1"], &["press_force"], SharedForm::Raw);
    let windowed = |from_s: i64, to_s: i64, form| {
        let event = EventWindow { from_us: Some(from_s * S), to_us: Some(to_s * S) };
        Terms { event, ..terms(&["press-1"], &["press_force"], form) }
    };
    let means = || terms(&["press-1"], &["press_force"], bucketed(60, &[Mean, Max]));
    let other = |change: &dyn Fn(&mut Consent)| {
        let mut consent = consent(1, press());
        change(&mut consent);
        consent
    };
    let sets: Vec<(&str, Vec<Consent>)> = vec![
        ("no consent", vec![]),
        ("raw", vec![consent(1, press())]),
        ("means and maxima of 60 s", vec![consent(1, means())]),
        ("raw of [300, 630)", vec![consent(1, windowed(300, 630, SharedForm::Raw))]),
        ("means of 60 s of [330, 630)", vec![consent(1, windowed(330, 630, bucketed(60, &[Mean])))]),
        (
            "raw of [0, 100) and of [200, 300)",
            vec![consent(1, windowed(0, 100, SharedForm::Raw)), consent(2, windowed(200, 300, SharedForm::Raw))],
        ),
        (
            "raw of [0, 330) and of [330, 700)",
            vec![consent(1, windowed(0, 330, SharedForm::Raw)), consent(2, windowed(330, 700, SharedForm::Raw))],
        ),
        (
            "means of 60 s and minima of 10 s",
            vec![
                consent(1, terms(&["press-1"], &["press_force"], bucketed(60, &[Mean]))),
                consent(2, terms(&["press-1"], &["press_force"], bucketed(10, &[Min]))),
            ],
        ),
        (
            "raw of another machine, means of this",
            vec![consent(1, terms(&["press-2"], &["press_force"], SharedForm::Raw)), consent(2, means())],
        ),
        ("raw, revoked", vec![other(&|c| c.status = Status::Revoked { at_us: 1_100 * S })]),
        ("raw, suspended", vec![other(&|c| c.status = Status::Suspended { since_us: 1_100 * S })]),
        (
            "raw, suspended, and means of 60 s",
            vec![other(&|c| c.status = Status::Suspended { since_us: 1_100 * S }), consent(2, means())],
        ),
        ("raw, to another firm", vec![other(&|c| c.grantee = firm("daeyang"))]),
        ("terms of another version", vec![other(&|c| c.terms = StoredTerms::Unknown)]),
        ("no asset, no metric", vec![consent(1, terms(&[], &[], SharedForm::Raw))]),
        ("a private metric", vec![consent(1, terms(&["press-1"], &["x_alarm"], SharedForm::Raw))]),
        ("buckets of floor 0", vec![consent(1, terms(&["press-1"], &["press_force"], bucketed(0, &[Mean])))]),
        ("buckets of no function", vec![consent(1, terms(&["press-1"], &["press_force"], bucketed(60, &[])))]),
    ];
    let force = || series("press-1", "press_force");
    let requests: Vec<(&str, Request)> = vec![
        ("own, raw [0, 700)", raw("hanbit", force(), 0, 700)),
        ("own, private metric", raw("hanbit", series("press-1", "x_alarm"), 0, 700)),
        ("raw [0, 700)", raw("saesol", force(), 0, 700)),
        ("raw of another machine", raw("saesol", series("press-2", "press_force"), 0, 700)),
        ("raw of another metric", raw("saesol", series("press-1", "stroke_count"), 0, 700)),
        ("raw of the private metric", raw("saesol", series("press-1", "x_alarm"), 0, 700)),
        ("mean of 60 s [0, 700)", buckets("saesol", 60, &[Mean], 0, 700)),
        ("mean, max of 60 s", buckets("saesol", 60, &[Mean, Max], 0, 700)),
        ("mean, min of 60 s", buckets("saesol", 60, &[Mean, Min], 0, 700)),
        ("mean of 120 s", buckets("saesol", 120, &[Mean], 0, 700)),
        ("mean of 90 s", buckets("saesol", 90, &[Mean], 0, 700)),
        ("mean of 30 s", buckets("saesol", 30, &[Mean], 0, 700)),
        ("mean of 60 s [310, 350)", buckets("saesol", 60, &[Mean], 310, 350)),
        ("mean of 60 s [1400, 1700)", buckets("saesol", 60, &[Mean], 1_400, 1_700)),
        ("mean of 120 s [1400, 1700)", buckets("saesol", 120, &[Mean], 1_400, 1_700)),
        ("mean of 60 s [1500, 1560)", buckets("saesol", 60, &[Mean], 1_500, 1_560)),
        ("no function of 60 s", buckets("saesol", 60, &[], 0, 700)),
    ];
    let mut table =
        "# What each set of consents answers to each request, times in s, at t = 1500 in [1000, 2000).\n".to_owned();
    for (name, consents) in &sets {
        let _ = write!(table, "\n{name}\n");
        for (asked, request) in &requests {
            let answer = decide(&snapshot(consents.clone()), request, 1_500 * S);
            let _ = writeln!(table, "  {asked:<26} {}", shown(&answer));
        }
    }
    table
}

/// A full consent, or several, with the rules beside them.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) grants: Vec<Grant>,
    pub(super) rules: Rules,
    pub(super) used: Vec<(u128, u64)>,
}

fn with(name: &'static str, grants: Vec<Grant>) -> Case {
    Case { name, grants, rules: Rules::default(), used: Vec::new() }
}

fn ruled(name: &'static str, grants: Vec<Grant>, change: impl FnOnce(&mut Rules)) -> Case {
    let mut rules = Rules::default();
    change(&mut rules);
    Case { rules, ..with(name, grants) }
}

/// `press_force` is of this class since this version of a dictionary in version 3.
fn dictionary(class: Class, since: u32) -> Dictionary {
    Dictionary { version: 3, metrics: [("press_force".parse().unwrap(), Meaning { class, since })].into() }
}

fn run(customer: &str, begin: i64, end: Option<i64>) -> Run {
    Run {
        asset: "press-1".parse().unwrap(),
        customer: customer.to_owned(),
        from_us: begin * S,
        to_us: end.map(|end| end * S),
    }
}

/// A consent of hanbit to a group in its first roster, with saesol on it and daeyang not.
fn to_group(number: u128, terms: Terms) -> Grant {
    Grant { grantee: Grantee::Group { group: group("moulds"), roster: 1 }, ..grant(number, terms) }
}

fn rosters(kind: GroupKind, rosters: &[&[&str]]) -> Group {
    let roster = |firms: &&[&str]| firms.iter().map(|id| firm(id)).collect();
    Group { kind, coordinator: firm("hanbit"), rosters: (1..).zip(rosters.iter().map(roster)).collect() }
}

pub(super) fn cases() -> Vec<Case> {
    use Function::{Max, Mean};
    let force = |change: fn(&mut Agreed)| grant(1, full(SharedForm::Raw, change));
    let means = |change: fn(&mut Agreed)| grant(1, full(bucketed(60, &[Mean, Max]), change));
    let second = |form, begin: i64, end: i64, change: fn(&mut Agreed)| {
        let event = EventWindow { from_us: Some(begin * S), to_us: Some(end * S) };
        grant(2, Terms { event, ..full(form, change) })
    };
    let sensitive = |rules: &mut Rules| {
        rules.dictionary = Some(dictionary(Class::Output, 1));
        rules.alliance.sensitive = Sensitive { floor_us: 120 * S, minimum_age_us: 1_000 * S, functions: [Mean].into() };
    };
    vec![
        with("raw for quality", vec![force(|_| {})]),
        with("raw for no purpose", vec![force(|it| it.purposes.clear())]),
        with("raw once 900 s old", vec![force(|it| it.minimum_age_us = 900 * S)]),
        with("means and maxima of 60 s once 900 s old", vec![means(|it| it.minimum_age_us = 900 * S)]),
        with("raw, late data not covered, approved at 300 and commit 40", vec![force(|it| it.late_data = false)]),
        with("means of 60 s, late data not covered", vec![means(|it| it.late_data = false)]),
        with("raw, late data not covered, no mark", vec![Grant { mark: None, ..force(|it| it.late_data = false) }]),
        with(
            "raw, late data not covered, and raw of [200, 260) with it",
            vec![force(|it| it.late_data = false), second(SharedForm::Raw, 200, 260, |_| {})],
        ),
        Case {
            used: vec![(1, 40)],
            ..with("raw, 100 rows a day, 40 of them used", vec![force(|it| it.quota_rows_per_day = Some(100))])
        },
        Case {
            used: vec![(1, 100)],
            ..with("raw, 100 rows a day, all of them used", vec![force(|it| it.quota_rows_per_day = Some(100))])
        },
        with(
            "raw, 100 rows a day, and raw of [200, 260) without a quota",
            vec![force(|it| it.quota_rows_per_day = Some(100)), second(SharedForm::Raw, 200, 260, |_| {})],
        ),
        with(
            "raw, 100 rows a day, and raw of [0, 500) without late data",
            vec![
                force(|it| it.quota_rows_per_day = Some(100)),
                second(SharedForm::Raw, 0, 500, |it| it.late_data = false),
            ],
        ),
        with("raw under a pseudonym", vec![force(|it| it.identity = Identity::Pseudonym)]),
        with(
            "raw under a pseudonym, means of 60 s by name",
            vec![force(|it| it.identity = Identity::Pseudonym), second(bucketed(60, &[Mean]), 0, 700, |_| {})],
        ),
        with("in benchmarks only", vec![grant(1, full(SharedForm::Benchmark, |_| {}))]),
        ruled(
            "raw of the runs of 대한기계",
            vec![force(|it| it.runs_of = Some("대한기계".to_owned()))],
            |rules| {
                rules.runs = vec![
                    run("대한기계", 100, Some(200)),
                    run("남도정밀", 200, Some(300)),
                    run("대한기계", 310, Some(455)),
                    // Its end lies ahead of now.
                    run("대한기계", 460, Some(1_600)),
                    run("대한기계", 500, None),
                ];
            },
        ),
        ruled(
            "raw of the runs of 대한기계, of which there are none",
            vec![force(|it| it.runs_of = Some("대한기계".to_owned()))],
            |rules| {
                rules.runs = vec![Run { asset: "press-2".parse().unwrap(), ..run("대한기계", 100, Some(200)) }];
            },
        ),
        ruled("raw, the firm's own floor 120 s", vec![force(|_| {})], |rules| rules.house.floor_us = Some(120 * S)),
        ruled("means of 60 s, the firm's own floor 90 s", vec![means(|_| {})], |rules| {
            rules.house.floor_us = Some(90 * S);
        }),
        ruled("raw, the alliance's minimum age 900 s", vec![force(|_| {})], |rules| {
            rules.alliance.layer.minimum_age_us = 900 * S;
        }),
        ruled("raw, and a prohibition of the grantee", vec![force(|_| {})], |rules| {
            rules.alliance.prohibitions = vec![Prohibition { grantee: Some(firm("saesol")), ..Prohibition::default() }];
        }),
        ruled("raw, and a prohibition of another metric", vec![force(|_| {})], |rules| {
            let metric = Some("stroke_count".parse().unwrap());
            rules.alliance.prohibitions = vec![Prohibition { metric, ..Prohibition::default() }];
        }),
        ruled("raw, and a prohibition that says nothing", vec![force(|_| {})], |rules| {
            rules.alliance.prohibitions = vec![Prohibition::default()];
        }),
        ruled("raw to a customer, of a metric of output", vec![force(|_| {})], sensitive),
        ruled(
            "raw to a competitor, of a metric of output",
            vec![force(|it| it.relation = Relation::Competitor)],
            sensitive,
        ),
        ruled(
            "means and maxima of 60 s to a public body, of a metric of output",
            vec![means(|it| it.relation = Relation::Public)],
            sensitive,
        ),
        ruled(
            "raw in the short form, of a metric of output",
            vec![grant(1, terms(&["press-1"], &["press_force"], SharedForm::Raw))],
            sensitive,
        ),
        ruled(
            "raw to a competitor, of a metric of condition",
            vec![force(|it| it.relation = Relation::Competitor)],
            |rules| {
                rules.dictionary = Some(dictionary(Class::Condition, 1));
            },
        ),
        ruled("raw, of a metric that means something else since", vec![force(|_| {})], |rules| {
            rules.dictionary = Some(dictionary(Class::Condition, 2));
        }),
        ruled("raw, under a dictionary to come", vec![force(|it| it.dictionary = 4)], |rules| {
            rules.dictionary = Some(dictionary(Class::Condition, 1));
        }),
        ruled("raw, of a metric that the dictionary does not know", vec![force(|_| {})], |rules| {
            rules.dictionary = Some(Dictionary { version: 3, metrics: std::collections::BTreeMap::new() });
        }),
        ruled(
            "raw to a group, which saesol is in and daeyang joined",
            vec![to_group(1, full(SharedForm::Raw, |_| {}))],
            |rules| {
                let moulds = rosters(GroupKind::ValueChain, &[&["hanbit", "saesol"], &["hanbit", "saesol", "daeyang"]]);
                rules.groups = [(group("moulds"), moulds)].into();
            },
        ),
        ruled("raw to a group, which saesol has left", vec![to_group(1, full(SharedForm::Raw, |_| {}))], |rules| {
            let moulds = rosters(GroupKind::ValueChain, &[&["hanbit", "saesol"], &["hanbit"]]);
            rules.groups = [(group("moulds"), moulds)].into();
        }),
        with("raw to a group that is not known", vec![to_group(1, full(SharedForm::Raw, |_| {}))]),
        ruled(
            "raw to a group of one industry, of a metric of output",
            vec![to_group(1, full(SharedForm::Raw, |_| {}))],
            |rules| {
                sensitive(rules);
                let moulds = rosters(GroupKind::SameIndustry, &[&["hanbit", "saesol"]]);
                rules.groups = [(group("moulds"), moulds)].into();
            },
        ),
        ruled("raw, to a firm that is closed", vec![force(|_| {})], |rules| rules.closed = [firm("saesol")].into()),
        ruled("raw, of a firm that is closed", vec![force(|_| {})], |rules| rules.closed = [firm("hanbit")].into()),
    ]
}

pub(super) fn full_requests() -> Vec<(&'static str, Request)> {
    use Function::{Max, Mean};
    let called = |number| {
        let mut request = kept(raw("saesol", press(), 0, 700));
        request.manner.address = Address::Pseudonym(ConsentId::numbered(number));
        request
    };
    let loose = |request: Request| {
        let manner = Manner { holds: Holds::default(), ..kept(request.clone()).manner };
        Request { manner, ..request }
    };
    let research = || {
        let mut request = kept(raw("saesol", press(), 0, 700));
        request.manner.purpose = Some(Purpose::Research);
        request
    };
    vec![
        ("own, raw", raw("hanbit", press(), 0, 700)),
        ("raw [0, 700)", kept(raw("saesol", press(), 0, 700))),
        ("raw, no purpose", raw("saesol", press(), 0, 700)),
        ("raw, for research", research()),
        ("raw, no duty kept", loose(raw("saesol", press(), 0, 700))),
        ("raw, pseudonym of 1", called(1)),
        ("raw, pseudonym of 2", called(2)),
        ("raw, by daeyang", kept(raw("daeyang", press(), 0, 700))),
        ("mean of 60 s", kept(buckets("saesol", 60, &[Mean], 0, 700))),
        ("mean of 60 s, no duty kept", loose(buckets("saesol", 60, &[Mean], 0, 700))),
        ("mean of 120 s", kept(buckets("saesol", 120, &[Mean], 0, 700))),
        ("mean, max of 360 s", kept(buckets("saesol", 360, &[Mean, Max], 0, 720))),
    ]
}

fn full_forms() -> String {
    let requests = full_requests();
    let mut table = "\
# The full form: readings of [0, 700) for quality, at t = 1500 in [1000, 2000), through a door that
# keeps every duty unless another is named.
"
    .to_owned();
    for case in cases() {
        let _ = write!(table, "\n{}\n", case.name);
        let mut snapshot = under(case.grants, case.rules);
        snapshot.used = case.used.iter().map(|(number, rows)| (ConsentId::numbered(*number), *rows)).collect();
        let indexed = snapshot.clone().indexed();
        for (asked, request) in &requests {
            let answer = shown(&decide(&snapshot, request, NOW));
            assert_eq!(answer, shown(&decide(&indexed, request, NOW)), "{}, {asked}: by the index", case.name);
            let _ = writeln!(table, "  {asked:<26} {answer}");
        }
    }
    table
}
