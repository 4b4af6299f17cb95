use super::*;
use crate::config::tests::example;

/// The example, and the example changed.
fn changed(change: impl Fn(&str) -> String) -> (Config, Config) {
    (example(str::to_owned), example(change))
}

#[test]
fn a_comment_and_another_deadband_stop_nothing() {
    let (old, new) = changed(|text| format!("# new\n{}", text.replace("deadband = 0.5", "deadband = 0.7")));
    let plan = plan(&old, &new);
    assert_eq!(plan.endpoints, [Some(0), Some(1)]);
    assert_eq!(plan.devices, [Some(0), Some(1)]);
    assert!(plan.signals.iter().zip(0..).all(|(place, index)| *place == Some(index)));
}

#[test]
fn what_a_driver_asks_for_stops_its_endpoint_and_no_other() {
    for (from, to) in [
        ("holding:102", "holding:202"),
        ("192.168.0.10:502", "192.168.0.11:502"),
        ("interval = \"10s\"", "interval = \"20s\""),
    ] {
        let (old, new) = changed(|text| {
            assert!(text.contains(from), "{from} is not in the example");
            text.replacen(from, to, 1)
        });
        let plan = plan(&old, &new);
        assert_eq!(plan.endpoints, [None, Some(1)], "{to}");
        assert_eq!(plan.devices, [None, Some(1)], "{to}");
        assert!(plan.signals.iter().all(Option::is_some), "their names are the same");
    }
}

#[test]
fn other_numbers_are_no_other_endpoint() {
    // One signal less in the first endpoint moves all numbers behind it.
    let (old, new) = changed(|text| {
        let (before, rest) = text.split_once("    { name = \"tonnage\"").unwrap();
        format!("{before}{}", rest.split_once('\n').unwrap().1)
    });
    let plan = plan(&old, &new);
    assert_eq!(plan.endpoints, [None, Some(1)]);
    assert_eq!(plan.signals[..3], [None, Some(0), Some(1)]);
    // And an endpoint that is gone.
    let (old, new) = changed(|text| {
        let (before, rest) = text.split_once("\n[[modbus]]\n").unwrap();
        format!("{before}\n[[mqtt]]\n{}", rest.split_once("\n[[mqtt]]\n").unwrap().1)
    });
    let plan = super::plan(&old, &new);
    assert_eq!((plan.endpoints, plan.devices), (vec![Some(1)], vec![Some(1)]));
    assert_eq!(plan.signals.iter().flatten().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn what_needs_a_restart_is_named() {
    let (old, new) = changed(|text| {
        text.replace("hanbit-mould/press-hall", "hanbit-mould/other").replace("127.0.0.1:7480", "127.0.0.1:7999")
    });
    let told = needs_restart(&old, &new);
    assert_eq!(told, ["`gateway` was changed, which needs a restart", "`[http]` was changed, which needs a restart"]);
    assert_eq!(needs_restart(&old, &old), [""; 0]);
}
