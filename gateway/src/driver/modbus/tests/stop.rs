//! What a driver does with its last request.

use super::*;

#[tokio::test]
async fn what_was_asked_when_the_stop_came_is_still_answered_and_nothing_more_is_asked() {
    let plc = Plc::start(|_| Act::Slow(Duration::from_millis(60))).await;
    let mut rig = rig(&plc.address, ONE);
    rig.next().await;
    let deadline = Instant::now() + PATIENCE;
    while plc.asked().len() < 2 {
        assert!(Instant::now() < deadline, "there is no second request");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let Rig { mut replies, _stop: stop, _synced: synced, .. } = rig;
    drop(stop);
    let last = tokio::time::timeout(PATIENCE, replies.recv()).await.expect("the last reply in time");
    assert_eq!(last.expect("the answer that was under way").readings.len(), 2);
    let after = tokio::time::timeout(PATIENCE, replies.recv()).await.expect("the driver to end");
    assert!(after.is_none(), "{after:?}");
    assert_eq!(plc.asked().len(), 2);
    drop(synced);
}
