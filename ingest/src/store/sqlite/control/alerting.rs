//! What is remembered of alerts.

use async_trait::async_trait;

use super::{STATEMENTS, SqliteControl, append, rows, statement};
use crate::audit::Draft;
use crate::store::control::{AlertRows, Alerting, ControlError, behind};

#[async_trait]
impl Alerting for SqliteControl {
    async fn alerting(&self, prefix: &str) -> Result<Vec<(String, String)>, ControlError> {
        let range = [prefix.to_owned(), behind(prefix)];
        self.read(move |tx| rows(tx, sql!("alerting"), range, |row| Ok((row.get(0)?, row.get(1)?)))).await
    }

    async fn keep_alerting(&self, kept: AlertRows, drafts: Vec<Draft>, now_us: i64) -> Result<(), ControlError> {
        self.write(move |tx| {
            for (name, body) in kept {
                match body {
                    Some(body) => tx.prepare_cached(sql!("put_alerting"))?.execute([name, body])?,
                    None => tx.prepare_cached(sql!("drop_alerting"))?.execute([name])?,
                };
            }
            for draft in drafts {
                append(tx, draft, now_us)?;
            }
            Ok(())
        })
        .await
    }
}
