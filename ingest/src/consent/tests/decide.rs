use super::*;

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
    let raw_press = terms(&["press-1"], &["press_force"], SharedForm::Raw);
    let snapshot = Snapshot::new(firm("daeyang"), 7, vec![consent(1, raw_press)]);
    let own = raw("hanbit", series("press-1", "press_force"), 0, 9);
    assert!(decide(&snapshot, &own, 1_500 * S).is_err());
}
