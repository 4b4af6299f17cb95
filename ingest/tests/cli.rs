//! The binary as people use it: every command, its output and its exit code.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandan-ingest");

struct Bench {
    dir: tempfile::TempDir,
}

/// What a command did: exit code, standard output, standard error.
struct Done(i32, String, String);

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = "complex = \"saesol\"\ndata_dir = \"data\"\n[uplink]\nlisten = \"127.0.0.1:0\"\npublic_address = \"ingest.example:443\"\n[http]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(dir.path().join("ingest.toml"), text).unwrap();
        Self { dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).env("SANDAN_INGEST_CONFIG", self.dir.path().join("ingest.toml")).env_remove("RUST_LOG");
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        let output = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done(output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The output of a command that must work and must not talk.
    fn ok(&self, args: &[&str]) -> String {
        let Done(code, out, talk) = self.run(args);
        assert_eq!((code, talk.as_str()), (0, ""), "{args:?}: {out}");
        out
    }

    /// The one line of such a command.
    fn line(&self, args: &[&str]) -> String {
        let out = self.ok(args);
        assert_eq!(out.lines().count(), 1, "{args:?}: {out}");
        out.trim_end().to_owned()
    }

    fn json(&self, args: &[&str]) -> Vec<Value> {
        let args = [args, &["--json"]].concat();
        self.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const GRANT: [&str; 16] = [
    "consent",
    "grant",
    "--grantor",
    "hanbit",
    "--grantee",
    "daeyang",
    "--asset",
    "press-1",
    "--metric",
    "press_force",
    "--form",
    "bucketed",
    "--floor",
    "60s",
    "--function",
    "mean",
];

#[allow(clippy::similar_names)]
fn every_command(it: &Bench) {
    assert_eq!(it.ok(&["firm", "add", "hanbit", "--name-ko", "한빛금형", "--name-en", "Hanbit Mould"]), "");
    it.ok(&["firm", "add", "daeyang", "--name-ko", "대양정밀", "--name-en", "Daeyang"]);
    let firms = it.ok(&["firm", "list"]);
    assert_eq!(firms, "FIRM     KOREAN    ENGLISH\ndaeyang  대양정밀  Daeyang\nhanbit   한빛금형  Hanbit Mould\n");
    assert_eq!(it.json(&["firm", "list"])[1]["name_ko"], "한빛금형");
    let Done(code, out, talk) = it.run(&["firm", "add", "hanbit", "--name-ko", "x", "--name-en", "x"]);
    assert_eq!((code, out.as_str(), talk.as_str()), (1, "", "error: firm `hanbit` exists already\n"));

    assert!(
        it.line(&["gateway", "invite", "hanbit/press-hall"])
            .starts_with("sandan://ingest.example:443/hanbit/press-hall?token=sgi_")
    );
    let Done(code, out, talk) = it.run(&["gateway", "release", "hanbit/press-hall"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(talk.contains("nothing to release"), "{talk}");
    assert_eq!(it.ok(&["gateway", "revoke", "hanbit/press-hall"]), "");
    assert!(it.json(&["gateway", "list"])[0]["revoked_us"].is_number());
    let Done(code, _, talk) = it.run(&["gateway", "invite", "nobody/gw"]);
    assert_eq!((code, talk.as_str()), (1, "error: there is no firm `nobody`\n  hint: `list` shows what there is\n"));

    assert!(it.line(&["member", "add", "daeyang", "--name", "김하늘"]).starts_with("smb_"));
    assert!(it.ok(&["member", "list"]).contains("김하늘"));
    let member = it.json(&["member", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(it.ok(&["member", "revoke", &member]), "");

    assert!(it.line(&["operator", "add", "--name", "관제실"]).starts_with("sop_"));
    let operator = it.json(&["operator", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(it.ok(&["operator", "revoke", &operator]), "");

    let Done(code, out, talk) = it.run(&[&GRANT[..], &["--until", "2999-01-01T00:00:00Z"]].concat());
    assert_eq!((code, out.lines().count()), (0, 1), "{talk}");
    assert_eq!(
        talk,
        "note: hanbit has no series of asset `press-1` yet\nnote: hanbit has no series of metric `press_force` yet\n"
    );
    let consent = out.trim_end().to_owned();
    assert!(it.ok(&["consent", "list"]).contains("press-1 × press_force, mean of 1m and more"));
    assert!(it.ok(&["consent", "show", &consent]).contains("state      active"));
    assert_eq!(it.json(&["consent", "show", &consent])[0]["terms"]["known"]["version"], 1);
    assert_eq!(it.ok(&["consent", "revoke", &consent]), "");
    assert!(it.ok(&["consent", "show", &consent]).contains("state      revoked at "));
    assert_eq!(it.run(&["consent", "revoke", &consent]).0, 1);

    assert_eq!(it.ok(&["dead-letter", "list", "hanbit"]), "ID  GATEWAY  RECEIVED  REASON  READINGS  DETAIL\n");
    let none = it.json(&["dead-letter", "retry", "hanbit", "--all"]);
    assert_eq!((none[0]["records"].as_i64(), none[0]["stored_readings"].as_i64()), (Some(0), Some(0)));
    assert!(it.line(&["dead-letter", "discard", "hanbit", "--reason", "forked"]).starts_with("0 records: "));
    assert_eq!(it.run(&["dead-letter", "discard", "hanbit"]).0, 2, "it has to be said which");
    let Done(code, _, talk) = it.run(&["dead-letter", "list", "hanbit", "--reason", "bad_luck"]);
    assert_eq!(code, 1);
    assert!(talk.starts_with("error: there is no reason `bad_luck`"), "{talk}");

    let log = it.json(&["audit", "export", "hanbit"]);
    let kinds: Vec<_> = log.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    let wanted = [
        "firm_added",
        "gateway_added",
        "gateway_invited",
        "gateway_revoked",
        "consent_granted",
        "consent_revoked",
        "log_read",
    ];
    assert_eq!(kinds, wanted);
    assert!(it.line(&["audit", "verify", "hanbit"]).starts_with("7 entries, none changed; head "));
    // With the key that signs the heads.
    assert_eq!(it.json(&["audit", "export", "@complex"]).len(), 5);
    let everything: String = ["daeyang", "hanbit", "@complex"].map(|chain| it.ok(&["audit", "export", chain])).concat();
    for prefix in ["sgi_", "smb_", "sop_"] {
        assert!(!everything.contains(prefix), "a token stands in the log");
    }
    for verb in ["export", "verify"] {
        let Done(code, out, talk) = it.run(&["audit", verb, "nobody"]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(talk.starts_with("error: there is no audit log of `nobody`\n"), "{talk}");
    }
}

#[test]
fn every_command_without_a_service() {
    let it = Bench::new();
    assert!(
        it.ok(&["check"])
            .starts_with("complex    saesol\nuplink     127.0.0.1:0 (TLS, a certificate of the built-in authority)\n")
    );
    every_command(&it);
    let Done(code, _, talk) = it.run(&["operator", "link"]);
    assert_eq!(code, 1);
    assert!(talk.contains("hint: start `sandan-ingest serve` first"), "{talk}");
    assert_eq!(it.json(&["check"])[0]["in_use"], false);
}

#[test]
fn every_command_beside_a_running_service_which_ends_on_sigterm() {
    let it = Bench::new();
    let mut serving = it.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serving.stdout.take().unwrap()).lines();
    let ready: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(ready["ready"], true);
    every_command(&it);
    let link = it.line(&["operator", "link"]);
    assert!(link.starts_with(&format!("http://{}/sign-in?link=sln_", ready["http"].as_str().unwrap())), "{link}");
    assert_eq!(it.json(&["check"])[0]["in_use"], true);
    // A second one does not take the directory away.
    let Done(code, out, talk) = it.run(&["serve"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(talk.contains("a service already runs on the data directory "), "{talk}");

    let id = rustix::process::Pid::from_child(&serving);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let ended = serving.wait_with_output().unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{log}");
    assert!(lines.next().is_none(), "one line on standard output is all");
    for word in ["WARN", "ERROR", "sgi_", "smb_", "sop_", "sln_"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let it = Bench::new();
    let mut serving = it.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serving.stdout.take().unwrap()).lines();
    let ready: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    // Half a request, which an orderly end waits for.
    let mut half = std::net::TcpStream::connect(ready["http"].as_str().unwrap()).unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut log = BufReader::new(serving.stderr.take().unwrap()).lines().map(Result::unwrap);
    let id = rustix::process::Pid::from_child(&serving);
    let terminate = || rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    terminate();
    assert!(log.any(|line| line.contains("ending")));
    terminate();
    assert!(log.any(|line| line.contains("a second signal: ending at once")));
    assert_eq!(serving.wait().unwrap().code(), Some(1));
    drop(half);
    // What it held is free, and whole.
    it.ok(&["firm", "list"]);
}

#[test]
fn wrong_usage_and_configuration_exit_with_2() {
    let it = Bench::new();
    for args in [&["frob"][..], &["firm", "add"], &["firm", "add", "Han", "--name-ko", "x", "--name-en", "x"], &GRANT] {
        let Done(code, out, talk) = it.run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {talk}");
    }
    let bad = it.dir.path().join("bad.toml");
    std::fs::write(&bad, "complex = 1\n").unwrap();
    let Done(code, _, talk) = it.run(&["serve", "--config", bad.to_str().unwrap()]);
    assert_eq!((code, talk.matches("  hint: ").count()), (2, 2), "{talk}");
    let output = Command::new(PROGRAM).arg("check").env_remove("SANDAN_INGEST_CONFIG").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(it.run(&["--version"]).0, 0);
    assert!(!Path::new(&it.dir.path().join("data")).exists());
}

/// Mode bits of a file in the data directory.
fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_stored_is_for_nobody_elses_eyes() {
    let it = Bench::new();
    let data = it.dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let open = || std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    open();
    it.ok(&["firm", "add", "hanbit", "--name-ko", "한빛금형", "--name-en", "Hanbit Mould"]);
    assert_eq!(mode(&data), 0o700, "a directory that was there is shut");
    for file in ["control.db", "inbox.db", "lock"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    open();
    it.ok(&["firm", "list"]);
    assert_eq!(mode(&data), 0o700, "and shut again");
}

#[test]
fn a_shared_directory_is_refused_and_left_as_it_is() {
    let it = Bench::new();
    let data = it.dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("letter.txt"), "").unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let Done(code, _, talk) = it.run(&["firm", "list"]);
    assert_eq!((code, mode(&data)), (1, 0o755));
    assert!(talk.contains("other users can get into it") && talk.contains("chmod 700"), "{talk}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
}

#[test]
fn check_changes_nothing_and_takes_no_lock() {
    let it = Bench::new();
    it.ok(&["firm", "add", "hanbit", "--name-ko", "한빛금형", "--name-en", "Hanbit Mould"]);
    let data = it.dir.path().join("data");
    std::fs::remove_file(data.join("inbox.db")).unwrap();
    // A process that is starting or ending: it has the lock, and no socket yet.
    let lock = std::fs::File::open(data.join("lock")).unwrap();
    lock.lock().unwrap();
    let seen = || {
        let file = |entry: std::fs::DirEntry| {
            let about = entry.metadata().unwrap();
            (entry.file_name(), about.len(), about.modified().unwrap())
        };
        let mut files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| file(entry.unwrap())).collect();
        files.sort();
        files
    };
    let before = seen();
    let report = &it.json(&["check"])[0];
    assert_eq!((&report["in_use"], &report["counts"][0]), (&false.into(), &serde_json::json!(["firms", 1])));
    assert_eq!(seen(), before);
}
