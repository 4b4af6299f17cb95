//! What runs over all that a firm has stored.

use std::collections::BTreeSet;

use sandan_proto::id::FirmId;
use sandan_proto::v1::goodbye::Reason;
use serde::{Deserialize, Serialize};

use super::{ACTOR, Admin, Answer, Refused, missing};
use crate::audit::{Chain, Draft, Kind};
use crate::consent::{Consent, Status};
use crate::store::control::{Change, Firm};
use crate::store::{Holdings, Pass, Retained};

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
        let erased: Vec<_> = self.control.firms().await?.into_iter().filter(Firm::is_erased).collect();
        if erased.is_empty() {
            return Ok(());
        }
        let mut left = BTreeSet::new();
        for consent in self.control.consents().await?.into_iter().filter(is_in_force) {
            left.extend([consent.grantor, consent.grantee]);
        }
        let members = self.control.members().await?;
        left.extend(members.into_iter().filter(|it| it.revoked_us.is_none()).map(|it| it.firm));
        let gateways = self.control.gateways().await?;
        left.extend(gateways.into_iter().filter(|it| it.revoked_us.is_none()).map(|it| it.id.firm()));
        for firm in erased.into_iter().map(|firm| firm.id) {
            // Of one that is gone the store knows nothing, which is a look at one row.
            if left.contains(&firm) || self.readings.holdings(&firm).await? != Holdings::default() {
                tracing::info!(%firm, "erasing a firm: what a stop amid it has left");
                self.finish_erasure(&firm).await?;
            }
        }
        Ok(())
    }

    async fn finish_erasure(&self, firm: &FirmId) -> Result<(), Refused> {
        for consent in self.control.consents().await?.into_iter().filter(is_in_force) {
            let Consent { id, grantor, grantee, .. } = consent;
            if grantor == *firm || grantee == *firm {
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

fn is_in_force(consent: &Consent) -> bool {
    !matches!(consent.status, Status::Revoked { .. })
}
