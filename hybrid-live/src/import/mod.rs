//! `import`: the public posts of a Mastodon account export, with their original times.
//!
//! `outbox` reads the file, `activity` says what becomes a post. The ids of posts follow from the notes they come
//! from, so a second run finds them there and adds nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adapters::http::clock;
use command_api::commands::{Commands, Publication};
use command_api::write_path::{Origin, WriteError};
use domain::post::Visibility;
use domain::text::Username;
use domain::{CorrelationId, Rejection, StreamId, UserId};
use futures::{StreamExt as _, stream};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::cli::ImportArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::progress::{Progress, Unit};
use crate::terminal;
use crate::wiring::{self, Opened};
use activity::{ImportedPost, Reader, Skipped};
use outbox::{Counted, OutboxError};

mod activity;
mod outbox;

#[cfg(test)]
mod tests;

/// Posts written at one time: they share commits.
const CONCURRENCY: usize = 64;
/// Items read ahead.
const AHEAD: usize = 256;
/// Stack of the thread that converts: hostile markup nests as deep as [`activity`] lets it.
const STACK: usize = 64 * 1024 * 1024;
/// Items that are named because they should have become posts; more are only counted.
const NAMED: u64 = 20;

/// What came of an import.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    imported: u64,
    present: u64,
    /// Items that became no post, by reason.
    skipped: BTreeMap<&'static str, u64>,
}

/// Imports a file, and says what came of it.
///
/// # Errors
/// The file, the account or a store; what was read before is imported.
pub(crate) async fn run(config: &Config, args: &ImportArgs) -> Result<(), Failure> {
    let shown = args.file.display();
    let file = File::open(&args.file)
        .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
        .map_err(|error| Failure::cannot_run(format!("{shown} cannot be read: {error}")))?;
    let (file, metadata) = file;
    if metadata.is_dir() {
        return Err(Failure::cannot_run(format!("{shown} is a directory; give the outbox.json that is in it")));
    }
    wiring::expect_data_dir(config)?;
    let opened = wiring::open(config).await?;
    let owner = owner(&opened, &args.user).await?;

    let progress = Progress::new("importing", metadata.len(), Unit::Bytes);
    let outcome = import(&opened, owner, file, &progress).await;
    progress.finish();
    opened.publish_what_waits().await;
    let (summary, outcome) = outcome?;
    for line in lines(&summary, &args.user) {
        terminal::say(&line);
    }
    outcome.map_err(|error| Failure::cannot_run(format!("{shown} was not read to its end: {error}")))
}

/// The account that gets the posts.
async fn owner(opened: &Opened, name: &str) -> Result<UserId, Failure> {
    let refused = |reason: &str| Failure::cannot_run(format!("--as {name}: {reason}"));
    let username = Username::parse(name.trim_start_matches('@')).map_err(|error| refused(&error.to_string()))?;
    let content = &opened.stores.content;
    let failed = |error: adapters::StoreError| Failure::cannot_run(error.to_string());
    let none = || refused("there is no such account in this data directory; register it first");
    let owner = content.username_owner(&username).await.map_err(failed)?.ok_or_else(none)?;
    // A name may be claimed by somebody who never came into being.
    let states = content.states(&[StreamId::User(owner)]).await.map_err(failed)?;
    states.into_iter().next().flatten().map(|_| owner).ok_or_else(none)
}

/// What one item came to.
enum Item {
    Post(ImportedPost),
    Skipped(u64, Option<String>, Skipped),
}

/// Reads on a thread of its own and writes what it finds. The summary also where reading broke off.
async fn import(
    opened: &Opened,
    owner: UserId,
    source: impl Read + Send + 'static,
    progress: &Progress,
) -> Result<(Summary, Result<(), OutboxError>), Failure> {
    let bytes = Arc::new(AtomicU64::new(0));
    let source = Counted::new(source, Arc::clone(&bytes));
    let (sender, items) = mpsc::channel(AHEAD);
    let reader = std::thread::Builder::new().name("outbox-reader".to_owned()).stack_size(STACK);
    let reading = reader.spawn(move || read(source, owner, &sender));
    let reading = reading.map_err(|error| Failure::failed(format!("no thread to read on: {error}")))?;

    let commands = Commands::new(opened.write_path.clone());
    let origin = Origin {
        actor: owner,
        at: clock::now(),
        correlation: CorrelationId::from_parts(clock::now(), clock::entropy()),
        entropy: &clock::entropy,
    };
    let items = stream::unfold(items, |mut items| async move { items.recv().await.map(|item| (item, items)) });
    let mut written = pin!(items.map(|item| write(&commands, &origin, item)).buffer_unordered(CONCURRENCY));
    let mut summary = Summary::default();
    let mut named = 0;
    while let Some(outcome) = written.next().await {
        match outcome.map_err(|error| Failure::failed(format!("a post could not be written: {error}")))? {
            Written::New => summary.imported += 1,
            Written::Present => summary.present += 1,
            Written::Not(number, name, reason) => {
                *summary.skipped.entry(reason.kind()).or_default() += 1;
                if reason.is_a_fault() {
                    named += 1;
                    if named <= NAMED {
                        let name = name.map_or_else(String::new, |name| format!(" ({name})"));
                        progress.note(&format!("item {number}{name} is left out: {reason}"));
                    }
                }
            }
        }
        progress.set(bytes.load(Ordering::Relaxed));
    }
    let outcome = reading.join().map_err(|_| Failure::failed("reading the file broke off: a defect"))?;
    Ok((summary, outcome))
}

fn read(source: impl Read, owner: UserId, sender: &mpsc::Sender<Item>) -> Result<(), OutboxError> {
    let mut reader = Reader::new(owner, clock::now());
    outbox::read(source, &mut |number, item: &RawValue| {
        let item = match reader.read(item) {
            Ok(post) => Item::Post(post),
            Err(reason) => {
                let name = if reason.is_a_fault() { Reader::name(item) } else { None };
                Item::Skipped(number, name, reason)
            }
        };
        // Nobody takes items any more where writing has failed.
        sender.blocking_send(item).is_ok()
    })
}

enum Written {
    New,
    Present,
    Not(u64, Option<String>, Skipped),
}

async fn write(commands: &Commands, origin: &Origin<'_>, item: Item) -> Result<Written, WriteError> {
    let ImportedPost { id, text } = match item {
        Item::Post(post) => post,
        Item::Skipped(number, name, reason) => return Ok(Written::Not(number, name, reason)),
    };
    let publication = Publication { post: id, visibility: Visibility::Public, text, imported: true };
    match commands.publish(origin, publication, None).await {
        Ok(_) => Ok(Written::New),
        Err(WriteError::Rejected(Rejection::AlreadyExists(_))) => Ok(Written::Present),
        Err(error) => Err(error),
    }
}

fn lines(summary: &Summary, user: &str) -> Vec<String> {
    let Summary { imported, present, skipped } = summary;
    let mut lines = vec![format!("{imported} posts imported for @{}", user.trim_start_matches('@'))];
    if *present > 0 {
        lines.push(format!("{present} were there already"));
    }
    let left_out: u64 = skipped.values().sum();
    if left_out > 0 {
        lines.push(format!("{left_out} items left out:"));
        lines.extend(skipped.iter().map(|(reason, count)| format!("  {count} {reason}")));
    }
    lines
}
