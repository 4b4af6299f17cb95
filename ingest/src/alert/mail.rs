//! Mail by SMTP, to the one server that is configured. Without the protection that is asked for, nothing is sent.

use std::path::Path;
use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Letter, Tokio1Executor};

use super::message::Message;
use super::receiver::{MailTls, Relay};
use super::webhook::{SendError, secret};

/// Of each step with the server.
const STEP: Duration = Duration::from_secs(20);
/// Of all of them.
const DEADLINE: Duration = Duration::from_mins(1);
/// By which programs tell that no person wrote it, and do not answer.
const AUTOMATIC: (&str, &str) = ("Auto-Submitted", "auto-generated");

/// Whether a mail can go to or come from an address.
pub(crate) fn check_address(text: &str) -> Result<(), SendError> {
    text.parse::<Mailbox>().map(drop).map_err(|error| SendError::Mail(format!("`{text}` is no mail address: {error}")))
}

/// Hands a message on to the server for all of `to`.
pub(super) async fn send(relay: &Relay, to: &[String], message: &Message, ca: Option<&Path>) -> Result<(), SendError> {
    let letter = letter(relay, to, message)?;
    let transport = transport(relay, ca)?;
    let sent = tokio::time::timeout(DEADLINE, transport.send(letter)).await;
    let sent = sent.map_err(|_| SendError::Away(format!("not within {} s", DEADLINE.as_secs())))?;
    sent.map(drop).map_err(|error| {
        let error: &(dyn std::error::Error + 'static) = &error;
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        SendError::Away(format!("{error}{cause}"))
    })
}

fn letter(relay: &Relay, to: &[String], message: &Message) -> Result<Letter, SendError> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| SendError::Mail(format!("`{text}`: {error}")));
    let name = HeaderName::new_from_ascii_str(AUTOMATIC.0);
    let domain = relay.from.trim_end_matches('>').rsplit('@').next().unwrap_or("localhost").to_owned();
    // The same each time that it is tried, so that a mail server can tell a second copy.
    let number: String = message.id.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '.' }).collect();
    let mut letter = Letter::builder()
        .from(mailbox(&relay.from)?)
        .message_id(Some(format!("<{number}@{domain}>")))
        .subject(message.subject.replace(['\r', '\n'], " "))
        .raw_header(HeaderValue::new(name, AUTOMATIC.1.to_owned()));
    for address in to {
        letter = letter.to(mailbox(address)?);
    }
    let body = MultiPart::alternative_plain_html(message.text.clone(), message.html());
    letter.multipart(body).map_err(|error| SendError::Mail(error.to_string()))
}

fn transport(relay: &Relay, ca: Option<&Path>) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
    let failed = |error: lettre::transport::smtp::Error| SendError::Mail(error.to_string());
    let trusted = || {
        let mut tls = TlsParameters::builder(relay.host.clone());
        if let Some(ca) = ca {
            let refused = |error: std::io::Error| SendError::Mail(format!("{}: {error}", ca.display()));
            tls = tls.certificate_store(CertificateStore::None);
            let pem = std::fs::read(ca).map_err(refused)?;
            tls = tls.add_root_certificate(Certificate::from_pem(&pem).map_err(failed)?);
        }
        tls.build_rustls().map_err(failed)
    };
    let tls = match relay.tls {
        MailTls::StartTls => Tls::Required(trusted()?),
        MailTls::Implicit => Tls::Wrapper(trusted()?),
        MailTls::None => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&relay.host)
        .port(relay.port)
        .timeout(Some(STEP))
        .tls(tls);
    if let Some((user, password_file)) = &relay.login {
        transport = transport.credentials(Credentials::new(user.clone(), secret(password_file)?));
    }
    Ok(transport.build())
}
