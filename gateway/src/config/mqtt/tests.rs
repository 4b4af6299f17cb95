use crate::config::Config;

/// What an example needs around it.
const HEAD: &str = r#"
gateway = "hanbit-mould/press-hall"
state_dir = "state"
[[asset]]
id = "press-1"
path = "plant-1/press-1"
time_zone = "Asia/Seoul"
[[asset]]
id = "welder-1"
path = "plant-1/welder-1"
time_zone = "Asia/Seoul"
"#;

#[test]
fn the_examples_of_the_page_are_configurations_and_the_same_in_both_languages() {
    let pages = [include_str!("../../../../docs/mqtt.md"), include_str!("../../../../docs/mqtt.ko.md")];
    let examples = pages.map(|page| -> Vec<&str> {
        page.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
    });
    assert_eq!(examples[0].len(), 3);
    assert_eq!(examples[0], examples[1]);
    let headings = pages.map(|page| page.lines().filter(|line| line.starts_with("##")).count());
    assert_eq!(headings[0], headings[1], "the sections differ");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    for example in &examples[0] {
        std::fs::write(&file, format!("{HEAD}{example}")).unwrap();
        // The files that they name are not on this machine.
        if let Err(faults) = Config::survey(&file) {
            panic!("{faults}\n{example}");
        }
    }
}
