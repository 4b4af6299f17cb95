//! The one wiring file: opens the store and the ports, spawns every task, and ends
//! them in order. Everything else is handed what it needs.

mod check;
mod data_dir;
mod door;
mod forecast;
mod http;
mod notify;
mod restore;
mod room;
mod uplink;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::check::{FileReport, Report, check};
use self::data_dir::Stores;
pub use self::door::Door;
pub use self::forecast::{Forecast, Growth, Outlook};
pub use self::http::serve_plain;
use self::notify::Notifier;
pub use self::restore::{RestoreReport, restore, verify_backup};
use crate::access::{Access, PseudonymError, Pseudonyms};
use crate::admin::{Admin, Inviting, Refused, Running, socket};
use crate::alert::{self, Courier, Keeper};
use crate::api::{self, Api, Limiter, Rates};
use crate::auth::{Auth, Passwords, Sessions};
use crate::ca::{Authority, CaError};
use crate::config::{Config, Engine, Quota, Requests};
use crate::console::{self, Console};
use crate::disk::{self, Room};
use crate::enrollment::{self, Certificates, Refusals};
use crate::fleet::Board;
use crate::metrics::{FleetCollector, Metrics, StoreCollector};
use crate::notary::{Notary, NotaryError};
use crate::session::{self, HELLO_DEADLINE};
use crate::store::control::ControlError;
use crate::store::postgres::{DatabaseError, Duty, Lease};
use crate::store::{BackupError, StoreError};
use crate::time::system_clock;
use crate::witness::WitnessError;

/// From the signal until everything has ended. A longer one would be cut off by the
/// service managers' usual 90 s, a shorter one would cut off a commit on a slow disk.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);
/// How often it is looked whether records are stored: the store is not asked more often.
const STORING_EVERY: Duration = Duration::from_secs(1);
/// Beyond it, for the audit log to hold the end of every read.
const LOG_DEADLINE: Duration = Duration::from_secs(5);
/// Beyond that, for the witness: its disk may hang, as one over a network does.
const WITNESS_DEADLINE: Duration = Duration::from_secs(2);
/// Sessions may say goodbye and open pulls go on for this long after the signal.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a start waits for a database that is away: a server that recovers from a crash
/// takes some tens of seconds.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at it.
const START_PAUSE: Duration = Duration::from_millis(500);

/// The certificate authority's files, in the data directory.
const CA_DIR: &str = "ca";
/// Where the key that signs the audit log is.
const AUDIT_DIR: &str = "audit";
/// The secret of pseudonyms, in the data directory.
const PSEUDONYMS_DIR: &str = "pseudonyms";

/// Why the service did not run, or a command did not reach the store.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "the data directory {} is in use by a process that does not answer\n  hint: is another `serve` starting or ending?",
        .0.display()
    )]
    InUse(PathBuf),
    /// A service has it.
    #[error(
        "a service already runs on the data directory {}\n  hint: end it first, or name another `data_dir`",
        .0.display()
    )]
    Running(PathBuf),
    /// A restore ended in its middle.
    #[error(
        "the data directory {} holds a part of a backup\n  hint: remove what is in it, and restore again",
        .0.display()
    )]
    HalfRestored(PathBuf),
    /// A restore needs an empty directory.
    #[error(
        "the data directory {} is not empty\n  hint: move what is in it away first; a restore replaces nothing",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// A port is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Certificate and key do not do.
    #[error("the certificate or key for {what} cannot be used: {reason}")]
    Tls {
        /// `http` or `uplink`.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// There is no certificate authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A part of the service ended by itself.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// Signals cannot be awaited.
    #[error("signals cannot be awaited")]
    Signal(#[source] std::io::Error),
    /// The work did not end in time.
    #[error("not everything ended within {} s", SHUTDOWN_DEADLINE.as_secs())]
    Deadline,
    /// A backup cannot be restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Whether the store is the newest state is not known.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// Nothing can be signed.
    #[error(transparent)]
    Notary(#[from] NotaryError),
    /// What is shared under a pseudonym has none.
    #[error(transparent)]
    Pseudonyms(#[from] PseudonymError),
    /// The database is not to be had.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The store has to be made safe to go on from, and others go on with it.
    #[error(
        "the store is an older state: {0}; and other processes serve it\n  hint: end all of them first; where this \
         is a further process of the same store, copy the witness of one of them to its place"
    )]
    Shared(String),
    /// A backup of files cannot be put into a database.
    #[error(
        "`restore` is for the SQLite engine\n  hint: restore the database with pg_restore, then start the service: its \
         witness finds that it is an older state"
    )]
    NotOurBackup,
    /// What was begun could not be ended.
    #[error("a firm that is to be erased could not be: {0}")]
    Erasure(#[from] Refused),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control data failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// The parts that both `serve` and a single command have.
struct Parts {
    stores: Stores,
    fleet: Arc<Board>,
    access: Arc<Access>,
    metrics: Arc<Metrics>,
    ca: Arc<Authority>,
    notary: Arc<Notary>,
    courier: Arc<Courier>,
}

impl Parts {
    async fn open(config: &Config, stores: Stores) -> Result<Self, RunError> {
        let clock = system_clock();
        let metrics = stores.metrics.clone();
        let (dir, uplink) = (config.data_dir.join(CA_DIR), &config.uplink);
        let ca = Authority::open(&config.complex, &dir, uplink.ca.as_ref(), uplink.tls.as_ref(), clock.clone())?;
        let gateways = stores.control.gateways().await?;
        let in_force = gateways.into_iter().filter(|it| it.revoked_us.is_none()).map(|it| it.id);
        let fleet = Arc::new(Board::new(clock.clone(), config.fleet.clone(), in_force));
        let dir = config.data_dir.join(AUDIT_DIR);
        let heads = config.witness.as_deref().map_or_else(|| dir.clone(), heads_beside);
        let notary = Arc::new(Notary::open(&config.complex, &dir, heads, &*stores.control, &clock).await?);
        let doors = (stores.control.clone(), stores.source.clone());
        let names = Pseudonyms::open(&config.data_dir.join(PSEUDONYMS_DIR))?;
        let access = Access::new(doors, notary.clone(), names, fleet.clone(), clock, metrics.clone()).await?;
        let courier = courier(config, config.http.listen.address);
        Ok(Self { stores, fleet, access, metrics, ca: Arc::new(ca), notary, courier })
    }

    /// `address` is where gateways call.
    fn admin(&self, links: Arc<session::Sessions>, running: Option<Running>, address: Option<(String, u16)>) -> Admin {
        Admin {
            courier: self.courier.clone(),
            inviting: Inviting { ca: self.ca.clone(), address },
            access: self.access.clone(),
            control: self.stores.control.clone(),
            fleet: self.fleet.clone(),
            readings: self.stores.readings.clone(),
            links,
            witness: self.stores.witness.clone(),
            notary: self.notary.clone(),
            complex: self.stores.complex.clone(),
            running,
        }
    }

    /// Who tells people of what is wrong. Of several processes on one database one does it at a time.
    fn keeper(&self, stop: &CancellationToken) -> Keeper {
        let lease = self.stores.database.clone().map(|it| Lease::ask(it, Duty::Alerts, stop.clone()));
        Keeper {
            courier: self.courier.clone(),
            board: self.fleet.clone(),
            control: self.stores.control.clone(),
            metrics: self.metrics.clone(),
            // Also while the database is away, which is an alert itself.
            has_turn: Box::new(move || lease.as_ref().is_none_or(Lease::is_held_or_orphaned)),
            now: system_clock(),
        }
    }

    /// Brings the witness up to the end of what was done.
    async fn bear_witness(&self) {
        if let Some(witness) = &self.stores.witness {
            // What failed was logged; the file stays behind until the next start.
            if timeout(WITNESS_DEADLINE, witness.write()).await.is_err() {
                tracing::error!("the witness could not be written within {} s", WITNESS_DEADLINE.as_secs());
            }
        }
    }

    /// What the store holds of each gateway, for the console.
    async fn recall(&self) -> Result<(), RunError> {
        for gateway in self.stores.control.gateways().await? {
            // Of its lanes and not of its series, for which readings would be decoded.
            let lanes = self.stores.readings.lanes(&gateway.id).await?;
            if let Some(newest_us) = lanes.iter().filter_map(|lane| lane.newest_us).max() {
                self.fleet.recall(&gateway.id, newest_us);
            }
        }
        for (gateway, _) in self.stores.readings.fenced().await? {
            self.fleet.fenced(&gateway);
        }
        Ok(())
    }
}

/// Where a service that is ready listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// gRPC.
    pub uplink: SocketAddr,
    /// API and console.
    pub http: SocketAddr,
}

/// Serves until SIGTERM, SIGINT or SIGHUP; says on standard output when it is ready. A
/// second signal ends the process at once.
pub async fn serve(config: &Config) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(RunError::Signal)?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            // The terminal was closed.
            _ = hangup.recv() => "SIGHUP",
        }
    };
    let (told, ending) = oneshot::channel();
    tokio::spawn(async move {
        // Nobody waits for it any more where the service ended by itself.
        let _ = told.send(next().await);
        let signal = next().await;
        // What was acknowledged is synced, and what was not is sent again: there is nothing
        // that an end in the middle could break.
        tracing::warn!(signal, "a second signal: ending at once");
        std::process::exit(1);
    });
    let ending = async { ending.await.unwrap_or("the end of its signals") };
    // Addresses hold nothing that JSON would have to escape.
    let ready = |Ready { uplink, http }| {
        println!("{{\"ready\":true,\"uplink\":\"{uplink}\",\"http\":\"{http}\"}}");
    };
    raise_file_limit();
    serve_until(config, ending, ready).await
}

/// Each gateway holds a file handle, and systems start a service with 1,024 that may be
/// raised: the low default is for programs that still use `select`.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Serves until `ending` says why to end.
async fn serve_until(
    config: &Config,
    ending: impl Future<Output = &'static str>,
    ready: impl FnOnce(Ready),
) -> Result<(), RunError> {
    // Whoever brought another provider in was first, and has its reasons.
    let _ = rustls::crypto::ring::default_provider().install_default();

    tokio::pin!(ending);
    let stores = tokio::select! {
        stores = open_patiently(config) => stores?,
        // Nothing was served.
        _ = &mut ending => return Ok(()),
    };
    if let Some(notice) = &stores.notice {
        tracing::warn!("{notice}");
    }
    let mut parts = Parts::open(config, stores).await?;
    parts.recall().await?;
    let mut registry = Registry::default();
    parts.metrics.register(&mut registry);
    registry.register_collector(Box::new(StoreCollector(parts.stores.readings.clone())));
    registry.register_collector(Box::new(FleetCollector(parts.fleet.clone())));

    let uplink = listen(config.uplink.address).await?;
    let http = listen(config.http.listen.address).await?;
    let (uplink_at, http_at) = (local(&uplink, config.uplink.address)?, local(&http, config.http.listen.address)?);
    let socket_path = config.data_dir.join(socket::NAME);
    let socket =
        socket::bind(&socket_path).map_err(|source| RunError::DataDir { path: socket_path.clone(), source })?;

    let auth = Auth::new(parts.stores.control.clone());
    let sessions = Sessions::new(parts.stores.control.clone());
    let Requests { token_per_minute, firm_per_minute } = config.api;
    let limiter = Limiter::new(Rates { token_per_minute, firm_per_minute });
    let api = Api { access: parts.access.clone(), auth: auth.clone(), limiter, slots: Arc::default(), registry };
    let console = Console {
        access: parts.access.clone(),
        auth: auth.clone(),
        sessions: sessions.clone(),
        passwords: Passwords::default(),
        complex: config.complex.clone(),
        secure: config.http.is_secure(),
    };
    let pages = api::router(Arc::new(api)).merge(console::router(Arc::new(console)));
    let pages = api::limited(pages, parts.metrics.clone());
    let console_url = config.http.console_url(http_at);
    let links = Arc::<session::Sessions>::default();
    let called = config.uplink.public_at(uplink_at);
    // The port is known by now.
    parts.courier = courier(config, http_at);
    let admin = Arc::new(parts.admin(links.clone(), Some(Running { sessions, console_url }), called));

    admin.finish_erasures().await?;

    let stop = CancellationToken::new();
    let connections = session::Ending { stop: stop.clone(), ..Default::default() };
    let room = Arc::new(match (&config.engine, config.reserve) {
        (Engine::Sqlite, reserve) => {
            let dir = config.data_dir.clone();
            Room::new(reserve, Arc::new(move || disk::space(&dir)))
        }
        // Its disk is the server's business, which cannot be asked how much is left.
        (Engine::Postgres(_), _) => Room::default(),
    });
    room::look(&room, &parts.metrics);
    let settings = session::Settings {
        room: room.clone(),
        retention_us: config.retention_us(),
        quotas: Arc::new(quotas(config)),
        now: system_clock(),
        heartbeat: Duration::from_micros(config.fleet.heartbeat_us.unsigned_abs()),
        hello_deadline: HELLO_DEADLINE,
        shutdown: stop.clone(),
    };
    let refusals = Arc::new(Refusals::new(parts.stores.control.clone(), system_clock()));
    let certificates = Arc::new(Certificates::new(parts.stores.control.clone(), refusals.clone(), system_clock()));
    let reports = Arc::new(uplink::Reports(parts.fleet.clone()));
    let guard = Arc::<session::Guard>::default();
    let enrolments = enrollment::service(enrollment::Parts {
        control: parts.stores.control.clone(),
        ca: parts.ca.clone(),
        readings: parts.stores.readings.clone(),
        sessions: links.clone(),
        fleet: parts.fleet.clone(),
        refusals: refusals.clone(),
        now: system_clock(),
    });
    let readings = parts.stores.readings.clone();
    let routes = session::service(readings, certificates.clone(), reports, links.clone(), guard.clone(), settings);
    let tls = Arc::new(uplink::UplinkTls::new(config, uplink_at, parts.ca.clone(), system_clock())?);
    let gate = uplink::gate(&tls, refusals);
    let mut uplink = uplink::start(uplink, gate, routes.add_service(enrolments), connections);
    let telling = parts.keeper(&stop).run(stop.clone());
    let kept = [
        tokio::spawn(telling),
        tokio::spawn(guard.run(certificates, links)),
        tokio::spawn(tls.keep_fresh()),
        tokio::spawn(room::keep(room, parts.metrics.clone(), stop.clone())),
        tokio::spawn(storing(parts.access.clone(), parts.fleet.clone(), stop.clone())),
    ];
    let pages = http::start(http, &config.http, pages)?;
    let admin = tokio::spawn(socket::serve(socket, admin, stop.clone()));
    let signing = parts.notary.clone().keep(parts.stores.control.clone(), system_clock(), stop.clone());
    let signing = tokio::spawn(signing);
    let counting = tokio::spawn(parts.access.clone().keep_counts(stop.clone()));
    let witness = parts.stores.witness.clone();
    let keeping = stop.clone();
    let witness = tokio::spawn(async move {
        if let Some(witness) = witness {
            witness.keep(keeping).await;
        }
    });

    let notifier = Notifier::from_environment();
    let alive = tokio::spawn(notifier.clone().keep(parts.stores.readings.clone(), stop.clone()));
    ready(Ready { uplink: uplink_at, http: http_at });
    notifier.ready(Ready { uplink: uplink_at, http: http_at });
    tracing::info!(uplink = %uplink_at, http = %http_at, complex = config.complex, "serving");

    let mut pages = pages;
    let ended = tokio::select! {
        why = &mut ending => Ok(why),
        _ = &mut uplink.task => Err(RunError::Ended("the uplink")),
        _ = &mut pages.task => Err(RunError::Ended("the HTTP side")),
    };
    tracing::info!(reason = ended.as_ref().map_or("failure", |signal| *signal), "ending");

    notifier.stopping();
    let drained = async {
        stop.cancel();
        parts.access.end_streams();
        // Sessions say goodbye while open pulls go on; what is in flight is synced first.
        crash_point!("serve.stopping");
        tokio::join!(uplink.end(DRAIN), pages.end(DRAIN));
        crash_point!("serve.drained");
        let _ = tokio::join!(admin, witness, signing, counting);
        kept.iter().for_each(tokio::task::JoinHandle::abort);
        alive.abort();
    };
    let in_time = timeout(SHUTDOWN_DEADLINE, drained).await;
    // Whatever else did not end: what was read is in the owners' logs.
    let in_time = in_time.and(timeout(LOG_DEADLINE, parts.access.finish()).await);
    parts.bear_witness().await;
    // The lock goes with `parts`; a socket without a service behind it would mislead.
    let _ = std::fs::remove_file(&socket_path);
    ended?;
    in_time.map_err(|_| RunError::Deadline)
}

/// Tells the fleet whether records are stored, until `stop`.
async fn storing(access: Arc<Access>, fleet: Arc<Board>, stop: CancellationToken) {
    loop {
        fleet.storing(access.health().await.answers && !access.is_disk_short());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(STORING_EVERY) => {}
        }
    }
}

/// Opens the stores, and waits for a database that is still starting, as after a power cut.
async fn open_patiently(config: &Config) -> Result<Stores, RunError> {
    let taken = || {
        let dir = config.data_dir.clone();
        if check::in_use(&dir) { RunError::Running(dir) } else { RunError::InUse(dir) }
    };
    let deadline = Instant::now() + START_PATIENCE;
    let mut was_told = false;
    loop {
        match data_dir::open(config).await {
            Err(RunError::Database(error)) if error.is_away() && Instant::now() < deadline => {
                if !std::mem::replace(&mut was_told, true) {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    tracing::warn!(error, "waiting for the database");
                }
                tokio::time::sleep(START_PAUSE).await;
            }
            opened => return opened?.ok_or_else(taken),
        }
    }
}

/// The ways to people, with links to the console where it can be called.
fn courier(config: &Config, http_at: SocketAddr) -> Arc<Courier> {
    let settings = alert::Settings { console_url: config.http.console_url(http_at), ..config.alerts.clone() };
    Arc::new(Courier::new(settings, config.complex.clone(), system_clock()))
}

/// Signed ends of the log stand beside the witness, on its disk.
fn heads_beside(witness: &Path) -> PathBuf {
    let mut dir = witness.as_os_str().to_owned();
    dir.push(".heads");
    dir.into()
}

fn quotas(config: &Config) -> session::Quotas {
    let rate = |quota: &Quota| session::Rate { readings: quota.readings_per_s as f64, bytes: quota.bytes_per_s as f64 };
    let firms = config.firm_quotas.iter().map(|(firm, quota)| (firm.clone(), rate(quota))).collect();
    session::Quotas::new(rate(&config.quota), firms)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, RunError> {
    listener.local_addr().map_err(|source| RunError::Listen { address, source })
}

#[cfg(test)]
mod tests;
