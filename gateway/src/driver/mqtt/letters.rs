//! How many dead letters of a topic are kept: enough to see what is wrong with it, and not a
//! disk full of the same. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Dead letters of one topic in one [`SPAN`].
const PER_TOPIC: u32 = 10;
/// What they are counted over.
const SPAN: Duration = Duration::from_hours(1);
/// Topics that are told apart. Of further ones no dead letter is kept until one of these is
/// through with its span.
const MAX_TOPICS: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Letters {
    topics: HashMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    since: Instant,
    kept: u32,
}

impl Letters {
    /// Whether one more of a topic is to be kept; it counts as kept then.
    pub(super) fn has_room(&mut self, topic: &str, now: Instant) -> bool {
        let Some(known) = self.of(topic, now) else { return false };
        if now.duration_since(known.since) > SPAN {
            *known = Topic { since: now, kept: 0 };
        }
        let has_room = known.kept < PER_TOPIC;
        known.kept += u32::from(has_room);
        has_room
    }

    /// Whether none of a topic has been kept yet.
    pub(super) fn is_first(&mut self, topic: &str, now: Instant) -> bool {
        self.of(topic, now).is_some_and(|known| known.kept == 0)
    }

    fn of(&mut self, topic: &str, now: Instant) -> Option<&mut Topic> {
        if !self.topics.contains_key(topic) {
            if self.topics.len() >= MAX_TOPICS {
                self.topics.retain(|_, known| now.duration_since(known.since) <= SPAN);
            }
            if self.topics.len() >= MAX_TOPICS {
                return None;
            }
            self.topics.insert(topic.into(), Topic { since: now, kept: 0 });
        }
        self.topics.get_mut(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_a_topic_are_kept_an_hour() {
        let mut letters = Letters::default();
        let now = Instant::now();
        assert!(letters.is_first("a", now) && letters.is_first("a", now));
        let kept = |letters: &mut Letters, now| (0..100).filter(|_| letters.has_room("a", now)).count();
        assert_eq!(kept(&mut letters, now), 10);
        assert!(!letters.is_first("a", now) && letters.is_first("b", now));
        assert_eq!(kept(&mut letters, now + SPAN), 0);
        assert_eq!(kept(&mut letters, now + SPAN + Duration::from_secs(1)), 10);
    }

    #[test]
    fn topics_are_bounded() {
        let mut letters = Letters::default();
        let now = Instant::now();
        assert!((0..MAX_TOPICS).all(|topic| letters.has_room(&topic.to_string(), now)));
        assert!(!letters.has_room("one more", now));
        assert!(letters.has_room("one more", now + SPAN + Duration::from_secs(1)));
    }
}
