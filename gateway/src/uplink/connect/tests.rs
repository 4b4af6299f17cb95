use tokio::net::TcpListener;

use super::*;
use crate::identity::fixture::{Authority, now};
use sandan_proto::id::GatewayId;

/// An ingest of an authority, to its handshakes, and where it is.
async fn ingest(authority: &Authority) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut incoming = Box::pin(authority.incoming(listener));
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(stream) = futures::StreamExt::next(&mut incoming).await {
            kept.push(stream);
        }
    });
    address
}

fn tls(authority: &Authority) -> (tempfile::TempDir, ClientConfig) {
    let dir = tempfile::tempdir().unwrap();
    let id = GatewayId::new("hanbit/gw-1").unwrap();
    let tls = authority.enrolled(dir.path(), &id, "x:1").credentials().unwrap().client_config(now()).unwrap();
    (dir, tls)
}

/// A proxy for one tunnel: the head that it was asked with.
async fn proxy(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        client.write_all(answer.as_bytes()).await.unwrap();
        if answer.contains(" 200 ") {
            let target = head.split(' ').nth(1).unwrap();
            let mut server = TcpStream::connect(target).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
        head
    });
    (address, task)
}

#[tokio::test]
async fn an_ingest_of_another_authority_is_a_stranger() {
    let address = ingest(&Authority::new()).await;
    let (_dir, tls) = tls(&Authority::new());
    let error = connect(&address, None, tls).await.unwrap_err();
    assert!(matches!(error, ConnectError::Stranger(_)), "{error}");
}

#[tokio::test]
async fn a_proxy_gives_a_tunnel_for_its_login() {
    let authority = Authority::new();
    let target = ingest(&authority).await;
    let (dir, tls) = tls(&authority);
    let (address, asked) = proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
    let password = dir.path().join("password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let proxy = Proxy { address, login: Some(("gateway".into(), Password::File(password))) };
    connect(&target, Some(&proxy), tls).await.unwrap();
    let head = asked.await.unwrap();
    let login = "Z2F0ZXdheTpvcGVuIHNlc2FtZQ==";
    let wanted = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {login}\r\n\r\n");
    assert_eq!(head, wanted);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_quoted() {
    let (_dir, tls) = tls(&Authority::new());
    let (address, _asked) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let error = connect("ingest.example:443", Some(&Proxy { address, login: None }), tls).await.unwrap_err();
    let told = error.to_string();
    assert!(told.ends_with("no tunnel to ingest.example:443: HTTP/1.1 407 Proxy Authentication Required"), "{told}");
}
