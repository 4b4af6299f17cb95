use super::*;

const MAKES: [Make; 6] = [Make::Press, Make::Furnace, Make::Meter, Make::Compressor, Make::Welder, Make::Rack];

fn after(make: Make, seed: u64, stops: &[u64]) -> Vec<Value> {
    let mut machine = Machine::new(make, seed);
    for seconds in stops {
        machine.advance_to(Duration::from_secs(*seconds));
    }
    machine.values()
}

#[test]
fn values_depend_on_seed_and_time_and_not_on_who_asks() {
    for make in MAKES {
        assert_eq!(after(make, 7, &[100]), after(make, 7, &[1, 17, 50, 100]), "{make:?}");
        assert_ne!(after(make, 7, &[100]), after(make, 8, &[100]), "{make:?}");
        assert_eq!(after(make, 7, &[0]).len(), Machine::new(make, 7).points().len(), "{make:?}");
    }
}

#[test]
fn a_press_strokes_and_rests_and_its_counter_never_falls() {
    let mut press = Machine::new(Make::Press, 7);
    let (mut strokes, mut rested, mut ran) = (0, 0, 0);
    for second in 0..3600 {
        press.advance_to(Duration::from_secs(second));
        let values = press.values();
        let Value::I64(now) = values[1] else { panic!("strokes are {:?}", values[1]) };
        assert!(now >= strokes);
        strokes = now;
        if values[3] == Value::Bool(true) { ran += 1 } else { rested += 1 }
    }
    assert!(ran > 1000 && rested > 20, "ran {ran} s, rested {rested} s");
}

#[test]
fn a_furnace_opens_its_door_once_and_loses_heat() {
    let mut furnace = Machine::new(Make::Furnace, 7);
    let (mut openings, mut open, mut coldest) = (0, false, f64::MAX);
    for second in 0..600 {
        furnace.advance_to(Duration::from_secs(second));
        let values = furnace.values();
        let now = values[12] == Value::Bool(true);
        openings += u32::from(now && !open);
        open = now;
        coldest = coldest.min(values[0].as_f64().unwrap());
    }
    assert_eq!(openings, 1);
    assert!(coldest < 775.0 && coldest > 600.0, "{coldest}");
}

#[test]
fn registers_say_what_the_machine_holds_in_every_order() {
    for make in MAKES {
        let mut machine = Machine::new(make, 3);
        machine.advance_to(Duration::from_secs(90));
        for (point, value) in machine.points().iter().zip(machine.values()) {
            for order in [ByteOrder::Abcd, ByteOrder::Cdab, ByteOrder::Badc, ByteOrder::Dcba] {
                let words = point.encode(&value, order);
                assert_eq!(words.len(), usize::from(point.kind.width()));
                let back = point.decode(&words, order).unwrap();
                let close = (back.as_f64().unwrap() - value.as_f64().unwrap()).abs();
                assert!(
                    close <= point.scale.unwrap_or(1e-3),
                    "{make:?} {}: {value:?} came back as {back:?}",
                    point.name
                );
            }
        }
    }
}

#[test]
fn byte_orders_are_what_vendors_call_them() {
    let point = |kind| Point { kind, ..serial_point(Area::Holding) };
    let value = Value::I64(0x0102_0304);
    let words = |order| point(Kind::U32).encode(&value, order);
    assert_eq!(words(ByteOrder::Abcd), [0x0102, 0x0304]);
    assert_eq!(words(ByteOrder::Cdab), [0x0304, 0x0102]);
    assert_eq!(words(ByteOrder::Badc), [0x0201, 0x0403]);
    assert_eq!(words(ByteOrder::Dcba), [0x0403, 0x0201]);
}
