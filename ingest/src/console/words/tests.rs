use sandan_proto::id::GatewayId;
use sandan_proto::v1::{self, DeadLetterReason};

use super::*;
use crate::access::{Hop, Level};
use crate::fleet::{Bounds, Fleet};

fn all<'a>(troubles: &'a [Condition], views: &'a [View]) -> Vec<Sentence<'a>> {
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
        Sentence::PasswordWrong,
        Sentence::TooOften,
        Sentence::NameNeeded,
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
        Sentence::NeverSeen,
        Sentence::Left,
        Sentence::Draining(3 * 86_400_000),
    ];
    all.extend(State::ALL.into_iter().map(Sentence::State));
    all.extend(LinkState::ALL.into_iter().map(Sentence::Link));
    for trouble in troubles {
        // Whether a copy runs beside it is another sentence, and so is one that never came.
        let differs = matches!(trouble.id, ConditionId::Fenced | ConditionId::LastContact | ConditionId::LinkDown);
        let views = if differs { views } else { &views[..1] };
        all.extend(views.iter().map(|view| Sentence::Trouble(trouble, view, 0)));
    }
    all
}

fn condition(id: ConditionId) -> Condition {
    Condition {
        id,
        level: Level::Warn,
        since_us: 0,
        gateway: Some(gateway()),
        device: (id.hop() == Hop::Device).then(|| "press-plc".to_owned()),
        value: Some(600.0),
        bound: Some(300.0),
        inhibited_by: None,
    }
}

fn gateway() -> GatewayId {
    GatewayId::new("hanbit/press-hall").unwrap()
}

/// Of a board whose time is 0: one gateway that was heard and has a device that was good, one that was not.
fn views() -> Vec<View> {
    let mut fleet = Fleet::new(Bounds::default(), 0);
    fleet.enrol(gateway());
    let unheard = fleet.views(0).remove(0);
    fleet.opened(&gateway(), 1, &v1::Hello::default(), -3 * MINUTE_US);
    let link = |device: &str| v1::LinkHealth {
        device: device.into(),
        state: v1::LinkState::Down.into(),
        last_good_age_ms: Some(0),
        ..Default::default()
    };
    let links = vec![link("press-plc"), link("welder")];
    fleet.health(&gateway(), &v1::Health { links, ..Default::default() }, -3 * MINUTE_US);
    vec![fleet.views(-3 * MINUTE_US).remove(0), unheard]
}

#[test]
fn both_languages_say_everything_each_in_its_own_script() {
    let (troubles, views) = (ConditionId::ALL.map(condition), views());
    let hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
    let mut seen = std::collections::HashSet::new();
    for sentence in all(&troubles, &views) {
        let (ko, en) = (say(Lang::Ko, &sentence), say(Lang::En, &sentence));
        assert!(hangul(&ko), "{sentence:?}: {ko}");
        assert!(!hangul(&en) && !en.is_empty(), "{sentence:?}: {en}");
        assert!(seen.insert((ko.clone(), en.clone())), "{ko} is said twice");
    }
}

#[test]
fn a_condition_is_one_sentence_with_its_time() {
    let (down, views) = (condition(ConditionId::LinkDown), views());
    let at = Sentence::Trouble(&down, &views[0], 0);
    assert_eq!(say(Lang::Ko, &at), "press-plc 장치가 응답하지 않습니다 (3분째). 다른 장치 1대도 응답하지 않습니다");
    assert_eq!(say(Lang::En, &at), "press-plc has not answered for 3\u{a0}min, nor do 1 more answer");
    let at = Sentence::Trouble(&down, &views[1], 0);
    assert_eq!(say(Lang::Ko, &at), "게이트웨이가 시작된 뒤로 press-plc 장치가 응답하지 않았습니다");
    assert_eq!(say(Lang::En, &at), "press-plc has not answered since the gateway started");
    let late = condition(ConditionId::LastContact);
    let at = Sentence::Trouble(&late, &views[0], 0);
    assert_eq!(say(Lang::En, &at), "Nothing has come from the gateway for 3\u{a0}min");
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
