//! Browsers that are signed in, and one-time links. They are kept in the store, by hash: a restart
//! signs nobody out, each process of one database knows them all, and nothing on disk can be turned
//! into a session.

use std::sync::Arc;

use sandan_proto::id::FirmId;
use sandan_proto::invitation::to_hex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::token::{Secret, TokenHash, TokenKind};
use super::{LookupError, Member, Principal};
use crate::consent::{Actor, Role};
use crate::id::PersonId;
use crate::store::control::{BrowserEntry, BrowserKind, Control};
use crate::time::{DAY_US, MINUTE_US, SECOND_US};

/// How long a link can be used.
pub const LINK_LIFE_US: i64 = 15 * MINUTE_US;
/// How long a sign-in holds at most: a working week, so that nobody types a long password on a
/// phone each morning.
pub const SESSION_LIFE_US: i64 = 7 * DAY_US;
/// A browser that was not used for so long is signed out: one shift, so that a phone left on a
/// bench in the morning is signed out at night.
pub const IDLE_US: i64 = 12 * 60 * MINUTE_US;
/// That a browser is used is written down this often, and not with each of its requests.
const SEEN_STEP_US: i64 = 5 * MINUTE_US;
/// Browsers of one person that are signed in at once; beyond it the oldest goes.
const MAX_BROWSERS: u32 = 20;
/// Characters of a form's token.
const FORM_TOKEN_CHARS: usize = 32;

/// Who is signed in, at which browser.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who; none for whoever has a shell on the host, as an operator.
    pub person: Option<Principal>,
    /// What is stored of the cookie.
    pub hash: TokenHash,
    form_token: String,
}

impl SignedIn {
    /// In what capacity.
    pub fn role(&self) -> Role {
        self.person.as_ref().map_or(Role::Operator, Principal::role)
    }

    /// For which firm; none for those of the complex and the alliance.
    pub fn firm(&self) -> Option<&FirmId> {
        self.member().map(|it| &it.firm)
    }

    /// Whoever acts for a firm.
    pub fn member(&self) -> Option<&Member> {
        match &self.person {
            Some(Principal::Member(member)) => Some(member),
            _ => None,
        }
    }

    /// For people; empty for whoever has no name here.
    pub fn name(&self) -> &str {
        match &self.person {
            Some(Principal::Member(it)) => &it.name,
            Some(Principal::Operator(it)) => &it.name,
            None => "",
        }
    }

    /// As decisions on consents see them.
    pub fn acts(&self) -> Option<Actor> {
        self.person.as_ref().map(Principal::acts)
    }

    /// As the audit log names them.
    pub fn actor(&self) -> String {
        self.acts().map_or_else(|| "one-time link".to_owned(), |it| it.to_string())
    }

    /// What each form of this browser carries, and no other site can know.
    pub fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Whether a form came from a page of this browser.
    pub fn is_ours(&self, token: &str) -> bool {
        self.form_token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// Signed-in browsers and open links.
#[derive(Clone)]
pub struct Sessions {
    control: Arc<dyn Control>,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store could not be asked.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// There is no randomness.
    #[error("the system gives no randomness")]
    Random(#[from] getrandom::Error),
}

impl Sessions {
    /// Seconds a session's cookie lasts.
    pub const COOKIE_SECONDS: i64 = SESSION_LIFE_US / SECOND_US;

    /// Over the store's control data.
    pub fn new(control: Arc<dyn Control>) -> Self {
        Self { control }
    }

    async fn open(&self, kind: BrowserKind, person: Option<PersonId>, now_us: i64) -> Result<Secret, SessionError> {
        let (token, life_us) = match kind {
            BrowserKind::Link => (TokenKind::Link, LINK_LIFE_US),
            BrowserKind::Session => (TokenKind::Session, SESSION_LIFE_US),
        };
        let secret = Secret::mint(token)?;
        let until_us = now_us.saturating_add(life_us);
        let entry = BrowserEntry { hash: secret.hash(), kind, person, begun_us: now_us, seen_us: now_us, until_us };
        self.control.open_browser(entry, MAX_BROWSERS).await?;
        Ok(secret)
    }

    /// What a text opens now, if it is of that kind.
    async fn entry(&self, kind: BrowserKind, text: &str, now_us: i64) -> Result<Option<BrowserEntry>, LookupError> {
        let token = if kind == BrowserKind::Link { TokenKind::Link } else { TokenKind::Session };
        if !token.shapes(text) {
            return Ok(None);
        }
        let hash = TokenHash::of(text);
        let found = self.control.browser(&hash).await?;
        Ok(found.filter(|it| it.kind == kind && it.hash.matches(&hash) && now_us < it.until_us))
    }

    /// A link that signs one browser in: as a person, or as whoever has a shell on the host.
    pub async fn open_link(&self, person: Option<PersonId>, now_us: i64) -> Result<Secret, SessionError> {
        self.open(BrowserKind::Link, person, now_us).await
    }

    /// Whether a link could be used now.
    pub async fn is_open_link(&self, link: &str, now_us: i64) -> Result<bool, LookupError> {
        Ok(self.entry(BrowserKind::Link, link, now_us).await?.is_some())
    }

    /// Uses a link up; the new session when it was good.
    pub async fn redeem(&self, link: &str, now_us: i64) -> Result<Option<Secret>, SessionError> {
        let Some(entry) = self.entry(BrowserKind::Link, link, now_us).await? else { return Ok(None) };
        // Of two that use it at once, one finds it gone.
        if !self.control.end_browser(&entry.hash).await? {
            return Ok(None);
        }
        self.open(BrowserKind::Session, entry.person, now_us).await.map(Some)
    }

    /// A session for a person who showed a token or a password.
    pub async fn sign_in(&self, person: PersonId, now_us: i64) -> Result<Secret, SessionError> {
        self.open(BrowserKind::Session, Some(person), now_us).await
    }

    /// Who a cookie's browser is signed in as. Whoever was revoked, by whichever process, is nobody.
    pub async fn find(&self, cookie: &str, now_us: i64) -> Result<Option<SignedIn>, LookupError> {
        let Some(entry) = self.entry(BrowserKind::Session, cookie, now_us).await? else { return Ok(None) };
        if now_us - entry.seen_us >= IDLE_US {
            return Ok(None);
        }
        let person = match entry.person {
            None => None,
            Some(id) => match self.control.person(id).await?.filter(|it| it.is_in_time(now_us)) {
                None => return Ok(None),
                found => found,
            },
        };
        if now_us - entry.seen_us >= SEEN_STEP_US {
            self.control.saw_browser(&entry.hash, now_us).await?;
        }
        let digest: [u8; 32] = Sha256::digest([b"sandan form 1\0", cookie.as_bytes()].concat()).into();
        let mut form_token = to_hex(&digest);
        form_token.truncate(FORM_TOKEN_CHARS);
        Ok(Some(SignedIn { person, hash: entry.hash, form_token }))
    }

    /// Ends one session.
    pub async fn sign_out(&self, hash: &TokenHash) -> Result<(), LookupError> {
        self.control.end_browser(hash).await.map(drop)
    }

    /// Ends every session and link of a person, or of those who came by a link of the host.
    pub async fn end_all_of(&self, person: Option<PersonId>) -> Result<(), LookupError> {
        self.control.end_browsers_of(person).await
    }
}
