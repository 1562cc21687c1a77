//! `verify`: folds the whole log with the reference model and compares what every store answers with it.
//!
//! Beside a running server it waits for the server's projections; where none runs, it runs them itself, under the
//! lock. Where all stores are on servers nothing tells whether any process is at work: it waits, or joins them if it is
//! told to. Either way others may write meanwhile. So what differs is read again, after the new events are folded, and
//! counts only if it stays the same while the log does, or while neither the row nor what is expected of it moves.

use std::process::ExitCode;

use adapters::StoreError;
use adapters::sqlite::Sharing;
use domain::Timestamp;

use crate::cli::{Projection, VerifyArgs};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::terminal;
use crate::wiring::{self, Opened};
use compare::Check;
use model::{Heads, Model, heads};
use projections::{Joining, Projections};
use report::{Report, Store};

mod compare;
mod model;
mod projections;
mod report;
mod stores;

#[cfg(test)]
mod tests;

/// How often differing rows are read again while the log goes on.
const ROUNDS: usize = 50;
/// Waiting streams that are looked for, and those that are named.
const OUTBOXES: usize = 1000;
const NAMED: usize = 10;

/// Compares, and says what differs.
///
/// # Errors
/// It could not compare.
pub(crate) async fn run(config: &Config, args: &VerifyArgs) -> Result<ExitCode, Failure> {
    wiring::expect_data_dir(config)?;
    let VerifyArgs { projection, run_projections } = *args;
    let joining = if run_projections { Joining::AsOneMore } else { Joining::OnlyAlone };
    let sharing = if run_projections { Sharing::Shared } else { Sharing::Visiting };
    let opened = wiring::open_as(config, sharing).await?;
    let report = verify(config, &opened, projection, joining).await?;
    for line in report.lines() {
        terminal::say(&line);
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Failed as u8) })
}

/// Whether everything is as the log says: for the tests of what writes it.
#[cfg(test)]
pub(crate) async fn is_clean(config: &Config, opened: &Opened) -> bool {
    let report = verify(config, opened, None, Joining::OnlyAlone).await.expect("compares");
    assert!(report.is_clean(), "{:#?}", report.lines());
    true
}

async fn verify(
    config: &Config,
    opened: &Opened,
    asked: Option<Projection>,
    joining: Joining,
) -> Result<Report, Failure> {
    let projections = Projections::start(config, opened, asked, joining).await?;
    let outcome = compare_all(config, opened, asked, &projections).await;
    projections.stop().await;
    outcome
}

async fn compare_all(
    config: &Config,
    opened: &Opened,
    asked: Option<Projection>,
    projections: &Projections,
) -> Result<Report, Failure> {
    let stores = &opened.stores;
    let hot_author_followers = config.projections.hot_author_followers;
    let sees_the_cache = !config.store_urls().caches_in_memory() || projections.are_ours();
    let mut checks = stores::checks(stores, asked, hot_author_followers, sees_the_cache).await.map_err(unreadable)?;
    let mut comparison =
        Comparison { opened, projections, model: Model::new(stores.event_log.partitions()), heads: Heads::new() };
    comparison.advance().await?;
    for check in &mut checks {
        check.compare(&comparison.model).await.map_err(unreadable)?;
    }
    let is_final = comparison.settle(&mut checks).await?;

    let Comparison { model, .. } = comparison;
    let mut notes = projections.dropped(stores, NAMED).await?;
    if asked.is_none() {
        notes.extend(waiting(opened).await?);
    }
    let mut faults = projections.parked(stores).await?;
    let fault_count = model.fault_count + faults.len() as u64;
    faults.extend(model.faults);
    Ok(Report {
        events: model.events,
        stores: checks.iter().map(|check| Store::of(check.as_ref(), is_final)).collect(),
        faults,
        fault_count,
        notes,
    })
}

/// The comparison as far as it is.
struct Comparison<'a> {
    opened: &'a Opened,
    projections: &'a Projections,
    model: Model,
    /// Up to where the model has read.
    heads: Heads,
}

impl Comparison<'_> {
    /// Goes on to the log's present end; false if that has not moved.
    async fn advance(&mut self) -> Result<bool, Failure> {
        let stores = &self.opened.stores;
        let newest = heads(stores.event_log.as_ref()).await.map_err(unreadable)?;
        if newest == self.heads {
            return Ok(false);
        }
        // The projections first: what is read afterwards has all that the model has.
        self.projections.pass(stores, &newest).await?;
        let folded = self.model.fold(stores.event_log.as_ref(), &self.opened.codec, &newest).await;
        folded.map_err(unreadable)?;
        self.heads = newest;
        Ok(true)
    }

    /// Reads what differs again until it is certain; false if it never was.
    async fn settle(&mut self, checks: &mut [Box<dyn Check>]) -> Result<bool, Failure> {
        for _ in 0..ROUNDS {
            if checks.iter().all(|check| check.differences().is_empty()) {
                return Ok(true);
            }
            self.advance().await?;
            for check in checks.iter_mut() {
                check.recheck(&self.model).await.map_err(unreadable)?;
            }
            let newest = heads(self.opened.stores.event_log.as_ref()).await.map_err(unreadable)?;
            if newest == self.heads || checks.iter().all(|check| check.is_settled()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Streams whose newest events the log has not acknowledged.
async fn waiting(opened: &Opened) -> Result<Vec<String>, Failure> {
    let ever = Timestamp::from_millis(i64::MAX);
    let outboxes = opened.stores.content.pending_outboxes(ever, OUTBOXES).await.map_err(unreadable)?;
    if outboxes.is_empty() {
        return Ok(Vec::new());
    }
    let count = if outboxes.len() < OUTBOXES { outboxes.len().to_string() } else { format!("{OUTBOXES} or more") };
    let named: Vec<String> = outboxes
        .iter()
        .take(NAMED)
        .map(|outbox| format!("{} ({} events)", outbox.stream, outbox.records.len()))
        .collect();
    Ok(vec![format!("{count} streams wait for the log, which a running server publishes: {}", named.join(", "))])
}

fn unreadable(error: StoreError) -> Failure {
    Failure::cannot_run(format!("a store could not be read: {error}"))
}
