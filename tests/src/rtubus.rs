//! A simulated RS485 bus with Modbus RTU units, behind a pseudo-terminal or a TCP port as
//! of a serial converter, with the faults of real buses.
//!
//! Every word that it answers is the number of the request that it answers, so that a
//! value which was taken for another one shows; the log says what was asked when.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use sandan_gateway::clock;

/// A request as it came off the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Counts all requests from 1.
    pub number: u16,
    /// Unit id.
    pub unit: u8,
    /// Function code.
    pub function: u8,
    /// First register or bit.
    pub address: u16,
    /// How many.
    pub count: u16,
    /// When it was whole, monotonic microseconds of the gateway's clock.
    pub at_us: i64,
}

/// What the bus does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The answer.
    Answer,
    /// The answer, so much later.
    Late(Duration),
    /// Nothing.
    Silence,
    /// An exception.
    Exception(u8),
    /// The answer with these bits of it flipped.
    Noise([u16; 3]),
    /// Some bytes, and then the answer.
    NoiseBefore,
    /// The answer, twice.
    Twice,
    /// The answer under the name of another unit.
    WrongUnit,
    /// The first half of the answer.
    Short,
}

/// A bus that runs until it is dropped.
#[derive(Debug)]
pub struct Bus {
    address: String,
    log: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Acts = Box<dyn Fn(Asked) -> Act + Send>;
/// The word at an address, for a request.
type Words = Box<dyn Fn(Asked, u16) -> u16 + Send>;

/// How long the loop waits before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

impl Bus {
    /// A bus behind a pseudo-terminal, which stands under `link` as an adapter does under
    /// `/dev/serial/by-id`. An answer begins `turnaround` after the bytes of both frames
    /// would have passed at `baud`.
    pub fn serial(
        link: &Path,
        baud: u32,
        turnaround: Duration,
        acts: impl Fn(Asked) -> Act + Send + 'static,
    ) -> anyhow::Result<Self> {
        Self::with_words(link, baud, turnaround, acts, |asked, _| asked.number)
    }

    /// The same with words of its own.
    pub fn with_words(
        link: &Path,
        baud: u32,
        turnaround: Duration,
        acts: impl Fn(Asked) -> Act + Send + 'static,
        words: impl Fn(Asked, u16) -> u16 + Send + 'static,
    ) -> anyhow::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.into_string()?;
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(&name, link).with_context(|| format!("{} cannot be made", link.display()))?;
        let per_byte = Duration::from_secs_f64(10.0 / f64::from(baud));
        let wire = Wire::new(per_byte, turnaround, Box::new(acts), Box::new(words));
        Ok(Self::start(format!("serial:{}", link.display()), wire, move || master.try_clone().ok()))
    }

    /// The same behind a TCP port of a converter that takes one connection at a time.
    pub fn tcp(turnaround: Duration, acts: impl Fn(Asked) -> Act + Send + 'static) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = format!("rtu-tcp://{}", listener.local_addr()?);
        let wire = Wire::new(Duration::ZERO, turnaround, Box::new(acts), Box::new(|asked, _| asked.number));
        Ok(Self::start(address, wire, move || listener.accept().ok().map(|(stream, _)| OwnedFd::from(stream))))
    }

    fn start(address: String, mut wire: Wire, open: impl Fn() -> Option<OwnedFd> + Send + 'static) -> Self {
        let (log, stop) = (wire.log.clone(), Arc::new(AtomicBool::new(false)));
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                match open() {
                    Some(line) => wire.serve(&line, &stopping),
                    None => std::thread::sleep(LOOK),
                }
            }
        });
        Self { address, log, stop, thread: Some(thread) }
    }

    /// As it stands in a configuration: `serial:…` or `rtu-tcp://…`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Wire {
    per_byte: Duration,
    turnaround: Duration,
    acts: Acts,
    words: Words,
    log: Arc<Mutex<Vec<Asked>>>,
    pending: Vec<(Instant, Vec<u8>)>,
    heard: Vec<u8>,
}

impl Wire {
    fn new(per_byte: Duration, turnaround: Duration, acts: Acts, words: Words) -> Self {
        let (log, pending, heard) = (Arc::new(Mutex::new(Vec::new())), Vec::new(), Vec::new());
        Self { per_byte, turnaround, acts, words, log, pending, heard }
    }

    /// Until the line is closed from the other side.
    fn serve(&mut self, line: &OwnedFd, stop: &AtomicBool) {
        let mut chunk = [0; 256];
        while !stop.load(Ordering::Relaxed) {
            self.pending.sort_by_key(|(due, _)| *due);
            while self.pending.first().is_some_and(|(due, _)| *due <= Instant::now()) {
                let (_, frame) = self.pending.remove(0);
                let _ = rustix::io::write(line, &frame);
            }
            let wait =
                self.pending.first().map_or(LOOK, |(due, _)| due.saturating_duration_since(Instant::now()).min(LOOK));
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
            let mut fds = [PollFd::from_borrowed_fd(line.as_fd(), PollFlags::IN)];
            if !poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0) {
                continue;
            }
            match rustix::io::read(line, &mut chunk) {
                Ok(0) => return,
                Ok(bytes) => self.heard.extend_from_slice(&chunk[..bytes]),
                // The other side of a pseudo-terminal is closed, and may be opened again.
                Err(error) if error == rustix::io::Errno::IO => std::thread::sleep(LOOK),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
            self.take_requests();
        }
    }

    fn take_requests(&mut self) {
        while self.heard.len() >= 8 {
            let frame: [u8; 8] = std::array::from_fn(|index| self.heard[index]);
            if crc(&frame[..6]).to_le_bytes() != frame[6..] {
                self.heard.remove(0);
                continue;
            }
            self.heard.drain(..8);
            let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let number = u16::try_from(log.len() + 1).unwrap_or(u16::MAX);
            let (unit, function, at_us) = (frame[0], frame[1], clock::monotonic_us());
            let asked = Asked { number, unit, function, address: word(2), count: word(4), at_us };
            log.push(asked);
            drop(log);
            self.answer(asked);
        }
    }

    fn answer(&mut self, asked: Asked) {
        let act = (self.acts)(asked);
        let Asked { unit, function, address, count, .. } = asked;
        let values: Vec<u8> = if function <= 2 {
            vec![0xAA; usize::from(count.div_ceil(8))]
        } else {
            (0..count).flat_map(|index| (self.words)(asked, address.wrapping_add(index)).to_be_bytes()).collect()
        };
        let mut data = vec![unit, function, u8::try_from(values.len()).unwrap_or(u8::MAX)];
        data.extend(values);
        if let Act::Exception(code) = act {
            data = vec![unit, function | 0x80, code];
        }
        if act == Act::WrongUnit {
            data[0] = unit.wrapping_add(1);
        }
        let mut frame = data.clone();
        frame.extend(crc(&data).to_le_bytes());
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let mut due = Instant::now() + self.turnaround + self.per_byte * (8 + bytes);
        match act {
            Act::Silence => return,
            Act::Late(late) => due += late,
            Act::Noise(bits) => {
                for bit in bits.map(|bit| usize::from(bit) % (frame.len() * 8)) {
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
            }
            Act::NoiseBefore => frame.splice(0..0, [0, 0xFF, unit]).for_each(drop),
            Act::Twice => frame.extend_from_within(..),
            Act::Short => frame.truncate(frame.len() / 2),
            Act::Answer | Act::Exception(_) | Act::WrongUnit => {}
        }
        self.pending.push((due, frame));
    }
}

/// CRC-16/MODBUS by the book's table-free loop, written apart from the gateway's.
fn crc(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0xFFFF, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |crc, _| (crc >> 1) ^ (0xA001 * (crc & 1))))
}
