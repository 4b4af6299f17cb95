//! What a broker brought that could not be used: counts, and the last of it in a sentence.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::config::Endpoint;

/// One broker's messages since the start.
#[derive(Debug, Default)]
pub(super) struct Messages {
    endpoint: String,
    dead_letters: AtomicU64,
    kept: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    last: Mutex<Option<String>>,
}

/// The same for readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesStatus {
    /// Protocol and place.
    pub endpoint: String,
    /// Messages that could not be used, in whole or in part.
    pub dead_letters_total: u64,
    /// Of them and of those of unknown topics: kept in the spool, for `spool export`.
    pub dead_letters_kept_total: u64,
    /// Not kept, because their share of the spool is full.
    pub dead_letters_refused_total: u64,
    /// Messages whose topic names an asset or a metric that is not configured.
    pub unknown_topics_total: u64,
    /// What was wrong with the last of either.
    pub last_fault: Option<String>,
}

impl Messages {
    pub(super) fn of(endpoint: &Endpoint) -> Option<Self> {
        matches!(endpoint, Endpoint::Mqtt(_)).then(|| Self { endpoint: endpoint.place(), ..Self::default() })
    }

    pub(super) fn dead_letter(&self, fault: &str) {
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
        self.tell(fault.into());
    }

    pub(super) fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    pub(super) fn unknown_topic(&self, topic: &str) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        self.tell(format!("nothing is configured for the topic {topic}"));
    }

    fn tell(&self, fault: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    pub(super) fn written(&self, is_kept: bool) {
        let count = if is_kept { &self.kept } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> MessagesStatus {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MessagesStatus {
            endpoint: self.endpoint.clone(),
            dead_letters_total: self.dead_letters(),
            dead_letters_kept_total: count(&self.kept),
            dead_letters_refused_total: count(&self.refused),
            unknown_topics_total: count(&self.unknown),
            last_fault: self.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
