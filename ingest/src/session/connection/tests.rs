use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Both ends of a connection that was just taken.
async fn pair(ending: Ending) -> (TcpStream, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut taken = Box::pin(incoming(listener, ending));
    let (client, server) = tokio::join!(TcpStream::connect(address), taken.next());
    (client.unwrap(), server.unwrap().unwrap())
}

async fn refused(connection: &mut Connection) -> bool {
    let read = connection.read(&mut [0]).await.unwrap_err();
    let written = connection.write(&[0]).await.unwrap_err();
    [read.kind(), written.kind()] == [io::ErrorKind::ConnectionAborted; 2]
}

#[tokio::test]
async fn one_that_shows_no_token_ends() {
    let (_client, mut server) = pair(Ending { introduction: Duration::ZERO, ..Default::default() }).await;
    assert!(refused(&mut server).await);
}

#[tokio::test]
async fn one_that_has_shown_a_token_stays_until_it_is_cut() {
    let ending = Ending { introduction: Duration::ZERO, ..Default::default() };
    let (mut client, mut server) = pair(ending.clone()).await;
    server.connect_info().becomes_known();
    ending.stop.cancel();
    client.write_all(b"x").await.unwrap();
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut taken = Box::pin(incoming(listener, Ending::default()));
    let mut open = Vec::new();
    for _ in 0..STRANGERS {
        let (client, server) = tokio::join!(TcpStream::connect(address), taken.next());
        open.push((client.unwrap(), server.unwrap().unwrap()));
    }
    let _waits = TcpStream::connect(address).await.unwrap();
    let mut next = taken.next();
    assert!(futures::poll!(&mut next).is_pending());
    open[0].1.connect_info().becomes_known();
    assert!(next.await.unwrap().is_ok());
}
