use std::path::Path;

use crate::alert::{Kind, Lang, Level, MailTls, Settings, Way};
use crate::config::Config;
use crate::time::{HOUR_US, SECOND_US};

/// A folder with files that a configuration names.
fn home() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text, mode) in
        [("good", "0123456789abcdef", 0o600), ("short", "0123", 0o600), ("open", "0123456789abcdef", 0o644)]
    {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    dir
}

fn parse(home: &Path, rest: &str) -> Result<Settings, Vec<String>> {
    let text = format!("complex = \"c\"\ndata_dir = \"d\"\n{rest}");
    let config = Config::parse(&home.join("ingest.toml"), &text);
    config.map(|it| it.alerts).map_err(|faults| faults.list.into_iter().map(|it| it.what).collect())
}

#[test]
fn a_receiver_is_all_that_is_needed() {
    let home = home();
    assert_eq!(parse(home.path(), "").unwrap(), Settings::default());
    let settings =
        parse(home.path(), "[alerts.receiver.ops]\nwebhook = \"https://hooks.example/a\"\nsecret_file = \"good\"\n");
    let settings = settings.unwrap();
    let [ops] = &settings.receivers[..] else { panic!("{settings:?}") };
    assert_eq!((ops.name.as_str(), ops.language, ops.least, &ops.firms), ("ops", Lang::Ko, Level::Warn, &None));
    assert!(matches!(&ops.way, Way::Webhook { secret_file, .. } if *secret_file == home.path().join("good")));
    assert_eq!(settings.timing.for_us(Kind::LastContact), 90 * SECOND_US);
}

#[test]
fn everything_can_be_said() {
    let home = home();
    let settings = parse(
        home.path(),
        "[alerts]\nlanguage = \"en\"\nphone = \"+82 31-123-4567\"\nallow = [\"10.0.0.0/8\", \"::1\"]\nresolve = \"0s\"\n\
         repeat_critical = \"1h\"\noff = [\"held_back\"]\n[alerts.for]\nlink_down = \"0s\"\n\
         [alerts.firm.hanbit]\nname = \"김하늘\"\nphone = \"010-1234-5678\"\n\
         [alerts.mail]\nhost = \"smtp.example\"\ntls = \"implicit\"\nfrom = \"sandan <s@example.kr>\"\nuser = \"u\"\npassword_file = \"short\"\n\
         [alerts.receiver.duty]\nmail = [\"duty@example.kr\", \"김하늘 <k@example.kr>\"]\nlanguage = \"ko\"\n\
         level = \"critical\"\nfirms = [\"hanbit\"]\n",
    );
    let settings = settings.unwrap();
    let relay = settings.relay.unwrap();
    assert_eq!((relay.port, relay.tls), (465, MailTls::Implicit));
    assert_eq!((settings.timing.repeat_critical_us, settings.timing.resolve_us), (HOUR_US, 0));
    assert_eq!(settings.timing.for_us(Kind::LinkDown), 0);
    assert!(settings.timing.off.contains(&Kind::HeldBack) && settings.allowed.len() == 2);
    assert_eq!(settings.receivers[0].language, Lang::Ko);
    assert_eq!(settings.calls.values().next().unwrap().link(), "tel:01012345678");
}

#[test]
fn each_fault_is_said_and_no_secret_with_it() {
    let home = home();
    let hook = "webhook = \"https://hooks.example/a\"\n";
    let one = |rest: &str| {
        let faults = parse(home.path(), rest).unwrap_err();
        assert_eq!(faults.len(), 1, "{rest}: {faults:?}");
        assert!(!faults[0].contains("TOKEN") && !faults[0].contains("0123456789abcdef"), "{faults:?}");
        faults[0].clone()
    };
    for (rest, said) in [
        (hook.to_owned(), "a webhook has a `secret_file`"),
        (format!("{hook}secret_file = \"none\"\n"), "cannot be read"),
        (format!("{hook}secret_file = \"open\"\n"), "can be read by every user"),
        (format!("{hook}secret_file = \"short\"\n"), "16 characters at least"),
        ("webhook = \"ftp://a/?TOKEN\"\nsecret_file = \"good\"\n".into(), "no address of a webhook"),
        ("mail = [\"a@example.kr\"]\n".into(), "no mail server is named"),
        (String::new(), "has one way"),
        (format!("{hook}secret_file = \"good\"\nlevel = \"low\"\n"), "not warn or critical"),
        (format!("{hook}secret_file = \"good\"\nfirms = [\"A\"]\n"), "not a firm's id"),
        (format!("{hook}secret_file = \"good\"\ncolour = \"red\"\n"), "knows no `colour`"),
    ] {
        let what = one(&format!("[alerts.receiver.ops]\n{rest}"));
        assert!(what.contains(said), "{what}");
    }
    for rest in [
        "phone = \"call me\"",
        "language = \"fr\"",
        "allow = [\"everywhere\"]",
        "off = [\"nothing\"]",
        "resolve = \"2d\"",
        "repeat_warn = \"1m\"",
        "[alerts.for]\nnothing = \"1m\"",
        "[alerts.firm.hanbit]\nname = \"a\"",
        "[alerts.mail]\nhost = \"smtp.example\"\nfrom = \"nobody\"",
        "[alerts.mail]\nhost = \"smtp.example\"\nfrom = \"a@b.kr\"\ntls = \"none\"",
        "[alerts.mail]\nhost = \"smtp.example\"\nfrom = \"a@b.kr\"\nuser = \"u\"",
        "[alerts.mail]\nhost = \"smtp.example\"\nfrom = \"a@b.kr\"\nport = 70000",
    ] {
        one(&format!("[alerts]\n{rest}\n"));
    }
}
