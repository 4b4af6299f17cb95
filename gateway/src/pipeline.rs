//! The one wiring file: every task, every channel, every bound, start and stop.
//!
//! ```text
//! driver ─┐ replies            synced records
//! driver ─┼────────▶ recorder ───▶ spool ───▶ uplink ───▶ ingest
//! driver ─┘ ◀──────── (tag)               ◀─── acknowledged
//!            tickets that are synced
//! ```
//!
//! Replies come over two channels: of endpoints that are polled, and of brokers, which
//! deliver again what is not acknowledged; the recorder may leave the latter waiting.
//!
//! The stop goes the way of the readings. Drivers take nothing more; the recorder syncs
//! what is in flight; drivers acknowledge it and end; with the last of them the recorder
//! ends; then the uplink sends what it can and says goodbye.

mod recorder;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use sandan_proto::id::BootId;
use sandan_proto::record::Moment;
use sandan_proto::v1;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::clock::TrustedClock;
use crate::config::{self, Config, Endpoint, Secret};
use crate::driver::{self, Outlet};
use crate::health::{CertificateState, Drain, Health, UplinkState, Waiting};
use crate::identity::{self, Identity, Renewal, WallClock};
use crate::spool::{LaneDepth, Options, Spool, WhenFull};
use crate::tag::Tags;
use crate::uplink::{self, Status, Timekeeper};
use crate::{clock, http};

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
/// A driver that panicked is started again after this pause.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// An orderly stop takes no longer, with all that its parts may wait for; systemd's
/// default patience is 90 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What asks for a stop. A terminal that is closed sends SIGHUP: that must not cost what a
/// power cut costs.
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

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupts.recv() => "SIGINT",
            _ = self.terminations.recv() => "SIGTERM",
            _ = self.hangups.recv() => "SIGHUP",
        }
    }
}

/// Runs the gateway until SIGTERM, SIGINT or SIGHUP. A second signal ends it at once.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
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

    let (polled_in, polled) = mpsc::channel(REPLIES);
    let (delivered_in, delivered) = mpsc::channel(DELIVERIES);
    let polling = CancellationToken::new();
    let mut synced = Vec::new();
    let mut drivers = tokio::task::JoinSet::new();
    for (source, endpoint) in config.endpoints.iter().enumerate() {
        let (sender, receiver) = watch::channel(0);
        synced.push(sender);
        let (replies, known) = match endpoint {
            Endpoint::Modbus(_) => (&polled_in, Vec::new()),
            Endpoint::Mqtt(mqtt) => (&delivered_in, spool.take_delivered(driver::mqtt::session(mqtt))),
        };
        let outlet = Outlet::new(source, replies.clone(), receiver).knowing(known).dated_by(time.offset());
        drivers.spawn(supervise(config.clone(), outlet, health.clone(), polling.clone()));
    }
    drop((polled_in, delivered_in));
    let places = config.endpoints.iter().map(Endpoint::place).collect();
    let recorder = Recorder {
        polled,
        delivered,
        tags: Tags::new(&config, believed.as_ref().map_or(0, |clock| clock.offset_us)),
        book: Book::new(writer, places, synced, health.clone()),
        stopping: polling.clone(),
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
        config_hash: config.hash(),
        time: time.clone(),
    };
    let report = {
        let (health, spool, time) = (health.clone(), spool.clone(), time.clone());
        let drain = Arc::new(Mutex::new(Drain::default()));
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
    let reporter = tokio::spawn(report_often(report, time.clone()));
    let pages = tokio::spawn(http::serve(listener, health.clone(), leaving.clone()));
    println!("{}", serde_json::json!({"ready": true, "http": local.to_string()}));

    let signalled = async {
        let signal = signals.next().await;
        tracing::info!(signal, "a signal came");
    };
    let reason = until_stop(signalled, &mut recorder, &mut uplink).await;
    if let Reason::Recorder(fault) = reason {
        return Err(fault);
    }
    tracing::info!("stopping: no more polls, then the spool is synced and the uplink says goodbye");
    let orderly = async {
        polling.cancel();
        while drivers.join_next().await.is_some() {}
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
        _ = signals.next() => Err(anyhow::anyhow!("a second signal came: ended at once")),
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

/// Keeps one driver running. It returns only when polling ends.
async fn supervise(config: Arc<Config>, outlet: Outlet, health: Health, polling: CancellationToken) {
    while !polling.is_cancelled() {
        let (config, outlet) = (config.clone(), outlet.clone());
        let task = tokio::spawn(drive(config, outlet.clone(), health.clone(), polling.clone()));
        if let Err(error) = task.await {
            tracing::error!(source = outlet.source, %error, "a driver failed and is started again");
            health.unreachable(outlet.source, "the driver failed and is started again; see the log");
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = polling.cancelled() => {}
            }
        }
    }
}

async fn drive(config: Arc<Config>, outlet: Outlet, health: Health, polling: CancellationToken) {
    match &config.endpoints[outlet.source] {
        Endpoint::Modbus(endpoint) => driver::modbus::run(endpoint.clone(), outlet, health, polling).await,
        Endpoint::Mqtt(endpoint) => driver::mqtt::run(endpoint.clone(), outlet, health, polling).await,
    }
}

async fn report_often(report: impl Fn(), time: Timekeeper) {
    let mut tick = tokio::time::interval(REPORT_INTERVAL);
    loop {
        tick.tick().await;
        // Now and then it writes a small file.
        tokio::task::block_in_place(|| time.tick());
        report();
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
        fault: renewal.fault.clone(),
        renewed_total: renewal.renewed_total,
        failed_total: renewal.failed_total,
    }
}

fn report(health: &Health, spool: &Spool, boot: BootId, time: &Timekeeper, drain: &Mutex<Drain>, status: &Status) {
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
    health.set_spool(v1::SpoolHealth {
        unacked_records: depth.records,
        unacked_readings: depth.readings,
        bytes_used: depth.bytes,
        bytes_cap: depth.bytes_cap,
        oldest_unacked_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
        damaged_records_total: depth.damaged_records,
        written_bytes_total: depth.written_bytes,
    });
    let waiting = |lane: LaneDepth| Waiting {
        is_current: lane.is_current,
        records: lane.records,
        readings: lane.readings,
        oldest: lane.oldest.map(age).unwrap_or_default(),
    };
    let lanes: Vec<Waiting> = spool.lane_depths().into_iter().map(waiting).collect();
    let mut drain = drain.lock().unwrap_or_else(PoisonError::into_inner);
    health.set_backlog(drain.look(&lanes, now_us));
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
