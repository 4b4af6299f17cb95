//! What runs over all that a firm has stored.

use sandan_proto::id::FirmId;
use sandan_proto::v1::goodbye::Reason;
use serde::{Deserialize, Serialize};

use super::{ACTOR, Admin, Answer, Refused, missing};
use crate::audit::{Chain, Draft, Kind};
use crate::consent::{Consent, Status};
use crate::store::control::{Change, Firm};
use crate::store::{Pass, Retained};

/// What retention took of a firm, or would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionLine {
    /// Whose.
    pub firm: FirmId,
    /// How much.
    #[serde(flatten)]
    pub gone: Retained,
}

impl Admin {
    /// One pass over a firm, or over all of them one after the other.
    pub(super) async fn retention(&self, firm: Option<FirmId>, pass: Pass) -> Result<Answer, Refused> {
        let firms = match firm {
            Some(firm) => {
                self.known(&firm).await?;
                vec![firm]
            }
            None => self.control.firms().await?.into_iter().map(|firm| firm.id).collect(),
        };
        let mut lines = Vec::new();
        for firm in firms {
            let gone = self.readings.retain(&firm, pass).await?;
            if pass == Pass::Apply && !gone.is_nothing() {
                let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
                let entry = Draft::new(Chain::Firm(firm.clone()), Kind::RetentionApplied, ACTOR)
                    .with("readings", count(gone.readings))
                    .with("days", count(gone.days));
                self.control.append(entry, self.access.now_us()).await?;
            }
            lines.push(RetentionLine { firm, gone });
        }
        Ok(Answer::Retention(lines))
    }

    /// Erases a firm but for its id and its log. Done twice, or after a kill amid it, it goes on
    /// where it was.
    pub(super) async fn erase(&self, firm: FirmId) -> Result<Answer, Refused> {
        let firms = self.control.firms().await?;
        let known = firms.into_iter().find(|it| it.id == firm).ok_or_else(|| missing("firm", &firm))?;
        // Before anything is done: an engine that cannot count it cannot erase it either.
        let held = self.readings.holdings(&firm).await?;
        if !known.is_erased() {
            self.access.apply(Change::EraseFirm { id: firm.clone(), held }, ACTOR).await?;
        }
        crash_point!("erase.noted-before-done");
        self.finish_erasure(&firm).await?;
        Ok(Answer::Holdings(held))
    }

    /// Goes on with what a kill amid an erasure has left, before anybody is let in.
    pub async fn finish_erasures(&self) -> Result<(), Refused> {
        for firm in self.control.firms().await?.into_iter().filter(Firm::is_erased) {
            self.finish_erasure(&firm.id).await?;
        }
        Ok(())
    }

    async fn finish_erasure(&self, firm: &FirmId) -> Result<(), Refused> {
        for consent in self.control.consents().await? {
            let Consent { id, grantor, grantee, status, .. } = consent;
            if (grantor == *firm || grantee == *firm) && !matches!(status, Status::Revoked { .. }) {
                self.access.apply(Change::Revoke { id, grantor, grantee }, ACTOR).await?;
            }
        }
        let members = self.control.members().await?.into_iter();
        for member in members.filter(|it| it.firm == *firm && it.revoked_us.is_none()) {
            self.access.apply(Change::RevokeMember { id: member.id, firm: member.firm }, ACTOR).await?;
        }
        let gateways: Vec<_> = self.control.gateways().await?.into_iter().filter(|it| it.id.firm() == *firm).collect();
        for gateway in &gateways {
            if gateway.revoked_us.is_none() {
                self.access.apply(Change::RevokeGateway(gateway.id.clone()), ACTOR).await?;
            }
            self.links.end(&gateway.id, Reason::Revoked);
            self.fleet.forget(&gateway.id);
        }
        // What a session has handed over is deleted with the rest.
        for gateway in &gateways {
            self.links.gone(&gateway.id).await;
        }
        crash_point!("erase.revoked-before-deleted");
        self.readings.erase(firm).await?;
        Ok(())
    }
}
