//! What the service manager is told: `sd_notify` of systemd, a datagram of lines to the
//! socket that the environment names. Without one, nobody is told anything.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock;

/// The way to the service manager. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Notifier(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notifier {
    pub(super) fn from_environment() -> Self {
        std::env::var("NOTIFY_SOCKET").ok().map_or_else(Self::default, |socket| Self::at(&socket))
    }

    /// A path, or a name after `@`. A manager that cannot be told stops nothing.
    pub(super) fn at(socket: &str) -> Self {
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

    /// It does its work; `status` is one line for people.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration; [`ready`](Self::ready) follows.
    pub(super) fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_us()));
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for people, while it runs.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// It is alive. Where nobody watches, it does nothing.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1");
    }
}

/// Whether a loop went around since somebody last looked. The watchdog is told that the
/// process is alive by one loop, and only while the one that matters goes around as well:
/// a disk that hangs in the middle of a sync stops it, a disk that fails does not.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<AtomicBool>);

impl Pulse {
    /// The loop went around.
    pub(super) fn beat(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it did since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
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
        notifier.reloading();
        assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        notifier.ready("all is well");
        assert_eq!(told(), "READY=1\nSTATUS=all is well");
        notifier.status("the ingest is connected");
        assert_eq!(told(), "STATUS=the ingest is connected");
        notifier.alive();
        assert_eq!(told(), "WATCHDOG=1");
        notifier.stopping();
        assert_eq!(told(), "STOPPING=1");
        drop(manager);
        notifier.alive();
        Notifier::default().alive();
    }

    #[test]
    fn a_name_after_an_at_is_abstract() {
        let name = format!("sandan-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::at(&format!("@{name}")).stopping();
        let mut bytes = [0; 200];
        let length = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"STOPPING=1");
    }

    #[test]
    fn a_beat_is_seen_once() {
        let pulse = Pulse::default();
        assert!(!pulse.take());
        pulse.clone().beat();
        assert!(pulse.take());
        assert!(!pulse.take());
    }
}
