//! Stores that fail: before a call has its effect, or after. From a crash on, every call fails.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapters::StoreError;
use adapters::content::{
    Acknowledgement, Answer, ClaimOutcome, CommandClaim, Commit, CommitError, Committed, Content, Document, Outbox,
    PublicState, Published, Rendered, StoredKey, StoredPreview,
};
use adapters::event_log::{EventLog, Logged, Membership, Record};
use async_trait::async_trait;
use domain::text::Username;
use domain::{LogId, Position, PostId, StreamId, Timestamp, Topic, UserId};
use tokio::sync::watch;

/// Where a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The call has no effect.
    Before,
    /// The call has its effect, and nobody hears of it.
    After,
}

/// Content of a process that ends at a call, counted from 0.
pub(super) struct Crashing {
    inner: Arc<dyn Content>,
    at: usize,
    moment: Moment,
    calls: AtomicUsize,
    /// Commits that meet another's, from now on.
    conflicts: AtomicUsize,
    acknowledged: AtomicBool,
    /// What was called last before the end.
    pub(super) ended_in: Mutex<Option<&'static str>>,
}

impl Crashing {
    pub(super) fn new(inner: Arc<dyn Content>, at: usize, moment: Moment) -> Arc<Self> {
        Arc::new(Self {
            inner,
            at,
            moment,
            calls: AtomicUsize::new(0),
            conflicts: AtomicUsize::new(0),
            acknowledged: AtomicBool::new(false),
            ended_in: Mutex::default(),
        })
    }

    /// One that never ends, and whose next commits find the document changed by others.
    pub(super) fn contested(inner: Arc<dyn Content>, conflicts: usize) -> Arc<Self> {
        let content = Self::new(inner, usize::MAX, Moment::Before);
        content.conflicts.store(conflicts, Ordering::SeqCst);
        content
    }

    /// Whether all has been called that a command calls, down to the end of what publishes it.
    pub(super) fn is_idle(&self) -> bool {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Which call ended it; `None` if it got by with fewer.
    pub(super) fn ended_in(&self) -> Option<&'static str> {
        *self.ended_in.lock().unwrap()
    }

    async fn call<T, E: From<StoreError>>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if number < self.at {
            return call.await;
        }
        if number == self.at {
            *self.ended_in.lock().unwrap() = Some(name);
            if self.moment == Moment::After {
                let _ = call.await;
            }
        }
        Err(StoreError::Unavailable(format!("ended at {name}")).into())
    }
}

#[async_trait]
impl Content for Crashing {
    async fn load(&self, stream: StreamId) -> Result<Option<Document>, StoreError> {
        self.call("load", self.inner.load(stream)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let take = |left: usize| left.checked_sub(1);
        if self.conflicts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Err(CommitError::Conflict);
        }
        self.call("commit", self.inner.commit(commit)).await
    }

    async fn outbox(&self, stream: StreamId) -> Result<Vec<Record>, StoreError> {
        self.call("outbox", self.inner.outbox(stream)).await
    }

    async fn pending_outboxes(&self, before: Timestamp, limit: usize) -> Result<Vec<Outbox>, StoreError> {
        self.call("pending_outboxes", self.inner.pending_outboxes(before, limit)).await
    }

    async fn acknowledge(&self, acknowledgements: Vec<Acknowledgement>) -> Result<(), StoreError> {
        let done = self.call("acknowledge", self.inner.acknowledge(acknowledgements)).await;
        self.acknowledged.store(done.is_ok(), Ordering::SeqCst);
        done
    }

    async fn published(&self, stream: StreamId) -> Result<Option<Published>, StoreError> {
        self.call("published", self.inner.published(stream)).await
    }

    async fn states(&self, streams: &[StreamId]) -> Result<Vec<Option<PublicState>>, StoreError> {
        self.call("states", self.inner.states(streams)).await
    }

    async fn previews(&self, posts: &[PostId]) -> Result<Vec<Option<StoredPreview>>, StoreError> {
        self.call("previews", self.inner.previews(posts)).await
    }

    async fn rendered(&self, post: PostId) -> Result<Option<Rendered>, StoreError> {
        self.call("rendered", self.inner.rendered(post)).await
    }

    async fn scan(&self, after: Option<StreamId>, limit: usize) -> Result<Vec<(StreamId, PublicState)>, StoreError> {
        self.call("scan", self.inner.scan(after, limit)).await
    }

    async fn claim_command(&self, claim: CommandClaim) -> Result<ClaimOutcome, StoreError> {
        self.call("claim_command", self.inner.claim_command(claim)).await
    }

    async fn answer_command(&self, actor: &str, key: &str, answer: &Answer) -> Result<(), StoreError> {
        self.call("answer_command", self.inner.answer_command(actor, key, answer)).await
    }

    async fn forget_commands(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.call("forget_commands", self.inner.forget_commands(before, limit)).await
    }

    async fn claim_username(
        &self,
        name: &Username,
        owner: UserId,
        now: Timestamp,
        expired: Timestamp,
    ) -> Result<bool, StoreError> {
        self.call("claim_username", self.inner.claim_username(name, owner, now, expired)).await
    }

    async fn username_owner(&self, name: &Username) -> Result<Option<UserId>, StoreError> {
        self.call("username_owner", self.inner.username_owner(name)).await
    }

    async fn key(&self, person: UserId) -> Result<Option<StoredKey>, StoreError> {
        self.call("key", self.inner.key(person)).await
    }

    async fn create_key(&self, person: UserId, wrapped: Vec<u8>) -> Result<StoredKey, StoreError> {
        self.call("create_key", self.inner.create_key(person, wrapped)).await
    }
}

/// How an append goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFault {
    /// Nothing is appended.
    Before,
    /// All is appended, and nobody hears of it.
    After,
    /// The first half is.
    Half,
}

/// A log that is down, or whose next appends go wrong.
pub(super) struct FaultyLog {
    inner: Arc<dyn EventLog>,
    pub(super) down: AtomicBool,
    pub(super) faults: Mutex<VecDeque<LogFault>>,
    /// While true, appends do not come back.
    pub(super) hanging: watch::Sender<bool>,
    /// A stream that the log will never take.
    refused: Mutex<Option<String>>,
}

impl FaultyLog {
    pub(super) fn new(inner: Arc<dyn EventLog>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            down: AtomicBool::new(false),
            faults: Mutex::default(),
            hanging: watch::Sender::new(false),
            refused: Mutex::default(),
        })
    }

    pub(super) fn refuse(&self, stream: &str) {
        *self.refused.lock().unwrap() = Some(stream.to_owned());
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    fn id(&self) -> LogId {
        self.inner.id()
    }

    fn partitions(&self) -> u16 {
        self.inner.partitions()
    }

    async fn append(&self, mut records: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        let failed = || StoreError::Unavailable("the log is down".to_owned());
        if self.down.load(Ordering::SeqCst) {
            return Err(failed());
        }
        let refused = self.refused.lock().unwrap().clone();
        if records.iter().any(|record| Some(&record.attributes.subject) == refused.as_ref()) {
            return Err(StoreError::Damaged("this record is not taken".to_owned()));
        }
        // The sender is ours, so there is always somebody to hear.
        let _ = self.hanging.subscribe().wait_for(|hanging| !hanging).await;
        // Others get a chance to come between reading an outbox and the append.
        for _ in 0..rand::random_range(0..4) {
            tokio::task::yield_now().await;
        }
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => return self.inner.append(records).await,
            Some(LogFault::Before) => {}
            Some(LogFault::After) => drop(self.inner.append(records).await?),
            Some(LogFault::Half) => {
                records.truncate(records.len() / 2);
                self.inner.append(records).await?;
            }
        }
        Err(failed())
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u16,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Logged>, StoreError> {
        self.inner.read(topic, partition, after, limit, wait).await
    }

    async fn head(&self, topic: Topic, partition: u16) -> Result<i64, StoreError> {
        self.inner.head(topic, partition).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Membership>, StoreError> {
        self.inner.join(group, topics).await
    }
}
