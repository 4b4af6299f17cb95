//! How people sign in at the console, and what they write down beside the fleet: whom to call,
//! what was seen on the last visit, who is on it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sandan_proto::id::{FirmId, GatewayId};

use super::ControlError;
use crate::audit::{Chain, Draft, Kind};
use crate::auth::{Principal, TokenHash};
use crate::id::PersonId;

/// What a browser holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserKind {
    /// It is signed in.
    Session,
    /// It may sign in, once.
    Link,
}

/// A browser that is signed in, or a link that signs one in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserEntry {
    /// Of the cookie, or of the link.
    pub hash: TokenHash,
    /// Which of the two.
    pub kind: BrowserKind,
    /// Who; none for whoever has a shell on the host, as an operator.
    pub person: Option<PersonId>,
    /// µs since 1970.
    pub begun_us: i64,
    /// When it was last used, to some minutes, µs since 1970.
    pub seen_us: i64,
    /// It opens nothing from this time on, µs since 1970.
    pub until_us: i64,
}

/// A password as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordEntry {
    /// Whose.
    pub person: PersonId,
    /// The slow hash with its parameters and salt.
    pub hash: String,
}

impl std::fmt::Debug for PasswordEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordEntry").field("person", &self.person).finish_non_exhaustive()
    }
}

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Somebody of the firm.
    Firm,
    /// Whoever installed the gateways.
    Installer,
}

impl Part {
    /// Its word in tables and forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Firm => "firm",
            Part::Installer => "installer",
        }
    }

    /// From its word.
    pub fn parse(text: &str) -> Option<Self> {
        [Part::Firm, Part::Installer].into_iter().find(|it| it.as_str() == text)
    }
}

/// Somebody to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// About the gateways of which firm.
    pub firm: FirmId,
    /// In what part.
    pub part: Part,
    /// For people.
    pub name: String,
    /// As it is dialled: digits, `+` and `-`.
    pub phone: String,
}

/// What somebody wrote down of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CareKind {
    /// What was found on the last visit.
    Visit,
    /// Somebody is on it.
    OnIt,
}

impl CareKind {
    /// Its word in tables and forms.
    pub fn as_str(self) -> &'static str {
        match self {
            CareKind::Visit => "visit",
            CareKind::OnIt => "on_it",
        }
    }

    /// From its word.
    pub fn parse(text: &str) -> Option<Self> {
        [CareKind::Visit, CareKind::OnIt].into_iter().find(|it| it.as_str() == text)
    }
}

/// The newest of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Care {
    /// Of which gateway.
    pub gateway: GatewayId,
    /// What it is.
    pub kind: CareKind,
    /// In the person's words; may be empty.
    pub words: String,
    /// Who, for people.
    pub name: String,
    /// µs since 1970.
    pub at_us: i64,
}

/// What stands beside the fleet, by gateway and kind.
pub type Cares = BTreeMap<(GatewayId, CareKind), Care>;

/// One change to it.
#[derive(Clone, PartialEq)]
#[allow(missing_docs)]
pub enum DeskChange {
    /// A person's password, under a name that nobody else signs in with. Other browsers of the
    /// person are signed out.
    SetPassword {
        person: PersonId,
        /// In whose log.
        chain: Chain,
        login: String,
        hash: String,
        /// The browser that stays.
        keep: TokenHash,
    },
    /// Whom to call; an empty number takes the contact away.
    SetContact(Contact),
    /// What was written down takes the place of what was before.
    SetCare(Care),
    /// Nobody is on it any more.
    EndCare { gateway: GatewayId, kind: CareKind },
}

impl std::fmt::Debug for DeskChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What a password became is not for a log.
        let (what, of) = match self {
            DeskChange::SetPassword { person, .. } => ("SetPassword", person.to_string()),
            DeskChange::SetContact(it) => ("SetContact", it.firm.to_string()),
            DeskChange::SetCare(it) => ("SetCare", it.gateway.to_string()),
            DeskChange::EndCare { gateway, .. } => ("EndCare", gateway.to_string()),
        };
        write!(f, "{what}({of})")
    }
}

impl DeskChange {
    /// What the audit log says of it.
    pub(super) fn drafts(&self, actor: &str) -> Vec<Draft> {
        let firm = |firm: FirmId, kind| Draft::new(Chain::Firm(firm), kind, actor);
        vec![match self {
            DeskChange::SetPassword { person, chain, .. } => {
                Draft::new(chain.clone(), Kind::PasswordSet, actor).with("person", person.to_string())
            }
            DeskChange::SetContact(it) => firm(it.firm.clone(), Kind::ContactSet)
                .with("part", it.part.as_str())
                .with("name", it.name.as_str())
                .with("phone", it.phone.as_str()),
            DeskChange::SetCare(it) => firm(it.gateway.firm(), Kind::CareNoted)
                .with("gateway", it.gateway.as_str())
                .with("kind", it.kind.as_str())
                .with("words", it.words.as_str())
                .with("name", it.name.as_str()),
            DeskChange::EndCare { gateway, kind } => firm(gateway.firm(), Kind::CareNoted)
                .with("gateway", gateway.as_str())
                .with("kind", kind.as_str())
                .with("ended", "yes"),
        }]
    }
}

/// The part of the control data that the console's desk stands in.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Lets a browser in, or a link be used. Those that have ended go, and of one person's the
    /// oldest beyond `kept`.
    async fn open_browser(&self, entry: BrowserEntry, kept: u32) -> Result<(), ControlError>;
    /// A browser or link, also one that has ended.
    async fn browser(&self, hash: &TokenHash) -> Result<Option<BrowserEntry>, ControlError>;
    /// It was used at a time, µs since 1970.
    async fn saw_browser(&self, hash: &TokenHash, seen_us: i64) -> Result<(), ControlError>;
    /// Ends one; whether it was there.
    async fn end_browser(&self, hash: &TokenHash) -> Result<bool, ControlError>;
    /// Ends all of a person.
    async fn end_browsers_of(&self, person: Option<PersonId>) -> Result<(), ControlError>;
    /// The password under a name that somebody signs in with.
    async fn password(&self, login: &str) -> Result<Option<PasswordEntry>, ControlError>;
    /// The name that a person signs in with; none without a password.
    async fn login(&self, person: PersonId) -> Result<Option<String>, ControlError>;
    /// Who a person is; none who was revoked.
    async fn person(&self, person: PersonId) -> Result<Option<Principal>, ControlError>;
    /// Whom to call about the gateways of a firm, or of all.
    async fn contacts(&self, firm: Option<&FirmId>) -> Result<Vec<Contact>, ControlError>;
    /// What was written down of all gateways.
    async fn cares(&self) -> Result<Cares, ControlError>;
}
