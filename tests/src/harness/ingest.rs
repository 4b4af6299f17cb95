//! An ingest in a directory of its own: started, killed, started again.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::http::Asker;
use super::process::{Log, Process};
use super::{Programs, lasting_address};

/// An ingest and its data directory.
pub struct Ingest {
    programs: Programs,
    config: PathBuf,
    uplink: SocketAddr,
    http: SocketAddr,
    log: Log,
    process: Option<Process>,
}

impl Ingest {
    /// Writes the config of one whose data lies in `dir/data`; it is not started.
    pub fn new(programs: &Programs, dir: &Path) -> anyhow::Result<Self> {
        Self::with(programs, dir, "")
    }

    /// The same with further lines of configuration, such as a `[store]` table.
    pub fn with(programs: &Programs, dir: &Path, further: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (uplink, http) = (lasting_address()?, lasting_address()?);
        let config = dir.join("ingest.toml");
        let data = dir.join("data");
        let text = format!(
            "complex = \"saesol\"\ndata_dir = \"{}\"\n\n[uplink]\nlisten = \"{uplink}\"\n\n[http]\nlisten = \"{http}\"\n\n{further}",
            data.display()
        );
        std::fs::write(&config, text)?;
        Ok(Self { programs: programs.clone(), config, uplink, http, log: Log::default(), process: None })
    }

    /// One that is up.
    pub fn start_new(programs: &Programs, dir: &Path) -> anyhow::Result<Self> {
        let mut ingest = Self::new(programs, dir)?;
        ingest.start()?;
        Ok(ingest)
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let config = self.config.to_string_lossy().into_owned();
        let mut command = self.programs.command(super::AS_CHILD, "sandan-ingest", &["--config", &config, "serve"]);
        let process = Process::start_into("ingest", &mut command, &self.log)?;
        self.process = Some(process);
        Ok(())
    }
    /// kill -9; nothing when it is down.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
    /// kill -9 while somebody else waits for an answer of it.
    pub fn kill_process(&self) {
        if let Some(id) = self.process.as_ref().and_then(|process| Pid::from_raw(i32::try_from(process.id()).ok()?)) {
            // Fails only when it has ended already.
            let _ = kill_process(id, Signal::KILL);
        }
    }
    /// Asks it to end and waits.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.take().context("the ingest is not running")?.terminate()
    }
    /// Whether it was started and ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !process.is_running())
    }
    /// Gives another process that is not started the same certificate authority.
    pub fn share_authority(&self, with: &Self) -> anyhow::Result<()> {
        let (from, to) = (self.authority(), with.authority());
        std::fs::create_dir_all(&to)?;
        for file in std::fs::read_dir(&from)? {
            let file = file?;
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
        for dir in [to.as_path(), to.parent().unwrap_or(&to)] {
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
    fn authority(&self) -> PathBuf {
        self.config.with_file_name("data").join("ca")
    }
    /// Its process id while it is up.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
    /// Where gateways connect.
    pub fn uplink(&self) -> SocketAddr {
        self.uplink
    }
    /// What all its starts said.
    pub fn log(&self) -> &Log {
        &self.log
    }
    /// Where gateways reach it.
    pub fn url(&self) -> String {
        format!("https://{}", self.uplink)
    }
    /// Its configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }
    /// Where members reach it.
    pub fn http(&self) -> SocketAddr {
        self.http
    }
    /// Someone with this token.
    pub fn asker(&self, token: &str) -> Asker {
        Asker::new(self.http, Some(token))
    }

    /// Runs a command of its command line: stdout, or an error with its stderr.
    pub fn command(&self, args: &[&str]) -> anyhow::Result<String> {
        let config = self.config.to_string_lossy();
        let all: Vec<&str> = ["--config", &*config].iter().chain(args).copied().collect();
        let ended = self.programs.run("sandan-ingest", &all)?;
        ended.success().with_context(|| format!("sandan-ingest {}", args.join(" ")))
    }
    /// Adds a firm.
    pub fn add_firm(&self, id: &str, name_ko: &str, name_en: &str) -> anyhow::Result<()> {
        self.command(&["firm", "add", id, "--name-ko", name_ko, "--name-en", name_en]).map(drop)
    }
    /// Adds a gateway: the invitation for its box.
    pub fn add_gateway(&self, gateway: &str) -> anyhow::Result<String> {
        self.command(&["gateway", "invite", gateway])
    }
    /// The same for a box whose way to the ingest goes through a line at this address.
    pub fn add_gateway_through(&self, gateway: &str, line: SocketAddr) -> anyhow::Result<String> {
        Ok(self.add_gateway(gateway)?.replacen(&self.uplink.to_string(), &line.to_string(), 1))
    }
    /// Adds a member of a firm: their token.
    pub fn add_member(&self, firm: &str, name: &str) -> anyhow::Result<String> {
        self.command(&["member", "add", firm, "--name", name])
    }
    /// Grants a consent until tomorrow: its id. `form` holds further arguments,
    /// such as `--form bucketed --floor 10s --function mean`.
    pub fn grant(
        &self,
        grantor: &str,
        grantee: &str,
        asset: &str,
        metric: &str,
        form: &[&str],
    ) -> anyhow::Result<String> {
        let tomorrow = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
        let mut args = vec!["consent", "grant", "--grantor", grantor, "--grantee", grantee, "--asset", asset];
        args.extend(["--metric", metric, "--until", &tomorrow]);
        args.extend(form);
        self.command(&args)
    }
    /// Revokes it.
    pub fn revoke(&self, consent: &str) -> anyhow::Result<()> {
        self.command(&["consent", "revoke", consent]).map(drop)
    }
}
