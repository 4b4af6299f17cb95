//! `sandan-gateway run`: from the plant to the ingest until a signal comes.

use crate::config::Config;

/// Runs the gateway until it is told to stop.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // The pipeline plugs in here.
    let _ = config;
    std::future::ready(()).await;
    anyhow::bail!("this build has no pipeline")
}
