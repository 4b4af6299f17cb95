use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Longer than a busy machine keeps an honest request waiting.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_mins(10);

async fn serve(bounds: Bounds, router: Router) -> (Pages, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (start_within(listener, None, router, &bounds).unwrap(), at)
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Sends, and gives what comes until the connection is closed.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection with unread bytes is reset, which is as good as closed.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn answered(stream: &mut TcpStream) -> bool {
    let mut head = [0; 15];
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok()
        && stream.read_exact(&mut head).await.is_ok()
        && head == *b"HTTP/1.1 200 OK"
}

#[tokio::test]
async fn connections_that_say_nothing_or_half_a_request_are_closed() {
    let (_pages, at) = serve(Bounds { header: SHORT, ..Bounds::default() }, hello()).await;
    for half in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        until_closed(&mut stream).await;
    }
    // Also between two requests.
    let mut stream = TcpStream::connect(at).await.unwrap();
    assert!(answered(&mut stream).await);
    assert!(until_closed(&mut stream).await.ends_with("hello"));
}

#[tokio::test]
async fn one_address_has_a_part_of_the_room_and_gets_it_back() {
    let bounds = Bounds { header: LONG, per_address: Some(2), ..Bounds::default() };
    let (_pages, at) = serve(bounds, hello()).await;
    let mut open = [TcpStream::connect(at).await.unwrap(), TcpStream::connect(at).await.unwrap()];
    for stream in &mut open {
        assert!(answered(stream).await);
    }
    let mut third = TcpStream::connect(at).await.unwrap();
    assert!(!answered(&mut third).await);
    // Another address of this machine finds room.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    assert!(answered(&mut other.connect(at).await.unwrap()).await);
    drop(open);
    loop {
        let mut next = TcpStream::connect(at).await.unwrap();
        if answered(&mut next).await {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_closed_at_once() {
    let bounds = Bounds { header: LONG, connections: 2, ..Bounds::default() };
    let (_pages, at) = serve(bounds, hello()).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        assert!(answered(&mut stream).await);
        open.push(stream);
    }
    let mut third = TcpStream::connect(at).await.unwrap();
    assert!(!answered(&mut third).await);
    open.pop();
    // Until the server has seen that one went.
    while !answered(&mut TcpStream::connect(at).await.unwrap()).await {}
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_let_go() {
    let (gone, seen) = tokio::sync::oneshot::channel::<()>();
    let gone = std::sync::Mutex::new(Some(gone));
    let endless = async move || {
        // Dropped with the answer's body.
        let gone = gone.lock().unwrap().take();
        let many = axum::body::Bytes::from(vec![b'x'; 65_536]);
        let body = futures::stream::repeat_with(move || {
            let _ = &gone;
            Ok::<_, std::io::Error>(many.clone())
        });
        axum::body::Body::from_stream(body)
    };
    let endless = Arc::new(endless);
    let router = Router::new().route("/", get(async move || endless().await));
    let (_pages, at) = serve(Bounds { stall: SHORT, ..Bounds::default() }, router).await;
    let mut stream = TcpStream::connect(at).await.unwrap();
    assert!(answered(&mut stream).await);
    assert!(seen.await.is_err(), "the answer was given up");
}
