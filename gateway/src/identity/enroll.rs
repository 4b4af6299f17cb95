//! From an invitation to an identity.

use rcgen::KeyPair;
use rustls::ClientConfig;
use sandan_proto::id::GatewayId;
use sandan_proto::invitation::{Invitation, to_hex};
use sandan_proto::v1;
use sandan_proto::v1::enrollment_client::EnrollmentClient;
use sha2::{Digest, Sha256};
use tonic::transport::Channel;

use super::store::{self, Pending, Stored};
use super::{Identity, IdentityError, Leaf, Trust, WallClock, certificate_request, is_usable, tls};

/// Why a box could not be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError<C: std::error::Error + 'static> {
    /// The invitation is for another gateway.
    #[error("the invitation is for {invited}, and this box is configured as {configured}")]
    OtherGateway {
        /// By the invitation.
        invited: GatewayId,
        /// By the configuration.
        configured: GatewayId,
    },
    /// Key or certificate cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A key or request could not be made.
    #[error("a key could not be made on this machine")]
    Key(#[source] rcgen::Error),
    /// The ingest cannot be reached, or is not the one that the invitation names.
    #[error(transparent)]
    Connect(C),
    /// The ingest said no.
    #[error("the ingest refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// The answer cannot be used.
    #[error("the ingest gave a certificate that is not for this box's key; nothing was changed")]
    Answer,
}

/// What an enrolment came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolled {
    /// It had been done before, with the same invitation.
    pub before: bool,
    /// The certificate begins, µs since 1970.
    pub not_before_us: i64,
    /// The certificate ends, µs since 1970.
    pub not_after_us: i64,
}

/// Makes a key on this machine and has it certified. With the invitation of an enrolment
/// that has come to its end nothing is done; with that of one whose answer was lost the
/// same key is sent again. `connect` opens a connection with this TLS.
pub async fn enroll<C: std::error::Error + 'static>(
    identity: &Identity,
    invitation: &Invitation,
    now: WallClock,
    connect: impl AsyncFnOnce(ClientConfig) -> Result<Channel, C>,
) -> Result<Enrolled, EnrollError<C>> {
    if invitation.gateway != identity.gateway {
        let (invited, configured) = (invitation.gateway.clone(), identity.gateway.clone());
        return Err(EnrollError::OtherGateway { invited, configured });
    }
    let digest = to_hex(&Sha256::digest(invitation.token.as_bytes()).into());
    match store::read(&identity.dir) {
        Ok(Some(stored)) if stored.invitation == digest => {
            let credentials = identity.credentials()?;
            let (not_before_us, not_after_us) = (credentials.not_before_us, credentials.not_after_us);
            return Ok(Enrolled { before: true, not_before_us, not_after_us });
        }
        // One that is damaged is replaced.
        Ok(_) | Err(IdentityError::Damaged(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let (pending, key) = pending(identity, &digest)?;
    let request = v1::EnrollRequest {
        invitation: invitation.token.clone(),
        certificate_request: certificate_request(&key).map_err(EnrollError::Key)?,
        gateway: identity.gateway.to_string(),
    };
    let config = tls::client_config(Trust::Pinned(invitation.ca), None, now).map_err(IdentityError::Tls)?;
    let channel = connect(config).await.map_err(EnrollError::Connect)?;
    let answer = EnrollmentClient::new(channel).enroll(request).await;
    let answer = answer.map_err(|status| EnrollError::Refused(Box::new(status)))?.into_inner();
    let leaf = answer.certificate_chain.first().and_then(|leaf| Leaf::of(leaf)).ok_or(EnrollError::Answer)?;
    let is_ours = answer.gateway == identity.gateway.as_str();
    if !is_ours || !is_usable(&answer.certificate_chain, &answer.trust_bundle, &key) {
        return Err(EnrollError::Answer);
    }
    let mut stored = Stored::new(identity.gateway.clone(), invitation.authority(), pending);
    stored.certificate = answer.certificate_chain;
    stored.trust = answer.trust_bundle;
    store::write(&identity.dir, &stored)?;
    Ok(Enrolled { before: false, not_before_us: leaf.not_before_us, not_after_us: leaf.not_after_us })
}

/// The key that was made for this invitation before, or a new one that is on the disk.
fn pending<C: std::error::Error>(identity: &Identity, digest: &str) -> Result<(Pending, KeyPair), EnrollError<C>> {
    if let Some(pending) = store::read_pending(&identity.dir)?.filter(|it| it.invitation == digest)
        && let Ok(key) = KeyPair::from_pem(&pending.key)
    {
        return Ok((pending, key));
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(EnrollError::Key)?;
    let pending = Pending::new(digest.to_owned(), key.serialize_pem());
    store::write_pending(&identity.dir, &pending)?;
    Ok((pending, key))
}
