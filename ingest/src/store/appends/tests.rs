use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;

use super::*;
use crate::audit::{Chain, Head, Kind};

/// Chains in memory, and what was asked of them.
#[derive(Clone, Default)]
struct Memory(Arc<Shelf>);

#[derive(Default)]
struct Shelf {
    entries: Mutex<Vec<Entry>>,
    /// Entries of each group that was begun.
    groups: Mutex<Vec<usize>>,
    /// While a test holds it, no group ends.
    gate: tokio::sync::Mutex<()>,
    fails: AtomicBool,
    panics: AtomicBool,
}

#[async_trait]
impl Commit for Memory {
    async fn commit(&self, drafts: Vec<(Draft, i64)>) -> Result<Vec<Entry>, ControlError> {
        self.0.groups.lock().unwrap().push(drafts.len());
        drop(self.0.gate.lock().await);
        assert!(!self.0.panics.load(Ordering::SeqCst), "as the test asked");
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(ControlError::Engine("the disk is full".into()));
        }
        let mut all = self.0.entries.lock().unwrap();
        let mut added = Vec::new();
        for (draft, now_us) in drafts {
            let head = all.iter().rev().find(|it| it.chain == draft.chain).map_or(Head::EMPTY, Entry::head);
            all.push(Entry::after(&head, draft, now_us));
            added.push(all[all.len() - 1].clone());
        }
        Ok(added)
    }
}

impl Memory {
    fn groups(&self) -> Vec<usize> {
        self.0.groups.lock().unwrap().clone()
    }
}

fn draft(number: i64) -> Draft {
    Draft::new(Chain::Complex, Kind::LinkMade, "somebody").with("number", number)
}

/// Lets every other task of a runtime of one thread come as far as it can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_comes_during_a_commit_is_one_group_in_the_order_of_the_calls() {
    let memory = Memory::default();
    let appends = Appends::new(memory.clone());
    let held = memory.0.gate.lock().await;
    let calls = join_all((0..65).map(|number| appends.append(draft(number), number)));
    tokio::pin!(calls);
    assert!(futures::poll!(&mut calls).is_pending());
    settle().await;
    // All were called before the task that commits had its first turn.
    assert_eq!(memory.groups(), [65]);
    let late = appends.append(draft(65), 65);
    tokio::pin!(late);
    assert!(futures::poll!(&mut late).is_pending());
    drop(held);
    let entries: Vec<_> = calls.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(late.await.unwrap().number, 66);
    let numbers: Vec<_> = entries.iter().map(|it| (it.number, it.detail["number"].clone())).collect();
    assert_eq!(numbers, (0_i64..65).map(|at| (at.unsigned_abs() + 1, Field::Number(at))).collect::<Vec<_>>());
    assert_eq!(memory.groups(), [65, 1]);
}

#[tokio::test]
async fn a_group_that_fails_fails_for_each_of_it_and_the_next_is_no_worse() {
    let memory = Memory::default();
    let appends = Appends::new(memory.clone());
    memory.0.fails.store(true, Ordering::SeqCst);
    for answer in join_all((0..9).map(|number| appends.append(draft(number), 0))).await {
        let error = answer.unwrap_err();
        let whole = format!("{:#}", anyhow::Error::from(error));
        assert!(whole.ends_with("the disk is full"), "{whole}");
    }
    assert!(memory.0.entries.lock().unwrap().is_empty());
    memory.0.fails.store(false, Ordering::SeqCst);
    assert_eq!(appends.append(draft(9), 0).await.unwrap().number, 1);
}

#[tokio::test]
async fn a_commit_that_panics_leaves_nobody_waiting() {
    let memory = Memory::default();
    let appends = Appends::new(memory.clone());
    let held = memory.0.gate.lock().await;
    let first = appends.append(draft(0), 0);
    tokio::pin!(first);
    assert!(futures::poll!(&mut first).is_pending());
    settle().await;
    let behind = appends.append(draft(1), 0);
    tokio::pin!(behind);
    assert!(futures::poll!(&mut behind).is_pending());
    memory.0.panics.store(true, Ordering::SeqCst);
    drop(held);
    assert!(first.await.is_err() && behind.await.is_err());
    memory.0.panics.store(false, Ordering::SeqCst);
    assert_eq!(appends.append(draft(2), 0).await.unwrap().number, 1);
}

#[tokio::test]
async fn a_group_and_the_queue_are_bounded_and_whoever_has_no_room_waits() {
    let memory = Memory::default();
    let appends = Appends::new(memory.clone());
    let held = memory.0.gate.lock().await;
    let large = |number| draft(number).with("text", "x".repeat(63 * 1024));
    // 64 KiB each: 64 of them fill the queue, four a group.
    let mut calls: Vec<_> = (0..66).map(|number| Box::pin(appends.append(large(number), 0))).collect();
    for call in &mut calls {
        assert!(futures::poll!(call).is_pending());
    }
    settle().await;
    let waiting = || appends.line.state().waiting.len();
    assert_eq!((memory.groups(), waiting()), (vec![4], 60), "two have no room yet");
    drop(held);
    assert!(join_all(calls).await.into_iter().all(|entry| entry.is_ok()));
    assert!(memory.groups().iter().all(|group| *group <= 4), "{:?}", memory.groups());
    // One that is larger than a group, and than the queue, is written all the same.
    appends.append(draft(0).with("text", "x".repeat(5 << 20)), 0).await.unwrap();
    assert_eq!(appends.line.room.available_permits(), QUEUED_KIB as usize);
}

#[tokio::test]
async fn an_entry_is_written_also_when_its_caller_goes_away() {
    let memory = Memory::default();
    let appends = Appends::new(memory.clone());
    {
        let call = appends.append(draft(0), 0);
        tokio::pin!(call);
        assert!(futures::poll!(&mut call).is_pending());
    }
    assert_eq!(appends.append(draft(1), 0).await.unwrap().number, 2);
}
