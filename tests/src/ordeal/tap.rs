//! A tap on the line between a gateway and its broker: it passes everything on, and counts
//! what the gateway sends by its kind.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Control packets by the number of their kind.
const KINDS: [&str; 16] = [
    "reserved",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
];

#[derive(Default)]
struct Shared {
    sent: Mutex<BTreeMap<&'static str, u64>>,
    open: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// A tap that runs until it is dropped.
pub(super) struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tap {
    pub(super) fn start(broker: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let tap = Self { address, shared: shared.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                if let Err(error) = client.and_then(|client| join(&shared, client, broker)) {
                    tracing::debug!(%error, "a connection to the broker ended");
                }
            }
        });
        Ok(tap)
    }
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
    /// Cuts every connection.
    pub(super) fn cut(&self) {
        for stream in locked(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    /// Packets that clients sent, by name.
    pub(super) fn sent(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.shared.sent).clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn join(shared: &Arc<Shared>, client: TcpStream, broker: SocketAddr) -> std::io::Result<()> {
    let broker = TcpStream::connect(broker)?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    locked(&shared.open).extend([client.try_clone()?, broker.try_clone()?]);
    let (back_from, back_to) = (broker.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || pass(back_from, back_to, |_| {}));
    let shared = shared.clone();
    std::thread::spawn(move || {
        let mut packets = Packets::default();
        pass(client, broker, |bytes| {
            for kind in packets.take(bytes) {
                *locked(&shared.sent).entry(KINDS[usize::from(kind)]).or_default() += 1;
            }
        });
    });
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut each: impl FnMut(&[u8])) {
    let mut chunk = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        each(&chunk[..read]);
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Cuts a stream into packets: a byte whose upper half is the kind, the length of the rest in
/// up to four bytes of seven bits, the rest.
#[derive(Default)]
struct Packets(Vec<u8>);

impl Packets {
    /// The kinds of the packets that are whole with these bytes.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(bytes);
        let mut kinds = Vec::new();
        while let Some(&first) = self.0.first() {
            let digits = self.0[1..].iter().take(4).position(|byte| byte & 0x80 == 0).map(|last| last + 1);
            let Some(digits) = digits else { break };
            let length = self.0[1..=digits].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
            let end = 1 + digits + length;
            if self.0.len() < end {
                break;
            }
            self.0.drain(..end);
            kinds.push(first >> 4);
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart_however_they_are_cut() {
        let mut long = vec![0x32, 0xc8, 0x01];
        long.extend([7; 200]);
        let stream = [&[0xc0, 0][..], &long, &[0x40, 2, 0, 9], &[0xe0, 0]].concat();
        for cut in 1..stream.len() {
            let mut packets = Packets::default();
            let kinds: Vec<u8> = stream.chunks(cut).flat_map(|bytes| packets.take(bytes)).collect();
            assert_eq!(
                kinds.iter().map(|kind| KINDS[usize::from(*kind)]).collect::<Vec<_>>(),
                ["PINGREQ", "PUBLISH", "PUBACK", "DISCONNECT"]
            );
        }
    }
}
