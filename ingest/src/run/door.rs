//! How a command reaches the store: through the running service, or by itself.

use std::sync::Arc;

use super::{Parts, RunError, data_dir};
use crate::admin::socket::{Client, NAME};
use crate::admin::{Admin, Answer, Command, Refused};
use crate::config::Config;

/// A way in.
pub struct Door(Way);

enum Way {
    Running(Client),
    // The admin first: what it holds ends before the lock goes with the parts.
    Own(Box<Admin>, Box<Parts>),
}

impl Door {
    /// By itself when the lock on the data directory is free, else through the socket
    /// of the process that holds it.
    pub async fn open(config: &Config) -> Result<Self, RunError> {
        if let Some(stores) = data_dir::open(config).await? {
            let parts = Parts::open(config, stores).await?;
            return Ok(Self(Way::Own(
                Box::new(parts.admin(Arc::default(), None, config.uplink.public_at(config.uplink.address))),
                Box::new(parts),
            )));
        }
        match Client::connect(&config.data_dir.join(NAME)).await {
            Ok(client) => Ok(Self(Way::Running(client))),
            Err(error) => {
                tracing::debug!(%error, "the admin socket does not answer");
                Err(RunError::InUse(config.data_dir.clone()))
            }
        }
    }

    /// What whoever opened it has to be told of the store.
    pub fn notice(&self) -> Option<&str> {
        match &self.0 {
            Way::Running(_) => None,
            Way::Own(_, parts) => parts.stores.notice.as_deref(),
        }
    }

    /// Has one command carried out.
    pub async fn execute(&mut self, command: Command) -> Result<Answer, Refused> {
        match &mut self.0 {
            Way::Running(client) => client.execute(&command).await,
            Way::Own(admin, _) => admin.execute(command).await,
        }
    }

    /// Ends what was begun.
    pub async fn close(self) {
        if let Way::Own(_, parts) = self.0 {
            parts.access.finish().await;
            parts.bear_witness().await;
        }
    }
}
