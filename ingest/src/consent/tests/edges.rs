//! Edges that the specification lists, as far as they are decided here. docs/consent.md names
//! the test of each; this file also looks that each named test is there.

use super::*;
use crate::time::{DAY_US, HOUR_US, parse_time};

fn us(text: &str) -> i64 {
    parse_time(text, 0).unwrap()
}

/// Open for a year, from the beginning of 2026 in Seoul.
fn of_2026(terms: Terms) -> Terms {
    let (from, to) = (us("2026-01-01T00:00:00+09:00"), us("2027-01-01T00:00:00+09:00"));
    Terms { access: AccessWindow { not_before_us: from, until_us: to }, ..terms }
}

fn between(form: Form, from: &str, to: &str) -> Request {
    let functions = if form == Form::Raw { BTreeSet::new() } else { [Function::Mean].into() };
    Request { form, functions, from_us: us(from), to_us: us(to), ..kept(raw("saesol", press(), 0, 0)) }
}

fn days_of_seoul() -> Form {
    Form::Bucketed { grid: Grid::Days { zone: jiff::tz::TimeZone::get("Asia/Seoul").unwrap() } }
}

#[test]
fn a_window_that_ends_at_midnight_in_seoul_holds_that_day_and_not_a_microsecond_of_the_next() {
    let midnight = us("2026-03-03T00:00:00+09:00");
    let until = |to_us| {
        let mut terms = of_2026(terms(&["press-1"], &["press_force"], SharedForm::Raw));
        terms.event.to_us = Some(to_us);
        under(vec![grant(1, terms)], Rules::default())
    };
    let asked = |form| between(form, "2026-03-02T00:00:00+09:00", "2026-03-04T00:00:00+09:00");
    let now = us("2026-06-01T00:00:00Z");
    let day = vec![(us("2026-03-02T00:00:00+09:00"), midnight)];
    assert_eq!(ranges(&until(midnight), &asked(days_of_seoul()), now), day);
    assert_eq!(ranges(&until(midnight), &asked(Form::Raw), now), day);
    // A microsecond less, and the day straddles the edge.
    assert_eq!(ranges(&until(midnight - 1), &asked(days_of_seoul()), now), []);
    assert_eq!(ranges(&until(midnight - 1), &asked(Form::Raw), now), [(day[0].0, midnight - 1)]);
    assert_eq!(ranges(&until(midnight + 1), &asked(days_of_seoul()), now), day);
    // A day of UTC is another one: both of those that touch it reach over an edge.
    let utc = Form::buckets(DAY_US);
    assert_eq!(ranges(&until(midnight), &asked(utc), now), []);
}

#[test]
fn an_access_window_ends_at_midnight_in_seoul_to_the_microsecond() {
    let snapshot = under(vec![grant(1, of_2026(full(SharedForm::Raw, |_| {})))], Rules::default());
    let asked = between(Form::Raw, "2026-03-02T00:00:00+09:00", "2026-03-03T00:00:00+09:00");
    let midnight = us("2026-12-31T15:00:00Z");
    assert_eq!(shown(&decide(&snapshot, &asked, midnight)), "denied: expired");
    assert_eq!(ranges(&snapshot, &asked, midnight - 1).len(), 1);
    let begins = us("2025-12-31T15:00:00Z");
    assert_eq!(shown(&decide(&snapshot, &asked, begins - 1)), "denied: not_yet");
    assert_eq!(ranges(&snapshot, &asked, begins).len(), 1);
}

#[test]
fn a_clock_that_steps_back_brings_nothing_back() {
    let mut snapshot = under(vec![grant(1, full(SharedForm::Raw, |_| {}))], Rules::default());
    let asked = kept(raw("saesol", press(), 0, 700));
    assert_eq!(ranges(&snapshot, &asked, UNTIL - 1).len(), 1);
    snapshot.newest_us = UNTIL;
    assert_eq!(shown(&decide(&snapshot, &asked, UNTIL - 1)), "denied: expired");
    // Nor does it take away what is old enough already.
    let old = full(SharedForm::Raw, |it| it.minimum_age_us = 900 * S);
    let mut snapshot = under(vec![grant(1, old)], Rules::default());
    snapshot.newest_us = NOW;
    assert_eq!(ranges(&snapshot, &asked, NOT_BEFORE), [(0, 600 * S)]);
}

#[test]
fn raw_and_bucketed_consents_overlap_and_none_lends_the_other_anything() {
    let event = |from: i64, to: i64, form| {
        let event = EventWindow { from_us: Some(from * S), to_us: Some(to * S) };
        Terms { event, ..full(form, |_| {}) }
    };
    let grants =
        vec![grant(1, event(0, 330, SharedForm::Raw)), grant(2, event(240, 700, bucketed(60, &[Function::Mean])))];
    let snapshot = under(grants, Rules::default());
    let ask = |request| shown(&decide(&snapshot, &kept(request), NOW));
    assert_eq!(ask(raw("saesol", press(), 0, 700)), "served [0, 330)");
    assert_eq!(ask(buckets("saesol", 60, &[Function::Mean], 0, 700)), "served [0, 660)");
    assert_eq!(ask(buckets("saesol", 60, &[Function::Max], 0, 700)), "served [0, 300)", "the raw one covers maxima");
    assert_eq!(ask(buckets("saesol", 30, &[Function::Mean], 0, 700)), "served [0, 330)");
    // The bucket [300, 360) is half of one and wholly of the other.
    assert_eq!(ask(buckets("saesol", 60, &[Function::Mean], 300, 360)), "served [300, 360)");
    let asset = |number, asset: &str, form| {
        grant(number, Terms { assets: [asset.parse().unwrap()].into(), ..full(form, |_| {}) })
    };
    let grants = vec![asset(1, "press-2", SharedForm::Raw), asset(2, "press-1", bucketed(60, &[Function::Mean]))];
    let snapshot = under(grants, Rules::default());
    let answer = decide(&snapshot, &kept(raw("saesol", press(), 0, 700)), NOW);
    assert_eq!(shown(&answer), "denied: raw_not_shared", "never the machine of one with the form of the other");
}

#[test]
fn a_decision_after_a_revocation_knows_nothing_of_the_one_before() {
    let mut grants =
        vec![grant(1, full(SharedForm::Raw, |_| {})), grant(2, full(bucketed(60, &[Function::Mean]), |_| {}))];
    let asked = kept(raw("saesol", press(), 0, 700));
    let before = decide(&under(grants.clone(), Rules::default()), &asked, NOW).unwrap();
    assert_eq!(before.permits[0].epoch(), 7);
    grants[0].status = Status::Revoked { at_us: NOW };
    let after = Snapshot::of(firm("hanbit"), 8, grants, Rules::default());
    assert_eq!(shown(&decide(&after, &asked, NOW)), "denied: raw_not_shared, revoked");
    let coarser = decide(&after, &kept(buckets("saesol", 60, &[Function::Mean], 0, 700)), NOW).unwrap();
    assert_eq!((coarser.permits[0].epoch(), coarser.consents.len()), (8, 1));
}

#[test]
fn readings_that_arrive_late_are_told_from_the_others_by_their_commit() {
    let none = |it: &mut Agreed| it.late_data = false;
    let marked = |at_us| Grant { mark: Some(Mark { at_us, commit: 40 }), ..grant(1, full(SharedForm::Raw, none)) };
    let permits = |at_us| {
        let snapshot = under(vec![marked(at_us)], Rules::default());
        let decision = decide(&snapshot, &kept(raw("saesol", press(), 0, 700)), NOW).unwrap();
        let shown = |it: &Permit| (it.from_us(), it.to_us(), it.through_commit());
        decision.permits.iter().map(shown).collect::<Vec<_>>()
    };
    let end = 700 * S;
    assert_eq!(permits(300 * S), [(0, 300 * S, Some(40)), (300 * S, end, None)]);
    assert_eq!(permits(0), [(0, end, None)], "everything is later than the approval");
    assert_eq!(permits(1), [(0, 1, Some(40)), (1, end, None)]);
    assert_eq!(permits(end), [(0, end, Some(40))]);
    assert_eq!(permits(end - 1), [(0, end - 1, Some(40)), (end - 1, end, None)]);
}

fn moulds(rosters: &[&[&str]]) -> Rules {
    let roster = |firms: &&[&str]| firms.iter().map(|id| firm(id)).collect();
    let rosters = (1..).zip(rosters.iter().map(roster)).collect();
    let moulds = Group { kind: GroupKind::ValueChain, coordinator: firm("hanbit"), rosters };
    Rules { groups: [(group("moulds"), moulds)].into(), ..Rules::default() }
}

fn group_grant(roster: u32) -> Grant {
    Grant { grantee: Grantee::Group { group: group("moulds"), roster }, ..grant(1, full(SharedForm::Raw, |_| {})) }
}

#[test]
fn a_firm_that_joins_a_group_in_the_middle_of_a_window_is_not_let_in_and_one_that_leaves_is_out() {
    let ask = |rosters: &[&[&str]], agreed, asker: &str| {
        let snapshot = under(vec![group_grant(agreed)], moulds(rosters));
        let answer = shown(&decide(&snapshot, &kept(raw(asker, press(), 0, 700)), NOW));
        let indexed = snapshot.indexed();
        assert_eq!(answer, shown(&decide(&indexed, &kept(raw(asker, press(), 0, 700)), NOW)));
        answer
    };
    let (served, nothing) = ("served [0, 700)", "not found");
    assert_eq!(ask(&[&["saesol"]], 1, "saesol"), served);
    assert_eq!(ask(&[&["saesol"], &["saesol", "daeyang"]], 1, "daeyang"), nothing);
    assert_eq!(ask(&[&["saesol"], &["saesol", "daeyang"]], 1, "saesol"), served);
    assert_eq!(ask(&[&["saesol"], &["saesol", "daeyang"]], 2, "daeyang"), served, "agreed to anew");
    assert_eq!(ask(&[&["saesol", "daeyang"], &["daeyang"]], 1, "saesol"), nothing);
    assert_eq!(ask(&[&["saesol"], &[], &["saesol"]], 1, "saesol"), nothing, "whoever comes back is new");
}

#[test]
fn an_empty_group_reaches_nobody_and_neither_does_a_roster_to_come() {
    let cases: [(&[&[&str]], u32); 4] = [(&[], 1), (&[&[]], 1), (&[&["saesol"]], 2), (&[&["saesol"]], 0)];
    for (rosters, agreed) in cases {
        let snapshot = under(vec![group_grant(agreed)], moulds(rosters));
        let answer = decide(&snapshot, &kept(raw("saesol", press(), 0, 700)), NOW);
        assert_eq!(shown(&answer), "not found", "{rosters:?}, {agreed}");
    }
}

#[test]
fn a_merged_firm_neither_reads_nor_is_read_and_its_successor_is_another_firm() {
    let asked = |asker| kept(raw(asker, press(), 0, 700));
    let grants = || vec![grant(1, full(SharedForm::Raw, |_| {}))];
    // saesol was merged into daeyang.
    let closed = |id| Rules { closed: [firm(id)].into(), ..Rules::default() };
    let snapshot = under(grants(), closed("saesol"));
    for asker in ["saesol", "daeyang"] {
        assert_eq!(shown(&decide(&snapshot, &asked(asker), NOW)), "not found", "{asker}");
    }
    // hanbit was merged: whoever keeps its data reads it, and nobody else.
    let snapshot = under(grants(), closed("hanbit"));
    assert_eq!(shown(&decide(&snapshot, &asked("saesol"), NOW)), "not found");
    assert_eq!(shown(&decide(&snapshot, &asked("hanbit"), NOW)), "served [0, 700)");
}

#[test]
fn a_metric_that_is_renamed_changes_its_unit_or_gets_anothers_id_is_not_what_was_agreed_to() {
    let ask = |dictionary: &Dictionary, agreed: u32, metric: &str| {
        let terms = full(SharedForm::Raw, |it| it.dictionary = agreed);
        let rules = Rules { dictionary: Some(dictionary.clone()), ..Rules::default() };
        let request = kept(raw("saesol", series("press-1", metric), 0, 700));
        shown(&decide(&under(vec![grant(1, terms)], rules), &request, NOW))
    };
    let listed = |metrics: &[(&str, u32)]| Dictionary {
        version: 5,
        metrics: metrics
            .iter()
            .map(|(id, since)| (id.parse().unwrap(), Meaning { class: Class::Condition, since: *since }))
            .collect(),
    };
    let same = listed(&[("press_force", 1)]);
    assert_eq!(ask(&same, 1, "press_force"), "served [0, 700)");
    assert_eq!(ask(&same, 5, "press_force"), "served [0, 700)");
    assert_eq!(ask(&same, 6, "press_force"), "denied: meaning", "agreed under a dictionary to come");
    // Renamed: the new id was not named, and the old one is not there any more.
    let renamed = listed(&[("forming_force", 4)]);
    assert_eq!(ask(&renamed, 1, "press_force"), "denied: meaning");
    assert_eq!(ask(&renamed, 1, "forming_force"), "not found");
    // Another unit, or the id given to something else, in version 4.
    let changed = listed(&[("press_force", 4)]);
    assert_eq!(ask(&changed, 3, "press_force"), "denied: meaning");
    assert_eq!(ask(&changed, 4, "press_force"), "served [0, 700)", "agreed to as it is now");
}

#[test]
fn a_customer_gets_the_curve_of_his_charge_and_not_one_microsecond_more() {
    let run =
        |from_us, to_us| Run { asset: "press-1".parse().unwrap(), customer: "대한기계".to_owned(), from_us, to_us };
    let ask = |runs: Vec<Run>, form: SharedForm, request: Request| {
        let terms = full(form, |it| it.runs_of = Some("대한기계".to_owned()));
        let rules = Rules { runs, ..Rules::default() };
        ranges(&under(vec![grant(1, terms)], rules), &kept(request), NOW)
    };
    let raw_asked = || raw("saesol", press(), 0, 700);
    assert_eq!(ask(vec![run(101, Some(203))], SharedForm::Raw, raw_asked()), [(101, 203)]);
    // While it goes on nobody knows its end.
    assert_eq!(ask(vec![run(101, None)], SharedForm::Raw, raw_asked()), []);
    // Nor is an end that is put down before its time one yet.
    let (soon, done) = (run(101, Some(NOW + 1)), run(101, Some(NOW)));
    assert_eq!(ask(vec![soon], SharedForm::Raw, raw_asked()), []);
    assert_eq!(ask(vec![done], SharedForm::Raw, raw_asked()), [(101, 700 * S)]);
    assert_eq!(ask(vec![run(203, Some(101))], SharedForm::Raw, raw_asked()), [], "ended before it began");
    // Charges that touch are one curve; minutes lie wholly in it.
    let runs = || vec![run(30 * S, Some(90 * S)), run(90 * S, Some(200 * S))];
    assert_eq!(ask(runs(), SharedForm::Raw, raw_asked()), [(30 * S, 200 * S)]);
    let minutes = buckets("saesol", 60, &[Function::Mean], 0, 700);
    let whole = ask(runs(), bucketed(60, &[Function::Mean]), minutes);
    assert_eq!(whole, [(120 * S, 180 * S)], "a minute of two charges is in neither");
}

#[test]
fn a_minimum_age_holds_to_the_microsecond_and_a_bucket_is_as_young_as_its_end() {
    let old = |form| under(vec![grant(1, full(form, |it| it.minimum_age_us = HOUR_US / 60))], Rules::default());
    let minute = 60 * S;
    let at = |now_us| ranges(&old(SharedForm::Raw), &kept(raw("saesol", press(), 1_200, 1_600)), now_us);
    assert_eq!(at(1_200 * S + minute), []);
    assert_eq!(at(1_200 * S + minute + 1), [(1_200 * S, 1_200 * S + 1)]);
    let minutes = || kept(buckets("saesol", 60, &[Function::Mean], 1_200, 1_600));
    let at = |now_us| ranges(&old(bucketed(60, &[Function::Mean])), &minutes(), now_us);
    assert_eq!(at(1_260 * S + minute - 1), []);
    assert_eq!(at(1_260 * S + minute), [(1_200 * S, 1_260 * S)]);
}

#[test]
fn a_pseudonym_is_of_one_consent_and_leads_to_no_other() {
    let hidden = |number, from: i64, to: i64| {
        let event = EventWindow { from_us: Some(from * S), to_us: Some(to * S) };
        grant(number, Terms { event, ..full(SharedForm::Raw, |it| it.identity = Identity::Pseudonym) })
    };
    let snapshot = under(vec![hidden(1, 0, 100), hidden(2, 50, 200)], Rules::default());
    let by = |number| {
        let mut request = kept(raw("saesol", press(), 0, 700));
        request.manner.address = Address::Pseudonym(ConsentId::numbered(number));
        shown(&decide(&snapshot, &request, NOW))
    };
    assert_eq!(by(1), "served [0, 100)");
    assert_eq!(by(2), "served [50, 200)");
    assert_eq!(by(3), "not found");
    assert_eq!(shown(&decide(&snapshot, &kept(raw("saesol", press(), 0, 700)), NOW)), "not found");
}

#[test]
fn a_rehearsal_shows_the_grantor_alone_what_a_draft_would_show() {
    let draft =
        Grant { status: Status::Suspended { since_us: 0 }, ..grant(9, full(bucketed(60, &[Function::Mean]), |_| {})) };
    // What is in force already does not count.
    let snapshot = under(vec![grant(1, full(SharedForm::Raw, |_| {}))], Rules::default());
    let asked = kept(buckets("saesol", 60, &[Function::Mean], 0, 700));
    let seen = |by| rehearse(&snapshot, &draft, &asked, &firm(by), NOW).map(|answer| shown(&answer));
    assert_eq!(seen("hanbit").as_deref(), Some("served [0, 660)"));
    assert_eq!(seen("saesol"), None);
    let raw_asked = kept(raw("saesol", press(), 0, 700));
    let refused = rehearse(&snapshot, &draft, &raw_asked, &firm("hanbit"), NOW).map(|answer| shown(&answer));
    assert_eq!(refused.as_deref(), Some("denied: raw_not_shared"));
}

/// The table of docs/consent.md, in both languages: every edge names a test that is there.
#[test]
fn every_edge_of_the_page_names_a_test_that_is_there() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let named = |page: &str| {
        let text = std::fs::read_to_string(root.join("docs").join(page)).unwrap();
        let (_, rows) = text.split_once("| --- | --- | --- |\n").unwrap();
        let rows = rows.lines().take_while(|line| line.starts_with('|'));
        let cell = |line: &str| line.split('|').nth(2).unwrap().trim().to_owned();
        rows.map(cell).collect::<Vec<_>>()
    };
    let tests = named("consent.md");
    assert!(tests.len() > 20, "{}", tests.len());
    assert_eq!(tests, named("consent.ko.md"), "both languages name the same tests in the same order");
    let sources = sources(&root);
    for test in tests.iter().flat_map(|cell| cell.split(", ")) {
        let name = test.trim_matches('`');
        // What is not decided yet says so in its place.
        let there = name == "—" || sources.iter().any(|text| text.contains(&format!("fn {name}")));
        assert!(there, "there is no test `{name}`");
    }
}

fn sources(root: &std::path::Path) -> Vec<String> {
    let mut dirs = vec![root.join("ingest/src"), root.join("ingest/tests"), root.join("tests/e2e")];
    let mut texts = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}
