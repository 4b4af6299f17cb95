use std::path::PathBuf;

use super::*;
use crate::alert::kind::Condition;
use crate::alert::receiver::Way;
use crate::time::parse_time;

fn notice(event: Event) -> Notice {
    let gateway = GatewayId::new("hanbit/press-hall").unwrap();
    let condition = Condition {
        kind: Kind::LinkDown,
        level: Level::Critical,
        subject: Subject::Device { gateway, device: "PLC<3>".into() },
        since_us: parse_time("2026-11-23T14:02:30+09:00", 0).unwrap(),
        number: None,
        is_hidden: false,
    };
    let ended_us = (event == Event::Resolved).then(|| parse_time("2026-11-23T15:00:00+09:00", 0).unwrap());
    Notice { id: "link_down:x@1".into(), event, worst: condition.level, condition, ended_us }
}

fn receiver(language: Lang) -> Receiver {
    let way = Way::Webhook { url: "https://a".into(), secret_file: PathBuf::new() };
    Receiver { name: "duty".into(), language, least: Level::Warn, firms: None, way }
}

fn known() -> Known {
    let firm = FirmId::new("hanbit").unwrap();
    let call = Call { name: "김하늘".into(), phone: "+82 10-1234-5678".into() };
    Known {
        names: [(firm.clone(), ("한빛금형".into(), "Hanbit Mould".into()))].into(), calls: [(firm, call)].into()
    }
}

fn written(notices: &[Notice], language: Lang) -> Message {
    let settings = Settings { console_url: Some("https://sandan.example".into()), ..Settings::default() };
    let writer = Writer { complex: "saesol", settings: &settings, known: &known(), now_us: 0 };
    writer.message("7", notices, &receiver(language)).unwrap()
}

#[test]
fn a_phone_shows_what_where_since_when_what_to_say_and_a_number_to_touch() {
    let message = written(&[notice(Event::Firing)], Lang::Ko);
    assert_eq!(message.subject, "[긴급] 한빛금형 press-hall / PLC<3>: 장치 응답 없음");
    let lines: Vec<_> = message.text.lines().collect();
    assert_eq!(lines[1], "11-23 14:02부터 PLC<3> 장치가 응답하지 않습니다.");
    assert!(lines[2].starts_with("현장에: 기계 제어반의 전원이"), "{}", lines[2]);
    assert_eq!(lines[3], "전화: 김하늘 +82 10-1234-5678 (tel:+821012345678)");
    assert_eq!(lines[4], "설명: https://sandan.example/alerts/link_down");
    assert_eq!(lines[5], "화면: https://sandan.example/?lang=ko#hanbit/press-hall");
    let html = message.html();
    assert!(html.contains("<a href=\"tel:+821012345678\">전화: 김하늘 +82 10-1234-5678</a>"), "{html}");
    assert!(html.contains("<a href=\"https://sandan.example/alerts/link_down\">설명</a>"), "{html}");
    assert!(html.contains("PLC&lt;3&gt;") && !html.contains("PLC<3>"), "{html}");
}

#[test]
fn the_end_says_from_when_to_when_and_asks_for_nothing() {
    let message = written(&[notice(Event::Resolved)], Lang::En);
    assert_eq!(message.subject, "[Resolved] Hanbit Mould press-hall / PLC<3>: Device does not answer");
    assert!(message.text.contains("PLC<3> does not answer: 11-23 14:02 – 11-23 15:00, and it is over."));
    assert!(!message.text.contains("tel:") && !message.text.contains("On site"), "{}", message.text);
    assert_eq!(message.alerts[0].ended.as_deref(), Some("2026-11-23T06:00:00Z"));
}

#[test]
fn a_storm_is_one_message_that_says_how_many_more_there_are() {
    let many: Vec<_> = std::iter::repeat_with(|| notice(Event::Firing)).take(LISTED + 9).collect();
    let message = written(&many, Lang::Ko);
    assert_eq!((message.alerts.len(), message.more), (LISTED, 9));
    assert!(message.subject.ends_with("(그 밖에 58건)"), "{}", message.subject);
    assert!(message.text.trim_end().ends_with("그 밖에 9건"));
}

#[test]
fn a_receiver_hears_of_its_firms_and_its_level_alone() {
    let mut of_daon = receiver(Lang::Ko);
    of_daon.firms = Some([FirmId::new("daon").unwrap()].into());
    let one = notice(Event::Firing);
    assert!(!of_daon.wants(&one));
    of_daon.firms = Some([FirmId::new("hanbit").unwrap()].into());
    assert!(of_daon.wants(&one));
    let mut own = one.clone();
    own.condition.subject = Subject::Service;
    assert!(!of_daon.wants(&own), "the service is the complex's");
    let mut urgent = receiver(Lang::Ko);
    urgent.least = Level::Critical;
    let mut better = notice(Event::Resolved);
    better.condition.level = Level::Warn;
    assert!(urgent.wants(&better), "whoever was told hears of the end");
    better.worst = Level::Warn;
    assert!(!urgent.wants(&better));
}

#[test]
fn every_kind_is_said_in_both_languages() {
    for kind in Kind::ALL {
        let condition = Condition { kind, ..notice(Event::Firing).condition };
        for both in [words::title(kind), words::what(&condition), words::on_site(kind)] {
            assert!(both.0.chars().any(|sign| ('가'..='힣').contains(&sign)), "{kind}: {}", both.0);
            assert!(!both.1.is_empty() && both.1.is_ascii(), "{kind}: {}", both.1);
        }
    }
}

#[test]
fn what_is_stored_is_read_back() {
    let message = written(&[notice(Event::Firing)], Lang::Ko);
    let text = serde_json::to_string(&message).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
}
