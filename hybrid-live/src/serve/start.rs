//! Starting the roles of a process, each as soon as the stores are open that it stands on.
//!
//! Commands need the truth alone, so they are accepted, and the relay begins, before anything else is opened; until the
//! log is open, events wait in their outboxes (see [`LateLog`]). Then the other stores are opened, one after the other,
//! and what stands on them begins together: administration, queries, streams, projections. Until then their paths are
//! answered with 503. A store that no role needs is not opened, and not missed.

use std::sync::Arc;

use adapters::codec::Codec;
use adapters::content::Content;
use adapters::live::{BroadcastLive, Live};
use adapters::secrets::Secrets;
use adapters::stores::Port;
use command_api::relay::{self, Relay};
use command_api::write_path::{LateLog, WritePath};
use projectors::{Engagement, Overview, Runtime, RuntimePorts, canaries};
use query_api::Part;
use query_api::health::ProjectionState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::Unmatched;
use super::opening::{self, Opening};
use super::routes::Routes;
use super::{health, housekeeping, watch_projections};
use crate::config::{Config, ServerRole};
use crate::failure::Failure;
use crate::operations::Operations;
use crate::terminal;
use crate::wiring::{self, PROJECTIONS};

/// What has been started, to be stopped.
#[derive(Default)]
pub(super) struct Started {
    pub(super) workers: TaskTracker,
    pub(super) runtime: Option<Runtime>,
}

/// What starts.
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    pub(super) secrets: &'a Secrets,
    pub(super) opening: &'a Opening,
    pub(super) routes: &'a Routes<'a>,
    /// Ends what is at work on the stores.
    pub(super) stop: CancellationToken,
    /// Said once everything is ready that makes this process ready.
    pub(super) notice: String,
}

impl Start<'_> {
    /// Starts everything, however long that takes. What has been started is in `started`, also where this does not end
    /// well, or does not end.
    ///
    /// # Errors
    /// What waiting does not mend.
    pub(super) async fn run(&self, started: &mut Started) -> Result<(), Failure> {
        let (roles, opener) = (self.config.roles(), &self.opening.opener);
        let only_commands = opening::needed(&roles) == [Port::Content];
        self.opening.wait_for(Port::Content).await?;
        let content = opener.content().await?;
        let codec = Arc::new(Codec::new(Arc::clone(&content), self.secrets));
        self.expect_fitting(&codec).await?;

        let log = LateLog::default();
        let write_path = WritePath::with_late_log(Arc::clone(&content), log.clone(), Arc::clone(&codec));
        if roles.has(ServerRole::Relay) {
            self.relay(content, &write_path, started).await?;
        }
        let mut api = None;
        if roles.has(ServerRole::CommandApi) {
            let commands = self.routes.commands(&write_path)?;
            // What its other roles wait for does not hold up commands.
            let probes = if only_commands {
                health::probes(&roles, opener, watch::channel(Vec::new()).1, self.routes.metrics()).await?
            } else {
                health::starting(&roles, self.opening, self.routes.metrics())
            };
            self.routes.serve(Some(commands.clone()), probes, Unmatched::NotYet);
            api = Some(commands);
            if only_commands {
                // It is ready, whatever it waits for from now on.
                self.opening.set_notice(self.notice.clone());
            }
        }

        for port in opening::opened(&roles) {
            self.opening.wait_for(port).await?;
            if port == Port::EventLog {
                self.note_partitions(opener.event_log().await?.partitions());
                log.is(opener.event_log().await?);
            }
        }
        if let Some(commands) = api.take() {
            let operations =
                Operations::new(opener.event_log().await?, opener.checkpoints().await?, Arc::clone(&codec));
            api = Some(commands.merge(self.routes.administration(operations, &write_path)));
        }
        let projections = self.projections(&codec, started).await?;
        if let Some(part) = self.part() {
            let answers = self.routes.queries(part, self.ports(part).await?);
            api = Some(api.unwrap_or_default().merge(answers));
        }
        let probes = health::probes(&roles, opener, projections, self.routes.metrics()).await?;
        self.routes.serve(api, probes, Unmatched::Unknown);
        let unsaid = self.opening.take_notice();
        if !only_commands || unsaid.is_some() {
            terminal::say(&self.notice);
        }
        Ok(())
    }

    /// Refuses keys that are not those which the content was written with.
    async fn expect_fitting(&self, codec: &Codec) -> Result<(), Failure> {
        let look = async || {
            let fits = codec.fits_the_content().await;
            fits.map_err(|error| self.opening.opener.failed(Port::Content, error))
        };
        let fits = self.opening.until_it_answers(Port::Content, look).await?;
        if fits { Ok(()) } else { Err(wiring::not_fitting(self.config)) }
    }

    async fn relay(
        &self,
        content: Arc<dyn Content>,
        write_path: &WritePath,
        started: &mut Started,
    ) -> Result<(), Failure> {
        let shares = self.opening.opener.log_shares_transactions().await?;
        let workers = &started.workers;
        workers.spawn(housekeeping::forget_commands(Arc::clone(&content), self.stop.clone()));
        workers.spawn(housekeeping::count_outboxes(content, shares, self.stop.clone()));
        if !shares {
            workers.spawn(Relay::new(write_path, relay::Settings::default()).run(self.stop.clone()));
        }
        Ok(())
    }

    /// Runs the projections of this process, and watches those that matter to it.
    async fn projections(
        &self,
        codec: &Arc<Codec>,
        started: &mut Started,
    ) -> Result<watch::Receiver<Vec<ProjectionState>>, Failure> {
        let (roles, opener) = (self.config.roles(), &self.opening.opener);
        let (seen, projections) = watch::channel(Vec::new());
        let answers = self.part().is_some();
        if !answers && !roles.has(ServerRole::Projectors) {
            return Ok(projections);
        }
        let (event_log, checkpoints) = (opener.event_log().await?, opener.checkpoints().await?);
        let ports = RuntimePorts { event_log, checkpoints: Arc::clone(&checkpoints), codec: Arc::clone(codec) };
        let watched = PROJECTIONS.iter().filter(|known| answers || roles.run(known.name));
        let mut overview = Overview::of(&ports, watched.map(|known| (known.name, known.topics)).collect());
        if roles.has(ServerRole::Projectors) {
            let (ours, settings) = (wiring::projections(self.config, opener).await?, self.config.projection_settings());
            let begin = async || {
                let runtime = Runtime::start(ports.clone(), ours.clone(), settings).await;
                runtime.map_err(|error| opener.failed(Port::EventLog, error))
            };
            let runtime = self.opening.until_it_answers(Port::EventLog, begin).await?;
            overview = overview.with_workers_of(&runtime);
            started.runtime = Some(runtime);
            if roles.run(Engagement::NAME) {
                let (event_log, live) = (opener.event_log().await?, opener.live().await?);
                started.workers.spawn(canaries::hand_on(event_log, live, self.stop.clone()));
            }
        }
        let watching = watch_projections::until(overview, checkpoints, answers, seen, self.stop.clone());
        started.workers.spawn(watching);
        Ok(projections)
    }

    /// What of the queries and streams this process serves.
    fn part(&self) -> Option<Part> {
        let roles = self.config.roles();
        match (roles.has(ServerRole::QueryApi), roles.has(ServerRole::Streamer)) {
            (true, true) => Some(Part::Everything),
            (true, false) => Some(Part::Queries),
            (false, true) => Some(Part::Streams),
            (false, false) => None,
        }
    }

    async fn ports(&self, part: Part) -> Result<query_api::Ports, Failure> {
        let opener = &self.opening.opener;
        let live: Arc<dyn Live> = match part {
            // Nobody listens here.
            Part::Queries => Arc::new(BroadcastLive::new(1)),
            Part::Everything | Part::Streams => opener.live().await?,
        };
        Ok(query_api::Ports {
            content: opener.content().await?,
            event_log: opener.event_log().await?,
            views: opener.views().await?,
            timelines: opener.timelines().await?,
            checkpoints: opener.checkpoints().await?,
            cache: opener.cache().await?,
            live,
        })
    }

    fn note_partitions(&self, there: u16) {
        let wanted = self.config.partitions;
        if there != wanted {
            tracing::info!(there, wanted, "the log keeps the partitions that it was made with");
        }
    }
}
