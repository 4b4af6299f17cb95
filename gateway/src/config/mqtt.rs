//! `[[mqtt]]`: a broker and the topics that are read from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sandan_proto::id::GatewayId;

use super::base::readable_file;
use super::notation::{self, Address, AddressFault};
use super::secret::{Secret, secret};
use super::section::Section;
use super::signal::{self, Decode, Defaults, JsonType, Pick};
use super::sparkplug::{self, SparkplugNode};
use super::{Device, Plant};

/// Longest user name, client id or topic: what MQTT's two-byte length allows and a
/// terminal can show.
const MAX_FIELD_BYTES: usize = 1_024;

/// One connection to a broker.
#[derive(Debug, Clone)]
pub struct Mqtt {
    /// Where it is.
    pub address: Address,
    /// The authorities to trust, in PEM; `None` for a plain connection.
    pub ca_file: Option<PathBuf>,
    /// Stable, so that the broker keeps what was published while the gateway was away.
    pub client_id: String,
    /// Who the gateway is to the broker.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The topics.
    pub devices: Vec<MqttDevice>,
    /// The Sparkplug edge nodes.
    pub sparkplug: Vec<SparkplugNode>,
}

/// What comes under one topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttDevice {
    /// Index into [`Config::devices`](super::Config::devices).
    pub device: usize,
    /// Its name, unique in the gateway.
    pub name: String,
    /// May hold `+` and `#`.
    pub topic: String,
    /// Its signals.
    pub picks: Vec<Pick>,
}

impl Mqtt {
    /// Protocol and place.
    pub fn place(&self) -> String {
        let scheme = if self.ca_file.is_some() { "mqtts" } else { "mqtt" };
        format!("{scheme} {}", self.address)
    }
}

pub(super) fn endpoint(
    section: &Section<'_>,
    endpoint: usize,
    folder: &Path,
    gateway: Option<&GatewayId>,
    plant: &mut Plant,
) -> Option<Mqtt> {
    let plaintext = section.flag("allow_plaintext").is_some_and(|allow| allow.value);
    let ca = section.text("ca_file");
    let ca_file = ca.map(|file| readable_file(section, "ca_file", file, folder));
    let address = address(section, plaintext, ca.is_some(), plant);
    let client_id = section.label("client_id", MAX_FIELD_BYTES);
    if let Some(client_id) = client_id
        && client_id.value.is_empty()
    {
        section.log.fault(
            client_id.at,
            "`client_id` is empty: the broker could not keep messages while the gateway is away",
            "leave it out, or give each gateway of a broker its own",
        );
    }
    let client_id = client_id.map_or_else(
        || format!("sandan-{}", gateway.map_or("", GatewayId::as_str).replace('/', "-")),
        |id| id.value.into(),
    );
    let username = section.label("username", MAX_FIELD_BYTES);
    let password = secret(section, ("password", "password_file"), folder);
    if let (None, Some(password)) = (username, &password) {
        section.log.fault(
            password.at,
            "a password without `username`",
            "MQTT sends a password only beside a user name",
        );
    }
    let sections = section.sections("device", "[[mqtt.device]]");
    if sections.is_empty() && !section.is_there("sparkplug") {
        section.missing_table(
            "device",
            "[[mqtt.device]]",
            "add a [[mqtt.device]] table for each topic, or [[mqtt.sparkplug]] for each edge node",
        );
    }
    let place = address.as_ref().map_or_else(String::new, ToString::to_string);
    let nodes = section.sections("sparkplug", "[[mqtt.sparkplug]]");
    section.finish();
    let mut devices = Vec::with_capacity(sections.len());
    for section in &sections {
        devices.push(device(section, endpoint, &place, plant));
    }
    let sparkplug = sparkplug::nodes(&nodes, endpoint, &place, plant);
    Some(Mqtt {
        address: address?,
        ca_file,
        client_id,
        username: username.map(|name| name.value.into()),
        password: password.map(|password| password.value),
        devices: devices.into_iter().collect::<Option<_>>()?,
        sparkplug: sparkplug?,
    })
}

fn address(section: &Section<'_>, plaintext: bool, has_ca: bool, plant: &mut Plant) -> Option<Address> {
    let text = section.required("address", "say where the broker is: address = \"mqtt://127.0.0.1:1883\"")?;
    let (what, hint) = match notation::address(text.value, &[("mqtt", 1883), ("mqtts", 8883)]) {
        Ok((_, address)) if !plant.addresses.insert(address.to_string()) => {
            (format!("two endpoints at {address}"), "put all its topics under one [[mqtt]]")
        }
        Ok(("mqtts", _)) if !has_ca => (
            "`address` is mqtts, but there is no `ca_file`".into(),
            "add ca_file = \"ca.pem\"; no authority is trusted by default",
        ),
        Ok(("mqtt", _)) if has_ca => {
            ("`ca_file` does nothing with mqtt://".into(), "write mqtts://, or leave ca_file out")
        }
        Ok(("mqtt", address)) if !address.is_loopback() && !plaintext => (
            format!("{address} is not this machine, and mqtt:// is plain text"),
            "write mqtts:// with ca_file, or allow_plaintext = true on a plant network of your own",
        ),
        Ok((_, address)) => return Some(address),
        Err(AddressFault::Scheme) => {
            ("`address` begins with neither mqtt:// nor mqtts://".into(), "write address = \"mqtt://127.0.0.1:1883\"")
        }
        Err(AddressFault::Credentials) => {
            ("`address` holds credentials".into(), "write username = \"…\" and password_file = \"…\" instead")
        }
        Err(AddressFault::Form) => {
            ("`address` is not mqtt://host:port".into(), "write address = \"mqtt://127.0.0.1:1883\"")
        }
    };
    section.log.fault(text.at, what, hint);
    None
}

fn device(section: &Section<'_>, endpoint: usize, place: &str, plant: &mut Plant) -> Option<MqttDevice> {
    let name = signal::name(section, "name it: name = \"welder-1\"");
    let topic = section.required("topic", "say which: topic = \"plant/welder-1/state\"");
    let topic = topic.and_then(|topic| {
        let fits = topic.value.len() <= MAX_FIELD_BYTES && !topic.value.contains('\0');
        if fits && rumqttc::valid_filter(topic.value) {
            return Some(topic.value);
        }
        section.log.fault(
            topic.at,
            format!("`topic` is not a topic filter: `{}`", notation::shown(topic.value)),
            "+ stands for one whole level, # for all the rest at the end: plant/+/state, plant/#",
        );
        None
    });
    let asset = signal::asset(section, plant);
    let interval = signal::interval(section).unwrap_or(Duration::from_secs(1));
    let signals = section.sections("signals", "signal");
    if signals.is_empty() {
        section.missing_table(
            "signals",
            "signals",
            "list at least one: signals = [ { name = \"…\", metric = \"…\", path = \"a.b\", type = \"f64\" } ]",
        );
    }
    let upload = signal::asked_upload(section);
    section.finish();
    if let Some(name) = name
        && !plant.names.insert(name.value.into())
    {
        section.log.fault(
            name.at,
            format!("two devices `{}`", notation::shown(name.value)),
            "give each device of the gateway its own name",
        );
    }
    let index = plant.devices.len();
    plant.devices.push(Device {
        name: name.map_or("", |name| name.value).into(),
        address: format!("mqtt {place} topic {}", topic.unwrap_or("")),
        endpoint,
        interval,
    });
    let defaults = Defaults { device: index, asset, interval, upload };
    let mut picks = Vec::with_capacity(signals.len());
    for section in &signals {
        picks.push(pick(section, &defaults, plant));
    }
    Some(MqttDevice {
        device: index,
        name: name?.value.into(),
        topic: topic?.into(),
        picks: picks.into_iter().collect::<Option<_>>()?,
    })
}

fn pick(section: &Section<'_>, defaults: &Defaults, plant: &mut Plant) -> Option<Pick> {
    let path = section.required("path", "say where in the payload: path = \"current.rms\"").and_then(|text| {
        let steps = notation::json_path(text.value);
        if steps.is_none() {
            section.log.fault(
                text.at,
                format!("`path` is not a path: `{}`", notation::shown(text.value)),
                "write keys with points and indices in brackets: \"current.rms\", \"zones[2].temperature\"",
            );
        }
        steps.map(|steps| (text.value, steps))
    });
    let kind = if section.has("type", "say what the payload holds: type = \"f64\" (f64 i64 bool text)") {
        section.word("type", &JsonType::ALL)
    } else {
        None
    };
    let is_number = kind.is_none_or(|kind| matches!(kind.value, JsonType::F64 | JsonType::I64));
    let scale = signal::scale(section, is_number);
    let decode = kind.map(|kind| Decode::Json(kind.value, scale));
    let signal = signal::common(section, decode, defaults, plant)?;
    let (path, steps) = path?;
    Some(Pick { signal, path: path.into(), steps })
}
