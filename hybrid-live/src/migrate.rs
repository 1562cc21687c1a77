//! `migrate`: brings the schemas of all stores up to date, and makes what a system needs before its first process starts.

use std::sync::Arc;

use adapters::codec::{Codec, WITNESS};
use adapters::secrets::Secrets;
use adapters::stores::{self, Migration};

use crate::config::Config;
use crate::failure::Failure;
use crate::serve::Lock;
use crate::terminal;
use crate::wiring;

/// Migrates store by store, and says from which version to which.
///
/// # Errors
/// A server is at work on the stores' files, a store does not answer or is newer than this program, or the keys do not
/// fit.
pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    let urls = config.store_urls();
    // Stores on servers keep others away by themselves.
    let lock = if urls.use_files() {
        wiring::make_data_dir(config)?;
        Some(Lock::take(config.data_dir())?)
    } else {
        None
    };
    let cannot_run = |error: stores::OpenStoresError| Failure::cannot_run(error.to_string());
    for stores::Migrated { port, url, migration: Migration { from, to } } in
        stores::migrate(&urls, config.partitions).await.map_err(cannot_run)?
    {
        let change = match from {
            0 => format!("made, version {to}"),
            same if same == to => format!("version {to}, as it was"),
            from => format!("version {from} → {to}"),
        };
        terminal::say(&format!("{port} at {url}: {change}"));
    }
    make_secrets(config).await?;
    drop(lock);
    Ok(())
}

/// Makes the server's keys, unless there are some, here or elsewhere.
async fn make_secrets(config: &Config) -> Result<(), Failure> {
    let file = config.secrets_file();
    let unusable = |error: adapters::secrets::SecretsError| Failure::cannot_run(error.to_string());
    let there = Secrets::load(&file).map_err(unusable)?;
    let is_new = there.is_none();
    let content = stores::open_content(&config.store_urls()).await;
    let content = content.map_err(|error| Failure::cannot_run(error.to_string()))?;
    let secrets = match there {
        Some(secrets) => secrets,
        None => {
            let witness = content.key(WITNESS).await;
            let witness =
                witness.map_err(|error| Failure::cannot_run(format!("the content store does not answer: {error}")))?;
            if witness.is_some() {
                return Err(Failure::cannot_run(format!(
                    "there is no secrets file {}, and the content store was written with one: put a copy of it there",
                    file.display()
                )));
            }
            if let Some(directory) = file.parent() {
                std::fs::create_dir_all(directory).map_err(|error| {
                    Failure::cannot_run(format!("the directory {} cannot be made: {error}", directory.display()))
                })?;
            }
            Secrets::load_or_create(&file).map_err(unusable)?
        }
    };
    wiring::expect_fitting(config, &Codec::new(Arc::clone(&content), &secrets)).await?;
    let state = if is_new { "made: every process needs it, and a backup apart from the data" } else { "as it was" };
    terminal::say(&format!("secrets at {}: {state}", file.display()));
    Ok(())
}
