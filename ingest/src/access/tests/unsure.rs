//! Where the database does not say, or not in time, whether something holds or was done: nothing is read.

use std::sync::atomic::AtomicBool;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::audit::Verifier;
use crate::servers;

/// Between a process and its database. It hands everything on, but for the answers to commits while
/// these are to be lost: what was to be committed is, and who asked for it never hears so.
struct Relay {
    loses: Arc<AtomicBool>,
}

impl Relay {
    /// In front of a database of its own, and who reaches it that way.
    async fn with_complex() -> (Self, Complex) {
        let place = tokio::task::spawn_blocking(servers::plain).await.unwrap();
        let config: tokio_postgres::Config = place.dsn().parse().unwrap();
        let tokio_postgres::config::Host::Unix(server) = &config.get_hosts()[0] else { panic!("{}", place.dsn()) };
        let (dir, socket) = (tempfile::tempdir().unwrap(), format!(".s.PGSQL.{}", config.get_ports()[0]));
        let listener = UnixListener::bind(dir.path().join(&socket)).unwrap();
        let dsn = place.dsn().replace(server.to_str().unwrap(), dir.path().to_str().unwrap());
        let (server, loses) = (server.join(&socket), Arc::new(AtomicBool::new(false)));
        let lost = Arc::clone(&loses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(hand_on(client, server, Arc::clone(&lost)));
            }
        });
        (Self { loses }, Complex::at(dir, &dsn, place).await)
    }

    fn lose(&self, loses: bool) {
        self.loses.store(loses, Ordering::SeqCst);
    }
}

/// Until either side ends, or the answer to a commit has come that is to be lost.
async fn hand_on(mut client: UnixStream, mut server: UnixStream, loses: Arc<AtomicBool>) {
    let (mut asked, mut answered) = ([0; 1 << 14], [0; 1 << 14]);
    let mut is_lost = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(length @ 1..) => {
                    is_lost |= loses.load(Ordering::SeqCst) && asked[..length].windows(6).any(|it| it == b"COMMIT");
                    server.write_all(&asked[..length]).await.unwrap();
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length @ 1..) if !is_lost => {
                    if client.write_all(&answered[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_read_of_whose_entry_nobody_knows_whether_it_was_written_is_refused() {
    let (relay, complex) = Relay::with_complex().await;
    complex.grant_raw().await;
    let ask = || complex.access.read(&complex.partner.0, request("saesol", Form::Raw, 0, 10), None);
    relay.lose(true);
    let refused = ask().await.err();
    assert!(matches!(refused, Some(AccessError::Control(_))), "{refused:?}");
    assert!(refused.is_some_and(|it| it.is_away()), "worth another try");
    assert_eq!(complex.memory.waiting.available_permits(), 0, "nothing was read");
    relay.lose(false);
    let mut reader = ask().await.unwrap();
    let number = reader.receipt().unwrap().number;
    assert_eq!(all(&mut reader).await.unwrap().len(), 10);
    drop(reader);
    let log = finished(&complex).await;
    let begun: Vec<_> = log.iter().filter(|it| it.kind == Kind::ReadStarted).map(|it| it.number).collect();
    assert_eq!((begun.len(), begun.last()), (2, Some(&number)), "the lost one was written; the read has its own");
    assert_eq!(log.iter().filter(|it| it.kind == Kind::ReadFinished).count(), 1);
    let chain = Chain::Firm(firm("hanbit"));
    let mut verifier = Verifier::new(chain.clone());
    for entry in complex.control.audit(&chain, 0, 1_000).await.unwrap() {
        verifier.take(&entry).unwrap();
    }
    verifier.finish(&complex.control.audit_head(&chain).await.unwrap()).unwrap();
}

async fn rows_of_which_nobody_confirms_in_time_that_they_are_shared_stay(on: Engine) {
    let mut complex = Complex::on(on).await;
    // No answer is in time.
    Arc::get_mut(&mut complex.access).expect("nobody reads yet").confirmed = Duration::ZERO;
    complex.grant_raw().await;
    let mut reader = open(&complex, 0, 10).await;
    let error = reader.next(10).await.unwrap_err();
    assert!(matches!(error, AccessError::Unconfirmed) && error.is_away(), "{error}");
    assert_eq!(complex.memory.waiting.available_permits(), 1, "it was read, and stays here");
    drop(reader);
    let end = finished(&complex).await.pop().unwrap();
    assert_eq!((end.kind, field(&end, "outcome")), (Kind::ReadFinished, "aborted".into()));
    assert_eq!(field(&end, "rows"), 0.into());
}

on_both_engines! {
    rows_of_which_nobody_confirms_in_time_that_they_are_shared_stay,
}
