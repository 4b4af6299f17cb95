//! One connection of the library: its options, its limits, and its errors as sentences.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, MqttOptions, StateError, TlsConfiguration, Transport,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::MAX_PACKET_BYTES;
use crate::config::{Mqtt, Secret};

/// Requests on their way to the event loop: a subscription and acknowledgements.
const REQUESTS: usize = 64;
/// Dead brokers are noticed within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long connecting and flushing may take.
const CONNECT_SECONDS: u64 = 5;

/// A client and its event loop, which connects when it is first polled.
pub(super) fn connect(options: MqttOptions) -> (AsyncClient, EventLoop) {
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    events.network_options.set_connection_timeout(CONNECT_SECONDS).set_tcp_nodelay(true);
    (client, events)
}

/// The options of one connection. The error is a sentence without a secret.
pub(super) fn options(endpoint: &Mqtt) -> Result<MqttOptions, String> {
    let mut options = MqttOptions::new(&endpoint.client_id, &endpoint.address.host, endpoint.address.port);
    options
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    if let Some(username) = &endpoint.username {
        let password = endpoint.password.as_ref().map(Secret::read).transpose()?.unwrap_or_default();
        options.set_credentials(username, password);
    }
    if let Some(file) = &endpoint.ca_file {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(file)?))));
    }
    Ok(options)
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

fn tls(ca_file: &Path) -> Result<rustls::ClientConfig, String> {
    let pem = read(ca_file)?;
    let broken = |error: &dyn std::fmt::Display| format!("{}: {error}", ca_file.display());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|error| broken(&error))?).map_err(|error| broken(&error))?;
    }
    if roots.is_empty() {
        return Err(broken(&"no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

pub(super) fn is_oversize(error: &ConnectionError) -> bool {
    use rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded;
    matches!(error, ConnectionError::MqttState(StateError::Deserialization(PayloadSizeLimitExceeded(_))))
}

/// What is wrong with the connection, without error numbers and debug forms.
pub(super) fn sentence(error: &ConnectionError) -> String {
    use rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded;
    match error {
        ConnectionError::Io(error) => {
            let text = error.to_string();
            let reason = text.split(" (os error").next().unwrap_or_default().to_lowercase();
            format!("no connection to the broker: {reason}")
        }
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            format!("the broker does not answer within {CONNECT_SECONDS} s")
        }
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                "the broker refuses the user name or password".into()
            }
            ConnectReturnCode::BadClientId => "the broker refuses the client id".into(),
            _ => "the broker refuses the connection".into(),
        },
        ConnectionError::MqttState(StateError::Deserialization(PayloadSizeLimitExceeded(size))) => {
            format!("a packet of {size} bytes, more than {MAX_PACKET_BYTES}")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker hung up".into(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker does not answer any more".into(),
        ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_) => {
            "what answers does not speak MQTT 3.1.1".into()
        }
        ConnectionError::Tls(error) => format!("no secure connection: {error}"),
        ConnectionError::RequestsDone => "the connection ended".into(),
    }
}
