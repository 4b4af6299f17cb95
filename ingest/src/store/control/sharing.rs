//! Consents with their whole life, who decides on them, and what stands beside them.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sandan_proto::id::{AssetId, FirmId, GroupId};
use serde::{Deserialize, Serialize};

use super::{ControlError, with_terms};
use crate::audit::{Chain, Draft, Kind};
use crate::auth::TokenHash;
use crate::consent::{
    Actor, Agreement, AllianceRule, Event, Grantee, Group, Layer, OfficerEvent, Officers, Role, Run, Standing,
};
use crate::id::{ConsentId, PersonId};
use crate::time::rfc3339;

/// The agreements that concern a firm, oldest first. Everything is in them: what a side may know of
/// an agreement is for the caller to say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agreements {
    /// Those that can be read.
    pub known: Vec<Agreement>,
    /// Those that this build does not understand, or that are damaged. They allow nothing.
    pub unreadable: Vec<ConsentId>,
}

/// A lot or charge under the firm's own number, which is one of its machine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunEntry {
    /// The firm's number of it.
    pub id: String,
    /// What it is.
    pub run: Run,
}

/// Behind which run a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlace {
    /// Its machine.
    pub asset: AssetId,
    /// Its beginning, µs since 1970.
    pub from_us: i64,
    /// The firm's number of it.
    pub id: String,
}

/// A link that makes a person the first officer of a firm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfficerLink {
    /// Of which.
    pub firm: FirmId,
    /// µs since 1970.
    pub expires_us: i64,
    /// When it was used, µs since 1970.
    pub used_us: Option<i64>,
}

/// How an officer signs in from then on.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Means {
    /// As before, or not at all any more.
    Unchanged,
    /// The firm's first officer, by a link that is used up with it.
    ByLink { link: TokenHash, name: String, token: TokenHash },
    /// A further officer.
    New { name: String, token: TokenHash },
    /// The token before opens nothing any more.
    Token(TokenHash),
}

/// One change to consents or to what stands beside them.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum SharingChange {
    /// What came of a command on a consent, in the logs of both firms.
    SaveAgreement {
        /// What it takes the place of; [`ControlError::Raced`] where something else is stored. None: new.
        before: Option<Box<Agreement>>,
        after: Box<Agreement>,
        event: Event,
        actor: Actor,
        /// Who acts for the grantee where that is a group.
        coordinator: Option<FirmId>,
    },
    /// A link for the firm's first officer. An earlier one opens nothing any more.
    LinkOfficer {
        firm: FirmId,
        link: TokenHash,
        expires_us: i64,
    },
    /// What came of a deed to an officer. A firm that has a first officer again has all its consents
    /// held until that one resumes them.
    Officer {
        firm: FirmId,
        /// What it takes the place of; [`ControlError::Raced`] where something else is stored.
        before: Officers,
        after: Officers,
        event: OfficerEvent,
        person: PersonId,
        means: Means,
    },
    /// A new group, or a new roster of one.
    SaveGroup {
        id: GroupId,
        /// What it takes the place of; [`ControlError::Raced`] where something else is stored. None: new.
        before: Option<Group>,
        after: Group,
    },
    SetAllianceRule(Box<AllianceRule>),
    SetHouseRule {
        firm: FirmId,
        rule: Layer,
    },
    /// The firm is no more. It stays closed.
    CloseFirm(FirmId),
    /// Runs by machine and number; one that is there already is replaced.
    PutRuns {
        firm: FirmId,
        runs: Vec<RunEntry>,
    },
}

impl SharingChange {
    /// What the audit log says of it.
    pub(super) fn drafts(&self, actor: &str) -> Vec<Draft> {
        let firm = |firm: &FirmId, kind| Draft::new(Chain::Firm(firm.clone()), kind, actor);
        let complex = |kind| Draft::new(Chain::Complex, kind, actor);
        match self {
            SharingChange::SaveAgreement { after, event, actor: by, coordinator, .. } => {
                let chains = chains(after, *event, by, coordinator.as_ref());
                chains.into_iter().map(|chain| agreed(Draft::new(chain, kind(*event), actor), after, *event)).collect()
            }
            SharingChange::LinkOfficer { firm: of, expires_us, .. } => {
                vec![firm(of, Kind::OfficerLinked).with("until", rfc3339(*expires_us))]
            }
            SharingChange::Officer { firm: of, after, event, person, means, .. } => {
                let kind = match event {
                    OfficerEvent::First | OfficerEvent::FirstAgain => Kind::OfficerFirst,
                    OfficerEvent::Minted => Kind::OfficerMinted,
                    OfficerEvent::Reset => Kind::OfficerReset,
                    OfficerEvent::Confirmed => Kind::OfficerConfirmed,
                    OfficerEvent::Removed => Kind::OfficerRemoved,
                };
                let mut draft = firm(of, kind).with("officer", person.to_string());
                if let Means::ByLink { name, .. } | Means::New { name, .. } = means {
                    draft = draft.with("name", name.as_str());
                }
                if let Some(Standing::Waiting { .. }) = after.standing(*person) {
                    draft = draft.with("waits", "yes");
                }
                let minted = (*means != Means::Unchanged)
                    .then(|| firm(of, Kind::TokenMinted).with("officer", person.to_string()));
                [draft].into_iter().chain(minted).collect()
            }
            SharingChange::SaveGroup { id, before, after } => group_drafts(id, before.as_ref(), after, actor),
            SharingChange::SetAllianceRule(rule) => {
                vec![complex(Kind::AllianceRuleSet).with("rule", document(rule))]
            }
            SharingChange::SetHouseRule { firm: of, rule } => {
                vec![firm(of, Kind::HouseRuleSet).with("rule", document(rule))]
            }
            SharingChange::CloseFirm(id) => {
                [firm(id, Kind::FirmClosed), complex(Kind::FirmClosed)].map(|it| it.with("firm", id.as_str())).into()
            }
            SharingChange::PutRuns { firm: of, runs } => {
                let shown = |it: &RunEntry| {
                    let Run { asset, customer, from_us, to_us } = &it.run;
                    let to = to_us.map_or_else(|| "…".to_owned(), rfc3339);
                    format!("{asset} {} {customer} {} {to}", it.id, rfc3339(*from_us))
                };
                vec![firm(of, Kind::RunsChanged).with("runs", runs.iter().map(shown).collect::<Vec<_>>())]
            }
        }
    }

    /// Whether something that was readable may be so no more.
    pub(super) fn takes_away(&self) -> bool {
        match self {
            SharingChange::SaveAgreement { before, after, .. } => {
                before.as_ref().and_then(|it| it.grant()) != after.grant()
            }
            SharingChange::Officer { event, .. } => {
                matches!(event, OfficerEvent::FirstAgain | OfficerEvent::Removed | OfficerEvent::Reset)
            }
            SharingChange::LinkOfficer { .. } => false,
            SharingChange::SaveGroup { .. }
            | SharingChange::SetAllianceRule(_)
            | SharingChange::SetHouseRule { .. }
            | SharingChange::CloseFirm(_)
            | SharingChange::PutRuns { .. } => true,
        }
    }
}

fn document<T: Serialize>(it: &T) -> String {
    // Plain structures of texts and integers always have a JSON form.
    serde_json::to_string(it).unwrap_or_default()
}

fn kind(event: Event) -> Kind {
    match event {
        Event::Drafted => Kind::ConsentDrafted,
        Event::Requested => Kind::ConsentRequested,
        Event::Countered => Kind::ConsentCountered,
        Event::ApprovedOnce => Kind::ConsentApprovedOnce,
        Event::Approved => Kind::ConsentApproved,
        Event::Rejected => Kind::ConsentRejected,
        Event::Withdrawn => Kind::ConsentWithdrawn,
        Event::Narrowed => Kind::ConsentNarrowed,
        Event::Suspended => Kind::ConsentSuspended,
        Event::Released => Kind::ConsentReleased,
        Event::Resumed => Kind::ConsentResumed,
        Event::Revoked => Kind::ConsentRevoked,
        Event::Relinquished => Kind::ConsentRelinquished,
        Event::Attested => Kind::ConsentAttested,
    }
}

/// Whose logs an event is in.
fn chains(after: &Agreement, event: Event, by: &Actor, coordinator: Option<&FirmId>) -> BTreeSet<Chain> {
    let acting = by.firm.clone().map(Chain::Firm);
    // Before it was sent it is its author's alone.
    if after.signatures.is_empty() && after.in_force.is_none() {
        return acting.into_iter().collect();
    }
    let grantee = match &after.grantee {
        // Whoever asked a group does not learn who declined.
        _ if event == Event::Rejected && after.asked_in_a_group => None,
        Grantee::Firm(firm) => Some(firm),
        Grantee::Group { .. } => coordinator,
    };
    let firms = [Some(&after.grantor), grantee].into_iter().flatten().cloned().map(Chain::Firm);
    firms.chain((by.role == Role::AllianceAdministrator).then_some(Chain::Complex)).collect()
}

fn agreed(draft: Draft, it: &Agreement, event: Event) -> Draft {
    let revision = i64::try_from(it.revision).unwrap_or(i64::MAX);
    let mut draft = draft
        .with("consent", it.id.to_string())
        .with("grantor", it.grantor.as_str())
        .with("grantee", it.grantee.to_string())
        .with("revision", revision);
    let signs = matches!(event, Event::Requested | Event::Countered | Event::ApprovedOnce | Event::Approved);
    if let (true, Some(signature)) = (signs, it.signatures.last()) {
        draft = draft.with("page", signature.page.to_string());
    }
    match &it.in_force {
        Some(now) if matches!(event, Event::Approved | Event::Narrowed) => {
            with_terms(draft.with("version", i64::from(now.version)), &now.terms)
        }
        _ => draft,
    }
}

/// One entry of the complex's log, and one of each firm that joins or leaves.
fn group_drafts(id: &GroupId, before: Option<&Group>, after: &Group, actor: &str) -> Vec<Draft> {
    let firms =
        |group: Option<&Group>| group.and_then(Group::newest).map(|(_, firms)| firms.clone()).unwrap_or_default();
    let (old, new) = (firms(before), firms(Some(after)));
    let names = |firms: Vec<&FirmId>| firms.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    let version = after.newest().map_or(0, |(version, _)| version);
    let changed = old.symmetric_difference(&new).cloned().map(Chain::Firm);
    let draft = |chain| {
        Draft::new(chain, Kind::GroupChanged, actor)
            .with("group", id.as_str())
            .with("roster", i64::from(version))
            .with("coordinator", after.coordinator.as_str())
            .with("joined", names(new.difference(&old).collect()))
            .with("left", names(old.difference(&new).collect()))
    };
    [Chain::Complex].into_iter().chain(changed).map(draft).collect()
}

/// The part of the control data that consents with their whole life stand in.
#[async_trait]
pub trait Sharing: Send + Sync {
    /// One agreement; [`ControlError::Unreadable`] where it is there and this build does not
    /// understand it.
    async fn agreement(&self, id: ConsentId) -> Result<Option<Agreement>, ControlError>;
    /// Those of a firm: as grantor, as grantee, or through a group that it coordinates, or is or
    /// was on a roster of.
    async fn agreements(&self, firm: &FirmId) -> Result<Agreements, ControlError>;
    /// Who may approve for a firm; nobody where there is none yet.
    async fn officers(&self, firm: &FirmId) -> Result<Officers, ControlError>;
    /// The link of a token, also one that is used or has expired.
    async fn officer_link(&self, link: &TokenHash) -> Result<Option<OfficerLink>, ControlError>;
    /// All groups.
    async fn groups(&self) -> Result<BTreeMap<GroupId, Group>, ControlError>;
    /// What the alliance rules; the default where it has not ruled yet.
    async fn alliance_rule(&self) -> Result<AllianceRule, ControlError>;
    /// A firm's floor under all its consents; none where it has set none.
    async fn house_rule(&self, firm: &FirmId) -> Result<Layer, ControlError>;
    /// Firms that are no more.
    async fn closed_firms(&self) -> Result<BTreeSet<FirmId>, ControlError>;
    /// A firm's runs, of a machine or of all, that lie at least partly in [from, to), µs since 1970:
    /// by machine and beginning, behind `after`, at most `limit`. One that goes on has no end.
    async fn runs(
        &self,
        firm: &FirmId,
        asset: Option<&AssetId>,
        from_us: i64,
        to_us: i64,
        after: Option<&RunPlace>,
        limit: usize,
    ) -> Result<Vec<RunEntry>, ControlError>;
    /// One of a firm's runs; none where it has none of this machine and number.
    async fn run(&self, firm: &FirmId, asset: &AssetId, id: &str) -> Result<Option<Run>, ControlError>;
    /// Notes that rows were read under a consent on a day (UTC, counted from 1970-01-01), durably,
    /// and gives how many were on that day with these. Of several at once each counts.
    async fn use_quota(&self, consent: ConsentId, day: i64, rows: u64) -> Result<u64, ControlError>;
}

impl FromIterator<super::Held> for Agreements {
    fn from_iter<T: IntoIterator<Item = super::Held>>(rows: T) -> Self {
        let mut all = Self::default();
        for row in rows.into_iter().filter(|row| !row.is_erased()) {
            match super::parsed_agreement(&row) {
                Ok(it) => all.known.push(it),
                Err(_) => all.unreadable.push(row.id),
            }
        }
        all
    }
}
