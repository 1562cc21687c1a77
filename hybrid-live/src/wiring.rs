//! What every command stands on: the data directory, the secrets, the open stores, the write path.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adapters::codec::Codec;
use adapters::secrets::Secrets;
use adapters::stores::{self, Stores};
use command_api::relay::{self, Relay};
use command_api::write_path::WritePath;
use projectors::{Engagement, Profiles, Projection, Runtime, RuntimePorts, Timelines};

use crate::config::Config;
use crate::failure::Failure;
use crate::operations::Operations;

/// An opened data directory.
pub(crate) struct Opened {
    pub(crate) stores: Stores,
    pub(crate) secrets: Secrets,
    pub(crate) codec: Arc<Codec>,
    pub(crate) write_path: WritePath,
}

impl Opened {
    /// Brings to the log what commands of this process have left in outboxes, before it ends. What does not get there
    /// now is for a server's relay.
    pub(crate) async fn publish_what_waits(&self) {
        if self.stores.log_shares_transactions {
            return;
        }
        let at_once = relay::Settings { age: Duration::ZERO, ..relay::Settings::default() };
        if let Err(error) = Relay::new(&self.write_path, at_once).sweep().await {
            tracing::warn!(%error, "some events wait for a server to publish them");
        }
    }
}

/// Makes the data directory if it is not there.
///
/// # Errors
/// Says what is in the way.
pub(crate) fn make_data_dir(config: &Config) -> Result<(), Failure> {
    let directory = config.data_dir();
    std::fs::create_dir_all(directory).map_err(|error| {
        Failure::cannot_run(format!("the data directory {} cannot be made: {error}", directory.display()))
    })
}

/// Refuses a data directory that is not there: for commands that have nothing to do in an empty one.
///
/// # Errors
/// Names the directory.
pub(crate) fn expect_data_dir(config: &Config) -> Result<(), Failure> {
    let directory = config.data_dir();
    if directory.is_dir() {
        return Ok(());
    }
    let shown = directory.display();
    Err(Failure::cannot_run(format!(
        "there is no data directory {shown}; `--data-dir` or HYBRID_LIVE_DATA_DIR names another"
    )))
}

/// Opens everything in the data directory, which is there.
///
/// # Errors
/// Names what does not open.
pub(crate) async fn open(config: &Config) -> Result<Opened, Failure> {
    expect_writable(config.data_dir())?;
    let secrets =
        Secrets::load_or_create(&config.secrets_file()).map_err(|error| Failure::cannot_run(error.to_string()))?;
    let stores = stores::open(&config.store_urls(), config.partitions).await;
    let stores = stores.map_err(|error| Failure::cannot_run(error.to_string()))?;
    if stores.event_log.partitions() != config.partitions {
        let (there, wanted) = (stores.event_log.partitions(), config.partitions);
        tracing::info!(there, wanted, "the log keeps the partitions that it was made with");
    }
    let codec = Arc::new(Codec::new(Arc::clone(&stores.content), &secrets));
    let write_path = WritePath::new(Arc::clone(&stores.content), Arc::clone(&stores.event_log), Arc::clone(&codec));
    Ok(Opened { stores, secrets, codec, write_path })
}

/// Every projection.
pub(crate) fn projections(config: &Config, stores: &Stores) -> Vec<Arc<dyn Projection>> {
    let Stores { views, timelines, live, .. } = stores.clone();
    let limits = config.timeline_limits();
    vec![
        Arc::new(Timelines::new(Arc::clone(&views), timelines, Arc::clone(&live), limits)),
        Arc::new(Engagement::new(Arc::clone(&views), live)),
        Arc::new(Profiles::new(views)),
    ]
}

/// What operators do.
pub(crate) fn operations(config: &Config, opened: &Opened) -> Operations {
    let projections = projections(config, &opened.stores);
    Operations::new(opened.stores.clone(), Arc::clone(&opened.codec), &projections)
}

/// Starts every projection.
///
/// # Errors
/// What the stores say.
pub(crate) async fn start_projections(config: &Config, opened: &Opened) -> Result<Runtime, Failure> {
    let Stores { event_log, checkpoints, .. } = opened.stores.clone();
    let ports = RuntimePorts { event_log, checkpoints, codec: Arc::clone(&opened.codec) };
    let started = Runtime::start(ports, projections(config, &opened.stores), config.projection_settings()).await;
    started.map_err(|error| Failure::failed(format!("the projections do not start: {error}")))
}

/// SQLite's own words for a directory without the right to write are hard to understand.
fn expect_writable(directory: &Path) -> Result<(), Failure> {
    let probe = directory.join(format!(".writable-{}", std::process::id()));
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    written.map_err(|error| {
        Failure::cannot_run(format!("the data directory {} cannot be written to: {error}", directory.display()))
    })
}
