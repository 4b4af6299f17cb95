use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::RequestLimits;

fn points(of: &[(u16, u16)]) -> Vec<Point> {
    let point = |(signal, (address, width)): (usize, &(u16, u16))| Point {
        signal: u32::try_from(signal).unwrap(),
        area: Area::Holding,
        address: *address,
        width: *width,
        interval: Duration::from_secs(1),
    };
    of.iter().enumerate().map(point).collect()
}

fn limits(max_words: u16, max_hole: u16) -> RequestLimits {
    RequestLimits { max_words, max_bits: 2_000, max_hole }
}

/// The fewest requests by trying every way to split the points among them.
fn fewest(points: &[(u16, u16)], limits: RequestLimits) -> usize {
    fn legal(group: &[(u16, u16)], limits: RequestLimits) -> bool {
        let mut sorted = group.to_vec();
        sorted.sort_unstable();
        let first = sorted[0].0;
        let mut end = first;
        sorted.into_iter().all(|(address, width)| {
            let hole = address.saturating_sub(end);
            end = end.max(address + width);
            hole <= limits.max_hole && end - first <= limits.max_words
        })
    }
    fn place(rest: &[(u16, u16)], groups: &mut Vec<Vec<(u16, u16)>>, best: &mut usize, limits: RequestLimits) {
        if groups.len() >= *best {
            return;
        }
        let Some((point, rest)) = rest.split_first() else {
            if groups.iter().all(|group| legal(group, limits)) {
                *best = groups.len();
            }
            return;
        };
        for index in 0..groups.len() {
            groups[index].push(*point);
            place(rest, groups, best, limits);
            groups[index].pop();
        }
        groups.push(vec![*point]);
        place(rest, groups, best, limits);
        groups.pop();
    }
    let mut best = points.len() + 1;
    place(points, &mut Vec::new(), &mut best, limits);
    best
}

proptest! {
    #[test]
    fn the_plan_is_legal_complete_and_the_shortest(
        of in prop::collection::vec((0u16..24, prop::sample::select(vec![1u16, 2, 4])), 1..7),
        max_words in 4u16..12,
        max_hole in 0u16..5,
    ) {
        let limits = limits(max_words, max_hole);
        let plan = coalesce(Area::Holding, points(&of), limits);
        let mut covered = vec![0; of.len()];
        for request in &plan {
            prop_assert!(request.count <= max_words);
            for piece in &request.pieces {
                let (address, width) = of[piece.signal as usize];
                prop_assert_eq!((request.address + piece.offset, piece.width), (address, width));
                prop_assert!(piece.offset + piece.width <= request.count);
                covered[piece.signal as usize] += 1;
            }
        }
        prop_assert!(covered.iter().all(|times| *times == 1));
        prop_assert_eq!(plan.len(), fewest(&of, limits));
    }
}

fn shown(plan: &[Request]) -> Vec<String> {
    plan.iter().map(ToString::to_string).collect()
}

#[test]
fn holes_are_read_through_up_to_the_limit() {
    let of = [(100, 1), (102, 2), (110, 1), (120, 1)];
    assert_eq!(shown(&coalesce(Area::Holding, points(&of), limits(125, 8))), ["holding 100–110", "holding 120"]);
    assert_eq!(shown(&coalesce(Area::Holding, points(&of), limits(125, 9))), ["holding 100–120"]);
    let single = coalesce(Area::Holding, points(&of), limits(125, 0));
    assert_eq!(shown(&single), ["holding 100", "holding 102–103", "holding 110", "holding 120"]);
}

#[test]
fn the_last_register_can_be_read() {
    let plan = coalesce(Area::Input, points(&[(65_535, 1), (65_530, 4)]), limits(125, 8));
    assert_eq!(shown(&plan), ["input 65530–65535"]);
}

#[test]
fn bits_have_limits_of_their_own() {
    let bits = RequestLimits { max_words: 1, max_bits: 40, max_hole: 1 };
    let plan = coalesce(Area::Coil, points(&[(0, 1), (16, 1), (33, 1), (50, 1)]), bits);
    assert_eq!(shown(&plan), ["coil 0–33", "coil 50"]);
}

#[test]
fn answers_are_cut_into_signals() {
    let plan = coalesce(Area::Holding, points(&[(12, 2), (10, 1)]), limits(125, 8));
    let readings = plan[0].readings(&Answer::Words(vec![1, 2, 3, 4]));
    assert_eq!(
        readings,
        [Reading { signal: 1, raw: Raw::Words([1, 0, 0, 0]) }, Reading { signal: 0, raw: Raw::Words([3, 4, 0, 0]) }]
    );
    assert!(plan[0].readings(&Answer::Words(vec![1])).len() < 2, "a short answer gives no values from nowhere");
}
