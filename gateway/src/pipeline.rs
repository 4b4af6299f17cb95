//! The one wiring file: every task, every channel, every bound, start and stop.
//!
//! ```text
//! driver ─┐ replies            synced records
//! driver ─┼────────▶ recorder ───▶ spool ───▶ uplink ───▶ ingest
//! driver ─┘ ◀──────── (tag)               ◀─── acknowledged
//!            tickets that are synced
//! ```
//!
//! `fleet` is the drivers that run, and what a reload makes of them.
//!
//! Replies come over two channels: of endpoints that are polled, and of brokers, which
//! deliver again what is not acknowledged; the recorder may leave the latter waiting.
//!
//! The stop goes the way of the readings. Drivers take nothing more; the recorder syncs
//! what is in flight; drivers acknowledge it and end; with the last of them the recorder
//! ends; then the uplink sends what it can and says goodbye.

mod fleet;
mod notify;
mod recorder;
mod reload;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use sandan_proto::id::BootId;
use sandan_proto::invitation::to_hex;
use sandan_proto::record::Moment;
use sandan_proto::v1;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::clock::TrustedClock;
use crate::config::{self, Config, Secret};
use crate::health::{CertificateState, Drain, Fill, Health, UplinkState, Waiting};
use crate::identity::{self, Identity, Renewal, WallClock};
use crate::spool::{LaneDepth, Options, Spool, WhenFull};
use crate::tag::Tags;
use crate::uplink::{self, Status, Timekeeper};
use crate::{clock, http};

use fleet::{Fleet, Inlets};
use notify::{Notifier, Pulse};
use recorder::{Book, Recorder};

type Task = JoinHandle<()>;

/// Replies between the polling drivers and the recorder: a second of a plant with a
/// thousand requests a second. When the disk is slower than that, polls wait.
const REPLIES: usize = 1024;
/// Messages between brokers and the recorder: more than the windows of ten brokers that
/// nobody tuned, and few enough that large messages do not fill the memory of a small box.
const DELIVERIES: usize = 256;
/// How often spool and uplink are looked at for the local pages.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A reload is one order at a time.
const ORDERS: usize = 1;
/// An orderly stop takes no longer, with all that its parts may wait for; systemd's
/// default patience is 90 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What asks for something from outside.
struct Signals {
    interrupts: Signal,
    terminations: Signal,
    hangups: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupts: signal(SignalKind::interrupt())?,
            terminations: signal(SignalKind::terminate())?,
            hangups: signal(SignalKind::hangup())?,
        })
    }

    /// What asks for a stop, by name, or `None` for what asks for a reload.
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.interrupts.recv() => Some("SIGINT"),
            _ = self.terminations.recv() => Some("SIGTERM"),
            _ = self.hangups.recv() => None,
        }
    }

    async fn stop(&mut self) -> &'static str {
        loop {
            if let Some(name) = self.next().await {
                return name;
            }
        }
    }
}

/// Runs the gateway until SIGTERM or SIGINT. A second one ends it at once. SIGHUP makes it read
/// its configuration again from `path`.
pub(crate) async fn run(config: Config, path: PathBuf) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let identity = Identity::new(&config.state_dir, config.gateway.clone());
    let boot = clock::boot_id().context("cannot learn the boot id of this machine")?;
    let trusted = TrustedClock::load(&config.state_dir);
    let believed = clock::offset::believed(boot, &trusted);
    // Before anything is made on the disk: a second gateway started by mistake ends here.
    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("cannot listen on {} for the local pages", config.http.listen))?;
    let local = listener.local_addr()?;
    let options = Options {
        dir: config.state_dir.join("spool"),
        max_bytes: config.spool.max_bytes,
        when_full: match config.spool.when_full {
            config::WhenFull::DropOldest => WhenFull::DropOldest,
            config::WhenFull::RefuseNewest => WhenFull::RefuseNewest,
        },
    };
    let (writer, spool, recovery) = Spool::open(&options, &config.births(), believed.as_ref(), boot)?;
    let time = Timekeeper::new(spool.clone(), trusted, boot);
    tracing::info!(
        records = recovery.records,
        damaged_records = recovery.damaged_records,
        damaged_segments = recovery.damaged_segments,
        lane = %writer.lane(),
        "spool is open"
    );
    let mut signals = Signals::listen()?;
    let health = Health::new(&config);

    health.config_runs(to_hex(&config.hash()));

    let (polled_in, polled) = mpsc::channel(REPLIES);
    let (delivered_in, delivered) = mpsc::channel(DELIVERIES);
    let (orders_in, orders) = mpsc::channel(ORDERS);
    let polling = CancellationToken::new();
    let notifier = Notifier::from_environment();
    let pulse = Pulse::default();
    let inlets = Inlets { polled: polled_in, delivered: delivered_in, orders: orders_in };
    let source = (path, config.clone());
    let kept = (spool.clone(), time.clone());
    let mut fleet = Fleet::new(source, health.clone(), kept, inlets, notifier.clone(), polling.clone());
    let recorder = Recorder {
        polled,
        delivered,
        orders,
        tags: Tags::new(&config, believed.as_ref().map_or(0, |clock| clock.offset_us)),
        book: Book::new(writer, fleet.start(), health.clone()),
        stopping: polling.clone(),
        pulse: pulse.clone(),
    };
    let mut recorder = tokio::spawn(recorder.run(config.spool.sync_interval));

    let (status_in, status) = watch::channel(Status::default());
    let (renewal_in, renewal) = watch::channel(Renewal::default());
    let trusted = time.trusted().clone();
    let now: WallClock = Arc::new(move || trusted.now_us());
    let leaving = CancellationToken::new();
    let settings = uplink::Settings {
        ingest: ingest(&config),
        proxy: proxy(&config),
        now: now.clone(),
        gateway: config.gateway.clone(),
        boot,
        config_hash: fleet.hash(),
        time: time.clone(),
    };
    let heard = status.clone();
    let report = {
        let (health, spool, time) = (health.clone(), spool.clone(), time.clone());
        let drain = Arc::new(Mutex::new((Drain::default(), Fill::default())));
        move || {
            report(&health, &spool, boot, &time, &drain, &status.borrow());
            health.set_certificate(certificate(&renewal.borrow()));
        }
    };
    let heartbeat = {
        let (health, report) = (health.clone(), report.clone());
        Arc::new(move || {
            report();
            health.snapshot(clock::monotonic_us())
        })
    };
    let dial = {
        let (ingest, proxy) = (ingest(&config), proxy(&config));
        async move |invited: &str, tls| uplink::connect(ingest.as_deref().unwrap_or(invited), proxy.as_ref(), tls).await
    };
    let renewing =
        identity::keep_renewed(identity.clone(), identity::Pace::default(), now, dial, renewal_in, leaving.clone());
    let renewer = tokio::spawn(renewing);
    let mut uplink = tokio::spawn(uplink::run(settings, identity, spool, heartbeat, status_in, leaving.clone()));
    let said = move || in_a_line(&heard.borrow());
    let reporter = tokio::spawn(report_often(report, said, time.clone(), notifier.clone(), pulse));
    let pages = tokio::spawn(http::serve(listener, health.clone(), leaving.clone()));
    println!("{}", serde_json::json!({"ready": true, "http": local.to_string()}));
    notifier.ready("running");

    let signalled = async {
        let signal = loop {
            match signals.next().await {
                Some(signal) => break signal,
                None => fleet.reload().await,
            }
        };
        tracing::info!(signal, "a signal came");
    };
    let reason = until_stop(signalled, &mut recorder, &mut uplink).await;
    if let Reason::Recorder(fault) = reason {
        return Err(fault);
    }
    notifier.stopping();
    tracing::info!("stopping: no more polls, then the spool is synced and the uplink says goodbye");
    let orderly = async {
        polling.cancel();
        fleet.ended().await;
        let flushed = recorder.await;
        leaving.cancel();
        if let Reason::Uplink(fault) = reason {
            return Err(fault);
        }
        let left = uplink.await;
        tokio::task::block_in_place(|| time.save());
        flushed.and(left).context("a task failed during the stop")
    };
    let stopped = tokio::select! {
        stopped = tokio::time::timeout(STOP_TIMEOUT, orderly) => stopped.context("the stop took too long")?,
        _ = signals.stop() => Err(anyhow::anyhow!("a second signal came: ended at once")),
    };
    reporter.abort();
    renewer.abort();
    pages.abort();
    stopped
}

/// Why the gateway stops.
#[derive(Debug)]
enum Reason {
    /// It was asked to.
    Asked,
    /// Nothing is kept any more: it ends at once.
    Recorder(anyhow::Error),
    /// Nothing is sent any more: it ends in order, and is started again.
    Uplink(anyhow::Error),
}

/// Waits for a signal. A task that ends before it would leave a gateway that looks alive.
async fn until_stop(signalled: impl Future<Output = ()>, recorder: &mut Task, uplink: &mut Task) -> Reason {
    let fault = |name: &str, ended: Result<(), JoinError>| match ended {
        Ok(()) => anyhow::anyhow!("the {name} ended by itself"),
        Err(error) => anyhow::Error::new(error).context(format!("the {name} failed")),
    };
    tokio::select! {
        () = signalled => Reason::Asked,
        ended = recorder => Reason::Recorder(fault("recorder", ended)),
        ended = uplink => Reason::Uplink(fault("uplink", ended)),
    }
}

/// Looks at spool, clock and uplink, and tells the service manager: of the uplink when it
/// changes, and that the gateway is alive while the recorder is as well.
async fn report_often(
    report: impl Fn(),
    said: impl Fn() -> String,
    time: Timekeeper,
    notifier: Notifier,
    recorder: Pulse,
) {
    let mut tick = tokio::time::interval(REPORT_INTERVAL);
    let mut told = String::new();
    loop {
        tick.tick().await;
        // Now and then it writes a small file.
        tokio::task::block_in_place(|| time.tick());
        report();
        let now = said();
        if now != told {
            notifier.status(&now);
            told = now;
        }
        if recorder.take() {
            notifier.alive();
        }
    }
}

/// What `systemctl status` shows.
fn in_a_line(uplink: &Status) -> String {
    match &uplink.fault {
        _ if uplink.connected => "running; the ingest is connected".into(),
        None => "running; the ingest is not connected".into(),
        // A line is all that it may be.
        Some(fault) => format!("running; the ingest is not connected: {}", fault.replace('\n', " ")),
    }
}

/// Where the ingest is, when the configuration says it.
fn ingest(config: &Config) -> Option<String> {
    config.uplink.ingest.as_ref().map(ToString::to_string)
}

/// The proxy on the way to it.
pub(crate) fn proxy(config: &Config) -> Option<uplink::Proxy> {
    let proxy = config.uplink.proxy.as_ref()?;
    let login = proxy.login.clone().map(|(user, password)| match password {
        Secret::File(path) => (user, uplink::Password::File(path)),
        Secret::Variable(name) => (user, uplink::Password::Variable(name)),
    });
    Some(uplink::Proxy { address: proxy.address.to_string(), login })
}

fn certificate(renewal: &Renewal) -> CertificateState {
    CertificateState {
        not_after_us: renewal.not_after_us,
        due_us: renewal.due_us,
        fault: renewal.fault.clone(),
        renewed_total: renewal.renewed_total,
        failed_total: renewal.failed_total,
    }
}

fn report(
    health: &Health,
    spool: &Spool,
    boot: BootId,
    time: &Timekeeper,
    drain: &Mutex<(Drain, Fill)>,
    status: &Status,
) {
    let now_us = clock::monotonic_us();
    let age = |oldest: Moment| {
        let age_us = if oldest.boot == boot {
            now_us - oldest.monotonic_us
        } else {
            // Of an older boot only its offset to the wall clock can tell.
            let offset = spool.clock(&oldest.boot.to_vec());
            offset.map_or(0, |offset| time.wall_us() - offset.offset_us - oldest.monotonic_us)
        };
        Duration::from_micros(u64::try_from(age_us).unwrap_or(0))
    };
    let depth = spool.depth();
    let oldest = depth.oldest.map(age).unwrap_or_default();
    let waiting = |lane: LaneDepth| Waiting {
        is_current: lane.is_current,
        records: lane.records,
        readings: lane.readings,
        oldest: lane.oldest.map(age).unwrap_or_default(),
    };
    let lanes: Vec<Waiting> = spool.lane_depths().into_iter().map(waiting).collect();
    let (backlog, speed) = {
        let mut watched = drain.lock().unwrap_or_else(PoisonError::into_inner);
        let (drain, fill) = &mut *watched;
        (drain.look(&lanes, now_us), fill.look(depth.unacked_bytes, depth.written_bytes, now_us))
    };
    health.set_spool(v1::SpoolHealth {
        unacked_records: depth.records,
        unacked_readings: depth.readings,
        bytes_used: depth.bytes,
        bytes_cap: depth.bytes_cap,
        oldest_unacked_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
        damaged_records_total: depth.damaged_records,
        written_bytes_total: depth.written_bytes,
        unacked_bytes: Some(depth.unacked_bytes),
        fill_bytes_per_s: speed.map(|(fill, _)| fill),
        written_bytes_per_s: speed.map(|(_, written)| written),
        drains_in_ms: backlog.drains_in.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
    });
    health.set_backlog(backlog);
    health.set_clock(time.state());
    health.set_uplink(UplinkState {
        connected: status.connected,
        since_us: status.since_us,
        fault: status.fault.clone(),
        waiting: status.waiting,
        asked_to_wait: status.asked_to_wait.clone(),
        notice: status.notice.clone(),
        acked_total: status.stored_total,
        dead_lettered_total: status.dead_lettered_total,
    });
}

#[cfg(test)]
mod tests;
