use super::*;
use crate::config::tests::example;

fn running() -> Task {
    tokio::spawn(std::future::pending())
}

#[tokio::test]
async fn a_task_that_ends_before_the_stop_is_the_reason_to_end() {
    let never = std::future::pending::<()>;
    let asked = until_stop(async {}, &mut running(), &mut running()).await;
    assert!(matches!(asked, Reason::Asked), "{asked:?}");
    let ended = until_stop(never(), &mut running(), &mut tokio::spawn(async {})).await;
    assert!(matches!(&ended, Reason::Uplink(fault) if fault.to_string() == "the uplink ended by itself"), "{ended:?}");
    let failed = tokio::spawn(async {
        tokio::task::yield_now().await;
        panic!("as a task may")
    });
    let ended = until_stop(never(), &mut running(), &mut { failed }).await;
    assert!(matches!(&ended, Reason::Uplink(fault) if fault.to_string() == "the uplink failed"), "{ended:?}");
    let ended = until_stop(never(), &mut tokio::spawn(async {}), &mut running()).await;
    assert!(matches!(ended, Reason::Recorder(_)), "{ended:?}");
}

#[tokio::test]
async fn a_start_that_fails_on_a_taken_port_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = example(str::to_owned);
    config.state_dir = folder.path().join("state");
    config.http.listen = taken.local_addr().unwrap();
    let error = run(config.clone(), folder.path().join("gateway.toml")).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"), "{error:#}");
    assert!(!config.state_dir.exists());
}
