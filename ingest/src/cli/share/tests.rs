use clap::Parser;
use serde_json::json;

use super::*;
use crate::cli::args::{Args, Verb};
use crate::consent::{SharedForm, TermFault};
use crate::time::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

const NOW: i64 = 1_772_409_600 * SECOND_US;
const REQUEST: &str = "sandan-ingest share request --from-firm hanbit-mould --asset press-1 --metric press_force --raw \
     --until now+90d --purpose quality --relation customer --reason 치수 --holder 품질팀";

fn verb(line: &str) -> ShareVerb {
    match Args::try_parse_from(line.split_whitespace()).unwrap().verb {
        Verb::Share(share) => share.verb,
        other => panic!("{other:?}"),
    }
}

fn requested(more: &str) -> Result<Terms, String> {
    match verb(&format!("{REQUEST} {more}")) {
        ShareVerb::Request { terms, .. } => terms.whole(NOW),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_said_is_the_least() {
    let terms = requested("").unwrap();
    assert_eq!(terms.own_faults(), []);
    let agreed = terms.agreed.as_deref().unwrap();
    assert_eq!((terms.access.not_before_us, terms.access.until_us), (NOW, NOW + 90 * DAY_US));
    assert_eq!(agreed.return_by_us, NOW + 120 * DAY_US);
    assert!(!agreed.late_data && agreed.minimum_age_us == 0 && agreed.runs_of.is_none());
    assert_eq!(agreed.onward_use, crate::consent::OnwardUse::Holders);
    let late = requested("--late-data --minimum-age 1h --runs-of 새솔 --quota 5 --from now-1d --to open").unwrap();
    let agreed = late.agreed.as_deref().unwrap();
    assert!(agreed.late_data && agreed.minimum_age_us == HOUR_US && agreed.runs_of.as_deref() == Some("새솔"));
    assert_eq!((late.event.from_us, late.event.to_us, agreed.quota_rows_per_day), (Some(NOW - DAY_US), None, Some(5)));
}

#[test]
fn what_has_to_be_said_is_named() {
    let ShareVerb::Request { terms, .. } = verb("sandan-ingest share request --from-firm a --asset press-1") else {
        panic!()
    };
    let missing = terms.whole(NOW).unwrap_err();
    for flag in ["--metric", "--raw", "--until", "--purpose", "--relation", "--reason", "--holder"] {
        assert!(missing.contains(flag), "{flag}: {missing}");
    }
    assert!(!missing.contains("--asset"), "{missing}");
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let base = serde_json::to_value(requested("").unwrap()).unwrap();
    let ShareVerb::Narrow(it) = verb(
        "sandan-ingest share narrow 00000000-0000-0000-0000-000000000007 --floor 10m --function mean --function max",
    ) else {
        panic!()
    };
    let narrowed = it.terms.changing(base.clone(), NOW).unwrap();
    let wanted = SharedForm::Bucketed {
        floor_us: 10 * MINUTE_US,
        functions: [crate::consent::Function::Mean, crate::consent::Function::Max].into(),
    };
    assert_eq!(narrowed.form, wanted);
    assert!(narrowed.lie_within(&serde_json::from_value(base.clone()).unwrap()));
    // Only the width of what is bucketed already.
    let ShareVerb::Counter(it) = verb("sandan-ingest share counter 00000000-0000-0000-0000-000000000007 --floor 20m")
    else {
        panic!()
    };
    let coarser = it.terms.changing(serde_json::to_value(&narrowed).unwrap(), NOW).unwrap();
    assert!(coarser.lie_within(&narrowed) && coarser != narrowed);
}

#[test]
fn a_file_is_a_part_of_a_record_and_flags_go_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (toml, json_file) = (dir.path().join("t.toml"), dir.path().join("t.json"));
    std::fs::write(
        &toml,
        "assets = [\"press-9\"]\nmetrics = [\"press_force\"]\npurposes = [\"energy\"]\nrelation = \"research\"\n\
         reason = \"에너지\"\nholders = [\"연구소\"]\nminimum_age_us = \"1d\"\n\
         form = { bucketed = { floor_us = \"60s\", functions = [\"mean\"] } }\naccess = { until_us = \"now+30d\" }\n",
    )
    .unwrap();
    std::fs::write(&json_file, json!({ "assets": ["press-9"], "colour": "red" }).to_string()).unwrap();
    let args = |file: &std::path::Path, more: &str| match verb(&format!(
        "sandan-ingest share offer --to-firm a --terms {} {more}",
        file.display()
    )) {
        ShareVerb::Offer { terms, .. } => terms.whole(NOW),
        other => panic!("{other:?}"),
    };
    let terms = args(&toml, "--asset press-1 --until now+60d").unwrap();
    assert_eq!(terms.own_faults(), [] as [TermFault; 0]);
    assert_eq!(terms.assets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["press-1"]);
    assert_eq!((terms.access.until_us, terms.minimum_age_us()), (NOW + 60 * DAY_US, DAY_US));
    assert!(args(&json_file, "--raw").unwrap_err().contains("not whole"));
}

#[test]
fn what_the_service_says_moves_no_terminal() {
    assert_eq!(show::safe(&json!("a\u{1b}[2Jb\nc")), "a[2Jb\nc");
    let mut out = Vec::new();
    let it = json!({ "page": "00", "text": "동의서\n", "machines": [{ "asset": "press-1", "name_ko": "1호\u{7}", "name_en": "P" }] });
    show::page(&mut out, &it, false).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "동의서\n\npress-1  1호  P\npage 00\n");
}
