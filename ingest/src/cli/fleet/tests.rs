use sandan_proto::id::GatewayId;
use sandan_proto::v1;

use super::*;
use crate::fleet::{Bounds, Fleet};
use crate::time::SECOND_US;

fn shown(json: bool) -> (String, usize) {
    let mut fleet = Fleet::new(Bounds::default(), 0);
    for id in ["hanbit/fine", "hanbit/down", "hanbit/new"] {
        let id = GatewayId::new(id).unwrap();
        fleet.enrol(id.clone());
        if id.as_str() != "hanbit/new" {
            fleet.opened(&id, 1, &v1::Hello::default(), 0);
        }
    }
    let link = |device: &str| v1::LinkHealth {
        device: device.into(),
        endpoint: device.into(),
        state: v1::LinkState::Down.into(),
        ..Default::default()
    };
    let health = v1::Health { links: vec![link("plc-3"), link("plc-4")], ..Default::default() };
    fleet.health(&GatewayId::new("hanbit/down").unwrap(), &health, 0);
    fleet.storing(false, SECOND_US);
    let now = FleetNow { now_us: SECOND_US, own: fleet.own_conditions(), views: fleet.views(SECOND_US) };
    let mut out = Vec::new();
    print(&mut out, &now, json).unwrap();
    (String::from_utf8(out).unwrap(), now.wrong())
}

#[test]
fn what_is_worst_comes_first_and_one_line_says_where_the_path_is_broken() {
    let (text, wrong) = shown(false);
    assert_eq!(wrong, 2, "one gateway and the ingest");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "the ingest: not_storing since 1970-01-01T00:00:01Z");
    assert!(lines[2].starts_with("hanbit/down") && lines[2].contains("plc-3 +1 x > gateway ok > spool ok > ingest x"));
    assert!(lines[2].ends_with("critical link_down of plc-3 since 1970-01-01T00:00:01Z, and 1 more"), "{text}");
    assert!(lines[3].starts_with("hanbit/fine") && lines[4].starts_with("hanbit/new"), "{text}");
}

#[test]
fn programs_get_all_of_it() {
    let (text, _) = shown(true);
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["own"][0]["id"], "not_storing");
    assert_eq!(found["views"][0]["conditions"][0]["id"], "link_down");
    assert_eq!(found["views"][0]["state"], "degraded");
    assert_eq!(found["views"][2]["figures"][0]["level"], "unknown");
    let read: FleetNow = serde_json::from_str(&text).unwrap();
    assert_eq!(read.views.len(), 3);
}
