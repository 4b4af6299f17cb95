//! The driver against a server of raw sockets that can do what no honest one does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::clock;
use crate::config::tests::example;
use crate::config::{Config, Endpoint};
use crate::driver::{Raw, Reply};
use crate::health::LinkStatus;

mod schedule;
mod shared;
mod stop;

/// A request as it came off the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    transaction: u16,
    unit: u8,
    function: u8,
    address: u16,
    count: u16,
    /// Which connection it came over, from 1.
    connection: usize,
    /// Which request of all it is, from 1.
    number: usize,
}

type Change = fn(&mut Vec<u8>);

/// What the server does with it.
enum Act {
    /// Words or bits of value address, address + 1, …
    Answer,
    Exception(u8),
    /// The answer, with its bytes changed.
    Changed(Change),
    Silence,
    HangUp,
    AnswerAndHangUp,
    /// The answer, after a while.
    Slow(Duration),
}

struct Plc {
    address: String,
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Plc {
    async fn start(act: impl Fn(Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), act)
    }

    fn on(listener: TcpListener, act: impl Fn(Asked) -> Act + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let plc = Self { address, connections: connections.clone(), asked: asked.clone() };
        let act = Arc::new(act);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = connections.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(serve(stream, connection, act.clone(), asked.clone()));
            }
        });
        plc
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, connection: usize, act: Arc<impl Fn(Asked) -> Act>, log: Arc<Mutex<Vec<Asked>>>) {
    let mut frame = [0; 12];
    while stream.read_exact(&mut frame).await.is_ok() {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (transaction, address, count) = (word(0), word(8), word(10));
        let (unit, function) = (frame[6], frame[7]);
        let asked = {
            let mut log = log.lock().unwrap();
            let number = log.len() + 1;
            log.push(Asked { transaction, unit, function, address, count, connection, number });
            log[number - 1]
        };
        let mut answer = answer(asked);
        match act(asked) {
            Act::Answer => {}
            Act::Exception(code) => answer.splice(4.., [0, 3, unit, function | 0x80, code]).for_each(drop),
            Act::Changed(change) => change(&mut answer),
            Act::Silence => continue,
            Act::HangUp => return,
            Act::AnswerAndHangUp => {
                stream.write_all(&answer).await.unwrap();
                return;
            }
            Act::Slow(pause) => tokio::time::sleep(pause).await,
        }
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn answer(asked: Asked) -> Vec<u8> {
    let Asked { transaction, unit, function, address, count, .. } = asked;
    let values: Vec<u8> = if function <= 2 {
        // A bit is set where its address is odd.
        (0..count.div_ceil(8)).map(|_| if address % 2 == 0 { 0b1010_1010 } else { 0b0101_0101 }).collect()
    } else {
        (address..address + count).flat_map(u16::to_be_bytes).collect()
    };
    let mut frame = [transaction, 0, u16::try_from(values.len() + 3).unwrap()].map(u16::to_be_bytes).concat();
    frame.extend([unit, function, u8::try_from(values.len()).unwrap()]);
    frame.extend(values);
    frame
}

/// The driver at work, and what came out of it.
struct Rig {
    config: Config,
    health: Health,
    replies: mpsc::Receiver<Reply>,
    _synced: watch::Sender<u64>,
    _stop: tokio_util::sync::DropGuard,
}

/// The longest that a test waits for a state it is sure to reach.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of a line that is given up on soon. Longer than a busy machine keeps an answer waiting.
const IMPATIENT: &str = "timeout = \"3s\"\n";

/// A line whose timeout nothing reaches that is answered at all, unless `devices` begin with one.
fn config(address: &str, devices: &str) -> Config {
    let timeout = if devices.starts_with("timeout") { "" } else { "timeout = \"30s\"\n" };
    example(|text| {
        let (before, rest) = text.split_once("\n[[modbus]]\n").unwrap();
        let (_, mqtt) = rest.split_once("\n[[mqtt]]\n").unwrap();
        format!("{before}\n[[modbus]]\naddress = \"tcp://{address}\"\n{timeout}{devices}\n[[mqtt]]\n{mqtt}")
    })
}

fn rig(address: &str, devices: &str) -> Rig {
    let config = config(address, devices);
    let health = Health::new(&config);
    let (sender, replies) = mpsc::channel(1_000);
    let (synced_sender, synced) = watch::channel(0);
    let stop = CancellationToken::new();
    let outlet = Outlet::new(0, sender, synced);
    tokio::spawn(run(modbus(&config), outlet, health.clone(), stop.clone()));
    Rig { config, health, replies, _synced: synced_sender, _stop: stop.drop_guard() }
}

fn modbus(config: &Config) -> Modbus {
    match &config.endpoints[0] {
        Endpoint::Modbus(modbus) => modbus.clone(),
        Endpoint::Mqtt(_) => panic!("the first endpoint is Modbus"),
    }
}

impl Rig {
    /// The next reply as signal names and raw values.
    async fn next(&mut self) -> Vec<(String, Raw)> {
        let reply = tokio::time::timeout(PATIENCE, self.replies.recv()).await.expect("a reply in time").unwrap();
        assert_eq!((reply.source, reply.at_us % 1_000), (0, 0));
        let name = |signal: u32| self.config.signals[signal as usize].name.clone();
        reply.readings.into_iter().map(|reading| (name(reading.signal), reading.raw)).collect()
    }

    /// Replies until one holds this raw value; gives what came before it.
    async fn until(&mut self, name: &str, raw: &Raw) -> Vec<(String, Raw)> {
        let mut before = Vec::new();
        loop {
            for (given, value) in self.next().await {
                if given == name && value == *raw {
                    return before;
                }
                before.push((given, value));
            }
        }
    }

    fn link(&self, index: usize) -> LinkStatus {
        self.health.status(clock::monotonic_us()).links[index].clone()
    }

    async fn wait_for(&self, index: usize, state: impl Fn(&LinkStatus) -> bool) -> LinkStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let link = self.link(index);
            if state(&link) {
                return link;
            }
            assert!(Instant::now() < deadline, "never so: {link:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const LOST: Raw = Raw::Failed(Quality::BAD_NO_ANSWER);

fn word(value: u16) -> Raw {
    Raw::Words([value, 0, 0, 0])
}

const ONE: &str = r#"
[[modbus.device]]
name = "plc"
unit = 255
asset = "press-1"
interval = "20ms"
signals = [
  { name = "a", metric = "x_a", at = "holding:10", type = "u16" },
  { name = "b", metric = "x_b", at = "holding:12", type = "u16" },
]
"#;

#[tokio::test]
async fn all_areas_are_read_in_one_request_each_with_reading_functions_alone() {
    let plc = Plc::start(|_| Act::Answer).await;
    let mut rig = rig(
        &plc.address,
        r#"
[[modbus.device]]
name = "plc"
unit = 255
asset = "press-1"
interval = "20ms"
signals = [
  { name = "a", metric = "x_a", at = "holding:10", type = "u32" },
  { name = "b", metric = "x_b", at = "holding:18.2" },
  { name = "c", metric = "x_c", at = "input:3", type = "i16" },
  { name = "d", metric = "x_d", at = "coil:4" },
  { name = "e", metric = "x_e", at = "coil:13" },
  { name = "f", metric = "x_f", at = "discrete:7" },
]
"#,
    );
    let bit = |name: &str, bit| (name.to_owned(), Raw::Bit(bit));
    assert_eq!(rig.next().await, [bit("d", false), bit("e", true)]);
    assert_eq!(rig.next().await, [bit("f", true)]);
    assert_eq!(rig.next().await, [("a".into(), Raw::Words([10, 11, 0, 0])), ("b".into(), word(18))]);
    assert_eq!(rig.next().await, [("c".into(), word(3))]);
    let asked: Vec<_> = plc.asked().iter().take(4).map(|a| (a.unit, a.function, a.address, a.count)).collect();
    assert_eq!(asked, [(255, 1, 4, 10), (255, 2, 7, 1), (255, 3, 10, 9), (255, 4, 3, 1)]);
    assert_eq!(plc.connections(), 1);
    let link = rig.link(0);
    assert_eq!((link.state.as_str(), link.fault.as_str()), ("up", ""));
}

#[tokio::test]
async fn an_absent_plc_is_told_once_and_found_when_it_comes() {
    // Bound, so that nobody else is given the port, and not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut rig = rig(&address, ONE);
    assert_eq!(rig.next().await, [("a".into(), LOST), ("b".into(), LOST)]);
    let link = rig.wait_for(0, |link| link.failures_total >= 2).await;
    assert_eq!(link.state, "down");
    assert_eq!(link.fault, format!("{address} cannot be reached: connection refused"));
    let plc = Plc::on(socket.listen(16).unwrap(), |_| Act::Answer);
    assert_eq!(rig.until("a", &word(10)).await, [], "nothing more was said while it was away");
    assert!(plc.connections() > 0);
    let link = rig.wait_for(0, |link| link.state != "down").await;
    assert!(!link.fault.contains("cannot be reached"));
}

#[tokio::test]
async fn a_late_answer_is_never_taken_for_the_next_one() {
    let slow = Duration::from_secs(6);
    let plc = Plc::start(move |asked| if asked.number == 2 { Act::Slow(slow) } else { Act::Answer }).await;
    let mut rig = rig(&plc.address, &format!("{IMPATIENT}{ONE}"));
    assert_eq!(rig.next().await, [("a".into(), word(10)), ("b".into(), word(12))]);
    assert_eq!(rig.next().await, [("a".into(), LOST), ("b".into(), LOST)]);
    for _ in 0..20 {
        assert_eq!(rig.next().await, [("a".into(), word(10)), ("b".into(), word(12))]);
    }
    assert_eq!(plc.connections(), 2);
    assert_eq!(plc.asked()[2].connection, 2, "the connection with an answer still to come is gone");
}

#[tokio::test]
async fn what_is_no_answer_costs_its_own_readings_and_the_connection() {
    let bad: [(&str, Change); 6] = [
        ("not Modbus at all", |frame| *frame = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("wrong unit", |frame| frame[6] ^= 1),
        ("wrong transaction", |frame| frame[1] ^= 0x55),
        ("wrong function", |frame| frame[7] = 4),
        ("short", |frame| {
            frame.truncate(frame.len() - 2);
            frame[5] -= 2;
            frame[8] -= 2;
        }),
        ("a count that its bytes do not keep", |frame| {
            frame.truncate(frame.len() - 2);
            frame[5] -= 2;
        }),
    ];
    let case = |(what, change): (&'static str, Change)| async move {
        let plc = Plc::start(move |asked| if asked.number == 2 { Act::Changed(change) } else { Act::Answer }).await;
        let mut rig = rig(&plc.address, &format!("{IMPATIENT}{ONE}"));
        assert_eq!(rig.next().await, [("a".into(), word(10)), ("b".into(), word(12))], "{what}");
        assert_eq!(rig.next().await, [("a".into(), LOST), ("b".into(), LOST)], "{what}");
        assert_eq!(rig.next().await, [("a".into(), word(10)), ("b".into(), word(12))], "{what}");
        assert_eq!(plc.connections(), 2, "{what}");
    };
    futures::future::join_all(bad.map(case)).await;
}

#[tokio::test]
async fn what_talks_something_else_is_not_called_silent() {
    let bad: [(Change, &str); 3] = [
        // Its length field says 12,081 bytes, so that the rest would be awaited.
        (
            |frame| *frame = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            "what answers is not Modbus TCP (28 bytes and no frame)",
        ),
        (|frame| *frame = vec![1, 0x83, 2, 0xC0, 0xF1], "what answers is not Modbus TCP (5 bytes and no frame)"),
        (|frame| frame.truncate(8), "only 8 bytes of an answer within 3s"),
    ];
    let case = |(change, says): (Change, &'static str)| async move {
        let plc = Plc::start(move |_| Act::Changed(change)).await;
        let rig = rig(&plc.address, &format!("{IMPATIENT}{ONE}"));
        let link = rig.wait_for(0, |link| link.fault.contains("bytes")).await;
        assert!(link.fault.starts_with("holding 10") && link.fault.ends_with(says), "{}", link.fault);
    };
    futures::future::join_all(bad.map(case)).await;
}

#[tokio::test]
async fn an_exception_is_an_answer_and_costs_its_request_alone() {
    let plc = Plc::start(|asked| if asked.address == 10 { Act::Exception(2) } else { Act::Answer }).await;
    let mut rig = rig(&plc.address, &ONE.replace("holding:12", "holding:100"));
    let refused = Raw::Failed(Quality::BAD_EXCEPTION);
    for _ in 0..3 {
        assert_eq!(rig.next().await, [("a".into(), refused.clone())]);
        assert_eq!(rig.next().await, [("b".into(), word(100))]);
    }
    assert_eq!(plc.connections(), 1);
    let link = rig.link(0);
    assert_eq!((link.state.as_str(), link.fault.as_str()), ("flaky", "holding 10: exception 2: no such address"));
}

#[tokio::test]
async fn a_unit_that_its_converter_does_not_hear_is_silent_and_the_connection_stays() {
    for (code, says) in [
        (10, "exception 10: the converter has no path to the unit"),
        (11, "exception 11: the unit behind the converter does not answer"),
    ] {
        let plc = Plc::start(move |asked| if asked.unit == 2 { Act::Exception(code) } else { Act::Answer }).await;
        let good = r#"
[[modbus.device]]
name = "good"
unit = 1
asset = "press-1"
interval = "20ms"
signals = [ { name = "c", metric = "x_c", at = "holding:10", type = "u16" } ]
"#;
        let mut rig = rig(&plc.address, &(ONE.replace("255", "2") + good));
        let (mut values, mut lost) = (0, 0);
        while values < 60 {
            for (name, raw) in rig.next().await {
                assert_eq!(raw, if name == "c" { word(10) } else { LOST });
                *(if name == "c" { &mut values } else { &mut lost }) += 1;
            }
        }
        let probes = plc.asked().iter().filter(|asked| asked.unit == 2).count();
        assert!((3..=12).contains(&probes), "{probes} probes of the silent unit beside {values} polls of the good one");
        assert_eq!(lost, 6, "both signals, until the third silence told all of them at once");
        assert_eq!(plc.connections(), 1);
        assert_eq!([rig.link(0).state, rig.link(1).state], ["down", "up"]);
        assert_eq!(rig.link(0).fault, format!("holding 10–12: {says}"));
    }
}

#[tokio::test]
async fn a_plc_that_hangs_up_is_left_alone_more_and_more() {
    let plc = Plc::start(|_| Act::HangUp).await;
    let mut rig = rig(&plc.address, ONE);
    for _ in 0..3 {
        assert_eq!(rig.next().await, [("a".into(), LOST), ("b".into(), LOST)]);
    }
    let link = rig.wait_for(0, |link| link.failures_total >= 4).await;
    assert_eq!((link.state.as_str(), link.fault.as_str()), ("down", "holding 10–12: the device hung up"));
    assert!(rig.replies.try_recv().is_err(), "the loss is not repeated");
    // One may be under way.
    let failures = usize::try_from(link.failures_total).unwrap();
    assert!((failures..=failures + 1).contains(&plc.connections()), "a fresh connection is not tried twice: {link:?}");
}

#[tokio::test]
async fn a_connection_that_is_closed_when_idle_costs_nothing() {
    let plc = Plc::start(|_| Act::AnswerAndHangUp).await;
    let mut rig = rig(&plc.address, ONE);
    for _ in 0..5 {
        assert_eq!(rig.next().await, [("a".into(), word(10)), ("b".into(), word(12))]);
    }
    assert!(plc.connections() >= 5);
    assert_eq!(rig.link(0).failures_total, 0);
}

#[tokio::test]
async fn a_dead_unit_costs_its_neighbours_a_bounded_probe() {
    let plc = Plc::start(|asked| if asked.unit == 2 { Act::Silence } else { Act::Answer }).await;
    let mut rig = rig(
        &plc.address,
        r#"timeout = "2s"
[[modbus.device]]
name = "good"
unit = 1
asset = "press-1"
interval = "20ms"
signals = [ { name = "a", metric = "x_a", at = "holding:10", type = "u16" } ]
[[modbus.device]]
name = "dead"
unit = 2
asset = "press-1"
interval = "20ms"
signals = [
  { name = "b", metric = "x_b", at = "holding:10", type = "u16" },
  { name = "c", metric = "x_c", at = "input:10", type = "u16", interval = "1h" },
]
"#,
    );
    let mut values = 0;
    let mut lost = Vec::new();
    while values < 60 {
        for (name, raw) in rig.next().await {
            if name == "a" {
                assert_eq!(raw, word(10));
                values += 1;
            } else {
                assert_eq!(raw, LOST);
                lost.push(name);
            }
        }
    }
    let probes = plc.asked().iter().filter(|asked| asked.unit == 2).count();
    assert!((3..=8).contains(&probes), "{probes} probes of the dead unit beside {values} polls of the good one");
    assert!(lost.len() <= 6 && lost.contains(&"c".to_owned()), "every signal of it was told: {lost:?}");
    assert_eq!([rig.link(0).state, rig.link(1).state], ["up", "down"]);
    assert_eq!(rig.link(1).fault, "holding 10: no answer within 2s");
}

#[tokio::test]
async fn late_cycles_are_skipped_and_counted() {
    let plc = Plc::start(|_| Act::Slow(Duration::from_millis(50))).await;
    let mut rig = rig(&plc.address, ONE);
    for _ in 0..10 {
        rig.next().await;
    }
    let link = rig.link(0);
    assert!(link.skipped_total >= 10, "of some 25 cycles ten were polled: {link:?}");
    assert_eq!(link.failures_total, 0);
}

#[tokio::test]
async fn a_sweep_asks_everything_once_and_gives_up_on_the_silent() {
    let plc = Plc::start(|asked| match asked.unit {
        2 => Act::Silence,
        _ if asked.address == 500 => Act::Exception(2),
        _ => Act::Answer,
    })
    .await;
    let device = |name: &str, unit: u8| {
        ONE.replace("\"plc\"", &format!("\"{name}\""))
            .replace("255", &unit.to_string())
            .replace("holding:12", "holding:500")
            .replace("x_", &format!("x_{name}_"))
    };
    let devices = ["one", "two", "three"].iter().zip(1..).map(|(name, unit)| device(name, unit)).collect::<String>();
    let config = config(&plc.address, &format!("{IMPATIENT}{devices}"));
    let outcomes = sweep(&modbus(&config), |name| name != "three").await;
    let shown: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let answer = match &outcome.answer {
                Ok(_) => "values".to_owned(),
                Err(fault) => fault.to_string(),
            };
            (config.devices[outcome.device].name.as_str(), outcome.request.to_string(), answer)
        })
        .collect();
    let row = |name, request: &str, answer: &str| (name, request.to_owned(), answer.to_owned());
    assert_eq!(
        shown,
        [
            row("one", "holding 10", "values"),
            row("one", "holding 500", "exception 2: no such address"),
            row("two", "holding 10", "no answer within 3s"),
            row("two", "holding 500", "no answer within 3s"),
        ]
    );
    let took: Vec<_> = outcomes.iter().map(|outcome| outcome.took.is_some()).collect();
    assert_eq!(took, [true, true, false, false], "a refusal is an answer too");
    assert_eq!(plc.asked().len(), 3, "a unit that is silent is not asked again");
}

#[tokio::test]
async fn one_refused_register_costs_itself_alone_and_is_remembered_across_a_restart() {
    let plc = Plc::start(|asked| {
        let holds = asked.address <= 14 && 14 < asked.address + asked.count;
        if holds { Act::Exception(2) } else { Act::Answer }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("modbus/line.json");
    let row = |at| format!("{{ name = \"r{at}\", metric = \"x_r{at}\", at = \"holding:{at}\", type = \"u16\" }},\n");
    let rows = (10..18).map(row).collect::<Vec<_>>().concat();
    let device = format!(
        "[[modbus.device]]\nname = \"plc\"\nunit = 255\nasset = \"press-1\"\ninterval = \"20ms\"\nsignals = [\n{rows}]\n"
    );
    let start = || {
        let config = config(&plc.address, &device);
        let health = Health::new(&config);
        let (sender, replies) = mpsc::channel(1_000);
        let (synced_sender, synced) = watch::channel(0);
        let stop = CancellationToken::new();
        let mut endpoint = modbus(&config);
        endpoint.memory = Some(file.clone());
        tokio::spawn(run(endpoint, Outlet::new(0, sender, synced), health.clone(), stop.clone()));
        Rig { config, health, replies, _synced: synced_sender, _stop: stop.drop_guard() }
    };
    let mut rig = start();
    let mut first = Vec::new();
    while first.len() < 8 {
        first.extend(rig.next().await);
    }
    first.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |at: u16| if at == 14 { Raw::Failed(Quality::BAD_EXCEPTION) } else { word(at) };
    assert_eq!(first, (10..18).map(|at| (format!("r{at}"), of(at))).collect::<Vec<_>>(), "in the first cycle");
    rig.until("r17", &word(17)).await;
    let link = rig.link(0);
    assert_eq!((link.state.as_str(), link.fault.as_str()), ("flaky", "holding 14: exception 2: no such address"));
    drop(rig);

    let before = plc.asked().len();
    let mut rig = start();
    rig.until("r17", &word(17)).await;
    rig.until("r17", &word(17)).await;
    let asked: Vec<_> = plc.asked()[before..].iter().map(|asked| (asked.address, asked.count)).collect();
    let of_the_old_one = asked.iter().position(|asked| *asked == (10, 4)).unwrap();
    assert!(of_the_old_one <= 2, "the first driver may have been in the middle of a poll: {asked:?}");
    assert!(asked.iter().all(|asked| [(10, 4), (15, 3)].contains(asked)), "it is not asked again: {asked:?}");
}

#[tokio::test]
async fn a_busy_device_is_asked_again_when_it_is_configured() {
    let plc = Plc::start(|asked| if asked.number == 1 { Act::Exception(6) } else { Act::Answer }).await;
    let device = format!("retries = 1\n{ONE}");
    let mut rig = rig(&plc.address, &device);
    assert_eq!(rig.next().await, [("a".into(), word(10)), ("b".into(), word(12))]);
    assert_eq!(rig.link(0).failures_total, 0);
}
