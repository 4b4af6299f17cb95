//! One session: Hello, Welcome, then records out and acknowledgements in.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use sandan_proto::id::LaneId;
use sandan_proto::limits::{MAX_LANES, MAX_MESSAGE_BYTES};
use sandan_proto::v1::{self, gateway_frame::Frame, ingest_frame, uplink_client::UplinkClient};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::cursor::Cursor;
use super::window::Window;
use super::{HealthReport, SessionError, Settings, Status};
use crate::clock;
use crate::identity::Identity;
use crate::spool::Spool;

/// Frames between the session and the HTTP/2 stream. The credits bound what is in
/// flight; this only keeps the stream busy.
const OUTBOUND_FRAMES: usize = 4;
/// The ingest answers a Hello from memory and one small transaction.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// Without any acknowledgement for so long while something is in flight, the session is
/// dead. A group commit takes a fraction of a second; the largest ordinary record takes
/// a minute on a link of 4 KB/s.
const ACK_TIMEOUT: Duration = Duration::from_mins(2);
/// For how long an orderly stop waits for the last acknowledgements.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// One small write in so many minutes is nothing to an SD card.
const NOTE_INTERVAL: Duration = Duration::from_mins(5);
/// Used when the ingest names no heartbeat, and as the bound of one that it names.
const HEARTBEAT: Duration = Duration::from_secs(10);
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

type Inbound = Streaming<v1::IngestFrame>;

pub(super) struct Session<'a> {
    settings: &'a Settings,
    spool: &'a Spool,
    health: &'a HealthReport,
    status: &'a watch::Sender<Status>,
    /// Acknowledged counts are of the session; these are of the sessions before it.
    base: Status,
    /// The lanes that the Hello named.
    lanes: Vec<Vec<u8>>,
    /// When the acknowledged positions were last written down.
    noted: Instant,
    /// Reasons of dead letters that were said already: a log must not grow by what the
    /// plant sends.
    said: HashSet<v1::DeadLetterReason>,
}

/// What moves while a session stands.
struct Traffic {
    cursor: Cursor,
    window: Window,
    /// Records and what goes before them.
    pending: VecDeque<Frame>,
    /// The newest report that is not sent; an older one is worth nothing.
    report: Option<v1::Health>,
    /// Looked into the spool and found nothing more.
    is_drained: bool,
    /// Nothing is sent before; set by *retry later*.
    paused_until: Option<Instant>,
    /// Set by an orderly stop.
    leave_by: Option<Instant>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        spool: &'a Spool,
        health: &'a HealthReport,
        status: &'a watch::Sender<Status>,
    ) -> Self {
        let base = status.borrow().clone();
        Self { settings, spool, health, status, base, lanes: Vec::new(), noted: Instant::now(), said: HashSet::new() }
    }

    pub(super) async fn run(
        mut self,
        channel: Channel,
        identity: &Identity,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let (outbound, frames) = mpsc::channel(OUTBOUND_FRAMES);
        let mut lanes = self.spool.lanes();
        if lanes.len() > MAX_LANES {
            // The oldest, and the current one.
            lanes.drain(MAX_LANES - 1..lanes.len() - 1);
        }
        self.lanes = lanes.iter().map(|state| state.lane.clone()).collect();
        let hello = self.hello(lanes.clone());
        // The channel is new and empty: this does not wait.
        let _ = outbound.send(v1::GatewayFrame { frame: Some(Frame::Hello(hello)) }).await;
        let mut request = Request::new(ReceiverStream::new(frames));
        request.metadata_mut().insert("authorization", identity.bearer());
        let mut client = UplinkClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let welcomed = async {
            let mut inbound = client.session(request).await.map_err(lost)?.into_inner();
            let welcome = welcome(&mut inbound).await?;
            Ok::<_, SessionError>((inbound, welcome))
        };
        let (inbound, welcome) = tokio::select! {
            welcomed = tokio::time::timeout(WELCOME_TIMEOUT, welcomed) => {
                welcomed.map_err(|_| SessionError::Silent(WELCOME_TIMEOUT))??
            }
            () = stop.cancelled() => return Ok(()),
        };
        crash_point!("uplink.epoch-received-before-saved");
        // Synced before the first frame under it: an epoch that a power cut made us
        // forget would fence this gateway.
        tokio::task::block_in_place(|| self.spool.save_session(welcome.epoch, &welcome.store_timeline))?;
        crash_point!("uplink.epoch-saved-before-first-frame");
        for watermark in &welcome.watermarks {
            self.acked(watermark)?;
        }
        self.base.sessions_total += 1;
        self.status.send_modify(|status| {
            status.connected = true;
            status.since_us = clock::monotonic_us();
            status.fault = None;
            status.epoch = welcome.epoch;
            status.sessions_total = self.base.sessions_total;
        });
        tracing::info!(epoch = welcome.epoch, url = self.settings.url, "uplink is up");
        let traffic = Traffic {
            cursor: Cursor::new(self.spool.clone(), &lanes, &welcome.watermarks),
            window: Window::new(welcome.credits.unwrap_or_default()),
            pending: VecDeque::new(),
            report: None,
            is_drained: false,
            paused_until: None,
            leave_by: None,
        };
        let heartbeat = match welcome.heartbeat_ms {
            0 => HEARTBEAT,
            ms => Duration::from_millis(ms.into()).clamp(HEARTBEAT_MIN, HEARTBEAT * 6),
        };
        self.exchange(traffic, inbound, outbound, heartbeat, stop).await
    }

    fn hello(&self, lanes: Vec<v1::LaneState>) -> v1::Hello {
        let state = self.spool.state();
        v1::Hello {
            gateway: self.settings.gateway.to_string(),
            boot_id: self.settings.boot.to_vec(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: sandan_proto::PROTOCOL_VERSION,
            config_hash: self.settings.config_hash.to_vec(),
            lanes,
            last_epoch: state.epoch,
            store_timeline: state.timeline_bytes(),
            wall_time_us: clock::wall_us(),
        }
    }

    async fn exchange(
        &mut self,
        mut traffic: Traffic,
        mut inbound: Inbound,
        outbound: mpsc::Sender<v1::GatewayFrame>,
        heartbeat: Duration,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let mut changes = self.spool.changes();
        let mut beat = tokio::time::interval(heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = Instant::now();
            changes.mark_unchanged();
            traffic.fill(now)?;
            if traffic.leave_by.is_some_and(|by| now >= by || traffic.is_drained) {
                self.leave(v1::goodbye::Reason::Shutdown, traffic, inbound, outbound).await;
                self.spool.save_state()?;
                return Ok(());
            }
            if traffic.is_drained && self.has_other_lanes() {
                // More lanes than one Hello may name: the next session takes the rest.
                self.leave(v1::goodbye::Reason::Reload, traffic, inbound, outbound).await;
                return Ok(());
            }
            if traffic.window.waiting(now) > ACK_TIMEOUT {
                return Err(SessionError::Silent(ACK_TIMEOUT));
            }
            tokio::select! {
                frame = inbound.message() => match frame.map_err(lost)? {
                    Some(frame) => self.take(frame, &mut traffic)?,
                    None => return Err(SessionError::Ended("the connection was closed".to_owned())),
                },
                permit = outbound.reserve(), if traffic.has_frames() => match permit {
                    Ok(permit) => {
                        permit.send(v1::GatewayFrame { frame: traffic.next_frame() });
                        crash_point!("uplink.frame-sent");
                    }
                    Err(_) => return Err(SessionError::Ended("the connection was closed".to_owned())),
                },
                _ = beat.tick() => {
                    traffic.report = Some((self.health)());
                    self.note_positions();
                }
                _ = changes.changed() => {}
                () = until(traffic.paused_until.or(traffic.leave_by)) => traffic.paused_until = None,
                () = stop.cancelled(), if traffic.leave_by.is_none() => {
                    traffic.leave_by = Some(Instant::now() + DRAIN_TIMEOUT);
                }
            }
        }
    }

    /// Writes down how far the lanes are acknowledged, now and then: a hint that makes the
    /// backlog that a restart shows true to a few minutes.
    fn note_positions(&mut self) {
        if self.noted.elapsed() >= NOTE_INTERVAL {
            self.noted = Instant::now();
            if let Err(error) = tokio::task::block_in_place(|| self.spool.save_state()) {
                tracing::warn!(%error, "cannot write the spool's state");
            }
        }
    }

    /// Says goodbye and takes what the ingest still says until it closes its side.
    async fn leave(
        &mut self,
        reason: v1::goodbye::Reason,
        mut traffic: Traffic,
        mut inbound: Inbound,
        outbound: mpsc::Sender<v1::GatewayFrame>,
    ) {
        let goodbye = v1::Goodbye { reason: reason.into(), detail: String::new() };
        // The last report says what is left in the spool: mostly nothing.
        let last = [Frame::Health((self.health)()), Frame::Goodbye(goodbye)];
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
            for frame in last {
                let _ = outbound.send(v1::GatewayFrame { frame: Some(frame) }).await;
            }
            drop(outbound);
            while let Ok(Some(frame)) = inbound.message().await {
                let _ = self.take(frame, &mut traffic);
            }
        })
        .await;
    }

    /// Whether the spool holds records of lanes that this session did not name.
    fn has_other_lanes(&self) -> bool {
        let of_others = |state: &v1::LaneState| !self.lanes.contains(&state.lane);
        self.lanes.len() >= MAX_LANES && self.spool.lanes().iter().any(of_others)
    }

    fn take(&mut self, frame: v1::IngestFrame, traffic: &mut Traffic) -> Result<(), SessionError> {
        use ingest_frame::Frame as In;
        match frame.frame {
            Some(In::Ack(ack)) => {
                crash_point!("uplink.ack-received-before-applied");
                for watermark in &ack.watermarks {
                    let lane = self.acked(watermark)?;
                    traffic.window.acked(lane, watermark.durable_through, Instant::now());
                }
                if let Some(credits) = ack.credits {
                    traffic.window.set_credits(credits);
                }
                for letter in &ack.dead_letters {
                    if self.said.insert(letter.reason()) {
                        tracing::warn!(
                            reason = letter.reason().as_str_name(),
                            readings = letter.readings,
                            detail = letter.detail,
                            "the ingest puts readings aside; further ones of this reason are counted in the status"
                        );
                    }
                }
                self.status.send_modify(|status| {
                    status.acks_total += 1;
                    status.stored_total = self.base.stored_total + ack.stored;
                    status.duplicate_total = self.base.duplicate_total + ack.duplicate;
                    status.dead_lettered_total = self.base.dead_lettered_total + ack.dead_lettered;
                });
            }
            Some(In::NeedBirths(need)) => traffic.cursor.need_births(&need.hash),
            Some(In::NeedClock(need)) => traffic.cursor.need_clock(&need.boot_id),
            Some(In::Expected(expected)) => {
                traffic.rewind(lane(&expected.lane)?, expected.sequence)?;
            }
            Some(In::RetryLater(retry)) => {
                traffic.rewind(lane(&retry.lane)?, retry.sequence)?;
                let delay = Duration::from_millis(retry.delay_ms.into()).min(ACK_TIMEOUT);
                traffic.paused_until = Some(Instant::now() + delay);
            }
            Some(In::Goodbye(goodbye)) => {
                let reason = goodbye.reason();
                let detail = if goodbye.detail.is_empty() { format!("{reason:?}") } else { goodbye.detail };
                return Err(SessionError::Ended(detail));
            }
            Some(In::Welcome(_)) => return Err(SessionError::Protocol("a second Welcome")),
            // A frame of a later version.
            None => {}
        }
        Ok(())
    }

    fn acked(&self, watermark: &v1::LaneWatermark) -> Result<LaneId, SessionError> {
        let lane = lane(&watermark.lane)?;
        // Removing segments may wait for the disk; polls share this thread.
        tokio::task::block_in_place(|| self.spool.acked(lane, watermark.durable_through));
        Ok(lane)
    }
}

impl Traffic {
    fn has_frames(&self) -> bool {
        self.report.is_some() || !self.pending.is_empty()
    }

    fn next_frame(&mut self) -> Option<Frame> {
        self.report.take().map(Frame::Health).or_else(|| self.pending.pop_front())
    }

    /// Reads from the spool what the window has room for, one parcel at a time.
    fn fill(&mut self, now: Instant) -> Result<(), SessionError> {
        if !self.pending.is_empty() || !self.window.has_room() || self.paused_until.is_some_and(|until| now < until) {
            self.is_drained = false;
            return Ok(());
        }
        // A spool on a slow card must not hold up the polls that share this thread.
        let parcel = tokio::task::block_in_place(|| self.cursor.next_parcel())?;
        self.is_drained = parcel.is_none() && self.window.is_empty();
        if let Some(parcel) = parcel {
            self.window.sent(parcel.lane, parcel.last_sequence, parcel.bytes, now);
            self.pending.extend(parcel.frames);
        }
        Ok(())
    }

    fn rewind(&mut self, lane: LaneId, sequence: u64) -> Result<(), SessionError> {
        let after = sequence.checked_sub(1).ok_or(SessionError::Protocol("sequence 0"))?;
        self.window.rewound(lane, after);
        self.cursor.seek(lane, after);
        let of_lane = |bytes: &[u8]| bytes == lane.as_bytes();
        self.pending.retain(|frame| match frame {
            Frame::Sealed(sealed) => !of_lane(&sealed.lane),
            Frame::Gap(gap) => !of_lane(&gap.lane),
            _ => true,
        });
        Ok(())
    }
}

/// Once a session stands, an error that the ingest did not send is the connection's.
fn lost(status: tonic::Status) -> SessionError {
    use std::error::Error;
    if status.source().is_some() { SessionError::Lost(Box::new(status)) } else { status.into() }
}

async fn welcome(inbound: &mut Inbound) -> Result<v1::Welcome, SessionError> {
    match inbound.message().await.map_err(lost)?.and_then(|frame| frame.frame) {
        Some(ingest_frame::Frame::Welcome(welcome)) if welcome.epoch > 0 => Ok(welcome),
        Some(ingest_frame::Frame::Goodbye(goodbye)) => Err(SessionError::Ended(goodbye.detail)),
        Some(_) => Err(SessionError::Protocol("something else than a Welcome came first")),
        None => Err(SessionError::Ended("before the Welcome".to_owned())),
    }
}

fn lane(bytes: &[u8]) -> Result<LaneId, SessionError> {
    LaneId::from_bytes(bytes).map_err(|_| SessionError::Protocol("a lane id that is not one"))
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
