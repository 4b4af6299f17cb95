use proptest::prelude::*;

use super::*;
use crate::access::fixture::force;
use crate::consent::{Form, Permit};

/// What several reads and processes count at together.
#[derive(Default)]
struct Store(BTreeMap<(ConsentId, i64), u64>);

impl Store {
    fn count(&mut self, consent: ConsentId, day: i64, rows: u64) -> u64 {
        let used = self.0.entry((consent, day)).or_default();
        *used += rows;
        *used
    }
}

/// Of a permit.
type Duties = (Option<u64>, Option<(ConsentId, u64)>);

fn stretch(quotas: &[Duties]) -> Stretch {
    let of = |(through, quota): &Duties| Permit::for_test(vec![force()], Form::Raw, 0, 1_000).bound(*through, *quota);
    Stretch::cut(quotas.iter().map(of).collect()).remove(0)
}

fn learned(totals: &[(ConsentId, u64)]) -> Quotas {
    let mut quotas = Quotas::default();
    quotas.learn(totals.iter().copied());
    quotas
}

/// How many of the rows are handed on; 0 when it is over.
fn piece(quotas: &mut Quotas, stretch: &Stretch, rows: &[Option<i64>], store: &mut Store) -> (usize, Count) {
    loop {
        for (consent, rows) in quotas.wanting(stretch, rows) {
            let used = store.count(consent, quotas.day(), rows);
            quotas.counted(consent, rows, used);
        }
        let (count, taken) = quotas.covered(stretch, rows);
        if count > 0 || quotas.is_used_up(stretch, rows[0]) {
            quotas.take(&taken);
            return (count, taken);
        }
    }
}

#[test]
fn a_quota_is_read_to_its_last_row_and_no_further() {
    let consent = ConsentId::random();
    let stretch = stretch(&[(None, Some((consent, 25)))]);
    let (mut quotas, mut store) = (learned(&[(consent, 25)]), Store::default());
    let rows = vec![Some(1); 10];
    let handed_on: Vec<_> = (0..4).map(|_| piece(&mut quotas, &stretch, &rows, &mut store).0).collect();
    assert_eq!(handed_on, [10, 10, 5, 0]);
    quotas.on(1);
    assert_eq!(piece(&mut quotas, &stretch, &rows, &mut store).0, 10, "a day later");
}

#[test]
fn what_costs_nothing_is_handed_on_up_to_the_first_row_that_nothing_is_left_for() {
    let consent = ConsentId::random();
    let stretch = stretch(&[(Some(3), None), (None, Some((consent, 2)))]);
    let (mut quotas, mut store) = (learned(&[(consent, 2)]), Store::default());
    let rows: Vec<_> = [1, 9, 2, 9, 3, 9, 1].map(Some).to_vec();
    assert_eq!(piece(&mut quotas, &stretch, &rows, &mut store), (5, [(consent, 2)].into()));
    assert_eq!(piece(&mut quotas, &stretch, &rows[5..], &mut store).0, 0);
}

proptest! {
    /// Alone, a read gets each row under the first permit that has any left.
    #[test]
    fn one_read_gets_what_is_there(
        totals in proptest::collection::vec(0_u64..12, 1..4),
        free_through in proptest::option::of(0_u64..6),
        commits in proptest::collection::vec(1_i64..9, 1..40),
        size in 1_usize..9,
    ) {
        let totals: Vec<_> = totals.into_iter().map(|total| (ConsentId::random(), total)).collect();
        let mut permits: Vec<_> = totals.iter().map(|total| (None, Some(*total))).collect();
        permits.extend(free_through.map(|through| (Some(through), None)));
        let stretch = stretch(&permits);
        let (mut quotas, mut store) = (learned(&totals), Store::default());
        let rows: Vec<_> = commits.iter().copied().map(Some).collect();
        let mut at = 0;
        while at < rows.len() {
            let (count, _) = piece(&mut quotas, &stretch, &rows[at..rows.len().min(at + size)], &mut store);
            at += count;
            if count == 0 {
                break;
            }
        }
        let mut left: u64 = totals.iter().map(|(_, total)| total).sum();
        let mut wanted = 0;
        for commit in commits {
            if free_through.is_none_or(|through| commit.unsigned_abs() > through) {
                if left == 0 {
                    break;
                }
                left -= 1;
            }
            wanted += 1;
        }
        prop_assert_eq!(at, wanted);
    }

    /// However reads take turns, none of a consent's rows is handed on beyond its quota, and
    /// all of them are when nothing is left behind.
    #[test]
    fn many_reads_share_what_is_there(
        totals in proptest::collection::vec(0_u64..30, 1..3),
        turns in proptest::collection::vec((0_usize..4, 1_usize..12), 1..60),
    ) {
        let totals: Vec<_> = totals.into_iter().map(|total| (ConsentId::random(), total)).collect();
        let stretch = stretch(&totals.iter().map(|total| (None, Some(*total))).collect::<Vec<_>>());
        let mut store = Store::default();
        let mut reads: Vec<_> = (0..4).map(|_| learned(&totals)).collect();
        let mut handed_on = Count::new();
        let mut ended = false;
        for (read, size) in turns {
            let (count, taken) = piece(&mut reads[read], &stretch, &vec![Some(1); size], &mut store);
            ended |= count == 0;
            for (consent, rows) in taken {
                *handed_on.entry(consent).or_default() += rows;
            }
        }
        for (consent, total) in &totals {
            let rows = handed_on.get(consent).copied().unwrap_or(0);
            let kept: u64 = reads.iter().filter_map(|read| read.counted.get(consent)).sum();
            prop_assert!(rows <= *total);
            prop_assert!(!ended || rows + kept == *total, "{} and {} of {}", rows, kept, total);
        }
    }
}
