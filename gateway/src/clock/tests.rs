use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sandan_proto::v1::{self, clock_offset::Source};

use super::offset::{self, Heard, KeptBoot};
use super::*;

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;
/// 2027-01-15T08:00:00Z, later than any build of these tests.
pub(crate) const NOON: i64 = 1_800_000_000 * SECOND;

/// Two clocks that a test moves.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    monotonic: AtomicI64,
    wall: AtomicI64,
}

impl Fake {
    pub(crate) fn new(monotonic_us: i64, wall_us: i64) -> Arc<Self> {
        Arc::new(Self { monotonic: monotonic_us.into(), wall: wall_us.into() })
    }
    /// Time passes.
    pub(crate) fn pass(&self, us: i64) {
        self.monotonic.fetch_add(us, Ordering::Relaxed);
        self.wall.fetch_add(us, Ordering::Relaxed);
    }
    /// Somebody sets the wall clock.
    pub(crate) fn set_wall(&self, us: i64) {
        self.wall.store(us, Ordering::Relaxed);
    }
}

impl Clocks for Fake {
    fn monotonic_us(&self) -> i64 {
        self.monotonic.load(Ordering::Relaxed)
    }
    fn wall_us(&self) -> i64 {
        self.wall.load(Ordering::Relaxed)
    }
}

#[test]
fn the_trusted_clock_starts_at_the_build_and_goes_on_from_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clock");
    let fake = Fake::new(5 * SECOND, 0);
    let clock = TrustedClock::with(fake.clone(), Some(path.clone()));
    let built = clock.now_us();
    assert!(built > 1_790_000_000 * SECOND && built < NOON, "the build's own time");
    fake.pass(SECOND);
    assert_eq!(clock.now_us(), built + SECOND, "it goes on");
    clock.saw_us(NOON);
    clock.saw_us(NOON - DAY);
    fake.pass(SECOND);
    assert_eq!(clock.now(), UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_001));
    clock.save().unwrap();
    // The next boot: monotonic time begins again, and the wall clock in 1970.
    let next = TrustedClock::with(Fake::new(0, -SECOND), Some(path));
    assert_eq!(next.now_us(), NOON + SECOND);
}

#[test]
fn a_wall_clock_in_the_far_future_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clock");
    let fake = Fake::new(0, NOON);
    let clock = TrustedClock::with(fake.clone(), Some(path.clone()));
    clock.saw_us(NOON);
    fake.set_wall(NOON + 20_000 * DAY);
    assert_eq!(clock.now_us(), NOON + 20_000 * DAY, "the latest of all");
    clock.save().unwrap();
    fake.set_wall(NOON);
    assert_eq!(clock.now_us(), NOON);
    assert_eq!(TrustedClock::with(fake, Some(path)).now_us(), NOON);
}

#[test]
fn a_damaged_note_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clock");
    std::fs::write(&path, b"\xff\0 not a number").unwrap();
    let clock = TrustedClock::with(Fake::new(0, NOON), Some(path));
    assert_eq!(clock.now_us(), NOON);
}

fn boot(id: u8) -> BootId {
    BootId::from_bytes(&[id; 16]).unwrap()
}

fn parts(offset: Option<&v1::ClockOffset>) -> Option<(i64, Source)> {
    offset.map(|offset| (offset.offset_us, offset.source()))
}

/// A process that starts on these clocks: what it believes, and its boot's clock.
fn start(fake: &Arc<Fake>, seen_us: i64) -> (TrustedClock, BootClock) {
    let trusted = TrustedClock::with(fake.clone(), None);
    trusted.saw_us(seen_us);
    let clock = BootClock::new(boot(1), offset::believed(boot(1), &trusted), false);
    (trusted, clock)
}

/// The ingest's answer after a round trip of a second, its clock at `server_us` halfway.
fn heard(fake: &Fake, server_us: i64) -> Heard {
    let sent_us = fake.monotonic_us();
    fake.pass(SECOND);
    Heard { sent_us, received_us: fake.monotonic_us(), server_us, wall_us: fake.wall_us() }
}

#[test]
fn a_wall_clock_that_is_not_behind_is_believed_and_stands() {
    let fake = Fake::new(100 * SECOND, NOON);
    let (_, mut clock) = start(&fake, NOON - DAY);
    assert_eq!(parts(clock.known()), Some((NOON - 100 * SECOND, Source::System)));
    assert_eq!(clock.heard(&heard(&fake, NOON + SECOND)), None);
    assert_eq!((clock.state().deviation_us, clock.state().stored_deviation_us), (Some(-SECOND / 2), Some(-SECOND / 2)));
    // It may run a little behind the ingest's, which was seen.
    let slow = Fake::new(0, NOON - 29 * SECOND);
    assert!(start(&slow, NOON).1.known().is_some());
}

#[test]
fn a_box_without_a_clock_battery_takes_its_first_time_from_the_ingest() {
    let fake = Fake::new(40 * SECOND, 0);
    let (trusted, mut clock) = start(&fake, NOON - DAY);
    assert_eq!(clock.known(), None);
    assert_eq!(clock.looked(offset::believed(boot(1), &trusted)), None, "1970 stays unbelievable");
    let heard = heard(&fake, NOON);
    let learnt = clock.heard(&heard);
    // Sent at 40 s, answered at 41 s: the ingest's clock showed noon at 40.5 s.
    assert_eq!(parts(learnt.as_ref()), Some((NOON - 40 * SECOND - SECOND / 2, Source::Ingest)));
    assert_eq!(clock.state().stored_deviation_us, Some(0));
    assert_eq!(clock.heard(&heard), None, "learnt once");
}

#[test]
fn a_clock_that_is_set_while_no_offset_is_known_supplies_it() {
    let fake = Fake::new(0, 0);
    let (trusted, mut clock) = start(&fake, NOON - DAY);
    fake.pass(60 * SECOND);
    fake.set_wall(NOON);
    let learnt = clock.looked(offset::believed(boot(1), &trusted));
    assert_eq!(parts(learnt.as_ref()), Some((NOON - 60 * SECOND, Source::System)));
    fake.set_wall(NOON + DAY);
    assert_eq!(clock.looked(offset::believed(boot(1), &trusted)), None, "and no second time");
}

#[test]
fn a_wrong_clock_gives_way_until_something_is_stored_under_it() {
    for wrong in [-DAY, DAY, 31 * SECOND] {
        let fake = Fake::new(0, NOON + wrong);
        let (_, mut clock) = start(&fake, NOON - 2 * DAY);
        let mut fixed = clock.clone();
        let heard = heard(&fake, NOON + SECOND / 2);
        let learnt = clock.heard(&heard);
        assert_eq!(parts(learnt.as_ref()), Some((NOON, Source::Ingest)), "{wrong}");
        assert_eq!(clock.state().deviation_us, Some(wrong));
        assert!(fixed.fix() && !fixed.fix());
        assert_eq!(fixed.heard(&heard), None);
        assert_eq!(parts(fixed.known()), Some((NOON + wrong, Source::System)));
        assert_eq!(fixed.state().stored_deviation_us, Some(wrong));
    }
    let fake = Fake::new(0, NOON + 29 * SECOND);
    let (_, mut clock) = start(&fake, NOON - DAY);
    assert_eq!(clock.heard(&heard(&fake, NOON + SECOND / 2)), None, "wrong, but not critically");
}

#[test]
fn a_boot_that_ended_unknown_gets_the_latest_that_it_can_have_been() {
    let known = |id: u8, offset_us, source: Source| {
        Some(v1::ClockOffset { boot_id: boot(id).to_vec(), offset_us, source: source.into() })
    };
    let kept = |id: u8, last_us, offset| KeptBoot { id: boot(id), last_us, offset };
    let boots = [
        kept(1, Some(90 * SECOND), None),
        kept(2, Some(5 * SECOND), known(2, NOON - DAY, Source::System)),
        kept(3, Some(30 * SECOND), known(3, 1, Source::Estimated)),
        kept(4, None, None),
        kept(5, Some(20 * SECOND), None),
        kept(6, Some(SECOND), known(6, NOON, Source::Ingest)),
    ];
    let estimates = offset::estimates(&boots);
    let found: Vec<_> = estimates.iter().map(|offset| (offset.boot_id[0], offset.offset_us)).collect();
    assert_eq!(
        found,
        [(5, NOON - 20 * SECOND), (4, NOON - 20 * SECOND), (3, NOON - 50 * SECOND), (1, NOON - DAY - 90 * SECOND)]
    );
    assert!(estimates.iter().all(|offset| offset.source() == Source::Estimated));
    assert_eq!(offset::estimates(&boots[3..5]), [], "nothing behind it is known");
}

mod jumps {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is done to the wall clock, an offset that stands stays, and one that is
        /// known is replaced by the ingest's at most once, before anything is stored.
        #[test]
        fn no_jump_changes_what_is_stored(
            wall in 0..3 * NOON,
            steps in prop::collection::vec((0u8..4, 0..3 * NOON), 1..40),
        ) {
            let fake = Fake::new(7 * SECOND, wall);
            let (trusted, mut clock) = start(&fake, NOON - DAY);
            let mut fixed: Option<v1::ClockOffset> = None;
            let mut learnt = u32::from(clock.known().is_some());
            for (step, number) in steps {
                match step {
                    0 => fake.set_wall(number),
                    1 => fake.pass(number % (100 * SECOND)),
                    2 => learnt += u32::from(clock.looked(offset::believed(boot(1), &trusted)).is_some()),
                    _ => {
                        let server = NOON + fake.monotonic_us();
                        learnt += u32::from(clock.heard(&heard(&fake, server)).is_some());
                        if number % 2 == 0 {
                            clock.fix();
                            fixed = fixed.or_else(|| clock.known().cloned());
                        }
                    }
                }
                prop_assert!(learnt <= 2);
                if let Some(fixed) = &fixed {
                    prop_assert_eq!(clock.known(), Some(fixed));
                    // And it was right when it was fixed.
                    prop_assert!((fixed.offset_us - NOON).abs() <= offset::CRITICAL_US + SECOND);
                }
            }
        }
    }
}
