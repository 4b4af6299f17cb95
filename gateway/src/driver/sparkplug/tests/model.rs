//! Any loss, repetition and delay of messages, against a simple model: what is understood,
//! is understood rightly, and as much of it as the model says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Metrics of the node and of the device, each half.
const METRICS: usize = 8;
/// Messages of one session. Longer than what is lost in a row, so that a birth that is lost
/// shows in the sequence; that it might fit by chance is a limit of the protocol.
const SESSION: std::ops::Range<usize> = 24..48;
/// Most messages lost in a row, and most places that one comes late.
const DISORDER: usize = 3;

#[derive(Debug, Clone)]
struct Message {
    kind: &'static str,
    seq: u8,
    /// Metric and alias. A birth has names beside, data has not.
    metrics: Vec<(usize, u64)>,
}

#[derive(Debug, Clone)]
enum Fate {
    Whole,
    Lost,
    Twice,
    Late(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Whole),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => (1..=DISORDER).prop_map(Fate::Late),
    ]
}

/// One session of a node, its aliases in an order of its own.
fn session() -> impl Strategy<Value = Vec<Message>> {
    let aliases = Just((1..=METRICS as u64).collect::<Vec<_>>()).prop_shuffle();
    let data = prop::collection::vec((0..METRICS, prop::bool::weighted(0.02)), SESSION);
    (aliases, data).prop_map(|(aliases, data)| {
        let half = |device: bool| {
            (0..METRICS)
                .filter(move |metric| (*metric >= METRICS / 2) == device)
                .map(|metric| (metric, aliases[metric]))
        };
        let mut messages = vec![("NBIRTH", half(false).collect()), ("DBIRTH", half(true).collect())];
        for (metric, is_rebirth) in data {
            let device = metric >= METRICS / 2;
            if is_rebirth && device {
                messages.push(("DBIRTH", half(true).collect()));
            }
            messages.push((if device { "DDATA" } else { "NDATA" }, vec![(metric, aliases[metric])]));
        }
        let number = |(seq, (kind, metrics)): (usize, _)| Message { kind, seq: u8::try_from(seq).unwrap(), metrics };
        messages.into_iter().enumerate().map(number).collect()
    })
}

/// What arrives of what was sent.
fn arrivals(sent: &[Message], fates: &[Fate]) -> Vec<Message> {
    let mut arrived: Vec<(usize, Message)> = Vec::new();
    let mut lost = 0;
    for (at, (message, fate)) in sent.iter().zip(fates.iter().cycle()).enumerate() {
        let place = match fate {
            Fate::Lost if lost < DISORDER => {
                lost += 1;
                continue;
            }
            Fate::Late(by) => at + by,
            _ => at,
        };
        lost = 0;
        arrived.push((place, message.clone()));
        if matches!(fate, Fate::Twice) {
            arrived.push((place, message.clone()));
        }
    }
    arrived.sort_by_key(|(place, _)| *place);
    arrived.into_iter().map(|(_, message)| message).collect()
}

/// The whole of the rules, as short as they can be said.
#[derive(Default)]
struct Model {
    last: Option<u8>,
    /// By half: what each alias stands for.
    names: [Option<BTreeMap<u64, usize>>; 2],
}

impl Model {
    /// The metrics that a message tells of.
    fn take(&mut self, message: &Message) -> Vec<usize> {
        let half = usize::from(message.kind.starts_with('D'));
        let follows = self.last.is_some_and(|last| last.wrapping_add(1) == message.seq);
        self.last = Some(message.seq);
        if message.kind == "NBIRTH" || !follows {
            self.names = [None, None];
        }
        if message.kind.ends_with("BIRTH") {
            self.names[half] = Some(message.metrics.iter().map(|(metric, alias)| (*alias, *metric)).collect());
            return message.metrics.iter().map(|(metric, _)| *metric).collect();
        }
        let Some(names) = &self.names[half] else { return Vec::new() };
        message.metrics.iter().filter_map(|(_, alias)| names.get(alias).copied()).collect()
    }
}

proptest! {
    #[test]
    fn no_order_or_loss_of_messages_puts_a_value_under_a_wrong_name(
        sessions in prop::collection::vec(session(), 1..5),
        fates in prop::collection::vec(fate(), 7..97),
        lost_at in prop::option::of(0usize..150),
        last in session(),
    ) {
        let names: Vec<String> = (0..METRICS).map(|metric| format!("m{metric}")).collect();
        let (own, device) = names.split_at(METRICS / 2);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let device: Vec<&str> = device.iter().map(String::as_str).collect();
        let mut rig = Rig::new(node(&own, &device, true));
        let mut model = Model::default();
        let sent: Vec<Message> = sessions.into_iter().flatten().collect();
        let disordered = arrivals(&sent, &fates);
        // Whatever came before, a session that comes whole is understood whole.
        let (whole_from, whole) = (disordered.len(), last.iter().map(|message| message.metrics.len()).sum::<usize>());
        let mut understood = 0;
        for (count, message) in disordered.into_iter().chain(last).enumerate() {
            if lost_at == Some(count) {
                rig.nodes.lost(at(rig.seconds));
                model = Model::default();
            }
            let is_birth = message.kind.ends_with("BIRTH");
            // A value tells which metric it is of.
            let metrics = message.metrics.iter().map(|(metric, alias)| {
                let value = *metric as f64;
                if is_birth { told(&names[*metric], *alias, value) } else { data(*alias, value) }
            });
            let outcome = rig.say(message.kind, Some(message.seq.into()), metrics.collect::<Vec<_>>());
            for (signal, value) in numbers(&outcome) {
                prop_assert!((f64::from(signal) - value).abs() < 0.5, "{value} for {signal}: {message:?}");
            }
            let expected = model.take(&message);
            let found: Vec<usize> = outcome.samples.iter().map(|sample| sample.signal as usize).collect();
            prop_assert_eq!(found, expected, "{:?}", message);
            if count >= whole_from {
                understood += outcome.samples.len();
            }
        }
        prop_assert!(lost_at.is_some_and(|at| at >= whole_from) || understood == whole, "{understood} of {whole}");
    }
}
