//! A connection that remembers how the answer to the present request begins, so that a
//! device which talks something else is not taken for a silent one. It changes nothing.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Transaction and protocol, the first fields of a Modbus TCP header.
const HEAD_BYTES: usize = 4;

/// What came since [`Ear::listen`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    pub(super) bytes: usize,
    head: [u8; HEAD_BYTES],
}

impl Heard {
    /// Whether it cannot be the begin of a Modbus TCP frame: the protocol is always zero.
    pub(super) fn is_no_modbus(self) -> bool {
        self.head[2..] != [0, 0]
    }

    fn note(&mut self, bytes: &[u8]) {
        for (place, byte) in self.head.iter_mut().skip(self.bytes).zip(bytes) {
            *place = *byte;
        }
        self.bytes += bytes.len();
    }
}

/// Tells what its connection has heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Ear(Arc<Mutex<Heard>>);

impl Ear {
    /// Forgets what came before the present request.
    pub(super) fn listen(&self) {
        *self.lock() = Heard::default();
    }

    pub(super) fn heard(&self) -> Heard {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct Overheard {
    stream: TcpStream,
    ear: Ear,
}

impl Overheard {
    pub(super) fn new(stream: TcpStream, ear: Ear) -> Self {
        Self { stream, ear }
    }
}

impl AsyncRead for Overheard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.ear.lock().note(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
