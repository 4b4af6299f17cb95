//! What the proxy does to an echo.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// A server that sends back what it gets, behind a proxy.
fn echo() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok(read) = socket.read(&mut bytes)
                    && read > 0
                    && socket.write_all(&bytes[..read]).is_ok()
                {}
            });
        }
    });
    let proxy = Proxy::start(target, 7).unwrap();
    let socket = TcpStream::connect(proxy.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (proxy, socket)
}

fn ask(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(b"ping")?;
    socket.read_exact(&mut [0; 4])
}

#[test]
fn a_good_line_passes_bytes_and_a_bad_one_delays_them() {
    let (proxy, mut socket) = echo();
    ask(&mut socket).unwrap();
    assert_eq!(proxy.passed(), 8);
    proxy.worsen(50, 0);
    let asked = std::time::Instant::now();
    ask(&mut socket).unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(80), "{:?} there and back", asked.elapsed());
    proxy.worsen(0, 100);
    let asked = std::time::Instant::now();
    ask(&mut socket).unwrap();
    assert!(asked.elapsed() >= 2 * RETRANSMISSION, "{:?} with both pieces lost", asked.elapsed());
    proxy.heal();
    proxy.narrow(40);
    let asked = std::time::Instant::now();
    ask(&mut socket).unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(200), "{:?} at 40 bytes a second", asked.elapsed());
}

#[test]
fn a_cut_resets_and_a_line_that_is_down_stays_so_until_it_is_healed() {
    let (proxy, mut socket) = echo();
    ask(&mut socket).unwrap();
    proxy.cut();
    assert!(ask(&mut socket).and_then(|()| ask(&mut socket)).is_err(), "the connection outlived a cut");
    let mut socket = TcpStream::connect(proxy.address()).unwrap();
    ask(&mut socket).unwrap();
    proxy.set_down(true);
    assert!(ask(&mut socket).and_then(|()| ask(&mut socket)).is_err());
    let mut refused = TcpStream::connect(proxy.address()).unwrap();
    assert!(ask(&mut refused).and_then(|()| ask(&mut refused)).is_err());
    proxy.heal();
    ask(&mut TcpStream::connect(proxy.address()).unwrap()).unwrap();
}

#[test]
fn answers_are_lost_one_way_while_the_connection_stands() {
    let (proxy, mut socket) = echo();
    ask(&mut socket).unwrap();
    proxy.swallow(Direction::Down, true);
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let kind = ask(&mut socket).unwrap_err().kind();
    assert!(matches!(kind, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{kind}");
    // What was lost cannot come any more, so the connection goes with the healing.
    proxy.heal();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(ask(&mut socket).and_then(|()| ask(&mut socket)).is_err());
}
