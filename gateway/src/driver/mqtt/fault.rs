//! Why a connection ended, as a sentence for people: without error numbers and debug forms.

use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError, v5};
use rustls::{AlertDescription, CertificateError};

use super::MAX_PACKET_BYTES;
use super::client::CONNECT_SECONDS;

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Never a secret.
    pub(super) sentence: String,
    /// It ended because of a packet that no buffer may hold.
    pub(super) is_oversize: bool,
}

impl Fault {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), is_oversize: false }
    }

    pub(super) fn stuck() -> Self {
        Self::new("the broker does not answer any more")
    }

    fn oversize(size: usize) -> Self {
        Self { sentence: format!("a packet of {size} bytes, more than {MAX_PACKET_BYTES}"), is_oversize: true }
    }

    /// In TLS 1.3 a broker refuses a certificate only after the gateway holds the line for
    /// made, so what it says about that comes with the first bytes that are read.
    fn io(error: &std::io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::new(insecure(error));
        }
        let text = error.to_string();
        let reason = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        Self::new(format!("no connection to the broker: {reason}"))
    }

    fn tls(error: &TlsError) -> Self {
        match error {
            TlsError::Io(error) => Self::io(error),
            TlsError::TLS(error) => Self::new(insecure(error)),
            _ => Self::new(format!("no secure connection: {error}")),
        }
    }

    fn slow() -> Self {
        Self::new(format!("the broker does not answer within {CONNECT_SECONDS} s"))
    }

    pub(super) fn of_v3(error: &ConnectionError) -> Self {
        use rumqttc::mqttbytes::Error::{Io, PayloadSizeLimitExceeded};
        match error {
            ConnectionError::Io(error)
            | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(Io(error))) => {
                Self::io(error)
            }
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Self::slow(),
            ConnectionError::ConnectionRefused(code) => Self::new(match code {
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                    "the broker refuses the user name or password"
                }
                ConnectReturnCode::BadClientId => "the broker refuses the client id",
                _ => "the broker refuses the connection",
            }),
            ConnectionError::MqttState(StateError::Deserialization(PayloadSizeLimitExceeded(size))) => {
                Self::oversize(*size)
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => Self::new("the broker hung up"),
            ConnectionError::MqttState(StateError::AwaitPingResp) => Self::stuck(),
            ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_) => {
                Self::new("what answers does not speak MQTT 3.1.1")
            }
            ConnectionError::Tls(error) => Self::tls(error),
            ConnectionError::RequestsDone => Self::new("the connection ended"),
        }
    }

    pub(super) fn of_v5(error: &v5::ConnectionError) -> Self {
        use v5::mqttbytes::Error::{Io, PayloadSizeLimitExceeded};
        use v5::mqttbytes::v5::{ConnectReturnCode as Code, DisconnectReasonCode as Reason};
        use v5::{ConnectionError, StateError};
        match error {
            ConnectionError::Io(error)
            | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(Io(error))) => {
                Self::io(error)
            }
            ConnectionError::Timeout(_) => Self::slow(),
            ConnectionError::ConnectionRefused(code) => Self::new(match code {
                Code::BadUserNamePassword | Code::NotAuthorized | Code::BadAuthenticationMethod => {
                    "the broker refuses the user name or password"
                }
                Code::BadClientId | Code::ClientIdentifierNotValid => "the broker refuses the client id",
                Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => {
                    "the broker does not speak MQTT 5: leave `version` out"
                }
                Code::ServerBusy | Code::ServerUnavailable | Code::ServiceUnavailable => "the broker is busy",
                Code::Banned => "the broker has banned this client",
                Code::QuotaExceeded | Code::ConnectionRateExceeded => "the broker takes no more connections",
                Code::UseAnotherServer | Code::ServerMoved => "the broker has moved",
                _ => "the broker refuses the connection",
            }),
            ConnectionError::MqttState(
                StateError::Deserialization(PayloadSizeLimitExceeded { pkt_size, .. })
                | StateError::IncomingPacketTooLarge { pkt_size, .. },
            ) => Self::oversize(*pkt_size),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                Self::new(match reason_code {
                    Reason::SessionTakenOver => {
                        "somebody else connected with the same client id; give each gateway of a broker its own"
                    }
                    Reason::ServerShuttingDown => "the broker shuts down",
                    Reason::ServerBusy => "the broker is busy",
                    Reason::NotAuthorized => "the broker does not let this user on any more",
                    Reason::KeepAliveTimeout => "the broker heard nothing of this gateway for too long",
                    Reason::AdministrativeAction => "the broker's operator ended the connection",
                    Reason::MessageRateTooHigh | Reason::QuotaExceeded => "the broker's limits are exceeded",
                    Reason::PacketTooLarge => "the broker calls a packet of this gateway too large",
                    _ => "the broker ended the connection",
                })
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => Self::new("the broker hung up"),
            ConnectionError::MqttState(StateError::AwaitPingResp) => Self::stuck(),
            ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_) => {
                Self::new("what answers does not speak MQTT 5")
            }
            ConnectionError::Tls(error) => Self::tls(error),
            ConnectionError::RequestsDone => Self::new("the connection ended"),
        }
    }
}

/// What ended a secure line, or kept it from being made, from either side.
fn insecure(error: &rustls::Error) -> String {
    use AlertDescription as Alert;
    use CertificateError as Broker;
    let sentence = match error {
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => {
                "the broker wants a certificate of the gateway: write `client_cert_file` and `client_key_file`"
            }
            Alert::UnknownCA => {
                "the broker refuses the gateway's certificate: it comes of an authority that the broker does not know"
            }
            Alert::CertificateExpired => "the broker refuses the gateway's certificate: it has expired",
            Alert::CertificateRevoked => "the broker refuses the gateway's certificate: it was revoked",
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError => "the broker refuses the gateway's certificate",
            // All that TLS 1.2 has for a certificate that is missing.
            Alert::HandshakeFailure => {
                "the broker refuses the secure connection: it wants a certificate of the gateway, or speaks another TLS"
            }
            _ => return format!("no secure connection: {error}"),
        },
        rustls::Error::InvalidCertificate(why) => match why {
            Broker::UnknownIssuer => "the broker's certificate comes of no authority in `ca_file`",
            Broker::NotValidForName | Broker::NotValidForNameContext { .. } => {
                "the broker's certificate is for another name than that in `address`"
            }
            Broker::Expired | Broker::ExpiredContext { .. } => {
                "the broker's certificate has expired, or this machine's clock is wrong"
            }
            Broker::NotValidYet | Broker::NotValidYetContext { .. } => {
                "the broker's certificate is not valid yet, or this machine's clock is wrong"
            }
            _ => return format!("no secure connection: {error}"),
        },
        rustls::Error::InvalidMessage(_) => "what answers does not speak TLS: is it the port of mqtts://?",
        _ => return format!("no secure connection: {error}"),
    };
    sentence.into()
}
