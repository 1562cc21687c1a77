//! The commands of operators: `events`, `projections`, `dead-letters`, `roles`, `completions`.
//!
//! What they do is `operations`'; here is how people ask and how they are answered.

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;
use command_api::auth::roles::Roles;
use command_api::write_path::WriteError;
use serde::Serialize;

use crate::cli::{Cli, DeadLettersCommand, EventsArgs, Form, LaneArgs, ProjectionsCommand, RolesCommand};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::operations::events::{Filter, Reader, Start, line};
use crate::operations::{Dropping, Operations, Refusal};
use crate::serve::{Attempt, Lock};
use crate::terminal;
use crate::wiring::{self, Opened};

mod tables;

/// How long a server may take to do what was asked.
const PATIENCE: Duration = Duration::from_secs(30);

async fn open(config: &Config) -> Result<(Opened, Operations), Failure> {
    wiring::expect_data_dir(config)?;
    let opened = wiring::open(config).await?;
    let operations = wiring::operations(&opened);
    Ok((opened, operations))
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoProjection(_) | Refusal::NoLane { .. } | Refusal::Paused(_) => {
                Self::cannot_run(refusal.to_string())
            }
            Refusal::Unanswered(_) | Refusal::Store(_) => Self::failed(refusal.to_string()),
        }
    }
}

/// Shows events.
///
/// # Errors
/// The log cannot be read, or the position is not of it.
pub(crate) async fn events(config: &Config, args: EventsArgs) -> Result<(), Failure> {
    let (_opened, operations) = open(config).await?;
    let (log, codec) = operations.log();
    let EventsArgs { types, streams, topics, from, limit, follow, reveal } = args;
    let streams = streams.iter().map(ToString::to_string).collect();
    let filter = Filter { types, streams, topics: topics.into_iter().map(Into::into).collect() };
    let from = from.unwrap_or(Start::Beginning);
    let mut reader = Reader::new(log, filter, &from).map_err(Failure::cannot_run)?;
    let failed = |error: adapters::StoreError| Failure::failed(format!("the log cannot be read: {error}"));
    let (mut left, mut unbounded) = (limit.unwrap_or(u64::MAX), usize::MAX);
    while left > 0 {
        match reader.next(&mut unbounded).await.map_err(failed)? {
            Some(logged) => {
                let event = line(&codec, logged, reveal).await.map_err(failed)?;
                // Whoever closed the pipe has seen enough.
                if !terminal::print(&json(&event)) {
                    return Ok(());
                }
                left -= 1;
            }
            None if follow => reader.wait().await.map_err(failed)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Shows, pauses and resumes projections.
///
/// # Errors
/// The stores fail.
pub(crate) async fn projections(config: &Config, command: ProjectionsCommand) -> Result<(), Failure> {
    let (_opened, operations) = open(config).await?;
    match command {
        ProjectionsCommand::List(form) => {
            let list = operations.projections(is_served(config)?).await?;
            show(form, &list, || tables::projections(&list.items));
        }
        ProjectionsCommand::Show { name, form } => {
            let report = operations.projection(&name.name(), is_served(config)?).await?;
            show(form, &report, || tables::projection(&report));
        }
        ProjectionsCommand::Pause { name } => {
            let name = name.name();
            let changed = operations.set_paused(&name, true).await?;
            terminal::say(&format!("{name} {}", if changed { "is paused" } else { "was paused already" }));
        }
        ProjectionsCommand::Resume { name } => {
            let name = name.name();
            let changed = operations.set_paused(&name, false).await?;
            terminal::say(&format!("{name} {}", if changed { "goes on" } else { "was not paused" }));
        }
    }
    Ok(())
}

/// Shows, retries and drops what is parked.
///
/// # Errors
/// The stores fail, there is no such lane, or nobody does it.
pub(crate) async fn dead_letters(config: &Config, command: DeadLettersCommand) -> Result<ExitCode, Failure> {
    let (opened, operations) = open(config).await?;
    match command {
        DeadLettersCommand::List(form) => {
            let list = operations.dead_letters().await?;
            show(form, &list, || tables::dead_letters(&list.items));
            Ok(ExitCode::SUCCESS)
        }
        DeadLettersCommand::Show { lane, form } => {
            let detail = operations.dead_letter(&lane.projection.name(), &lane.lane).await?;
            show(form, &detail, || tables::dead_letter(&detail));
            Ok(ExitCode::SUCCESS)
        }
        DeadLettersCommand::Retry { lane, form } => attempt(config, &opened, &operations, &lane, None, form).await,
        DeadLettersCommand::Drop { lane, all, form } => {
            let dropping = if all { Dropping::All } else { Dropping::First };
            attempt(config, &opened, &operations, &lane, Some(dropping), form).await
        }
    }
}

/// Has the running server do it, or does it here where none runs.
async fn attempt(
    config: &Config,
    opened: &Opened,
    operations: &Operations,
    lane: &LaneArgs,
    dropping: Option<Dropping>,
    form: Form,
) -> Result<ExitCode, Failure> {
    // Asked before our own projections start: they drain what they can at once, and the lane might be parked no more.
    let asked = operations.ask(&lane.projection.name(), &lane.lane, dropping).await?;
    let own = match alone(config)? {
        Some(lock) => Some((wiring::start_projections(config, opened).await?, lock)),
        None => None,
    };
    let outcome = operations.wait(asked, PATIENCE).await;
    if let Some((runtime, lock)) = own {
        runtime.stop().await;
        drop(lock);
    }
    let retried = outcome?;
    show(form, &retried, || tables::retried(&retried));
    Ok(if retried.parked.is_none() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Failed as u8) })
}

/// Shows, grants and revokes roles.
///
/// # Errors
/// There is no such account, or the truth fails.
pub(crate) async fn roles(config: &Config, command: RolesCommand) -> Result<(), Failure> {
    let (opened, _) = open(config).await?;
    let roles = Roles::new(opened.write_path.clone());
    let failed = |error: WriteError| match error {
        WriteError::Rejected(_) => Failure::cannot_run("there is no such account"),
        error => Failure::failed(error.to_string()),
    };
    match command {
        RolesCommand::List(form) => {
            let list = crate::operations::List::whole(roles.all().await.map_err(failed)?);
            show(form, &list, || tables::holders(&list.items));
        }
        RolesCommand::Grant { user, role } => {
            let (id, role) = (roles.find(&user).await.map_err(failed)?, role.into());
            let changed = roles.grant(id, role).await.map_err(failed)?;
            terminal::say(&format!("{user} {} {}", if changed { "is now" } else { "was already" }, role.name()));
        }
        RolesCommand::Revoke { user, role } => {
            let (id, role) = (roles.find(&user).await.map_err(failed)?, role.into());
            let changed = roles.revoke(id, role).await.map_err(failed)?;
            terminal::say(&format!("{user} {} {}", if changed { "is no longer" } else { "was not" }, role.name()));
        }
    }
    Ok(())
}

/// Prints what makes a shell complete.
pub(crate) fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hybrid-live", &mut script);
    terminal::say(String::from_utf8_lossy(&script).trim_end());
}

/// Whether a server runs the projections. Where all stores are on servers, nothing tells; then what the workers have
/// said counts.
fn is_served(config: &Config) -> Result<bool, Failure> {
    Ok(alone(config)?.is_none())
}

/// Keeps servers away, if there is none.
fn alone(config: &Config) -> Result<Option<Lock>, Failure> {
    let urls = config.store_urls();
    if !urls.use_files() && urls.in_memory().is_none() {
        return Ok(None);
    }
    wiring::make_data_dir(config)?;
    match Lock::try_take(config.data_dir())? {
        Attempt::Taken(lock) => Ok(Some(lock)),
        Attempt::Held(_) => Ok(None),
    }
}

fn show<T: Serialize>(form: Form, answer: &T, table: impl FnOnce() -> Vec<String>) {
    if form.json {
        terminal::say(&json(answer));
        return;
    }
    for line in table() {
        terminal::say(&line);
    }
}

fn json<T: Serialize>(answer: &T) -> String {
    // Texts, numbers and lists of such always serialise.
    serde_json::to_string(answer).unwrap_or_default()
}
