//! What somebody at the console sees of the fleet, and writes down beside it: an operator of all
//! firms, a firm's own people of their own. Never a value.

use std::collections::BTreeMap;

use sandan_proto::id::{FirmId, GatewayId};

use super::{Access, AccessError};
use crate::auth::SignedIn;
use crate::consent::Role;
use crate::fleet::View;
use crate::store::DeadLetterCount;
use crate::store::control::{Care, CareKind, Cares, Contact, ControlError, DeskChange, Firm};

/// Everything that one sees of the fleet at a time.
#[derive(Debug)]
pub struct Scene {
    /// Gateways, what is worst first.
    pub views: Vec<View>,
    /// Whose they are.
    pub firms: BTreeMap<FirmId, Firm>,
    /// What is put aside of each.
    pub dead: BTreeMap<GatewayId, Vec<DeadLetterCount>>,
    /// Whom to call.
    pub contacts: Vec<Contact>,
    /// What was written down.
    pub cares: Cares,
    /// Whether nothing more is stored for want of room on the disk.
    pub is_disk_short: bool,
    /// The time, µs since 1970.
    pub now_us: i64,
}

/// Whether somebody looks after the links of a firm.
fn looks_after(by: &SignedIn, firm: &FirmId) -> bool {
    match by.role() {
        Role::Operator => true,
        Role::DataOfficer | Role::FirmStaff | Role::Installer | Role::Member => by.firm() == Some(firm),
        Role::Auditor | Role::AllianceAdministrator | Role::Gateway => false,
    }
}

impl Access {
    /// How the links are that somebody looks after.
    pub async fn scene(&self, by: &SignedIn) -> Result<Scene, AccessError> {
        let (mut views, mut firms, now_us) = self.fleet().await?;
        views.retain(|view| looks_after(by, &view.id.firm()));
        firms.retain(|id, _| looks_after(by, id));
        let mut dead = self.dead_totals().await.unwrap_or_else(|error| {
            // How the links are is shown all the same.
            tracing::error!(%error, "what is put aside cannot be counted for the console");
            BTreeMap::default()
        });
        dead.retain(|id, _| looks_after(by, &id.firm()));
        let contacts = self.control.contacts(by.firm()).await?;
        let mut cares = self.control.cares().await?;
        cares.retain(|(id, _), _| looks_after(by, &id.firm()));
        Ok(Scene { views, firms, dead, contacts, cares, is_disk_short: self.is_disk_short(), now_us })
    }

    /// How the links are alone, to tell whether anything changed.
    pub fn pulse(&self, by: &SignedIn) -> Vec<View> {
        let (mut views, _) = self.fleet.views();
        views.retain(|view| looks_after(by, &view.id.firm()));
        views
    }

    /// Writes down whom to call about a firm's gateways; an empty number takes the contact away.
    pub async fn set_contact(&self, by: &SignedIn, contact: Contact) -> Result<(), AccessError> {
        let decides = matches!(by.role(), Role::Operator | Role::DataOfficer | Role::FirmStaff);
        if !decides || !looks_after(by, &contact.firm) {
            return Err(AccessError::OtherFirm);
        }
        Ok(self.apply(DeskChange::SetContact(contact).into(), &by.actor()).await?)
    }

    /// Writes down what was found, or that somebody is on it. No words end what was there.
    pub async fn set_care(
        &self,
        by: &SignedIn,
        gateway: GatewayId,
        kind: CareKind,
        words: Option<String>,
    ) -> Result<(), AccessError> {
        if !looks_after(by, &gateway.firm()) {
            return Err(AccessError::OtherFirm);
        }
        let change = match words {
            None => DeskChange::EndCare { gateway, kind },
            Some(words) => {
                DeskChange::SetCare(Care { gateway, kind, words, name: by.name().to_owned(), at_us: self.now_us() })
            }
        };
        Ok(self.apply(change.into(), &by.actor()).await?)
    }

    /// Sets the password of whoever is signed in. Their other browsers are signed out.
    pub async fn set_password(&self, by: &SignedIn, login: String, hash: String) -> Result<(), ControlError> {
        let Some(person) = by.person.as_ref().map(crate::auth::Principal::id) else {
            return Err(ControlError::Missing { kind: "person", id: by.actor() });
        };
        let chain = by.firm().cloned().map_or(super::Chain::Complex, super::Chain::Firm);
        let change = DeskChange::SetPassword { person, chain, login, hash, keep: by.hash.clone() };
        self.apply(change.into(), &by.actor()).await
    }

    /// Notes a sign-in where whoever it concerns reads it: in the firm's log, or the complex's.
    pub async fn note_sign_in(&self, by: &SignedIn) -> Result<(), ControlError> {
        let chain = by.firm().cloned().map_or(super::Chain::Complex, super::Chain::Firm);
        let draft = super::Draft::new(chain, super::Kind::SignedIn, &by.actor());
        self.control.append(draft, self.now_us()).await.map(drop)
    }
}
