//! Runs the real `sandan-gateway read` beside a PLC that answers, one that refuses an
//! address and one that is not there.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

/// The longest that is waited for a state that is sure to come.
const PATIENCE: Duration = Duration::from_mins(1);
/// What unit 2 takes to answer.
const SLOW: Duration = Duration::from_millis(30);

/// Answers registers with their own address, and refuses those from 500 on.
fn plc() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut frame = [0; 12];
            while stream.read_exact(&mut frame).is_ok() {
                let (address, count) =
                    (u16::from_be_bytes([frame[8], frame[9]]), u16::from_be_bytes([frame[10], frame[11]]));
                let body = if address >= 500 {
                    vec![frame[7] | 0x80, 2]
                } else {
                    let values = (address..address + count).flat_map(u16::to_be_bytes);
                    [frame[7], u8::try_from(count * 2).unwrap()].into_iter().chain(values).collect()
                };
                let length = u16::try_from(body.len() + 1).unwrap().to_be_bytes();
                if frame[6] == 2 {
                    thread::sleep(SLOW);
                }
                let answer = [&frame[..4], &length, &frame[6..7], &body].concat();
                stream.write_all(&answer).unwrap();
            }
        }
    });
    port
}

/// A table with one space between its cells, and without what is of the moment: `AT` stands
/// for a time, `MS` for the round trip behind it.
fn steady(table: &str) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let mut is_behind = false;
        let words = line.split_whitespace().map(|word| {
            let is_time = word.len() == "2026-11-23T15:52:30.123Z".len() && word.ends_with('Z');
            let shown = match (is_time, std::mem::replace(&mut is_behind, is_time)) {
                (true, _) => "AT",
                (false, true) if word.parse::<f64>().is_ok() => "MS",
                _ => word,
            };
            shown.to_owned()
        });
        text.push_str(&words.collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    text
}

/// A port on which nothing listens, and nobody else does while this is kept.
fn nobody() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn read(folder: &Path, args: &[&str]) -> (Output, String, String) {
    run("read", folder, args)
}

fn run(command: &str, folder: &Path, args: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sandan-gateway"))
        .args([command, "gateway.toml"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

#[test]
fn what_answers_is_printed_and_what_does_not_is_said() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody has enrolled it: a register map is tried out before.
    let (good, (kept_free, absent)) = (plc(), nobody());
    let config = format!(
        r#"
gateway = "hanbit-mould/press-hall"
state_dir = "state"
http = {{ listen = "127.0.0.1:{absent}" }}
[[asset]]
id = "press-1"
[[modbus]]
address = "tcp://127.0.0.1:{good}"
[[modbus.device]]
name = "good"
asset = "press-1"
signals = [
  {{ name = "force", metric = "press_force", unit = "kN", at = "holding:123", type = "u16", scale = 0.1 }},
  {{ name = "count", metric = "stroke_count", at = "holding:1", type = "u32", byte_order = "CDAB" }},
]
[[modbus.device]]
name = "partly"
unit = 2
asset = "press-1"
base = 1
signals = [
  {{ name = "oil", metric = "x_oil", unit = "Cel", at = "input:8", type = "i16" }},
  {{ name = "air", metric = "x_air", at = "input:501", type = "i16" }},
]
[[modbus]]
address = "tcp://127.0.0.1:{absent}"
[[modbus.device]]
name = "absent"
asset = "press-1"
signals = [ {{ name = "on", metric = "x_on", at = "coil:3" }} ]
"#
    );
    std::fs::write(folder.path().join("gateway.toml"), config).unwrap();

    let (output, stdout, stderr) = read(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        steady(&stdout),
        "DEVICE ASSET METRIC VALUE UNIT QUALITY TIME MS WIRE RAW
good press-1 press_force 12.3 kN good AT MS holding 123 007b
good press-1 stroke_count 131073 1 good AT MS holding 1–2 0001 0002
partly press-1 x_oil 7 Cel good AT MS input 7 0007
partly press-1 x_air - bad(exception) AT MS input 500
absent press-1 x_on - bad(no_answer) coil 3
"
    );
    assert_eq!(
        stderr,
        format!(
            "partly: input 500: exception 2: no such address
absent: 127.0.0.1:{absent} cannot be reached: connection refused
"
        )
    );

    let (output, stdout, stderr) = read(folder.path(), &["--device", "good", "--json"]);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let rows: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&rows[0]["value"], &rows[0]["wire"]), (&12.3.into(), &"holding 123".into()));

    let near = |row: &serde_json::Value| {
        let age = jiff::Timestamp::now().duration_since(row["time"].as_str().unwrap().parse().unwrap());
        age.abs() < jiff::SignedDuration::from_mins(5)
    };
    assert!(near(&rows[0]) && rows[0]["round_trip_ms"].as_f64().unwrap() > 0.0, "{rows}");

    let (_, stdout, _) = read(folder.path(), &["--json"]);
    let rows: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    for row in &rows.as_array().unwrap()[2..4] {
        let slow = row["round_trip_ms"].as_f64().unwrap();
        assert!(slow >= SLOW.as_secs_f64() * 1_000.0 && near(row), "a refusal is an answer too: {row}");
    }
    assert!(rows[4]["round_trip_ms"].is_null() && rows[4]["time"].is_null(), "{rows}");

    let (output, _, stderr) = read(folder.path(), &["--device", "god"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr, "error: no device `god` in the configuration; there are good, partly, absent\n");

    let (output, _, stderr) = run("status", folder.path(), &[]);
    assert_eq!(output.status.code(), Some(2), "nobody could be asked");
    assert!(stderr.starts_with(&format!("error: no gateway answers on 127.0.0.1:{absent}; is it")), "{stderr}");
    let (output, stdout, stderr) = run("check", folder.path(), &["--plan"]);
    assert!(output.status.success() && stdout.contains("holding 123"), "{stdout}{stderr}");

    // What a running gateway finds out is in the next plan.
    assert!(stdout.contains("input 500") && !stdout.contains("REFUSED"), "{stdout}");
    // Its own page is at this port.
    drop(kept_free);
    let running = Command::new(env!("CARGO_BIN_EXE_sandan-gateway"))
        .args(["run", "gateway.toml"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .spawn();
    let mut running = running.unwrap();
    let kept = folder.path().join("state/modbus");
    let deadline = Instant::now() + PATIENCE;
    let is_kept = || std::fs::read_dir(&kept).is_ok_and(|files| files.flatten().any(|file| is_memory(&file.path())));
    while !is_kept() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    let (_, stdout, stderr) = run("check", folder.path(), &["--plan"]);
    let plan = stdout.split_once("REFUSED").unwrap_or_else(|| panic!("nothing is refused: {stdout}{stderr}"));
    assert!(!plan.0.contains("air@500") && steady(plan.1).contains("partly input 500 1 exception 2 air"), "{stdout}");
}

/// Not the file beside it that is being written.
fn is_memory(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}
