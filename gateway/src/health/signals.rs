//! How the signals of each device are: counted by state, and the worst few by name. Pure.

use std::time::Duration;

use sandan_proto::reading::{Quality, QualityClass};
use sandan_proto::v1::{SignalCounts, SignalHealth, SignalState};

use super::link::patience;
use super::millis;

/// So many of each device are named.
const NAMED: usize = 5;

/// What came last of a signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last<'a> {
    /// Its device in the configuration.
    pub(super) device: usize,
    /// Its name.
    pub(super) signal: &'a str,
    /// How often a value is expected.
    pub(super) interval: Duration,
    /// When its last value came, monotonic microseconds, and how good it was; none since the start.
    pub(super) seen: Option<(i64, Quality)>,
}

/// Of one device.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals {
    pub(super) counts: SignalCounts,
    /// Worst first.
    pub(super) worst: Vec<SignalHealth>,
}

/// Of each of so many devices, from what came last of each signal. `now_us` is monotonic.
pub(super) fn of_devices<'a>(last: impl Iterator<Item = Last<'a>>, devices: usize, now_us: i64) -> Vec<Signals> {
    let mut all: Vec<(SignalCounts, Vec<(u8, Last<'a>)>)> = vec![Default::default(); devices];
    for last in last {
        // A signal of a device that a reload takes away just now is nobody's.
        let Some((counts, ill)) = all.get_mut(last.device) else { continue };
        let (count, rank) = match state(&last, now_us) {
            SignalState::Bad => (&mut counts.bad, 0),
            SignalState::NeverSeen => (&mut counts.never_seen, 1),
            SignalState::Stale => (&mut counts.stale, 2),
            SignalState::Uncertain => (&mut counts.uncertain, 3),
            SignalState::Good | SignalState::Unspecified => {
                counts.good += 1;
                continue;
            }
        };
        *count += 1;
        ill.push((rank, last));
    }
    let finish = |(counts, mut ill): (SignalCounts, Vec<(u8, Last<'a>)>)| {
        ill.sort_by(|a, b| (a.0, a.1.signal).cmp(&(b.0, b.1.signal)));
        ill.truncate(NAMED);
        Signals { counts, worst: ill.iter().map(|(_, last)| named(last, now_us)).collect() }
    };
    all.into_iter().map(finish).collect()
}

fn state(last: &Last<'_>, now_us: i64) -> SignalState {
    let Some((came_us, quality)) = last.seen else { return SignalState::NeverSeen };
    let is_late = now_us - came_us > i64::try_from(patience(last.interval).as_micros()).unwrap_or(i64::MAX);
    match quality.class() {
        // A bad one is told once and holds until another value comes.
        QualityClass::Bad => SignalState::Bad,
        QualityClass::Good | QualityClass::Uncertain if is_late => SignalState::Stale,
        QualityClass::Uncertain => SignalState::Uncertain,
        QualityClass::Good => SignalState::Good,
    }
}

fn named(last: &Last<'_>, now_us: i64) -> SignalHealth {
    SignalHealth {
        signal: last.signal.to_owned(),
        state: state(last, now_us).into(),
        quality: last.seen.map_or(Quality::GOOD, |(_, quality)| quality).code().into(),
        age_ms: last.seen.map(|(came_us, _)| millis(now_us - came_us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn last(device: usize, signal: &str, seen: Option<(i64, Quality)>) -> Last<'_> {
        Last { device, signal, interval: Duration::from_secs(1), seen }
    }

    #[test]
    fn signals_are_counted_by_state_and_the_worst_named_first() {
        let now = 100 * SECOND;
        let all = [
            last(0, "force", Some((now, Quality::GOOD))),
            last(0, "late", Some((now - 5 * SECOND - 1, Quality::GOOD))),
            last(0, "just in time", Some((now - 5 * SECOND, Quality::GOOD))),
            last(0, "odd", Some((now, Quality::UNCERTAIN_IMPLAUSIBLE))),
            last(0, "never", None),
            last(0, "broken", Some((0, Quality::BAD_OUT_OF_RANGE))),
            last(1, "alone", Some((now, Quality::GOOD))),
            last(7, "of nobody", None),
        ];
        let [one, two] = of_devices(all.into_iter(), 2, now).try_into().unwrap();
        let counts = SignalCounts { good: 2, uncertain: 1, stale: 1, bad: 1, never_seen: 1 };
        assert_eq!((one.counts, two.counts), (counts, SignalCounts { good: 1, ..SignalCounts::default() }));
        let names: Vec<_> = one.worst.iter().map(|it| (it.signal.as_str(), it.state())).collect();
        let wanted = [
            ("broken", SignalState::Bad),
            ("never", SignalState::NeverSeen),
            ("late", SignalState::Stale),
            ("odd", SignalState::Uncertain),
        ];
        assert_eq!(names, wanted);
        assert_eq!(one.worst[0].quality, u32::from(Quality::BAD_OUT_OF_RANGE.code()), "a bad one does not get stale");
        assert_eq!((one.worst[1].age_ms, one.worst[2].age_ms), (None, Some(5_000)));
        assert!(two.worst.is_empty());
    }

    #[test]
    fn only_a_few_are_named() {
        let names: Vec<_> = (0..20).map(|at| format!("s{at:02}")).collect();
        let of = of_devices(names.iter().map(|name| last(0, name, None)), 1, 0).remove(0);
        assert_eq!((of.counts.never_seen, of.worst.len()), (20, NAMED));
        assert_eq!(of.worst[0].signal, "s00");
    }
}
