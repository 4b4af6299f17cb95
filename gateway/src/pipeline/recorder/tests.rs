//! The recorder on a disk that the test lets fail.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sandan_proto::batch::Group;
use sandan_proto::limits::{MAX_PAYLOAD_BYTES, MAX_TEXT_BYTES};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::tests::example;
use crate::driver::{Raw, Reading};

/// The longest that a test waits for a state it is sure to reach.
const PATIENCE: Duration = Duration::from_secs(20);
/// Text that does not pack.
fn noise(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).unwrap();
    random.iter().map(|byte| char::from(b'!' + byte % 90)).collect()
}

/// No sync comes from the clock while a test runs.
const NEVER: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_millis(20);
/// The disk of a test takes that much while it fails.
const ROOM: usize = 4 << 20;
/// Dead letters that it takes.
const LETTERS: usize = 1;
/// Endpoints of the example.
const POLLED: usize = 0;
const DELIVERED: usize = 1;

#[derive(Clone, Default)]
struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    fails: AtomicBool,
    tries: AtomicUsize,
    lost: AtomicU64,
    appended: Mutex<Vec<Outgoing>>,
    synced: Mutex<Vec<Outgoing>>,
    letters: Mutex<Vec<DeadLetter>>,
    /// Packet ids that each batch answers for.
    deliveries: Mutex<Vec<Vec<u16>>>,
    /// Held by a test, it makes every sync hang.
    hangs: Mutex<()>,
    hung: AtomicBool,
}

impl Disk {
    fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }
    fn synced(&self) -> Vec<Outgoing> {
        self.0.synced.lock().unwrap().clone()
    }
    fn readings(&self) -> u64 {
        self.synced().iter().map(|batch| batch.readings).sum()
    }
    fn delivered(&self) -> usize {
        let groups = self.synced().into_iter().flat_map(|batch| batch::decode(&batch.payload).unwrap());
        let texts = |group: Group| group.columns.into_iter().filter(|column| column.series >= FIRST_TEXT);
        groups.flat_map(texts).map(|column| column.values.len()).sum()
    }
    fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::SeqCst)
    }
    fn tries(&self) -> usize {
        self.0.tries.load(Ordering::SeqCst)
    }
}

impl Records for Disk {
    fn append(&mut self, batch: &Outgoing, deliveries: &[Delivery]) -> u64 {
        if self.unsynced_bytes() + batch.payload.len() > ROOM {
            self.0.lost.fetch_add(batch.readings, Ordering::SeqCst);
            return batch.readings;
        }
        self.0.appended.lock().unwrap().push(batch.clone());
        let packet_ids = deliveries.iter().map(|delivery| delivery.packet_id).collect();
        self.0.deliveries.lock().unwrap().push(packet_ids);
        0
    }
    fn append_dead(&mut self, letter: &DeadLetter) -> bool {
        let mut letters = self.0.letters.lock().unwrap();
        letters.push(letter.clone());
        letters.len() <= LETTERS
    }
    fn unsynced_bytes(&self) -> usize {
        self.0.appended.lock().unwrap().iter().map(|batch| batch.payload.len()).sum()
    }
    fn set_births(&mut self, _: &Births) {}
    fn sync(&mut self) -> Result<(), SpoolError> {
        self.0.tries.fetch_add(1, Ordering::SeqCst);
        if self.0.hangs.try_lock().is_err() {
            self.0.hung.store(true, Ordering::SeqCst);
            drop(self.0.hangs.lock().unwrap());
        }
        if self.0.fails.load(Ordering::SeqCst) {
            let source = std::io::Error::other("no space left on device");
            return Err(SpoolError::Io { action: "write", path: "a segment".into(), source });
        }
        let mut appended = self.0.appended.lock().unwrap();
        self.0.synced.lock().unwrap().append(&mut appended);
        Ok(())
    }
}

fn sources(places: &str, synced: Vec<watch::Sender<u64>>) -> Vec<Source> {
    places.split(' ').zip(synced).map(|(place, synced)| Source { place: place.into(), synced }).collect()
}

/// The recorder at work between drivers and a disk that the test plays.
struct Rig {
    disk: Disk,
    polled: mpsc::Sender<Reply>,
    delivered: mpsc::Sender<Reply>,
    synced: [watch::Receiver<u64>; 2],
    stopping: CancellationToken,
    pulse: Pulse,
    task: JoinHandle<()>,
    tickets: [u64; 2],
    time_us: i64,
}

/// `texts` text signals come with a message of the broker; the signals before them are the PLC's.
fn rig(interval: Duration, texts: usize) -> Rig {
    let config = example(|text| {
        let (before, _) = text.split_once("\n[[mqtt]]\n").unwrap();
        let texts =
            (0..texts).map(|n| format!("{{ name = \"t{n}\", metric = \"x_{n}\", path = \"t\", type = \"text\" }}"));
        format!(
            "{before}\n[[mqtt]]\naddress = \"mqtt://127.0.0.1:1883\"\n[[mqtt.device]]\nname = \"line\"\ntopic = \"line\"\n\
             asset = \"welder-1\"\nsignals = [ {} ]\n",
            texts.collect::<Vec<_>>().join(", ")
        )
    });
    let disk = Disk::default();
    let ((polled, polled_out), (delivered, delivered_out)) = (mpsc::channel(64), mpsc::channel(64));
    let (senders, synced): (Vec<_>, Vec<_>) = (0..2).map(|_| watch::channel(0)).unzip();
    let stopping = CancellationToken::new();
    let pulse = Pulse::default();
    let recorder = Recorder {
        polled: polled_out,
        delivered: delivered_out,
        orders: mpsc::channel(1).1,
        tags: Tags::new(&config, 0),
        book: Book::new(disk.clone(), sources("plc broker", senders), Health::new(&config)),
        stopping: stopping.clone(),
        pulse: pulse.clone(),
    };
    let task = tokio::spawn(recorder.run(interval));
    let synced = synced.try_into().unwrap();
    Rig { disk, polled, delivered, synced, stopping, pulse, task, tickets: [0; 2], time_us: 0 }
}

/// Index of the first text signal; the ones before are the example's PLC.
const FIRST_TEXT: u32 = 5;

impl Rig {
    fn reply(&mut self, source: usize, readings: Vec<Reading>) -> Reply {
        self.tickets[source] += 1;
        self.time_us += 1_000;
        Reply { source, ticket: self.tickets[source], at_us: self.time_us, readings, delivery: None, dead: None }
    }

    async fn poll(&mut self) {
        let mut random = [0; 4];
        getrandom::fill(&mut random).unwrap();
        let words = [u16::from_le_bytes([random[0], random[1]]), u16::from_le_bytes([random[2], random[3]]), 0, 0];
        let reading = Reading::new(0, Raw::Words(words));
        let reply = self.reply(POLLED, vec![reading]);
        self.polled.send(reply).await.unwrap();
    }

    async fn deliver(&mut self, texts: u32, bytes: usize) {
        let text = |signal| Reading::new(signal, Raw::Text(noise(bytes)));
        let readings = (FIRST_TEXT..FIRST_TEXT + texts).map(text).collect();
        let mut reply = self.reply(DELIVERED, readings);
        let packet_id = u16::try_from(reply.ticket).unwrap();
        let known = crate::driver::Delivery { session: [1; 16], packet_id, digest: [2; 16], unsettled: 1 };
        reply.delivery = Some(known);
        self.delivered.send(reply).await.unwrap();
    }

    async fn synced(&mut self, source: usize, ticket: u64) {
        timeout(PATIENCE, self.synced[source].wait_for(|synced| *synced == ticket)).await.expect("in time").unwrap();
    }

    async fn wait_for(&self, state: impl Fn(&Disk) -> bool) {
        let wait = async {
            while !state(&self.disk) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("in time");
    }

    async fn end(self) -> Disk {
        let Self { disk, polled, delivered, task, .. } = self;
        drop((polled, delivered));
        timeout(PATIENCE, task).await.expect("in time").unwrap();
        disk
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brokers_window_is_synced_before_the_interval() {
    let mut rig = rig(NEVER, 1);
    // The first tick is at once; nothing after it comes from the clock.
    rig.wait_for(|disk| disk.tries() > 0).await;
    for _ in 0..EARLY_REPLIES {
        rig.deliver(1, 10).await;
    }
    rig.synced(DELIVERED, EARLY_REPLIES as u64).await;
    for _ in 1..EARLY_REPLIES {
        rig.deliver(1, 10).await;
    }
    for _ in 0..2 * EARLY_REPLIES {
        rig.poll().await;
    }
    let tries = rig.disk.tries();
    rig.deliver(1, 10).await;
    rig.synced(DELIVERED, 2 * EARLY_REPLIES as u64).await;
    assert_eq!(rig.disk.tries(), tries + 1, "fewer did not need one, and replies of polls never do");
}

#[test]
fn early_syncs_keep_their_distance() {
    let (sender, _receiver) = watch::channel(0);
    let mut book = Book::new(Disk::default(), sources("plc", vec![sender]), Health::new(&example(str::to_owned)));
    (1..EARLY_REPLIES).for_each(|_| book.owe(0));
    assert_eq!(book.early_sync(), None);
    book.owe(0);
    assert_eq!(book.early_sync(), Some(book.synced_at + EARLY_SPACING));
    book.failing = true;
    assert_eq!(book.early_sync(), None, "a disk that fails is tried again at its tick");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_stops_the_pulse_and_one_that_fails_does_not() {
    let rig = rig(OFTEN, 1);
    rig.disk.fail(true);
    rig.pulse.take();
    rig.wait_for(|_| rig.pulse.take()).await;
    rig.disk.fail(false);
    let disk = rig.disk.clone();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (held, is_held) = std::sync::mpsc::channel();
    let holder = std::thread::spawn(move || {
        let _hangs = disk.0.hangs.lock().unwrap();
        held.send(()).unwrap();
        let _ = released.recv();
    });
    tokio::task::block_in_place(|| is_held.recv().unwrap());
    rig.wait_for(|disk| disk.0.hung.load(Ordering::SeqCst)).await;
    rig.pulse.take();
    // A loop that went on would have been around several times.
    tokio::time::sleep(3 * BEAT).await;
    assert!(!rig.pulse.take());
    drop(release);
    rig.wait_for(|_| rig.pulse.take()).await;
    holder.join().unwrap();
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_delivered_is_lost_or_answered_for_while_the_disk_fails() {
    let mut rig = rig(OFTEN, 4);
    rig.deliver(4, 100).await;
    rig.synced(DELIVERED, 1).await;
    rig.disk.fail(true);
    rig.deliver(4, 100).await;
    let tries = rig.disk.tries();
    rig.wait_for(|disk| disk.tries() > tries + 1).await;
    // Not taken from here on, whatever the disk loses of what is polled.
    rig.deliver(4, 100).await;
    while rig.disk.lost() == 0 {
        rig.poll().await;
    }
    rig.deliver(4, 100).await;
    let lost = rig.disk.lost();
    while rig.disk.lost() == lost {
        rig.poll().await;
    }
    assert_eq!(*rig.synced[DELIVERED].borrow(), 1);
    let polled = rig.tickets[POLLED];
    rig.disk.fail(false);
    rig.synced(DELIVERED, 4).await;
    rig.synced(POLLED, polled).await;
    let disk = rig.end().await;
    assert_eq!(disk.delivered(), 4 * 4, "each message once");
    assert_eq!(disk.readings(), 4 * 4 + polled - disk.lost(), "and of the polls all but what was declared");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_stop_what_is_in_flight_is_synced_at_once() {
    let mut rig = rig(NEVER, 1);
    rig.wait_for(|disk| disk.tries() > 0).await;
    rig.deliver(1, 10).await;
    rig.poll().await;
    rig.stopping.cancel();
    rig.synced(DELIVERED, 1).await;
    // A driver that was handing one over.
    rig.deliver(1, 10).await;
    rig.synced(DELIVERED, 2).await;
    assert!(!rig.task.is_finished(), "it ends with its last driver");
    assert_eq!(rig.end().await.readings(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_does_not_hold_up_the_stop() {
    let mut rig = rig(OFTEN, 1);
    rig.disk.fail(true);
    rig.deliver(1, 10).await;
    let tries = rig.disk.tries();
    rig.wait_for(|disk| disk.tries() > tries + 1).await;
    rig.deliver(1, 10).await;
    rig.stopping.cancel();
    timeout(PATIENCE, rig.delivered.closed()).await.expect("drivers are told that nothing is taken any more");
    assert_eq!(*rig.synced[DELIVERED].borrow(), 0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stands_in_one_batch_which_answers_for_it() {
    let mut rig = rig(NEVER, 200);
    rig.wait_for(|disk| disk.tries() > 0).await;
    // The second begins where a batch of its own would be sealed.
    for texts in [180, 200, 1] {
        rig.deliver(texts, MAX_TEXT_BYTES).await;
    }
    let disk = rig.end().await;
    let batches: Vec<_> = disk.synced().iter().map(|batch| batch.readings).collect();
    let answered = disk.0.deliveries.lock().unwrap().clone();
    let of = |packet_id| answered.iter().position(|ids| ids.contains(&packet_id)).unwrap();
    assert_eq!(answered.concat(), [1, 2, 3], "each is answered for once: {answered:?}");
    assert_eq!((of(1), of(2)), (0, 0), "380 KiB are not cut");
    assert_eq!((batches[0], batches.iter().sum::<u64>()), (380, 381));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reply_makes_a_batch_that_the_wire_refuses() {
    // Twice what a payload may be, in one reply.
    let texts = 2 * MAX_PAYLOAD_BYTES / MAX_TEXT_BYTES;
    let mut rig = rig(NEVER, texts);
    rig.deliver(u32::try_from(texts).unwrap(), MAX_TEXT_BYTES).await;
    let disk = rig.end().await;
    assert_eq!(disk.readings(), texts as u64);
    for batch in disk.synced() {
        assert!(batch.payload.len() <= MAX_PAYLOAD_BYTES, "{}", batch.payload.len());
        batch::decode(&batch.payload).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_used_is_acknowledged_when_it_is_kept() {
    let mut rig = rig(OFTEN, 1);
    for payload in ["{", "["] {
        let mut reply = rig.reply(DELIVERED, Vec::new());
        reply.dead = Some(crate::driver::DeadLetter {
            topic: "t".into(),
            reason: "is not JSON".into(),
            payload: payload.into(),
        });
        let at_us = reply.at_us;
        rig.delivered.send(reply).await.unwrap();
        rig.synced(DELIVERED, rig.tickets[DELIVERED]).await;
        let letters = rig.disk.0.letters.lock().unwrap();
        let expected = DeadLetter::new("broker", "t", "is not JSON", &payload.into(), at_us);
        assert_eq!(letters.last(), Some(&expected));
    }
}
