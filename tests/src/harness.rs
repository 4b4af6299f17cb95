//! The harness: starts the real programs as processes, kills them, asks them.
//!
//! One executable is all of them (`demo --as sandan-ingest …`), so that neither a
//! test nor the demo depends on what else was built. A child dies with its handle,
//! and with its parent: it holds a pipe whose closing ends it. When a test fails,
//! what its children said is printed.
//!
//! The harness knows the programs from outside only: command line, config files,
//! ready lines, HTTP.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

pub mod account;
mod gateway;
pub mod http;
mod ingest;
pub mod process;

pub use gateway::{Gateway, GatewayPlan, Use};
pub use ingest::Ingest;
use process::Process;

/// How long anything may take that takes a moment on a healthy machine. Far above
/// the worst seen on two busy cores: it only bounds how long a failure hangs.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks at a state that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until `probe` finds something.
pub fn wait_for<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", patience.as_secs());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A free port that stays the program's own while it is down between two starts.
///
/// Not port 0: the kernel also takes the client side of connections from that
/// range, and a client that knocks at a port where nobody listens can be given
/// that very port and connect to itself.
pub fn lasting_port() -> anyhow::Result<u16> {
    /// Below the range of the kernel's own choice (32768 and up), above common services.
    const RANGE: std::ops::Range<u16> = 20_000..32_000;
    /// So many that were given last are not given again: their program may be down, and
    /// whoever took its port would be taken for it.
    const REMEMBERED: usize = 6_000;
    static GIVEN: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..100 {
        let mut bytes = [0; 2];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let port = RANGE.start + u16::from_le_bytes(bytes) % (RANGE.end - RANGE.start);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.push_back(port);
            if given.len() > REMEMBERED {
                given.pop_front();
            }
            return Ok(port);
        }
    }
    bail!("no free port among a hundred tries")
}

/// A loopback address with a port of [`lasting_port`].
pub fn lasting_address() -> anyhow::Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, lasting_port()?).into())
}

/// Where the programs are: one executable that is each of them, and the environment that
/// its next start gets. Clones share the environment.
#[derive(Debug, Clone)]
pub struct Programs {
    executable: PathBuf,
    environment: Arc<Mutex<BTreeMap<String, String>>>,
}

/// First argument of a program that runs to its end.
const AS: &str = "--as";
/// First argument of a program that ends with its parent.
const AS_CHILD: &str = "--as-child";

impl Programs {
    /// In this executable.
    pub fn at(executable: impl Into<PathBuf>) -> Self {
        Self { executable: executable.into(), environment: Arc::default() }
    }
    /// The same programs with an environment that nobody else sets.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::at(&self.executable)
    }
    /// Sets a variable of the next starts, or takes it away.
    pub fn set_env(&self, name: &str, value: Option<&str>) {
        let mut environment = self.environment.lock().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(value) => environment.insert(name.to_owned(), value.to_owned()),
            None => environment.remove(name),
        };
    }
    /// In the executable that is running.
    pub fn own() -> anyhow::Result<Self> {
        Ok(Self::at(std::env::current_exe().context("this program's own path is not known")?))
    }
    /// Runs a program to its end: exit code, stdout, stderr.
    pub fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<Ended> {
        let output = self.command(AS, program, args).stdin(Stdio::null()).output()?;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
    /// Starts a program that serves, and waits for its ready line.
    pub fn serve(&self, label: &str, program: &str, args: &[&str]) -> anyhow::Result<Process> {
        Process::start(label, self.command(AS_CHILD, program, args))
    }
    fn command(&self, how: &str, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.envs(self.environment.lock().unwrap_or_else(PoisonError::into_inner).iter());
        // A group of its own: Ctrl-C in the terminal is for the parent, who ends its children in order.
        command.args([how, program]).args(args).process_group(0);
        command
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// None when a signal ended it.
    pub code: Option<i32>,
    /// What it gave.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Ended {
    /// Its stdout without the last line end, or an error with its stderr.
    pub fn success(self) -> anyhow::Result<String> {
        match self.code {
            Some(0) => Ok(self.stdout.trim_end().to_owned()),
            code => bail!("it ended with {code:?}: {}", self.stderr.trim_end()),
        }
    }
}

/// Becomes the program that the first argument names, when it names one.
pub fn become_program(args: impl IntoIterator<Item = std::ffi::OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1).peekable();
    let how = args.next()?;
    if how == AS_CHILD {
        std::thread::spawn(|| {
            // Nothing is ever written: the pipe ends when the parent does.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(1);
        });
    } else if how != AS {
        return None;
    }
    let program = args.peek()?.to_string_lossy().into_owned();
    if std::env::var_os("FAILPOINTS").is_some() {
        // For the life of the process.
        std::mem::forget(fail::FailScenario::setup());
    }
    Some(match program.as_str() {
        "sandan-gateway" => sandan_gateway::cli::main(args),
        "sandan-ingest" => sandan_ingest::cli::main(args),
        "plcsim" => crate::plcsim::cli::main(args),
        other => {
            eprintln!("error: there is no program called {other}");
            ExitCode::from(2)
        }
    })
}

/// Writes a secret that only its owner may read.
pub fn write_secret(path: &Path, secret: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    Ok(())
}
