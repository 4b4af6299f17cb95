//! The port from outside.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::service::Routes;

use super::*;

async fn serving(ending: Ending) -> (Uplink, TcpStream) {
    let dir = tempfile::tempdir().unwrap();
    let (_, gate) = crate::ca::fixture::gate(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let uplink = start(listener, gate, Routes::default(), ending);
    (uplink, TcpStream::connect(address).await.unwrap())
}

/// Reads until the other side has ended the connection.
async fn ended(mut stream: TcpStream) {
    // Whether by an end or by a reset.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_connection_without_a_word_or_tls_is_closed() {
    for said in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        let introduction = Duration::from_millis(1);
        let (_uplink, mut stream) = serving(Ending { introduction, ..Default::default() }).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        ended(stream).await;
    }
}

#[tokio::test]
async fn a_connection_without_a_word_does_not_hold_up_the_end() {
    let (uplink, stream) = serving(Ending::default()).await;
    // Longer than any test may run: it must not be waited for.
    uplink.end(Duration::from_hours(1)).await;
    ended(stream).await;
}
