use std::collections::HashSet;

use super::*;

/// Powers of metre, kilogram, second, ampere, kelvin, radian and pH.
type Dimension = [i32; 7];

/// Atoms of UCUM: symbol, whether it takes prefixes, its size in SI units, its dimension.
/// From the tables of the UCUM specification, version 2.2.
const ATOMS: [(&str, bool, f64, Dimension); 36] = [
    ("m", true, 1.0, [1, 0, 0, 0, 0, 0, 0]),
    ("g", true, 1e-3, [0, 1, 0, 0, 0, 0, 0]),
    ("s", true, 1.0, [0, 0, 1, 0, 0, 0, 0]),
    ("A", true, 1.0, [0, 0, 0, 1, 0, 0, 0]),
    ("K", true, 1.0, [0, 0, 0, 0, 1, 0, 0]),
    ("rad", true, 1.0, [0, 0, 0, 0, 0, 1, 0]),
    ("deg", false, std::f64::consts::PI / 180.0, [0, 0, 0, 0, 0, 1, 0]),
    ("[pH]", false, 1.0, [0, 0, 0, 0, 0, 0, 1]),
    ("%", false, 1e-2, [0; 7]),
    ("[ppm]", false, 1e-6, [0; 7]),
    ("Cel", true, 1.0, [0, 0, 0, 0, 1, 0, 0]),
    ("[degF]", false, 5.0 / 9.0, [0, 0, 0, 0, 1, 0, 0]),
    ("Hz", true, 1.0, [0, 0, -1, 0, 0, 0, 0]),
    ("N", true, 1.0, [1, 1, -2, 0, 0, 0, 0]),
    ("Pa", true, 1.0, [-1, 1, -2, 0, 0, 0, 0]),
    ("J", true, 1.0, [2, 1, -2, 0, 0, 0, 0]),
    ("W", true, 1.0, [2, 1, -3, 0, 0, 0, 0]),
    ("V", true, 1.0, [2, 1, -3, -1, 0, 0, 0]),
    ("Ohm", true, 1.0, [2, 1, -3, -2, 0, 0, 0]),
    ("S", true, 1.0, [-2, -1, 3, 2, 0, 0, 0]),
    ("bar", true, 1e5, [-1, 1, -2, 0, 0, 0, 0]),
    ("l", true, 1e-3, [3, 0, 0, 0, 0, 0, 0]),
    ("t", true, 1e3, [0, 1, 0, 0, 0, 0, 0]),
    ("min", false, 60.0, [0, 0, 1, 0, 0, 0, 0]),
    ("h", false, 3_600.0, [0, 0, 1, 0, 0, 0, 0]),
    ("d", false, 86_400.0, [0, 0, 1, 0, 0, 0, 0]),
    ("gf", true, 9.806_65e-3, [1, 1, -2, 0, 0, 0, 0]),
    ("[lbf_av]", false, 0.453_592_37 * 9.806_65, [1, 1, -2, 0, 0, 0, 0]),
    ("[psi]", false, 0.453_592_37 * 9.806_65 / (0.0254 * 0.0254), [-1, 1, -2, 0, 0, 0, 0]),
    ("m[Hg]", true, 133_322.0, [-1, 1, -2, 0, 0, 0, 0]),
    ("m[H2O]", true, 9_806.65, [-1, 1, -2, 0, 0, 0, 0]),
    ("[HP]", false, 550.0 * 0.3048 * 0.453_592_37 * 9.806_65, [2, 1, -3, 0, 0, 0, 0]),
    ("[g]", true, 9.806_65, [1, 0, -2, 0, 0, 0, 0]),
    ("[lb_av]", false, 0.453_592_37, [0, 1, 0, 0, 0, 0, 0]),
    ("[in_i]", false, 0.0254, [1, 0, 0, 0, 0, 0, 0]),
    ("[mil_i]", false, 0.000_025_4, [1, 0, 0, 0, 0, 0, 0]),
];
const PREFIXES: [(&str, f64); 9] =
    [("G", 1e9), ("M", 1e6), ("k", 1e3), ("h", 1e2), ("da", 10.0), ("d", 0.1), ("c", 1e-2), ("m", 1e-3), ("u", 1e-6)];

/// Size and dimension of one component, its exponent included.
fn component(text: &str) -> Option<(f64, Dimension)> {
    let (text, annotated) = text.split_once('{').unwrap_or((text, "}"));
    if !annotated.ends_with('}') {
        return None;
    }
    if let Some(power) = text.strip_prefix("10*") {
        return Some((10f64.powi(power.parse().ok()?), [0; 7]));
    }
    if text == "1" {
        return Some((1.0, [0; 7]));
    }
    let symbol = text.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let exponent: i32 = if symbol.len() == text.len() { 1 } else { text[symbol.len()..].parse().ok()? };
    let find = |symbol: &str| ATOMS.iter().find(|(atom, ..)| *atom == symbol);
    let (size, dimension) = if let Some((_, _, size, dimension)) = find(symbol) {
        (*size, *dimension)
    } else {
        let (by, (_, _, size, dimension)) = PREFIXES.iter().find_map(|(prefix, by)| {
            let atom = find(symbol.strip_prefix(prefix)?).filter(|(_, metric, ..)| *metric)?;
            Some((by, atom))
        })?;
        (by * size, *dimension)
    };
    Some((size.powi(exponent), dimension.map(|power| power * exponent)))
}

/// The part of UCUM that the table uses: components joined by `.` and `/`, without brackets.
fn ucum(code: &str) -> Option<(f64, Dimension)> {
    let (mut size, mut dimension) = (1.0, [0; 7]);
    for (index, term) in code.split('/').enumerate() {
        if index == 0 && term.is_empty() {
            continue;
        }
        for (place, part) in term.split('.').enumerate() {
            // Only what follows a slash at once stands below it.
            let sign = if index > 0 && place == 0 { -1 } else { 1 };
            let (by, powers) = component(part)?;
            size *= by.powi(sign);
            for (power, more) in dimension.iter_mut().zip(powers) {
                *power += sign * more;
            }
        }
    }
    Some((size, dimension))
}

#[test]
fn the_derivation_knows_ucum() {
    assert_eq!(ucum("kW.h").unwrap(), (3.6e6, [2, 1, -2, 0, 0, 0, 0]));
    assert_eq!(ucum("/min").unwrap().1, [0, 0, -1, 0, 0, 0, 0]);
    for wrong in ["kWh", "rpm", "℃", "Nm3/h", "kmin", "k", "kg/", "V.A{x", "[degf]"] {
        assert_eq!(ucum(wrong), None, "{wrong}");
    }
}

#[test]
fn every_factor_is_that_of_its_ucum_code() {
    for units in QUANTITIES {
        let (first, dimension) = ucum(units[0].code).unwrap_or_else(|| panic!("{} is not UCUM", units[0].code));
        assert!((units[0].factor - 1.0).abs() < f64::EPSILON && units[0].offset == 0.0, "{}", units[0].code);
        for unit in *units {
            let (size, own) = ucum(unit.code).unwrap_or_else(|| panic!("{} is not UCUM", unit.code));
            assert_eq!(own, dimension, "{} is not of the quantity of {}", unit.code, units[0].code);
            let off = unit.factor / (size / first) - 1.0;
            assert!(off.abs() < 1e-12, "{}: {} is off by {off:e}", unit.code, unit.factor);
        }
    }
}

#[test]
fn no_two_units_are_written_alike() {
    let mut codes = HashSet::new();
    for units in QUANTITIES {
        let mut written = HashSet::new();
        for unit in *units {
            assert!(codes.insert(unit.code), "{} is in two quantities", unit.code);
            for text in unit.also.iter().chain([&unit.code]) {
                assert!(written.insert(*text), "{text} is written twice");
            }
        }
    }
}

/// `value` in one unit, as it is in another.
fn converted(value: f64, given: &str, wanted: &str) -> Option<f64> {
    conversion(given, wanted).map(|it| it.map_or(value, |it| value * it.factor + it.offset))
}

#[test]
fn known_points_are_met() {
    for (value, given, expected, wanted) in [
        (212.0, "[degF]", 100.0, "Cel"),
        (-40.0, "°F", -40.0, "Cel"),
        (0.0, "K", -273.15, "Cel"),
        (25.0, "℃", 25.0, "Cel"),
        (6.0, "bar", 600.0, "kPa"),
        (7.0, "kgf/cm2", 6.864_655, "bar"),
        (100.0, "psi", 6.894_757, "bar"),
        (0.7, "MPa", 7.0, "bar"),
        (100.0, "L/min", 6.0, "m3/h"),
        (1_500.0, "Wh", 1.5, "kW.h"),
        (9.0, "tf", 88.259_85, "kN"),
        (10.0, "ppm", 0.001, "%"),
        (20.0, "ASD", 20.0, "A/dm2"),
        (30.0, "ipm", 0.762, "m/min"),
        (1.0, "㎫", 1_000.0, "kPa"),
        (5.0, "kvar", 5.0, "kV.A{reactive}"),
    ] {
        let got = converted(value, given, wanted).unwrap_or_else(|| panic!("{given} does not become {wanted}"));
        assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "{value} {given} = {got} {wanted}");
    }
}

#[test]
fn what_only_looks_alike_is_refused() {
    for (given, wanted) in
        [("kV.A", "kW"), ("kvar", "kV.A"), ("N.m", "kJ"), ("%", "1"), ("Hz", "/min"), ("", "kN"), ("bar", "kN")]
    {
        assert_eq!(conversion(given, wanted), None, "{given} became {wanted}");
    }
}

#[test]
fn a_short_factor_stays_short() {
    assert_eq!(conversion("Wh", "kW.h").unwrap(), Some(Conversion { factor: 0.001, offset: 0.0 }));
    assert_eq!(plain(0.1 * 0.001).to_string(), "0.0001");
    assert_eq!(plain(5.0 / 9.0).to_bits(), (5.0f64 / 9.0).to_bits());
}
