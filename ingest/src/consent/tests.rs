use std::fmt::Write;

use proptest::prelude::*;
use sandan_proto::id::{FirmId, SeriesKey};

use super::*;
use crate::id::ConsentId;
use crate::time::SECOND_US;

const S: i64 = SECOND_US;
/// The consents of the matrix begin and end here.
const NOT_BEFORE: i64 = 1_000 * S;
const UNTIL: i64 = 2_000 * S;

fn firm(id: &str) -> FirmId {
    FirmId::new(id).unwrap()
}

fn series(asset: &str, metric: &str) -> SeriesKey {
    SeriesKey { firm: firm("hanbit"), asset: asset.parse().unwrap(), metric: metric.parse().unwrap() }
}

fn terms(assets: &[&str], metrics: &[&str], form: SharedForm) -> Terms {
    Terms {
        version: RECORD_VERSION,
        assets: assets.iter().map(|id| id.parse().unwrap()).collect(),
        metrics: metrics.iter().map(|id| id.parse().unwrap()).collect(),
        form,
        event: EventWindow { from_us: None, to_us: None },
        access: AccessWindow { not_before_us: NOT_BEFORE, until_us: UNTIL },
    }
}

fn bucketed(floor_s: i64, functions: &[Function]) -> SharedForm {
    SharedForm::Bucketed { floor_us: floor_s * S, functions: functions.iter().copied().collect() }
}

fn consent(number: u128, terms: Terms) -> Consent {
    Consent {
        id: ConsentId::numbered(number),
        grantor: firm("hanbit"),
        grantee: firm("saesol"),
        status: Status::Active,
        terms: StoredTerms::Known(terms),
    }
}

fn snapshot(consents: Vec<Consent>) -> Snapshot {
    Snapshot { grantor: firm("hanbit"), epoch: 7, consents }
}

fn raw(asker: &str, series: SeriesKey, from: i64, to: i64) -> Request {
    let (from_us, to_us) = (from * S, to * S);
    Request { asker: firm(asker), series, form: Form::Raw, functions: BTreeSet::new(), from_us, to_us }
}

fn buckets(asker: &str, width_s: i64, functions: &[Function], from_s: i64, to_s: i64) -> Request {
    Request {
        form: Form::buckets(width_s * S),
        functions: functions.iter().copied().collect(),
        ..raw(asker, series("press-1", "press_force"), from_s, to_s)
    }
}

fn ranges(snapshot: &Snapshot, request: &Request, now_us: i64) -> Vec<(i64, i64)> {
    decide(snapshot, request, now_us).map_or_else(
        |_| Vec::new(),
        |decision| decision.permits.iter().map(|permit| (permit.from_us(), permit.to_us())).collect(),
    )
}

/// An answer as the matrix prints it, in seconds.
fn shown(answer: &Result<Decision, Denial>) -> String {
    match answer {
        Ok(decision) => {
            let mut text = "served".to_owned();
            for permit in &decision.permits {
                let _ = write!(text, " [{}, {})", permit.from_us() / S, permit.to_us() / S);
            }
            text
        }
        Err(Denial { known: false, .. }) => "not found".to_owned(),
        Err(Denial { reasons, .. }) => {
            let codes: BTreeSet<_> = reasons.iter().map(|reason| reason.why.code()).collect();
            format!("denied: {}", codes.into_iter().collect::<Vec<_>>().join(", "))
        }
    }
}

/// Every request against every set of consents, as a file that people review.
/// `SANDAN_BLESS=1` writes it anew.
#[test]
fn the_matrix_is_as_reviewed() {
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
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/consent/matrix.txt");
    if std::env::var_os("SANDAN_BLESS").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(&file).unwrap();
    for (found, wanted) in table.lines().zip(reviewed.lines()) {
        assert_eq!(found, wanted);
    }
    assert_eq!(table.len(), reviewed.len());
}

/// Days of a time zone are shared where they begin on multiples of the floor, and once they
/// are over.
#[test]
fn days_are_shared_where_the_floor_lets_them() {
    let zone = |name| Grid::Days { zone: jiff::tz::TimeZone::get(name).unwrap() };
    let hour = 3_600;
    let day = 24 * hour;
    let mut table = String::new();
    for floor in [60, hour, 3 * hour, 12 * hour, day] {
        let mut terms = terms(&["press-1"], &["press_force"], bucketed(floor, &[Function::Mean]));
        terms.access = AccessWindow { not_before_us: 0, until_us: 100 * day * S };
        let snapshot = snapshot(vec![consent(1, terms)]);
        for name in ["UTC", "Asia/Seoul", "Asia/Kolkata"] {
            let asked = buckets("saesol", 1, &[Function::Mean], day / 4, 5 * day);
            let request = Request { form: Form::Bucketed { grid: zone(name) }, ..asked };
            let answer = shown(&decide(&snapshot, &request, 4 * day * S));
            let _ = writeln!(table, "floor {:>3} min, days of {name}: {answer}", floor / 60);
        }
    }
    let wanted = "\
floor   1 min, days of UTC: served [86400, 345600)
floor   1 min, days of Asia/Seoul: served [54000, 313200)
floor   1 min, days of Asia/Kolkata: served [66600, 325800)
floor  60 min, days of UTC: served [86400, 345600)
floor  60 min, days of Asia/Seoul: served [54000, 313200)
floor  60 min, days of Asia/Kolkata: denied: resolution
floor 180 min, days of UTC: served [86400, 345600)
floor 180 min, days of Asia/Seoul: served [54000, 313200)
floor 180 min, days of Asia/Kolkata: denied: resolution
floor 720 min, days of UTC: served [86400, 345600)
floor 720 min, days of Asia/Seoul: denied: resolution
floor 720 min, days of Asia/Kolkata: denied: resolution
floor 1440 min, days of UTC: served [86400, 345600)
floor 1440 min, days of Asia/Seoul: denied: resolution
floor 1440 min, days of Asia/Kolkata: denied: resolution
";
    assert_eq!(table, wanted);
}

#[test]
fn access_windows_are_half_open_to_the_microsecond() {
    let snapshot = snapshot(vec![consent(1, terms(&["press-1"], &["press_force"], SharedForm::Raw))]);
    let request = raw("saesol", series("press-1", "press_force"), 0, 700);
    let code = |now_us| shown(&decide(&snapshot, &request, now_us));
    assert_eq!(code(NOT_BEFORE - 1), "denied: not_yet");
    assert_eq!(code(NOT_BEFORE), "served [0, 700)");
    assert_eq!(code(NOT_BEFORE + 1), "served [0, 700)");
    assert_eq!(code(UNTIL - 1), "served [0, 700)");
    assert_eq!(code(UNTIL), "denied: expired");
    assert_eq!(code(UNTIL + 1), "denied: expired");
}

#[test]
fn a_bucket_is_shared_from_the_microsecond_on_in_which_it_ended() {
    let minutes = terms(&["press-1"], &["press_force"], bucketed(60, &[Function::Mean]));
    let snapshot = snapshot(vec![consent(1, minutes)]);
    let ask = |now_us| shown(&decide(&snapshot, &buckets("saesol", 60, &[Function::Mean], 1_200, 1_800), now_us));
    assert_eq!(ask(1_260 * S - 1), "denied: unfinished");
    assert_eq!(ask(1_260 * S), "served [1200, 1260)");
    assert_eq!(ask(1_320 * S - 1), "served [1200, 1260)");
    assert_eq!(ask(1_320 * S), "served [1200, 1320)");
}

#[test]
fn event_windows_are_half_open_to_the_microsecond() {
    let event = EventWindow { from_us: Some(100), to_us: Some(200) };
    let windowed = Terms { event, ..terms(&["press-1"], &["press_force"], SharedForm::Raw) };
    let snapshot = snapshot(vec![consent(1, windowed)]);
    let ask = |from_us, to_us| {
        let request = Request { from_us, to_us, ..raw("saesol", series("press-1", "press_force"), 0, 0) };
        ranges(&snapshot, &request, 1_500 * S)
    };
    assert_eq!(ask(99, 201), [(100, 200)]);
    assert_eq!(ask(0, 100), []);
    assert_eq!(ask(0, 101), [(100, 101)]);
    assert_eq!(ask(199, 300), [(199, 200)]);
    assert_eq!(ask(200, 300), []);
}

#[test]
fn a_permit_ends_with_the_first_consent_it_rests_on_and_ones_own_never() {
    let mut later = terms(&["press-1"], &["press_force"], SharedForm::Raw);
    later.access.until_us = UNTIL + S;
    let both = vec![consent(1, terms(&["press-1"], &["press_force"], SharedForm::Raw)), consent(2, later)];
    let key = series("press-1", "press_force");
    let decision = decide(&snapshot(both), &raw("saesol", key.clone(), 0, 9), 1_500 * S).unwrap();
    assert_eq!((decision.permits[0].until_us(), decision.consents.len()), (Some(UNTIL), 2));
    let own = decide(&snapshot(vec![]), &raw("hanbit", key, 0, 9), 1_500 * S).unwrap();
    assert_eq!((own.permits[0].until_us(), own.permits[0].epoch()), (None, 7));
}

#[test]
fn a_snapshot_of_another_grantor_opens_nothing() {
    let mut snapshot = snapshot(vec![consent(1, terms(&["press-1"], &["press_force"], SharedForm::Raw))]);
    snapshot.grantor = firm("daeyang");
    let own = raw("hanbit", series("press-1", "press_force"), 0, 9);
    assert!(decide(&snapshot, &own, 1_500 * S).is_err());
}

#[test]
fn an_unknown_field_or_version_makes_the_terms_unknown() {
    let known = serde_json::to_value(terms(&["a"], &["b"], bucketed(60, &[Function::Mean]))).unwrap();
    assert!(matches!(StoredTerms::parse(&known.to_string()), StoredTerms::Known(_)));
    for (pointer, value) in [
        ("/version", serde_json::json!(2)),
        ("/purpose", "research".into()),
        ("/form/bucketed/cohort", 5.into()),
        ("/form", "benchmark".into()),
        ("/form/bucketed/functions", serde_json::json!(["mean", "median"])),
        ("/event/runs_of", "saesol".into()),
        ("/access/quota", 100.into()),
    ] {
        let mut changed = known.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[key] = value;
        assert_eq!(StoredTerms::parse(&changed.to_string()), StoredTerms::Unknown, "{pointer}");
    }
    assert_eq!(StoredTerms::parse("{}"), StoredTerms::Unknown);
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
}

prop_compose! {
    fn any_consent()(
        assets in proptest::collection::btree_set(prop_oneof!["press-1", "press-2"], 0..3),
        metrics in proptest::collection::btree_set(prop_oneof!["press_force", "stroke_count", "x_alarm"], 0..3),
        form in prop_oneof![
            Just(SharedForm::Raw),
            (0..4_i64, proptest::collection::btree_set(proptest::sample::select(&Function::ALL[..]), 0..4))
                .prop_map(|(floor, functions)| SharedForm::Bucketed { floor_us: floor * 5 * S, functions }),
        ],
        from in proptest::option::of(-50..150_i64),
        to in proptest::option::of(-50..150_i64),
        access in (0..40_i64, 0..40_i64),
        grantee in prop_oneof![4 => Just("saesol"), 1 => Just("daeyang")],
        status in prop_oneof![
            3 => Just(Status::Active),
            1 => Just(Status::Suspended { since_us: 0 }),
            1 => Just(Status::Revoked { at_us: 0 }),
        ],
        unknown in proptest::bool::weighted(0.1),
    ) -> Consent {
        let terms = Terms {
            version: RECORD_VERSION,
            assets: assets.iter().map(|id| id.parse().unwrap()).collect(),
            metrics: metrics.iter().map(|id| id.parse().unwrap()).collect(),
            form,
            event: EventWindow { from_us: from.map(|s| s * S), to_us: to.map(|s| s * S) },
            access: AccessWindow { not_before_us: access.0 * S, until_us: access.1 * S },
        };
        Consent {
            id: ConsentId::random(),
            grantor: firm("hanbit"),
            grantee: firm(grantee),
            status,
            terms: if unknown { StoredTerms::Unknown } else { StoredTerms::Known(terms) },
        }
    }
}

prop_compose! {
    fn any_request()(
        asset in prop_oneof!["press-1", "press-2"],
        metric in prop_oneof!["press_force", "stroke_count", "x_alarm"],
        width in proptest::option::of(1..5_i64),
        functions in proptest::collection::btree_set(proptest::sample::select(&Function::ALL[..]), 0..3),
        from in -60..160_i64,
        length in 0..160_i64,
    ) -> Request {
        Request {
            asker: firm("saesol"),
            series: series(&asset, &metric),
            form: width.map_or(Form::Raw, |width| Form::buckets(width * 5 * S)),
            functions: if width.is_some() { functions } else { BTreeSet::new() },
            from_us: from * S,
            to_us: (from + length) * S,
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

/// The smallest cells of an answer.
fn cells(snapshot: &Snapshot, request: &Request, now_us: i64) -> BTreeSet<i64> {
    let step = step(&request.form);
    let mut cells = BTreeSet::new();
    for (from, to) in ranges(snapshot, request, now_us) {
        let mut at = from;
        while at < to {
            cells.insert(at);
            at += step;
        }
    }
    cells
}

/// Whether one consent covers a cell, said anew and as plainly as possible.
fn covered(consent: &Consent, request: &Request, cell: i64, now_us: i64) -> bool {
    let StoredTerms::Known(terms) = &consent.terms else { return false };
    let (form_fits, end) = match (&terms.form, &request.form) {
        (SharedForm::Raw, Form::Raw) => (true, cell + 1),
        (_, Form::Bucketed { grid: Grid::Days { .. } }) => panic!("the requests here are of one width"),
        (SharedForm::Raw, Form::Bucketed { grid: Grid::Fixed { width_us } }) => (true, cell + width_us),
        (SharedForm::Bucketed { .. }, Form::Raw) => (false, cell + 1),
        (SharedForm::Bucketed { floor_us, functions }, Form::Bucketed { grid: Grid::Fixed { width_us } }) => {
            let multiple = *floor_us > 0 && width_us % floor_us == 0;
            let over = cell + width_us <= now_us;
            (multiple && over && request.functions.is_subset(functions), cell + width_us)
        }
    };
    consent.status == Status::Active
        && consent.grantee == request.asker
        && terms.assets.contains(&request.series.asset)
        && terms.metrics.contains(&request.series.metric)
        && !request.series.metric.as_str().starts_with("x_")
        && terms.access.not_before_us <= now_us
        && now_us < terms.access.until_us
        && form_fits
        && terms.event.from_us.is_none_or(|from| from <= cell)
        && terms.event.to_us.is_none_or(|to| end <= to)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// No answer without a covering consent, and every cell that one covers is served.
    #[test]
    fn a_cell_is_served_exactly_when_one_consent_covers_it(
        consents in proptest::collection::vec(any_consent(), 0..4), request in any_request(), now_s in 0..40_i64,
    ) {
        let snapshot = snapshot(consents);
        let now_us = now_s * S;
        let served = cells(&snapshot, &request, now_us);
        let asks_nothing = request.form != Form::Raw && request.functions.is_empty();
        let step = step(&request.form);
        if let Some((from, to)) = align(&request.form, request.from_us, request.to_us) {
            let mut at = from;
            while at < to {
                let by_one = !asks_nothing && snapshot.consents.iter().any(|c| covered(c, &request, at, now_us));
                prop_assert_eq!(served.contains(&at), by_one, "cell {}", at / S);
                at += step;
            }
        }
        prop_assert!(served.iter().all(|cell| request.from_us <= *cell && cell + step <= request.to_us));
    }

    #[test]
    fn a_further_consent_never_reduces_and_suspending_or_revoking_never_enlarges(
        consents in proptest::collection::vec(any_consent(), 0..4), further in any_consent(),
        request in any_request(), now_s in 0..40_i64,
    ) {
        let before = cells(&snapshot(consents.clone()), &request, now_s * S);
        let mut more = consents.clone();
        more.push(further);
        prop_assert!(before.is_subset(&cells(&snapshot(more.clone()), &request, now_s * S)));
        for at in 0..more.len() {
            for status in [Status::Suspended { since_us: 0 }, Status::Revoked { at_us: 0 }] {
                let mut fewer = more.clone();
                fewer[at].status = status;
                let after = cells(&snapshot(fewer), &request, now_s * S);
                prop_assert!(after.is_subset(&cells(&snapshot(more.clone()), &request, now_s * S)));
            }
        }
    }

    /// Whoever was never named learns nothing, not even that there is something.
    #[test]
    fn strangers_cannot_tell_a_series_from_none(
        consents in proptest::collection::vec(any_consent(), 0..4), request in any_request(), now_s in 0..40_i64,
    ) {
        let request = Request { asker: firm("stranger"), ..request };
        let denial = decide(&snapshot(consents), &request, now_s * S).unwrap_err();
        prop_assert_eq!(denial, Denial { known: false, reasons: vec![] });
    }
}
