//! What the service manager is told: `sd_notify` of systemd, a datagram of lines to the
//! socket that the environment names. Without one, nobody is told anything.
//!
//! The watchdog hears that the service is alive from the loops that matter: the writer of the
//! store goes around, and the runtime that serves sessions and pages lets this task run.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Ready;
use crate::store::{Readings, StoreError};

/// Between two signs of life: a twelfth of the patience in the unit that is shipped, so that a
/// disk which is slow for once costs none.
const EVERY: Duration = Duration::from_secs(10);

/// The way to the service manager. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Notifier(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notifier {
    pub(super) fn from_environment() -> Self {
        std::env::var("NOTIFY_SOCKET").ok().map_or_else(Self::default, |socket| Self::at(&socket))
    }

    /// A path, or a name after `@`. A manager that cannot be told stops nothing.
    fn at(socket: &str) -> Self {
        let address = match socket.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(socket),
        };
        let open = || -> std::io::Result<_> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok(Arc::new((socket, address?)))
        };
        Self(open().inspect_err(|error| tracing::warn!(socket, %error, "the service manager cannot be told")).ok())
    }

    fn send(&self, lines: &str) {
        if let Some(way) = &self.0
            && let Err(error) = way.0.send_to_addr(lines.as_bytes(), &way.1)
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }

    /// It takes sessions and answers pulls.
    pub(super) fn ready(&self, Ready { uplink, http }: Ready) {
        self.send(&format!("READY=1\nSTATUS=serving; gateways at {uplink}, pages at {http}"));
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=ending");
    }

    /// Says that the service is alive, as long as the store's writer is, until `stop`.
    pub(super) async fn keep(self, readings: Arc<dyn Readings>, stop: CancellationToken) {
        if self.0.is_none() {
            return;
        }
        loop {
            let turn = tokio::select! {
                () = stop.cancelled() => return,
                turn = readings.turn() => turn,
            };
            if self.is_over(turn) {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Nothing is stored any more without a writer: the manager starts the service again.
    fn is_over(&self, turn: Result<(), StoreError>) -> bool {
        if let Err(error) = turn {
            tracing::error!(%error, "the store's writer has ended: the watchdog is told nothing more");
            return true;
        }
        self.send("WATCHDOG=1");
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_is_told_in_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::at(path.to_str().unwrap());
        let told = || {
            let mut bytes = [0; 200];
            let length = manager.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        notifier.ready(Ready { uplink: at(7443), http: at(7080) });
        assert_eq!(told(), "READY=1\nSTATUS=serving; gateways at 127.0.0.1:7443, pages at 127.0.0.1:7080");
        assert!(!notifier.is_over(Ok(())));
        assert_eq!(told(), "WATCHDOG=1");
        assert!(notifier.is_over(Err(StoreError::Closed)));
        notifier.stopping();
        assert_eq!(told(), "STOPPING=1\nSTATUS=ending", "a writer that has ended was no sign of life");
        drop(manager);
        notifier.stopping();
        Notifier::default().stopping();
    }

    #[test]
    fn a_name_after_an_at_is_abstract() {
        let name = format!("sandan-ingest-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::at(&format!("@{name}")).stopping();
        let mut bytes = [0; 200];
        let length = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"STOPPING=1\nSTATUS=ending");
    }
}
