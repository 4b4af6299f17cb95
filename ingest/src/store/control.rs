//! Who there is and what was agreed: firms, gateways, members, operators, consents,
//! and the audit log, behind one trait.
//!
//! It promises that a change and its audit entry are durable together or not at all,
//! and that a grantor's epoch moves in the same transaction as the consent that moves it.

mod alerting;
mod desk;
mod documents;
mod sharing;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use sandan_proto::id::{FirmId, GatewayId};
use sandan_proto::invitation::to_hex;
use serde::{Deserialize, Serialize};

pub(in crate::store) use self::alerting::behind;
pub use self::alerting::{AlertRows, Alerting};
pub use self::desk::{
    BrowserEntry, BrowserKind, Care, CareKind, Cares, Contact, Desk, DeskChange, Part, PasswordEntry,
};
pub(in crate::store) use self::documents::{
    Documents, Held, customers, grants, parsed, parsed_agreement, parsed_groups,
};
pub use self::sharing::{Agreements, Means, OfficerLink, RunEntry, RunPlace, Sharing, SharingChange};
use crate::audit::{Chain, Draft, Entry, Head, Kind};
use crate::auth::{KeyHash, Principal, TokenHash};
use crate::consent::{Consent, Role, SharedForm, Snapshot, Terms};
use crate::id::{ConsentId, MemberId, OperatorId};
use crate::store::Holdings;
pub use crate::store::testimony::{Restored, Revocations, Testimony, Undone};
use crate::time::rfc3339;

/// A company.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firm {
    /// `hanbit-mould`.
    pub id: FirmId,
    /// 한빛금형.
    pub name_ko: String,
    /// Hanbit Mould.
    pub name_en: String,
}

impl Firm {
    /// Whether it was erased: only its id is left, which is no other firm's again.
    pub fn is_erased(&self) -> bool {
        self.name_ko.is_empty() && self.name_en.is_empty()
    }
}

/// A gateway that was invited once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayEntry {
    /// `firm/name`.
    pub id: GatewayId,
    /// µs since 1970.
    pub added_us: i64,
    /// Its certificate is refused from this time on, µs since 1970.
    pub revoked_us: Option<i64>,
    /// When its box was enrolled; none before, µs since 1970.
    pub enrolled_us: Option<i64>,
    /// When its certificate expires, µs since 1970.
    pub not_after_us: Option<i64>,
    /// Fingerprint of the authority that signed it, hexadecimal.
    pub issuer: Option<String>,
    /// Until when an invitation that nobody has used opens its enrolment, µs since 1970.
    pub invited_until_us: Option<i64>,
}

/// What a gateway's key got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The gateway.
    pub id: GatewayId,
    /// Its public key.
    pub key: KeyHash,
    /// The certificate's serial number, hexadecimal.
    pub serial: String,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// When it expires, µs since 1970.
    pub not_after_us: i64,
    /// Fingerprint of the authority that signed it.
    pub issuer: [u8; 32],
}

/// An invitation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationEntry {
    /// The token's hash.
    pub token: TokenHash,
    /// Whose enrolment it opens.
    pub gateway: GatewayId,
    /// µs since 1970.
    pub expires_us: i64,
    /// It may put a new box in the place of an enrolled or revoked one.
    pub replace: bool,
    /// What it was used for.
    pub used: Option<Certified>,
    /// Whether the fence was lifted for the new box's spool.
    pub released: bool,
}

/// Whose a public key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The gateway.
    pub gateway: GatewayId,
    /// False when another box took its place.
    pub current: bool,
    /// Since when it is refused, µs since 1970.
    pub revoked_us: Option<i64>,
    /// When its newest certificate expires, µs since 1970.
    pub not_after_us: i64,
}

/// A member that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Who.
    pub id: MemberId,
    /// For which firm.
    pub firm: FirmId,
    /// For people.
    pub name: String,
    /// In what capacity.
    pub role: Role,
    /// The token is refused from this time on, µs since 1970; none: it holds until it is revoked.
    pub until_us: Option<i64>,
    /// µs since 1970.
    pub added_us: i64,
    /// The token is refused from this time on, µs since 1970.
    pub revoked_us: Option<i64>,
}

/// An operator that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorEntry {
    /// Who.
    pub id: OperatorId,
    /// For people.
    pub name: String,
    /// In what capacity.
    pub role: Role,
    /// µs since 1970.
    pub added_us: i64,
    /// The token is refused from this time on, µs since 1970.
    pub revoked_us: Option<i64>,
}

/// Where a grantor stands, of one moment: what of its snapshot moves without the epoch, and the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    /// That of its consents and the rules beside them.
    pub epoch: u64,
    /// The newest audit time of all chains, µs since 1970.
    pub newest_us: i64,
    /// Rows that were read on the day (UTC) under the consents that were asked about; none for one
    /// of which nothing was.
    pub used: BTreeMap<ConsentId, u64>,
}

/// One change to the control data.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Change {
    AddFirm(Firm),
    /// Forgets the names of a firm and of its members. From then on it can have no gateway, member or
    /// consent; what it has of these is revoked, and what is stored of it deleted, after this.
    EraseFirm {
        id: FirmId,
        /// What there was of it, for the log.
        held: Holdings,
    },
    /// Opens the enrolment of a gateway, which is added when there was none of this name.
    /// An earlier invitation of it opens nothing any more.
    InviteGateway {
        id: GatewayId,
        token: TokenHash,
        expires_us: i64,
        /// There is none of this name yet.
        added: bool,
        /// A new box takes the place of one that was enrolled or revoked: its series are
        /// the gateway's for good, and a box that was lost must not take them along.
        replace: bool,
    },
    /// A box has shown the token and its key. An older key of the gateway is dead.
    EnrolGateway {
        token: TokenHash,
        certified: Certified,
        replaced: bool,
    },
    /// The same key got a new certificate.
    RenewGateway(Certified),
    /// The fence was lifted for the spool of a box that took another one's place.
    ReleaseEnrolled {
        token: TokenHash,
        id: GatewayId,
    },
    RevokeGateway(GatewayId),
    /// The store of readings lets the gateway's next session begin; here it is only logged.
    ReleaseGateway(GatewayId),
    /// A data officer is added by [`SharingChange::Officer`] instead.
    AddMember {
        id: MemberId,
        firm: FirmId,
        name: String,
        role: Role,
        until_us: Option<i64>,
        token: TokenHash,
    },
    /// A data officer approves nothing from then on.
    RevokeMember {
        id: MemberId,
        firm: FirmId,
    },
    AddOperator {
        id: OperatorId,
        name: String,
        role: Role,
        token: TokenHash,
    },
    RevokeOperator(OperatorId),
    Grant {
        id: ConsentId,
        grantor: FirmId,
        grantee: FirmId,
        terms: Terms,
    },
    /// The grantor stands by a consent that was suspended.
    Confirm {
        id: ConsentId,
        grantor: FirmId,
        grantee: FirmId,
    },
    Revoke {
        id: ConsentId,
        grantor: FirmId,
        grantee: FirmId,
    },
    /// Consents with their whole life, and what stands beside them.
    Sharing(SharingChange),
    /// How people sign in, and what they write down.
    Desk(DeskChange),
}

impl From<DeskChange> for Change {
    fn from(change: DeskChange) -> Self {
        Change::Desk(change)
    }
}

impl From<SharingChange> for Change {
    fn from(change: SharingChange) -> Self {
        Change::Sharing(change)
    }
}

/// Who makes a change, and when.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// As the audit log names them.
    pub actor: String,
    /// µs since 1970.
    pub now_us: i64,
}

/// Why control data could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It is there already.
    #[error("{kind} `{id}` exists already")]
    Exists {
        /// `firm`, …
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// It is not there.
    #[error("there is no {kind} `{id}`")]
    Missing {
        /// `firm`, …
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// The invitation was used or ran out while it was being looked at.
    #[error("the invitation is used or has expired")]
    Spent,
    /// It was revoked before.
    #[error("{kind} `{id}` is revoked already")]
    Revoked {
        /// `gateway`, …
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// It is in force, so that there is nothing to confirm.
    #[error("consent `{id}` is not suspended")]
    NotSuspended {
        /// Which.
        id: ConsentId,
    },
    /// It is closed, so that nothing begins for it.
    #[error("firm `{id}` is closed already")]
    Closed {
        /// Which.
        id: FirmId,
    },
    /// Somebody else changed it since it was looked at.
    #[error("{kind} `{id}` was changed meanwhile: look at it again")]
    Raced {
        /// `agreement`, …
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// What is stored of it is not what this build writes, or is damaged: it allows nothing.
    #[error("what is stored of {kind} `{id}` cannot be read by this build: it allows nothing")]
    Unreadable {
        /// `agreement`, …
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// The engine failed.
    #[error("the control data could not be reached")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ControlError {
    /// Whether the database is away, and may be back in a moment.
    pub fn is_away(&self) -> bool {
        super::postgres::database::is_away(self)
    }
}

impl Certified {
    fn described(&self, draft: Draft) -> Draft {
        let draft = draft.with("gateway", self.id.as_str()).with("serial", self.serial.as_str());
        draft.with("key", to_hex(self.key.as_bytes())).with("expires", rfc3339(self.not_after_us))
    }
}

impl Change {
    /// What the audit log says of it. `Missing` and the like were ruled out before.
    pub fn drafts(&self, actor: &str) -> Vec<Draft> {
        let firm = |firm: &FirmId, kind| Draft::new(Chain::Firm(firm.clone()), kind, actor);
        match self {
            Change::AddFirm(it) => vec![
                firm(&it.id, Kind::FirmAdded).with("name_ko", it.name_ko.as_str()).with("name_en", it.name_en.as_str()),
            ],
            Change::EraseFirm { id, held } => {
                let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
                let draft = |chain| {
                    let draft = Draft::new(chain, Kind::FirmErased, actor).with("firm", id.as_str());
                    draft.with("readings", count(held.readings)).with("series", count(held.series))
                };
                vec![draft(Chain::Firm(id.clone())), draft(Chain::Complex)]
            }
            Change::InviteGateway { id, expires_us, added, replace, .. } => {
                let of = |kind| firm(&id.firm(), kind).with("gateway", id.as_str());
                let invited = of(Kind::GatewayInvited).with("until", rfc3339(*expires_us));
                let invited = if *replace { invited.with("replace", "yes") } else { invited };
                added.then(|| of(Kind::GatewayAdded)).into_iter().chain([invited]).collect()
            }
            Change::EnrolGateway { certified, replaced, .. } => {
                let enrolled = certified.described(firm(&certified.id.firm(), Kind::GatewayEnrolled));
                vec![if *replaced { enrolled.with("replaced", "yes") } else { enrolled }]
            }
            Change::RenewGateway(certified) => {
                vec![certified.described(firm(&certified.id.firm(), Kind::GatewayRenewed))]
            }
            Change::ReleaseEnrolled { id, .. } => {
                vec![firm(&id.firm(), Kind::GatewayReleased).with("gateway", id.as_str())]
            }
            Change::RevokeGateway(id) => vec![firm(&id.firm(), Kind::GatewayRevoked).with("gateway", id.as_str())],
            Change::ReleaseGateway(id) => vec![firm(&id.firm(), Kind::GatewayReleased).with("gateway", id.as_str())],
            Change::AddMember { id, firm: of, name, role, until_us, .. } => {
                let added = firm(of, Kind::MemberAdded).with("member", id.to_string()).with("name", name.as_str());
                let added = acting(added, *role, Role::Member);
                let added = until_us.iter().fold(added, |added, until_us| added.with("until", rfc3339(*until_us)));
                vec![added, firm(of, Kind::TokenMinted).with("member", id.to_string())]
            }
            Change::RevokeMember { id, firm: of } => {
                vec![firm(of, Kind::MemberRevoked).with("member", id.to_string())]
            }
            Change::AddOperator { id, name, role, .. } => {
                let added = Draft::new(Chain::Complex, Kind::OperatorAdded, actor);
                let minted = Draft::new(Chain::Complex, Kind::TokenMinted, actor);
                vec![
                    acting(added.with("operator", id.to_string()).with("name", name.as_str()), *role, Role::Operator),
                    minted.with("operator", id.to_string()),
                ]
            }
            Change::RevokeOperator(id) => {
                vec![Draft::new(Chain::Complex, Kind::OperatorRevoked, actor).with("operator", id.to_string())]
            }
            Change::Grant { id, grantor, grantee, terms } => {
                vec![described(firm(grantor, Kind::ConsentGranted), *id, grantee, terms)]
            }
            Change::Confirm { id, grantor, grantee } => vec![
                firm(grantor, Kind::ConsentConfirmed).with("consent", id.to_string()).with("grantee", grantee.as_str()),
            ],
            Change::Revoke { id, grantor, grantee } => vec![
                firm(grantor, Kind::ConsentRevoked).with("consent", id.to_string()).with("grantee", grantee.as_str()),
            ],
            Change::Sharing(change) => change.drafts(actor),
            Change::Desk(change) => change.drafts(actor),
        }
    }

    /// Whether something that was readable may be so no more: reads that are under way must not
    /// go on past it.
    pub fn takes_away(&self) -> bool {
        match self {
            Change::Grant { .. }
            | Change::Confirm { .. }
            | Change::Revoke { .. }
            | Change::RevokeMember { .. }
            | Change::EraseFirm { .. } => true,
            Change::Sharing(change) => change.takes_away(),
            _ => false,
        }
    }
}

/// In what capacity, where it is not the usual one.
fn acting(draft: Draft, role: Role, usual: Role) -> Draft {
    if role == usual { draft } else { draft.with("role", role.as_str()) }
}

fn described(draft: Draft, id: ConsentId, grantee: &FirmId, terms: &Terms) -> Draft {
    with_terms(draft.with("consent", id.to_string()).with("grantee", grantee.as_str()), terms)
}

fn with_terms(draft: Draft, terms: &Terms) -> Draft {
    let texts = |ids: &mut dyn Iterator<Item = String>| ids.collect::<Vec<_>>();
    let mut draft = draft
        .with("assets", texts(&mut terms.assets.iter().map(ToString::to_string)))
        .with("metrics", texts(&mut terms.metrics.iter().map(ToString::to_string)))
        .with("not_before", rfc3339(terms.access.not_before_us))
        .with("until", rfc3339(terms.access.until_us));
    if let Some(from) = terms.event.from_us {
        draft = draft.with("from", rfc3339(from));
    }
    if let Some(to) = terms.event.to_us {
        draft = draft.with("to", rfc3339(to));
    }
    match &terms.form {
        SharedForm::Raw => draft.with("form", "raw"),
        SharedForm::Benchmark => draft.with("form", "benchmark"),
        SharedForm::Bucketed { floor_us, functions } => draft
            .with("form", "bucketed")
            .with("floor_us", *floor_us)
            .with("functions", texts(&mut functions.iter().map(ToString::to_string))),
    }
}

/// The control data.
#[async_trait]
pub trait Control: Sharing + Desk + Alerting {
    /// Makes one change and writes its audit entries, durably and together.
    async fn apply(&self, change: Change, by: Stamp) -> Result<(), ControlError>;

    /// All firms, by id.
    async fn firms(&self) -> Result<Vec<Firm>, ControlError>;
    /// All gateways, by id, also revoked ones.
    async fn gateways(&self) -> Result<Vec<GatewayEntry>, ControlError>;
    /// The invitation of a token, also one that is used or has expired.
    async fn invitation(&self, token: &TokenHash) -> Result<Option<InvitationEntry>, ControlError>;
    /// Whose a gateway's key is, also of one that is refused.
    async fn holder(&self, key: &KeyHash) -> Result<Option<Holder>, ControlError>;
    /// The keys that open a session at a time, µs since 1970.
    async fn keys_in_force(&self, now_us: i64) -> Result<HashMap<GatewayId, KeyHash>, ControlError>;
    /// All members, by firm and name, also revoked ones.
    async fn members(&self) -> Result<Vec<MemberEntry>, ControlError>;
    /// All operators, by name, also revoked ones.
    async fn operators(&self) -> Result<Vec<OperatorEntry>, ControlError>;
    /// Whether a member is there and not revoked.
    async fn is_member(&self, member: MemberId) -> Result<bool, ControlError>;
    /// Whether an operator is there and not revoked.
    async fn is_operator(&self, operator: OperatorId) -> Result<bool, ControlError>;
    /// Whom a token belongs to, with the stored hash; none when unknown or revoked.
    async fn principal(&self, token: &TokenHash) -> Result<Option<(TokenHash, Principal)>, ControlError>;

    /// All consents of all firms, oldest first.
    async fn consents(&self) -> Result<Vec<Consent>, ControlError>;
    /// The consents of one grantor, short and whole, its epoch, and the rules but for the dictionary,
    /// of one moment. What was used of quotas is that of the day of `now_us`, µs since 1970.
    async fn snapshot(&self, grantor: &FirmId, now_us: i64) -> Result<Snapshot, ControlError>;
    /// The same without what the epoch stands for: whoever keeps a snapshot of this epoch has all of it.
    /// `quotas` are the consents of which it is asked how much was used on the day of `now_us`.
    async fn pulse(&self, grantor: &FirmId, quotas: &[ConsentId], now_us: i64) -> Result<Pulse, ControlError>;
    /// Whether a member is there and not revoked, and the epoch of a grantor, of one moment: what each
    /// piece of a read rests on.
    async fn footing(&self, member: MemberId, grantor: &FirmId) -> Result<(bool, u64), ControlError>;
    /// The epoch of one grantor.
    async fn epoch(&self, grantor: &FirmId) -> Result<u64, ControlError>;

    /// Writes one audit entry durably.
    async fn append(&self, draft: Draft, now_us: i64) -> Result<Entry, ControlError>;
    /// Entries after a number, oldest first, at most `limit`.
    async fn audit(&self, chain: &Chain, after: u64, limit: usize) -> Result<Vec<Entry>, ControlError>;
    /// The head of a chain; [`Head::EMPTY`] when there is none.
    async fn audit_head(&self, chain: &Chain) -> Result<Head, ControlError>;
    /// The newest audit time of all chains, µs since 1970.
    async fn newest_audit_us(&self) -> Result<i64, ControlError>;
    /// Consents that wait for their grantors since a restore, and would be in force at a time,
    /// µs since 1970.
    async fn suspended(&self, now_us: i64) -> Result<u64, ControlError>;
    /// What a witness outside the store has to know, of one moment.
    async fn testimony(&self) -> Result<Testimony, ControlError>;
    /// Suspends every consent, withdraws again what the older state does not know to be
    /// withdrawn, and says so in the log of each firm and of the complex; all or nothing.
    /// Done twice, it finds nothing more to do and says that too.
    async fn after_restore(&self, restored: Restored, by: Stamp) -> Result<Undone, ControlError>;
    /// Whether the store ever had a witness.
    async fn is_witnessed(&self) -> Result<bool, ControlError>;
    /// From now on the store is not believed without its witness.
    async fn set_witnessed(&self, now_us: i64) -> Result<(), ControlError>;
}
