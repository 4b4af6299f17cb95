//! When what is polled, without a line.

use super::*;

#[test]
fn cadence_is_fixed() {
    let start = Instant::now();
    let millis = Duration::from_millis;
    let step = |late| {
        let mut due = start;
        let missed = advance(&mut due, millis(100), start + millis(late));
        ((due - start).as_millis(), missed)
    };
    assert_eq!(step(1), (100, 0));
    assert_eq!(step(150), (100, 0), "one that is a little late is still polled");
    assert_eq!(step(250), (200, 1));
    assert_eq!(step(1_050), (1_000, 9));
}

#[test]
fn a_line_that_is_too_slow_lets_all_give_way_alike() {
    let start = Instant::now();
    let poll = Poll { interval: Duration::from_millis(100), requests: Vec::new(), left_out: Vec::new() };
    let mut schedule: Vec<_> =
        (0..4).map(|device| Scheduled { device, number: 0, poll: poll.clone(), due: start, turn: start }).collect();
    let (mut now, mut polls) = (start, [0u32; 4]);
    for _ in 0..400 {
        let Some(index) = next(&schedule, now) else {
            now += Duration::from_millis(1);
            continue;
        };
        polls[index] += 1;
        schedule[index].turn = now;
        // Four polls take 160 ms of each 100.
        now += Duration::from_millis(40);
        advance(&mut schedule[index].due, poll.interval, now);
    }
    assert!(polls.iter().all(|of| of.abs_diff(polls[0]) <= 2), "{polls:?}");
}
