//! `admin.sock`, mode 0600: one JSON line with a command, one with the answer, and the
//! next command.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Admin, Answer, Command, Refused};

/// The file's name in the data directory.
pub const NAME: &str = "admin.sock";
/// Longest command: a consent with 1,000 assets and 1,000 metrics of 80 letters.
const MAX_COMMAND_BYTES: u64 = 1 << 20;
/// Longest answer: a page of 1,000 audit entries that each list as much.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// After this a caller that says nothing, or takes nothing, is let go.
const IDLE: Duration = Duration::from_mins(1);

/// Opens the socket. The caller holds the lock on the data directory, so a file that
/// is there is what a killed process left.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // The directory itself is 0700, so nobody else came in between.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers callers until `stop`.
pub async fn serve(listener: UnixListener, admin: Arc<Admin>, stop: CancellationToken) {
    let callers = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                let (admin, stop) = (admin.clone(), stop.clone());
                callers.spawn(async move {
                    if let Err(error) = answer(stream, &admin, &stop).await {
                        tracing::debug!(%error, "a caller of the admin socket went away");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin socket could not take a caller");
                // Out of file handles, most likely: give others time to close some.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    callers.close();
    callers.wait().await;
}

async fn answer(stream: impl AsyncRead + AsyncWrite, admin: &Admin, stop: &CancellationToken) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let mut bounded = (&mut reader).take(MAX_COMMAND_BYTES);
        let read = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            read = tokio::time::timeout(IDLE, bounded.read_line(&mut line)) => read.map_err(io::Error::other)??,
        };
        if read == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str::<Command>(&line) {
            // It takes long: who asked may go meanwhile, and the service may end.
            Ok(command) if command.is_long() => tokio::select! {
                answer = admin.execute(command) => answer,
                () = stop.cancelled() => Err(Refused::new("the service ends; the command was given up", "")),
                () = gone(&mut reader) => return Ok(()),
            },
            Ok(command) => admin.execute(command).await,
            Err(error) => Err(Refused::new(&format!("not a command: {error}"), "use the same version on both sides")),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            written = tokio::time::timeout(IDLE, writer.write_all(&line)) => written.map_err(io::Error::other)??,
        }
    }
}

/// Waits until a caller has gone away. One that already asks for more has not.
async fn gone(reader: &mut (impl AsyncBufReadExt + Unpin)) {
    if reader.fill_buf().await.is_ok_and(|asked| !asked.is_empty()) {
        std::future::pending::<()>().await;
    }
}

/// A connection to a running service.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Fails with `NotFound` or `ConnectionRefused` where no service runs.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(path).await?) })
    }

    /// Has one command carried out.
    pub async fn execute(&mut self, command: &Command) -> Result<Answer, Refused> {
        let broken = |error: io::Error| Refused::new(&format!("the running service did not answer: {error}"), "");
        let mut line = serde_json::to_vec(command).map_err(|error| broken(error.into()))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await.map_err(broken)?;
        let mut line = String::new();
        (&mut self.stream).take(MAX_ANSWER_BYTES).read_line(&mut line).await.map_err(broken)?;
        serde_json::from_str::<Result<Answer, Refused>>(&line).map_err(|error| broken(error.into()))?
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::access::fixture::Complex;
    use crate::admin::WantedBackup;
    use crate::store::SqliteReadings;

    /// A caller that asks, and takes nothing of an answer that is longer than what is on the way.
    async fn deaf(complex: &Complex) -> (DuplexStream, DuplexStream, Admin) {
        let clock = crate::time::system_clock();
        let ca = crate::ca::Authority::open("c", &complex.dir.path().join("ca"), None, None, clock).unwrap();
        let dir = complex.dir.path().join("audit");
        let clock = crate::time::system_clock();
        let notary = crate::notary::Notary::open("c", &dir, dir.clone(), &*complex.control, &clock).await.unwrap();
        let admin = Admin {
            notary: Arc::new(notary),
            inviting: crate::admin::Inviting { ca: Arc::new(ca), address: None },
            access: complex.access.clone(),
            control: complex.control.clone(),
            fleet: complex.fleet.clone(),
            readings: Arc::new(SqliteReadings::open(complex.dir.path(), crate::fixture::options()).unwrap()),
            links: Arc::default(),
            witness: None,
            courier: Arc::new(crate::alert::Courier::new(
                crate::alert::Settings::default(),
                "c".into(),
                crate::time::system_clock(),
            )),
            complex: "c".into(),
            running: None,
        };
        let (mut caller, service) = tokio::io::duplex(32);
        caller.write_all(b"\"firm_list\"\n").await.unwrap();
        (caller, service, admin)
    }

    #[tokio::test]
    async fn a_caller_that_takes_nothing_is_let_go() {
        let complex = Complex::new().await;
        let (_caller, service, admin) = deaf(&complex).await;
        tokio::time::pause();
        let ended = answer(service, &admin, &CancellationToken::new()).await;
        assert_eq!(ended.unwrap_err().to_string(), "deadline has elapsed");
    }

    #[tokio::test]
    async fn a_caller_that_takes_nothing_does_not_hold_the_end_up() {
        let complex = Complex::new().await;
        let (mut caller, service, admin) = deaf(&complex).await;
        let stop = CancellationToken::new();
        let answering = answer(service, &admin, &stop);
        tokio::pin!(answering);
        // The first byte of the answer has come, and more than there is room for is behind it.
        let mut first = [0];
        tokio::select! {
            ended = &mut answering => panic!("{ended:?}"),
            read = caller.read_exact(&mut first) => assert_eq!(read.unwrap(), 1),
        }
        stop.cancel();
        answering.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_ends_when_its_caller_goes() {
        let complex = Complex::new().await;
        let (caller, service, admin) = deaf(&complex).await;
        drop((caller, service));
        // A file that cannot be read while this holds it: the backup does not end before.
        let firm = rusqlite::Connection::open(complex.dir.path().join("firms/1.db")).unwrap();
        firm.execute_batch("CREATE TABLE it (one); BEGIN EXCLUSIVE").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (to, unfinished) = (elsewhere.path().join("b"), elsewhere.path().join(".unfinished-b"));
        let (mut caller, service) = tokio::io::duplex(1 << 10);
        let wanted = WantedBackup { to: to.clone(), with_keys: false, since: None, bytes_per_second: None };
        let command = serde_json::to_string(&Command::Backup(wanted)).unwrap();
        caller.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let answering = tokio::spawn(async move { answer(service, &admin, &CancellationToken::new()).await });
        while !unfinished.join("firms").exists() {
            tokio::task::yield_now().await;
        }
        drop(caller);
        // The admin goes with it, and the store: its end waits for the backup's.
        firm.execute_batch("ROLLBACK").unwrap();
        answering.await.unwrap().unwrap();
        assert!(!unfinished.exists() && !to.exists());
    }
}
