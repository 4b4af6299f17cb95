use proptest::prelude::*;

use super::*;
use crate::access::fixture::force;

/// From, to, through, the number of the consent whose quota it uses up.
type Short = (i64, i64, Option<u64>, Option<usize>);

prop_compose! {
    fn any_permits()(
        permits in proptest::collection::vec(
            (0_i64..10, 1_i64..8, prop_oneof![2 => Just(None), 3 => (0_u64..6).prop_map(Some)], proptest::option::weighted(0.4, 0_usize..3)),
            0..6,
        ),
    ) -> Vec<Short> {
        let mut permits: Vec<_> = permits.into_iter().map(|(from, length, through, quota)| (from, from + length, through, quota)).collect();
        permits.sort_unstable_by_key(|permit| permit.0);
        permits
    }
}

fn consents() -> [ConsentId; 3] {
    std::array::from_fn(|_| ConsentId::random())
}

fn permits(form: &Form, step: i64, short: &[Short], consents: &[ConsentId; 3]) -> Vec<Permit> {
    let of = |&(from, to, through, quota): &Short| {
        let quota = quota.map(|number| (consents[number], 10));
        Permit::for_test(vec![force()], form.clone(), from * step, to * step).bound(through, quota)
    };
    short.iter().map(of).collect()
}

/// Those that cover a time, and a commit.
fn covering(short: &[Short], at: i64, commit: u64) -> impl Iterator<Item = &Short> {
    let covers = move |it: &&Short| (it.0..it.1).contains(&at) && it.2.is_none_or(|through| commit <= through);
    short.iter().filter(covers)
}

/// The highest commit that is covered at a time, of which all up to 9 are looked at.
fn widest(short: &[Short], at: i64) -> Option<u64> {
    (0..=9).rev().find(|commit| covering(short, at, *commit).next().is_some())
}

proptest! {
    #[test]
    fn a_reading_is_handed_on_where_a_permit_covers_it_and_for_nothing_where_one_is_free(short in any_permits()) {
        let ids = consents();
        let stretches = Stretch::cut(permits(&Form::Raw, 1, &short, &ids));
        for two in stretches.windows(2) {
            prop_assert!(two[0].to_us <= two[1].from_us);
        }
        for at in -1..20 {
            let here: Vec<_> = stretches.iter().filter(|it| (it.from_us..it.to_us).contains(&at)).collect();
            prop_assert!(here.len() <= 1, "once");
            for commit in 0..=9_u64 {
                let free = covering(&short, at, commit).any(|it| it.3.is_none());
                let counted: Vec<_> = covering(&short, at, commit).filter_map(|it| it.3).collect();
                let used = here.first().and_then(|it| it.cost(Some(commit.cast_signed()), |_| true));
                prop_assert_eq!(used.is_some(), free || !counted.is_empty(), "{} {}", at, commit);
                prop_assert!(free || used.is_none() || !here.iter().any(|it| it.is_free()), "{} {}", at, commit);
                if let Some(used) = used {
                    prop_assert_eq!(used, if free { Cost::Nothing } else { Cost::OfQuota(ids[counted[0]]) });
                    prop_assert!(commit <= through(here[0].reading()), "it is read");
                }
                // Of one whose rows are used up the next one serves.
                if let (Some(stretch), false, Some(first)) = (here.first(), free, counted.first()) {
                    let other = counted.iter().find(|number| *number != first).map(|number| Cost::OfQuota(ids[*number]));
                    let left = |consent| consent != ids[*first];
                    prop_assert_eq!(stretch.cost(Some(commit.cast_signed()), left), other);
                }
            }
        }
    }

    #[test]
    fn a_bucket_is_made_of_all_that_any_permit_covers(short in any_permits()) {
        let stretches = Stretch::cut(permits(&Form::buckets(10), 10, &short, &consents()));
        for bucket in -1..20 {
            let here = stretches.iter().find(|it| (it.from_us..it.to_us).contains(&(bucket * 10)));
            let wanted = short.iter().filter(|it| (it.0..it.1).contains(&bucket)).map(|it| it.2.unwrap_or(u64::MAX)).max();
            prop_assert_eq!(here.map(|it| through(it.reading())), wanted);
            if let Some(stretch) = here {
                let reading = stretch.reading();
                prop_assert!(reading.from_us() <= stretch.from_us && reading.to_us() == stretch.to_us);
                prop_assert!(stretch.cost(None, |_| true).is_some());
            }
        }
    }

    #[test]
    fn what_was_granted_is_covered_where_nothing_of_it_went(short in any_permits(), kept in any::<u8>()) {
        let ids = consents();
        let before = Stretch::cut(permits(&Form::Raw, 1, &short, &ids));
        let granted: Vec<_> = before.iter().map(Stretch::granted).collect();
        prop_assert!(cover(&before, &granted));
        let less: Vec<_> = short.iter().enumerate().filter(|(index, _)| kept & (1 << index) != 0).map(|(_, it)| *it).collect();
        let after = Stretch::cut(permits(&Form::Raw, 1, &less, &ids));
        let same = (-1..20).all(|at| widest(&less, at) == widest(&short, at));
        prop_assert_eq!(cover(&after, &granted), same);
        // And what is there beyond it is left out.
        let granted_less: Vec<_> = after.iter().map(Stretch::granted).collect();
        let clipped = clip(before, &granted_less);
        for at in -1..20 {
            let here = clipped.iter().filter(|it| (it.from_us..it.to_us).contains(&at)).count();
            prop_assert_eq!(here, usize::from(widest(&less, at).is_some()));
        }
    }
}
