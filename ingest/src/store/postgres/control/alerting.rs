//! What is remembered of alerts.

use async_trait::async_trait;

use super::{PostgresControl, STATEMENTS, Tx, sql, statement};
use crate::audit::Draft;
use crate::store::control::{AlertRows, Alerting, ControlError, behind};

#[async_trait]
impl Alerting for PostgresControl {
    async fn alerting(&self, prefix: &str) -> Result<Vec<(String, String)>, ControlError> {
        self.list(sql!("alerting"), &[&prefix, &behind(prefix)], |row| Ok((row.get(0), row.get(1)))).await
    }

    async fn keep_alerting(&self, kept: AlertRows, drafts: Vec<Draft>, now_us: i64) -> Result<(), ControlError> {
        let mut client = self.client().await?;
        let tx = Tx::begin(&mut client).await?;
        for (name, body) in kept {
            match body {
                Some(body) => tx.execute(sql!("put_alerting"), &[&name, &body]).await?,
                None => tx.execute(sql!("drop_alerting"), &[&name]).await?,
            };
        }
        if !drafts.is_empty() {
            tx.append(drafts.into_iter().map(|draft| (draft, now_us)).collect()).await?;
        }
        tx.commit().await
    }
}
