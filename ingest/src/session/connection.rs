//! Connections from outside, before there is a session on them.
//!
//! It promises that whoever has no session holds a connection for a short time only, and
//! a bounded number of them, and that no connection outlives the service's end. TLS
//! handshakes go on beside each other, within these bounds. It knows nothing of frames.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::ca::Leaf;

/// Connections at once: 2,000 gateways, and each of them once more while a network that
/// failed still holds its old connection. Further ones wait in the system's queue.
const CONNECTIONS: usize = 4_096;
/// Of these, connections on which no session is yet: all gateways after an outage get
/// through in some seconds, and file handles stay for those that are in.
const STRANGERS: usize = 256;
/// From the connection over TLS to a session: some round trips of a slow mobile
/// link.
const INTRODUCTION: Duration = Duration::from_secs(15);
/// Until the next try when the system gives no connection, as without file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When connections end.
#[derive(Debug, Clone)]
pub struct Ending {
    /// How long one may take to come to a session, with the TLS handshake in it.
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

/// Told from where a handshake came that failed over a certificate, and how.
type Refused = dyn Fn(IpAddr, &rustls::Error) + Send + Sync;

/// What a connection has to go through first.
#[derive(Clone)]
pub struct Gate {
    /// TLS as it is now: certificates are renewed while the port is open.
    pub tls: Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>,
    /// Told of each handshake that failed over a certificate.
    pub refused: Arc<Refused>,
}

/// The connections of a port, after their handshake. Never ends by itself.
pub fn incoming(
    listener: TcpListener,
    gate: Gate,
    ending: Ending,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let greeting = JoinSet::<Option<Connection>>::new();
    futures::stream::unfold((listener, room, strangers, gate, ending, greeting), |mut state| async move {
        loop {
            let (listener, room, strangers, gate, ending, greeting) = &mut state;
            tokio::select! {
                Some(greeted) = greeting.join_next(), if !greeting.is_empty() => {
                    if let Ok(Some(connection)) = greeted {
                        return Some((Ok(connection), state));
                    }
                }
                (stream, from, place, stranger) = accept(listener, room, strangers) => {
                    greeting.spawn(greet(stream, from, gate.clone(), place, stranger, ending.clone()));
                }
            }
        }
    })
}

/// Takes the next connection once there is room for it. May be dropped at any point.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    strangers: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, OwnedSemaphorePermit, OwnedSemaphorePermit) {
    loop {
        // They are never closed.
        let (Ok(place), Ok(stranger)) =
            (Arc::clone(room).acquire_owned().await, Arc::clone(strangers).acquire_owned().await)
        else {
            std::future::pending().await
        };
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from.ip(), place, stranger),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The TLS handshake, of which an introduction's time is the bound.
async fn greet(
    stream: TcpStream,
    from: IpAddr,
    gate: Gate,
    place: OwnedSemaphorePermit,
    stranger: OwnedSemaphorePermit,
    ending: Ending,
) -> Option<Connection> {
    // Acknowledgements are small and must not wait for more to send.
    drop(stream.set_nodelay(true));
    let handshake = timeout(ending.introduction, TlsAcceptor::from((gate.tls)()).accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = ending.stop.cancelled() => return None,
        () = ending.cut.cancelled() => return None,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates();
            let leaf = chain.and_then(|chain| chain.first()).and_then(Leaf::of);
            Some(Connection::new(stream, leaf, place, stranger, ending))
        }
        Ok(Err(error)) => {
            if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                use rustls::Error::{AlertReceived, InvalidCertificate};
                if matches!(error, AlertReceived(_) | InvalidCertificate(_)) {
                    (gate.refused)(from, error);
                }
            }
            tracing::debug!(%from, %error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// Whose a connection is, and whether there is a session on it.
#[derive(Debug, Clone)]
pub struct Standing {
    stranger: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    leaf: Option<Leaf>,
}

impl Standing {
    /// One on which nothing is waited for, as tests have it.
    #[cfg(test)]
    pub(crate) fn of(leaf: Option<Leaf>) -> Self {
        Self { stranger: Arc::default(), leaf }
    }

    /// The certificate that was shown; its chain is good, its end may have passed.
    pub fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref()
    }

    /// There is a session: it may stay, and makes room for the next stranger.
    pub(super) fn becomes_known(&self) {
        *self.stranger.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_stranger(&self) -> bool {
        self.stranger.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// One connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    standing: Standing,
    /// Resolves when the connection has to end.
    end: BoxFuture<'static, ()>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: TlsStream<TcpStream>,
        leaf: Option<Leaf>,
        place: OwnedSemaphorePermit,
        stranger: OwnedSemaphorePermit,
        ending: Ending,
    ) -> Self {
        let standing = Standing { stranger: Arc::new(Mutex::new(Some(stranger))), leaf };
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
