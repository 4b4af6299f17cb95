//! A TCP proxy between a gateway and an ingest that does to packets what a bad network
//! does: delay, loss, a narrow line, a cut, a connection that is half open, answers that
//! never arrive. It forwards bytes and knows nothing of what they say.
//!
//! TCP hides a lost packet behind a pause, so loss is what TCP makes of it: a piece that
//! comes a retransmission later, with all that is behind it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::chance::Chance;

/// A first retransmission, as Linux times it on a short line.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Bytes that are taken at once.
const PIECE: usize = 16 << 10;
/// Pieces on their way through a long line.
const ON_THE_WAY: usize = 256;

/// The two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the gateway to the ingest.
    Up,
    /// From the ingest to the gateway: acknowledgements.
    Down,
}

/// What the line does now. All zero: it is a good one.
#[derive(Debug, Default)]
struct Line {
    /// One way, ms.
    delay_ms: AtomicU64,
    /// Pieces in a hundred that come a retransmission later.
    loss_percent: AtomicU64,
    /// Bytes a second, each way; 0 is no bound.
    bytes_per_second: AtomicU64,
    /// What is read is thrown away.
    swallows_up: AtomicBool,
    swallows_down: AtomicBool,
    /// New connections are closed at once.
    is_down: AtomicBool,
    /// Bytes that came through.
    passed: AtomicU64,
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
    cuts: watch::Sender<u64>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Proxy {
    /// Listens on a free port of loopback for connections to `target`.
    pub fn start(target: SocketAddr, seed: u64) -> std::io::Result<Self> {
        Self::balance(vec![target], seed)
    }
    /// The same in front of several: each connection goes to the next one that answers, as a
    /// balancer does.
    pub fn balance(targets: Vec<SocketAddr>, seed: u64) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let line = Arc::<Line>::default();
        let cuts = watch::Sender::new(0);
        let chance = Arc::new(Mutex::new(Chance::new(seed)));
        let (shared, cut) = (line.clone(), cuts.clone());
        runtime.spawn(async move {
            let mut targets = targets;
            while let Ok((near, _)) = listener.accept().await {
                if shared.is_down.load(Ordering::Relaxed) {
                    reset(&near);
                    continue;
                }
                tokio::spawn(connection(near, targets.clone(), shared.clone(), chance.clone(), cut.subscribe()));
                targets.rotate_left(1);
            }
        });
        Ok(Self { address, line, cuts, runtime: Some(runtime) })
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Resets all connections; new ones get through.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
    /// Resets all connections, and new ones too until it is up again.
    pub fn set_down(&self, down: bool) {
        self.line.is_down.store(down, Ordering::Relaxed);
        if down {
            self.cut();
        }
    }
    /// Throws away what goes in a direction, without closing anything.
    pub fn swallow(&self, direction: Direction, on: bool) {
        match direction {
            Direction::Up => self.line.swallows_up.store(on, Ordering::Relaxed),
            Direction::Down => self.line.swallows_down.store(on, Ordering::Relaxed),
        }
    }
    /// Delays each piece, ms, and so many in a hundred by a retransmission more.
    pub fn worsen(&self, delay_ms: u64, loss_percent: u64) {
        self.line.delay_ms.store(delay_ms, Ordering::Relaxed);
        self.line.loss_percent.store(loss_percent, Ordering::Relaxed);
    }
    /// Bytes a second each way; 0 is no bound.
    pub fn narrow(&self, bytes_per_second: u64) {
        self.line.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }
    /// A good line again. A connection that has lost bytes is reset: it cannot go on.
    pub fn heal(&self) {
        let lost = self.line.swallows_up.swap(false, Ordering::Relaxed)
            | self.line.swallows_down.swap(false, Ordering::Relaxed);
        self.worsen(0, 0);
        self.narrow(0);
        self.line.is_down.store(false, Ordering::Relaxed);
        if lost {
            self.cut();
        }
    }
    /// Bytes that came through, both ways.
    pub fn passed(&self) -> u64 {
        self.line.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Closes with a reset, as a line does that is gone.
fn reset(socket: &TcpStream) {
    // Without it the connection is closed in order, which is a cut too.
    let _ = socket.set_zero_linger();
}

async fn connection(
    near: TcpStream,
    targets: Vec<SocketAddr>,
    line: Arc<Line>,
    chance: Arc<Mutex<Chance>>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    // Nobody behind it: the connection goes.
    let Ok(far) = TcpStream::connect(targets.as_slice()).await else {
        reset(&near);
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    reset(&near);
    reset(&far);
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        _ = cuts.changed() => {}
        () = forward(near_in, far_out, Direction::Up, &line, &chance) => {}
        () = forward(far_in, near_out, Direction::Down, &line, &chance) => {}
    }
}

type Piece = (Instant, Vec<u8>);

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    direction: Direction,
    line: &Line,
    chance: &Mutex<Chance>,
) {
    let (sender, mut pieces) = mpsc::channel::<Piece>(ON_THE_WAY);
    let take = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(read) = from.read(&mut buffer).await {
            if read == 0 {
                return;
            }
            let swallowed = match direction {
                Direction::Up => &line.swallows_up,
                Direction::Down => &line.swallows_down,
            };
            if swallowed.load(Ordering::Relaxed) {
                continue;
            }
            let due = Instant::now() + line.lateness(chance);
            if sender.send((due, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let give = async {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            let rate = line.bytes_per_second.load(Ordering::Relaxed);
            if rate > 0 {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
            line.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    };
    tokio::select! {
        () = take => {}
        () = give => {}
    }
}

impl Line {
    fn lateness(&self, chance: &Mutex<Chance>) -> Duration {
        let delay = self.delay_ms.load(Ordering::Relaxed);
        let loss = self.loss_percent.load(Ordering::Relaxed);
        if delay == 0 && loss == 0 {
            return Duration::ZERO;
        }
        let mut chance = chance.lock().unwrap_or_else(PoisonError::into_inner);
        // A fifth more or less.
        let jittered = Duration::from_micros(delay * 800 + chance.below(delay * 400 + 1));
        if chance.percent(loss) { jittered + RETRANSMISSION } else { jittered }
    }
}

#[cfg(test)]
mod tests;
