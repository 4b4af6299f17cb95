//! Commands on gateways and on the authority that signs their certificates.

use sandan_proto::id::GatewayId;
use sandan_proto::invitation::{Invitation, to_hex};

use super::{ACTOR, Admin, Answer, Invited, Refused, missing};
use crate::audit::Kind;
use crate::auth::{Secret, TokenKind};
use crate::store::control::{Change, ControlError, GatewayEntry};
use crate::time::{DAY_US, MINUTE_US, rfc3339, show_duration};

/// The shortest life of an invitation: time to type it.
const MIN_LIFE_US: i64 = MINUTE_US;
/// The longest: a box that travels by ship. It is a secret on paper all that time.
const MAX_LIFE_US: i64 = 30 * DAY_US;

/// How a gateway stands, in a word or three.
pub(super) fn state(entry: &GatewayEntry, fenced: bool, now_us: i64) -> &'static str {
    let is_after = |us: Option<i64>| us.is_some_and(|us| us > now_us);
    match entry {
        _ if entry.revoked_us.is_some() => "revoked",
        _ if fenced => "fenced",
        _ if is_after(entry.not_after_us) => "enrolled",
        _ if entry.enrolled_us.is_some() => "expired",
        _ if is_after(entry.invited_until_us) => "invited",
        _ => "to be invited",
    }
}

impl Admin {
    pub(super) async fn invite(&self, id: GatewayId, life_us: i64, replace: bool) -> Result<Answer, Refused> {
        if !(MIN_LIFE_US..=MAX_LIFE_US).contains(&life_us) {
            let bounds = format!("from {} to {}", show_duration(MIN_LIFE_US), show_duration(MAX_LIFE_US));
            return Err(Refused::new(&format!("an invitation lasts {bounds}"), "write it like --expires 24h"));
        }
        let Some((host, port)) = self.inviting.address.clone() else {
            let hint = "set `public_address` in [uplink], such as \"sandan.example:443\"";
            return Err(Refused::new("it is not known what a gateway has to call", hint));
        };
        let known = self.control.gateways().await?.into_iter().find(|it| it.id == id);
        if !replace && let Some(known) = &known {
            if known.revoked_us.is_some() {
                let what = format!("gateway `{id}` is revoked");
                return Err(Refused::new(&what, "--replace invites a new box in its place, which gets its series"));
            }
            if known.enrolled_us.is_some() {
                return Err(ControlError::Exists { kind: "gateway", id: id.to_string() }.into());
            }
        }
        let ca = self.inviting.ca.pin()?;
        let token = Secret::mint(TokenKind::Invitation)?;
        let expires_us = self.access.now_us().saturating_add(life_us);
        let (added, hash) = (known.is_none(), token.hash());
        let change = Change::InviteGateway { id: id.clone(), token: hash, expires_us, added, replace };
        self.apply(change).await?;
        if known.is_none_or(|known| known.revoked_us.is_none()) {
            self.fleet.enrol(id.clone());
        }
        let invitation = Invitation { host, port, gateway: id.clone(), token: token.reveal(), ca }.reveal();
        Ok(Answer::Invited(Invited { gateway: id, invitation, expires_us }))
    }

    /// Only of a gateway that was refused: a release that waits for nobody would let in
    /// the next copy of the spool, whoever has it.
    pub(super) async fn release(&self, id: GatewayId) -> Result<Answer, Refused> {
        let gateways = self.control.gateways().await?;
        let known = gateways.into_iter().find(|it| it.id == id).ok_or_else(|| missing("gateway", &id))?;
        if known.revoked_us.is_some() {
            return Err(ControlError::Revoked { kind: "gateway", id: id.to_string() }.into());
        }
        if !self.readings.fenced().await?.iter().any(|(fenced, _)| *fenced == id) {
            let what = format!("nothing to release: `{id}` was not refused since it was last let in");
            return Err(Refused::new(&what, "wait until it has tried to connect; its own log says what it was told"));
        }
        self.apply(Change::ReleaseGateway(id.clone())).await?;
        self.readings.release(&id).await?;
        self.fleet.released(&id);
        Ok(Answer::Done)
    }

    pub(super) async fn rotate(&self) -> Result<Answer, Refused> {
        let made = self.inviting.ca.rotate()?;
        // It signs nothing that was not in the log first: the next certificate names it.
        self.access.note(Kind::CaRotated, ACTOR).await?;
        Ok(Answer::Authorities(vec![made]))
    }

    /// Only when nobody depends on it any more, unless it is forced: whoever has not
    /// renewed since the rotation knows no other authority.
    pub(super) async fn retire(&self, number: u32, force: bool) -> Result<Answer, Refused> {
        let signing = to_hex(&self.inviting.ca.issuer()?);
        let now_us = self.access.now_us();
        let gateways = self.control.gateways().await?;
        let in_force = || gateways.iter().filter(|it| it.revoked_us.is_none());
        let behind = in_force().filter(|it| it.enrolled_us.is_some() && it.issuer.as_deref() != Some(&*signing));
        let behind: Vec<_> = behind.map(|it| it.id.to_string()).collect();
        let invited = gateways.iter().filter_map(|it| it.invited_until_us).filter(|until| *until > now_us).max();
        if !force && !behind.is_empty() {
            let shown = behind.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let what = format!("{} gateways have not renewed since the rotation: {shown}", behind.len());
            return Err(Refused::new(&what, "they renew by themselves; --force makes each of them a site visit"));
        }
        if !force && let Some(until) = invited {
            let what = format!("an invitation names it until {}", rfc3339(until));
            return Err(Refused::new(&what, "wait until then, or --force and invite again"));
        }
        self.inviting.ca.retire(number)?;
        self.access.note(Kind::CaRetired, ACTOR).await?;
        Ok(Answer::Done)
    }
}
