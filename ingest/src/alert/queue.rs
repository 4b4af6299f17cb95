//! Messages on their way, in order for each receiver. Pure: whoever holds it keeps what changed, and sends.

use std::collections::{BTreeMap, BTreeSet};

use super::message::Message;
use crate::time::{DAY_US, MINUTE_US, SECOND_US};

/// After the first failure.
const FIRST_PAUSE_US: i64 = 5 * SECOND_US;
/// Between two tries at most: a receiver that is back hears within it.
const LONGEST_PAUSE_US: i64 = 5 * MINUTE_US;
/// What is older is no news any more.
const MAX_AGE_US: i64 = 3 * DAY_US;
/// Messages that wait for one receiver: some days of the most that are made.
const MAX_WAITING: usize = 500;

/// One message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) message: Message,
    made_us: i64,
    tries: u32,
    next_us: i64,
}

/// All of them, by number.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waiting>,
    /// Receivers to whom one is being sent.
    busy: BTreeSet<String>,
    last: u64,
}

impl Queue {
    /// With what was kept: what is due is tried at once.
    pub(super) fn restore(kept: impl IntoIterator<Item = (u64, i64, Message)>) -> Self {
        let waiting = |(number, made_us, message)| (number, Waiting { message, made_us, tries: 0, next_us: made_us });
        let waiting: BTreeMap<_, _> = kept.into_iter().map(waiting).collect();
        let last = waiting.last_key_value().map_or(0, |(number, _)| *number);
        Self { waiting, busy: BTreeSet::new(), last }
    }

    /// Takes a message in: its number, and those that had to go for it.
    pub(super) fn push(&mut self, message: Message, now_us: i64) -> (u64, Vec<u64>) {
        self.last += 1;
        let receiver = message.receiver.clone();
        self.waiting.insert(self.last, Waiting { message, made_us: now_us, tries: 0, next_us: now_us });
        let of = |it: &Waiting| it.message.receiver == receiver;
        let numbers: Vec<u64> = self.waiting.iter().filter(|(_, it)| of(it)).map(|(number, _)| *number).collect();
        let gone: Vec<u64> = numbers[..numbers.len().saturating_sub(MAX_WAITING)].to_vec();
        for number in &gone {
            self.waiting.remove(number);
        }
        (self.last, gone)
    }

    /// What is due: of each receiver its first, unless one is being sent to it.
    pub(super) fn due(&mut self, now_us: i64) -> Vec<(u64, Message)> {
        let mut seen = BTreeSet::new();
        let mut due = Vec::new();
        for (number, it) in &self.waiting {
            let receiver = &it.message.receiver;
            if seen.insert(receiver.clone()) && !self.busy.contains(receiver) && it.next_us <= now_us {
                due.push((*number, it.message.clone()));
            }
        }
        self.busy.extend(due.iter().map(|(_, message)| message.receiver.clone()));
        due
    }

    /// It was taken, or there is nobody of this name any more.
    pub(super) fn done(&mut self, number: u64) {
        if let Some(it) = self.waiting.remove(&number) {
            self.busy.remove(&it.message.receiver);
        }
    }

    /// It was not taken: how often by now, and whether it is given up.
    pub(super) fn failed(&mut self, number: u64, now_us: i64) -> (u32, bool) {
        let Some(it) = self.waiting.get_mut(&number) else { return (0, false) };
        self.busy.remove(&it.message.receiver);
        it.tries = it.tries.saturating_add(1);
        let pause_us = FIRST_PAUSE_US.saturating_mul(1 << (it.tries - 1).min(10)).min(LONGEST_PAUSE_US);
        it.next_us = now_us.saturating_add(pause_us);
        let (tries, is_old) = (it.tries, now_us - it.made_us >= MAX_AGE_US);
        if is_old {
            self.waiting.remove(&number);
        }
        (tries, is_old)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::receiver::Lang;

    fn to(receiver: &str) -> Message {
        Message {
            version: 1,
            id: String::new(),
            complex: "c".into(),
            receiver: receiver.into(),
            language: Lang::Ko,
            made: String::new(),
            subject: String::new(),
            text: String::new(),
            alerts: Vec::new(),
            more: 0,
        }
    }

    fn numbers(queue: &mut Queue, now_us: i64) -> Vec<u64> {
        queue.due(now_us).into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn each_receiver_gets_its_messages_in_order_and_waits_for_no_other() {
        let mut queue = Queue::default();
        for receiver in ["a", "b", "a"] {
            queue.push(to(receiver), 0);
        }
        assert_eq!(numbers(&mut queue, 0), [1, 2]);
        assert_eq!(numbers(&mut queue, 0), [] as [u64; 0], "both are under way");
        queue.done(2);
        assert_eq!(queue.failed(1, 0), (1, false));
        assert_eq!(numbers(&mut queue, FIRST_PAUSE_US - 1), [] as [u64; 0], "the later one waits for the first");
        assert_eq!(numbers(&mut queue, FIRST_PAUSE_US), [1]);
        queue.done(1);
        assert_eq!(numbers(&mut queue, FIRST_PAUSE_US), [3]);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_what_is_old_is_given_up() {
        let mut queue = Queue::default();
        queue.push(to("a"), 0);
        let mut now_us = 0;
        for tries in 1..2_000 {
            assert_eq!(numbers(&mut queue, now_us), [1]);
            let (counted, is_over) = queue.failed(1, now_us);
            assert_eq!(counted, tries);
            assert_eq!(is_over, now_us >= MAX_AGE_US, "{now_us}");
            if is_over {
                assert_eq!(queue.len(), 0);
                return;
            }
            now_us += LONGEST_PAUSE_US;
        }
        panic!("it is tried for ever");
    }

    #[test]
    fn what_waits_is_bounded_for_each_receiver_and_the_oldest_go() {
        let mut queue = Queue::default();
        queue.push(to("b"), 0);
        for _ in 0..MAX_WAITING {
            assert_eq!(queue.push(to("a"), 0).1, [] as [u64; 0]);
        }
        assert_eq!(queue.push(to("a"), 0).1, [2]);
        assert_eq!(queue.len(), MAX_WAITING + 1);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut queue = Queue::restore([(7, 0, to("a")), (9, 0, to("a"))]);
        assert_eq!(numbers(&mut queue, 0), [7]);
        assert_eq!(queue.push(to("b"), 0).0, 10);
    }
}
