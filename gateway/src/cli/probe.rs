//! `probe`: what a run of registers could mean, and which units answer on a line.
//!
//! For a device whose map is missing or wrong: with the value that its display shows, the
//! type, the byte order and the true address are found in one call.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use serde_json::json;

use super::table::table;
use crate::config::notation::register;
use crate::config::{Area, ByteOrder, Decode, Format, Modbus, Parity, Part, Register};
use crate::driver::Raw;
use crate::driver::modbus::plan::shown;
use crate::driver::modbus::{Answer, LinkFault, Prober};
use crate::tag::decode;

/// Most registers that one answer holds, with one more on each side.
const MAX_COUNT: u16 = 123;
/// Powers of ten by which integers are scaled in practice.
const EXPONENTS: std::ops::RangeInclusive<i32> = -4..=3;
/// How long a unit may take to answer while units are searched.
const SCAN_TIMEOUT: Duration = Duration::from_millis(200);
/// The unit ids that devices may have.
const UNITS: std::ops::RangeInclusive<u8> = 1..=247;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `tcp://host:port`, `rtu-tcp://host:port` or `serial:/dev/…`
    #[arg(value_name = "URL")]
    url: String,
    /// The unit id
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// The first register, as on the wire
    #[arg(long, value_name = "AREA:NUMBER", default_value = "holding:0")]
    at: String,
    /// How many registers
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_COUNT)))]
    count: u16,
    /// What the device shows: only what fits it is printed, also one register beside
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    expect: Option<String>,
    /// Ask every unit id from 1 to 247 for one register instead
    #[arg(long)]
    scan_units: bool,
    /// Of a serial port
    #[arg(long, default_value_t = 9600)]
    baud: u32,
    /// Of a serial port: none, even or odd
    #[arg(long, default_value = "none", value_parser = parity)]
    parity: Parity,
    /// Of a serial port
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    stop_bits: u8,
    /// How long an answer may take
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    timeout: Option<Duration>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn parity(text: &str) -> Result<Parity, String> {
    let found = Parity::ALL.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, parity)| parity).ok_or_else(|| "write none, even or odd".into())
}

pub(super) async fn probe(args: &Args) -> anyhow::Result<ExitCode> {
    let written = register(&args.at, 0)
        .map_err(|_| anyhow!("--at is not an address; write holding:0 or input:7, or 40001 as Modicon does"))?;
    let address = written.address;
    let timeout = args.timeout.or(args.scan_units.then_some(SCAN_TIMEOUT));
    let endpoint = Modbus::bare(&args.url, (args.baud, args.parity, args.stop_bits), timeout)
        .map_err(|hint| anyhow!("`{}` is no line: {hint}", args.url.escape_debug()))?;
    let mut prober = Prober::new(&endpoint);
    if args.scan_units {
        return scan(&mut prober, Part { area: written.area, address, width: 1 }, args.json).await;
    }
    if written.area.is_bits() || written.bit.is_some() {
        bail!("probe looks at whole registers: --at holding:0 or --at input:0");
    }
    let expected = args.expect.as_deref().map(Expected::new).transpose()?;
    let (first, words) = words(&mut prober, args, written.area, address, expected.is_some()).await?;
    let readings = readings(first, &words, expected);
    let is_found = expected.is_none() || !readings.is_empty();
    print!("{}", if args.json { as_json(written.area, &readings)? } else { as_table(written.area, &words, &readings) });
    if !is_found {
        eprintln!(
            "nothing from {} on is near {}",
            shown(part(written.area, first, &words)),
            args.expect.as_deref().unwrap_or_default()
        );
    }
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn part(area: Area, first: u16, words: &[u16]) -> Part {
    Part { area, address: first, width: u16::try_from(words.len()).unwrap_or(u16::MAX) }
}

/// The registers, with one more on each side where something is looked for and the device
/// has them. Gives the address of the first.
async fn words(
    prober: &mut Prober,
    args: &Args,
    area: Area,
    address: u16,
    wider: bool,
) -> anyhow::Result<(u16, Vec<u16>)> {
    let plain = (address, args.count);
    let before = u16::from(address > 0);
    let wide = [
        (address - before, args.count + before + 1),
        (address - before, args.count + before),
        (address, args.count + 1),
        plain,
    ];
    let tries = if wider { &wide[..] } else { &wide[3..] };
    let mut last = None;
    for &(address, width) in tries {
        let width = width.min(u16::MAX - address);
        match prober.ask(args.unit, Part { area, address, width }).await {
            Ok(Answer::Words(words)) => return Ok((address, words)),
            Ok(Answer::Bits(_)) => break,
            Err(fault) if fault.is_answer() => last = Some(fault),
            Err(fault) => bail!("unit {}: {fault}", args.unit),
        }
    }
    let fault = last.map_or_else(String::new, |fault| fault.to_string());
    bail!("unit {}, {}: {fault}", args.unit, shown(Part { area, address, width: args.count }))
}

/// A number as a display shows it.
#[derive(Debug, Clone, Copy)]
struct Expected {
    number: f64,
    /// Half of its last digit.
    tolerance: f64,
}

impl Expected {
    fn new(text: &str) -> anyhow::Result<Self> {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        let number = number.ok_or_else(|| anyhow!("--expect is not a number: `{}`", text.escape_debug()))?;
        let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
        let digits = i32::try_from(digits.min(15)).unwrap_or(15);
        // A little more, for what is not exact in binary.
        Ok(Self { number, tolerance: 0.500_001 / 10f64.powi(digits) })
    }

    fn fits(self, value: f64) -> bool {
        (value - self.number).abs() <= self.tolerance
    }
}

/// One way to read the registers.
#[derive(Debug, PartialEq)]
struct Reading {
    address: u16,
    format: &'static str,
    order: &'static str,
    value: f64,
    /// What makes it the expected one; 1 where nothing was expected.
    scale: f64,
}

fn readings(first: u16, words: &[u16], expected: Option<Expected>) -> Vec<Reading> {
    let mut found = Vec::new();
    for (index, address) in (0..words.len()).zip(first..) {
        for (format_name, format) in Format::ALL {
            let width = usize::from(format.words());
            let Some(slice) = words.get(index..index + width) else { continue };
            let mut four = [0; 4];
            four[..width].copy_from_slice(slice);
            for (order_name, letters, order) in ByteOrder::ALL {
                if letters != format.words() {
                    continue;
                }
                // Of 8 bits the order says which half it is.
                let order_name = match (format, order) {
                    (Format::I8 | Format::U8, ByteOrder::Abcd) => "low",
                    (Format::I8 | Format::U8, _) => "high",
                    _ => order_name,
                };
                let register = Decode::Register(Box::new(Register::new(format, order, None)));
                let Some(value) = decode(&register, &Raw::Words(four)).ok().and_then(|value| value.as_f64()) else {
                    continue;
                };
                let scale = match expected {
                    None => Some(1.0),
                    Some(expected) if format.is_float() => expected.fits(value).then_some(1.0),
                    Some(expected) => {
                        EXPONENTS.map(|exponent| 10f64.powi(exponent)).find(|scale| expected.fits(value * scale))
                    }
                };
                found.extend(scale.map(|scale| Reading {
                    address,
                    format: format_name,
                    order: order_name,
                    value,
                    scale,
                }));
            }
        }
    }
    // What needs no scale first; among equals the order in which they were tried.
    found.sort_by_key(|reading| u8::from((reading.scale - 1.0).abs() > f64::EPSILON && expected.is_some()));
    found
}

fn row(area: Area, reading: &Reading) -> [String; 4] {
    let scaled =
        if (reading.scale - 1.0).abs() < f64::EPSILON { String::new() } else { format!("scale = {}", reading.scale) };
    let key = if matches!(reading.order, "low" | "high") { "byte" } else { "byte_order" };
    let wire = Part { area, address: reading.address, width: 1 };
    [
        shown(wire),
        reading.value.to_string(),
        format!("type = \"{}\", {key} = \"{}\"", reading.format, reading.order),
        scaled,
    ]
}

fn as_table(area: Area, words: &[u16], readings: &[Reading]) -> String {
    let raw: Vec<_> = words.iter().map(|word| format!("{word:04x}")).collect();
    let rows: Vec<_> = readings.iter().map(|reading| row(area, reading)).collect();
    format!("raw {}\n\n{}", raw.join(" "), table(["FROM", "VALUE", "AS", ""], &rows))
}

fn as_json(area: Area, readings: &[Reading]) -> serde_json::Result<String> {
    let rows = readings.iter().map(|reading| {
        json!({
            "area": area.name(),
            "address": reading.address,
            "type": reading.format,
            "order": reading.order,
            "value": reading.value,
            "scale": reading.scale,
        })
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?))
}

async fn scan(prober: &mut Prober, part: Part, json: bool) -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    for unit in UNITS {
        let says = match prober.ask(unit, part).await {
            Ok(_) => "values".to_owned(),
            Err(fault) if fault.is_answer() => fault.to_string(),
            Err(fault @ LinkFault::Unreachable { .. }) => bail!("{fault}"),
            Err(LinkFault::Timeout(_) | LinkFault::Exception { .. }) => continue,
            // Two units of one id, or another speed, sound like this.
            Err(fault) => fault.to_string(),
        };
        found.push((unit, says));
    }
    if json {
        let rows: Vec<_> = found.iter().map(|(unit, says)| json!({"unit": unit, "says": says})).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        let rows: Vec<_> = found.iter().map(|(unit, says)| [unit.to_string(), says.clone()]).collect();
        print!("{}", table(["UNIT", "SAYS"], &rows));
    }
    Ok(if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests;
