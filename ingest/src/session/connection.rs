//! Connections from outside, before there is a session on them.
//!
//! It promises that whoever has no token holds a connection for a short time only, and
//! a bounded number of them, and that no connection outlives the service's end. It
//! knows nothing of frames.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Connections at once: 2,000 gateways, and each of them once more while a network that
/// failed still holds its old connection. Further ones wait in the system's queue.
const CONNECTIONS: usize = 4_096;
/// Of these, connections that have shown no token yet: all gateways after an outage get
/// through in some seconds, and file handles stay for those that are in.
const STRANGERS: usize = 256;
/// From the connection over TLS to a session's token: some round trips of a slow mobile
/// link.
const INTRODUCTION: Duration = Duration::from_secs(15);
/// Until the next try when the system gives no connection, as without file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When connections end.
#[derive(Debug, Clone)]
pub struct Ending {
    /// How long one may take to show a token.
    pub introduction: Duration,
    /// Ends those on which no session is; sessions say goodbye by themselves.
    pub stop: CancellationToken,
    /// Ends all.
    pub cut: CancellationToken,
}

impl Default for Ending {
    fn default() -> Self {
        Self { introduction: INTRODUCTION, stop: CancellationToken::new(), cut: CancellationToken::new() }
    }
}

/// The connections of a port. Never ends by itself.
pub fn incoming(listener: TcpListener, ending: Ending) -> impl Stream<Item = io::Result<Connection>> + Send {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    futures::stream::unfold((listener, room, strangers, ending), |state| async move {
        let (listener, room, strangers, ending) = &state;
        let place = Arc::clone(room).acquire_owned().await.ok()?;
        let stranger = Arc::clone(strangers).acquire_owned().await.ok()?;
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        // Acknowledgements are small and must not wait for more to send.
        drop(stream.set_nodelay(true));
        let connection = Connection::new(stream, place, stranger, ending.clone());
        Some((Ok(connection), state))
    })
}

/// Whether a connection has shown a token.
#[derive(Debug, Clone)]
pub struct Standing(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Standing {
    /// It has: it may stay, and makes room for the next stranger.
    pub(super) fn becomes_known(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_stranger(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    standing: Standing,
    /// Resolves when the connection has to end.
    end: BoxFuture<'static, ()>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, stranger: OwnedSemaphorePermit, ending: Ending) -> Self {
        let standing = Standing(Arc::new(Mutex::new(Some(stranger))));
        let end = Box::pin(end(standing.clone(), ending));
        Self { stream, standing, end, ended: false, _place: place }
    }

    /// Fails once the connection has to end; until then wakes its task when it comes to that.
    fn poll_open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.ended {
            self.ended = self.end.as_mut().poll(context).is_ready();
        }
        if self.ended {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the ingest ended the connection"));
        }
        Ok(())
    }
}

async fn end(standing: Standing, Ending { introduction, stop, cut }: Ending) {
    tokio::select! {
        () = cut.cancelled() => return,
        () = stop.cancelled() => {}
        () = sleep(introduction) => {}
    }
    if !standing.is_stranger() {
        cut.cancelled().await;
    }
}

impl Connected for Connection {
    type ConnectInfo = Standing;

    fn connect_info(&self) -> Standing {
        self.standing.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_open(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_open(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
