use super::*;
use crate::time::{HOUR_US, parse_time};

fn at(text: &str) -> i64 {
    parse_time(text, 0).unwrap()
}

fn weekly(days: &[i8], minute: u16, length_us: i64) -> When {
    When::Weekly { days: days.to_vec(), minute, length_us }
}

#[test]
fn a_window_recurs_by_the_wall_clock_of_seoul() {
    // 2026-11-23 is a Monday. 22:00 there is 13:00 UTC.
    let window = weekly(&[1, 3], minute_of_day("22:00").unwrap(), 4 * HOUR_US);
    for open in ["2026-11-23T22:00:00+09:00", "2026-11-24T01:59:59+09:00", "2026-11-25T23:00:00+09:00"] {
        assert!(window.is_open(at(open)), "{open}");
    }
    for shut in ["2026-11-23T21:59:59+09:00", "2026-11-24T02:00:00+09:00", "2026-11-24T22:00:00+09:00"] {
        assert!(!window.is_open(at(shut)), "{shut}");
    }
    // Over a weekend: opened on Friday, still open on Monday morning.
    let window = weekly(&[5], 18 * 60, 60 * HOUR_US);
    assert!(window.is_open(at("2026-11-29T23:00:00+09:00")));
    assert!(window.is_open(at("2026-11-30T05:59:00+09:00")));
    assert!(!window.is_open(at("2026-11-30T06:00:00+09:00")));
    assert!(!window.is_over(i64::MAX));
}

#[test]
fn windows_that_cannot_be_are_refused() {
    assert_eq!(When::Once { from_us: 5, to_us: 5 }.check(), Err(WindowFault::Backwards));
    assert_eq!(When::Once { from_us: 0, to_us: MAX_WINDOW_US }.check(), Err(WindowFault::TooLong));
    assert_eq!(weekly(&[], 0, HOUR_US).check(), Err(WindowFault::NoDay));
    assert_eq!(weekly(&[8], 0, HOUR_US).check(), Err(WindowFault::NoDay));
    assert_eq!(weekly(&[1], DAY_MINUTES, HOUR_US).check(), Err(WindowFault::NoDay));
    assert_eq!(weekly(&[1], 0, 0).check(), Err(WindowFault::Backwards));
    assert_eq!(weekly(&[1], 0, HOUR_US).check(), Ok(()));
    assert_eq!(minute_of_day("24:00"), None);
    assert_eq!(minute_of_day("9"), None);
    assert_eq!(shown_minute(minute_of_day("09:05").unwrap()), "09:05");
}

#[test]
fn a_scope_reaches_as_far_as_it_is_written() {
    let gateway = GatewayId::new("hanbit/hall").unwrap();
    let device = Subject::Device { gateway: gateway.clone(), device: "press plc".into() };
    for scope in ["all", "hanbit", "hanbit/hall", "hanbit/hall:press plc"] {
        let scope: Scope = scope.parse().unwrap();
        assert!(scope.covers(&device), "{scope}");
        assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
    }
    for scope in ["daon", "hanbit/other", "hanbit/hall:plc"] {
        assert!(!scope.parse::<Scope>().unwrap().covers(&device), "{scope}");
    }
    assert!(!"hanbit".parse::<Scope>().unwrap().covers(&Subject::Service));
    assert!("all".parse::<Scope>().unwrap().covers(&Subject::Service));
    assert!(!"hanbit/hall:plc".parse::<Scope>().unwrap().covers(&Subject::Gateway(gateway)));
    for wrong in ["", "A", "a/b/c", "a/b:", "a:b", "a/b:\n"] {
        assert!(wrong.parse::<Scope>().is_err(), "{wrong:?}");
    }
}

#[test]
fn what_is_over_is_let_go() {
    let mut quiet = Quiet::default();
    let why = String::new;
    quiet.mutes.push(Mute { id: 1, scope: Scope::All, kind: None, until_us: 10, by: why(), why: why(), made_us: 0 });
    let when = When::Once { from_us: 0, to_us: 20 };
    quiet.windows.push(Window { id: 2, scope: Scope::All, when, by: why(), why: why(), made_us: 0 });
    assert_eq!(quiet.next_id(), 3);
    assert!(quiet.covers(Kind::NotStoring, &Subject::Service, 9));
    assert_eq!(quiet.forget(15), (vec![1], vec![]));
    assert!(
        quiet.covers(Kind::NotStoring, &Subject::Service, 15) && !quiet.covers(Kind::NotStoring, &Subject::Service, 20)
    );
    assert_eq!(quiet.forget(20), (vec![], vec![2]));
}
