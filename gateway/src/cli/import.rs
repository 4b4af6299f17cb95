//! `import`: a register map out of a spreadsheet, or a device template, becomes a configuration
//! that `check` accepts. What was guessed is marked in it and told; what could not be guessed
//! stands in it as a comment.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use sandan_proto::id::AssetId;

use super::table::table;
use crate::config::columns::{header, hint};
use crate::config::sheet::Sheet;
use crate::config::template::{self, Template};
use crate::config::{Area, Config, Parity};

mod guess;
mod row;

use guess::Head;
use row::{Draft, Machines};

/// Each time at least one row is left out; a row has few faults that hide another.
const MAX_PASSES: usize = 20;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The register map: a CSV of any spreadsheet (UTF-8, EUC-KR/CP949 or UTF-16)
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// List the device templates instead
    #[arg(long, conflicts_with = "file")]
    list: bool,
    /// The device's name; without a file the template that it is made of
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    device: Option<String>,
    /// A device template whose signals come first
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// The unit id
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// `tcp://host:port`, `rtu-tcp://host:port` or `serial:/dev/…`
    #[arg(long, value_name = "URL", default_value = "tcp://192.168.0.10:502")]
    address: String,
    /// Of a serial port; without it as the template says, or 9600
    #[arg(long)]
    baud: Option<u32>,
    /// Of a serial port: none, even or odd
    #[arg(long, value_parser = super::probe::parity)]
    parity: Option<Parity>,
    /// Of a serial port
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    stop_bits: Option<u8>,
    /// Whose numbers they are, where the map does not say
    #[arg(long, value_name = "ID", default_value = "machine-1")]
    asset: String,
    /// The gateway, as the ingest knows it
    #[arg(long, value_name = "FIRM/NAME")]
    gateway: Option<String>,
    /// The table of addresses that name none: holding, input, coil or discrete
    #[arg(long, value_parser = area)]
    area: Option<Area>,
    /// What plain addresses count from
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    base: u8,
    /// The order of bytes of values in several registers: ABCD, CDAB, BADC or DCBA
    #[arg(long, value_name = "ORDER", default_value = "ABCD")]
    byte_order: String,
    /// How often to read
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = super::duration)]
    interval: std::time::Duration,
}

fn area(text: &str) -> Result<Area, String> {
    let found = Area::ALL.into_iter().find(|area| area.name() == text);
    found.ok_or_else(|| "write holding, input, coil or discrete".into())
}

pub(super) fn import(args: &Args) -> anyhow::Result<ExitCode> {
    let shipped = template::built_in();
    if args.list {
        let row =
            |template: &Template| [template.name.to_owned(), template.title.en.clone(), template.title.ko.clone()];
        print!("{}", table(["TEMPLATE", "ENGLISH", "KOREAN"], &shipped.iter().map(row).collect::<Vec<_>>()));
        return Ok(ExitCode::SUCCESS);
    }
    let device = args.device.as_deref().unwrap_or_default();
    let wanted = args.template.as_deref().or_else(|| args.file.is_none().then_some(device));
    let template = match wanted {
        None => None,
        Some(name) => Some(shipped.into_iter().find(|template| template.name == name).ok_or_else(|| {
            anyhow!("no template `{}`; `sandan-gateway import --list` shows all", name.escape_debug())
        })?),
    };
    let mut made = Made { machines: Machines::new(&args.asset), template, ..Made::default() };
    if let Some(file) = &args.file {
        made.read(args, file)?;
    }
    let (text, report) = made.good(args, device)?;
    print!("{text}");
    eprint!("{report}");
    Ok(ExitCode::SUCCESS)
}

/// A configuration in the making.
#[derive(Debug, Default)]
struct Made {
    from: String,
    machines: Machines,
    template: Option<Template>,
    drafts: Vec<Draft>,
}

impl Made {
    fn read(&mut self, args: &Args, file: &Path) -> anyhow::Result<()> {
        let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let sheet =
            Sheet::read(&bytes).map_err(|fault| anyhow!("{}: {fault}\nhint: {}", file.display(), hint(&fault)))?;
        let known = |head: &str| match Head::of(head) {
            Head::Key(key) => Some(key),
            Head::Area => Some("area"),
            Head::Decimals => Some("decimals"),
            Head::Bit => Some("bit"),
            Head::Other => None,
        };
        let head = header(&sheet, known).ok_or_else(|| {
            anyhow!("{}: no row names the columns; one must have an address (주소) and a name (이름)", file.display())
        })?;
        let heads: Vec<Head> = sheet.rows[head].cells.iter().map(|cell| Head::of(&cell.text)).collect();
        for row in &sheet.rows[head + 1..] {
            self.drafts.push(Draft::new(row, &heads, (args.area, args.base.into()), &mut self.machines));
        }
        row::apart(&mut self.drafts);
        let name = file.file_name().unwrap_or_default().to_string_lossy().replace(char::is_control, " ");
        self.from = format!("{name} ({}, {} rows)", sheet.encoding, self.drafts.len());
        Ok(())
    }

    /// The text once nothing in it is wrong, and what to tell about it.
    fn good(&mut self, args: &Args, device: &str) -> anyhow::Result<(String, String)> {
        for _ in 0..MAX_PASSES {
            let (text, lines) = self.text(args, device);
            let Err(faults) = Config::parse(Path::new("gateway.toml"), &text) else {
                return Ok((text, self.report()));
            };
            let mut is_new = false;
            for fault in &faults.list {
                let line = fault.at.map_or(0, |at| at.line);
                if let Some(index) = lines.iter().position(|at| *at == line) {
                    self.drafts[index].left_out.get_or_insert_with(|| format!("{} ({})", fault.what, fault.hint));
                    is_new = true;
                }
            }
            if self.template.is_none() && self.drafts.iter().all(|draft| draft.left_out.is_some()) {
                eprint!("{}", self.report());
                bail!("no row of {} can be taken", self.from);
            }
            if !is_new {
                bail!("the arguments do not make a configuration: {}", faults.to_string().trim_end());
            }
        }
        bail!("the rows hide too many faults in each other; mend those that were told, and import again")
    }

    /// The text, and the line of each draft.
    fn text(&self, args: &Args, device: &str) -> (String, Vec<usize>) {
        let quoted = row::quoted;
        let mut out = String::from("# Made by `sandan-gateway import`");
        if !self.from.is_empty() {
            let _ = write!(out, " from {}", self.from);
        }
        out.push_str(".\n# A line that ends in \"# ?\" holds a guess: look at it before you trust it.\n\n");
        match &args.gateway {
            Some(gateway) => drop(writeln!(out, "gateway = {}", quoted(gateway))),
            None => out.push_str("gateway = \"my-firm/my-gateway\"          # ? as the ingest knows it\n"),
        }
        out.push_str("state_dir = \"/var/lib/sandan-gateway\"\n");
        for (id, name) in self.machines.all() {
            let _ = write!(out, "\n[[asset]]\nid = {}\n", quoted(&id));
            if !name.is_empty() {
                let _ = writeln!(out, "name = {{ ko = {} }}", quoted(&name));
            }
            out.push_str("time_zone = \"Asia/Seoul\"\n");
        }
        let _ = write!(out, "\n[[modbus]]\naddress = {}\n", quoted(&args.address));
        if args.address.starts_with("serial:") {
            let line = self.template.as_ref().and_then(|template| template.line.clone());
            let (baud, parity, stop_bits) = line.unwrap_or((9_600, "none".into(), 1));
            let parity = args.parity.map_or(parity, |parity| {
                Parity::ALL
                    .iter()
                    .find(|(_, known)| *known == parity)
                    .map_or_else(String::new, |(name, _)| (*name).into())
            });
            let (baud, stop_bits) = (args.baud.unwrap_or(baud), args.stop_bits.unwrap_or(stop_bits));
            let _ = write!(out, "baud = {baud}\nparity = {}\nstop_bits = {stop_bits}\n", quoted(&parity));
        }
        let _ = write!(out, "\n  [[modbus.device]]\n  name = {}\n  unit = {}\n", quoted(device), args.unit);
        if let Some(template) = &self.template {
            let _ = writeln!(out, "  template = {}  # {}", quoted(template.name), template.source);
        }
        let _ = writeln!(out, "  asset = {}", quoted(self.machines.default()));
        let _ = writeln!(out, "  interval = \"{}\"", crate::config::notation::show_duration(args.interval));
        if args.base != 0 {
            let _ = writeln!(out, "  base = {}", args.base);
        }
        if args.byte_order != "ABCD" {
            let _ = writeln!(out, "  byte_order = {}", quoted(&args.byte_order));
        }
        let mut lines = Vec::with_capacity(self.drafts.len());
        if !self.drafts.is_empty() {
            out.push_str("  signals = [\n");
            let mut line = out.matches('\n').count();
            for draft in &self.drafts {
                let text = draft.text(&self.machines);
                line += 1;
                lines.push(line);
                line += text.matches('\n').count() - 1;
                out.push_str(&text);
            }
            out.push_str("  ]\n");
        }
        (out, lines)
    }

    fn report(&self) -> String {
        let mut out = String::new();
        for draft in &self.drafts {
            match &draft.left_out {
                Some(why) => drop(writeln!(out, "row {} `{}` is left out: {why}", draft.row, draft.name)),
                None if draft.notes.is_empty() => {}
                None => drop(writeln!(out, "row {} `{}`: {}", draft.row, draft.name, draft.notes.join("; "))),
            }
        }
        let left_out = self.drafts.iter().filter(|draft| draft.left_out.is_some()).count();
        let guessed = self.drafts.iter().filter(|draft| draft.left_out.is_none() && !draft.notes.is_empty()).count();
        if !self.drafts.is_empty() {
            let taken = self.drafts.len() - left_out;
            let _ = writeln!(out, "{}: {taken} taken, {guessed} of them with a guess, {left_out} left out", self.from);
        }
        out
    }
}

/// Whether an id can be an asset's.
fn is_asset(id: &str) -> bool {
    AssetId::new(id).is_ok()
}

#[cfg(test)]
mod tests;
