use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tokio_rustls::TlsConnector;

use super::*;
use crate::ca::fixture::{self, Device};

type Client = tokio_rustls::client::TlsStream<TcpStream>;

/// Where connections are taken, and somebody who connects.
fn port(
    dir: &tempfile::TempDir,
    ending: Ending,
) -> (Pin<Box<impl Stream<Item = io::Result<Connection>>>>, impl AsyncFn() -> Client) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (ca, gate) = fixture::gate(dir.path());
    let tls = TlsConnector::from(Arc::new(Device::new(&ca.trusted()).tls()));
    let connect = async move || {
        let stream = TcpStream::connect(address).await.unwrap();
        tls.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap()
    };
    (Box::pin(incoming(TcpListener::from_std(listener).unwrap(), gate, ending)), connect)
}

/// Both ends of a connection that was just taken.
async fn pair(ending: Ending) -> (Client, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let (mut taken, connect) = port(&dir, ending);
    let (client, server) = tokio::join!(connect(), taken.next());
    (client, server.unwrap().unwrap())
}

async fn refused(connection: &mut Connection) -> bool {
    let read = connection.read(&mut [0]).await.unwrap_err();
    let written = connection.write(&[0]).await.unwrap_err();
    [read.kind(), written.kind()] == [io::ErrorKind::ConnectionAborted; 2]
}

#[tokio::test]
async fn one_that_shows_no_token_ends() {
    let (_client, mut server) = pair(Ending { introduction: Duration::from_secs(1), ..Default::default() }).await;
    assert!(refused(&mut server).await);
}

#[tokio::test]
async fn one_that_has_shown_a_token_stays_until_it_is_cut() {
    let ending = Ending { introduction: Duration::from_secs(1), ..Default::default() };
    let (mut client, mut server) = pair(ending.clone()).await;
    server.connect_info().becomes_known();
    ending.stop.cancel();
    client.write_all(b"x").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 1);
    ending.cut.cancel();
    assert!(refused(&mut server).await);
}

#[tokio::test]
async fn a_stranger_ends_with_the_service() {
    let ending = Ending::default();
    let (_client, mut server) = pair(ending.clone()).await;
    let ((), ended) = tokio::join!(async { ending.stop.cancel() }, refused(&mut server));
    assert!(ended);
}

#[tokio::test]
async fn strangers_are_bounded_and_make_room_when_they_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let (mut taken, connect) = port(&dir, Ending::default());
    let mut open = Vec::new();
    for _ in 0..STRANGERS {
        let (client, server) = tokio::join!(connect(), taken.next());
        open.push((client, server.unwrap().unwrap()));
    }
    let mut waits = Box::pin(async { tokio::join!(connect(), taken.next()) });
    assert!(futures::poll!(&mut waits).is_pending());
    open[0].1.connect_info().becomes_known();
    assert!(waits.await.1.unwrap().is_ok());
}

/// A slow one does not hold up those behind it.
#[tokio::test]
async fn handshakes_go_on_beside_each_other_and_end_in_time() {
    use tokio::io::AsyncReadExt;
    let dir = tempfile::tempdir().unwrap();
    let (ca, gate) = fixture::gate(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ending = Ending { introduction: Duration::from_secs(3), ..Ending::default() };
    let mut taken = Box::pin(incoming(listener, gate, ending));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let tls = TlsConnector::from(Arc::new(Device::new(&ca.trusted()).tls()));
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, server) = tokio::join!(tls.connect("127.0.0.1".try_into().unwrap(), stream), taken.next());
    assert!(client.is_ok() && server.unwrap().is_ok());
    let mut rest = Vec::new();
    let ended = tokio::select! {
        ended = silent.read_to_end(&mut rest) => ended,
        _ = taken.next() => panic!("nobody else came"),
    };
    assert!(ended.is_ok_and(|read| read == 0));
}
