use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn parts(area: Area, of: &[(u16, u16)]) -> Vec<(Part, u32, Role)> {
    let part = |(signal, (address, width)): (usize, &(u16, u16))| {
        (Part { area, address: *address, width: *width }, u32::try_from(signal).unwrap(), Role::Whole)
    };
    of.iter().enumerate().map(part).collect()
}

/// The plan of a device that is not known to refuse anything.
fn planned(area: Area, of: &[(u16, u16)], limits: RequestLimits) -> Vec<Request> {
    coalesce(area, parts(area, of), limits, &Learned::nothing())
}

fn limits(max_words: u16, max_hole: u16) -> RequestLimits {
    RequestLimits { max_words, max_bits: 2_000, max_hole }
}

/// The fewest requests by trying every way to split the points among them.
fn fewest(points: &[(u16, u16)], limits: RequestLimits, refused: &[(u16, u16)]) -> usize {
    fn legal(group: &[(u16, u16)], limits: RequestLimits, refused: &[(u16, u16)]) -> bool {
        let mut sorted = group.to_vec();
        sorted.sort_unstable();
        let first = sorted[0].0;
        let mut end = first;
        let fits = sorted.into_iter().all(|(address, width)| {
            let hole = address.saturating_sub(end);
            end = end.max(address + width);
            hole <= limits.max_hole && end - first <= limits.max_words
        });
        fits && !refused.iter().any(|(address, width)| first <= *address && address + width <= end)
    }
    fn place(
        rest: &[(u16, u16)],
        groups: &mut Vec<Vec<(u16, u16)>>,
        best: &mut usize,
        limits: RequestLimits,
        refused: &[(u16, u16)],
    ) {
        if groups.len() >= *best {
            return;
        }
        let Some((point, rest)) = rest.split_first() else {
            if groups.iter().all(|group| legal(group, limits, refused)) {
                *best = groups.len();
            }
            return;
        };
        for index in 0..groups.len() {
            groups[index].push(*point);
            place(rest, groups, best, limits, refused);
            groups[index].pop();
        }
        groups.push(vec![*point]);
        place(rest, groups, best, limits, refused);
        groups.pop();
    }
    let mut best = points.len() + 1;
    place(points, &mut Vec::new(), &mut best, limits, refused);
    best
}

proptest! {
    #[test]
    fn the_plan_is_legal_complete_and_the_shortest(
        of in prop::collection::vec((0u16..24, prop::sample::select(vec![1u16, 2, 4])), 1..7),
        max_words in 4u16..12,
        max_hole in 0u16..5,
        refused in prop::collection::vec((0u16..28, 1u16..4), 0..3),
    ) {
        let limits = limits(max_words, max_hole);
        let mut learned = Learned::nothing();
        for (address, width) in &refused {
            learned.add(Part { area: Area::Holding, address: *address, width: *width }, 2);
        }
        // A point that is refused alone is not asked for at all.
        let is_asked = |(address, width): &(u16, u16)| {
            learned.within(Part { area: Area::Holding, address: *address, width: *width }).is_none()
        };
        let of: Vec<_> = of.into_iter().filter(is_asked).collect();
        let plan = coalesce(Area::Holding, parts(Area::Holding, &of), limits, &learned);
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
        prop_assert_eq!(plan.len(), fewest(&of, limits, &refused));
    }
}

fn shown(plan: &[Request]) -> Vec<String> {
    plan.iter().map(ToString::to_string).collect()
}

#[test]
fn holes_are_read_through_up_to_the_limit() {
    let of = [(100, 1), (102, 2), (110, 1), (120, 1)];
    assert_eq!(shown(&planned(Area::Holding, &of, limits(125, 8))), ["holding 100–110", "holding 120"]);
    assert_eq!(shown(&planned(Area::Holding, &of, limits(125, 9))), ["holding 100–120"]);
    let single = planned(Area::Holding, &of, limits(125, 0));
    assert_eq!(shown(&single), ["holding 100", "holding 102–103", "holding 110", "holding 120"]);
}

#[test]
fn the_last_register_can_be_read() {
    let plan = planned(Area::Input, &[(65_535, 1), (65_530, 4)], limits(125, 8));
    assert_eq!(shown(&plan), ["input 65530–65535"]);
}

#[test]
fn bits_have_limits_of_their_own() {
    let bits = RequestLimits { max_words: 1, max_bits: 40, max_hole: 1 };
    let plan = planned(Area::Coil, &[(0, 1), (16, 1), (33, 1), (50, 1)], bits);
    assert_eq!(shown(&plan), ["coil 0–33", "coil 50"]);
}

#[test]
fn answers_are_cut_into_signals() {
    let plan = planned(Area::Holding, &[(12, 2), (10, 1)], limits(125, 8));
    let readings = Assembly::default().take(&plan[0], &Answer::Words(vec![1, 2, 3, 4]));
    assert_eq!(readings, [Reading::new(1, Raw::Words([1, 0, 0, 0])), Reading::new(0, Raw::Words([3, 4, 0, 0]))]);
    assert!(
        Assembly::default().take(&plan[0], &Answer::Words(vec![1])).len() < 2,
        "a short answer gives no values from nowhere"
    );
}

fn point(signal: u32, at: (u16, u16), aids: &[u16]) -> Point {
    let part = |(address, width)| Part { area: Area::Holding, address, width };
    Point {
        signal,
        value: part(at),
        aids: aids.iter().map(|address| part((*address, 1))).collect(),
        interval: Duration::from_secs(1),
        group: 0,
    }
}

fn device(points: Vec<Point>) -> ModbusDevice {
    ModbusDevice { device: 0, name: "plc".into(), unit: 1, limits: limits(125, 8), points }
}

#[test]
fn a_value_and_what_says_how_to_read_it_come_in_one_poll_and_one_reading() {
    // The first is read with a register near by, the second with one far away and the first's.
    let device = device(vec![point(0, (10, 2), &[12]), point(1, (14, 1), &[500, 12]), point(2, (15, 1), &[])]);
    let polls = polls(&device, &Learned::nothing());
    assert_eq!(polls.len(), 1);
    assert_eq!(shown(&polls[0].requests), ["holding 10–15", "holding 500"], "a register is asked for once");
    let mut assembly = Assembly::default();
    let near = assembly.take(&polls[0].requests[0], &Answer::Words(vec![1, 2, 3, 4, 5, 6]));
    let reading = Reading::new;
    assert_eq!(near, [reading(0, Raw::Aided([1, 2, 0, 0], vec![3])), reading(2, Raw::Words([6, 0, 0, 0]))]);
    let far = assembly.take(&polls[0].requests[1], &Answer::Words(vec![7]));
    assert_eq!(far, [reading(1, Raw::Aided([5, 0, 0, 0], vec![7, 3]))]);

    let mut assembly = Assembly::default();
    assembly.take(&polls[0].requests[0], &Answer::Words(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(assembly.refuse(&polls[0].requests[1]), [1], "half a reading is none");
    let mut assembly = Assembly::default();
    assert_eq!(assembly.refuse(&polls[0].requests[0]), [0, 1, 2]);
    assert_eq!(assembly.take(&polls[0].requests[1], &Answer::Words(vec![7])), [], "it was told already");
    assert_eq!(assembly.refuse(&polls[0].requests[1]), [] as [u32; 0]);
}

#[test]
fn a_signal_of_which_a_part_is_refused_is_left_out() {
    let device = device(vec![point(0, (10, 1), &[500]), point(1, (11, 1), &[])]);
    let mut learned = Learned::nothing();
    let refused = Part { area: Area::Holding, address: 500, width: 1 };
    learned.add(refused, 2);
    let polls = polls(&device, &learned);
    assert_eq!((shown(&polls[0].requests), &polls[0].left_out), (vec!["holding 11".to_owned()], &vec![(0, refused)]));
}

#[test]
fn signals_of_one_group_and_interval_are_polled_together() {
    let mut points = vec![point(0, (0, 1), &[]), point(1, (1, 1), &[]), point(2, (2, 1), &[]), point(3, (3, 1), &[])];
    points[1].group = 1;
    points[2].interval = Duration::from_millis(100);
    points[3].group = 1;
    let polls = polls(&device(points), &Learned::nothing());
    let of: Vec<Vec<u32>> =
        polls.iter().map(|poll| poll.requests.iter().flat_map(Request::signals).collect()).collect();
    assert_eq!(of, [vec![2], vec![0], vec![1, 3]]);
    assert_eq!(shown(&polls[2].requests), ["holding 1–3"]);
}

#[test]
fn texts_of_many_registers_are_cut_whole() {
    let device = device(vec![point(0, (0, 6), &[])]);
    let polls = polls(&device, &Learned::nothing());
    let readings = Assembly::default().take(&polls[0].requests[0], &Answer::Words(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(readings[0].raw, Raw::Long(vec![1, 2, 3, 4, 5, 6]));
}

#[test]
fn requests_are_halved_where_no_piece_is_cut() {
    let halves = |of: &[(u16, u16)]| {
        let request = planned(Area::Holding, of, limits(125, 8)).remove(0);
        request.halves().map(|(left, right)| {
            for half in [&left, &right] {
                for piece in &half.pieces {
                    let (address, width) = of[piece.signal as usize];
                    assert_eq!((half.address + piece.offset, piece.width), (address, width));
                }
            }
            (left.to_string(), right.to_string())
        })
    };
    let two = |left: &str, right: &str| Some((left.to_owned(), right.to_owned()));
    assert_eq!(halves(&[(0, 1), (1, 1), (2, 1), (3, 1)]), two("holding 0–1", "holding 2–3"));
    assert_eq!(halves(&[(0, 4), (4, 1)]), two("holding 0–3", "holding 4"));
    assert_eq!(halves(&[(0, 1), (8, 1)]), two("holding 0", "holding 8"), "the hole is in neither");
    assert_eq!(halves(&[(0, 2)]), None);
    assert_eq!(halves(&[(0, 4), (2, 4), (3, 2)]), None, "pieces that lie over each other");
}
