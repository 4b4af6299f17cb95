//! What a broker of MQTT 5 says with a number, and what a person reads of it. The broker is
//! played byte by byte.

use super::*;

/// From section 2.4 of the specification of MQTT 5.
const REFUSED: [(u8, &str); 9] = [
    (0x84, "the broker does not speak MQTT 5: leave `version` out"),
    (0x85, "the broker refuses the client id"),
    (0x86, "the broker refuses the user name or password"),
    (0x87, "the broker refuses the user name or password"),
    (0x89, "the broker is busy"),
    (0x8A, "the broker has banned this client"),
    (0x97, "the broker takes no more connections"),
    (0x9D, "the broker has moved"),
    (0x80, "the broker refuses the connection"),
];
const NOT_GRANTED: [(u8, &str); 6] = [
    (0x80, "it gives no reason"),
    (0x87, "this user may not read it"),
    (0x8F, "it does not allow such a filter"),
    (0x97, "it has no room for more subscriptions"),
    (0x9E, "it has no shared subscriptions"),
    (0xA2, "it has no wildcards"),
];
const ENDED: [(u8, &str); 9] = [
    (0x87, "the broker does not let this user on any more"),
    (0x89, "the broker is busy"),
    (0x8B, "the broker shuts down"),
    (0x8D, "the broker heard nothing of this gateway for too long"),
    (0x8E, "somebody else connected with the same client id"),
    (0x95, "the broker calls a packet of this gateway too large"),
    (0x96, "the broker's limits are exceeded"),
    (0x98, "the broker's operator ended the connection"),
    (0x80, "the broker ended the connection"),
];
const GRANTED: u8 = 1;

async fn rig_of_5() -> Rig {
    let config = |address: SocketAddr| {
        example(|text| {
            text.replace("\"mqtt://127.0.0.1:1883\"", &format!("\"mqtt://{address}\"\nversion = \"5\""))
                + "\n  [[mqtt.device]]\n  name = \"line\"\n  topic = \"plant/+/count\"\n  asset = \"welder-1\"\n"
                + &format!("  signals = [ {COUNT} ]\n")
        })
    };
    rig_with(config, Vec::new(), KnownOffset::default()).await
}

/// The next packet's type, and what is in it. None here is longer than a one-byte length says.
async fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let read = async {
        let (kind, length) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
        assert!(length < 128, "a packet longer than was expected");
        let mut content = vec![0; length.into()];
        stream.read_exact(&mut content).await.unwrap();
        (kind >> 4, content)
    };
    timeout(PATIENCE, read).await.expect("a packet in time")
}

/// Takes a connection, and answers it with this reason.
async fn connected(rig: &Rig, reason: u8) -> TcpStream {
    let (mut stream, _) = timeout(PATIENCE, rig.broker.accept()).await.expect("a connection in time").unwrap();
    let (kind, connect) = packet(&mut stream).await;
    assert_eq!((kind, &connect[..7]), (1, b"\0\x04MQTT\x05".as_slice()));
    stream.write_all(&[0x20, 3, 0, reason, 0]).await.unwrap();
    stream
}

/// And its subscription to `plant/+/count` and the welder's topic, in this order.
async fn subscribed(rig: &Rig, reasons: [u8; 2]) -> TcpStream {
    let mut stream = connected(rig, 0).await;
    let (kind, subscribe) = packet(&mut stream).await;
    assert_eq!(kind, 8);
    stream.write_all(&[0x90, 5, subscribe[0], subscribe[1], 0, reasons[0], reasons[1]]).await.unwrap();
    stream
}

#[tokio::test]
async fn why_a_broker_refuses_the_connection_is_told() {
    for (reason, sentence) in REFUSED {
        let rig = rig_of_5().await;
        let _stream = connected(&rig, reason).await;
        assert_eq!(rig.fault(1, sentence).await.fault, sentence, "{reason:#x}");
    }
}

#[tokio::test]
async fn why_a_broker_refuses_a_subscription_is_told() {
    for (reason, sentence) in NOT_GRANTED {
        let rig = rig_of_5().await;
        let _stream = subscribed(&rig, [reason, GRANTED]).await;
        let link = rig.fault(2, sentence).await;
        assert_eq!(link.fault, format!("the broker refuses the subscription to plant/+/count: {sentence}"));
        let others = rig.health.status(clock::monotonic_us()).links[1].clone();
        assert_eq!(others.fault, "nothing heard yet", "what is granted is not blamed");
    }
}

#[tokio::test]
async fn why_a_broker_ends_the_connection_is_told() {
    for (reason, sentence) in ENDED {
        let rig = rig_of_5().await;
        let mut stream = subscribed(&rig, [GRANTED; 2]).await;
        stream.write_all(&[0xE0, 2, reason, 0]).await.unwrap();
        let link = rig.fault(1, sentence).await;
        assert!(link.fault.starts_with(sentence) && link.state == "down", "{reason:#x}: {link:?}");
    }
}
