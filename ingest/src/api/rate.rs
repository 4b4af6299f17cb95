//! How many requests a token, and all tokens of a firm together, may send: token buckets,
//! and what the answers say of them (the `RateLimit` headers of the IETF's httpapi group).
//!
//! A bucket holds the requests of a minute and fills evenly, so that a program may send
//! them at once and then one by one. Each process counts for itself.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::Member;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What a bucket's size is the requests of, seconds.
const WINDOW_S: f64 = 60.0;
/// With more buckets than this the full ones are let go, which says nothing about them that
/// a new one would not say.
const MANY: usize = 10_000;

/// Requests a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of one token.
    pub token_per_minute: u64,
    /// Of a firm, all of its tokens together.
    pub firm_per_minute: u64,
}

/// The buckets of everyone who asked lately.
pub struct Limiter {
    rates: Rates,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    tokens: HashMap<String, Bucket>,
    firms: HashMap<String, Bucket>,
}

struct Bucket {
    level: f64,
    at: Instant,
}

/// How one bucket stands.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Left {
    per_minute: u64,
    level: f64,
}

impl Left {
    fn a_second(self) -> f64 {
        self.per_minute as f64 / WINDOW_S
    }

    /// Until there is one more request in it, seconds.
    fn wait_s(self) -> f64 {
        ((1.0 - self.level) / self.a_second()).max(0.0)
    }

    /// Until it is full, seconds.
    fn full_s(self) -> f64 {
        (self.per_minute as f64 - self.level) / self.a_second()
    }
}

/// How an asker stands after a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing {
    token: Left,
    firm: Left,
    /// Whether the request may be answered.
    pub(super) granted: bool,
}

impl Standing {
    /// When it is worth to ask again, whole seconds from 1 on.
    pub(super) fn retry_after_s(&self) -> u64 {
        let wait_s = self.token.wait_s().max(self.firm.wait_s()).ceil();
        // At most a minute, or none where it cannot be said.
        Duration::try_from_secs_f64(wait_s).map_or(1, |wait| wait.as_secs()).max(1)
    }

    /// `RateLimit-Policy` and `RateLimit`.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let (mut policy, mut limit) = (String::new(), String::new());
        for (name, left) in [("token", self.token), ("firm", self.firm)] {
            let comma = if policy.is_empty() { "" } else { ", " };
            // Writing into a text cannot fail.
            let _ = write!(policy, "{comma}\"{name}\";q={};w={WINDOW_S:.0}", left.per_minute);
            let _ = write!(limit, "{comma}\"{name}\";r={:.0};t={:.0}", left.level.floor(), left.full_s().ceil());
        }
        for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

impl Limiter {
    /// Whose buckets are full at first.
    pub fn new(rates: Rates) -> Self {
        Self { rates, buckets: Mutex::default() }
    }

    /// Takes one request out of both buckets, or out of neither.
    pub(super) fn take(&self, member: &Member, now: Instant) -> Standing {
        self.take_for(&member.id.to_string(), member.firm.as_str(), now)
    }

    /// The same for anybody, and whom it counts for beside. Who acts for no firm counts for itself.
    pub(super) fn take_for(&self, person: &str, firm: &str, now: Instant) -> Standing {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { tokens, firms } = &mut *buckets;
        let Rates { token_per_minute, firm_per_minute } = self.rates;
        let token = bucket(tokens, person.to_owned(), token_per_minute, now);
        let firm = bucket(firms, firm.to_owned(), firm_per_minute, now);
        let granted = token.level >= 1.0 && firm.level >= 1.0;
        if granted {
            token.level -= 1.0;
            firm.level -= 1.0;
        }
        let token = Left { per_minute: token_per_minute, level: token.level };
        let firm = Left { per_minute: firm_per_minute, level: firm.level };
        Standing { token, firm, granted }
    }
}

/// The bucket of `key`, filled up to now.
fn bucket<K: Eq + Hash>(buckets: &mut HashMap<K, Bucket>, key: K, per_minute: u64, now: Instant) -> &mut Bucket {
    let full = per_minute as f64;
    let level = |bucket: &Bucket| {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * full / WINDOW_S;
        (bucket.level + gained).min(full)
    };
    if buckets.len() >= MANY {
        buckets.retain(|_, bucket| level(bucket) < full);
    }
    let bucket = buckets.entry(key).or_insert(Bucket { level: full, at: now });
    bucket.level = level(bucket);
    bucket.at = bucket.at.max(now);
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixture::firm;

    fn member(of: &str) -> Member {
        Member {
            id: serde_json::from_value(serde_json::json!(uuid::Uuid::new_v4())).unwrap(),
            firm: firm(of),
            name: String::new(),
            role: crate::consent::Role::Member,
            until_us: None,
        }
    }

    fn told(standing: &Standing) -> [String; 2] {
        let mut headers = HeaderMap::new();
        standing.tell(&mut headers);
        [POLICY, LIMIT].map(|name| headers[name].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_may_send_a_minutes_requests_at_once_and_then_one_by_one() {
        let limiter = Limiter::new(Rates { token_per_minute: 60, firm_per_minute: 100 });
        let (one, now) = (member("hanbit"), Instant::now());
        let first = limiter.take(&one, now);
        assert_eq!(told(&first), [r#""token";q=60;w=60, "firm";q=100;w=60"#, r#""token";r=59;t=1, "firm";r=99;t=1"#]);
        assert!((1..60).all(|_| limiter.take(&one, now).granted));
        let refused = limiter.take(&one, now);
        assert!(!refused.granted);
        assert_eq!((refused.retry_after_s(), &*told(&refused)[1]), (1, r#""token";r=0;t=60, "firm";r=40;t=36"#));
        assert!(limiter.take(&one, now + Duration::from_secs(1)).granted);
        assert!(!limiter.take(&one, now + Duration::from_secs(1)).granted);
        // Never more than a minute's.
        let later = now + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| limiter.take(&one, later).granted).count(), 60);
    }

    #[test]
    fn the_tokens_of_a_firm_share_its_bucket_and_no_other_firms() {
        let limiter = Limiter::new(Rates { token_per_minute: 60, firm_per_minute: 90 });
        let now = Instant::now();
        let [one, two, other] = ["hanbit", "hanbit", "saesol"].map(member);
        assert_eq!((0..60).filter(|_| limiter.take(&one, now).granted).count(), 60);
        assert_eq!((0..60).filter(|_| limiter.take(&two, now).granted).count(), 30);
        let refused = limiter.take(&two, now);
        // Nothing was taken of the token's own for what the firm's refused.
        assert_eq!(&*told(&refused)[1], r#""token";r=30;t=30, "firm";r=0;t=60"#);
        assert!(limiter.take(&other, now).granted);
    }

    #[test]
    fn buckets_that_are_full_again_are_let_go() {
        let mut buckets = HashMap::new();
        let now = Instant::now();
        for key in 0..MANY {
            bucket(&mut buckets, key, 60, now).level -= 1.0;
        }
        bucket(&mut buckets, MANY, 60, now);
        assert_eq!(buckets.len(), MANY + 1, "none of them was full");
        bucket(&mut buckets, MANY + 1, 60, now + Duration::from_secs(2));
        assert_eq!(buckets.len(), 1);
    }
}
