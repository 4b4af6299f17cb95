//! Before anything is checked: what devices take from their endpoint, from a template and from
//! a sheet is put into their tables, so that the rest reads each as if all of it stood there.
//!
//! Of one key the first of these counts: the device, its template, what that one extends, the
//! endpoint, the default. Every value keeps the place where it is written.

use std::path::Path;

use super::columns;
use super::fault::Log;
use super::template::{Library, short_rows};
use super::tree::{Entry, Node, Table, Value, tables};

/// What an endpoint may say for all of its devices.
const OF_ENDPOINTS: [&str; 7] = ["asset", "interval", "byte_order", "base", "max_words", "max_bits", "max_hole"];

/// Completes the devices of all Modbus endpoints. Relative paths start at `folder`.
pub(super) fn expand(root: &mut Table, folder: &Path, log: &Log) {
    let templates = match root.get("templates_dir").map(|entry| &entry.node) {
        Some(Node { at, value: Value::Text(path) }) => {
            let path = folder.join(path);
            if !path.is_dir() {
                log.fault(
                    *at,
                    format!("`templates_dir` is no directory: {}", path.display()),
                    "name one, or leave it out",
                );
            }
            Some(path)
        }
        _ => None,
    };
    let mut library = Library::new(templates, log);
    for (_, endpoint) in tables(root, "modbus") {
        let common: Vec<_> = OF_ENDPOINTS.iter().filter_map(|key| Some((*key, endpoint.remove(*key)?))).collect();
        for (_, device) in tables(endpoint, "device") {
            sheet(device, folder, log);
            short_rows(device, log);
            if let Some(Node { at, value: Value::Text(name) }) = device.get("template").map(|entry| entry.node.clone())
            {
                library.complete(device, &name, at);
            }
            for (key, entry) in &common {
                if !device.contains_key(*key) {
                    device.insert((*key).to_owned(), entry.clone());
                }
            }
        }
    }
}

/// Adds the rows of `signals_csv` to those of `signals`.
fn sheet(device: &mut Table, folder: &Path, log: &Log) {
    let Some(entry) = device.get("signals_csv") else { return };
    // Anything else than a path is told where the device is read.
    let Value::Text(path) = &entry.node.value else { return };
    let (key_at, at) = (entry.key_at, entry.node.at);
    let Some(more) = columns::signals(&folder.join(path), at, log) else { return };
    device.remove("signals_csv");
    match device.get_mut("signals").map(|entry| &mut entry.node.value) {
        Some(Value::List(rows)) => rows.extend(more),
        Some(_) => {}
        None => {
            device.insert("signals".into(), Entry { key_at, node: Node { at, value: Value::List(more) } });
        }
    }
}
