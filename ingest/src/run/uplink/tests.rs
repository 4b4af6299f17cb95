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

/// A `ClientHello` of TLS 1.2 (RFC 5246, section 7.4.1.2): no extension offers a later version.
fn hello_of_tls_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 4, 0xC0, 0x2B, 0xC0, 0x2F]); // ECDHE with ECDSA or RSA, AES-128-GCM
    hello.extend([1, 0]); // no compression
    // Groups (X25519, P-256) and signatures (ECDSA with SHA-256).
    let extensions: [u8; 18] = [0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend([0, 18]);
    hello.extend(extensions);
    let body = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, body + 4, 1, 0, 0, body];
    record.extend(hello);
    record
}

#[tokio::test]
async fn an_older_tls_than_1_3_is_refused() {
    let (_uplink, mut stream) = serving(Ending::default()).await;
    stream.write_all(&hello_of_tls_1_2()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // A fatal alert, protocol_version (RFC 8446, section 6.2), and nothing else.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{answer:?}");
}

#[tokio::test]
async fn a_connection_without_a_word_does_not_hold_up_the_end() {
    let (uplink, stream) = serving(Ending::default()).await;
    // Longer than any test may run: it must not be waited for.
    uplink.end(Duration::from_hours(1)).await;
    ended(stream).await;
}
