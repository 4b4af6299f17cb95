//! Wall times of boots, over sessions and restarts.

use sandan_proto::v1::clock_offset::Source;

use super::*;
use crate::clock::tests::{DAY, Fake, NOON, SECOND};

/// A spool of a boot whose wall time is not known.
fn clockless(dir: &Path, boot: BootId) -> (Writer, Spool) {
    let options = Options { dir: dir.join("spool"), max_bytes: 16 << 20, when_full: WhenFull::default() };
    let (writer, spool, _) = Spool::open(&options, &births(), None, boot).unwrap();
    (writer, spool)
}

fn of(spool: &Spool, boot: BootId) -> Option<(i64, Source)> {
    spool.clock(&boot.to_vec()).map(|clock| (clock.offset_us, clock.source()))
}

/// An ingest at noon that stores everything.
fn at_noon(_: usize, _: usize, frame: &Frame) -> Vec<Step> {
    match frame {
        Frame::Hello(_) => {
            let Step::Send(Answer::Welcome(welcome)) = welcome(1, vec![], 9) else { unreachable!() };
            vec![Step::Send(Answer::Welcome(v1::Welcome { server_time_us: NOON, ..welcome }))]
        }
        Frame::Sealed(sealed) => vec![ack(&sealed.lane, sealed.sequence)],
        _ => vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ingests_time_goes_before_the_first_record_of_a_boot_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let boot = BootId::random();
    let (mut writer, spool) = clockless(dir.path(), boot);
    append(&mut writer, 0..3);
    // The machine woke in 1970, a minute before its first session.
    let fake_clock = Fake::new(60 * SECOND, 60 * SECOND);
    let trusted = TrustedClock::with(fake_clock, Some(dir.path().join("clock")));
    let time = Timekeeper::new(spool.clone(), trusted.clone(), boot);
    time.tick();
    assert_eq!(of(&spool, boot), None, "1970 is not believed");
    let (fake, url) = serve(Box::new(at_noon)).await;
    let running = start_at(dir.path(), &url, &spool, boot, time.clone());
    empty(&spool).await;
    running.stop.cancel();
    running.task.await.unwrap();
    let offset = (NOON - 60 * SECOND, Source::Ingest);
    assert_eq!(of(&spool, boot), Some(offset));
    let frames = fake.frames.lock().unwrap();
    let clocks: Vec<usize> = (0..frames[0].len()).filter(|at| matches!(frames[0][*at], Frame::Clock(_))).collect();
    let first = frames[0].iter().position(|frame| matches!(frame, Frame::Sealed(_))).unwrap();
    assert!(clocks.len() == 1 && clocks[0] < first);
    assert!(matches!(&frames[0][clocks[0]], Frame::Clock(clock) if (clock.offset_us, clock.source()) == offset));
    assert_eq!(time.state().deviation_us, Some(60 * SECOND - NOON));
    assert!(trusted.is_fixed(boot), "records are stored under it");
    // A process of the same boot knows that, and keeps the offset whatever it hears.
    assert!(TrustedClock::with(Fake::new(0, 0), Some(dir.path().join("clock"))).is_fixed(boot));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_gives_way_before_anything_is_stored_and_not_after() {
    let dir = tempfile::tempdir().unwrap();
    let boot = BootId::random();
    let (_writer, spool) = spool_of(dir.path(), boot, 1);
    let trusted = TrustedClock::with(Fake::new(0, NOON + DAY), None);
    let wrong = v1::ClockOffset { boot_id: boot.to_vec(), offset_us: NOON + DAY, source: Source::System.into() };
    spool.learn_clock(wrong.clone());
    let time = Timekeeper::new(spool.clone(), trusted.clone(), boot);
    for nonsense in [0, -NOON, i64::MAX] {
        time.heard(0, nonsense);
    }
    assert_eq!(of(&spool, boot), Some((NOON + DAY, Source::System)));
    time.heard(0, NOON);
    assert_eq!(of(&spool, boot), Some((NOON, Source::Ingest)));
    spool.learn_clock(wrong);
    let time = Timekeeper::new(spool.clone(), trusted, boot);
    time.stored(spool.lane_depths()[0].lane);
    time.heard(0, NOON);
    assert_eq!(of(&spool, boot), Some((NOON + DAY, Source::System)));
    assert_eq!(time.state().stored_deviation_us, Some(DAY));
}

#[test]
fn a_boot_that_ended_before_its_time_was_known_is_estimated_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = [BootId::random(), BootId::random()];
    let (mut writer, spool) = clockless(dir.path(), first);
    append(&mut writer, 0..2);
    let last_us = spool.boots()[0].last_us.unwrap();
    drop((writer, spool));
    let (_writer, spool) = clockless(dir.path(), second);
    let fake_clock = Fake::new(30 * SECOND, 0);
    let time = Timekeeper::new(spool.clone(), TrustedClock::with(fake_clock.clone(), None), second);
    assert_eq!(of(&spool, first), None, "nothing is known yet");
    fake_clock.set_wall(NOON);
    time.tick();
    assert_eq!(of(&spool, second), Some((NOON - 30 * SECOND, Source::System)));
    let rounded = (NOON - 30 * SECOND - last_us + 500).div_euclid(1_000) * 1_000;
    assert_eq!(of(&spool, first), Some((rounded, Source::Estimated)));
}
