//! `[[mqtt]]`: a broker and the topics that are read from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sandan_proto::id::GatewayId;

use super::Plant;
use super::base::{readable_file, secret_file};
use super::notation::{self, Address, AddressFault};
use super::secret::{Secret, secret};
use super::section::Section;
use super::sparkplug::{self, SparkplugNode};

mod device;
mod topic;

pub use device::{JsonForm, MqttDevice, OwnTime, Payload, TimeFormat};
pub use topic::{Topic, TopicMatch};

/// Longest user name, client id or topic: what MQTT's two-byte length allows and a
/// terminal can show.
const MAX_FIELD_BYTES: usize = 1_024;
/// How long a broker of MQTT 5 is asked to keep the session: a plant's holidays.
const SESSION_EXPIRY: Duration = Duration::from_hours(14 * 24);
/// What a session may be kept for. The wire has 32 bits for its seconds.
const SESSION_EXPIRIES: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(365 * 24);

/// One connection to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// Where it is.
    pub address: Address,
    /// Which MQTT it speaks.
    pub version: MqttVersion,
    /// The authorities to trust, in PEM; `None` for a plain connection.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key, in PEM; the key closed to others when the configuration
    /// was loaded. Only beside `ca_file`.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
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

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1.
    V3,
    /// 5.
    V5 {
        /// How long the broker is asked to keep what comes while the gateway is away.
        session_expiry: Duration,
    },
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
    let version = version(section);
    let client_certificate = client_certificate(section, ca.is_some(), folder);
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
        devices.push(device::devices(section, endpoint, &place, plant));
    }
    let sparkplug = sparkplug::nodes(&nodes, endpoint, &place, plant);
    Some(Mqtt {
        address: address?,
        version,
        ca_file,
        client_certificate,
        client_id,
        username: username.map(|name| name.value.into()),
        password: password.map(|password| password.value),
        devices: devices.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect(),
        sparkplug: sparkplug?,
    })
}

fn version(section: &Section<'_>) -> MqttVersion {
    let words = [("3.1.1", false), ("5", true)];
    let is_5 = section.word("version", &words).is_some_and(|version| version.value);
    let expiry = section.duration("session_expiry", SESSION_EXPIRIES);
    if let (Some(expiry), false) = (expiry, is_5) {
        section.log.fault(
            expiry.at,
            "`session_expiry` without `version = \"5\"`",
            "MQTT 3.1.1 does not know it: such a broker has a setting of its own",
        );
    }
    if !is_5 {
        return MqttVersion::V3;
    }
    MqttVersion::V5 { session_expiry: expiry.map_or(SESSION_EXPIRY, |expiry| expiry.value) }
}

fn client_certificate(section: &Section<'_>, has_ca: bool, folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let (certificate, key) = (section.text("client_cert_file"), section.text("client_key_file"));
    let certificate_file = certificate.map(|file| readable_file(section, "client_cert_file", file, folder));
    let key_file = key.map(|file| secret_file(section, "client_key_file", file, folder));
    match (certificate, key) {
        (Some(one), None) | (None, Some(one)) => section.log.fault(
            one.at,
            "`client_cert_file` and `client_key_file` need each other",
            "write both, or leave both out",
        ),
        (Some(certificate), Some(_)) if !has_ca => section.log.fault(
            certificate.at,
            "`client_cert_file` without `ca_file`",
            "a certificate is shown over mqtts:// only: write address = \"mqtts://…\" and ca_file = \"…\"",
        ),
        _ => {}
    }
    certificate_file.zip(key_file)
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

#[cfg(test)]
mod tests;
