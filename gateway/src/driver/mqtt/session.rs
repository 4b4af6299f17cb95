//! One connection to a broker, from connecting to its end.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Event, Events};
use super::fault::Fault;
use super::{Driver, Ended};
use crate::clock;
use crate::config::SparkplugNode;
use crate::driver::Closed;
use crate::driver::message::Rebirth;
use crate::driver::sparkplug::topic;

/// How long a broker may take to answer the subscription.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(10);
/// How long a stop waits for the sync of what was taken: a slow SD card under load.
const SYNC_PATIENCE: Duration = Duration::from_secs(8);
/// How long a stop waits for the broker to close the line after the goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);

type Inbox = mpsc::Receiver<Result<Event, Fault>>;

impl Driver {
    /// One connection, from connecting to its end.
    pub(super) async fn connection(
        &mut self,
        (client, mut events): (Client, Events),
        stop: &CancellationToken,
    ) -> Ended {
        // Polled by itself and never cancelled halfway. While nobody takes replies it
        // stands still; a broker that gives up meanwhile delivers again later.
        let (sender, mut receiver) = mpsc::channel(1);
        let pump = async move {
            loop {
                let event = events.poll().await;
                let last = event.is_err();
                if sender.send(event).await.is_err() || last {
                    // Whoever reads the last event ends the connection.
                    return std::future::pending().await;
                }
            }
        };
        let work = async {
            // The handling of an event may be cut short: a message that was not sent on
            // is not acknowledged, and the broker has it.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                ended = self.handle(&client, &mut receiver) => return ended,
            }
            self.leave(&client, &mut receiver).await;
            Ended::Stopped
        };
        tokio::select! {
            ended = work => ended,
            ended = pump => ended,
        }
    }

    async fn handle(&mut self, client: &Client, events: &mut Inbox) -> Ended {
        let mut synced = self.tickets.outlet.synced.clone();
        let mut pipeline_is_there = true;
        // Set while the broker owes an answer to the subscription.
        let mut asked: Option<Instant> = None;
        loop {
            self.ledger.synced(*synced.borrow_and_update());
            self.acknowledge(client);
            let ask_at = if asked.is_none() { self.nodes.due_us().map(instant) } else { None };
            tokio::select! {
                event = events.recv() => match event {
                    Some(Ok(event)) => {
                        match &event {
                            Event::Connected { .. } => asked = Some(Instant::now()),
                            Event::Subscribed(_) => asked = None,
                            _ => {}
                        }
                        if let Err(closed) = self.event(client, event).await {
                            return closed.into();
                        }
                    }
                    Some(Err(fault)) => return Ended::Fault(fault),
                    // The pump ends after an error only, and that came before.
                    None => return Ended::Fault(Fault::new("the connection ended")),
                },
                () = sleep_until(asked.unwrap_or_else(Instant::now) + SUBSCRIBED_WITHIN), if asked.is_some() => {
                    return Ended::Fault(Fault::new("the broker does not answer the subscription"));
                }
                () = sleep_until(ask_at.unwrap_or_else(Instant::now)), if ask_at.is_some() => {
                    if let Some(node) = self.nodes.ask(self.now()) {
                        self.ask_for_rebirth(client, &node);
                    }
                }
                changed = synced.changed(), if pipeline_is_there => pipeline_is_there = changed.is_ok(),
            }
        }
    }

    /// Hands over what is owed while there is room for it. There is again after the next
    /// event, which is one of them written.
    fn acknowledge(&mut self, client: &Client) {
        while let Some(packet_id) = self.ledger.owed() {
            if client.acknowledge(packet_id).is_err() {
                return;
            }
            self.ledger.acknowledged();
        }
    }

    /// Takes nothing more, waits for the sync of what was taken, acknowledges it and says
    /// goodbye. What is not acknowledged then stays with the broker.
    async fn leave(&mut self, client: &Client, events: &mut Inbox) {
        if self.connected != Some(true) {
            return;
        }
        match timeout(SYNC_PATIENCE, self.settle(client, events)).await {
            Ok(Ok(())) => {}
            Ok(Err(Fault { sentence: fault, .. })) => {
                tracing::warn!(endpoint = self.endpoint.place(), fault, "broker is lost during the stop");
                return;
            }
            Err(_) => tracing::warn!(
                endpoint = self.endpoint.place(),
                "not everything is synced and acknowledged; the broker delivers the rest again"
            ),
        }
        if client.disconnect().is_ok() {
            // The broker closes the line when it has read all. Closed from here, with
            // messages on the way, it could lose it the last acknowledgements.
            let closed = async { while let Some(Ok(_)) = events.recv().await {} };
            let _ = timeout(GOODBYE_PATIENCE, closed).await;
        }
    }

    /// Until all that was taken is synced, and its acknowledgements are written.
    async fn settle(&mut self, client: &Client, events: &mut Inbox) -> Result<(), Fault> {
        let mut synced = self.tickets.outlet.synced.clone();
        let mut pipeline_is_there = true;
        loop {
            self.ledger.synced(*synced.borrow_and_update());
            self.acknowledge(client);
            if self.ledger.is_written() && !(pipeline_is_there && self.ledger.awaits_sync()) {
                return Ok(());
            }
            tokio::select! {
                event = events.recv() => match event {
                    Some(Ok(Event::Message(message))) => {
                        // A new one is not taken; one that was taken is owed on this connection.
                        if let Some(packet_id) = message.packet_id {
                            self.ledger.arrived(packet_id, message.dup, message.digest());
                        }
                    }
                    Some(Ok(event)) => self.written(&event),
                    Some(Err(fault)) => return Err(fault),
                    None => return Err(Fault::new("the connection ended")),
                },
                changed = synced.changed(), if pipeline_is_there => pipeline_is_there = changed.is_ok(),
            }
        }
    }

    async fn event(&mut self, client: &Client, event: Event) -> Result<(), Closed> {
        match event {
            Event::Connected { session_present } => {
                self.ledger.connected(session_present);
                self.connected_at = Some(Instant::now());
                // Also where the broker kept the session: there may be new topics. Nothing
                // else is in the channel yet, so there is room.
                if client.subscribe(&self.filters()).is_err() {
                    tracing::error!(endpoint = self.endpoint.place(), "subscription could not be sent");
                }
            }
            Event::Subscribed(granted) => self.subscribed(&granted),
            Event::Message(message) => {
                if let Some(node) = self.message(&message).await? {
                    self.ask_for_rebirth(client, &node);
                }
            }
            event => self.written(&event),
        }
        Ok(())
    }

    fn ask_for_rebirth(&self, client: &Client, node: &Rebirth) {
        tracing::info!(endpoint = self.endpoint.place(), group = node.group, node = node.node, "asked for a rebirth");
        // The next is due when this one had no effect.
        if client.ask_for_rebirth(node).is_err() {
            tracing::warn!(endpoint = self.endpoint.place(), "a request for a rebirth could not be sent");
        }
    }

    /// What went over the line, for the ledger.
    fn written(&mut self, event: &Event) {
        match event {
            Event::Pong => self.ledger.pong(),
            Event::Ping => self.ledger.ping(),
            Event::Acknowledged => self.ledger.written(),
            _ => {}
        }
    }

    /// Every topic filter once, however many devices read it.
    fn filters(&self) -> Vec<String> {
        let mut filters: Vec<_> = self.endpoint.devices.iter().map(|device| device.topic.filter()).collect();
        filters.extend(self.endpoint.sparkplug.iter().flat_map(node_filters));
        filters.sort();
        filters.dedup();
        filters
    }

    /// The broker answered the subscription, which is when it is there.
    fn subscribed(&mut self, granted: &[Result<u8, &'static str>]) {
        if self.connected.replace(true) == Some(false) {
            self.health.reachable(self.tickets.outlet.source);
            if self.brief == 0 {
                tracing::info!(endpoint = self.endpoint.place(), "broker is reached again");
            }
        }
        self.nodes.connected();
        for (filter, granted) in self.filters().iter().zip(granted) {
            match granted {
                Ok(0) if self.brief == 0 => tracing::warn!(
                    endpoint = self.endpoint.place(),
                    filter,
                    "the broker grants quality of service 0 only: what comes while the gateway is away is lost"
                ),
                Ok(_) => {}
                Err(reason) => {
                    let fault = format!("the broker refuses the subscription to {filter}: {reason}");
                    tracing::warn!(endpoint = self.endpoint.place(), fault, "no messages will come");
                    for device in self.endpoint.devices.iter().filter(|device| device.topic.filter() == *filter) {
                        self.health.refused(device.device, 0, None, &fault);
                    }
                    let nodes = self.endpoint.sparkplug.iter();
                    let refused = nodes.filter(|node| node_filters(node).any(|own| own == *filter));
                    for device in refused.flat_map(|node| &node.devices) {
                        self.health.refused(device.device, 0, None, &fault);
                    }
                }
            }
        }
    }
}

/// A moment of the boot clock on that of timers.
fn instant(monotonic_us: i64) -> Instant {
    let wait_us = u64::try_from(monotonic_us - clock::monotonic_us()).unwrap_or(0);
    Instant::now() + Duration::from_micros(wait_us)
}

fn node_filters(node: &SparkplugNode) -> impl Iterator<Item = String> {
    topic::filters(&node.group, &node.node)
}
