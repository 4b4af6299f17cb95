//! Live before backlog, a restored store, a silent ingest.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const TEN_MINUTES_US: i64 = 600_000_000;

/// Sequences of one lane, or of all others.
fn sequences_of(frames: &[Frame], is_wanted: impl Fn(&[u8]) -> bool) -> Vec<u64> {
    let sequence = |frame: &Frame| match frame {
        Frame::Sealed(sealed) if is_wanted(&sealed.lane) => Some(sealed.sequence),
        _ => None,
    };
    frames.iter().filter_map(sequence).collect()
}

fn current_is_empty(spool: &Spool) -> bool {
    spool.lane_depths().last().is_some_and(|lane| lane.records == 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn live_data_goes_round_an_outage_that_the_ingest_cannot_swallow() {
    let dir = tempfile::tempdir().unwrap();
    let boot = BootId::random();
    let (mut writer, spool) = spool_of(dir.path(), boot, 0);
    let old = writer.lane();
    append_aged(&mut writer, 0..50, TEN_MINUTES_US);
    // The backlog is acknowledged only once somebody opens the tap.
    let tap = Arc::new(AtomicBool::new(false));
    let is_open = tap.clone();
    let (fake, url) = serve(Box::new(move |_, _, frame| match frame {
        Frame::Hello(_) => vec![welcome(1, vec![], 8)],
        Frame::Sealed(sealed) if sealed.lane != old.as_bytes() || is_open.load(Ordering::Relaxed) => {
            vec![ack(&sealed.lane, sealed.sequence)]
        }
        _ => vec![],
    }))
    .await;
    let mut running = start_in(dir.path(), &url, &spool, boot);
    running.status.wait_for(|status| status.connected).await.unwrap();
    let mut seen = fake.seen.subscribe();
    let of_old = |lane: &[u8]| lane == old.as_bytes();
    seen.wait_for(|_| sequences_of(&fake.frames.lock().unwrap()[0], of_old).len() == 4).await.unwrap();
    append(&mut writer, 100..120);
    assert_ne!(writer.lane(), old, "live data moved to a lane of its own");
    until(&spool, || current_is_empty(&spool)).await;
    let backlog = spool.lane_depths()[0];
    assert_eq!((backlog.lane, backlog.records, backlog.is_current), (old, 50, false));
    {
        let frames = fake.frames.lock().unwrap();
        assert_eq!(sequences_of(&frames[0], of_old), [1, 2, 3, 4], "half of the credits");
        assert_eq!(sequences_of(&frames[0], |lane| !of_old(lane)), (1..=20).collect::<Vec<_>>());
    }
    tap.store(true, Ordering::Relaxed);
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(spool.lane_depths()[0].records, 50, "a stop does not wait for the backlog");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains_beside_live_data_in_one_session() {
    let dir = tempfile::tempdir().unwrap();
    let boot = BootId::random();
    let (mut writer, spool) = spool_of(dir.path(), boot, 0);
    let old = writer.lane();
    append_aged(&mut writer, 0..300, TEN_MINUTES_US);
    let (fake, url) = serve(Box::new(|_, _, frame| match frame {
        Frame::Hello(_) => vec![welcome(1, vec![], 8)],
        Frame::Sealed(sealed) => vec![ack(&sealed.lane, sealed.sequence)],
        _ => vec![],
    }))
    .await;
    let mut running = start_in(dir.path(), &url, &spool, boot);
    running.status.wait_for(|status| status.connected).await.unwrap();
    append(&mut writer, 0..40);
    empty(&spool).await;
    running.stop.cancel();
    running.task.await.unwrap();
    let frames = fake.frames.lock().unwrap();
    assert_eq!(frames.len(), 1);
    let in_order = |sequences: Vec<u64>| sequences.windows(2).all(|pair| pair[0] < pair[1]);
    let of_old = |lane: &[u8]| lane == old.as_bytes();
    assert!(in_order(sequences_of(&frames[0], of_old)) && in_order(sequences_of(&frames[0], |lane| !of_old(lane))));
    assert_eq!(sequences(&frames[0]).len(), 340);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_is_sent_again_what_it_may_have_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, spool) = spool(dir.path(), 6);
    let lane = writer.lane().to_vec();
    let restored = |epoch, watermarks| {
        let Step::Send(Answer::Welcome(welcome)) = welcome(epoch, watermarks, 9) else { unreachable!() };
        Step::Send(Answer::Welcome(v1::Welcome { store_timeline: vec![6; 16], ..welcome }))
    };
    let (fake, url) = serve(Box::new(move |session, _, frame| match (session, frame) {
        (0, Frame::Hello(_)) => vec![welcome(1, vec![], 9)],
        (0, Frame::Sealed(sealed)) if sealed.sequence == 6 => vec![ack(&sealed.lane, 6), Step::Break],
        (_, Frame::Hello(hello)) => {
            assert_eq!(hello.last_epoch, session as u64);
            // The backup was made after the second record.
            let watermark = v1::LaneWatermark { lane: lane.clone(), durable_through: 2 };
            vec![restored(session as u64 + 1, vec![watermark])]
        }
        (_, Frame::Sealed(sealed)) => vec![ack(&sealed.lane, sealed.sequence)],
        (1, Frame::Goodbye(_)) => vec![Step::Break],
        _ => vec![],
    }))
    .await;
    let mut running = start(dir.path(), &url, &spool);
    let status = running.status.wait_for(|status| status.notice.is_some()).await.unwrap().clone();
    assert_eq!(
        status.notice.unwrap(),
        "the ingest's store was restored from an older state: 6 readings that are still kept are sent again"
    );
    // The session with the new timeline sent nothing but a goodbye; the next sends all.
    running.status.wait_for(|status| status.epoch == 3 && status.notice.is_none()).await.unwrap();
    running.stop.cancel();
    running.task.await.unwrap();
    let frames = fake.frames.lock().unwrap();
    assert_eq!(sequences(&frames[1]), Vec::<u64>::new());
    let is_reload =
        |frame: &Frame| matches!(frame, Frame::Goodbye(said) if said.reason() == v1::goodbye::Reason::Reload);
    assert!(frames[1].last().is_some_and(is_reload));
    assert!(matches!(&frames[2][0], Frame::Hello(hello) if hello.store_timeline == [6; 16] && hello.lanes.len() == 1));
    assert_eq!(sequences(&frames[2]), [3, 4, 5, 6]);
    assert_eq!((spool.state().epoch, spool.state().timeline_bytes()), (3, vec![6; 16]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_acknowledges_nothing_is_shown_and_one_that_asks_to_wait_too() {
    let dir = tempfile::tempdir().unwrap();
    let boot = BootId::random();
    let (_writer, spool) = spool_of(dir.path(), boot, 2);
    let (_fake, url) = serve(Box::new(|_, _, frame| match frame {
        Frame::Hello(_) => vec![welcome(1, vec![], 9)],
        Frame::Sealed(sealed) if sealed.sequence == 2 => {
            vec![Step::Send(Answer::RetryLater(v1::RetryLater {
                lane: sealed.lane.clone(),
                sequence: 2,
                delay_ms: 3_600_000,
                reason: "too many readings a second".into(),
            }))]
        }
        _ => vec![],
    }))
    .await;
    let mut running = start_in(dir.path(), &url, &spool, boot);
    let is_shown = |status: &Status| status.connected && !status.waiting.is_zero() && status.asked_to_wait.is_some();
    let status = running.status.wait_for(is_shown).await.unwrap().clone();
    assert_eq!(status.asked_to_wait.as_deref(), Some("too many readings a second"));
    running.stop.cancel();
    // The pause of hours does not hold up the stop.
    running.task.await.unwrap();
    assert_eq!(spool.depth().records, 2);
}
