mod roles;

use clap::CommandFactory;

use super::*;

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
