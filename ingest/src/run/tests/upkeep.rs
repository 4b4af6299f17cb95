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

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_firm_is_gone_but_for_its_log_and_can_be_nobody_again() {
    for killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        added(&config, &["hanbit", "saesol"]).await;
        let (gone, stays) = (stored(&config, "hanbit/press-hall", 1).await, stored(&config, "saesol/line-1", 1).await);
        let mut door = Door::open(&config).await.unwrap();
        for gateway in [&gone, &stays] {
            let id = gateway.gateway.clone();
            door.execute(Command::GatewayInvite { id, life_us: 60 * SECOND_US, replace: false }).await.unwrap();
        }
        for id in ["hanbit", "saesol"] {
            door.execute(Command::MemberAdd {
                firm: firm(id),
                name: "김하늘".into(),
                role: crate::consent::Role::Member,
                until_us: None,
            })
            .await
            .unwrap();
        }
        for (grantor, grantee) in [("hanbit", "saesol"), ("saesol", "hanbit")] {
            let grant = Grant {
                grantor: firm(grantor),
                grantee: firm(grantee),
                assets: ["press-1".parse().unwrap()].into(),
                metrics: ["press_force".parse().unwrap()].into(),
                form: SharedForm::Raw,
                event: EventWindow { from_us: None, to_us: None },
                not_before_us: None,
                until_us: i64::MAX,
            };
            door.execute(Command::ConsentGrant(grant)).await.unwrap();
        }
        let holdings = || Command::FirmHoldings { firm: firm("hanbit") };
        let Answer::Holdings(held) = door.execute(holdings()).await.unwrap() else { panic!() };
        assert_eq!((held.readings, held.gateways, held.series), (100, 1, 6));
        assert!(held.bytes > 0 && held.from_us.unwrap() < held.to_us.unwrap(), "{held:?}");
        let erase = || Command::FirmErase { firm: firm("hanbit") };
        if killed {
            door.close().await;
            let stores = data_dir::open(&config).await.unwrap().unwrap();
            let stamp = crate::store::control::Stamp { actor: "command line".into(), now_us: 1 };
            let erase = crate::store::control::Change::EraseFirm { id: firm("hanbit"), held };
            stores.control.apply(erase, stamp).await.unwrap();
            assert_eq!(stores.readings.holdings(&firm("hanbit")).await.unwrap(), held, "it was killed here");
            drop(stores);
            // The next start goes on with it.
            let parts = Parts::open(&config, data_dir::open(&config).await.unwrap().unwrap()).await.unwrap();
            let admin = parts.admin(Arc::default(), None, config.uplink.public_at(config.uplink.address));
            admin.finish_erasures().await.unwrap();
            drop((admin, parts));
            door = Door::open(&config).await.unwrap();
        } else {
            assert_eq!(door.execute(erase()).await.unwrap(), Answer::Holdings(held));
        }
        let Answer::Holdings(held) = door.execute(holdings()).await.unwrap() else { panic!() };
        assert_eq!(held, crate::store::Holdings::default());
        let Answer::Firms(firms) = door.execute(Command::FirmList).await.unwrap() else { panic!() };
        assert!(firms[0].is_erased() && !firms[1].is_erased(), "{firms:?}");
        let Answer::Gateways(gateways) = door.execute(Command::GatewayList).await.unwrap() else { panic!() };
        assert_eq!(gateways.iter().map(|it| it.entry.revoked_us.is_some()).collect::<Vec<_>>(), [true, false]);
        let Answer::Members(members) = door.execute(Command::MemberList).await.unwrap() else { panic!() };
        assert_eq!(members.iter().map(|it| it.revoked_us.is_some()).collect::<Vec<_>>(), [true, false]);
        assert_eq!((members[0].name.as_str(), members[1].name.as_str()), ("", "김하늘"));
        let Answer::Consents(consents) = door.execute(Command::ConsentList).await.unwrap() else { panic!() };
        assert!(consents.iter().all(|it| matches!(it.status, Status::Revoked { .. })), "{consents:?}");

        // Its log is whole, and says what went.
        let kinds: Vec<_> = log(&mut door, "hanbit").await.into_iter().map(|entry| entry.kind).collect();
        for kind in [Kind::FirmErased, Kind::ConsentRevoked, Kind::MemberRevoked, Kind::GatewayRevoked] {
            assert_eq!(kinds.iter().filter(|it| **it == kind).count(), 1, "{kind:?} in {kinds:?}");
        }
        let whole = door.execute(Command::AuditVerify { chain: Chain::Firm(firm("hanbit")) }).await;
        assert!(matches!(whole, Ok(Answer::AuditHolds(_))), "{whole:?}");
        // Done again it changes nothing, and nobody comes back under its id.
        assert_eq!(door.execute(erase()).await.unwrap(), Answer::Holdings(crate::store::Holdings::default()));
        assert_eq!(log(&mut door, "hanbit").await.iter().filter(|it| it.kind == Kind::FirmErased).count(), 1);
        assert!(door.execute(add("hanbit")).await.unwrap_err().message.contains("exists already"));
        let again = Command::GatewayInvite { id: gone.gateway.clone(), life_us: 60 * SECOND_US, replace: true };
        assert_eq!(door.execute(again).await.unwrap_err().message, "there is no firm `hanbit`");
        let Answer::Holdings(left) = door.execute(Command::FirmHoldings { firm: firm("saesol") }).await.unwrap() else {
            panic!()
        };
        assert_eq!(left.readings, 100, "the neighbour has everything");
        door.close().await;
    }
}

/// How far a store is never falls, also when a firm goes with all that it had committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_firm_that_is_erased_makes_no_store_older_than_its_witness() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("disk")).unwrap();
    let text = "complex = \"c\"\ndata_dir = \"data\"\n[witness]\nfile = \"disk/witness.json\"\n";
    let config = Config::parse(&dir.path().join("ingest.toml"), text).unwrap();
    added(&config, &["hanbit", "saesol"]).await;
    for gateway in ["hanbit/press-hall", "saesol/line-1"] {
        stored(&config, gateway, 1).await;
    }
    // The witness knows of both by this start, and is not told what is done then: as a kill leaves it.
    let stores = data_dir::open(&config).await.unwrap().unwrap();
    let commits = stores.readings.commits().await.unwrap();
    assert!(stores.readings.erase(&firm("hanbit")).await.unwrap());
    assert_eq!(stores.readings.commits().await.unwrap(), commits);
    drop(stores);
    let stores = data_dir::open(&config).await.unwrap().unwrap();
    assert_eq!((stores.notice.as_deref(), stores.readings.commits().await.unwrap()), (None, commits));
    drop(stores);
    // Whoever comes back is counted on.
    stored(&config, "hanbit/press-hall", 1).await;
    let stores = data_dir::open(&config).await.unwrap().unwrap();
    assert!(stores.notice.is_none() && stores.readings.commits().await.unwrap() > commits);
}
