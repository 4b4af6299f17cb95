//! Browsers that are signed in, and one-time links. In memory only: a restart signs
//! everyone out, and nothing on disk can be turned into a session.

use std::collections::HashMap;
use std::sync::Mutex;

use super::token::{Secret, TokenHash, TokenKind};
use crate::id::OperatorId;
use crate::time::{MINUTE_US, SECOND_US};

/// How long a link can be used.
pub const LINK_LIFE_US: i64 = 15 * MINUTE_US;
/// How long a sign-in holds: one shift, so that a phone left on a bench in the
/// morning is signed out at night.
const SESSION_LIFE_US: i64 = 12 * 60 * MINUTE_US;
/// Most sessions and links kept; beyond it the one that ends first goes.
const MAX_KEPT: usize = 1_000;

/// Signed-in browsers and open links, by hash.
#[derive(Default)]
pub struct Sessions {
    kept: Mutex<HashMap<TokenHash, Kept>>,
}

#[derive(Clone, Copy)]
struct Kept {
    kind: TokenKind,
    /// None for a link made at the command line, which belongs to nobody yet.
    operator: Option<OperatorId>,
    until_us: i64,
}

impl Sessions {
    /// Seconds a session's cookie lasts.
    pub const COOKIE_SECONDS: i64 = SESSION_LIFE_US / SECOND_US;

    fn with<T>(&self, now_us: i64, work: impl FnOnce(&mut HashMap<TokenHash, Kept>) -> T) -> T {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.retain(|_, entry| now_us < entry.until_us);
        work(&mut kept)
    }

    fn open(
        &self,
        kind: TokenKind,
        operator: Option<OperatorId>,
        life_us: i64,
        now_us: i64,
    ) -> Result<Secret, getrandom::Error> {
        let secret = Secret::mint(kind)?;
        self.with(now_us, |kept| {
            if kept.len() >= MAX_KEPT
                && let Some(first) = kept.iter().min_by_key(|(_, entry)| entry.until_us).map(|(hash, _)| hash.clone())
            {
                kept.remove(&first);
            }
            kept.insert(secret.hash(), Kept { kind, operator, until_us: now_us.saturating_add(life_us) });
        });
        Ok(secret)
    }

    /// A link that signs one browser in.
    pub fn open_link(&self, now_us: i64) -> Result<Secret, getrandom::Error> {
        self.open(TokenKind::Link, None, LINK_LIFE_US, now_us)
    }

    /// Whether a link could be used now.
    pub fn is_open_link(&self, link: &str, now_us: i64) -> bool {
        let hash = TokenHash::of(link);
        self.with(now_us, |kept| kept.get(&hash).is_some_and(|entry| entry.kind == TokenKind::Link))
    }

    /// Uses a link up; the new session when it was good.
    pub fn redeem(&self, link: &str, now_us: i64) -> Result<Option<Secret>, getrandom::Error> {
        let hash = TokenHash::of(link);
        let used = self.with(now_us, |kept| match kept.get(&hash) {
            Some(entry) if entry.kind == TokenKind::Link => kept.remove(&hash),
            _ => None,
        });
        used.map(|_| self.open(TokenKind::Session, None, SESSION_LIFE_US, now_us)).transpose()
    }

    /// A session for an operator who showed their token.
    pub fn sign_in(&self, operator: OperatorId, now_us: i64) -> Result<Secret, getrandom::Error> {
        self.open(TokenKind::Session, Some(operator), SESSION_LIFE_US, now_us)
    }

    /// Whether a cookie is a session in force.
    pub fn is_signed_in(&self, cookie: &str, now_us: i64) -> bool {
        let hash = TokenHash::of(cookie);
        self.with(now_us, |kept| kept.get(&hash).is_some_and(|entry| entry.kind == TokenKind::Session))
    }

    /// Whose a session is; none for one that was opened with a link.
    pub fn operator(&self, cookie: &str, now_us: i64) -> Option<OperatorId> {
        let hash = TokenHash::of(cookie);
        self.with(now_us, |kept| kept.get(&hash).and_then(|entry| entry.operator))
    }

    /// Ends one session.
    pub fn sign_out(&self, cookie: &str, now_us: i64) {
        let hash = TokenHash::of(cookie);
        self.with(now_us, |kept| kept.remove(&hash));
    }

    /// How many sessions and links there are.
    #[cfg(test)]
    pub(crate) fn count(&self, now_us: i64) -> usize {
        self.with(now_us, |kept| kept.len())
    }

    /// Ends every session of an operator whose token was revoked.
    pub fn end_all_of(&self, operator: OperatorId, now_us: i64) {
        self.with(now_us, |kept| kept.retain(|_, entry| entry.operator != Some(operator)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_for_a_quarter_of_an_hour() {
        let sessions = Sessions::default();
        let link = sessions.open_link(0).unwrap().reveal();
        assert!(!sessions.is_signed_in(&link, 0), "a link is not a session");
        let session = sessions.redeem(&link, 1).unwrap().unwrap().reveal();
        assert!(sessions.redeem(&link, 2).unwrap().is_none());
        assert!(sessions.redeem(&session, 2).unwrap().is_none(), "a session is not a link");
        assert!(sessions.is_signed_in(&session, SESSION_LIFE_US));
        assert!(!sessions.is_signed_in(&session, SESSION_LIFE_US + 1));
        let late = sessions.open_link(0).unwrap().reveal();
        assert!(sessions.redeem(&late, LINK_LIFE_US).unwrap().is_none());
    }

    #[test]
    fn sessions_end_by_sign_out_by_revocation_and_by_number() {
        let sessions = Sessions::default();
        let operator = OperatorId::random();
        let first = sessions.sign_in(operator, 0).unwrap().reveal();
        let second = sessions.sign_in(operator, 1).unwrap().reveal();
        sessions.sign_out(&first, 2);
        assert!(!sessions.is_signed_in(&first, 2) && sessions.is_signed_in(&second, 2));
        sessions.end_all_of(operator, 3);
        assert!(!sessions.is_signed_in(&second, 3));
        for at in 0..2_000 {
            sessions.sign_in(operator, at).unwrap();
        }
        assert_eq!(sessions.count(3_000), MAX_KEPT);
    }
}
