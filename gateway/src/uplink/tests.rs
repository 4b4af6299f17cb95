//! Against an ingest in this process, over a real connection.

use std::path::Path;
use std::sync::Mutex;

use sandan_proto::batch::{self, BatchBuilder};
use sandan_proto::births::Births;
use sandan_proto::reading::{Quality, Value};
use sandan_proto::v1::gateway_frame::Frame;
use sandan_proto::v1::ingest_frame::Frame as Answer;
use sandan_proto::v1::uplink_server::{Uplink, UplinkServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};

use super::*;
use crate::clock::TrustedClock;
use crate::identity::fixture::{Authority, now};
use crate::spool::{Options, Outgoing, WhenFull, Writer};

mod lanes;
mod time;

/// What the fake ingest does with the nth session, frame by frame.
type Script = Box<dyn Fn(usize, usize, &Frame) -> Vec<Step> + Send + Sync>;

enum Step {
    Send(Answer),
    /// The connection breaks here.
    Break,
}

struct FakeIngest {
    script: Script,
    frames: Mutex<Vec<Vec<Frame>>>,
    seen: watch::Sender<usize>,
}

/// And whether it knows who comes.
struct Service(Arc<FakeIngest>, bool);

#[tonic::async_trait]
impl Uplink for Service {
    type SessionStream = ReceiverStream<Result<v1::IngestFrame, tonic::Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::GatewayFrame>>,
    ) -> Result<Response<Self::SessionStream>, tonic::Status> {
        if !self.1 {
            return Err(tonic::Status::unauthenticated("unknown_certificate: no gateway has this key"));
        }
        let mut inbound = request.into_inner();
        let (answers, stream) = mpsc::channel(64);
        let fake = self.0.clone();
        let session = {
            let mut sessions = fake.frames.lock().unwrap();
            sessions.push(Vec::new());
            sessions.len() - 1
        };
        tokio::spawn(async move {
            while let Ok(Some(v1::GatewayFrame { frame: Some(frame) })) = inbound.message().await {
                let number = fake.frames.lock().unwrap()[session].len();
                let script = (fake.script)(session, number, &frame);
                fake.frames.lock().unwrap()[session].push(frame);
                fake.seen.send_modify(|seen| *seen += 1);
                for answer in script {
                    match answer {
                        Step::Send(answer) => answers.send(Ok(v1::IngestFrame { frame: Some(answer) })).await.unwrap(),
                        Step::Break => return,
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn welcome(epoch: u64, watermarks: Vec<v1::LaneWatermark>, records: u32) -> Step {
    Step::Send(Answer::Welcome(v1::Welcome {
        epoch,
        watermarks,
        credits: Some(v1::Credits { records, bytes: 1 << 20 }),
        store_timeline: vec![5; 16],
        heartbeat_ms: 60_000,
        ..v1::Welcome::default()
    }))
}

fn ack(lane: &[u8], through: u64) -> Step {
    Step::Send(Answer::Ack(v1::Ack {
        watermarks: vec![v1::LaneWatermark { lane: lane.to_vec(), durable_through: through }],
        ..v1::Ack::default()
    }))
}

/// The authority of all that meet in a test.
static AUTHORITY: std::sync::LazyLock<Authority> = std::sync::LazyLock::new(Authority::new);

async fn serve(script: Script) -> (Arc<FakeIngest>, String) {
    serve_whom(script, true).await
}

async fn serve_whom(script: Script, known: bool) -> (Arc<FakeIngest>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let fake = Arc::new(FakeIngest { script, frames: Mutex::default(), seen: watch::Sender::new(0) });
    let service = UplinkServer::new(Service(fake.clone(), known));
    let incoming = AUTHORITY.incoming(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (fake, address)
}

fn births() -> Births {
    Births::new(&v1::BirthSet {
        assets: vec![v1::Asset { id: "press-1".into(), ..v1::Asset::default() }],
        devices: vec![v1::Device::default()],
        series: vec![v1::Series { metric: "stroke_count".into(), value_type: 2, ..v1::Series::default() }],
    })
    .unwrap()
}

fn spool(dir: &Path, batches: i64) -> (Writer, Spool) {
    spool_of(dir, BootId::random(), batches)
}

fn spool_of(dir: &Path, boot: BootId, batches: i64) -> (Writer, Spool) {
    let clock = v1::ClockOffset { boot_id: boot.to_vec(), offset_us: 1, source: 1 };
    let options = Options { dir: dir.join("spool"), max_bytes: 16 << 20, when_full: WhenFull::default() };
    let (mut writer, spool, _) = Spool::open(&options, &births(), Some(&clock), boot).unwrap();
    append(&mut writer, 0..batches);
    (writer, spool)
}

fn append(writer: &mut Writer, values: std::ops::Range<i64>) {
    append_aged(writer, values, 0);
}

/// Batches of one reading that was taken so long ago.
fn append_aged(writer: &mut Writer, values: std::ops::Range<i64>, age_us: i64) {
    for value in values {
        let at_us = clock::monotonic_us() - age_us;
        let mut builder = BatchBuilder::default();
        builder.push(0, at_us, Value::I64(value), Quality::GOOD).unwrap();
        let payload = batch::encode(&builder.take());
        writer.append(&Outgoing { payload, readings: 1, first_us: at_us, last_us: at_us });
        writer.sync().unwrap();
    }
}

struct Running {
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(dir: &Path, ingest: &str, spool: &Spool) -> Running {
    start_in(dir, ingest, spool, BootId::random())
}

fn start_in(dir: &Path, ingest: &str, spool: &Spool, boot: BootId) -> Running {
    let time = Timekeeper::new(spool.clone(), TrustedClock::load(dir), boot);
    start_at(dir, ingest, spool, boot, time)
}

fn start_at(dir: &Path, ingest: &str, spool: &Spool, boot: BootId, time: Timekeeper) -> Running {
    let gateway = GatewayId::new("hanbit/gw-1").unwrap();
    let identity = AUTHORITY.enrolled(dir, &gateway, ingest);
    let config_hash = watch::channel([3; 32]).1;
    let settings = Settings { ingest: None, proxy: None, now: now(), gateway, boot, config_hash, time };
    let (sender, status) = watch::channel(Status::default());
    let stop = CancellationToken::new();
    let health: HealthReport = Arc::new(v1::Health::default);
    let task = tokio::spawn(run(settings, identity, spool.clone(), health, sender, stop.clone()));
    Running { status, stop, task }
}

fn sequences(frames: &[Frame]) -> Vec<u64> {
    let sequence = |frame: &Frame| if let Frame::Sealed(sealed) = frame { Some(sealed.sequence) } else { None };
    frames.iter().filter_map(sequence).collect()
}

async fn empty(spool: &Spool) {
    until(spool, || spool.depth().records == 0).await;
}

/// Waits for a state of the spool.
async fn until(spool: &Spool, is_so: impl Fn() -> bool) {
    let mut changes = spool.changes();
    while !is_so() {
        changes.changed().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_is_emptied_within_the_credits_and_the_goodbye_is_last() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool) = spool(dir.path(), 40);
    let (fake, url) = serve(Box::new(|_, _, frame| match frame {
        Frame::Hello(hello) => {
            assert_eq!((hello.gateway.as_str(), hello.last_epoch), ("hanbit/gw-1", 0));
            vec![welcome(1, vec![], 3)]
        }
        Frame::Sealed(sealed) => vec![ack(&sealed.lane, sealed.sequence)],
        _ => vec![],
    }))
    .await;
    let running = start(dir.path(), &url, &spool);
    empty(&spool).await;
    append(&mut writer, 40..45);
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(spool.depth().records, 0, "an orderly stop sends what is left");
    assert_eq!((spool.state().epoch, spool.state().timeline_bytes()), (1, vec![5; 16]));
    let frames = fake.frames.lock().unwrap();
    assert_eq!(sequences(&frames[0]), (1..=45).collect::<Vec<_>>());
    assert!(matches!(frames[0].last(), Some(Frame::Goodbye(_))));
    let first = frames[0].iter().position(|frame| matches!(frame, Frame::Sealed(_))).unwrap();
    let before: Vec<_> = frames[0][..first].iter().filter(|frame| !matches!(frame, Frame::Health(_))).collect();
    assert!(matches!(before[..], [Frame::Hello(_), Frame::Births(_), Frame::Clock(_)]), "{before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_session_is_taken_up_behind_the_watermark_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, spool) = spool(dir.path(), 6);
    let lane = writer.lane().to_vec();
    let (fake, url) = serve(Box::new(move |session, _, frame| match (session, frame) {
        (0, Frame::Hello(_)) => vec![welcome(1, vec![], 10)],
        // Durable, but the acknowledgement is lost with the connection.
        (0, Frame::Sealed(sealed)) if sealed.sequence == 5 => vec![Step::Break],
        (0, _) => vec![],
        (_, Frame::Hello(hello)) => {
            assert_eq!(hello.last_epoch, 1);
            let watermark = v1::LaneWatermark { lane: lane.clone(), durable_through: 2 };
            vec![welcome(2, vec![watermark], 10)]
        }
        (_, Frame::Sealed(sealed)) => vec![ack(&sealed.lane, sealed.sequence)],
        _ => vec![],
    }))
    .await;
    let running = start(dir.path(), &url, &spool);
    empty(&spool).await;
    running.stop.cancel();
    running.task.await.unwrap();
    let frames = fake.frames.lock().unwrap();
    assert_eq!(sequences(&frames[1]), [3, 4, 5, 6]);
    let sealed = |session: usize, sequence| {
        frames[session]
            .iter()
            .find(|frame| matches!(frame, Frame::Sealed(sealed) if sealed.sequence == sequence))
            .cloned()
    };
    assert_eq!(sealed(0, 3), sealed(1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ingest_asks_for_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, spool) = spool(dir.path(), 3);
    let (fake, url) = serve(Box::new(|_, number, frame| match frame {
        Frame::Hello(_) => vec![welcome(1, vec![], 1)],
        Frame::Sealed(sealed) if sealed.sequence == 1 && number < 6 => vec![
            Step::Send(Answer::NeedBirths(v1::NeedBirths { hash: sealed.births_hash.clone() })),
            Step::Send(Answer::NeedClock(v1::NeedClock { boot_id: sealed.boot_id.clone() })),
            Step::Send(Answer::Expected(v1::Expected { lane: sealed.lane.clone(), sequence: 1 })),
        ],
        Frame::Sealed(sealed) if sealed.sequence == 2 && number < 10 => {
            vec![Step::Send(Answer::RetryLater(v1::RetryLater {
                lane: sealed.lane.clone(),
                sequence: 2,
                delay_ms: 1,
                reason: "rate".into(),
            }))]
        }
        Frame::Sealed(sealed) => vec![ack(&sealed.lane, sealed.sequence)],
        _ => vec![],
    }))
    .await;
    let running = start(dir.path(), &url, &spool);
    empty(&spool).await;
    running.stop.cancel();
    running.task.await.unwrap();
    let frames = fake.frames.lock().unwrap();
    let births = frames[0].iter().filter(|frame| matches!(frame, Frame::Births(_))).count();
    let clocks = frames[0].iter().filter(|frame| matches!(frame, Frame::Clock(_))).count();
    assert_eq!((births, clocks), (2, 2));
    let sequences = sequences(&frames[0]);
    assert_eq!(sequences[..2], [1, 1]);
    assert_eq!(sequences.last(), Some(&3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_sentence_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, spool) = spool(dir.path(), 1);
    let (_fake, url) = serve_whom(Box::new(|_, _, _| vec![]), false).await;
    let mut running = start(dir.path(), &url, &spool);
    let status = running.status.wait_for(|status| status.fault.is_some()).await.unwrap().clone();
    assert_eq!(status.fault.unwrap(), "the ingest refused: unknown_certificate: no gateway has this key");
    assert!(!status.connected);
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(spool.depth().records, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_lanes_than_a_hello_may_name_drain_in_turns() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..99 {
        drop(spool(dir.path(), 1));
    }
    let (_writer, spool) = spool(dir.path(), 1);
    assert_eq!(spool.lanes().len(), 100);
    let (fake, url) = serve(Box::new(|session, _, frame| match frame {
        Frame::Hello(hello) => {
            assert!(hello.lanes.len() <= sandan_proto::limits::MAX_LANES);
            assert!(!hello.lanes.last().unwrap().read_only, "the current lane is named");
            vec![welcome(session as u64 + 1, vec![], 9)]
        }
        Frame::Sealed(sealed) => vec![ack(&sealed.lane, sealed.sequence)],
        Frame::Gap(gap) => vec![ack(&gap.lane, gap.last_sequence)],
        Frame::Goodbye(_) => vec![Step::Break],
        _ => vec![],
    }))
    .await;
    let running = start(dir.path(), &url, &spool);
    empty(&spool).await;
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(fake.frames.lock().unwrap().len(), 2);
}
