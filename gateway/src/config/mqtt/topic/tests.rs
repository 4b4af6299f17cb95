use proptest::prelude::*;

use super::*;

#[test]
fn levels_say_asset_and_metric() {
    let pattern = Topic::parse("plant/{asset}/state/{metric}").unwrap();
    assert!(pattern.has_asset() && pattern.has_metric());
    assert_eq!(pattern.filter(), "plant/+/state/+");
    let press = pattern.of_asset("P1");
    assert_eq!(press.to_string(), "plant/P1/state/{metric}");
    assert_eq!(press.matches("plant/P1/state/force"), TopicMatch::This(Some("force")));
    assert_eq!(press.matches("plant/P2/state/force"), TopicMatch::OtherAsset("P2"));
    for other in ["plant/P1/state", "plant/P1/state/force/x", "plant/P2/alarm/force", "works/P1/state/force", ""] {
        assert_eq!(press.matches(other), TopicMatch::No, "{other}");
    }
    let rest = Topic::parse("{asset}/#").unwrap().of_asset("P1");
    assert_eq!(rest.matches("P1/a/b"), TopicMatch::This(None));
    assert_eq!(rest.matches("P1"), TopicMatch::This(None));
    assert_eq!(rest.matches("P2/a"), TopicMatch::OtherAsset("P2"));
    assert_eq!(rest.matches("$SYS/a"), TopicMatch::No);
}

#[test]
fn what_is_no_pattern_is_refused() {
    for text in ["", "a/#/b", "a+/b", "#/a", "a\0b"] {
        assert_eq!(Topic::parse(text), Err(PatternFault::Filter), "{text:?}");
    }
    for text in ["{machine}/a", "a/x{asset}", "{asset}/{asset}", "{metric}/{metric}", "{asset", "a}/b"] {
        assert_eq!(Topic::parse(text), Err(PatternFault::Brace), "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_what_its_filter_does(
        pattern in "(([ab]{1,2}|\\+|\\{metric\\})/){0,3}([ab]|\\+|#|\\{metric\\})",
        topic in "([ab$]{0,2}/){0,4}[ab]{0,2}",
    ) {
        if let Ok(parsed) = Topic::parse(&pattern) {
            let expected = rumqttc::matches(&topic, &parsed.filter());
            prop_assert_eq!(parsed.matches(&topic) != TopicMatch::No, expected, "{} {}", pattern, topic);
        }
    }

    #[test]
    fn no_text_panics(pattern in "[ab/+#{}$\\PC]{0,20}", topic in "\\PC{0,20}") {
        if let Ok(parsed) = Topic::parse(&pattern) {
            let _ = parsed.of_asset("a").matches(&topic);
        }
    }
}
