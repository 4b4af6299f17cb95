//! What only one process at a time may do: retention, partitions, and the like.
//!
//! The lease is an advisory lock of a connection of its own. Whoever holds it has it until
//! its process or connection ends, and then another process gets it.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::migrate::LOCKS;

/// How often a process asks for the lease, and looks whether it still has it. What is done
/// under it is a matter of minutes.
const INTERVAL: Duration = Duration::from_secs(2);

/// What a lease is for. Numbers are never used for anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Retention, partitions, and what else the store does in the background.
    Upkeep = 16,
    /// Telling people of alerts.
    Alerts = 17,
}

/// How this process stands to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Another process has it, or nobody knows.
    Not,
    /// This one has it.
    Held,
    /// This one had it when the database went: as far as it knows, nobody has it since.
    Orphaned,
}

/// Asks for a lease for as long as the process serves.
#[derive(Debug, Clone)]
pub struct Lease {
    hold: watch::Receiver<Hold>,
}

impl Lease {
    /// Begins to ask; ends with `stop`, and then another process gets it.
    pub fn ask(database: Database, duty: Duty, stop: CancellationToken) -> Self {
        let (tell, hold) = watch::channel(Hold::Not);
        tokio::spawn(async move {
            while stop.run_until_cancelled(turn(&database, duty, &tell)).await.is_some() {
                tell.send_if_modified(|hold| {
                    *hold == Hold::Held && std::mem::replace(hold, Hold::Orphaned) == Hold::Held
                });
                if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
                    break;
                }
            }
            tell.send_replace(Hold::Not);
        });
        Self { hold }
    }

    /// Whether this process has it. A piece of work that was begun under it may end after it
    /// was lost: it must do no harm when another process does the same.
    pub fn is_held(&self) -> bool {
        *self.hold.borrow() == Hold::Held
    }

    /// The same, or it had it when the database went and nobody is known to have taken it since: for what
    /// is to be done just then, as telling people that the database is away.
    pub fn is_held_or_orphaned(&self) -> bool {
        *self.hold.borrow() != Hold::Not
    }

    /// Waits until this process has it.
    pub async fn held(&mut self) {
        // The asking ends with the process.
        if self.hold.wait_for(|hold| *hold == Hold::Held).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One connection, from the first question until it breaks.
async fn turn(database: &Database, duty: Duty, tell: &watch::Sender<Hold>) {
    let client = match database.own().await {
        Ok(client) => client,
        Err(error) => return tracing::debug!(%error, "the lease cannot be asked for"),
    };
    let mut held = false;
    loop {
        // Asking again for what one holds counts it twice, and a connection's end gives all of it back.
        let asked = if held {
            client.query_one("SELECT true", &[]).await
        } else {
            client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&LOCKS, &(duty as i32)]).await
        };
        match asked {
            Ok(row) => held = row.get(0),
            Err(error) => return tracing::debug!(%error, "the connection of the lease broke"),
        }
        let now = if held { Hold::Held } else { Hold::Not };
        tell.send_if_modified(|hold| std::mem::replace(hold, now) != now);
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers;
    use crate::store::postgres::Settings;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_has_it_and_the_next_gets_it_when_the_first_ends() {
        let server = servers::plain();
        let database = Database::connect(Settings::of(server.dsn().parse().unwrap())).await.unwrap();
        let (first_stop, second_stop) = (CancellationToken::new(), CancellationToken::new());
        let mut first = Lease::ask(database.clone(), Duty::Upkeep, first_stop.clone());
        first.held().await;
        let mut second = Lease::ask(database, Duty::Upkeep, second_stop);
        assert!(!second.is_held());
        first_stop.cancel();
        second.held().await;
        assert!(!first.is_held_or_orphaned(), "another one has it");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_is_lost_with_the_server_and_asked_for_again() {
        let mut server = servers::Server::start();
        let place = server.database();
        let database = Database::connect(Settings::of(place.dsn().parse().unwrap())).await.unwrap();
        let mut lease = Lease::ask(database, Duty::Upkeep, CancellationToken::new());
        lease.held().await;
        server.crash();
        lease.hold.wait_for(|hold| *hold == Hold::Orphaned).await.unwrap();
        assert!(!lease.is_held() && lease.is_held_or_orphaned());
        server.resume();
        lease.held().await;
    }
}
