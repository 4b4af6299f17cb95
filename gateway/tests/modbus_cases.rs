//! Runs `tests/cases/modbus`: a configuration and registers go in, requests and readings
//! come out, or the configuration is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sandan_gateway::config::{Area, Config, Endpoint, ModbusDevice, Part};
use sandan_gateway::driver::modbus::plan::{Assembly, Poll, Request, polls};
use sandan_gateway::driver::modbus::{Answer, Learned};
use sandan_gateway::tag::decode;
use sandan_proto::reading::Quality;

/// Set to write what is expected anew.
const UPDATE: &str = "SANDAN_UPDATE_EXPECTED";

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/modbus");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

/// The words, or bits, of each table.
type Registers = BTreeMap<(Area, u16), u16>;

fn registers(case: &Path) -> Registers {
    let mut registers = Registers::new();
    for line in fs::read_to_string(case.join("registers")).unwrap().lines() {
        let (place, values) = line.split_once(": ").unwrap();
        let (area, first) = place.split_once(' ').unwrap();
        let area = Area::ALL.into_iter().find(|known| known.name() == area).unwrap();
        for (address, value) in (first.parse().unwrap()..).zip(values.split_whitespace()) {
            let value = value.strip_prefix("0x").map_or_else(|| value.parse(), |hex| u16::from_str_radix(hex, 16));
            registers.insert((area, address), value.unwrap());
        }
    }
    registers
}

fn answer(registers: &Registers, part: Part) -> Answer {
    let values = (part.address..).take(part.width.into()).map(|address| {
        // What nobody set is there all the same: a hole that is read through.
        registers.get(&(part.area, address)).copied().unwrap_or_default()
    });
    if part.area.is_bits() {
        Answer::Bits(values.map(|bit| bit == 1).collect())
    } else {
        Answer::Words(values.collect())
    }
}

/// The fewest requests for the parts of one poll, found by trying every way to put them
/// together, area by area.
fn fewest(device: &ModbusDevice, poll: &Poll) -> usize {
    let wanted: Vec<u32> = poll.requests.iter().flat_map(Request::signals).collect();
    let mut areas: BTreeMap<Area, Vec<Part>> = BTreeMap::new();
    for point in device.points.iter().filter(|point| wanted.contains(&point.signal)) {
        for part in std::iter::once(&point.value).chain(&point.aids) {
            let parts = areas.entry(part.area).or_default();
            if !parts.contains(part) {
                parts.push(*part);
            }
        }
    }
    areas.into_values().map(|parts| fewest_of(&parts, device)).sum()
}

/// Whether parts, in the order of their addresses, may come in one answer.
fn is_legal(parts: &[Part], device: &ModbusDevice) -> bool {
    let Some(first) = parts.first() else { return false };
    let (longest, hole) = if first.area.is_bits() {
        (device.limits.max_bits, device.limits.max_hole * 16)
    } else {
        (device.limits.max_words, device.limits.max_hole)
    };
    let mut end = first.address;
    parts.iter().all(|part| {
        let gap = part.address.saturating_sub(end);
        end = end.max(part.address + part.width);
        gap <= hole && end - first.address <= longest
    })
}

fn fewest_of(parts: &[Part], device: &ModbusDevice) -> usize {
    /// As many sets as there are ways to choose among so many parts can be looked at.
    const FEW: usize = 14;
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    if parts.len() > FEW {
        return fewest_cuts(&sorted, device);
    }
    let all = 1usize << sorted.len();
    let chosen =
        |set: usize| (0..sorted.len()).filter(|bit| set >> bit & 1 == 1).map(|bit| sorted[bit]).collect::<Vec<_>>();
    let legal: Vec<bool> = (0..all).map(|set| is_legal(&chosen(set), device)).collect();
    let mut best = vec![usize::MAX; all];
    best[0] = 0;
    for set in 1..all {
        let lowest = set & set.wrapping_neg();
        let mut part = set;
        while part > 0 {
            if part & lowest != 0 && legal[part] {
                best[set] = best[set].min(best[set & !part] + 1);
            }
            part = (part - 1) & set;
        }
    }
    best[all - 1]
}

/// The same of more parts, which lie beside each other: a request for two of them covers what
/// lies between, so that only where to cut is tried, in all ways.
fn fewest_cuts(sorted: &[Part], device: &ModbusDevice) -> usize {
    /// A million ways and more.
    const MANY: usize = 21;
    assert!(sorted.len() <= MANY, "too many parts to try all ways");
    assert!(sorted.windows(2).all(|two| two[0].address + two[0].width <= two[1].address), "parts lie over each other");
    let ways = (0u32..1 << (sorted.len() - 1)).filter(|cuts| {
        let mut rest = sorted;
        let mut from = 0;
        for index in 0..sorted.len() {
            if index + 1 == sorted.len() || cuts >> index & 1 == 1 {
                let (group, behind) = rest.split_at(index + 1 - from);
                if !is_legal(group, device) {
                    return false;
                }
                (rest, from) = (behind, index + 1);
            }
        }
        true
    });
    ways.map(|cuts| cuts.count_ones() as usize + 1).min().unwrap()
}

/// What a good case gives.
fn run(config: &Config, registers: &Registers) -> String {
    let Endpoint::Modbus(endpoint) = &config.endpoints[0] else { panic!("the endpoint is Modbus") };
    let mut out = String::new();
    for device in &endpoint.devices {
        let mut rows = BTreeMap::new();
        for poll in polls(device, &Learned::nothing()) {
            assert_eq!(poll.requests.len(), fewest(device, &poll), "not the fewest requests: {:?}", poll.requests);
            let mut assembly = Assembly::default();
            for request in &poll.requests {
                writeln!(out, "every {:?}: {request}, {}", poll.interval, request.count).unwrap();
                for reading in assembly.take(request, &answer(registers, request.part())) {
                    rows.insert(reading.signal, reading.raw);
                }
            }
        }
        for (signal, raw) in rows {
            let signal = &config.signals[signal as usize];
            let (value, quality) = match decode(&signal.decode, &raw) {
                Ok(value) => (value.to_string(), Quality::GOOD),
                Err(quality) => ("-".into(), quality),
            };
            let asset = config.assets[signal.asset].id.as_str();
            writeln!(out, "{} {asset} {} = {value} {} {quality}", signal.name, signal.metric, signal.unit).unwrap();
        }
    }
    out
}

#[test]
fn every_case_gives_what_stands_beside_it() {
    let example = include_str!("../../configs/gateway.toml");
    let (head, _) = example.split_once("\n# A machine that numbers are about.").unwrap();
    let cases = cases();
    assert!(cases.len() >= 7, "the folder of cases was found");
    let mut differ = Vec::new();
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        let own = fs::read_to_string(case.join("config.toml")).unwrap();
        fs::write(&file, format!("{head}\n{own}")).unwrap();
        // Lines are counted from where the case's own text begins.
        let above = head.lines().count();
        let (name, found) = match Config::survey(&file) {
            Ok((config, _)) => ("expected", run(&config, &registers(&case))),
            Err(faults) => {
                let mut told = String::new();
                for fault in &faults.list {
                    let at = fault.at.unwrap();
                    // What stands above names files that are not there.
                    if at.line > above {
                        let line = at.line - above;
                        writeln!(told, "{line}:{}: {}\n  hint: {}", at.column, fault.what, fault.hint).unwrap();
                    }
                }
                ("expected-error", told)
            }
        };
        if std::env::var_os(UPDATE).is_some() {
            fs::write(case.join(name), &found).unwrap();
        }
        let expected = fs::read_to_string(case.join(name)).unwrap_or_default();
        if found != expected {
            differ.push(format!("{} gives as {name}\n{found}instead of\n{expected}", case.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
