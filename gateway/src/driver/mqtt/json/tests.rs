use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::notation::json_path;

fn pick(signal: u32, path: &str) -> Pick {
    Pick { signal, path: path.into(), steps: json_path(path).unwrap() }
}

#[test]
fn paths_lead_through_objects_and_arrays() {
    let payload = json!({
        "current": {"rms": 12.5, "peak": 18},
        "zones": [{"t": 801}, {"t": 802.5}],
        "0": "a key that looks like an index",
        "arc": true, "program": "P-7", "none": null, "big": 18_446_744_073_709_551_615u64,
    });
    let raws =
        |path: &str| readings(&payload, &[pick(7, path)]).into_iter().map(|reading| reading.raw).collect::<Vec<_>>();
    assert_eq!(raws("current.rms"), [Raw::Number(12.5)]);
    assert_eq!(raws("current.peak"), [Raw::Integer(18)]);
    assert_eq!(raws("zones[1].t"), [Raw::Number(802.5)]);
    assert_eq!(raws("zones.0.t"), [Raw::Integer(801)]);
    assert_eq!(raws("0"), [Raw::Text("a key that looks like an index".into())]);
    assert_eq!(raws("arc"), [Raw::Bit(true)]);
    assert_eq!(raws("program"), [Raw::Text("P-7".into())]);
    assert_eq!(raws("none"), [Raw::Failed(Quality::BAD_SOURCE)]);
    assert_eq!(raws("zones"), [Raw::Failed(Quality::BAD_UNDECODABLE)]);
    assert_eq!(raws("big"), [Raw::Number(18_446_744_073_709_551_615.0)]);
    for missing in ["current.mean", "zones[2].t", "zones.x", "arc.x", "none.x"] {
        assert_eq!(raws(missing), [], "{missing}");
    }
}

#[test]
fn a_payload_may_bring_a_part() {
    let found = readings(&json!({"b": 1}), &[pick(0, "a"), pick(1, "b")]);
    assert_eq!(found, [Reading::new(1, Raw::Integer(1))]);
}

proptest! {
    #[test]
    fn no_payload_and_no_path_panics(payload in "[\\[\\]{}a-c\":, 0-9.eE+-]{0,80}", path in "[a-c0-9.\\[\\]]{1,12}") {
        if let (Ok(payload), Some(steps)) = (serde_json::from_str(&payload), json_path(&path)) {
            let picks = [Pick { signal: 0, path, steps }];
            let found = readings(&payload, &picks).len();
            prop_assert!(found <= 1);
        }
    }
}
