use sandan_proto::v1::DeadLetterReason;

use super::*;

fn all(faults: &[Fault]) -> Vec<Sentence<'_>> {
    let mut all = vec![
        Sentence::Title,
        Sentence::DeadLetters,
        Sentence::Dead(DeadLetterReason::ClockUnknown, 1_234, 0),
        Sentence::Dead(DeadLetterReason::Forked, 1_234, 7),
        Sentence::SignIn,
        Sentence::SignOut,
        Sentence::Token,
        Sentence::TokenHelp,
        Sentence::TokenUnknown,
        Sentence::LinkUsed,
        Sentence::LinkOpen,
        Sentence::Broken,
        Sentence::NoGateways,
        Sentence::AsOf("12:00".into()),
        Sentence::LastData,
        Sentence::LastContact,
        Sentence::Spool,
        Sentence::SpoolThen,
        Sentence::Links,
        Sentence::LinksThen,
        Sentence::Never,
        Sentence::Unknown,
        Sentence::NoLinks,
        Sentence::SpoolHolds { readings: 1_234_567, percent: 3, oldest_ms: 60_000 },
        Sentence::SpoolEmpty { percent: 0 },
        Sentence::Ago(5 * SECOND_US),
        Sentence::AllWell,
        Sentence::NeedsAttention,
    ];
    let states = [State::Fenced, State::Offline, State::Silent, State::CatchingUp, State::Online, State::Enrolled];
    all.extend(states.into_iter().map(Sentence::State));
    let links = [LinkState::Down, LinkState::Flaky, LinkState::Unknown, LinkState::Up, LinkState::Disabled];
    all.extend(links.into_iter().map(Sentence::Link));
    all.extend(faults.iter().map(|fault| Sentence::Fault(fault, 0)));
    all
}

fn faults() -> Vec<Fault> {
    let gateway = || sandan_proto::id::GatewayId::new("hanbit/press-hall").unwrap();
    vec![
        Fault::Fenced { gateway: gateway(), beside: false },
        Fault::Fenced { gateway: gateway(), beside: true },
        Fault::Offline { contact_us: Some(-90 * MINUTE_US) },
        Fault::Offline { contact_us: None },
        Fault::Silent { contact_us: -40 * SECOND_US },
        Fault::LinkDown { device: "press-plc".into(), last_good_us: Some(-3 * MINUTE_US), others: 0 },
        Fault::LinkDown { device: "press-plc".into(), last_good_us: None, others: 2 },
        Fault::LinkFlaky { device: "press-plc".into(), success_permille: 612 },
        Fault::Dropped { readings: 12_000 },
        Fault::SpoolFull { percent: 85 },
        Fault::CatchingUp { oldest_ms: 3 * 86_400_000 },
        Fault::Forked,
        Fault::Unusable { messages: 3 },
        Fault::HeldBack,
        Fault::NeverSeen,
    ]
}

#[test]
fn both_languages_say_everything_each_in_its_own_script() {
    let faults = faults();
    let hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
    let mut seen = std::collections::HashSet::new();
    for sentence in all(&faults) {
        let (ko, en) = (say(Lang::Ko, &sentence), say(Lang::En, &sentence));
        assert!(hangul(&ko), "{sentence:?}: {ko}");
        assert!(!hangul(&en) && !en.is_empty(), "{sentence:?}: {en}");
        assert!(seen.insert((ko.clone(), en.clone())), "{ko} is said twice");
    }
}

#[test]
fn a_fault_is_one_sentence_with_its_time() {
    let fault = Fault::LinkDown { device: "press-plc".into(), last_good_us: Some(0), others: 0 };
    let at = Sentence::Fault(&fault, 3 * MINUTE_US);
    assert_eq!(say(Lang::Ko, &at), "press-plc 장치가 응답하지 않습니다 (3분째)");
    assert_eq!(say(Lang::En, &at), "press-plc has not answered for 3\u{a0}min");
    let fault = Fault::LinkDown { device: "press-plc".into(), last_good_us: None, others: 0 };
    let at = Sentence::Fault(&fault, 0);
    assert_eq!(say(Lang::Ko, &at), "게이트웨이가 시작된 뒤로 press-plc 장치가 응답하지 않았습니다");
    assert_eq!(say(Lang::En, &at), "press-plc has not answered since the gateway started");
    assert_eq!(say(Lang::Ko, &Sentence::SpoolEmpty { percent: 0 }), "없음 (저장 공간 0% 사용)");
    let holds = Sentence::SpoolHolds { readings: 1_234_567, percent: 3, oldest_ms: 86_400_000 };
    assert_eq!(say(Lang::En, &holds), "1,234,567 readings, the oldest 1\u{a0}day old (spool 3 % full)");
}

#[test]
fn the_language_is_the_asked_one_else_the_browsers() {
    let with = |accept: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, accept.parse().unwrap());
        headers
    };
    assert_eq!(Lang::of(None, &HeaderMap::new()), Lang::Ko);
    assert_eq!(Lang::of(None, &with("en-US,en;q=0.9,ko;q=0.8")), Lang::En);
    assert_eq!(Lang::of(None, &with("ko-KR,ko;q=0.9,en;q=0.8")), Lang::Ko);
    assert_eq!(Lang::of(None, &with("fr, en;q=0.2, ko;q=0.1")), Lang::En);
    assert_eq!(Lang::of(None, &with("fr;q=x,*")), Lang::Ko);
    assert_eq!(Lang::of(Some("en"), &with("ko")), Lang::En);
    assert_eq!(Lang::of(Some("xx"), &with("en")), Lang::En);
}
