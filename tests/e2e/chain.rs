//! One register from the plant to a partner's spreadsheet.

use sandan_tests::harness::account::{Account, EVER, accounts};
use sandan_tests::harness::http::Series;
use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::{ByteOrder, Make};

use crate::world::{FIRM, OTHER, World, plant, used};

/// Every make of machine, each in another byte order: what was served is what its
/// owner reads, value by value.
#[test]
fn what_the_plant_served_is_what_the_owner_reads() {
    let mut world = World::new();
    let plant = plant(
        vec![
            vec![
                ModbusDevice::new("press", 1, Make::Press),
                ModbusDevice::new("furnace", 2, Make::Furnace).in_order(ByteOrder::Cdab),
            ],
            vec![
                ModbusDevice::new("meter", 255, Make::Meter).in_order(ByteOrder::Dcba),
                ModbusDevice::new("compressor", 0, Make::Compressor).in_order(ByteOrder::Badc),
            ],
        ],
        Vec::new(),
    );
    let names = ["press", "furnace", "meter", "compressor"];
    let uses: Vec<_> = names.iter().map(|name| used(&plant, name, name)).collect();
    let mut gateway = world.gateway("press-hall", uses.clone());
    let owner = world.member(FIRM);
    gateway.start().unwrap();
    wait_for("twenty answers of each device", PATIENCE, || {
        names.iter().all(|name| plant.truth().served_by(name).len() > 20).then_some(())
    })
    .unwrap();
    for name in names {
        plant.fault(name, Fault::Absent).unwrap();
    }
    let all = || -> anyhow::Result<Vec<Account>> {
        let mut all = Vec::new();
        for used in &uses {
            all.extend(accounts(&plant, used, FIRM, &owner)?);
        }
        Ok(all)
    };
    let settled = wait_for("every value to be stored", PATIENCE, || {
        all().is_ok_and(|all| all.iter().all(Account::agrees)).then_some(())
    });
    for account in all().unwrap() {
        assert!(account.agrees(), "{}: served {:?}\nstored {:?}", account.series, account.served, account.stored);
        assert!(!account.stored.is_empty(), "{} is empty", account.series);
    }
    settled.unwrap();
    assert_eq!(plant.truth().foreign_requests(), 0, "something other than reads was sent to a machine");

    assert!(gateway.terminate().unwrap().success());
    assert!(world.ingest.terminate().unwrap().success());
    world.ingest.log().assert_quiet("the ingest", &[]);
    // The plant was taken away from it.
    gateway.log().assert_quiet("the gateway", &["cannot be reached"]);
}

/// The names that the owner sees: from the gateway's configuration, and nobody else's.
#[test]
fn a_series_says_what_it_is_to_its_owner_alone() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press-1")]);
    gateway.start().unwrap();
    let owner = world.member(FIRM);
    let series = wait_for("the series to be known", PATIENCE, || {
        let all = owner.list("/v1/series", "series").ok()?;
        all.into_iter().find(|series| series["metric"] == "press_force" && series["newest"].is_string())
    })
    .unwrap();
    assert_eq!(series["firm"], FIRM);
    assert_eq!(series["asset"], "press-1");
    assert_eq!(series["unit"], "kN");
    assert_eq!(series["type"], "f64");
    assert_eq!(series["name"]["ko"], "기계");
    assert_eq!(series["name"]["en"], "Machine");
    assert_eq!(series["path"], "plant-1/press-1");
    assert_eq!(series["time_zone"], "Asia/Seoul");
    assert_eq!(series["expected_interval_ms"], 100);
    assert_eq!(series["own"], true);
    assert!(world.member(OTHER).list("/v1/series", "series").unwrap().is_empty());
}

/// Refused, granted, pulled as JSON and CSV, seen in the audit, revoked, refused.
#[test]
fn a_partner_pulls_under_consent() {
    const BUCKET_US: i64 = 1_000_000;
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press-1")]);
    gateway.start().unwrap();
    let (owner, partner) = (world.member(FIRM), world.member(OTHER));
    let series = Series::new(FIRM, "press-1", "press_force");
    let readings = wait_for("some seconds of readings", PATIENCE, || {
        let readings = owner.readings(&series, EVER.0, EVER.1).ok()?;
        (readings.last()?.time_us - readings.first()?.time_us > 3 * BUCKET_US).then_some(readings)
    })
    .unwrap();
    let (from, to) = (readings[0].time_us / BUCKET_US + 1, readings[readings.len() - 1].time_us / BUCKET_US);
    let path = format!("{}&bucket=1s&function=mean,count", series.path(from * BUCKET_US, to * BUCKET_US).unwrap());

    assert_eq!(partner.get(&path).unwrap().status, 404);
    let form = ["--form", "bucketed", "--floor", "1s", "--function", "mean", "--function", "count"];
    let consent = world.ingest.grant(FIRM, OTHER, "press-1", "press_force", &form).unwrap();

    let answer = partner.get(&path).unwrap().ok().unwrap();
    assert_eq!(answer["form"], "bucketed");
    assert_eq!(answer["consents"], serde_json::json!([consent]));
    let buckets = answer["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), usize::try_from(to - from).unwrap());
    for (second, bucket) in (from..).zip(buckets) {
        let inside = readings.iter().filter(|reading| reading.time_us / BUCKET_US == second);
        let values: Vec<f64> = inside.filter_map(|reading| reading.value.as_ref()?.as_f64()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert_eq!(bucket["count"], values.len());
        assert!((bucket["mean"].as_f64().unwrap() - mean).abs() < 1e-9, "{bucket} where the mean is {mean}");
        assert!(bucket.get("max").is_none(), "a function that nobody consented to: {bucket}");
    }
    // The same as a spreadsheet takes it.
    let csv = partner.get(&format!("{path}&format=csv")).unwrap();
    assert_eq!(csv.status, 200);
    assert!(csv.content_type.starts_with("text/csv"), "{}", csv.content_type);
    let mut lines = csv.body.lines();
    assert_eq!(lines.next(), Some("start,firm,asset,metric,unit,mean,count"));
    assert_eq!(lines.count(), buckets.len());

    // Finer, rawer or other than what was consented to is refused, and says so.
    let raw = series.path(from * BUCKET_US, to * BUCKET_US).unwrap();
    for not_covered in [raw.clone(), format!("{raw}&bucket=1s&function=max"), format!("{raw}&bucket=500ms")] {
        let refused = partner.get(&not_covered).unwrap();
        assert!(matches!(refused.status, 400 | 403), "{not_covered}: {} {}", refused.status, refused.body);
        assert!(refused.content_type.starts_with("application/problem+json"), "{}", refused.content_type);
    }

    let audit = owner.list(&format!("/v1/audit?firm={FIRM}"), "entries").unwrap();
    assert!(audit.iter().any(|entry| entry.to_string().contains(OTHER)), "{audit:#?}");
    assert!(world.ingest.command(&["audit", "verify", FIRM]).is_ok());

    world.ingest.revoke(&consent).unwrap();
    let refused = partner.get(&path).unwrap();
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(refused.body.contains("revoked"), "{}", refused.body);
    // The owner goes on reading.
    assert_eq!(owner.get(&path).unwrap().status, 200);
    world.ingest.log().assert_quiet("the ingest", &[]);
    gateway.log().assert_quiet("the gateway", &[]);
}
