use std::fmt::Write as _;
use std::path::Path;

use sandan_proto::reading::Value;

use super::*;
use crate::config::tests::example;
use crate::config::{Change, Signal};
use crate::driver::Raw;
use crate::tag::decode;

/// Set to write the page anew.
const UPDATE: &str = "SANDAN_UPDATE_EXPECTED";
const PAGE: &str = "docs/metric-dictionary.md";
/// Between these lines the page is made of the dictionary.
const BEGIN: &str = "<!-- made of configs/metrics.toml -->";

#[test]
fn the_embedded_dictionary_is_enough_to_begin_with() {
    let it = Dictionary::embedded();
    assert!(it.version() >= 1);
    for (word, process) in Process::ALL {
        let own = it.metrics().iter().filter(|metric| metric.processes.contains(process)).count();
        assert!(own >= 10, "{word} has only {own} metrics");
    }
    for (word, class) in Class::ALL {
        assert!(it.metrics().iter().any(|metric| metric.class == *class), "nothing is of the class {word}");
    }
    for role in [Role::Measured, Role::SetPoint, Role::Output] {
        assert!(it.metrics().iter().any(|metric| metric.role == role), "nothing is {role}");
    }
    // Competition law goes by what a number tells, not by what it is.
    let class = |id| it.get(id).unwrap_or_else(|| panic!("no {id}")).class;
    assert_eq!(class("part_count"), Class::Output);
    assert_eq!(class("machine_running"), Class::Output);
    assert_eq!(class("active_energy"), Class::Cost);
    assert_eq!(class("hopper_level"), Class::Stock);
}

#[test]
fn the_head_of_the_file_explains_every_word() {
    let head: String = TEXT.lines().take_while(|line| line.starts_with('#')).collect();
    let mut words: Vec<&str> = Process::ALL.iter().map(|(word, _)| *word).collect();
    words.extend(Class::ALL.iter().map(|(word, _)| *word));
    words.extend(Kind::ALL.iter().map(|(word, _)| *word));
    words.extend(Role::ALL.iter().map(|(word, _)| *word));
    for word in words {
        assert!(head.contains(word), "the head does not say what {word} is");
    }
}

#[test]
fn a_dictionary_that_breaks_a_rule_is_refused() {
    const GOOD: &str = r#"
version = 1
[[metric]]
id = "force"
name = { ko = "하중", en = "Force" }
unit = "kN"
kind = "gauge"
role = "measured"
range = [0, 100]
process = ["forming"]
class = "process"
about = { ko = "최대", en = "peak" }
[[metric]]
id = "force_setpoint"
name = { ko = "하중 설정값", en = "Force, set-point" }
unit = "kN"
kind = "gauge"
role = "set-point"
range = [0, 100]
process = ["forming"]
class = "process"
"#;
    assert_eq!(Dictionary::parse(GOOD).unwrap().metrics().len(), 2);
    for (from, to, expected) in [
        ("id = \"force\"", "id = \"Force\"", "an id has"),
        ("id = \"force\"", "id = \"x_force\"", "not with x_"),
        ("id = \"force\"", "id = \"2_force\"", "begins with a letter"),
        ("id = \"force\"", "id = \"power\"", "named after the measured metric"),
        ("id = \"force\"", "id = \"force_output\"", "of outputs in _output"),
        ("id = \"force_setpoint\"", "id = \"force_wanted\"", "set-points end in _setpoint"),
        ("id = \"force_setpoint\"", "id = \"force\"", "end in _setpoint"),
        ("role = \"set-point\"", "role = \"measured\"", "end in _setpoint"),
        ("force_setpoint\"\nname = { ko = \"하중 설정값\"", "force_setpoint\"\nname = { ko = \"Soll\"", "in Hangul"),
        ("en = \"Force\"", "en = \"하중\"", "the English one is not"),
        ("en = \"Force\"", "en = \"\"", "one line"),
        ("en = \"peak\"", "en = \"peak\\nof all\"", "one line"),
        ("unit = \"kN\"\nkind = \"gauge\"\nrole = \"m", "unit = \"kn\"\nkind = \"gauge\"\nrole = \"m", "no UCUM code"),
        ("unit = \"kN\"\nkind = \"gauge\"\nrole = \"m", "unit = \"N\"\nkind = \"gauge\"\nrole = \"m", "another unit"),
        (
            "range = [0, 100]\nprocess = [\"forming\"]\nclass = \"process\"\nabout",
            "range = [0, 200]\nprocess = [\"forming\"]\nclass = \"process\"\nabout",
            "another unit, range",
        ),
        ("range = [0, 100]", "range = [100, 0]", "from a lower number"),
        ("range = [0, 100]", "range = [0, inf]", "from a lower number"),
        ("range = [0, 100]", "", "a number has a range"),
        ("kind = \"gauge\"", "kind = \"state\"", "has the unit 1"),
        (
            "kind = \"gauge\"\nrole = \"measured\"\nrange = [0,",
            "kind = \"counter\"\nrole = \"measured\"\nrange = [-1,",
            "begins at 0",
        ),
        ("process = [\"forming\"]", "process = []", "at least one process"),
        ("process = [\"forming\"]", "process = [\"forming\", \"forming\"]", "each once"),
        ("process = [\"forming\"]", "process = [\"forging\"]", "not of its form"),
        ("class = \"process\"", "class = \"secret\"", "not of its form"),
        ("class = \"process\"", "class = \"process\"\nlevel = 3", "not of its form"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = Dictionary::parse(&GOOD.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let twice = format!("{GOOD}{}", GOOD.split_once("[[metric]]").unwrap().1.replacen("\nid", "[[metric]]\nid", 1));
    let error = Dictionary::parse(&twice).unwrap_err().to_string();
    assert_eq!(error, "metric `force`: it stands there twice");
}

#[test]
fn the_nearest_names_are_those_that_were_meant() {
    let near = |given| Dictionary::embedded().nearest(given);
    assert_eq!(near("pres_force")[0], "press_force");
    assert_eq!(near("temprature")[0], "temperature");
    assert_eq!(near("oil_temp"), ["oil_temperature", "quench_oil_temperature", "quench_oil_temperature_setpoint"]);
    assert_eq!(near("energy"), ["forging_energy", "active_energy", "energy_total"]);
    assert!(near("flux_capacitor").is_empty());
    assert!(near("_").is_empty());
}

/// The signal of a name in the example, changed.
fn signal(name: &str, from: &str, to: &str) -> Signal {
    let config = example(|text| {
        assert!(text.contains(from), "{from} is not in the example");
        text.replace(from, to)
    });
    config.signals.iter().find(|signal| signal.name == name).unwrap().clone()
}

#[test]
fn values_in_another_unit_become_the_dictionarys() {
    // 0.1 °F a count, from -40 °F on: 2520 counts are 212 °F.
    let oil = signal("oil", "unit = \"Cel\", at = \"input:7\"", "unit = \"°F\", at = \"input:7\"");
    assert_eq!(oil.unit, "Cel");
    let value = decode(&oil.decode, &Raw::Words([2_520, 0, 0, 0])).unwrap().as_f64().unwrap();
    assert!((value - 100.0).abs() < 1e-9, "{value}");
    // Half a degree Fahrenheit.
    let Change::By(width) = oil.publish.change else { panic!("{:?}", oil.publish) };
    assert!((width - 0.5 * 5.0 / 9.0).abs() < 1e-12, "{width}");

    // Decimal factors stay decimal: 1234 counts of 0.1 N are 0.1234 kN and no tail of noise.
    let force = signal("tonnage", "unit = \"kN\"", "unit = \"N\"");
    assert_eq!(decode(&force.decode, &Raw::Words([1_234, 0, 0, 0])), Ok(Value::F64(0.1234)));

    let current = signal("current", "unit = \"A\"", "unit = \"kA\"");
    assert_eq!(decode(&current.decode, &Raw::Number(0.25)), Ok(Value::F64(250.0)));
}

#[test]
fn a_unit_that_is_only_spelt_otherwise_changes_no_value() {
    let strokes = signal("strokes", "unit = \"1\"", "unit = \"회\"");
    assert_eq!((strokes.unit.as_str(), strokes.decode.value_type()), ("1", ValueType::I64));
    let left_out = signal("strokes", "unit = \"1\", ", "");
    assert_eq!(left_out, strokes);
}

/// A row of a table.
fn row(cells: &[String]) -> String {
    assert!(cells.iter().all(|cell| !cell.contains('|')), "a bar would end the cell: {cells:?}");
    format!("| {} |\n", cells.join(" | "))
}

/// What the page says below [`BEGIN`].
fn page() -> String {
    const TITLES: [(&str, Process); 9] = [
        ("모든 기계 · Any machine", Process::Any),
        ("열처리 · Heat treatment", Process::HeatTreatment),
        ("소성가공 · Forming", Process::Forming),
        ("주조 · Casting", Process::Casting),
        ("표면처리 · Surface treatment", Process::Plating),
        ("용접 · Welding", Process::Welding),
        ("금형 · Moulds", Process::Moulds),
        ("절삭가공 · Machining", Process::Machining),
        ("유틸리티 · Utilities", Process::Utilities),
    ];
    let it = Dictionary::embedded();
    let mut page = format!("{BEGIN}\n\nversion {}, {} metrics\n", it.version(), it.metrics().len());
    for (title, process) in TITLES {
        let _ = write!(page, "\n## {title} (`{process}`)\n\n");
        page.push_str("| metric | 이름 | name | unit | kind | role | range | class |\n");
        page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
        for metric in it.metrics().iter().filter(|metric| metric.processes[0] == process) {
            let with = |name: &str, about: Option<&String>| {
                about.map_or_else(|| name.into(), |about| format!("{name}: {about}"))
            };
            let about = metric.about.as_ref();
            page.push_str(&row(&[
                format!("`{}`", metric.id),
                with(&metric.name.ko, about.map(|about| &about.ko)),
                with(&metric.name.en, about.map(|about| &about.en)),
                format!("`{}`", metric.unit),
                metric.kind.to_string(),
                metric.role.to_string(),
                metric.shown_range(),
                metric.class.to_string(),
            ]));
        }
    }
    page.push_str("\n## 단위 · Units\n\n");
    page.push_str("| UCUM | 달리 쓰는 법 · also written | 같은 양 · the same quantity |\n| --- | --- | --- |\n");
    for units in units::QUANTITIES {
        for unit in *units {
            let code = |text: &&str| format!("`{text}`");
            let same = if unit.offset == 0.0 {
                unit.factor.to_string()
            } else {
                format!("× {} − {} =", unit.factor, -unit.offset)
            };
            page.push_str(&row(&[
                code(&unit.code),
                unit.also.iter().map(code).collect::<Vec<_>>().join(" "),
                format!("{same} `{}`", units[0].code),
            ]));
        }
    }
    page
}

#[test]
fn the_page_is_that_of_the_dictionary() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, _) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} has no line {BEGIN}"));
    let expected = format!("{head}{}", page());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let differs = text.lines().zip(expected.lines()).find(|(is, expected)| is != expected);
    assert!(text == expected, "{PAGE} is not that of the dictionary, {UPDATE}=1 writes it anew: {differs:#?}");
}
