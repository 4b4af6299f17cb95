//! Values that nobody can mistake, planted in one firm's readings through a real gateway, and looked for
//! in everything that anybody else can see.

use std::time::Duration;

use rumqttc::{Client, MqttOptions, QoS};
use sandan_tests::broker::Broker;
use sandan_tests::harness::account::EVER;
use sandan_tests::harness::http::{Asker, Series};
use sandan_tests::harness::{Gateway, Ingest, PATIENCE, wait_for};

use crate::world::{FIRM, OTHER, browse, programs};

/// As it is published, and the digits by which it is found however it is written.
const NUMBER: (&str, &str) = ("8675.30924681357", "30924681357");
/// A count, and the same in hexadecimal.
const COUNT: (&str, [&str; 2]) = ("739151862043918", ["739151862043918", "2a041342c150e"]);
const TEXT: &str = "암호배합-7f3a9c-Zq";
/// In a message that cannot be used, as a text where a number is due and as what is no JSON.
const UNUSED: [&str; 2] = ["4471829905512", "{\"force\": 5590138826417"];

/// Everything by which one of them could be recognised.
fn marks() -> Vec<&'static str> {
    let unused = ["4471829905512", "5590138826417"];
    [NUMBER.1, COUNT.1[0], COUNT.1[1], TEXT, "7f3a9c-Zq"].into_iter().chain(unused).collect()
}

fn found(text: &str) -> Vec<&'static str> {
    marks().into_iter().filter(|mark| text.contains(mark)).collect()
}

fn config(url: &str, broker: &Broker) -> String {
    let signal = |name: &str, metric: &str, unit: &str, kind: &str| {
        format!(
            "  {{ name = \"{name}\", metric = \"{metric}\", unit = \"{unit}\", path = \"{name}\", type = \"{kind}\" }},\n"
        )
    };
    format!(
        "gateway = \"{FIRM}/press-hall\"\nstate_dir = \"state\"\n[uplink]\nurl = \"{url}\"\n[spool]\nmax_bytes = \"64MiB\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[[asset]]\nid = \"press-1\"\npath = \"plant-1/press-1\"\n\
         name = {{ ko = \"1호 프레스\", en = \"Press 1\" }}\ntime_zone = \"Asia/Seoul\"\n\
         [[mqtt]]\naddress = \"mqtt://{}\"\n[[mqtt.device]]\nname = \"plc\"\ntopic = \"plant/press\"\nasset = \"press-1\"\n\
         interval = \"1s\"\nsignals = [\n{}{}{}]\n",
        broker.address(),
        signal("force", "press_force", "kN", "f64"),
        signal("count", "x_count", "1", "i64"),
        signal("recipe", "x_recipe", "1", "text"),
    )
}

/// Publishes messages that the broker has taken.
fn publish(broker: &Broker, messages: &[String]) {
    let mut options = MqttOptions::new("a-press", broker.address().ip().to_string(), broker.address().port());
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = Client::new(options, 16);
    for message in messages {
        client.publish("plant/press", QoS::AtLeastOnce, false, message.as_bytes()).unwrap();
    }
    let mut taken = 0;
    for event in events.iter() {
        taken += usize::from(matches!(event.unwrap(), rumqttc::Event::Incoming(rumqttc::Incoming::PubAck(_))));
        if taken == messages.len() {
            return;
        }
    }
}

#[test]
fn a_marker_in_a_firms_readings_shows_up_in_nothing_that_another_one_sees() {
    let dir = tempfile::Builder::new().prefix("sandan-e2e-").tempdir().unwrap();
    let programs = programs();
    programs.set_env("RUST_LOG", Some("trace"));
    let place = dir.path().join("ingest");
    let mut ingest = Ingest::start_new(&programs, &place).unwrap();
    ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould").unwrap();
    ingest.add_firm(OTHER, "다온열처리", "Daon Heat").unwrap();
    let broker = Broker::start().unwrap();
    let invitation = ingest.add_gateway(&format!("{FIRM}/press-hall")).unwrap();
    let text = config(&ingest.url(), &broker);
    let mut gateway = Gateway::with_config(&programs, &dir.path().join("gateway"), "gateway", &text).unwrap();
    gateway.enroll(&invitation).unwrap().success().unwrap();
    gateway.start().unwrap();
    wait_for("the gateway to listen", PATIENCE, || broker.hears("plant/press").then_some(())).unwrap();
    let good = format!("{{\"force\": {}, \"count\": {}, \"recipe\": \"{TEXT}\"}}", NUMBER.0, COUNT.0);
    let wrong = format!("{{\"force\": \"{}\", \"count\": 1, \"recipe\": \"x\"}}", UNUSED[0]);
    publish(&broker, &[wrong, UNUSED[1].to_owned(), good]);

    // The owner sees all three: what is looked for can be found.
    let owner = ingest.asker(&ingest.add_member(FIRM, "김하늘").unwrap());
    let partner = ingest.asker(&ingest.add_member(OTHER, "이서준").unwrap());
    let series = |metric: &str| Series::new(FIRM, "press-1", metric);
    let path = |metric: &str| series(metric).path(EVER.0, EVER.1).unwrap();
    let all = ["press_force", "x_count", "x_recipe"];
    wait_for("the owner's readings", PATIENCE, || {
        let answers: String =
            all.iter().map(|metric| owner.get(&path(metric)).map_or(String::new(), |it| it.body)).collect();
        [NUMBER.1, COUNT.1[0], TEXT].iter().all(|mark| answers.contains(mark)).then_some(())
    })
    .unwrap();

    let mut seen: Vec<(String, String)> = Vec::new();
    let ask = |seen: &mut Vec<(String, String)>, who: &str, asker: &Asker, path: &str| {
        let answer = asker.get(path).unwrap();
        seen.push((format!("{who} {path} ({})", answer.status), answer.body));
    };
    // Without a consent, then with one for hours of it, which says so and shows nothing.
    for round in ["without a consent", "with one that covers less"] {
        if round.starts_with("with one") {
            let form = ["--form", "bucketed", "--floor", "1h", "--function", "count"];
            ingest.grant(FIRM, OTHER, "press-1", "press_force", &form).unwrap();
        }
        for metric in all {
            for more in
                ["", "&bucket=1s&function=mean", "&bucket=1h&function=max", "&format=csv", "&cursor=x", "&from=x"]
            {
                ask(&mut seen, round, &partner, &format!("{}{more}", path(metric)));
            }
        }
        for path in ["series", "series?firm=hanbit-mould", "gaps?firm=hanbit-mould", "audit?firm=hanbit-mould"] {
            ask(&mut seen, round, &partner, &format!("/v1/{path}"));
        }
        for path in
            ["audit/head?firm=hanbit-mould", "dead-letters?firm=hanbit-mould", "dead-letters/export?firm=hanbit-mould"]
        {
            ask(&mut seen, round, &partner, &format!("/v1/{path}"));
        }
    }
    // The owner's log and lists tell of reads and not of values; neither do errors.
    for path in ["/v1/audit?firm=hanbit-mould", "/v1/audit/head", "/v1/series", "/v1/gaps?firm=hanbit-mould"] {
        ask(&mut seen, "owner", &owner, path);
    }
    ask(&mut seen, "owner", &owner, &format!("{}&bucket=x", path("press_force")));
    let operator = ingest.command(&["operator", "add", "--name", "관제실"]).unwrap();
    for (who, asker) in [("operator", ingest.asker(operator.trim())), ("nobody", Asker::new(ingest.http(), None))] {
        for path in ["/", "/sign-in", "/healthz", "/metrics", "/v1/series", "/v1/audit", &path("press_force")] {
            ask(&mut seen, who, &asker, path);
        }
    }
    // Every page of the console that an operator can open, signed in.
    let told = browse(ingest.http(), "POST /sign-in", "", &format!("token={}", operator.trim())).unwrap();
    let cookie = told.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next()).unwrap();
    for route in sandan_ingest::console::ROUTES.iter().filter(|it| it.method == "GET" && it.path != "/live") {
        let path = route.path.replace("{firm}", FIRM).replace("{name}", "press-hall");
        let page = browse(ingest.http(), &format!("GET {path}?lang=en"), cookie, "").unwrap();
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        seen.push((format!("operator's page {path} (200)"), page));
    }
    let nobody = Asker::new(gateway.http().unwrap(), None);
    for path in ["/", "/status", "/metrics", "/healthz"] {
        ask(&mut seen, "gateway", &nobody, path);
    }
    let config = place.join("ingest.toml");
    for command in [
        "check",
        "firm list",
        "gateway list",
        "member list",
        "operator list",
        "ca list",
        "consent list",
        "retention",
        "audit keys",
        "audit head hanbit-mould",
        "audit export hanbit-mould",
        "audit verify hanbit-mould",
        "dead-letter list hanbit-mould",
    ] {
        let args: Vec<&str> = ["--config", config.to_str().unwrap()].into_iter().chain(command.split(' ')).collect();
        let ended = programs.run("sandan-ingest", &args).unwrap();
        seen.push((command.to_owned(), ended.stdout + &ended.stderr));
    }
    assert!(gateway.terminate().unwrap().success());
    assert!(ingest.terminate().unwrap().success());
    for (who, log) in [("the gateway's log", gateway.log()), ("the ingest's log", ingest.log())] {
        let lines = log.lines();
        assert!(lines.iter().any(|line| line.contains("TRACE")), "{who} is not a trace");
        seen.push((who.to_owned(), lines.join("\n")));
    }
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(_, text)| !found(text).is_empty())
        .map(|(place, text)| {
            let lines = text.lines().filter(|line| !found(line).is_empty());
            format!("{place}: {:?} in\n{}", found(text), lines.take(3).collect::<Vec<_>>().join("\n"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // Places that answered, so that the search looked at something.
    let answered = seen.iter().filter(|(place, text)| place.ends_with("(200)") && !text.is_empty()).count();
    assert!(answered >= 10, "only {answered} places showed anything");
}
