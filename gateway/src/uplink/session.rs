//! One session: Hello, Welcome, then records out and acknowledgements in.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sandan_proto::id::LaneId;
use sandan_proto::limits::{MAX_LANES, MAX_MESSAGE_BYTES};
use sandan_proto::v1::{self, gateway_frame::Frame, ingest_frame, uplink_client::UplinkClient};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::cursor::Cursor;
use super::traffic::{BACKLOG_AGE_US, Now, Traffic};
use super::{HealthReport, SessionError, Settings, Status};
use crate::clock;
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
/// How often it is looked at how long the ingest has been silent.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A lane that was asked for and is not there yet is not asked for again before: at most
/// eight are open, and a link that is too slow for good gains nothing from a ninth.
const LANE_SPACING: Duration = Duration::from_mins(1);
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
    /// When live data was last moved to a new lane.
    lane_wanted: Option<Instant>,
    /// When the acknowledged positions were last written down.
    noted: Instant,
    /// Reasons of dead letters that were said already: a log must not grow by what the
    /// plant sends.
    said: HashSet<v1::DeadLetterReason>,
}

/// Both directions of a session that was welcomed.
struct Line {
    inbound: Inbound,
    outbound: mpsc::Sender<v1::GatewayFrame>,
    heartbeat: Duration,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        spool: &'a Spool,
        health: &'a HealthReport,
        status: &'a watch::Sender<Status>,
    ) -> Self {
        let base = status.borrow().clone();
        Self { settings, spool, health, status, base, lane_wanted: None, noted: Instant::now(), said: HashSet::new() }
    }

    pub(super) async fn run(mut self, channel: Channel, stop: &CancellationToken) -> Result<(), SessionError> {
        let (outbound, frames) = mpsc::channel(OUTBOUND_FRAMES);
        let mut lanes = self.spool.lanes();
        if lanes.len() > MAX_LANES {
            // The oldest, and the current one.
            lanes.drain(MAX_LANES - 1..lanes.len() - 1);
        }
        let hello = self.hello(lanes.clone());
        let asked_us = self.settings.time.monotonic_us();
        // The channel is new and empty: this does not wait.
        let _ = outbound.send(v1::GatewayFrame { frame: Some(Frame::Hello(hello)) }).await;
        let request = Request::new(ReceiverStream::new(frames));
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
        let heartbeat = match welcome.heartbeat_ms {
            0 => HEARTBEAT,
            ms => Duration::from_millis(ms.into()).clamp(HEARTBEAT_MIN, HEARTBEAT * 6),
        };
        let line = Line { inbound, outbound, heartbeat };
        crash_point!("uplink.epoch-received-before-saved");
        // The offset of this boot goes before its first record.
        self.settings.time.heard(asked_us, welcome.server_time_us);
        if self.is_restored(&welcome)? {
            self.end(v1::goodbye::Reason::Reload, line, None).await;
            return Ok(());
        }
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
        tracing::info!(epoch = welcome.epoch, "uplink is up");
        self.keep_live();
        let cursor = Cursor::new(self.spool.clone(), &lanes, &welcome.watermarks);
        let credits = welcome.credits.unwrap_or_default();
        let traffic = Traffic::new(self.settings.boot, cursor, credits, Instant::now());
        self.exchange(traffic, line, stop).await
    }

    /// Notes epoch and timeline, synced before the first frame under them: an epoch that a
    /// power cut made us forget would fence this gateway. True when the store was restored from
    /// an older state and the spool holds what it may have lost: that takes a new session.
    fn is_restored(&self, welcome: &v1::Welcome) -> Result<bool, SessionError> {
        let known = self.spool.state().timeline_bytes();
        // An ingest that names none does not make the one that is known forgotten.
        let timeline = if welcome.store_timeline.is_empty() { &known } else { &welcome.store_timeline };
        if known.is_empty() || known == *timeline {
            tokio::task::block_in_place(|| self.spool.save_session(welcome.epoch, timeline))?;
            return Ok(false);
        }
        let again = tokio::task::block_in_place(|| self.spool.rewind(timeline, welcome.epoch))?;
        let depth = self.spool.depth();
        let notice = if again {
            format!(
                "the ingest's store was restored from an older state: {} readings that are still kept are sent again",
                depth.readings
            )
        } else {
            "the ingest's store was restored from an older state, and nothing is kept to send again".to_owned()
        };
        tracing::warn!("{notice}");
        self.status.send_modify(|status| status.notice = Some(notice));
        Ok(again)
    }

    /// Moves live data to a new lane when it would wait behind an outage: the older records
    /// then drain beside it.
    fn keep_live(&mut self) {
        let spaced = self.lane_wanted.is_none_or(|wanted| wanted.elapsed() >= LANE_SPACING);
        let now_us = clock::monotonic_us();
        let current = self.spool.lane_depths().into_iter().find(|lane| lane.is_current);
        let oldest = current.and_then(|lane| lane.oldest);
        // A process writes its own boot only, into a lane of its own.
        if spaced && oldest.is_some_and(|oldest| now_us - oldest.monotonic_us > BACKLOG_AGE_US) {
            self.lane_wanted = Some(Instant::now());
            self.spool.request_lane();
        }
    }

    fn hello(&self, lanes: Vec<v1::LaneState>) -> v1::Hello {
        let state = self.spool.state();
        v1::Hello {
            gateway: self.settings.gateway.to_string(),
            boot_id: self.settings.boot.to_vec(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: sandan_proto::PROTOCOL_VERSION,
            config_hash: self.settings.config_hash.borrow().to_vec(),
            lanes,
            last_epoch: state.epoch,
            store_timeline: state.timeline_bytes(),
            wall_time_us: clock::wall_us(),
        }
    }

    async fn exchange(
        &mut self,
        mut traffic: Traffic<Spool>,
        mut line: Line,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let mut changes = self.spool.changes();
        let mut beat = tokio::time::interval(line.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The newest report that is not sent; an older one is worth nothing.
        let mut report = None;
        let mut leave_by: Option<Instant> = None;
        loop {
            let now = Now { instant: Instant::now(), monotonic_us: clock::monotonic_us() };
            changes.mark_unchanged();
            // A spool on a slow card must not hold up the polls that share this thread.
            tokio::task::block_in_place(|| traffic.fill(now))?;
            if leave_by.is_some_and(|by| now.instant >= by || traffic.is_drained()) {
                self.end(v1::goodbye::Reason::Shutdown, line, Some(&mut traffic)).await;
                tokio::task::block_in_place(|| self.spool.save_state())?;
                return Ok(());
            }
            if traffic.is_drained() && self.has_other_lanes(&traffic) {
                // More lanes than one Hello may name: the next session takes the rest.
                self.end(v1::goodbye::Reason::Reload, line, Some(&mut traffic)).await;
                return Ok(());
            }
            if traffic.waiting(now.instant) > ACK_TIMEOUT {
                return Err(SessionError::Silent(ACK_TIMEOUT));
            }
            let wake = traffic.again_at(now.instant).into_iter().chain(leave_by).min();
            tokio::select! {
                frame = line.inbound.message() => match frame.map_err(lost)? {
                    Some(frame) => self.take(frame, &mut traffic)?,
                    None => return Err(SessionError::Ended("the connection was closed".to_owned())),
                },
                permit = line.outbound.reserve(), if report.is_some() || traffic.has_frames() => match permit {
                    Ok(permit) => {
                        let frame = report.take().map(Frame::Health).or_else(|| traffic.next_frame());
                        permit.send(v1::GatewayFrame { frame });
                        crash_point!("uplink.frame-sent");
                    }
                    Err(_) => return Err(SessionError::Ended("the connection was closed".to_owned())),
                },
                _ = beat.tick() => {
                    report = Some((self.health)());
                    self.note_positions();
                    self.keep_live();
                }
                _ = look.tick() => self.look(&traffic),
                _ = changes.changed() => {}
                () = until(wake) => {}
                () = stop.cancelled(), if leave_by.is_none() => {
                    leave_by = Some(Instant::now() + DRAIN_TIMEOUT);
                    traffic.leave();
                }
            }
        }
    }

    /// Shows for how long the ingest has acknowledged nothing of what it was sent.
    fn look(&self, traffic: &Traffic<Spool>) {
        let waiting = traffic.waiting(Instant::now());
        self.status.send_if_modified(|status| std::mem::replace(&mut status.waiting, waiting) != waiting);
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
    async fn end(&mut self, reason: v1::goodbye::Reason, line: Line, mut traffic: Option<&mut Traffic<Spool>>) {
        let Line { mut inbound, outbound, .. } = line;
        let goodbye = v1::Goodbye { reason: reason.into(), detail: String::new() };
        // The last report says what is left in the spool: mostly nothing.
        let last = [Frame::Health((self.health)()), Frame::Goodbye(goodbye)];
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
            for frame in last {
                let _ = outbound.send(v1::GatewayFrame { frame: Some(frame) }).await;
            }
            drop(outbound);
            while let Ok(Some(frame)) = inbound.message().await {
                if let Some(traffic) = &mut traffic {
                    let _ = self.take(frame, traffic);
                }
            }
        })
        .await;
    }

    /// Whether the spool holds records of lanes that this session did not name.
    fn has_other_lanes(&self, traffic: &Traffic<Spool>) -> bool {
        self.spool.lanes().iter().any(|state| state.read_only && !traffic.has_lane(&state.lane))
    }

    fn take(&mut self, frame: v1::IngestFrame, traffic: &mut Traffic<Spool>) -> Result<(), SessionError> {
        use ingest_frame::Frame as In;
        match frame.frame {
            Some(In::Ack(ack)) => {
                crash_point!("uplink.ack-received-before-applied");
                for watermark in &ack.watermarks {
                    let lane = self.acked(watermark)?;
                    traffic.acked(lane, watermark.durable_through, Instant::now());
                }
                if let Some(credits) = ack.credits {
                    traffic.set_credits(credits);
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
                let is_empty = self.status.borrow().notice.is_some() && self.spool.depth().records == 0;
                self.status.send_modify(|status| {
                    status.acks_total += 1;
                    status.waiting = Duration::ZERO;
                    status.asked_to_wait = None;
                    if is_empty {
                        status.notice = None;
                    }
                    status.stored_total = self.base.stored_total + ack.stored;
                    status.duplicate_total = self.base.duplicate_total + ack.duplicate;
                    status.dead_lettered_total = self.base.dead_lettered_total + ack.dead_lettered;
                });
            }
            Some(In::NeedBirths(need)) => traffic.need_births(&need.hash),
            Some(In::NeedClock(need)) => traffic.need_clock(&need.boot_id),
            Some(In::Expected(expected)) => traffic.expected(lane(&expected.lane)?, expected.sequence)?,
            Some(In::RetryLater(retry)) => {
                traffic.retry_later(&retry, Instant::now())?;
                if self.status.borrow().asked_to_wait.as_ref() != Some(&retry.reason) {
                    tracing::warn!(reason = retry.reason, "the ingest asks to send later");
                    self.status.send_modify(|status| status.asked_to_wait = Some(retry.reason));
                }
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
        tokio::task::block_in_place(|| {
            self.spool.acked(lane, watermark.durable_through);
            if watermark.durable_through > 0 {
                self.settings.time.stored(lane);
            }
        });
        Ok(lane)
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
