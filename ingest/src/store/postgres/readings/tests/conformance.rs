//! The conformance suite over plain PostgreSQL and over TimescaleDB.

use proptest::prelude::*;

use super::*;
use crate::store::conformance::{conform, model};

/// What both kinds of server do alike.
macro_rules! engine {
    ($name:ident, $place:expr, $rearrange:expr) => {
        pub(crate) struct $name(Bed);

        impl Engine for $name {
            async fn new(clock: TestClock) -> Self {
                Self(Bed::new($place, clock).await)
            }
            fn store(&self) -> &dyn Readings {
                self.0.store()
            }
            async fn reopen(&mut self) {
                self.0.open().await;
            }
            /// Its transactions are the server's, which the kill suite ends.
            async fn crash_rearranging(&mut self, firm: &FirmId, _step: &'static str) {
                self.rearrange(firm).await;
                self.0.open().await;
            }
            async fn rearrange(&self, _firm: &FirmId) {
                self.0.store().upkeep().await.unwrap();
                // Over a connection of the store: the server in WASM has but one session, and a
                // read that waits for its turn must go on meanwhile.
                self.0.store().shared.session().await.unwrap().batch_execute($rearrange).await.unwrap();
            }
            async fn behind(&self, sql: &str) {
                self.0.sql(sql);
            }
            async fn count(&self, sql: &str) -> i64 {
                self.0.sql(sql).parse().unwrap()
            }
        }
    };
}

pub(crate) mod plain {
    use super::*;

    engine!(Plain, servers::plain(), "VACUUM readings.reading");
    conform!(super::Plain);

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn reads_give_what_was_delivered(run in model::any_run()) {
            model::holds::<Plain>(run);
        }
    }
}

pub(crate) mod timescale {
    use super::*;

    const COMPRESS: &str = "SELECT compress_chunk(chunk, true) FROM show_chunks('readings.reading') AS chunk";
    engine!(Timescaled, servers::timescale(), COMPRESS);
    conform!(super::Timescaled);

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

        #[test]
        fn reads_give_what_was_delivered(run in model::any_run()) {
            model::holds::<Timescaled>(run);
        }
    }
}
