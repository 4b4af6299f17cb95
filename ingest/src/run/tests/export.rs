//! `export`, over both engines.

use std::path::Path;

use sandan_proto::reading::{Quality, Value};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::admin::Admin;
use crate::admin::export::{Exported, WantedExport};
use crate::audit::{Hash, Kind};
use crate::fixture::{CLOCK, Reading};
use crate::servers::plain;
use crate::session::admission::{self, Bounds};
use crate::store::{Delivery, Readings};
use crate::time::{DAY_US, rfc3339};

/// More than one page of the store's.
const NUMBERS: i64 = 10_500;

#[tokio::test(flavor = "multi_thread")]
async fn a_firm_is_exported_from_files() {
    everything_is_exported("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firm_is_exported_from_a_database() {
    let place = plain();
    everything_is_exported(&format!("[store]\nengine = \"postgres\"\nurl = \"{}\"\n", place.dsn())).await;
}

async fn deliver(readings: &dyn Readings, plant: &mut Plant, rows: &[Reading]) {
    let registered = readings.registered(&plant.gateway, plant.births.hash()).await.unwrap().unwrap();
    let sealed = plant.seal(rows);
    let bounds = Bounds::at(system_clock()(), 1_000 * DAY_US);
    let content = admission::admit(sealed.clone(), &registered, CLOCK, bounds);
    let delivery = Delivery { content, ..plant.admitted(&sealed, &registered) };
    readings.deliver(delivery).await.unwrap().await.unwrap().unwrap();
}

async fn execute(admin: &Admin, firm: &str, (from_us, to_us): (Option<i64>, Option<i64>), to: &Path) -> Exported {
    let wanted = WantedExport { firm: super::firm(firm), from_us, to_us, to: to.into() };
    match admin.execute(Command::FirmExport(wanted)).await {
        Ok(Answer::Exported(manifest)) => *manifest,
        other => panic!("{other:?}"),
    }
}

fn lines(dir: &Path, name: &str) -> Vec<String> {
    std::fs::read_to_string(dir.join(name)).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// The directory is what its manifest says, and nobody else's to read.
fn assert_whole(dir: &Path, manifest: &Exported) {
    let written: Exported = serde_json::from_str(&lines(dir, "manifest.json").concat()).unwrap();
    assert_eq!(written, *manifest);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700);
    let mut names: Vec<_> = manifest.files.iter().map(|file| file.name.clone()).collect();
    for file in &manifest.files {
        let bytes = std::fs::read(dir.join(&file.name)).unwrap();
        assert_eq!(Hash::from_bytes(&Sha256::digest(&bytes)).unwrap(), file.sha256, "{}", file.name);
        assert_eq!((bytes.len() as u64, mode(&dir.join(&file.name))), (file.bytes, 0o600), "{}", file.name);
    }
    names.push("manifest.json".to_owned());
    names.sort();
    let mut there: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, names);
    let counts = ["series.ndjson", "gaps.ndjson", "readings.ndjson"].map(|name| lines(dir, name).len() as u64);
    assert_eq!(counts, [manifest.series, manifest.gaps, manifest.readings]);
}

async fn everything_is_exported(store: &str) {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("complex = \"c\"\ndata_dir = \"data\"\n{store}");
    let config = Config::parse(&dir.path().join("ingest.toml"), &text).unwrap();
    let parts = Parts::open(&config, data_dir::open(&config).await.unwrap().unwrap()).await.unwrap();
    let admin = parts.admin(Arc::default(), None, config.uplink.public_at(config.uplink.address));
    for id in ["hanbit", "saesol"] {
        admin.execute(add(id)).await.unwrap();
    }
    // What the plant measured, a day ago: a long series, and one reading of each type; a neighbour's.
    let from_us = system_clock()() - BOOTED_US - DAY_US;
    let (mut plant, mut other) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("saesol/line-1", "oven-1"));
    for plant in [&mut plant, &mut other] {
        plant.connect(&*admin.readings).await;
    }
    deliver(&*admin.readings, &mut other, &[pressure(from_us, 1.0)]).await;
    let numbers: Vec<_> = (0..NUMBERS).map(|at| pressure(from_us + at * SECOND_US, at as f64 + 0.1)).collect();
    for part in numbers.chunks(1_500) {
        deliver(&*admin.readings, &mut plant, part).await;
    }
    admin.readings.compact(&plant.firm()).await.unwrap();
    let text = "정지 \"E-12\"\n\\";
    let typed = [
        (1, Value::I64(i64::MAX), Quality::GOOD, json!(i64::MAX), "good"),
        (2, Value::Bool(true), Quality::GOOD_COUNTER_RESET, json!(true), "good(counter_reset)"),
        (3, Value::Text(text.into()), Quality::GOOD, json!(text), "good"),
        (4, Value::F64(0.0), Quality::BAD_NO_ANSWER, Json::Null, "bad(no_answer)"),
    ];
    let odd = from_us + 7;
    let rows: Vec<_> =
        typed.iter().map(|(series, value, quality, ..)| (*series, odd, value.clone(), *quality)).collect();
    deliver(&*admin.readings, &mut plant, &rows).await;
    plant.lose(&*admin.readings, from_us + 100 * SECOND_US, from_us + 200 * SECOND_US, 5).await;

    let line = |series: usize, at_us: i64, value: Json, quality: &str| {
        let (key, unit) = (plant.key(series), &plant.births.series[series].unit);
        let time = rfc3339(BOOTED_US + at_us);
        let line = json!({ "asset": key.asset, "metric": key.metric, "unit": unit, "time": time, "value": value, "quality": quality });
        line.to_string()
    };
    let mut expected: Vec<_> =
        (0..NUMBERS).map(|at| line(0, from_us + at * SECOND_US, json!(at as f64 + 0.1), "good")).collect();
    for (series, _, _, value, word) in &typed {
        expected.push(line(*series as usize, odd, value.clone(), word));
    }

    let to = dir.path().join("hanbit");
    let manifest = execute(&admin, "hanbit", (None, None), &to).await;
    assert_whole(&to, &manifest);
    let mut found = lines(&to, "readings.ndjson");
    let of =
        |metric: &str| found.iter().filter(|line| line.contains(&format!("\"{metric}\""))).cloned().collect::<Vec<_>>();
    assert!(of("pressure") == expected[..numbers.len()], "the long series is in order of time, across pages");
    found.sort();
    expected.sort();
    assert!(found == expected, "{:?}", found.iter().zip(&expected).find(|(found, expected)| found != expected));
    assert_eq!((manifest.complex.as_str(), manifest.firm.as_str(), manifest.series), ("c", "hanbit", 6));
    assert!(manifest.as_of.is_some() && manifest.all_gaps && manifest.from.is_none(), "{manifest:?}");
    let time = |at_us: i64| rfc3339(BOOTED_US + from_us + at_us);
    let gap = json!({ "gateway": "hanbit/press-hall", "from": time(100 * SECOND_US), "to": time(200 * SECOND_US),
        "cause": "spool_full", "readings": 5, "clock": "known" });
    assert_eq!(lines(&to, "gaps.ndjson"), [gap.to_string()]);
    let series: Json = serde_json::from_str(&lines(&to, "series.ndjson")[0]).unwrap();
    assert_eq!((&series["asset"], &series["name"]["ko"]), (&json!("press-1"), &json!("1호 프레스")));

    // A second, half-open; where a killed one left something. Then once more.
    let left = dir.path().join(".unfinished-export-second");
    std::fs::create_dir(&left).unwrap();
    let mark = std::fs::File::create(left.join("an-export-that-is-not-whole")).unwrap();
    let second = dir.path().join("second");
    let range = (Some(BOOTED_US + from_us + SECOND_US), Some(BOOTED_US + from_us + 3 * SECOND_US));
    let wanted = |firm: &str, to: &Path| {
        let (from_us, to_us) = range;
        Command::FirmExport(WantedExport { firm: super::firm(firm), from_us, to_us, to: to.into() })
    };
    mark.lock().unwrap();
    let refused = admin.execute(wanted("hanbit", &second)).await.unwrap_err();
    assert!(refused.message.starts_with("another export to "), "{refused}");
    drop(mark);
    let manifest = execute(&admin, "hanbit", range, &second).await;
    assert_whole(&second, &manifest);
    assert_eq!((manifest.readings, manifest.gaps, manifest.from), (2, 0, range.0.map(rfc3339)));
    let refused = admin.execute(wanted("hanbit", &second)).await.unwrap_err();
    assert!(refused.message.ends_with("is there already"), "{refused}");
    assert_whole(&second, &Exported { from: range.0.map(rfc3339), ..manifest });
    let refused = admin.execute(wanted("nobody", &dir.path().join("third"))).await.unwrap_err();
    assert_eq!(refused.message, "there is no firm `nobody`");
    assert!(!dir.path().join("third").exists() && !left.exists());

    let page = Command::AuditPage { chain: Chain::Firm(firm("hanbit")), after: 0 };
    let Answer::Audit(log) = admin.execute(page).await.unwrap() else { panic!() };
    let told: Vec<_> = log.iter().filter(|entry| entry.kind == Kind::FirmExported).collect();
    assert_eq!(told.len(), 2, "each that was begun");
    assert_eq!(told[1].detail["to"], time(3 * SECOND_US).into());
}
