//! What runs over all that a firm has stored.

use super::*;
use crate::admin::upkeep::RetentionLine;
use crate::audit::Kind;
use crate::fixture::CLOCK;
use crate::session::admission::{self, Bounds};
use crate::store::{Delivery, Pass, Retained};
use crate::time::DAY_US;

/// A plant of which readings are stored and packed, so many days old.
async fn stored(config: &Config, gateway: &str, days: i64) -> Plant {
    let stores = data_dir::open(config).await.unwrap().unwrap();
    let mut plant = Plant::new(gateway, "press-1");
    let registered = plant.connect(&*stores.readings).await;
    let now_us = system_clock()();
    let from_us = now_us - BOOTED_US - days * DAY_US;
    let readings: Vec<_> = (0..100).map(|at| pressure(from_us + at * SECOND_US, at as f64)).collect();
    let sealed = plant.seal(&readings);
    // They were young when they came.
    let content = admission::admit(sealed.clone(), &registered, CLOCK, Bounds::at(now_us, 1_000 * DAY_US));
    let delivery = Delivery { content, ..plant.admitted(&sealed, &registered) };
    stores.readings.deliver(delivery).await.unwrap().await.unwrap().unwrap();
    stores.readings.compact(&plant.firm()).await.unwrap();
    plant
}

async fn added(config: &Config, firms: &[&str]) {
    let mut door = Door::open(config).await.unwrap();
    for firm in firms {
        door.execute(add(firm)).await.unwrap();
    }
    door.close().await;
}

async fn log(door: &mut Door, firm: &str) -> Vec<crate::audit::Entry> {
    let chain = Chain::Firm(firm.parse().unwrap());
    let Answer::Audit(log) = door.execute(Command::AuditPage { chain, after: 0 }).await.unwrap() else { panic!() };
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_retention_is_looked_at_first_and_goes_when_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let text = "complex = \"c\"\ndata_dir = \"data\"\n[retention.firm.daeil]\nreadings = \"400d\"\n";
    let config = Config::parse(&dir.path().join("ingest.toml"), text).unwrap();
    added(&config, &["daeil", "hanbit"]).await;
    for gateway in ["daeil/line-1", "hanbit/press-hall"] {
        stored(&config, gateway, 100).await;
    }
    let mut door = Door::open(&config).await.unwrap();
    let mut retention = async |firm: Option<FirmId>, pass| match door.execute(Command::Retention { firm, pass }).await {
        Ok(Answer::Retention(lines)) => lines,
        other => panic!("{other:?}"),
    };
    let looked = retention(None, Pass::Look).await;
    let [daeil, hanbit] = &looked[..] else { panic!("{looked:?}") };
    assert_eq!(*daeil, RetentionLine { firm: firm("daeil"), gone: Retained::default() }, "it is kept for longer");
    assert_eq!((hanbit.gone.readings, hanbit.gone.bytes > 0), (100, true));
    assert_eq!(&retention(Some(firm("hanbit")), Pass::Apply).await[0], hanbit);
    assert!(retention(None, Pass::Look).await.iter().all(|line| line.gone.is_nothing()));
    let applied = log(&mut door, "hanbit").await;
    let applied: Vec<_> = applied.iter().filter(|entry| entry.kind == Kind::RetentionApplied).collect();
    assert_eq!(applied.len(), 1);
    assert_eq!(applied[0].detail["readings"], 100.into());
    let nobody = door.execute(Command::Retention { firm: Some(firm("nobody")), pass: Pass::Look }).await.unwrap_err();
    assert_eq!(nobody.message, "there is no firm `nobody`");
    door.close().await;
}
