//! Records on their way into group commits: a bounded queue, and the writers behind it.
//!
//! A gateway's records go to one writer, in the order of the calls. A writer whose database is
//! away tries its group again until it is back: meanwhile the queue fills, and whoever delivers
//! waits. Only where nobody can know whether a group was committed are its sessions told.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Shared;
use super::deliver::{self, Failure, Known, Outcome};
use super::plan::refused;
use crate::store::delivery::{Content, Delivery, Receipt, Stored};
use crate::store::{Metrics, StoreError};

/// Writers, each with a transaction of its own: a second one nearly doubles what one takes, a
/// third would only share its cores.
const WRITERS: usize = 2;
/// Records that wait for one writer: one of each of 2,000 gateways and room for backlogs.
/// Beyond it sessions stop reading, and TCP holds the gateways back.
const QUEUED_RECORDS: usize = 4_096;
/// KiB of payload that wait, all writers together: some seconds of what one server takes.
const QUEUED_KIB: u32 = 64 * 1024;
/// KiB of payload that one commit takes: some 200,000 readings, where a greater transaction
/// gains nothing any more.
const GROUP_KIB: usize = 2 * 1024;
/// Readings that one commit takes, which is what its rows cost in memory: about 15 MB.
const GROUP_READINGS: u64 = 200_000;
/// The first and the longest pause before a group is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// One record, and who waits for it.
struct Job {
    delivery: Arc<Delivery>,
    done: oneshot::Sender<Outcome>,
    /// It was put in the place of a record that the server refused.
    is_refused: bool,
    _room: Option<OwnedSemaphorePermit>,
}

/// The way to the writers.
pub(super) struct Queue {
    writers: Vec<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let writers = (0..WRITERS)
            .map(|_| {
                let (sender, queue) = mpsc::channel(QUEUED_RECORDS);
                tokio::spawn(write(Arc::clone(shared), queue));
                sender
            })
            .collect();
        Self { writers, room: Arc::new(Semaphore::new(QUEUED_KIB as usize)) }
    }

    /// Queues a record as soon as there is room for it.
    pub(super) async fn deliver(&self, delivery: Delivery) -> Result<Receipt, StoreError> {
        let kib = u32::try_from(delivery.content.bytes().div_ceil(1024)).unwrap_or(u32::MAX).min(QUEUED_KIB);
        let room = match kib {
            0 => None,
            kib => Some(Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| StoreError::Closed)?),
        };
        // Those of one firm go one way: its commit numbers are handed out one after the other.
        let mut hasher = DefaultHasher::new();
        delivery.gateway.firm().as_str().hash(&mut hasher);
        let writer = usize::try_from(hasher.finish() % self.writers.len() as u64).unwrap_or(0);
        let (done, receipt) = oneshot::channel();
        let job = Job { delivery: Arc::new(delivery), done, is_refused: false, _room: room };
        self.writers[writer].send(job).await.map_err(|_| StoreError::Closed)?;
        Ok(receipt)
    }

    /// Whether every writer still takes records.
    pub(super) fn is_alive(&self) -> bool {
        self.writers.iter().all(|writer| !writer.is_closed())
    }
}

async fn write(shared: Arc<Shared>, mut queue: mpsc::Receiver<Job>) {
    let mut known = Known::default();
    let mut last: Option<Instant> = None;
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(job) => job,
            None => match queue.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        if let Some(rest) = last.and_then(|last| shared.options.commit_interval.checked_sub(last.elapsed())) {
            tokio::time::sleep(rest).await;
        }
        let began = Instant::now();
        last = Some(began);
        let mut group = vec![first];
        let (mut bytes, mut readings) = cost(&group[0].delivery);
        while let Ok(job) = queue.try_recv() {
            let (more_bytes, more_readings) = cost(&job.delivery);
            if bytes + more_bytes > GROUP_KIB * 1024 || readings + more_readings > GROUP_READINGS {
                next = Some(job);
                break;
            }
            (bytes, readings) = (bytes + more_bytes, readings + more_readings);
            group.push(job);
        }
        commit(&shared, &mut known, group).await;
        shared.metrics.commit_latency.observe(began.elapsed());
    }
}

fn cost(delivery: &Delivery) -> (usize, u64) {
    let readings = if let Content::Batch { readings, .. } = &delivery.content { *readings } else { 0 };
    (delivery.content.bytes(), readings)
}

/// Stores a group, and the parts of one that is refused for what it holds.
async fn commit(shared: &Shared, known: &mut Known, group: Vec<Job>) {
    let mut parts = vec![group];
    let mut pause = PAUSES[0];
    let mut said = false;
    while let Some(part) = parts.pop() {
        let deliveries: Vec<_> = part.iter().map(|job| Arc::clone(&job.delivery)).collect();
        match deliver::store(shared, known, &deliveries).await {
            Ok(outcomes) => {
                if said {
                    tracing::info!("the database takes readings again");
                }
                (pause, said) = (PAUSES[0], false);
                shared.metrics.commits.add(1);
                for (job, outcome) in part.into_iter().zip(outcomes) {
                    note(&shared.metrics, &job.delivery, &outcome);
                    drop(job.done.send(outcome));
                }
            }
            Err(Failure::Data(why)) => divide(part, &why, &mut parts),
            Err(Failure::Stale) => {
                if deliver::forget_births(known, &deliveries) {
                    parts.push(part);
                } else {
                    give_up(part, "births name no place for a column that was admitted");
                }
            }
            Err(Failure::Unknown(why)) => {
                shared.metrics.commits_uncertain.add(1);
                give_up(part, &why);
            }
            Err(Failure::Away(why)) => {
                if !said {
                    tracing::error!(%why, "the database takes no readings; gateways keep them until it does");
                }
                said = true;
                shared.metrics.commits_retried.add(1);
                parts.push(part);
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (2 * pause).min(PAUSES[1]),
                    // Nothing of it is stored: gateways send it to whoever comes next.
                    () = shared.closing.cancelled() => return,
                }
            }
        }
    }
}

/// Tells the sessions concerned that they have to end, and ask how far their lanes are.
fn give_up(part: Vec<Job>, why: &str) {
    tracing::error!(%why, records = part.len(), "the outcome of a commit is not known; the sessions concerned end");
    for job in part {
        drop(job.done.send(Err(StoreError::Uncertain(why.into()))));
    }
}

/// Divides a refused group by gateway, and the records of one gateway in their order, until
/// the record is found; it is put aside in its own place. The first part comes to lie on top.
fn divide(mut part: Vec<Job>, why: &str, parts: &mut Vec<Vec<Job>>) {
    if part.len() == 1 {
        let Some(mut job) = part.pop() else { return };
        if job.is_refused {
            return give_up(vec![job], why);
        }
        let delivery = &job.delivery;
        tracing::warn!(gateway = %delivery.gateway, sequence = delivery.last, %why, "dead-lettered a record that the engine refused");
        (job.delivery, job.is_refused) = (Arc::new(refused(delivery)), true);
        return parts.push(vec![job]);
    }
    let mut gateways: Vec<_> = part.iter().map(|job| job.delivery.gateway.clone()).collect();
    gateways.sort();
    gateways.dedup();
    let later = if gateways.len() > 1 {
        let half = gateways.split_off(gateways.len() / 2);
        let (later, sooner) = part.into_iter().partition(|job| half.binary_search(&job.delivery.gateway).is_ok());
        part = sooner;
        later
    } else {
        part.split_off(part.len() / 2)
    };
    parts.push(later);
    parts.push(part);
}

/// Counts what was committed.
fn note(metrics: &Metrics, delivery: &Delivery, outcome: &Outcome) {
    match outcome {
        Ok(Stored::Done { stored, letters, .. }) => {
            metrics.records.add(1);
            metrics.readings.add(*stored);
            for letter in letters {
                metrics.dead_lettered(letter.reason, letter.count, letter.readings.unwrap_or(0));
            }
            match &delivery.content {
                Content::Batch { sealed, .. } => metrics.bytes.add(sealed.payload.len() as u64),
                Content::Gap { .. } => metrics.gaps.add(1),
                Content::Dead { .. } | Content::Forked { .. } => {}
            }
        }
        Ok(Stored::Duplicate { .. }) => metrics.duplicates.add(1),
        Ok(Stored::Ahead { .. } | Stored::Superseded) | Err(_) => {}
    }
}
