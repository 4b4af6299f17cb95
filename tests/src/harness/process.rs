//! A child process, its log, its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_for};

/// Lines of a log that a failed test prints.
const TAIL: usize = 80;

/// Everything that the starts of one program said, kept over its restarts.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn push(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
    /// Lines that say WARN, ERROR or that something panicked, but for those that
    /// hold one of these texts.
    pub fn complaints(&self, allowed: &[&str]) -> Vec<String> {
        let complains = |line: &String| ["WARN", "ERROR", "panicked at"].iter().any(|word| line.contains(word));
        let expected = |line: &String| allowed.iter().any(|text| line.contains(text));
        self.lines().into_iter().filter(|line| complains(line) && !expected(line)).collect()
    }
    /// The last lines, for whoever looks for a fault.
    pub fn tail(&self) -> String {
        tail(self)
    }
    /// Fails on a complaint that was not expected.
    pub fn assert_quiet(&self, label: &str, allowed: &[&str]) {
        let complaints = self.complaints(allowed);
        assert!(complaints.is_empty(), "{label} complained:\n{}", complaints.join("\n"));
    }
}

/// A running child.
pub struct Process {
    label: String,
    child: Child,
    log: Log,
    ready: serde_json::Value,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it and waits for its ready line: the first line on stdout, JSON.
    pub fn start(label: &str, mut command: Command) -> anyhow::Result<Self> {
        let log = Log::default();
        Self::start_into(label, &mut command, &log)
    }

    /// The same, with a log that earlier starts have written to.
    pub(super) fn start_into(label: &str, command: &mut Command, log: &Log) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{label} cannot be started"))?;
        let (first_line, ready) = channel();
        let mut readers = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let log = log.clone();
            readers.push(std::thread::spawn(move || read_lines(stderr, |line| log.push(line))));
        }
        if let Some(stdout) = child.stdout.take() {
            let log = log.clone();
            readers.push(std::thread::spawn(move || {
                read_lines(stdout, |line| {
                    // Nobody listens after the first line.
                    let _ = first_line.send(line.clone());
                    log.push(format!("stdout: {line}"));
                });
            }));
        }
        let mut process =
            Self { label: label.into(), child, log: log.clone(), ready: serde_json::Value::Null, readers };
        process.ready = process.wait_until_ready(&ready)?;
        Ok(process)
    }

    fn wait_until_ready(&mut self, ready: &Receiver<String>) -> anyhow::Result<serde_json::Value> {
        let Ok(line) = ready.recv_timeout(PATIENCE) else {
            // Ended, so that its last words are in the log.
            self.end();
            bail!("{} did not become ready:\n{}", self.label, tail(&self.log));
        };
        serde_json::from_str(&line)
            .with_context(|| format!("{} said `{line}` where its ready line was due", self.label))
    }

    /// Its ready line.
    pub fn ready(&self) -> &serde_json::Value {
        &self.ready
    }
    /// An address of its ready line.
    pub fn address(&self, key: &str) -> anyhow::Result<std::net::SocketAddr> {
        let address = self.ready[key].as_str().with_context(|| format!("the ready line has no `{key}`"))?;
        address.parse().with_context(|| format!("`{address}` is not an address"))
    }
    /// What it said.
    pub fn log(&self) -> &Log {
        &self.log
    }
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id is not one")?;
        kill_process(id, Signal::TERM)?;
        let child = &mut self.child;
        let status = wait_for("the process to end", Duration::from_secs(30), || child.try_wait().ok().flatten())
            .with_context(|| format!("{} did not end on SIGTERM:\n{}", self.label, tail(&self.log)))?;
        self.end();
        Ok(status)
    }

    fn end(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// CPU seconds that a process has used so far, in user and in kernel mode.
pub fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    ticks(id, [14, 15])
}

/// The same of its children that have ended and were waited for.
pub fn cpu_seconds_of_children(id: u32) -> anyhow::Result<f64> {
    ticks(id, [16, 17])
}

/// Two fields of `/proc/…/stat` together, numbered as proc(5) does, in seconds.
fn ticks(id: u32, fields: [usize; 2]) -> anyhow::Result<f64> {
    /// `USER_HZ`, in which the kernel tells them on every machine that this runs on.
    const A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is the name, which may hold anything.
    let behind: Vec<&str> = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace().collect();
    let ticks = fields.map(|number| behind.get(number - 3).and_then(|it| it.parse::<f64>().ok()));
    Ok(ticks.into_iter().sum::<Option<f64>>().context("/proc has no CPU time")? / A_SECOND)
}

fn tail(log: &Log) -> String {
    let lines = log.lines();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

fn read_lines(from: impl Read, mut each: impl FnMut(String)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // By bytes: a child that was killed can stop inside a character.
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        each(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("── {} said:\n{}\n──", self.label, tail(&self.log));
        }
    }
}
