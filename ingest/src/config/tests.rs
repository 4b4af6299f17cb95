use super::*;
use crate::retention::Retention;
use crate::time::DAY_US;

/// `tests/cases/config/ingest` of the workspace: each `name.toml` gives exactly the
/// message in `name.expected`.
#[test]
fn each_bad_config_gives_exactly_the_message_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/config/ingest");
    let mut cases = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        cases += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let name = Path::new(path.file_name().unwrap());
        let found = format!("{}\n", Config::parse(name, &text).unwrap_err());
        let expected = path.with_extension("expected");
        if std::env::var_os("SANDAN_BLESS").is_some() {
            std::fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&expected).unwrap_or_default(), "{}", expected.display());
    }
    assert!(cases >= 5, "{cases} cases in {}", folder.display());
}

#[test]
fn the_example_is_good() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/ingest.toml");
    let config = Config::load(&file).unwrap();
    assert_eq!((config.complex.as_str(), config.retention_us()), ("saesol", 90 * DAY_US));
    assert_eq!((config.uplink.address.port(), config.http.listen.address.port()), (UPLINK_PORT, HTTP_PORT));
}

#[test]
fn retention_has_classes_and_what_is_left_out_is_as_around_it() {
    let parse = |rest: &str| {
        let config = Config::parse(Path::new("c"), &format!("complex = \"c\"\ndata_dir = \"d\"\n{rest}")).unwrap();
        (config.retention_us(), config.retention)
    };
    let (oldest_us, classes) = parse("");
    assert_eq!((oldest_us, classes), (90 * DAY_US, Classes::default()));
    let (oldest_us, classes) = parse(
        "[retention]\nreadings = \"30d\"\nminutes = \"400d\"\n[retention.metric.press_force]\nreadings = \"60d\"\n\
         [retention.firm.hanbit]\nreadings = \"10d\"\n[retention.firm.hanbit.metric.press_force]\nhours = \"1000d\"\n\
         [retention.firm.daeil]\nreadings = \"forever\"\n",
    );
    let (hanbit, daeil) = (FirmId::new("hanbit").unwrap(), FirmId::new("daeil").unwrap());
    let of = |firm: &FirmId, metric: &str| classes.of(firm, &metric.parse().unwrap());
    let kept =
        |raw: i64, minutes: i64, hours_us| Retention { raw_us: raw * DAY_US, minutes_us: minutes * DAY_US, hours_us };
    let other = FirmId::new("saebit").unwrap();
    assert_eq!(of(&other, "stroke_count"), kept(30, 400, i64::MAX));
    assert_eq!(of(&other, "press_force"), kept(60, 400, i64::MAX));
    assert_eq!(of(&hanbit, "stroke_count"), kept(10, 400, i64::MAX));
    assert_eq!(of(&hanbit, "press_force"), kept(10, 400, 1_000 * DAY_US));
    assert_eq!(of(&daeil, "press_force").minutes_us, i64::MAX, "coarser than what stays for ever");
    assert_eq!(oldest_us, 7_305 * DAY_US, "a clock that is wrong by more is wrong");
}

#[test]
fn a_reserve_is_a_size_or_a_part_of_the_disk() {
    let parse = |rest: &str| {
        let text = format!("complex = \"c\"\ndata_dir = \"d\"\n[store]\n{rest}");
        Config::parse(Path::new("c"), &text).map(|config| config.reserve)
    };
    assert_eq!(parse("").unwrap(), Reserve::default());
    assert_eq!(parse("reserve = \"2GiB\"").unwrap(), Reserve { bytes: 2 << 30, percent: 100 });
    assert_eq!(parse("reserve = \"64MiB\"").unwrap(), Reserve { bytes: 64 << 20, percent: 100 });
    assert_eq!(parse("reserve = \"10%\"").unwrap(), Reserve { bytes: u64::MAX, percent: 10 });
    for wrong in ["\"63MiB\"", "\"0%\"", "\"51%\"", "\"1\"", "\"-1GiB\"", "1", "\"99999999999TiB\""] {
        assert_eq!(parse(&format!("reserve = {wrong}")).unwrap_err().list.len(), 1, "{wrong}");
    }
}

#[test]
fn packing_takes_its_share_of_a_core_and_of_the_disk() {
    let parse = |rest: &str| {
        let text = format!("complex = \"c\"\ndata_dir = \"d\"\n[store]\n{rest}");
        Config::parse(Path::new("c"), &text).map(|config| (config.packing.core_percent, config.packing.bytes_per_s))
    };
    assert_eq!(parse("").unwrap(), (50, 16 << 20));
    assert_eq!(parse("packing_core = \"100%\"\npacking_writes = \"1GiB\"").unwrap(), (100, 1 << 30));
    assert_eq!(parse("packing_core = \"5%\"\npacking_writes = \"1MiB\"").unwrap(), (5, 1 << 20));
    for wrong in
        ["core = \"4%\"", "core = \"101%\"", "core = \"0.5\"", "core = 50", "writes = \"0MiB\"", "writes = \"17GiB\""]
    {
        assert_eq!(parse(&format!("packing_{wrong}")).unwrap_err().list.len(), 1, "{wrong}");
    }
    let of_a_database = "engine = \"postgres\"\nurl = \"postgresql://u@localhost/d\"\npacking_core = \"50%\"";
    assert_eq!(parse(of_a_database).unwrap_err().list.len(), 1, "a database packs by itself");
}

#[test]
fn two_lines_are_enough_and_paths_start_at_the_file() {
    let config = Config::parse(Path::new("etc/ingest.toml"), "complex = \"c\"\ndata_dir = \"data\"\n").unwrap();
    assert_eq!(config.data_dir, Path::new("etc/data"));
    assert!(config.uplink.tls.is_none() && config.http.listen.address.ip().is_loopback());
}

#[test]
fn only_tls_or_a_proxy_lets_http_leave_loopback_and_the_uplink_always_has_tls() {
    let parse = |rest: &str| Config::parse(Path::new("c"), &format!("complex = \"c\"\ndata_dir = \"d\"\n{rest}"));
    assert!(parse("[http]\nlisten = \"0.0.0.0:80\"\nbehind_proxy = true\n").is_ok());
    assert!(parse("[http]\nlisten = \"0.0.0.0:80\"\n").is_err());
    assert!(parse("[uplink]\nlisten = \"0.0.0.0:7443\"\n").is_ok());
}

#[test]
fn an_invitation_names_an_address_that_a_gateway_can_call() {
    let parse = |rest: &str| {
        let text = format!("complex = \"c\"\ndata_dir = \"d\"\n[uplink]\n{rest}");
        Config::parse(Path::new("c"), &text).map(|config| config.uplink)
    };
    let at = |address: &str| address.parse::<SocketAddr>().unwrap();
    let plain = parse("").unwrap();
    assert_eq!(plain.public_at(at("10.0.0.5:7443")), Some(("10.0.0.5".into(), 7443)));
    assert_eq!(plain.public_at(at("0.0.0.0:7443")), None);
    assert_eq!(plain.public_at(at("127.0.0.1:0")), None, "the port is known to the running service alone");
    assert!(plain.names(at("10.0.0.5:7443")).contains(&"10.0.0.5".to_owned()));
    let named = parse("names = [\"sandan.example\", \"::1\"]\n").unwrap();
    assert_eq!(named.public_at(at("0.0.0.0:7443")), Some(("sandan.example".into(), 7443)));
    let public = parse("public_address = \"edge.example:443\"\n").unwrap();
    assert_eq!(public.public_at(at("0.0.0.0:7443")), Some(("edge.example".into(), 443)));
    assert!(public.names(at("0.0.0.0:7443")).contains(&"edge.example".to_owned()));
    for wrong in ["names = []", "names = [1]", "names = [\"a b\"]", "public_address = \"edge.example\""] {
        assert_eq!(parse(wrong).unwrap_err().list.len(), 1, "{wrong}");
    }
}

#[test]
fn a_key_that_every_user_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("k.pem");
    std::fs::write(&key, "").unwrap();
    std::fs::write(dir.path().join("c.pem"), "").unwrap();
    let text = "complex = \"c\"\ndata_dir = \"d\"\n[uplink]\ntls = { cert_file = \"c.pem\", key_file = \"k.pem\" }\n";
    let parse = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::parse(&dir.path().join("ingest.toml"), text)
    };
    assert!(parse(0o640).is_ok());
    let faults = parse(0o644).unwrap_err();
    assert!(faults.list[0].what.ends_with("can be read by every user of this machine"), "{faults}");
}

#[test]
fn links_name_an_address_that_a_browser_can_call() {
    let parse = |rest: &str| {
        let text = format!("complex = \"c\"\ndata_dir = \"d\"\n[http]\n{rest}");
        Config::parse(Path::new("c"), &text).map(|config| config.http)
    };
    let at = |address: &str| address.parse().unwrap();
    let plain = parse("").unwrap();
    assert_eq!(plain.console_url(at("127.0.0.1:9")).unwrap(), "http://127.0.0.1:9");
    assert_eq!(plain.console_url(at("0.0.0.0:9")), None);
    let proxied = parse("behind_proxy = true\n").unwrap();
    assert_eq!(proxied.console_url(at("10.0.0.5:9")), None, "the proxy has another address");
    let known = parse("behind_proxy = true\npublic_url = \"https://sandan.example/\"\n").unwrap();
    assert_eq!(known.console_url(at("0.0.0.0:9")).unwrap(), "https://sandan.example");
    // Its cookie is marked for TLS, and a browser would not send it back.
    let faults = parse("behind_proxy = true\npublic_url = \"http://sandan.example\"\n").unwrap_err();
    assert!(faults.list[0].what.starts_with("`public_url` is http://"), "{faults}");
    assert!(parse("public_url = \"http://127.0.0.1:7080\"\n").is_ok());
}
