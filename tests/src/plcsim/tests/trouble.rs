//! What a line does by chance and by plan, and what it says of it afterwards.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};

use super::*;

/// A pattern device alone on a line.
fn plant(listen: Listen, how: impl FnOnce(&mut ModbusEndpoint)) -> Plant {
    let mut line = ModbusEndpoint::at(listen, vec![ModbusDevice::new("map", 255, Make::Pattern)]);
    how(&mut line);
    Plant::start(&Scenario { seed: 7, speed: 1.0, modbus: vec![line], mqtt: Vec::new() }).unwrap()
}

fn socket(plant: &Plant) -> TcpStream {
    connect(plant.device("map").address.rsplit('/').next().unwrap().parse().unwrap())
}

fn rtu(unit: u8, function: u8, address: u16, count: u16) -> Vec<u8> {
    let mut frame = vec![unit, function];
    frame.extend(address.to_be_bytes());
    frame.extend(count.to_be_bytes());
    frame.extend(frame::crc(&frame).to_le_bytes());
    frame
}

/// Waits for a state of the plant.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_pattern_answers_what_its_checker_expects_and_keeps_its_limits() {
    let plant = plant(Listen::Tcp(any_port()), |line| {
        line.device[0].max_words = 60;
        line.device[0].refuse = vec!["holding:40-44".parse().unwrap(), "coil:7 exception 1".parse().unwrap()];
    });
    let mut socket = socket(&plant);
    let seed = pattern::seed(7, "map");
    let before = pattern::tick(sandan_gateway::clock::monotonic_us());
    let answer = ask(&mut socket, 9, 255, 4, 17, 2);
    let after = pattern::tick(sandan_gateway::clock::monotonic_us());
    let words = u64::from(u32::from_be_bytes([answer[9], answer[10], answer[11], answer[12]]));
    assert!((before..=after).any(|tick| pattern::number(seed, Area::Input, 17, 2, tick) == words));
    assert_eq!(ask(&mut socket, 9, 255, 3, 0, 61)[7..], [0x83, 3], "more words than it gives at once");
    assert_eq!(ask(&mut socket, 9, 255, 3, 38, 3)[7..], [0x83, 2]);
    assert_eq!(ask(&mut socket, 9, 255, 1, 0, 8)[7..], [0x81, 1]);
    assert_eq!(ask(&mut socket, 9, 255, 3, 45, 1).len(), 11);
    assert_eq!(ask(&mut socket, 9, 255, 3, pattern::COUNT, 1)[7..], [0x83, 2]);
    assert!(plant.truth().is_empty(), "a pattern needs no truth");
    assert_eq!(plant.truth().traffic().functions, BTreeMap::from([(1, 1), (3, 4), (4, 1)]));
}

#[test]
fn chances_befall_as_often_as_they_say_and_their_seed_repeats_them() {
    let run = || {
        let plant = plant(Listen::Tcp(any_port()), |line| {
            line.chance = Chances(vec![(Fault::Exception(6), 30.0), (Fault::WrongUnit, 20.0)]);
        });
        let mut socket = socket(&plant);
        let answers: Vec<_> = (0..400).map(|at| ask(&mut socket, at, 255, 3, 0, 1)[6..8].to_vec()).collect();
        (answers, plant.truth().traffic().faults)
    };
    let (answers, faults) = run();
    let exceptions = answers.iter().filter(|answer| answer[1] == 0x83).count();
    assert!((80..=160).contains(&exceptions) && faults["exception 6"] == exceptions as u64, "{faults:?}");
    assert!((40..=120).contains(&faults["wrong-unit"]), "{faults:?}");
    assert_eq!(run(), (answers, faults));
}

#[test]
fn half_open_connections_stay_and_one_too_many_is_closed() {
    let plant = plant(Listen::Tcp(any_port()), |line| line.connections = Some(1));
    let mut first = socket(&plant);
    assert_eq!(ask(&mut first, 1, 255, 3, 0, 1).len(), 11);
    assert!(ask(&mut socket(&plant), 1, 255, 3, 0, 1).is_empty(), "a second connection is closed");
    plant.fault("map", Fault::HalfOpen).unwrap();
    first.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(ask(&mut first, 2, 255, 3, 0, 1).is_empty());
    plant.fault("map", Fault::None).unwrap();
    assert!(ask(&mut first, 3, 255, 3, 0, 1).is_empty(), "it says nothing more");
    assert_eq!(first.read(&mut [0; 9]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "and is not closed");
    drop(first);
    until("the place to be free", || ask(&mut socket(&plant), 4, 255, 3, 0, 1).len() == 11);
    assert_eq!(plant.truth().traffic().connections.into_values().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_return_is_measured_to_the_first_answer_which_nothing_befalls() {
    let plant = plant(Listen::Tcp(any_port()), |line| {
        line.chance = Chances(vec![(Fault::Exception(4), 100.0)]);
        line.away = Some(Absence { every: Duration::from_millis(40), lasting: Duration::from_millis(20) });
    });
    until("a return", || !plant.truth().returns().is_empty());
    until("an answer after a return", || {
        let address = plant.device("map").address.rsplit('/').next().unwrap().parse::<SocketAddr>().unwrap();
        if let Ok(mut socket) = TcpStream::connect(address) {
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            ask(&mut socket, 1, 255, 3, 0, 1);
        }
        plant.truth().returns().iter().any(|back| back.answered_after_us.is_some())
    });
    plant.calm();
    let mut socket = socket(&plant);
    assert_eq!(ask(&mut socket, 1, 255, 3, 0, 1).len(), 11, "nothing befalls a calm line");
}

#[test]
fn a_serial_line_and_a_converter_speak_rtu_with_noise_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("bus");
    let serial = plant(Listen::Serial(link.clone()), |line| line.baud = 38_400);
    assert_eq!(serial.device("map").address, format!("serial:{}", link.display()));
    let port: OwnedFd = open(&link, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut settings = rustix::termios::tcgetattr(&port).unwrap();
    settings.make_raw();
    rustix::termios::tcsetattr(&port, rustix::termios::OptionalActions::Now, &settings).unwrap();
    let mut port = std::fs::File::from(port);
    port.write_all(&[0xff]).unwrap();
    port.write_all(&rtu(255, 3, 9, 2)).unwrap();
    let mut answer = [0; 9];
    port.read_exact(&mut answer).unwrap();
    assert_eq!((frame::crc(&answer), &answer[..3]), (0, &[255, 3, 4][..]));
    let traffic = serial.truth().traffic();
    assert_eq!((traffic.functions[&3], traffic.strange_bytes), (1, 1));

    let converter = plant(Listen::RtuTcp(any_port()), |line| line.chance = Chances(vec![(Fault::Noise(3), 100.0)]));
    let mut socket = socket(&converter);
    let mut hurt = 0;
    for _ in 0..50 {
        socket.write_all(&rtu(255, 4, 0, 1)).unwrap();
        let mut answer = [0; 7];
        socket.read_exact(&mut answer).unwrap();
        hurt += usize::from(frame::crc(&answer) != 0);
    }
    assert!(hurt > 40, "{hurt} of 50 frames are hurt");
    // Nobody answers for a unit that is not there.
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket.write_all(&rtu(9, 4, 0, 1)).unwrap();
    assert!(socket.read(&mut [0; 9]).is_err());
}
