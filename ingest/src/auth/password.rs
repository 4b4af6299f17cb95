//! Passwords: argon2id, slow on purpose, at a bounded number at once, and fewer wrong tries than
//! it would take to guess one.
//!
//! It promises that a password's text is in no log, no `Debug` and no store, and that a name
//! that nobody signs in with costs as much time as a wrong password.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use sandan_proto::invitation::to_hex;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::time::MINUTE_US;

/// Memory of one hash, KiB, its passes and lanes: the second choice of OWASP's table (2024), which
/// two at once keep within what a small server has to spare.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
/// Hashed at once: 38 MiB, and half of a small server.
const AT_ONCE: usize = 2;
/// Which wait for their turn: some 40 of each second's; more are turned away.
const WAITING: usize = 32;
/// Wrong tries of one name before it has to wait.
const FREE_TRIES: u32 = 5;
/// How long a name waits after as many.
const PAUSE_US: i64 = 15 * MINUTE_US;
/// Names that are remembered; beyond it the oldest is forgotten.
const MAX_NAMES: usize = 10_000;
/// Shortest password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Longest one: beyond it nothing is won, and hashing costs.
pub const MAX_PASSWORD_CHARS: usize = 200;

/// A password as it was typed. Never shown.
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// To be compared with one that is set.
    pub fn typed(text: String) -> Option<Self> {
        (text.chars().count() <= MAX_PASSWORD_CHARS).then_some(Self(text))
    }

    /// To be set: long enough, and not the name.
    pub fn chosen(text: String, login: &str) -> Option<Self> {
        let password = Self::typed(text)?;
        let long = password.0.chars().count() >= MIN_PASSWORD_CHARS;
        (long && !password.0.eq_ignore_ascii_case(login)).then_some(password)
    }
}

/// Why a password was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// Too many wrong ones for this name.
    #[error("too many wrong passwords under this name")]
    Throttled,
    /// Too many at once.
    #[error("too many sign in at once")]
    Busy,
    /// The system gives no randomness, or no memory.
    #[error("passwords cannot be hashed")]
    Broken,
}

/// Hashes and compares.
pub struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
    tries: Mutex<HashMap<String, Tries>>,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last_us: i64,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { at_once: Arc::new(Semaphore::new(AT_ONCE)), waiting: Semaphore::new(WAITING), tries: Mutex::default() }
    }
}

impl Passwords {
    /// What is stored of a password.
    pub async fn hash(&self, password: Password) -> Result<String, Turned> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| Turned::Broken)?;
        let hash = self.slow(password, salt, [MEMORY_KIB, PASSES, LANES]).await?;
        Ok(format!("argon2id${MEMORY_KIB}${PASSES}${LANES}${}${}", to_hex(&salt), to_hex(&hash)))
    }

    /// Whether it is the one that is stored for a name. A wrong one is counted, at a time, µs since
    /// 1970; `stored` is none for a name that nobody has.
    pub async fn is(&self, login: &str, password: Password, stored: Option<&str>, now_us: i64) -> Result<bool, Turned> {
        if self.must_wait(login, now_us) {
            return Err(Turned::Throttled);
        }
        let parsed = stored.and_then(parse);
        let (salt, wanted, costs) = parsed.unwrap_or(([0; SALT_BYTES], [0; HASH_BYTES], [MEMORY_KIB, PASSES, LANES]));
        let hash = self.slow(password, salt, costs).await?;
        let right = parsed.is_some() && bool::from(hash.ct_eq(&wanted));
        self.tried(login, right, now_us);
        Ok(right)
    }

    async fn slow(
        &self,
        password: Password,
        salt: [u8; SALT_BYTES],
        [memory, passes, lanes]: [u32; 3],
    ) -> Result<[u8; HASH_BYTES], Turned> {
        let _waits = self.waiting.try_acquire().map_err(|_| Turned::Busy)?;
        // It is never closed.
        let turn = self.at_once.clone().acquire_owned().await.map_err(|_| Turned::Busy)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).map_err(|_| Turned::Broken)?;
            let mut hash = [0; HASH_BYTES];
            let slow = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            slow.hash_password_into(password.0.as_bytes(), &salt, &mut hash).map_err(|_| Turned::Broken)?;
            Ok(hash)
        })
        .await
        .map_err(|_| Turned::Broken)?
    }

    fn must_wait(&self, login: &str, now_us: i64) -> bool {
        let tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.get(login).is_some_and(|it| it.wrong >= FREE_TRIES && now_us - it.last_us < PAUSE_US)
    }

    fn tried(&self, login: &str, right: bool, now_us: i64) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if right {
            tries.remove(login);
            return;
        }
        if tries.len() >= MAX_NAMES {
            tries.retain(|_, it| now_us - it.last_us < PAUSE_US);
            let oldest = tries.iter().min_by_key(|(_, it)| it.last_us).map(|(name, _)| name.clone());
            if let (true, Some(oldest)) = (tries.len() >= MAX_NAMES, oldest) {
                tries.remove(&oldest);
            }
        }
        let it = tries.entry(login.to_owned()).or_insert(Tries { wrong: 0, last_us: now_us });
        if now_us - it.last_us >= PAUSE_US {
            it.wrong = 0;
        }
        *it = Tries { wrong: it.wrong.saturating_add(1), last_us: now_us };
    }
}

type Parsed = ([u8; SALT_BYTES], [u8; HASH_BYTES], [u32; 3]);

fn parse(stored: &str) -> Option<Parsed> {
    let mut parts = stored.split('$');
    let mut next = || parts.next();
    if next()? != "argon2id" {
        return None;
    }
    let costs = [next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?];
    Some((bytes(next()?)?, bytes(next()?)?, costs))
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut found = [0; N];
    if hex.len() != 2 * N {
        return None;
    }
    for (at, byte) in found.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Password {
        Password::typed(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_itself_and_no_other_and_wrong_ones_make_its_name_wait() {
        let passwords = Passwords::default();
        let stored = passwords.hash(typed("초록빛 압축기 열두대")).await.unwrap();
        assert!(stored.starts_with("argon2id$19456$2$1$") && !stored.contains("압축기"), "{stored}");
        assert_ne!(stored, passwords.hash(typed("초록빛 압축기 열두대")).await.unwrap(), "a salt of its own");
        let is = async |text: &str, now_us| passwords.is("kim", typed(text), Some(&stored), now_us).await;
        assert_eq!(is("초록빛 압축기 열두대", 0).await, Ok(true));
        for at in 0..i64::from(FREE_TRIES) {
            assert_eq!(is("초록빛 압축기 열두개", at).await, Ok(false));
        }
        assert_eq!(is("초록빛 압축기 열두대", 10).await, Err(Turned::Throttled));
        assert_eq!(passwords.is("park", typed("x"), None, 10).await, Ok(false), "another name does not wait");
        assert_eq!(is("초록빛 압축기 열두대", PAUSE_US + 10).await, Ok(true));
    }

    #[test]
    fn a_chosen_password_is_long_and_not_the_name() {
        let chosen = |text: &str| Password::chosen(text.to_owned(), "kim-haneul-press");
        assert!(chosen("eleven char").is_none() && chosen("Kim-Haneul-Press").is_none());
        assert!(chosen(&"x".repeat(MAX_PASSWORD_CHARS + 1)).is_none());
        assert_eq!(format!("{:?}", chosen("twelve chars").unwrap()), "Password(…)");
    }
}
