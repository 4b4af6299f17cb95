use proptest::prelude::*;

use super::*;

/// Commits that cells are of.
const COMMITS: [u64; 3] = [10, 40, 70];

prop_compose! {
    fn any_agreed()(
        minimum_age in prop_oneof![2 => Just(0), 1 => 0..40_i64],
        identity in prop_oneof![4 => Just(Identity::Named), 1 => Just(Identity::Pseudonym)],
        relation in proptest::sample::select(Relation::ALL),
        runs_of in prop_oneof![3 => Just(None), 1 => Just(Some("a".to_owned())), 1 => Just(Some("b".to_owned()))],
        late_data in any::<bool>(),
        purposes in proptest::collection::btree_set(proptest::sample::select(&Purpose::ALL[..2]), 0..3),
        quota in prop_oneof![3 => Just(None), 2 => (0..3_u64).prop_map(Some)],
        dictionary in 1..4_u32,
    ) -> Agreed {
        Agreed {
            minimum_age_us: minimum_age * S,
            identity,
            relation,
            runs_of,
            late_data,
            purposes,
            quota_rows_per_day: quota,
            dictionary,
            ..agreed()
        }
    }
}

prop_compose! {
    fn any_terms()(
        assets in proptest::collection::btree_set(prop_oneof!["press-1", "press-2"], 0..3),
        metrics in proptest::collection::btree_set(prop_oneof!["press_force", "stroke_count", "x_alarm"], 0..3),
        form in prop_oneof![
            4 => Just(SharedForm::Raw),
            4 => (0..4_i64, proptest::collection::btree_set(proptest::sample::select(&Function::ALL[..]), 0..4))
                .prop_map(|(floor, functions)| SharedForm::Bucketed { floor_us: floor * 5 * S, functions }),
            1 => Just(SharedForm::Benchmark),
        ],
        from in proptest::option::of(-50..150_i64),
        to in proptest::option::of(-50..150_i64),
        access in (0..40_i64, 0..40_i64),
        agreed in proptest::option::of(any_agreed()),
    ) -> Terms {
        Terms {
            assets: assets.iter().map(|id| id.parse().unwrap()).collect(),
            metrics: metrics.iter().map(|id| id.parse().unwrap()).collect(),
            form,
            event: EventWindow { from_us: from.map(|s| s * S), to_us: to.map(|s| s * S) },
            access: AccessWindow { not_before_us: access.0 * S, until_us: access.1 * S },
            agreed: agreed.map(Box::new),
        }
    }
}

prop_compose! {
    pub(super) fn any_grant()(
        terms in any_terms(),
        grantee in prop_oneof![
            6 => Just(Grantee::Firm(firm("saesol"))),
            1 => Just(Grantee::Firm(firm("daeyang"))),
            2 => (1..5_u32).prop_map(|roster| Grantee::Group { group: group("moulds"), roster }),
            1 => Just(Grantee::Group { group: group("nobody"), roster: 1 }),
        ],
        status in prop_oneof![
            5 => Just(Status::Active),
            1 => Just(Status::Suspended { since_us: 0 }),
            1 => Just(Status::Revoked { at_us: 0 }),
        ],
        unknown in proptest::bool::weighted(0.05),
        mark in proptest::option::weighted(0.8, (-10..100_i64, 0..90_u64)),
    ) -> Grant {
        Grant {
            id: ConsentId::random(),
            grantee,
            status,
            terms: if unknown { StoredTerms::Unknown } else { StoredTerms::Known(terms) },
            mark: mark.map(|(at, commit)| Mark { at_us: at * S, commit }),
        }
    }
}

prop_compose! {
    fn any_layer()(floor in proptest::option::weighted(0.2, 0..3_i64), age in prop_oneof![4 => Just(0), 1 => 0..30_i64]) -> Layer {
        Layer { floor_us: floor.map(|floor| floor * 5 * S), minimum_age_us: age * S }
    }
}

prop_compose! {
    fn any_prohibition()(
        grantee in proptest::option::of(prop_oneof!["saesol", "daeyang"]),
        metric in proptest::option::of(prop_oneof!["press_force", "stroke_count"]),
        class in proptest::option::of(proptest::sample::select(vec![Class::Output, Class::Condition])),
        relation in proptest::option::of(proptest::sample::select(Relation::ALL)),
    ) -> Prohibition {
        let metric = metric.map(|id| id.parse().unwrap());
        Prohibition { grantor: None, grantee: grantee.map(|id| firm(&id)), metric, class, relation }
    }
}

prop_compose! {
    pub(super) fn any_rules()(
        alliance in any_layer(),
        house in any_layer(),
        prohibitions in prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(any_prohibition(), 1..3)],
        dictionary in proptest::option::of((1..4_u32, 1..4_u32, any::<bool>())),
        kind in proptest::sample::select(vec![GroupKind::SameIndustry, GroupKind::ValueChain]),
        rosters in proptest::collection::vec(any::<bool>(), 0..4),
        runs in proptest::collection::vec((any::<bool>(), -40..120_i64, proptest::option::weighted(0.8, 0..60_i64)), 0..4),
        closed in proptest::bool::weighted(0.03),
    ) -> Rules {
        let meaning = |(version, since, output)| {
            let class = if output { Class::Output } else { Class::Condition };
            let metrics = [("press_force".parse().unwrap(), Meaning { class, since })].into();
            Dictionary { version, metrics }
        };
        let roster = |on: bool| if on { [firm("saesol")].into() } else { BTreeSet::new() };
        let run = |(mine, from, length): (bool, i64, Option<i64>)| Run {
            asset: "press-1".parse().unwrap(),
            customer: if mine { "a" } else { "b" }.to_owned(),
            from_us: from * S,
            to_us: length.map(|length| (from + length) * S),
        };
        let sensitive = Sensitive { floor_us: 10 * S, minimum_age_us: 5 * S, functions: [Function::Mean].into() };
        let moulds = Group {
            kind,
            coordinator: firm("saesol"),
            rosters: (1..).zip(rosters.into_iter().map(roster)).collect(),
        };
        Rules {
            alliance: AllianceRule { prohibitions, layer: alliance, sensitive },
            house,
            dictionary: dictionary.map(meaning),
            groups: [(group("moulds"), moulds)].into(),
            closed: if closed { [firm("saesol")].into() } else { BTreeSet::new() },
            runs: runs.into_iter().map(run).collect(),
        }
    }
}

prop_compose! {
    pub(super) fn any_request()(
        asset in prop_oneof!["press-1", "press-2"],
        metric in prop_oneof![5 => "press_force", 1 => "stroke_count", 1 => "x_alarm"],
        width in proptest::option::of(1..5_i64),
        functions in proptest::collection::btree_set(proptest::sample::select(&Function::ALL[..3]), 0..3),
        from in -60..160_i64,
        length in 0..160_i64,
        purpose in proptest::option::weighted(0.8, proptest::sample::select(&Purpose::ALL[..2])),
        holds in (any::<bool>(), any::<bool>()),
    ) -> Request {
        let holds = Holds { commits: holds.0, quotas: holds.1 };
        Request {
            asker: firm("saesol"),
            series: series(&asset, &metric),
            form: width.map_or(Form::Raw, |width| Form::buckets(width * 5 * S)),
            functions: if width.is_some() { functions } else { BTreeSet::new() },
            from_us: from * S,
            to_us: (from + length) * S,
            manner: Manner { purpose, address: Address::Name, holds },
        }
    }
}

/// The width of the smallest cells of an answer: seconds, or buckets.
fn step(form: &Form) -> i64 {
    match *form {
        Form::Raw => S,
        Form::Bucketed { grid: Grid::Fixed { width_us } } => width_us,
        Form::Bucketed { .. } => panic!("the requests here are of one width"),
    }
}

/// The smallest cells of an answer: a time, and a reading's commit.
fn cells(snapshot: &Snapshot, request: &Request, now_us: i64) -> BTreeSet<(i64, u64)> {
    let step = step(&request.form);
    let mut cells = BTreeSet::new();
    for permit in decide(snapshot, request, now_us).map_or_else(|_| Vec::new(), |decision| decision.permits) {
        let through = permit.through_commit().unwrap_or(u64::MAX);
        assert!(permit.quota().is_none_or(|(_, rows)| rows > 0), "a permit for no row");
        let mut at = permit.from_us();
        while at < permit.to_us() {
            cells.extend(COMMITS.into_iter().filter(|commit| *commit <= through).map(|commit| (at, commit)));
            at += step;
        }
    }
    cells
}

/// Whether one consent covers a cell, said anew and as plainly as possible.
fn covered(snapshot: &Snapshot, grant: &Grant, request: &Request, (at, commit): (i64, u64), now_us: i64) -> bool {
    let StoredTerms::Known(terms) = &grant.terms else { return false };
    let rules = snapshot.rules();
    let end = at + step(&request.form);
    let raw_asked = request.form == Form::Raw;
    let mut allowed = grant.status == Status::Active;

    // Who.
    let (reached, same_industry) = match &grant.grantee {
        Grantee::Firm(grantee) => (*grantee == request.asker, false),
        Grantee::Group { group, roster } => match rules.groups.get(group) {
            None => (false, false),
            Some(group) => {
                let on = |version: &u32| group.rosters[version].contains(&request.asker);
                let since: Vec<_> = group.rosters.keys().filter(|version| *version >= roster).collect();
                let reached = group.rosters.contains_key(roster) && since.into_iter().all(on);
                (reached, group.kind == GroupKind::SameIndustry)
            }
        },
    };
    allowed &= reached && !rules.closed.contains(&request.asker);

    // What.
    allowed &= terms.assets.contains(&request.series.asset) && terms.metrics.contains(&request.series.metric);
    allowed &= !request.series.metric.as_str().starts_with("x_");
    let dictionary_version = terms.agreed.as_ref().map_or(1, |it| it.dictionary);
    let mut class = None;
    if let Some(dictionary) = &rules.dictionary {
        match dictionary.metrics.get(&request.series.metric) {
            Some(it) if it.since <= dictionary_version && dictionary_version <= dictionary.version => {
                class = Some(it.class);
            }
            _ => allowed = false,
        }
    }
    let said = terms.agreed.as_ref().map(|it| it.relation);
    let relation = if same_industry { Some(Relation::Competitor) } else { said };
    for prohibition in &rules.alliance.prohibitions {
        let firm_matches = prohibition.grantee.as_ref().is_none_or(|it| *it == request.asker);
        let metric_matches = prohibition.metric.as_ref().is_none_or(|it| *it == request.series.metric);
        let class_matches = prohibition.class.is_none() || class.is_none() || prohibition.class == class;
        let relation_matches = prohibition.relation.is_none() || relation.is_none() || prohibition.relation == relation;
        allowed &= !(firm_matches && metric_matches && class_matches && relation_matches);
    }

    // How coarse, and how old.
    let competitor = !matches!(relation, Some(Relation::Customer | Relation::Research));
    let sensitive = competitor && class == Some(Class::Output);
    let mut floors = vec![rules.alliance.layer.floor_us, rules.house.floor_us];
    let mut age = rules.alliance.layer.minimum_age_us.max(rules.house.minimum_age_us);
    match &terms.form {
        SharedForm::Raw => {}
        SharedForm::Benchmark => allowed = false,
        SharedForm::Bucketed { floor_us, functions } => {
            floors.push(Some(*floor_us));
            allowed &= request.functions.is_subset(functions);
        }
    }
    if sensitive {
        let rule = &rules.alliance.sensitive;
        floors.push(Some(rule.floor_us));
        age = age.max(rule.minimum_age_us);
        allowed &= raw_asked || request.functions.is_subset(&rule.functions);
    }
    let floors: Vec<_> = floors.into_iter().flatten().collect();
    for floor in &floors {
        allowed &= !raw_asked && *floor > 0 && (end - at) % floor == 0;
    }
    if let Some(agreed) = &terms.agreed {
        age = age.max(agreed.minimum_age_us);
    }
    if age > 0 || !floors.is_empty() {
        allowed &= end <= now_us - age;
    }

    // When.
    allowed &= terms.access.not_before_us <= now_us && now_us < terms.access.until_us;
    allowed &= terms.event.from_us.is_none_or(|from| from <= at) && terms.event.to_us.is_none_or(|to| end <= to);

    let Some(agreed) = &terms.agreed else { return allowed };
    allowed &= agreed.identity == Identity::Named;
    allowed &= request.manner.purpose.is_some_and(|purpose| agreed.purposes.contains(&purpose));
    if let Some(customer) = &agreed.runs_of {
        allowed &= rules.runs.iter().any(|run| {
            let here = run.asset == request.series.asset && run.customer == *customer;
            here && run.from_us <= at && run.to_us.is_some_and(|to| end <= to)
        });
    }
    if let Some(rows) = agreed.quota_rows_per_day {
        allowed &= request.manner.holds.quotas && snapshot.used.get(&grant.id).copied().unwrap_or(0) < rows;
    }
    if !agreed.late_data {
        allowed &= grant.mark.is_some_and(|mark| {
            let by_then = end <= mark.at_us && commit <= mark.commit && request.manner.holds.commits;
            by_then || mark.at_us <= at
        });
    }
    allowed
}

pub(super) fn of(grants: &[Grant], rules: &Rules, used: u64) -> Snapshot {
    let mut snapshot = under(grants.to_vec(), rules.clone());
    snapshot.used = grants.iter().map(|grant| (grant.id, used)).collect();
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// No answer without a covering consent, and every cell that one covers is served. The
    /// index finds what looking at every consent finds.
    #[test]
    fn a_cell_is_served_exactly_when_one_consent_covers_it(
        grants in proptest::collection::vec(any_grant(), 0..4), rules in any_rules(), request in any_request(),
        now_s in 0..60_i64, used in 0..2_u64,
    ) {
        let snapshot = of(&grants, &rules, used);
        let now_us = now_s * S;
        let served = cells(&snapshot, &request, now_us);
        prop_assert_eq!(&served, &cells(&snapshot.clone().indexed(), &request, now_us));
        let asks_nothing = request.form != Form::Raw && request.functions.is_empty();
        let step = step(&request.form);
        if let Some((from, to)) = align(&request.form, request.from_us, request.to_us) {
            let mut at = from;
            while at < to {
                for commit in COMMITS {
                    let cell = (at, commit);
                    let by_one = !asks_nothing && grants.iter().any(|it| covered(&snapshot, it, &request, cell, now_us));
                    prop_assert_eq!(served.contains(&cell), by_one, "cell {} of commit {}", at / S, commit);
                }
                at += step;
            }
        }
        prop_assert!(served.iter().all(|(at, _)| request.from_us <= *at && at + step <= request.to_us));
    }

    #[test]
    fn a_further_consent_never_reduces_and_suspending_or_revoking_never_enlarges(
        grants in proptest::collection::vec(any_grant(), 0..4), further in any_grant(), rules in any_rules(),
        request in any_request(), now_s in 0..60_i64,
    ) {
        let before = cells(&of(&grants, &rules, 0), &request, now_s * S);
        let mut more = grants.clone();
        more.push(further);
        let all = cells(&of(&more, &rules, 0), &request, now_s * S);
        prop_assert!(before.is_subset(&all));
        for at in 0..more.len() {
            for status in [Status::Suspended { since_us: 0 }, Status::Revoked { at_us: 0 }] {
                let mut fewer = more.clone();
                fewer[at].status = status;
                prop_assert!(cells(&of(&fewer, &rules, 0), &request, now_s * S).is_subset(&all));
            }
        }
    }

    /// The further a window reaches, to either side, the more is covered; and the later, the
    /// more is old enough, as long as the access window is open.
    #[test]
    fn windows_are_monotone(
        grant in any_grant(), rules in any_rules(), request in any_request(), now_s in 0..60_i64,
        by in (0..40_i64, 0..40_i64, 0..40_i64, 0..40_i64), later_s in 0..60_i64,
    ) {
        let StoredTerms::Known(terms) = &grant.terms else { return Ok(()) };
        let mut wider = terms.clone();
        wider.event.from_us = terms.event.from_us.map(|from| from - by.0 * S);
        wider.event.to_us = terms.event.to_us.map(|to| to + by.1 * S);
        wider.access.not_before_us -= by.2 * S;
        wider.access.until_us += by.3 * S;
        let grants = |terms: &Terms| [Grant { terms: StoredTerms::Known(terms.clone()), ..grant.clone() }];
        let narrow = cells(&of(&grants(terms), &rules, 0), &request, now_s * S);
        let wide = cells(&of(&grants(&wider), &rules, 0), &request, now_s * S);
        prop_assert!(narrow.is_subset(&wide));
        let mut open = terms.clone();
        open.access = AccessWindow { not_before_us: 0, until_us: i64::MAX };
        let now = cells(&of(&grants(&open), &rules, 0), &request, now_s * S);
        let later = cells(&of(&grants(&open), &rules, 0), &request, (now_s + later_s) * S);
        prop_assert!(now.is_subset(&later));
    }

    /// What a grantor may put in force alone takes away only.
    #[test]
    fn terms_that_lie_within_others_open_nothing_more(
        grant in any_grant(), mut narrow in any_terms(), take in proptest::collection::vec(any::<bool>(), 7),
        rules in any_rules(), request in any_request(), now_s in 0..60_i64,
    ) {
        let StoredTerms::Known(terms) = &grant.terms else { return Ok(()) };
        // Some terms are the same, so that the others decide.
        let taken = |at: usize| take[at];
        if taken(0) { narrow.assets.clone_from(&terms.assets); }
        if taken(1) { narrow.metrics.clone_from(&terms.metrics); }
        if taken(2) { narrow.form.clone_from(&terms.form); }
        if taken(3) { narrow.event = terms.event; }
        if taken(4) { narrow.access = terms.access; }
        if taken(5) { narrow.agreed.clone_from(&terms.agreed); }
        if let (true, Some(narrow), Some(wide)) = (taken(6), &mut narrow.agreed, &terms.agreed) {
            narrow.dictionary = wide.dictionary;
            narrow.relation = wide.relation;
            narrow.purposes.clone_from(&wide.purposes);
        }
        if narrow.lie_within(terms) {
            let grants = |terms: Terms| [Grant { terms: StoredTerms::Known(terms), ..grant.clone() }];
            let less = cells(&of(&grants(narrow), &rules, 0), &request, now_s * S);
            prop_assert!(less.is_subset(&cells(&of(&grants(terms.clone()), &rules, 0), &request, now_s * S)));
        }
    }

    /// Whatever rule comes beside the consents takes away only.
    #[test]
    fn a_further_rule_never_enlarges(
        grants in proptest::collection::vec(any_grant(), 0..4), rules in any_rules(), layer in any_layer(),
        prohibition in any_prohibition(), request in any_request(), now_s in 0..60_i64,
    ) {
        let before = cells(&of(&grants, &rules, 0), &request, now_s * S);
        let mut prohibited = rules.clone();
        prohibited.alliance.prohibitions.push(prohibition);
        prop_assert!(cells(&of(&grants, &prohibited, 0), &request, now_s * S).is_subset(&before));
        if rules.house == Layer::default() {
            let ruled = Rules { house: layer, ..rules };
            prop_assert!(cells(&of(&grants, &ruled, 0), &request, now_s * S).is_subset(&before));
        }
    }

    /// Whoever was never named learns nothing, not even that there is something.
    #[test]
    fn strangers_cannot_tell_a_series_from_none(
        grants in proptest::collection::vec(any_grant(), 0..4), rules in any_rules(), request in any_request(),
        now_s in 0..60_i64,
    ) {
        let request = Request { asker: firm("stranger"), ..request };
        let denial = decide(&of(&grants, &rules, 0), &request, now_s * S).unwrap_err();
        prop_assert_eq!(denial, Denial { known: false, reasons: vec![] });
    }
}
