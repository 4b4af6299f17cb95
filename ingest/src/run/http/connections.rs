//! A bound on connections, and on how long one may take nothing of what it is sent.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections of each address that has any.
type Counts = HashMap<IpAddr, usize>;

/// Lets so many connections in, and so many of one address; further ones are closed at once.
#[derive(Clone)]
pub(super) struct Bounded {
    room: Arc<Semaphore>,
    /// None where all come from one address, as behind a proxy.
    per_address: Option<usize>,
    of: Arc<Mutex<Counts>>,
    stall: Duration,
}

impl Bounded {
    pub(super) fn new(connections: usize, per_address: Option<usize>, stall: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(connections)), per_address, of: Arc::default(), stall }
    }

    fn place(&self, stream: &TcpStream) -> io::Result<Place> {
        let refused = || io::Error::other("too many connections");
        let room = self.room.clone().try_acquire_owned().map_err(|_| refused())?;
        let Some(most) = self.per_address else { return Ok(Place { _room: room, of: None }) };
        let address = stream.peer_addr()?.ip();
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of.entry(address).or_default();
        if *count >= most {
            return Err(refused());
        }
        *count += 1;
        Ok(Place { _room: room, of: Some((self.of.clone(), address)) })
    }
}

/// A connection's place among all and among those of its address.
struct Place {
    _room: OwnedSemaphorePermit,
    of: Option<(Arc<Mutex<Counts>>, IpAddr)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((of, address)) = &self.of else { return };
        let mut of = of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                of.remove(address);
            }
        }
    }
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Held;
    type Service = S;
    type Future = Ready<io::Result<(Held, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = self.place(&stream);
        ready(place.map(|place| (Held { stream, stall: self.stall, stalled: None, _place: place }, service)))
    }
}

/// A connection that counts as long as it is there.
pub(super) struct Held {
    stream: TcpStream,
    stall: Duration,
    /// Runs while the other side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Held {
    /// What a write gave, or its end when the other side took nothing for too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stall)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, written)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watched(cx, written)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
