mod roles;

use clap::CommandFactory;

use super::*;
use crate::run::{Forecast, Growth, Outlook};

fn command(line: &str) -> Result<Command, String> {
    let args = Args::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
    args.verb.command(0)
}

#[test]
fn the_command_line_holds_together() {
    Args::command().debug_assert();
}

#[test]
fn wrong_arguments_are_told_before_anything_is_opened() {
    let grant = "sandan-ingest consent grant --grantor a --grantee b --asset x --metric y";
    for (line, part) in [
        ("sandan-ingest firm add Han --name-ko a --name-en b".to_owned(), "is no firm id"),
        ("sandan-ingest gateway invite hanbit".to_owned(), "is no gateway id"),
        ("sandan-ingest member revoke 1".to_owned(), "is not a member id"),
        (format!("{grant} --form raw"), "--until"),
        (format!("{grant} --form bucketed --until 2027-01-01T00:00:00Z"), "--floor"),
        (format!("{grant} --form bucketed --floor 60s --until 2027-01-01T00:00:00Z"), "--function"),
        (format!("{grant} --form raw --floor 60s --until 2027-01-01T00:00:00Z"), "are of --form bucketed"),
        (format!("{grant} --form raw --until tomorrow"), "--until: `tomorrow` is not a time"),
        (format!("{grant} --form bucketed --floor 1 --function mean --until now"), "--floor: `1` is not a duration"),
        (format!("{grant} --form bucketed --floor 1s --function median --until now"), "`median` is not a function"),
    ] {
        let told = command(&line).unwrap_err();
        assert!(told.contains(part), "{line}: {told}");
    }
}

#[test]
fn retention_says_which_of_the_two_it_is_for() {
    assert!(command("sandan-ingest retention").unwrap_err().contains("--dry-run|--now"));
    assert!(command("sandan-ingest retention --now --dry-run").unwrap_err().contains("cannot be used with"));
    let Ok(Command::Retention { firm: Some(_), pass: crate::store::Pass::Apply }) =
        command("sandan-ingest retention --firm hanbit --now")
    else {
        panic!()
    };
}

#[test]
fn a_grant_is_what_was_typed() {
    let line = "sandan-ingest consent grant --grantor a --grantee b --asset x --asset z --metric y --form bucketed \
                --floor 60s --function mean --function max --from 1970-01-01T00:00:01Z --until 1970-01-01T00:00:02Z";
    let Ok(Command::ConsentGrant(grant)) = command(line) else { panic!("{line}") };
    assert_eq!((grant.assets.len(), grant.metrics.len(), grant.until_us), (2, 1, 2_000_000));
    assert_eq!((grant.event.from_us, grant.event.to_us, grant.not_before_us), (Some(1_000_000), None, None));
}

#[test]
fn a_forecast_says_how_it_was_measured() {
    let shown = |forecast: &Forecast| {
        let mut text = Vec::new();
        print::forecast(&mut text, forecast).unwrap();
        String::from_utf8(text).unwrap()
    };
    let young = Forecast { growth: None, room_bytes: 2_500_000_000, backup_bytes: 90_000, backup_seconds: 1 };
    let told = shown(&young);
    assert!(told.contains("not known before") && told.contains("2.500 GB above the reserve\n"), "{told}");
    let growth = |room| Growth {
        window_us: 7 * crate::time::DAY_US,
        readings_a_day: 1_000_000,
        bytes_a_reading: 4.04,
        gb_a_day: 0.004_04,
        room,
    };
    let told = shown(&Forecast { growth: Some(growth(Outlook::FullInDays(618))), ..young });
    assert!(told.contains("0.004 GB a day: 1000000 readings of 4.0 bytes, as in the last 7d\n"), "{told}");
    assert!(told.contains("full in 618 days\n") && told.contains("1 s at the usual rate"), "{told}");
    let told = shown(&Forecast { growth: Some(growth(Outlook::StaysAtBytes(360_000_000))), ..young });
    assert!(told.contains("enough, the files stay at about 0.360 GB\n"), "{told}");
}
