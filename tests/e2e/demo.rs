//! The demo as a newcomer runs it, only shorter.

use std::process::Command;

/// What its output must show, in this order.
const STEPS: [&str; 12] = [
    "plant",
    "ingest",
    "link up",
    "stored",
    "refused",
    "consent",
    "pulled",
    "audit",
    "revoked",
    "refused",
    "console",
    "running on",
];

#[test]
fn the_demo_shows_every_step_and_its_counts_agree() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).args(["--seconds", "12", "--seed", "3"]).output().unwrap();
    let (shown, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}\n{said}");
    let mut rest = shown.as_str();
    for step in STEPS {
        let Some(at) = rest.find(step) else { panic!("the demo does not show `{step}` in its place:\n{shown}") };
        rest = &rest[at + step.len()..];
    }
    // Three firms and the pull.
    assert_eq!(shown.matches("agree").count(), 4, "{shown}");
    assert!(!shown.contains("DIFFER"), "{shown}");
    assert!(said.is_empty(), "{said}");
}
