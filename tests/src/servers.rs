//! Database servers of a test's own: plain PostgreSQL as Debian packages it, and a real
//! TimescaleDB.
//!
//! A server ends with the process that started it, however that ends. A test gets an
//! empty database, and shares no state with another test. What is not installed fails
//! the test: `tests/run.sh` installs it.
//!
//! The unit tests of `sandan-ingest` include this file by its path, so that it uses
//! nothing of either package.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const WATCH: &str = include_str!("servers/watch.sh");
/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);
/// Who owns the databases of these servers.
const USER: &str = "postgres";
/// A native TimescaleDB to use instead of the one in WASM: `host=… user=… dbname=…`.
const TIMESCALE_DSN: &str = "TEST_TIMESCALE_DSN";

/// An empty database on plain PostgreSQL, on one server for the whole process.
pub fn plain() -> Database {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start).database()
}

/// An empty database with the `timescaledb` extension in it. Only one at a time is given out
/// of the server in WASM, so that a test that asks for a second one would wait for ever.
pub fn timescale() -> Database {
    match std::env::var(TIMESCALE_DSN) {
        Ok(server) => {
            let database = Database::create(&server);
            database.sql("CREATE EXTENSION IF NOT EXISTS timescaledb");
            database
        }
        Err(_) => wasm::database(),
    }
}

/// Whether that is a native server, of which speed and concurrency mean something.
pub fn is_native_timescale() -> bool {
    std::env::var_os(TIMESCALE_DSN).is_some()
}

/// A database, and how to reach it.
pub struct Database {
    dsn: String,
    /// Deletes it on a server that outlives the test.
    created: Option<(String, String)>,
    /// The only database of its server.
    _turn: Option<wasm::Turn>,
}

impl Database {
    fn create(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        psql(server, &format!("CREATE DATABASE {name}"));
        Self { dsn: format!("{server} dbname={name}"), created: Some((server.to_owned(), name)), _turn: None }
    }

    /// `host=… port=… user=… dbname=…`, as libpq and tokio-postgres read it.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// Runs SQL, one statement or several; gives what it printed, unaligned, without heads.
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.dsn, sql)
    }

    /// Whether somebody answers there.
    pub fn answers(&self) -> bool {
        run_psql(&self.dsn, "SELECT 1").is_ok()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((server, name)) = self.created.take() {
            // A server that the test stopped, or that ends with the process, needs no tidying.
            let _ = run_psql(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// A plain PostgreSQL server, on a socket in a directory of its own.
pub struct Server {
    directory: PathBuf,
    port: u16,
    listens: bool,
    /// None while it is stopped.
    watcher: Option<Child>,
}

impl Server {
    /// Starts one that only its Unix socket reaches.
    pub fn start() -> Self {
        Self::make(5432, false)
    }

    /// Starts one that listens on a loopback TCP port too.
    pub fn on_port(port: u16) -> Self {
        Self::make(port, true)
    }

    fn make(port: u16, listens: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("sandan-postgres-").tempdir().expect("a directory").keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).expect("a private directory");
        let mut initdb = server_command("initdb");
        initdb.args(["--auth=trust", "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync"]);
        initdb.args(["--username", USER, "--pgdata"]).arg(directory.join("data"));
        if let Some((user, group)) = service_account() {
            chown(&directory, Some(user), Some(group)).expect("a directory of the server's");
        }
        let made = initdb.output().expect("initdb runs");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { directory, port, listens, watcher: None };
        server.resume();
        server
    }

    /// An empty database.
    pub fn database(&self) -> Database {
        Database::create(&self.dsn())
    }

    /// How to reach the server through its socket, without a database's name.
    pub fn dsn(&self) -> String {
        format!("host={} port={} user={USER}", self.directory.display(), self.port)
    }

    /// Ends it as a crash would: sessions are cut off, nothing is flushed.
    pub fn crash(&mut self) {
        let Some(mut watcher) = self.watcher.take() else { return };
        if let Some(mut stdin) = watcher.stdin.take() {
            stdin.write_all(b"keep\n").expect("the server's watcher listens");
        }
        watcher.wait().expect("the server's watcher ends");
    }

    /// Starts it on what it had before the crash.
    pub fn resume(&mut self) {
        assert!(self.watcher.is_none(), "the server runs already");
        // What the last run left says that that one was ready.
        let _ = std::fs::remove_file(self.status_file());
        let mut command = as_service_account(Command::new("sh"));
        command.args(["-c", WATCH, "watch.sh"]).arg(&self.directory);
        command.arg(binary("postgres")).arg("-D").arg(self.directory.join("data"));
        let listen = if self.listens { "listen_addresses=127.0.0.1" } else { "listen_addresses=" };
        let sockets = format!("unix_socket_directories={}", self.directory.display());
        for setting in [listen, &sockets, &format!("port={}", self.port), "max_connections=300"] {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Away from the test's directory, which another user may not enter.
        command.current_dir("/");
        self.watcher = Some(command.spawn().expect("the server's watcher starts"));
        self.await_ready();
    }

    /// Where the server writes its process id and state.
    fn status_file(&self) -> PathBuf {
        self.directory.join("data/postmaster.pid")
    }

    fn await_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = std::fs::read_to_string(self.status_file()).unwrap_or_default();
            // The eighth line is the state, padded with blanks.
            if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL is not ready in time:\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Where everything of it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.watcher.take() {
            Some(mut watcher) => {
                drop(watcher.stdin.take());
                let _ = watcher.wait();
            }
            None => {
                let _ = std::fs::remove_dir_all(&self.directory);
            }
        }
    }
}

/// A program of the newest PostgreSQL that Debian installed here, or one on the path.
pub fn binary(name: &str) -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        installed.map(|entry| entry.path()).filter(|path| version(path).is_some()).max_by_key(|it| version(it));
    match newest.map(|version| version.join("bin").join(name)) {
        Some(path) if path.exists() => path,
        _ => PathBuf::from(name),
    }
}

/// User and group that a server runs as: PostgreSQL refuses to be root.
fn service_account() -> Option<(u32, u32)> {
    let own = std::fs::metadata("/proc/self").expect("this process").uid();
    if own != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the list of users");
    let entry = users.lines().find(|line| line.starts_with("postgres:"));
    let entry = entry.expect("a user `postgres`; hint: tests/run.sh installs PostgreSQL");
    let number = |at: usize| entry.split(':').nth(at).and_then(|it| it.parse().ok()).expect("an id in /etc/passwd");
    Some((number(2), number(3)))
}

fn as_service_account(mut command: Command) -> Command {
    if let Some((user, group)) = service_account() {
        command.uid(user).gid(group);
    }
    command
}

fn server_command(name: &str) -> Command {
    let mut command = as_service_account(Command::new(binary(name)));
    command.current_dir("/");
    command
}

fn psql(dsn: &str, sql: &str) -> String {
    run_psql(dsn, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn run_psql(dsn: &str, sql: &str) -> Result<String, String> {
    // A server's name without a database's means the one that is always there.
    let dsn = if dsn.contains("dbname=") { dsn.to_owned() } else { format!("{dsn} dbname=postgres") };
    let mut command = Command::new(binary("psql"));
    command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", "--command", sql]);
    let ended = command
        .arg(dsn)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("psql cannot be started: {error}; hint: tests/run.sh installs PostgreSQL"))?;
    if ended.status.success() {
        Ok(String::from_utf8_lossy(&ended.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&ended.stderr).into_owned())
    }
}

/// TimescaleDB in WASM: one backend for the process, which the tests use in turn.
mod wasm {
    use super::{
        BufRead, BufReader, Child, Command, Condvar, Database, Mutex, OnceLock, Path, PoisonError, Stdio, psql,
    };

    /// What the last test made: every schema that is neither the server's nor the extension's.
    const DROP_SCHEMAS: &str = "DO $$ DECLARE it text; BEGIN \
        FOR it IN SELECT nspname FROM pg_namespace \
            WHERE nspname !~ '^(pg_|_?timescaledb|information_schema$|public$)' \
        LOOP EXECUTE format('DROP SCHEMA %I CASCADE', it); END LOOP; END $$";

    static BUSY: Mutex<bool> = Mutex::new(false);
    static FREE: Condvar = Condvar::new();

    /// The right to use the server.
    pub(super) struct Turn;

    impl Turn {
        fn take() -> Self {
            let mut busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
            while *busy {
                busy = FREE.wait(busy).unwrap_or_else(PoisonError::into_inner);
            }
            *busy = true;
            Self
        }
    }

    impl Drop for Turn {
        fn drop(&mut self) {
            *BUSY.lock().unwrap_or_else(PoisonError::into_inner) = false;
            FREE.notify_one();
        }
    }

    struct Bridge {
        dsn: String,
        /// Ends when its standard input is closed.
        _process: Child,
    }

    pub(super) fn database() -> Database {
        static BRIDGE: OnceLock<Bridge> = OnceLock::new();
        let turn = Turn::take();
        let bridge = BRIDGE.get_or_init(start);
        // Settings outlive a connection here, so that the schema's search path holds for all.
        psql(&bridge.dsn, DROP_SCHEMAS);
        psql(&bridge.dsn, "CREATE SCHEMA test");
        psql(&bridge.dsn, "SET search_path = test, public");
        Database { dsn: bridge.dsn.clone(), created: None, _turn: Some(turn) }
    }

    fn start() -> Bridge {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/timescale-wasm");
        assert!(
            directory.join("node_modules").is_dir(),
            "TimescaleDB is not installed; hint: run `npm ci --ignore-scripts` in {}",
            directory.display()
        );
        let mut command = Command::new("node");
        command.args(["bridge.mjs", "0"]).current_dir(&directory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("node runs; hint: tests/run.sh installs it");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("a line of the bridge");
        let port = line.trim().strip_prefix("LISTEN ").expect("the bridge's port");
        let dsn = format!("host=127.0.0.1 port={port} user=postgres password=any dbname=postgres");
        psql(&dsn, "CREATE EXTENSION timescaledb");
        Bridge { dsn, _process: process }
    }
}
