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

#[tokio::test]
async fn a_device_that_does_not_answer_does_not_hold_up_the_stop() {
    let plc = Plc::start(|_| Act::Silence).await;
    let mut config = config(&plc.address, ONE);
    let Endpoint::Modbus(endpoint) = &mut config.endpoints[0] else { panic!("the first endpoint is Modbus") };
    endpoint.timeout = Duration::from_mins(1);
    let (sender, mut replies) = mpsc::channel(1_000);
    let (_synced, synced) = watch::channel(0);
    let stop = CancellationToken::new();
    let driver = run(modbus(&config), Outlet::new(0, sender, synced), Health::new(&config), stop.clone());
    let driver = tokio::spawn(driver);
    let deadline = Instant::now() + PATIENCE;
    while plc.asked().is_empty() {
        assert!(Instant::now() < deadline, "there is no request");
        tokio::task::yield_now().await;
    }
    stop.cancel();
    tokio::time::timeout(PATIENCE, driver).await.expect("the driver to end").unwrap();
    assert!(replies.recv().await.is_none());
}
