//! Renews the certificate at two thirds of its life, and long after its end.

use std::time::Duration;

use rustls::ClientConfig;
use sandan_proto::v1;
use sandan_proto::v1::enrollment_client::EnrollmentClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{Identity, IdentityError, Leaf, WallClock, certificate_request, is_usable, store};

/// How often it looks whether it is time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// While nothing is due. The wall clock may be set meanwhile.
    pub look: Duration,
    /// After the first failure; each further one doubles it.
    pub retry_min: Duration,
    /// At most.
    pub retry_max: Duration,
}

impl Default for Pace {
    /// A look costs the reading of one small file. A month is left for tries, so that they
    /// may be rare; an expired certificate is renewed within some seconds of the ingest's return.
    fn default() -> Self {
        Self { look: Duration::from_mins(1), retry_min: Duration::from_secs(5), retry_max: Duration::from_mins(15) }
    }
}

/// How the certificate stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// It ends, µs since 1970; none before the enrolment.
    pub not_after_us: Option<i64>,
    /// It is renewed then, µs since 1970.
    pub due_us: Option<i64>,
    /// Why the last renewal failed, in one sentence.
    pub fault: Option<String>,
    /// Renewals since the start.
    pub renewed_total: u64,
    /// Failed ones since the start.
    pub failed_total: u64,
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError<C: std::error::Error + 'static> {
    /// Key or certificate cannot be read or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A request could not be made.
    #[error("a certificate request could not be made")]
    Request(#[source] rcgen::Error),
    /// The ingest cannot be reached.
    #[error(transparent)]
    Connect(C),
    /// The ingest said no.
    #[error("the ingest refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// The answer cannot be used.
    #[error("the ingest gave a certificate that is not for this box's key")]
    Answer,
}

/// Renews until `stop`. `connect` opens a connection with this TLS to `host:port` of the
/// invitation, unless the configuration names another; `renewed` is told when a certificate begins.
pub async fn keep_renewed<C: std::error::Error + 'static>(
    identity: Identity,
    pace: Pace,
    now: WallClock,
    connect: impl AsyncFn(&str, ClientConfig) -> Result<Channel, C>,
    status: watch::Sender<Renewal>,
    stop: CancellationToken,
) {
    // A share of the last third, so that gateways that were enrolled together do not
    // renew together.
    let share = share();
    let mut retry = pace.retry_min;
    loop {
        let mut pause = pace.look;
        match identity.credentials() {
            Ok(credentials) => {
                let due_us = due_us(credentials.not_before_us, credentials.not_after_us, share);
                status.send_if_modified(|it| {
                    let before = (it.not_after_us, it.due_us);
                    (it.not_after_us, it.due_us) = (Some(credentials.not_after_us), Some(due_us));
                    before != (it.not_after_us, it.due_us)
                });
                if (now)() >= due_us {
                    let renewed = tokio::select! {
                        renewed = renew(&identity, &now, &connect) => renewed,
                        () = stop.cancelled() => return,
                    };
                    match renewed {
                        Ok(not_after_us) => {
                            retry = pace.retry_min;
                            tracing::info!("certificate renewed");
                            status.send_modify(|it| {
                                let renewed_total = it.renewed_total + 1;
                                let not_after_us = Some(not_after_us);
                                *it = Renewal { not_after_us, fault: None, renewed_total, ..it.clone() };
                            });
                        }
                        Err(error) => {
                            pause = retry;
                            retry = (retry * 2).min(pace.retry_max);
                            let fault = sentence(&error);
                            if status.borrow().fault.as_ref() != Some(&fault) {
                                tracing::warn!(fault, "the certificate could not be renewed");
                            }
                            status.send_modify(|it| {
                                it.failed_total += 1;
                                it.fault = Some(fault);
                            });
                        }
                    }
                } else {
                    retry = pace.retry_min;
                    status.send_if_modified(|it| it.fault.take().is_some());
                }
            }
            // The uplink says so.
            Err(_) => {
                status.send_if_modified(|it| it.not_after_us.take().is_some());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// When a certificate is to be renewed: at two thirds of its life, and up to a tenth of it later.
fn due_us(not_before_us: i64, not_after_us: i64, share: f64) -> i64 {
    let life = not_after_us.saturating_sub(not_before_us).max(0);
    let late = Duration::from_micros((life / 10).unsigned_abs()).mul_f64(share);
    not_before_us + life / 3 * 2 + i64::try_from(late.as_micros()).unwrap_or(0)
}

fn share() -> f64 {
    let mut random = [0; 2];
    // Without randomness it is merely not spread.
    let _ = getrandom::fill(&mut random);
    f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX)
}

/// One renewal; the new certificate's end, µs since 1970.
async fn renew<C: std::error::Error + 'static>(
    identity: &Identity,
    now: &WallClock,
    connect: &impl AsyncFn(&str, ClientConfig) -> Result<Channel, C>,
) -> Result<i64, RenewError<C>> {
    let credentials = identity.credentials()?;
    let request = certificate_request(&credentials.key).map_err(RenewError::Request)?;
    let channel = connect(&credentials.ingest, credentials.client_config(now.clone())?).await;
    let channel = channel.map_err(RenewError::Connect)?;
    let answer = EnrollmentClient::new(channel).renew(v1::RenewRequest { certificate_request: request }).await;
    let answer = answer.map_err(|status| RenewError::Refused(Box::new(status)))?.into_inner();
    let leaf = answer.certificate_chain.first().and_then(|leaf| Leaf::of(leaf)).ok_or(RenewError::Answer)?;
    if !is_usable(&answer.certificate_chain, &answer.trust_bundle, &credentials.key) {
        return Err(RenewError::Answer);
    }
    let Some(mut stored) = store::read(&identity.dir)? else { return Err(IdentityError::NotEnrolled.into()) };
    // A box that was enrolled anew meanwhile has another key.
    if stored.key.trim() != credentials.key.serialize_pem().trim() {
        return Err(RenewError::Answer);
    }
    stored.certificate = answer.certificate_chain;
    stored.trust = answer.trust_bundle;
    store::write(&identity.dir, &stored)?;
    Ok(leaf.not_after_us)
}

/// An error with its causes.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
