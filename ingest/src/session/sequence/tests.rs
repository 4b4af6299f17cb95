use proptest::prelude::*;

use super::*;

#[test]
fn a_record_follows_or_is_a_duplicate_or_is_ahead() {
    let mut lane = Lane::new(5);
    assert_eq!(lane.check(6, 6), Verdict::Take);
    lane.take(6);
    assert_eq!(lane.check(5, 5), Verdict::Duplicate);
    assert_eq!(lane.check(6, 6), Verdict::InFlight);
    assert!(lane.synced(6));
    assert_eq!(lane.check(6, 6), Verdict::Duplicate);
    assert_eq!(lane.check(9, 9), Verdict::Ask(7));
}

#[test]
fn a_gap_is_taken_when_it_covers_what_follows() {
    let mut lane = Lane::new(5);
    assert_eq!(lane.check(3, 5), Verdict::Duplicate);
    assert_eq!(lane.check(3, 6), Verdict::Take);
    assert_eq!(lane.check(6, 90), Verdict::Take);
    assert_eq!(lane.check(7, 90), Verdict::Ask(6));
}

#[test]
fn a_missing_record_is_asked_for_once() {
    let mut lane = Lane::new(0);
    assert_eq!(lane.check(2, 2), Verdict::Ask(1));
    assert_eq!(lane.check(3, 3), Verdict::Ignore);
    assert_eq!(lane.check(1, 1), Verdict::Take);
    lane.take(1);
    assert_eq!(lane.check(3, 3), Verdict::Ask(2));
}

#[test]
fn refusals_are_counted_for_one_record() {
    let mut lane = Lane::new(0);
    assert_eq!((lane.refuse(), lane.refuse()), (1, 2));
    lane.take(1);
    assert_eq!(lane.refuse(), 1);
}

proptest! {
    /// Whatever order a gateway sends and the store syncs in: every sequence is taken once,
    /// in order, and nothing beyond what was taken is called durable.
    #[test]
    fn each_sequence_is_taken_once_and_in_order(
        start in 0u64..5,
        steps in prop::collection::vec((0u64..20, 0u64..3, any::<bool>()), 0..200),
    ) {
        let mut lane = Lane::new(start);
        let mut taken = start;
        let mut synced = start;
        for (first, more, sync) in steps {
            let (first, last) = (first.max(1), first.max(1) + more);
            match lane.check(first, last) {
                Verdict::Take => {
                    prop_assert!(first <= taken + 1 && last > taken);
                    lane.take(last);
                    taken = last;
                }
                Verdict::Duplicate => prop_assert!(last <= synced),
                Verdict::InFlight => prop_assert!(last > synced && last <= taken),
                Verdict::Ask(next) => prop_assert_eq!(next, taken + 1),
                Verdict::Ignore => prop_assert!(first > taken + 1),
            }
            if sync {
                prop_assert_eq!(lane.synced(taken), taken > synced);
                synced = taken;
            }
            prop_assert_eq!(lane.durable_through(), synced);
        }
    }
}
