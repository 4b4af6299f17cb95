use clap::Parser as _;

use super::*;
use crate::config::Endpoint;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    Line::try_parse_from(std::iter::once("import").chain(line.split(' '))).unwrap().args
}

/// What comes out, and what is told.
fn import(line: &str, sheet: Option<&[u8]>) -> anyhow::Result<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.csv");
    let args = args(line);
    let shipped = template::built_in();
    let template = args.template.as_deref().or(sheet.is_none().then_some(args.device.as_deref().unwrap()));
    let template = template.and_then(|name| shipped.into_iter().find(|template| template.name == name));
    let mut made = Made { machines: Machines::new(&args.asset), template, ..Made::default() };
    if let Some(sheet) = sheet {
        std::fs::write(&file, sheet).unwrap();
        made.read(&args, &file)?;
    }
    made.good(&args, args.device.as_deref().unwrap())
}

fn config(text: &str) -> Config {
    Config::parse(Path::new("gateway.toml"), text).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

#[test]
fn a_sheet_of_60_registers_in_cp949_is_taken_whole() {
    let sheet = include_bytes!("../../../../configs/examples/furnaces.csv");
    let (text, report) =
        import("--device plc --unit 3 --address serial:/dev/ttyUSB0 --baud 19200", Some(sheet)).unwrap();
    let config = config(&text);
    assert_eq!((config.signals.len(), config.assets.len()), (60, 8));
    assert!(
        report.ends_with("map.csv (EUC-KR (CP949), 60 rows): 60 taken, 0 of them with a guess, 0 left out\n"),
        "{report}"
    );
    let Endpoint::Modbus(modbus) = &config.endpoints[0] else { panic!("the endpoint is Modbus") };
    assert_eq!((modbus.place().as_str(), modbus.devices[0].unit), ("modbus-rtu /dev/ttyUSB0", 3));
    let of = |name: &str| {
        let signal = config.signals.iter().position(|signal| signal.name == name).unwrap();
        let wire = modbus.devices[0].points[signal].value;
        let signal = &config.signals[signal];
        (
            config.assets[signal.asset].name_ko.clone(),
            signal.metric.to_string(),
            signal.unit.clone(),
            wire.address,
            wire.width,
        )
    };
    let wanted = |asset: &str, metric: &str, unit: &str, address, width| {
        (asset.to_owned(), metric.to_owned(), unit.to_owned(), address, width)
    };
    assert_eq!(of("2호로 현재온도"), wanted("2호로", "temperature", "Cel", 120, 1));
    assert_eq!(of("2호로 설정온도"), wanted("2호로", "temperature_setpoint", "Cel", 121, 1));
    assert_eq!(of("6호로 산소 농도"), wanted("6호로", "oxygen_content", "%", 206, 2));
    assert_eq!(of("1호로 경보"), wanted("1호로", "alarm_active", "1", 108, 1));
    assert_eq!(of("유효전력량"), wanted("수전반", "active_energy", "kW.h", 310, 2));
    assert_eq!(of("냉각수 온도"), wanted("냉각수", "cooling_water_temperature", "Cel", 0, 1));
}

#[test]
fn what_cannot_be_guessed_is_a_comment_and_told() {
    let sheet = "name;address;type;unit;scale\n\
                 oil temp;40001;INT16;C;0.1\n\
                 oil temp;40002;INT16;C;0.1\n\
                 recipe;D100;INT16;;\n\
                 ;;;;\n\
                 level;300;;%;\n\
                 force;40010;FLOAT CDAB;kN;1/10\n\
                 speed;40012;INT16;rpm;warm\n";
    let (text, report) = import("--device plc --asset press-1", Some(sheet.as_bytes())).unwrap();
    let config = config(&text);
    assert_eq!(config.signals.len(), 4);
    for told in [
        "row 3 `oil temp (3)`: no metric of the dictionary fits name and unit: it is one of your own; its name is another one's",
        "row 4 `recipe` is left out: `D100` is no address of Modbus\n",
        "row 6 `level`: the table is not named: taken as holding registers; the type is not named: u16; no metric",
        "row 8 `speed` is left out: `scale` is a text, not a number",
        "map.csv (UTF-8, 6 rows): 4 taken, 4 of them with a guess, 2 left out\n",
    ] {
        assert!(report.contains(told), "no {told} in {report}");
    }
    assert!(
        text.contains("# ? row 4: ") && text.contains("scale = 0.1") && text.contains("byte_order = \"CDAB\""),
        "{text}"
    );
    let error = import("--device plc", Some(b"name,address\na,D1\n")).unwrap_err();
    assert!(error.to_string().starts_with("no row of map.csv"), "{error}");
    let error = import("--device plc", Some(b"a,b\nc,d\n")).unwrap_err();
    assert!(error.to_string().contains("no row names the columns"), "{error}");
    let error = import("--device plc --address ftp://x", Some(sheet.as_bytes())).unwrap_err();
    assert!(error.to_string().contains("`address` begins with none of"), "{error}");
}

#[test]
fn every_template_becomes_a_configuration() {
    for template in template::built_in() {
        let (text, report) = import(&format!("--device {} --address serial:/dev/ttyS1", template.name), None).unwrap();
        assert!(!config(&text).signals.is_empty() && report.is_empty(), "{text}{report}");
        assert!(text.contains(&template.source));
    }
}

#[test]
fn a_sheet_adds_to_a_template() {
    let sheet = b"\xEF\xBB\xBFname,at,type,unit\npv,input:1000,i16,Cel\nextra,input:1010,u16,\n";
    let (text, _) = import("--device tk --template autonics-tk", Some(sheet)).unwrap();
    let names: Vec<_> = config(&text).signals.iter().map(|signal| signal.name.clone()).collect();
    assert_eq!(names, ["pv", "sv", "mv", "alarm-1", "alarm-2", "extra"]);
}
