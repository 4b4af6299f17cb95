//! A server that refuses, crashes and comes back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sandan_proto::record::Sealed;
use sandan_proto::v1::DeadLetterReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fixture::{BOOTED_US, Plant, pressure, values};
use crate::store::conformance::{SECOND, done};
use crate::store::{Registered, Stored};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_the_server_refuses_costs_its_group_nothing() {
    let mut bed = Bed::new(servers::plain(), TestClock::default()).await;
    let slow = Options { commit_interval: Duration::from_millis(200), ..options(&bed.clock) };
    bed.store = Some(PostgresReadings::open(bed.connect().await, slow).await.unwrap());
    bed.sql(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN IF new.value = 666 THEN RAISE EXCEPTION 'poisoned'; END IF; RETURN new; END$$;
         CREATE TRIGGER poison BEFORE INSERT ON reading FOR EACH ROW EXECUTE FUNCTION poison()",
    );
    let store = bed.store();
    let (mut good, mut bad) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "furnace-1"));
    let registered = [good.connect(store).await, bad.connect(store).await];
    bad.deliver(store, &[pressure(0, 1.0)]).await;
    let sealed = [
        good.seal(&[pressure(0, 1.0)]),
        bad.seal(&[pressure(SECOND, 666.0), pressure(2 * SECOND, 3.0)]),
        bad.seal(&[pressure(3 * SECOND, 4.0)]),
    ];
    let deliveries = [
        good.admitted(&sealed[0], &registered[0]),
        bad.admitted(&sealed[1], &registered[1]),
        bad.admitted(&sealed[2], &registered[1]),
    ];
    let mut receipts = Vec::new();
    for delivery in deliveries {
        receipts.push(store.deliver(delivery).await.unwrap());
    }
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(receipt.await.unwrap().unwrap());
    }
    assert_eq!(outcomes.iter().map(done).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(values(store, good.key(0)).await, [1.0]);
    assert_eq!(values(store, bad.key(0)).await, [1.0, 4.0]);
    let letters = store.dead_letters(&bad.gateway).await.unwrap();
    assert_eq!((letters[0].reason, letters[0].readings), (DeadLetterReason::Undecodable, 2));
    assert_eq!(letters[0].detail, "the store's engine refused the record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_a_delivery_waits_and_then_it_is_stored_once() {
    let mut server = servers::Server::start();
    let bed = Bed::new(server.database(), TestClock::default()).await;
    let store = bed.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(store).await;
    plant.deliver(store, &[pressure(0, 1.0)]).await;
    server.crash();
    let sealed = plant.seal(&[pressure(SECOND, 2.0)]);
    let mut receipt = store.deliver(plant.admitted(&sealed, &registered)).await.unwrap();
    assert!(store.check().await.is_err());
    assert!(receipt.try_recv().is_err(), "nobody is told anything of it yet");
    server.resume();
    assert_eq!(done(&receipt.await.unwrap().unwrap()), 1);
    assert_eq!(values(store, plant.key(0)).await, [1.0, 2.0]);
    store.check().await.unwrap();
}

/// Delivers a record as a session does: until its outcome is known, and from the watermark on
/// after one that is not.
async fn insist(store: &PostgresReadings, plant: &mut Plant, records: &[Sealed]) {
    let mut registered: Option<Arc<Registered>> = None;
    let mut at = 0;
    while at < records.len() {
        if registered.is_none() {
            let Ok(Opening::Granted { epoch, watermarks }) =
                store.open_session(&plant.gateway, plant.epoch, &[plant.lane]).await
            else {
                continue;
            };
            let through = usize::try_from(watermarks[0].1).unwrap();
            (plant.epoch, at) = (epoch, through);
            registered = store.registered(&plant.gateway, plant.births.hash()).await.unwrap_or_default();
            continue;
        }
        let Some(births) = &registered else { continue };
        let receipt = store.deliver(plant.admitted(&records[at], births)).await.unwrap();
        match receipt.await.unwrap() {
            Ok(Stored::Done { .. } | Stored::Duplicate { .. }) => at += 1,
            Ok(other) => panic!("{other:?}"),
            Err(StoreError::Uncertain(_)) => registered = None,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_and_doubles_nothing() {
    const RECORDS: i64 = 400;
    let mut server = servers::Server::start();
    let bed = Bed::new(server.database(), TestClock::default()).await;
    let store = bed.store();
    let mut plants =
        [Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "press-2"), Plant::new("daeil/a", "p")];
    let mut records = Vec::new();
    for plant in &mut plants {
        plant.connect(store).await;
        let sealed = (0..RECORDS).map(|at| plant.seal(&[pressure(at * SECOND, at as f64)]));
        records.push(sealed.collect::<Vec<_>>());
    }
    let [first, second, third] = &mut plants;
    let stored = || store.metrics().records.get();
    let killing = async {
        for round in 1..4 {
            while stored() < round * 200 {
                tokio::task::yield_now().await;
            }
            tokio::task::block_in_place(|| {
                server.crash();
                server.resume();
            });
        }
    };
    let load = async {
        tokio::join!(
            insist(store, first, &records[0]),
            insist(store, second, &records[1]),
            insist(store, third, &records[2])
        )
    };
    tokio::join!(load, killing);
    for plant in &plants {
        let expected: Vec<f64> = (0..RECORDS).map(|at| at as f64).collect();
        assert_eq!(values(store, plant.key(0)).await, expected);
        let lanes = store.lanes(&plant.gateway).await.unwrap();
        assert_eq!((lanes[0].through, lanes[0].readings), (RECORDS.cast_unsigned(), RECORDS.cast_unsigned()));
    }
}

/// A connection to a server's socket that breaks at commits: before the server has heard of one, or
/// before anybody has heard that it is done.
struct Cutter {
    port: u16,
    commits: Arc<AtomicUsize>,
}

/// Every commit of this number is cut.
const CUT: usize = 4;

impl Cutter {
    /// Cuts nothing before it is told to.
    async fn before(server: &servers::Server) -> (Self, Arc<AtomicBool>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = server.directory().join(".s.PGSQL.5432");
        let (commits, cuts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, cutting) = (commits.clone(), cuts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = tokio::net::UnixStream::connect(&socket).await else { continue };
                tokio::spawn(pass_on(client, server, counted.clone(), cutting.clone()));
            }
        });
        (Self { port, commits }, cuts)
    }
}

async fn pass_on(
    client: tokio::net::TcpStream,
    server: tokio::net::UnixStream,
    commits: Arc<AtomicUsize>,
    cuts: Arc<AtomicBool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::io::copy(&mut from_server, &mut to_client);
    let asks = async {
        let mut piece = vec![0; 64 << 10];
        loop {
            let Ok(length @ 1..) = from_client.read(&mut piece).await else { return };
            let is_commit = piece[..length].windows(7).any(|bytes| bytes == b"COMMIT\0");
            let number =
                if is_commit && cuts.load(Ordering::SeqCst) { commits.fetch_add(1, Ordering::SeqCst) + 1 } else { 1 };
            if number % (2 * CUT) == 0 {
                return;
            }
            if to_server.write_all(&piece[..length]).await.is_err() {
                return;
            }
            if number % CUT == 0 {
                // It is done: nobody hears of it. The server closes when it sees the end.
                let _ = to_server.shutdown().await;
                return;
            }
        }
    };
    // Whatever ends first ends both.
    tokio::select! {
        _ = answers => {}
        () = asks => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_at_a_commit_lose_and_double_nothing() {
    const RECORDS: i64 = 60;
    let server = servers::Server::start();
    let (cutter, cuts) = Cutter::before(&server).await;
    let mut bed = Bed::new(server.database(), TestClock::default()).await;
    let name = bed.place.sql("SELECT current_database()");
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname={name}", cutter.port);
    let database = Database::connect(Settings { pool_size: 8, ..Settings::of(dsn.parse().unwrap()) }).await.unwrap();
    bed.store = Some(PostgresReadings::open(database, options(&bed.clock)).await.unwrap());
    let store = bed.store();
    let mut plants = [Plant::new("hanbit/press-hall", "press-1"), Plant::new("daeil/annex", "press-2")];
    let mut records = Vec::new();
    for plant in &mut plants {
        plant.connect(store).await;
        let sealed = (0..RECORDS).map(|at| plant.seal(&[pressure(at * SECOND, at as f64)]));
        records.push(sealed.collect::<Vec<_>>());
    }
    cuts.store(true, Ordering::SeqCst);
    let [first, second] = &mut plants;
    tokio::join!(insist(store, first, &records[0]), insist(store, second, &records[1]));
    cuts.store(false, Ordering::SeqCst);
    assert!(cutter.commits.load(Ordering::SeqCst) > 2 * CUT);
    assert!(store.metrics().commits_uncertain.get() > 0, "sessions were told of it");
    for plant in &plants {
        let expected: Vec<f64> = (0..RECORDS).map(|at| at as f64).collect();
        assert_eq!(values(store, plant.key(0)).await, expected);
        let lanes = store.lanes(&plant.gateway).await.unwrap();
        assert_eq!((lanes[0].through, lanes[0].readings), (RECORDS.cast_unsigned(), RECORDS.cast_unsigned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_processes_one_does_the_upkeep_and_then_another() {
    let mut bed = Bed::new(servers::plain(), TestClock::default()).await;
    bed.store = None;
    let often = |clock| Options { upkeep: Some(Duration::from_millis(10)), ..options(clock) };
    let first = PostgresReadings::open(bed.connect().await, often(&bed.clock)).await.unwrap();
    let passes = |store: &PostgresReadings| store.metrics().upkeeps.get();
    let reaches = async |store: &PostgresReadings, least: u64| {
        while passes(store) < least {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    reaches(&first, 1).await;
    let second = PostgresReadings::open(bed.connect().await, often(&bed.clock)).await.unwrap();
    let before = passes(&first);
    reaches(&first, before + 20).await;
    assert_eq!((passes(&second), first.metrics().upkeep_failures.get()), (0, 0));
    drop(first);
    reaches(&second, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_made_for_days_and_dropped_beyond_the_retention() {
    let bed = Bed::new(servers::plain(), TestClock::default()).await;
    let store = bed.store();
    let partitions = || -> Vec<String> {
        let sql = "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
                   WHERE inhparent = 'reading'::regclass ORDER BY 1";
        bed.sql(sql).lines().map(str::to_owned).collect()
    };
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    let ahead = ["reading_20261122", "reading_20261123", "reading_20261124", "reading_20261125", "reading_rest"];
    assert_eq!(partitions(), ahead);
    plant.deliver(store, &[pressure(0, 1.0)]).await;
    // Two days beyond the retention of 90.
    bed.clock.advance(92 * crate::time::DAY_US);
    store.upkeep().await.unwrap();
    assert_eq!(values(store, plant.key(0)).await, [1.0]);
    assert_eq!(partitions()[0], "reading_20261123", "the day before is beyond the retention");
    bed.clock.advance(crate::time::DAY_US);
    store.upkeep().await.unwrap();
    assert_eq!(values(store, plant.key(0)).await, Vec::<f64>::new());
    assert_eq!(bed.sql("SELECT count(*) FROM reading"), "0");
    assert!(!partitions().contains(&"reading_20261123".to_owned()));
    // What is older than days are made for lies with the rest, and goes one by one, of a series
    // that is known and of one that is not.
    let old_s = BOOTED_US / SECOND - 500 * 86_400;
    bed.sql(&format!(
        "INSERT INTO reading VALUES (to_timestamp({old_s}), 1, 1, 1, 0, 0), (to_timestamp({old_s}), 1, 1, 9999, 0, 0)"
    ));
    assert_eq!(bed.sql("SELECT DISTINCT tableoid::regclass FROM reading"), "reading_rest");
    store.upkeep().await.unwrap();
    assert_eq!(bed.sql("SELECT count(*) FROM reading"), "0");
}
