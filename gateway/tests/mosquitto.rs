//! The driver against a real broker that lets nobody in without a certificate, in both
//! versions of MQTT.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use sandan_gateway::config::{Config, Endpoint};
use sandan_gateway::driver::{Outlet, Raw, Reply, mqtt};
use sandan_gateway::health::Health;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The longest that a test waits for a state it is sure to reach.
const PATIENCE: Duration = Duration::from_secs(30);

/// mosquitto with one listener for those who show a certificate, and one for the test.
struct Mosquitto {
    child: Child,
    dir: tempfile::TempDir,
    secure: u16,
    open: u16,
}

/// Below the ports that the kernel gives by itself: who knocks before the broker listens could be
/// given that very port, and be connected to itself.
fn free_ports() -> [u16; 2] {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut free = (first..32_000).filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    [free.next().unwrap(), free.next().unwrap()]
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The broker's authority with the certificates that it gave the broker and the gateway, and
/// another with what it gave a stranger.
fn certificates(dir: &Path) {
    authority(dir, "ca", &[("broker", "127.0.0.1"), ("gateway", "press-hall")]);
    authority(dir, "other-ca", &[("stranger", "press-hall")]);
}

fn authority(dir: &Path, name: &str, leaves: &[(&str, &str)]) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    // Not the name that its leaves have: OpenSSL would take them for their own issuers.
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    write(dir, &format!("{name}.pem"), &authority.pem());
    for (name, subject) in leaves {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![(*subject).into()]).unwrap().signed_by(&key, &authority).unwrap();
        write(dir, &format!("{name}.pem"), &certificate.pem());
        write(dir, &format!("{name}.key"), &key.serialize_pem());
    }
}

impl Mosquitto {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let [secure, open] = free_ports();
        let at = dir.path().display();
        let config = format!(
            "persistence false\nuser root\nallow_anonymous true\nlistener {open} 127.0.0.1\n\
             listener {secure} 127.0.0.1\ncafile {at}/ca.pem\ncertfile {at}/broker.pem\nkeyfile {at}/broker.key\n\
             require_certificate true\nlog_type all\nlog_dest file {at}/log\n"
        );
        write(dir.path(), "mosquitto.conf", &config);
        // Debian keeps it where an ordinary user's PATH does not look.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("/usr/bin/env")
            .args(["mosquitto", "-c"])
            .arg(dir.path().join("mosquitto.conf"))
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto cannot be started: tests/run.sh installs it");
        let mut broker = Self { child, dir, secure, open };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", secure)).is_err() || TcpStream::connect(("127.0.0.1", open)).is_err() {
            assert!(matches!(broker.child.try_wait(), Ok(None)), "mosquitto ended: tests/run.sh installs it");
            assert!(Instant::now() < deadline, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        broker
    }

    fn config(&self, version: &str, trust: &str) -> Config {
        let text = format!(
            r#"
gateway = "hanbit-mould/press-hall"
state_dir = "state"
[[asset]]
id = "press-1"
path = "plant-1/press-1"
[[mqtt]]
address = "mqtts://127.0.0.1:{}"
version = "{version}"
{trust}
  [[mqtt.device]]
  name = "hall"
  topic = "plant/{{asset}}/{{metric}}"
  payload = "plain"
  signals = [ {{ name = "n", metric = "part_count" }} ]
"#,
            self.secure
        );
        let file = self.dir.path().join(format!("gateway-{version}.toml"));
        std::fs::write(&file, text).unwrap();
        Config::load(&file).unwrap_or_else(|faults| panic!("{faults}"))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The driver at work.
struct Driver {
    health: Health,
    replies: mpsc::Receiver<Reply>,
    synced: watch::Sender<u64>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn drive(config: &Config) -> Driver {
    let health = Health::new(config);
    let Endpoint::Mqtt(endpoint) = config.endpoints[0].clone() else { panic!("the endpoint is MQTT") };
    let (sender, replies) = mpsc::channel(100);
    let (synced, receiver) = watch::channel(0);
    let stop = CancellationToken::new();
    let task = tokio::spawn(mqtt::run(endpoint, Outlet::new(0, sender, receiver), health.clone(), stop.clone()));
    Driver { health, replies, synced, stop, task }
}

/// Waits until the broker has answered the gateway's subscription, so many times.
async fn subscribed(broker: &Mosquitto, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = std::fs::read(broker.dir.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if log.matches("Sending SUBACK to sandan-hanbit-mould-press-hall").count() >= times {
            return;
        }
        assert!(Instant::now() < deadline, "no subscription in the broker's log:\n{log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Publishes a value, over the listener that is open, and waits until the broker has it.
async fn publish(broker: &Mosquitto) {
    let options = MqttOptions::new("publisher", "127.0.0.1", broker.open);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish("plant/press-1/part_count", QoS::AtLeastOnce, false, "41").await.unwrap();
    let taken = async { while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::PubAck(_))) {} };
    timeout(PATIENCE, taken).await.expect("an acknowledgement in time");
}

/// Files of the gateway that let it in.
const WELCOME: &str = r#"
ca_file = "ca.pem"
client_cert_file = "gateway.pem"
client_key_file = "gateway.key"
"#;
/// Files that do not, with what its health says of it.
const REFUSED: [(&str, &str); 3] = [
    (r#"ca_file = "ca.pem""#, "the broker wants a certificate of the gateway: write `client_cert_file`"),
    (
        r#"
ca_file = "ca.pem"
client_cert_file = "stranger.pem"
client_key_file = "stranger.key"
"#,
        "the broker refuses the gateway's certificate: it comes of an authority that the broker does not know",
    ),
    (r#"ca_file = "other-ca.pem""#, "the broker's certificate comes of no authority in `ca_file`"),
];

#[tokio::test]
async fn a_gateway_with_a_certificate_is_let_in_and_one_without_is_told_why_not() {
    let broker = Mosquitto::start();
    for (before, version) in ["3.1.1", "5"].into_iter().enumerate() {
        let mut driver = drive(&broker.config(version, WELCOME));
        subscribed(&broker, before + 1).await;
        publish(&broker).await;
        let reply = timeout(PATIENCE, driver.replies.recv()).await.expect("a reply in time").unwrap();
        let raws: Vec<_> = reply.readings.iter().map(|reading| reading.raw.clone()).collect();
        assert_eq!(raws, [Raw::Integer(41)], "MQTT {version}");
        driver.synced.send(reply.ticket).unwrap();
        driver.stop.cancel();
        timeout(PATIENCE, driver.task).await.expect("an end in time").unwrap();

        for (trust, why) in REFUSED {
            let driver = drive(&broker.config(version, trust));
            let deadline = Instant::now() + PATIENCE;
            loop {
                let link = driver.health.status(sandan_gateway::clock::monotonic_us()).links.remove(0);
                if link.fault.contains(why) {
                    break;
                }
                assert!(Instant::now() < deadline, "MQTT {version}: no `{why}` in {link:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            driver.stop.cancel();
            timeout(PATIENCE, driver.task).await.expect("an end in time").unwrap();
        }
    }
}
