//! The reference itself, by examples.

use super::*;

fn more() -> More {
    More {
        dictionary: 1,
        is_named: true,
        is_competitor: false,
        age_us: 0,
        runs_of: None,
        late: true,
        purposes: vec![Purpose::Quality],
        quota: None,
        return_by: 9_000,
    }
}

fn paper() -> Paper {
    Paper {
        assets: vec![0],
        metrics: vec![0],
        shared: Shared::Raw,
        event: (Some(100), Some(200)),
        access: (1_000, 9_000),
        more: None,
    }
}

/// Nothing, then this from 1,000 to 1,100 on, then nothing from 5,000 to 5,100 on.
fn deal(paper: Paper, mark: Option<Mark>) -> Deal {
    let mut states = Timeline::new(State { paper: None, mark: None, stands: false });
    states.begin(1_000, State { paper: Some(paper.clone()), mark, stands: true });
    states.done(1_100);
    states.begin(5_000, State { paper: Some(paper), mark, stands: false });
    states.done(5_100);
    Deal { id: "c".into(), reader: Reader::Firm(1), states, spent: (0, 0) }
}

fn book(deal: Deal) -> Book {
    let house = House::default();
    let alliance = Alliance { house: house.clone(), sensitive: (10, 0, vec![Function::Mean]), forbidden: Vec::new() };
    Book {
        deals: vec![deal],
        house: Timeline::new(house),
        runs: Timeline::new(Vec::new()),
        alliance: Timeline::new(alliance),
        groups: vec![Timeline::new(Group { are_competitors: false, rosters: vec![vec![0, 1]] })],
        deliveries: Vec::new(),
        sensitive: 2,
    }
}

fn question() -> Question {
    Question {
        asker: 1,
        owner: 0,
        asset: 0,
        metric: 0,
        bucket: None,
        from_us: 0,
        to_us: 400,
        purpose: Some(Purpose::Quality),
        called: Called::Name,
    }
}

fn asked(width: i64, functions: &[Function]) -> Question {
    Question { bucket: Some((width, functions.to_vec())), ..question() }
}

#[test]
fn a_cell_is_judged_by_one_consent_and_by_when_it_was_in_force() {
    let (book, it) = (book(deal(paper(), None)), question());
    for (cell, when, may, must) in [
        ((100, 100), (2_000, 2_001), true, true),
        ((99, 99), (2_000, 2_001), false, false),
        ((200, 200), (2_000, 2_001), false, false),
        // While it is granted and while it is revoked both is right.
        ((100, 100), (1_050, 1_060), true, false),
        ((100, 100), (4_999, 5_001), true, false),
        ((100, 100), (5_101, 5_102), false, false),
        ((100, 100), (900, 999), false, false),
    ] {
        assert_eq!(!book.may(&it, cell, when).is_empty(), may, "{cell:?} {when:?}");
        assert_eq!(book.must(&it, cell, when).is_some(), must, "{cell:?} {when:?}");
    }
    assert!(book.may_be_ended(&it, (4_999, 5_001)) && !book.may_be_ended(&it, (2_000, 3_000)));
    assert_eq!(book.lateness_us(&it, (100, 100), (5_600, 5_700)), Some(500));
    assert_eq!(book.lateness_us(&it, (100, 100), (5_050, 5_700)), None);
    assert_eq!(book.lateness_us(&it, (300, 300), (5_600, 5_700)), Some(i64::MAX));
    // It is known for good, once there was one.
    assert!(book.is_known(&it, (6_000, 6_001)) && !book.may_be_known(&it, (10, 20)));
    assert!(!book.may_be_known(&Question { metric: 1, ..it }, (2_000, 2_001)));
}

#[test]
fn buckets_are_whole_old_enough_and_of_every_floor() {
    let shared = Shared::Bucketed(10, vec![Function::Mean]);
    let it = asked(20, &[Function::Mean]);
    let of = |paper: Paper| book(deal(paper, None));
    let old = of(Paper { shared: shared.clone(), more: Some(More { age_us: 1_900, ..more() }), ..paper() });
    let is = |book: &Book, it: &Question, cell, now| book.must(it, cell, (now, now)).is_some();
    assert!(is(&old, &it, (180, 200), 2_100) && !is(&old, &it, (180, 200), 2_099));
    let young = of(Paper { shared, more: Some(more()), ..paper() });
    assert!(!is(&young, &it, (190, 210), 2_000) && !is(&young, &it, (90, 110), 2_000));
    assert!(!is(&young, &asked(15, &[Function::Mean]), (105, 120), 2_000));
    assert!(!is(&young, &asked(20, &[Function::Max]), (100, 120), 2_000));
    assert!(!is(&young, &Question { purpose: None, ..it.clone() }, (100, 120), 2_000));
    assert!(!is(&young, &question(), (150, 150), 2_000));
    let mut ruled = young.clone();
    ruled.house = Timeline::new(House { floor_us: Some(40), age_us: 0 });
    assert!(is(&young, &it, (100, 120), 2_000) && !is(&ruled, &it, (100, 120), 2_000));
    assert!(is(&ruled, &asked(40, &[Function::Mean]), (120, 160), 2_000));
    assert_eq!(it.cells((0, 100), 1), [(0, 20), (20, 40), (40, 60), (60, 80), (80, 100)]);
    assert_eq!(Question { from_us: 1, to_us: 3, ..question() }.cells((0, 100), 1), [(1, 1), (2, 2)]);
}

#[test]
fn names_groups_runs_quotas_and_late_readings_are_told_apart() {
    let when = (2_000, 2_001);
    let is = |book: &Book, it: &Question| book.must(it, (150, 150), when).is_some();
    let of = |change: &dyn Fn(&mut More)| {
        let mut more = more();
        change(&mut more);
        book(deal(Paper { more: Some(more), ..paper() }, Some(Mark { at: (1_000, 1_100), deliveries: (1, 2) })))
    };
    let it = question();
    assert!(is(&of(&|_| ()), &it));
    let veiled = of(&|more| more.is_named = false);
    assert!(!is(&veiled, &it) && !veiled.may_be_known(&it, when));
    assert!(is(&veiled, &Question { called: Called::Pseudonym("c".into()), ..it.clone() }));
    assert!(!is(&veiled, &Question { called: Called::Pseudonym("d".into()), ..it.clone() }));
    assert!(!is(&of(&|more| more.dictionary = 2), &it));
    let mut spent = of(&|more| more.quota = Some(10));
    assert!(is(&spent, &it) && !spent.may_be_used_up(when));
    spent.deals[0].spent.1 = 11;
    assert!(!is(&spent, &it) && spent.may_be_used_up(when));
    // Before its mark, no more than two late deliveries; behind, all.
    let mut late = of(&|more| more.late = false);
    late.deliveries = vec![(10, Some(20)), (1_050, Some(1_060)), (1_500, Some(1_600))];
    assert_eq!(late.may(&it, (150, 150), when), [1, 2]);
    assert_eq!(late.must(&it, (150, 150), when), Some(1));
    late.deals[0].states = deal(
        Paper { event: (None, None), more: Some(More { late: false, ..more() }), ..paper() },
        Some(Mark { at: (120, 130), deliveries: (1, 2) }),
    )
    .states;
    assert_eq!(late.may(&it, (150, 150), when), [3]);
    // One run, and not two that touch; and none that goes on.
    let mut runs = of(&|more| more.runs_of = Some(1));
    assert!(!is(&runs, &it));
    let run = |from, to| Run { asset: 0, customer: 1, from, to };
    runs.runs = Timeline::new(vec![run(140, Some(151)), run(151, None), run(151, Some(2_500))]);
    assert!(is(&runs, &it) && runs.must(&it, (151, 151), when).is_none());
    // A group: who joined is not in, and who left is out.
    let mut group = of(&|_| ());
    group.deals[0].reader = Reader::Group(0, 1);
    assert!(is(&group, &it) && !is(&group, &Question { asker: 2, ..it.clone() }));
    group.groups[0].begin(1_990, Group { are_competitors: false, rosters: vec![vec![0, 1], vec![0, 2]] });
    assert!(!is(&group, &it) && !group.may(&it, (150, 150), when).is_empty());
    group.groups[0].done(1_999);
    assert!(group.may(&it, (150, 150), when).is_empty());
    assert!(group.may(&Question { asker: 2, ..it }, (150, 150), when).is_empty());
}
