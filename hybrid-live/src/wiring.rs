//! What every command stands on: the data directory, the secrets, the open stores, the write path.
//!
//! Commands of operators need all stores at once and end where one does not open. What serves opens its stores one by
//! one, as its roles need them: see `serve::start`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adapters::codec::Codec;
use adapters::secrets::Secrets;
use adapters::sqlite::Sharing;
use adapters::stores::{OpenStoresError, Opener, Port, Stores};
use command_api::relay::{self, Relay};
use command_api::write_path::WritePath;
use domain::Topic;
use projectors::{Engagement, EngagementPorts, Profiles, Projection, Runtime, RuntimePorts, Timelines};

use crate::config::Config;
use crate::failure::Failure;
use crate::operations::Operations;

/// A projection, as far as those have to do with it who do not run it.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    /// What it reads.
    pub(crate) topics: &'static [Topic],
    /// What it writes, and tells.
    pub(crate) ports: &'static [Port],
}

/// Every projection.
pub(crate) const PROJECTIONS: [Known; 3] = [
    Known { name: Timelines::NAME, topics: Timelines::TOPICS, ports: &[Port::Views, Port::Timelines, Port::Live] },
    Known { name: Engagement::NAME, topics: Engagement::TOPICS, ports: &[Port::Views, Port::Cache, Port::Live] },
    Known { name: Profiles::NAME, topics: Profiles::TOPICS, ports: &[Port::Views] },
];

/// An opened data directory.
pub(crate) struct Opened {
    opener: Opener,
    pub(crate) stores: Stores,
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

/// Refuses a data directory that is not there, if any store is in it: for commands that have nothing to do in an empty
/// one.
///
/// # Errors
/// Names the directory.
pub(crate) fn expect_data_dir(config: &Config) -> Result<(), Failure> {
    let directory = config.data_dir();
    if directory.is_dir() || !config.store_urls().use_files() {
        return Ok(());
    }
    let shown = directory.display();
    Err(Failure::cannot_run(format!(
        "there is no data directory {shown}; `--data-dir` or HYBRID_LIVE_DATA_DIR names another"
    )))
}

/// Opens everything, for a command that looks or does one thing; a data directory that is needed is there.
///
/// # Errors
/// Names what does not open.
pub(crate) async fn open(config: &Config) -> Result<Opened, Failure> {
    open_as(config, Sharing::Visiting).await
}

/// Opens everything, beside whoever `sharing` says; a data directory that is needed is there.
///
/// # Errors
/// Names what does not open.
pub(crate) async fn open_as(config: &Config, sharing: Sharing) -> Result<Opened, Failure> {
    let (opener, secrets) = begin(config, sharing)?;
    let stores = opener.all().await?;
    let codec = Arc::new(Codec::new(Arc::clone(&stores.content), &secrets));
    if config.store_urls().content_is_on_a_server() {
        expect_fitting(config, &codec).await?;
    }
    let write_path = WritePath::new(Arc::clone(&stores.content), Arc::clone(&stores.event_log), Arc::clone(&codec));
    Ok(Opened { opener, stores, codec, write_path })
}

/// What there is before any store is open.
///
/// # Errors
/// The data directory cannot be written, or the keys are not there.
pub(crate) fn begin(config: &Config, sharing: Sharing) -> Result<(Opener, Secrets), Failure> {
    let urls = config.store_urls();
    if urls.use_files() {
        expect_writable(config.data_dir())?;
    }
    Ok((Opener::new(urls, config.partitions, sharing), secrets(config)?))
}

/// The server's keys. They are made here only where nobody else could make others: a process that serves everything, with
/// the truth in its own file.
fn secrets(config: &Config) -> Result<Secrets, Failure> {
    let file = config.secrets_file();
    let unusable = |error: adapters::secrets::SecretsError| Failure::cannot_run(error.to_string());
    if config.roles().are_all() && !config.store_urls().content_is_on_a_server() {
        return Secrets::load_or_create(&file).map_err(unusable);
    }
    let missing = || {
        Failure::cannot_run(format!(
            "there is no secrets file {}: `hybrid-live migrate` makes it, once; every process needs the same",
            file.display()
        ))
    };
    Secrets::load(&file).map_err(unusable)?.ok_or_else(missing)
}

/// Refuses keys that are not those which the content was written with.
///
/// # Errors
/// They are others, or it cannot be told.
pub(crate) async fn expect_fitting(config: &Config, codec: &Codec) -> Result<(), Failure> {
    match codec.fits_the_content().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_fitting(config)),
        Err(error) => Err(Failure::cannot_run(format!("the content store does not answer: {error}"))),
    }
}

/// The keys are others.
pub(crate) fn not_fitting(config: &Config) -> Failure {
    Failure::cannot_run(format!(
        "the secrets file {} is not the one that the content store was written with: with other keys nobody could \
         read what is there, nor anybody else what this process would write",
        config.secrets_file().display()
    ))
}

/// What operators do.
pub(crate) fn operations(opened: &Opened) -> Operations {
    let Stores { event_log, checkpoints, .. } = opened.stores.clone();
    Operations::new(event_log, checkpoints, Arc::clone(&opened.codec))
}

/// Starts every projection that this process runs.
///
/// # Errors
/// What the stores say.
pub(crate) async fn start_projections(config: &Config, opened: &Opened) -> Result<Runtime, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the projections do not start: {error}"));
    let ours = projections(config, &opened.opener).await.map_err(|error| failed(&error))?;
    let Stores { event_log, checkpoints, .. } = opened.stores.clone();
    let ports = RuntimePorts { event_log, checkpoints, codec: Arc::clone(&opened.codec) };
    let started = Runtime::start(ports, ours, config.projection_settings()).await;
    started.map_err(|error| failed(&error))
}

/// The projections that this process runs, on what each is [known](PROJECTIONS) to need.
///
/// # Errors
/// That does not open.
pub(crate) async fn projections(config: &Config, opener: &Opener) -> Result<Vec<Arc<dyn Projection>>, OpenStoresError> {
    let roles = config.roles();
    let mut ours: Vec<Arc<dyn Projection>> = Vec::new();
    if roles.run(Timelines::NAME) {
        let (views, timelines, live) = (opener.views().await?, opener.timelines().await?, opener.live().await?);
        let checkpoints = opener.checkpoints().await?;
        ours.push(Arc::new(Timelines::new(views, timelines, live, checkpoints, config.timeline_limits())));
    }
    if roles.run(Engagement::NAME) {
        ours.push(Arc::new(Engagement::new(EngagementPorts {
            content: opener.content().await?,
            views: opener.views().await?,
            cache: opener.cache().await?,
            live: opener.live().await?,
            checkpoints: opener.checkpoints().await?,
        })));
    }
    if roles.run(Profiles::NAME) {
        ours.push(Arc::new(Profiles::new(opener.views().await?)));
    }
    Ok(ours)
}

/// SQLite's own words for a directory without the right to write are hard to understand.
fn expect_writable(directory: &Path) -> Result<(), Failure> {
    let probe = directory.join(format!(".writable-{}", std::process::id()));
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    written.map_err(|error| {
        Failure::cannot_run(format!("the data directory {} cannot be written to: {error}", directory.display()))
    })
}
