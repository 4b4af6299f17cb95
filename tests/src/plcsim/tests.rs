//! The plant as a client sees it, healthy and with each fault.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::machine::{Area, SERIAL_ADDRESS};
use super::*;

mod scenario;
mod trouble;

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn press_plant() -> (Plant, SocketAddr) {
    let device = vec![
        ModbusDevice::new("press", 1, Make::Press),
        ModbusDevice::new("meter", 255, Make::Meter).in_order(ByteOrder::Cdab),
    ];
    let scenario =
        Scenario { seed: 7, speed: 1.0, modbus: vec![ModbusEndpoint::tcp(any_port(), device)], mqtt: Vec::new() };
    let plant = Plant::start(&scenario).unwrap();
    let address = plant.device("press").address.strip_prefix("tcp://").unwrap().parse().unwrap();
    (plant, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn ask(socket: &mut TcpStream, transaction: u16, unit: u8, function: u8, address: u16, count: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(transaction.to_be_bytes());
    frame.extend([0, 0, 0, 6, unit, function]);
    frame.extend(address.to_be_bytes());
    frame.extend(count.to_be_bytes());
    socket.write_all(&frame).unwrap();
    let mut reply = vec![0; 260];
    let len = socket.read(&mut reply).unwrap_or(0);
    reply.truncate(len);
    reply
}

/// The truth is entered just after the bytes went out.
fn served(plant: &Plant, count: usize) -> Vec<truth::Served> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while plant.truth().len() < count && Instant::now() < deadline {
        std::thread::yield_now();
    }
    plant.truth().served()
}

#[test]
fn each_answer_carries_its_serial_and_is_in_the_truth() {
    let (plant, address) = press_plant();
    let mut socket = connect(address);
    for serial in 1..=3u8 {
        let reply = ask(&mut socket, 9, 1, 3, SERIAL_ADDRESS, 8);
        assert_eq!(reply[..9], [0, 9, 0, 0, 0, 19, 1, 3, 16]);
        assert_eq!(reply[9..13], [0, 0, 0, serial]);
        let served = served(&plant, usize::from(serial));
        let last = served.last().unwrap();
        assert_eq!((last.serial, &*last.device, last.area), (Some(u32::from(serial)), "press", Area::Holding));
        let wire: Vec<u8> = last.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(reply[9..], wire);
        let strokes = &plant.device("press").points[1];
        assert!(matches!(last.value(strokes), Some(sandan_proto::reading::Value::I64(1_200_000..1_400_000))));
    }
    // A request beside the serial register leaves it alone.
    ask(&mut socket, 9, 1, 3, 102, 2);
    assert_eq!(served(&plant, 4)[3].serial, None);
    assert_eq!(ask(&mut socket, 9, 255, 4, SERIAL_ADDRESS, 2)[9..], [0, 1, 0, 0]);
    assert_eq!(served(&plant, 5)[4].serial, Some(1));
    // Bits.
    assert_eq!(ask(&mut socket, 9, 1, 1, 0, 1)[..10], [0, 9, 0, 0, 0, 4, 1, 1, 1, 1]);
}

#[test]
fn what_is_not_there_is_refused_and_writes_are_counted() {
    let (plant, address) = press_plant();
    let mut socket = connect(address);
    assert_eq!(ask(&mut socket, 1, 1, 3, 5000, 2)[7..], [0x83, 2]);
    assert_eq!(ask(&mut socket, 1, 9, 3, 100, 2)[7..], [0x83, 11]);
    assert_eq!(plant.truth().foreign_requests(), 0);
    assert_eq!(ask(&mut socket, 1, 1, 6, 100, 2)[7..], [0x86, 1]);
    assert_eq!(plant.truth().foreign_requests(), 1);
    assert!(plant.truth().is_empty());
}

#[test]
fn faults_are_switched_while_it_runs() {
    let (plant, address) = press_plant();
    let mut socket = connect(address);
    let healthy = ask(&mut socket, 1, 1, 3, 104, 1);
    assert_eq!(healthy.len(), 11);
    let set = |fault: &str| plant.fault("press", fault.parse().unwrap()).unwrap();

    set("exception 6");
    assert_eq!(ask(&mut socket, 1, 1, 3, 104, 1)[7..], [0x83, 6]);
    set("garbage");
    assert!(ask(&mut socket, 1, 1, 3, 104, 1).iter().all(|byte| *byte == 0xa5));
    set("short");
    assert_eq!(ask(&mut socket, 1, 1, 3, 104, 1).len(), 9);
    set("wrong-transaction");
    assert_eq!(ask(&mut socket, 1, 1, 3, 104, 1)[..2], [0, 2]);
    set("wrong-unit");
    assert_eq!(ask(&mut socket, 1, 1, 3, 104, 1)[6], 2);
    set("late 200ms");
    let asked = Instant::now();
    assert_eq!(ask(&mut socket, 1, 1, 3, 104, 1).len(), 11);
    assert!(asked.elapsed() >= Duration::from_millis(200));
    // The neighbour is well all the time.
    assert_eq!(ask(&mut socket, 1, 255, 4, 100, 4).len(), 17);
    set("hang-up");
    assert!(ask(&mut socket, 1, 1, 3, 104, 1).is_empty());
    // Only whole, honest answers are owed.
    assert_eq!(served(&plant, 7).len(), 7);
    assert_eq!(plant.truth().served_by("press").len(), 2);

    set("absent");
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_ok() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(TcpStream::connect(address).is_err());
    set("none");
    while TcpStream::connect(address).is_err() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(ask(&mut connect(address), 1, 1, 3, 104, 1).len(), 11);
}

#[test]
fn a_plant_with_two_units_of_one_number_does_not_start() {
    let twice = vec![ModbusDevice::new("a", 1, Make::Press), ModbusDevice::new("b", 1, Make::Press)];
    let modbus = vec![ModbusEndpoint::tcp(any_port(), twice)];
    let refused = Plant::start(&Scenario { seed: 0, speed: 1.0, modbus, mqtt: Vec::new() });
    assert!(refused.err().unwrap().to_string().contains("unit 1"));
}
