//! Who calls: random tokens, shown once, stored as SHA-256.
//!
//! It promises that a token's text is in no log, no `Debug` and no store, and that
//! each kind of token opens only its own door. It must not know what the caller may
//! then do; that is consent's.

mod key;
mod password;
pub mod route;
mod session;
mod token;

use std::sync::Arc;

use sandan_proto::id::FirmId;

pub use self::key::KeyHash;
pub use self::password::{MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS, Password, Passwords, Turned};
pub use self::session::{IDLE_US, LINK_LIFE_US, SESSION_LIFE_US, SessionError, Sessions, SignedIn};
pub use self::token::{Secret, TokenHash, TokenKind};
use crate::consent::{Actor, Role};
use crate::id::{MemberId, OperatorId, PersonId};
use crate::store::control::Control;
/// Why a token could not be looked up.
pub use crate::store::control::ControlError as LookupError;

/// Whom a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person or program that acts for a firm.
    Member(Member),
    /// A person who acts for the complex or the alliance.
    Operator(Operator),
}

/// Someone who acts for a firm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: MemberId,
    /// For which firm.
    pub firm: FirmId,
    /// For people.
    pub name: String,
    /// In what capacity: one of [`FIRM_ROLES`].
    pub role: Role,
    /// The token is refused from this time on, µs since 1970; none: it holds until it is revoked.
    pub until_us: Option<i64>,
}

/// Someone who acts for the complex or the alliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who.
    pub id: OperatorId,
    /// For people.
    pub name: String,
    /// In what capacity: one of [`COMPLEX_ROLES`].
    pub role: Role,
}

/// What someone who acts for a firm can be.
pub const FIRM_ROLES: [Role; 4] = [Role::Member, Role::DataOfficer, Role::FirmStaff, Role::Installer];
/// What someone who acts for the complex or the alliance can be.
pub const COMPLEX_ROLES: [Role; 3] = [Role::Operator, Role::Auditor, Role::AllianceAdministrator];

impl Member {
    /// As the audit log names them.
    pub fn actor(&self) -> String {
        self.acts().to_string()
    }

    /// As decisions on consents see them.
    pub fn acts(&self) -> Actor {
        Actor { person: self.id.into(), role: self.role, firm: Some(self.firm.clone()) }
    }
}

impl Operator {
    /// As decisions on consents see them.
    pub fn acts(&self) -> Actor {
        Actor { person: self.id.into(), role: self.role, firm: None }
    }
}

impl Principal {
    /// Who.
    pub fn id(&self) -> PersonId {
        match self {
            Principal::Member(member) => member.id.into(),
            Principal::Operator(operator) => operator.id.into(),
        }
    }

    /// Whether they may still act at a time, µs since 1970.
    pub fn is_in_time(&self, now_us: i64) -> bool {
        match self {
            Principal::Member(member) => member.until_us.is_none_or(|until_us| now_us < until_us),
            Principal::Operator(_) => true,
        }
    }

    /// In what capacity.
    pub fn role(&self) -> Role {
        match self {
            Principal::Member(member) => member.role,
            Principal::Operator(operator) => operator.role,
        }
    }

    /// As decisions on consents see them.
    pub fn acts(&self) -> Actor {
        match self {
            Principal::Member(member) => member.acts(),
            Principal::Operator(operator) => operator.acts(),
        }
    }
}

/// Looks tokens up.
#[derive(Clone)]
pub struct Auth {
    control: Arc<dyn Control>,
}

impl Auth {
    /// Over the store's control data.
    pub fn new(control: Arc<dyn Control>) -> Self {
        Self { control }
    }

    async fn principal(&self, kind: TokenKind, bearer: &str) -> Result<Option<Principal>, LookupError> {
        if !kind.shapes(bearer) {
            return Ok(None);
        }
        let hash = TokenHash::of(bearer);
        let found = self.control.principal(&hash).await?;
        // The index found it by equality already; the comparison that counts takes the same time wherever it differs.
        Ok(found.filter(|(stored, _)| stored.matches(&hash)).map(|(_, principal)| principal))
    }

    /// Whoever `bearer` belongs to, of a firm or of none, at a time, µs since 1970.
    pub async fn person(&self, bearer: &str, now_us: i64) -> Result<Option<Principal>, LookupError> {
        let kinds = [TokenKind::Member, TokenKind::Operator];
        let Some(kind) = kinds.into_iter().find(|kind| kind.shapes(bearer)) else { return Ok(None) };
        let found = self.principal(kind, bearer).await?.filter(|it| it.is_in_time(now_us));
        let fits = |it: &Principal| matches!(it, Principal::Member(_)) == (kind == TokenKind::Member);
        Ok(found.filter(fits))
    }

    /// Whoever of a firm `bearer` belongs to, in whatever capacity, at a time, µs since 1970.
    pub async fn member(&self, bearer: &str, now_us: i64) -> Result<Option<Member>, LookupError> {
        Ok(match self.person(bearer, now_us).await? {
            Some(Principal::Member(member)) => Some(member),
            _ => None,
        })
    }

    /// Whom a sign-in name and a password belong to, at a time, µs since 1970.
    pub async fn by_password(
        &self,
        passwords: &Passwords,
        login: &str,
        password: Password,
        now_us: i64,
    ) -> Result<Result<Option<Principal>, Turned>, LookupError> {
        let stored = self.control.password(login).await?;
        match passwords.is(login, password, stored.as_ref().map(|it| it.hash.as_str()), now_us).await {
            Err(turned) => Ok(Err(turned)),
            Ok(false) => Ok(Ok(None)),
            Ok(true) => match stored {
                Some(stored) => Ok(Ok(self.control.person(stored.person).await?.filter(|it| it.is_in_time(now_us)))),
                None => Ok(Ok(None)),
            },
        }
    }

    /// The name that a person signs in with; none without a password.
    pub async fn login(&self, person: PersonId) -> Result<Option<String>, LookupError> {
        self.control.login(person).await
    }
}
