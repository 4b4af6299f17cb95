//! The loop of one session: frames in, records to the store, acknowledgements out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use sandan_proto::PROTOCOL_VERSION;
use sandan_proto::id::{BirthsHash, BootId, FirmId, GatewayId, LaneId};
use sandan_proto::limits::{self, MAX_LANES, MAX_LINKS, MAX_MESSAGE_BYTES};
use sandan_proto::v1::{self, DeadLetterReason, gateway_frame, goodbye, ingest_frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Status, Streaming};

use super::registry::Entered;
use super::sequence::Lane;
use super::{Closed, Denied, Service};
use crate::ca::Leaf;
use crate::store::{Clock, Opening, Registered, StoreError, Stored};

/// Records that a gateway may have in flight: some seconds of one batch a second, so
/// that a commit of 50 ms and a round trip of a mobile network never hold it up.
const CREDIT_RECORDS: u32 = 64;
/// Bytes that a gateway may have in flight: an eighth of what waits for a commit.
const CREDIT_BYTES: u64 = 8 << 20;
/// How long what is in flight may take to be synced once the session is ending.
const DRAIN: Duration = Duration::from_secs(2);

type Out = mpsc::Sender<Result<v1::IngestFrame, Status>>;

/// How a session ends.
pub(super) enum End {
    /// With a status that tells the gateway what is wrong.
    Status(Status, Closed),
    /// With a goodbye of ours.
    Goodbye(goodbye::Reason, Closed),
    /// The gateway went.
    Gone(Closed),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, source = ?std::error::Error::source(&error), "a session ends because the store failed");
        End::Status(Status::unavailable("store: the store failed; send again"), Closed::Store)
    }
}

pub(super) fn protocol(detail: String) -> End {
    End::Status(Status::invalid_argument(format!("protocol: {detail}")), Closed::Protocol(detail))
}

/// Runs one session to its end.
pub(super) async fn run(
    service: Service,
    gateway: GatewayId,
    leaf: Leaf,
    mut frames: Streaming<v1::GatewayFrame>,
    out: Out,
) {
    match open(&service, &gateway, &leaf, &mut frames).await {
        Ok((mut entered, welcome, lanes)) => {
            let metrics = service.store.metrics();
            metrics.sessions.add(1);
            metrics.sessions_open.add(1);
            tracing::info!(%gateway, epoch = entered.epoch, "session opened");
            let epoch = entered.epoch;
            let _watched = service.guard.watch(&gateway, epoch, leaf.key);
            let mut session = Session::new(&service, gateway.clone(), epoch, lanes, out);
            let end = match session.send(ingest_frame::Frame::Welcome(welcome)).await {
                Ok(()) => session.serve(&mut frames, &mut entered).await,
                Err(end) => end,
            };
            let why = session.finish(end).await;
            tracing::info!(%gateway, %why, "session closed");
            entered.because(why);
            drop(entered);
            metrics.sessions_open.add(-1);
        }
        Err(End::Status(status, why)) => {
            tracing::warn!(%gateway, %why, "session refused");
            drop(out.send(Err(status)).await);
        }
        Err(End::Goodbye(..) | End::Gone(_)) => {}
    }
}

type Opened = (Entered, v1::Welcome, Vec<(LaneId, u64)>);

/// Reads the Hello and decides on it.
async fn open(
    service: &Service,
    gateway: &GatewayId,
    leaf: &Leaf,
    frames: &mut Streaming<v1::GatewayFrame>,
) -> Result<Opened, End> {
    let settings = &service.settings;
    let first = tokio::select! {
        first = timeout(settings.hello_deadline, frames.message()) => first.map_err(|_| {
            let why = "no Hello came in time".to_owned();
            End::Status(Status::deadline_exceeded(format!("protocol: {why}")), Closed::Protocol(why))
        })?,
        () = settings.shutdown.cancelled() => {
            let status = Status::unavailable("shutdown: the ingest is shutting down; try again");
            return Err(End::Status(status, Closed::Ended(in_words(goodbye::Reason::Shutdown))));
        }
    };
    let frame = match first {
        Ok(Some(frame)) => frame.frame,
        Ok(None) | Err(_) => return Err(End::Gone(Closed::Lost)),
    };
    let Some(gateway_frame::Frame::Hello(hello)) = frame else {
        return Err(protocol("the first frame is not a Hello".into()));
    };
    if hello.gateway != gateway.as_str() {
        let named = GatewayId::new(&hello.gateway).ok();
        let denied = Denied::WrongGateway { own: gateway.clone(), named };
        service.auth.refused(&denied).await;
        return Err(End::Status(Status::from(&denied), Closed::Protocol(denied.to_string())));
    }
    if hello.protocol_version != PROTOCOL_VERSION {
        let detail = format!("the gateway speaks version {}, this ingest {PROTOCOL_VERSION}", hello.protocol_version);
        let status = Status::failed_precondition(format!("protocol_version: {detail}"));
        return Err(End::Status(status, Closed::Protocol(detail)));
    }
    if hello.lanes.len() > MAX_LANES {
        return Err(protocol(format!("{} lanes, more than {MAX_LANES}", hello.lanes.len())));
    }
    let lanes = hello
        .lanes
        .iter()
        .map(|lane| LaneId::from_bytes(&lane.lane))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| protocol(error.to_string()))?;
    match service.store.open_session(gateway, hello.last_epoch, &lanes).await? {
        Opening::Fenced { used } => {
            service.store.metrics().fenced.add(1);
            service.fleet.fenced(gateway);
            let status = Status::failed_precondition(format!(
                "fenced: this spool last used epoch {}, its gateway epoch {used}; it is a copy or an old state. \
                 Once no other copy runs, `sandan-ingest gateway release {gateway}` lets it in",
                hello.last_epoch
            ));
            Err(End::Status(status, Closed::Fenced { named: hello.last_epoch, used }))
        }
        Opening::NeverGranted { granted } => {
            tracing::warn!(%gateway, granted, named = hello.last_epoch, "a spool names an epoch that was never given");
            Err(protocol("an epoch that was never given".into()))
        }
        Opening::Granted { epoch, watermarks } => {
            crash_point!("session.epoch-granted-before-welcome");
            let welcome = v1::Welcome {
                epoch,
                watermarks: watermarks.iter().map(|&(lane, through)| watermark(lane, through)).collect(),
                credits: Some(credits()),
                limits: Some(limits::wire()),
                server_time_us: (settings.now)(),
                store_timeline: service.store.timeline().to_vec(),
                heartbeat_ms: u32::try_from(settings.heartbeat.as_millis()).unwrap_or(u32::MAX),
            };
            let mut entered = service.sessions.enter(&service.fleet, gateway, epoch, &hello).ok_or_else(|| {
                End::Status(
                    Status::aborted("replaced: a newer session of this gateway is open"),
                    Closed::Ended(in_words(goodbye::Reason::Replaced)),
                )
            })?;
            // A revocation ends the sessions that have entered. One that came before this
            // did, after the certificate was looked at, is seen only by looking again.
            if let Err(denied) = service.auth.admit(Some(leaf)).await? {
                let why = Closed::Ended(in_words(goodbye::Reason::Revoked));
                entered.because(why.clone());
                return Err(End::Status(Status::from(&denied), why));
            }
            Ok((entered, welcome, watermarks))
        }
    }
}

/// A reason for people.
pub(super) fn in_words(reason: goodbye::Reason) -> &'static str {
    match reason {
        goodbye::Reason::Shutdown => "shutting down",
        goodbye::Reason::Reload => "the configuration is read again",
        goodbye::Reason::Replaced => "a newer session of the gateway took over",
        goodbye::Reason::Revoked => "the gateway's certificate is not in force any more",
        goodbye::Reason::ProtocolError => "the protocol was broken",
        goodbye::Reason::Unspecified => "no reason was given",
    }
}

pub(super) fn credits() -> v1::Credits {
    v1::Credits { records: CREDIT_RECORDS, bytes: CREDIT_BYTES }
}

pub(super) fn watermark(lane: LaneId, through: u64) -> v1::LaneWatermark {
    v1::LaneWatermark { lane: lane.to_vec(), durable_through: through }
}

/// A record that was handed to the store.
pub(super) struct InFlight {
    pub lane: LaneId,
    pub sequence: u64,
    pub bytes: u64,
    pub result: Result<Stored, StoreError>,
}

/// Births as a session knows them.
#[derive(Clone)]
pub(super) enum Known {
    Registered(Arc<Registered>),
    /// They came and could not be taken; the records under them are dead-lettered.
    Refused(DeadLetterReason, String),
}

pub(super) struct Session<'a> {
    pub service: &'a Service,
    pub gateway: GatewayId,
    pub firm: FirmId,
    pub epoch: u64,
    out: Out,
    pub lanes: HashMap<LaneId, Lane>,
    pub births: HashMap<BirthsHash, Known>,
    pub clocks: HashMap<BootId, Clock>,
    /// Checksums of the records that are on their way to the store.
    pub unsettled: HashMap<(LaneId, u64), u32>,
    pub in_flight: FuturesOrdered<BoxFuture<'static, InFlight>>,
    pub bytes_in_flight: u64,
    /// Lanes whose watermark the next Ack names.
    pub moved: BTreeSet<LaneId>,
    pub letters: Vec<v1::DeadLetter>,
    pub stored: u64,
    pub duplicate: u64,
    pub dead_lettered: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        service: &'a Service,
        gateway: GatewayId,
        epoch: u64,
        lanes: Vec<(LaneId, u64)>,
        out: Out,
    ) -> Self {
        Self {
            service,
            firm: gateway.firm(),
            gateway,
            epoch,
            out,
            lanes: lanes.into_iter().map(|(lane, through)| (lane, Lane::new(through))).collect(),
            births: HashMap::new(),
            clocks: HashMap::new(),
            unsettled: HashMap::new(),
            in_flight: FuturesOrdered::new(),
            bytes_in_flight: 0,
            moved: BTreeSet::new(),
            letters: Vec::new(),
            stored: 0,
            duplicate: 0,
            dead_lettered: 0,
        }
    }

    fn idle(&self) -> Duration {
        self.service.settings.heartbeat * 3
    }

    /// Sends a frame. A gateway that reads nothing for as long as it may be silent is
    /// taken for lost.
    pub(super) async fn send(&mut self, frame: ingest_frame::Frame) -> Result<(), End> {
        self.give(Ok(v1::IngestFrame { frame: Some(frame) })).await
    }

    async fn give(&mut self, answer: Result<v1::IngestFrame, Status>) -> Result<(), End> {
        let idle = self.idle();
        tokio::select! {
            biased;
            sent = self.out.send(answer) => sent.map_err(|_| End::Gone(Closed::Lost)),
            // One that does not read must not hold up the end of the service.
            () = self.service.settings.shutdown.cancelled() => {
                Err(End::Gone(Closed::Ended(in_words(goodbye::Reason::Shutdown))))
            }
            () = sleep(idle) => Err(End::Gone(Closed::Idle(idle))),
        }
    }

    async fn serve(&mut self, frames: &mut Streaming<v1::GatewayFrame>, entered: &mut Entered) -> End {
        let shutdown = self.service.settings.shutdown.clone();
        let mut silent_until = Instant::now() + self.idle();
        loop {
            // Beyond its credits a gateway is held back by not reading on.
            let room = self.in_flight.len() < CREDIT_RECORDS as usize && self.bytes_in_flight < CREDIT_BYTES;
            let step = tokio::select! {
                biased;
                reason = &mut entered.close => {
                    let reason = reason.unwrap_or(goodbye::Reason::Replaced);
                    return End::Goodbye(reason, Closed::Ended(in_words(reason)));
                }
                () = shutdown.cancelled() => {
                    return End::Goodbye(goodbye::Reason::Shutdown, Closed::Ended(in_words(goodbye::Reason::Shutdown)));
                }
                Some(done) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    silent_until = Instant::now() + self.idle();
                    self.on_stored(done).await
                }
                frame = frames.message(), if room => match frame {
                    Ok(Some(frame)) => {
                        silent_until = Instant::now() + self.idle();
                        self.on_frame(frame).await
                    }
                    Ok(None) => return End::Gone(Closed::Lost),
                    Err(status) => return refused_frame(&status),
                },
                () = sleep_until(silent_until), if room => {
                    let status = Status::deadline_exceeded(format!("idle: no frame for {:?}", self.idle()));
                    return End::Status(status, Closed::Idle(self.idle()));
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Waits for what is in flight, acknowledges it, says goodbye.
    async fn finish(&mut self, end: End) -> Closed {
        if !matches!(end, End::Status(..)) {
            let drain = async {
                while let Some(done) = self.in_flight.next().await {
                    if self.on_stored(done).await.is_err() {
                        return;
                    }
                }
            };
            // What is not synced by then is sent again in the next session.
            drop(timeout(DRAIN, drain).await);
        }
        match end {
            End::Status(status, why) => {
                drop(self.give(Err(status)).await);
                why
            }
            End::Goodbye(reason, why) => {
                let goodbye = v1::Goodbye { reason: reason.into(), detail: why.to_string() };
                drop(self.send(ingest_frame::Frame::Goodbye(goodbye)).await);
                why
            }
            End::Gone(why) => why,
        }
    }

    async fn on_frame(&mut self, frame: v1::GatewayFrame) -> Result<(), End> {
        use gateway_frame::Frame;
        crash_point!("session.frame-received");
        match frame.frame {
            Some(Frame::Hello(_)) => Err(protocol("a second Hello".into())),
            Some(Frame::Births(births)) => self.on_births(births).await,
            Some(Frame::Clock(clock)) => self.on_clock(&clock).await,
            Some(Frame::Sealed(sealed)) => self.on_sealed(sealed).await,
            Some(Frame::Gap(gap)) => self.on_gap(gap).await,
            Some(Frame::Health(mut health)) => {
                health.links.truncate(MAX_LINKS);
                self.service.fleet.health(&self.gateway, health);
                Ok(())
            }
            Some(Frame::Goodbye(goodbye)) => Err(End::Gone(Closed::Goodbye(in_words(goodbye.reason())))),
            // A frame of a later version that asks for no answer.
            None => Ok(()),
        }
    }
}

/// What to make of a frame that could not be read.
fn refused_frame(status: &Status) -> End {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            protocol(format!("a message of more than {MAX_MESSAGE_BYTES} bytes"))
        }
        Code::Internal if status.message().contains("decode") => protocol("a message that is not a frame".into()),
        _ => End::Gone(Closed::Lost),
    }
}
