//! The binary: command line, configuration, and the wiring of all roles into one process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

mod cli;
mod config;
mod failure;
mod import;
mod logging;
mod migrate;
mod openapi;
mod operate;
mod operations;
mod progress;
mod seed;
mod serve;
mod terminal;
mod verify;
mod wiring;

use cli::{Cli, Command, ServeArgs};
use failure::Failure;

/// Answers are made on one thread and often freed on another, where the system's allocator has them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long what is left of the work may take once the program has done what it was asked.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            terminal::complain(&format!("error: {failure}"));
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // A variable that is not text cannot be one of ours.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = config::load(cli.global.config.as_deref(), variables, &cli.settings())?;
    logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads to run on: {error}")))?;
    let outcome = runtime.block_on(async {
        match cli.command.unwrap_or(Command::Serve(ServeArgs::default())) {
            // Its arguments are settings.
            Command::Serve(_) => serve::run(config).await.map(|()| ExitCode::SUCCESS),
            Command::Seed(args) => seed::run(&config, args).await.map(|()| ExitCode::SUCCESS),
            Command::Import(args) => import::run(&config, &args).await.map(|()| ExitCode::SUCCESS),
            Command::Migrate => migrate::run(&config).await.map(|()| ExitCode::SUCCESS),
            Command::Verify(args) => verify::run(&config, &args).await,
            Command::Events(args) => operate::events(&config, args).await.map(|()| ExitCode::SUCCESS),
            Command::Projections(command) => operate::projections(&config, command).await.map(|()| ExitCode::SUCCESS),
            Command::DeadLetters(command) => operate::dead_letters(&config, command).await,
            Command::Roles(command) => operate::roles(&config, command).await.map(|()| ExitCode::SUCCESS),
            Command::Completions { shell } => {
                operate::completions(shell);
                Ok(ExitCode::SUCCESS)
            }
            Command::Openapi => {
                terminal::say(openapi::text().trim_end());
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    // A thread may still be blocked in a question to a server that does not answer.
    runtime.shutdown_timeout(LAST_MOMENTS);
    outcome
}
