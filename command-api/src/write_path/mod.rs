//! The write path: load, decide, evolve in memory, seal, commit by compare-and-set, and see to it that the log gets
//! the events.
//!
//! W1 an acknowledged command is durable in `content`, whole. W2 a commit happens only on the revision it was decided
//! on: after a conflict everything is decided again. W3 and the outbox are `publish`'s, W4 is `once`'s.

use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::codec::Codec;
use adapters::content::{
    Answer, CLAIM_LIFE_MILLIS, Commit, CommitError, Committed, Content, Document, RecentCommand, Rendered,
};
use adapters::event_log::{EventLog, Record};
use adapters::http::clock;
use adapters::http::consistency::Token;
use domain::comment::Comment;
use domain::post::Post;
use domain::reaction::Reaction;
use domain::relation::Relation;
use domain::user::User;
use domain::{Aggregate, CorrelationId, Envelope, EventId, Rejection, StreamId, Timestamp, UserId};

mod lanes;
mod late_log;
mod once;
mod publish;

pub use lanes::InLane;
pub use late_log::LateLog;
pub use once::{Begun, Once};
pub(crate) use publish::Publisher;

/// How often a command is decided before its writer gives way.
const ATTEMPTS: u32 = 16;
/// The longest pause before a command is decided again, per earlier attempt.
const JITTER_MICROS: u64 = 1500;

/// Who wants something, when, and where the ids of events come from: given, so that what is imported or made up keeps
/// its own.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// Who.
    pub actor: UserId,
    /// The time that the events shall carry.
    pub at: Timestamp,
    /// What this belongs to, across all its events.
    pub correlation: CorrelationId,
    /// The chance in the ids of events.
    pub entropy: &'a (dyn Fn() -> [u8; 10] + Send + Sync),
}

impl std::fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { actor, at, correlation, entropy: _ } = self;
        f.debug_struct("Origin").field("actor", actor).field("at", at).field("correlation", correlation).finish()
    }
}

impl Origin<'static> {
    /// `actor`, now, in the present request.
    pub fn now(actor: UserId) -> Self {
        let correlation = adapters::http::trace::current().correlation();
        Self { actor, at: clock::now(), correlation, entropy: &clock::entropy }
    }
}

/// Why a command had no effect; where the store failed, why it may have had none.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A rule forbids it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Somebody has the user name (W5).
    #[error("somebody has this user name")]
    UsernameTaken,
    /// The comment that is to be answered is not there, or not for this person, or not on this post.
    #[error("there is no such comment to answer")]
    NoSuchParent,
    /// Others changed the same stream, again and again.
    #[error("others are changing the same stream")]
    Conflict,
    /// The `Idempotency-Key` was used with another command.
    #[error("the key was used with another command")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stream as a decision finds it.
#[derive(Clone, Debug)]
pub struct Found<A> {
    /// The aggregate's state; the default one where there is no document.
    pub state: A,
    /// The number of the newest event.
    pub sequence: u64,
    /// What is not in the log, as JSON.
    pub private: Option<String>,
}

/// What a decision comes to. Without events and private part nothing is written.
#[derive(Clone, Debug)]
pub struct Change<A: Aggregate> {
    /// The new state.
    pub state: A,
    /// What happened.
    pub events: Vec<A::Event>,
    /// The new private part; `None` leaves it as it is.
    pub private: Option<String>,
    /// What follows from a post's text; `None` leaves it as it is.
    pub rendered: Option<Rendered>,
    /// What shall be answered to whoever repeats the command with its key.
    pub answer: Option<Answer>,
}

impl<A: Aggregate> Found<A> {
    /// Decides, and evolves the state by what was decided.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn decide(&self, command: &A::Command, at: Timestamp) -> Result<Change<A>, Rejection> {
        let events = self.state.decide(command)?;
        let mut state = self.state.clone();
        for event in &events {
            state.evolve(event, at);
        }
        Ok(Change { state, events, private: None, rendered: None, answer: None })
    }

    /// Nothing happens; `private` is replaced.
    pub fn keep(&self, private: Option<String>) -> Change<A> {
        Change { state: self.state.clone(), events: Vec::new(), private, rendered: None, answer: None }
    }

    /// Refuses to go on from another version than the client has seen.
    ///
    /// # Errors
    /// [`Rejection::Stale`]
    pub fn expect_version(&self, accepted: impl FnOnce(u64) -> bool) -> Result<(), Rejection> {
        if accepted(self.sequence) { Ok(()) } else { Err(Rejection::Stale { present: self.sequence }) }
    }
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Executed<A> {
    /// The state after it.
    pub state: A,
    /// The number of the newest event.
    pub sequence: u64,
    /// What a reader must have seen to see this.
    pub token: Token,
    /// What is answered, where the decision said so, or an earlier execution of the same command (W4).
    pub answer: Option<Answer>,
}

/// See the module.
#[derive(Clone)]
pub struct WritePath {
    content: Arc<dyn Content>,
    codec: Arc<Codec>,
    publisher: Publisher,
}

impl WritePath {
    /// Over these stores. Whether the log is where the documents are is `content`'s to know.
    pub fn new(content: Arc<dyn Content>, event_log: Arc<dyn EventLog>, codec: Arc<Codec>) -> Self {
        Self::with_late_log(content, LateLog::from(event_log), codec)
    }

    /// The same over a log that may not be open yet.
    pub fn with_late_log(content: Arc<dyn Content>, event_log: LateLog, codec: Arc<Codec>) -> Self {
        Self { publisher: Publisher::new(Arc::clone(&content), event_log), content, codec }
    }

    /// The truth, to be read.
    pub fn content(&self) -> &Arc<dyn Content> {
        &self.content
    }

    /// What brings outboxes to the log.
    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Executes a command on a stream.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn execute<A: InLane>(
        &self,
        stream: StreamId,
        origin: &Origin<'_>,
        command: &A::Command,
    ) -> Result<Executed<A>, WriteError>
    where
        A::Command: Sync,
    {
        self.change(stream, origin, None, |found: &Found<A>| Ok(found.decide(command, origin.at)?)).await
    }

    /// Changes a stream as `decide` says; it is asked again after every conflict. With `once`, a change that was made
    /// under the same key before is not made again.
    ///
    /// # Errors
    /// What `decide` answers, and see [`WriteError`].
    pub async fn change<A, E, D>(
        &self,
        stream: StreamId,
        origin: &Origin<'_>,
        once: Option<&Once>,
        mut decide: D,
    ) -> Result<Executed<A>, E>
    where
        A: InLane,
        E: From<WriteError>,
        D: FnMut(&Found<A>) -> Result<Change<A>, E> + Send,
    {
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let document = self.content.load(stream).await.map_err(WriteError::from)?;
            let (revision, found, recent) = unpack::<A>(stream, document)?;
            if let Some(answer) = once.and_then(|once| once.answer_in(&recent)) {
                let token = self.token_of(stream, &found).await?;
                let Found { state, sequence, .. } = found;
                return Ok(Executed { state, sequence, token, answer: Some(answer) });
            }
            let Change { state, events, private, rendered, answer } = decide(&found)?;
            if events.is_empty() && private.is_none() {
                // Nothing to write, but the answer covers what an earlier command wrote.
                let token = self.token_of(stream, &found).await?;
                return Ok(Executed { state, sequence: found.sequence, token, answer });
            }
            let records = self.seal(stream, found.sequence, events, origin).await?;
            let last = records.last().map(|record| (record.topic, record.lane.clone()));
            let now = clock::now();
            let commit = Commit {
                stream,
                expected_revision: revision,
                state: serde_json::to_string(&state).map_err(|error| damaged(stream, &error))?,
                private,
                rendered,
                records,
                recent_commands: remember(recent, once, answer.as_ref(), now),
                at: now,
            };
            match self.content.commit(commit).await {
                Ok(Committed { sequence, position, whole_outbox, .. }) => {
                    let token = match (last, position) {
                        (Some((_, lane)), Some(position)) => Token::at(position, lane),
                        // The answer waits for the log, but not for long.
                        (Some((topic, lane)), None) => {
                            match self.publisher.publish(stream, sequence, whole_outbox).await {
                                Some(position) => Token::at(position, lane),
                                None => Token::of_stream(stream, sequence, topic, lane),
                            }
                        }
                        (None, _) => Token::default(),
                    };
                    return Ok(Executed { state, sequence, token, answer });
                }
                // W2: what was decided was decided on something else.
                Err(CommitError::Conflict) => metrics::counter!("hybrid_live_write_path_conflicts_total").increment(1),
                Err(CommitError::Store(error)) => return Err(WriteError::Store(error).into()),
            }
        }
        Err(WriteError::Conflict.into())
    }

    /// What a reader must have passed to see what an earlier command wrote into `stream`.
    ///
    /// # Errors
    /// The store's.
    pub async fn token_after(&self, stream: StreamId) -> Result<Token, WriteError> {
        match stream {
            StreamId::User(_) => self.token_of_loaded::<User>(stream).await,
            StreamId::Relation(..) => self.token_of_loaded::<Relation>(stream).await,
            StreamId::Post(_) => self.token_of_loaded::<Post>(stream).await,
            StreamId::Comment(_) => self.token_of_loaded::<Comment>(stream).await,
            StreamId::Reaction(..) => self.token_of_loaded::<Reaction>(stream).await,
        }
    }

    async fn token_of_loaded<A: InLane>(&self, stream: StreamId) -> Result<Token, WriteError> {
        let (_, found, _) = unpack::<A>(stream, self.content.load(stream).await?)?;
        self.token_of(stream, &found).await
    }

    /// What `once` answered, if its effect is in `stream` already.
    ///
    /// # Errors
    /// The store's.
    pub async fn repeated<A: InLane>(
        &self,
        once: &Once,
        stream: StreamId,
    ) -> Result<Option<(Answer, Token)>, WriteError> {
        let (_, found, recent) = unpack::<A>(stream, self.content.load(stream).await?)?;
        let Some(answer) = once.answer_in(&recent) else { return Ok(None) };
        Ok(Some((answer, self.token_of(stream, &found).await?)))
    }

    /// What a reader must have passed to see all of a stream.
    async fn token_of<A: InLane>(&self, stream: StreamId, found: &Found<A>) -> Result<Token, WriteError> {
        let Some((topic, lane)) = found.state.lane_of(stream).filter(|_| found.sequence > 0) else {
            return Ok(Token::default());
        };
        Ok(match self.content.published(stream).await? {
            Some(published) if published.sequence >= found.sequence => Token::at(published.position, lane),
            Some(_) | None => Token::of_stream(stream, found.sequence, topic, lane),
        })
    }

    async fn seal<E: Into<domain::Event>>(
        &self,
        stream: StreamId,
        sequence: u64,
        events: Vec<E>,
        origin: &Origin<'_>,
    ) -> Result<Vec<Record>, WriteError> {
        let mut records = Vec::with_capacity(events.len());
        for (number, event) in (sequence + 1..).zip(events) {
            let envelope = Envelope {
                id: EventId::from_parts(origin.at, (origin.entropy)()),
                time: origin.at,
                stream,
                sequence: number,
                actor: origin.actor,
                correlation: origin.correlation,
                causation: None,
                event: event.into(),
            };
            records.push(self.codec.seal(envelope).await?);
        }
        Ok(records)
    }
}

impl std::fmt::Debug for WritePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WritePath(…)")
    }
}

/// Writers that met must not meet again at once.
async fn pause(attempt: u32) {
    if attempt > 0 {
        let micros = rand::random_range(0..u64::from(attempt) * JITTER_MICROS);
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }
}

fn unpack<A: Aggregate>(
    stream: StreamId,
    document: Option<Document>,
) -> Result<(u64, Found<A>, Vec<RecentCommand>), WriteError> {
    let Some(Document { revision, sequence, state, private, recent_commands }) = document else {
        return Ok((0, Found { state: A::default(), sequence: 0, private: None }, Vec::new()));
    };
    let state = serde_json::from_str(&state).map_err(|error| damaged(stream, &error))?;
    Ok((revision, Found { state, sequence, private }, recent_commands))
}

fn damaged(stream: StreamId, error: &serde_json::Error) -> WriteError {
    // Without what serde quotes: states hold what people wrote.
    WriteError::Store(StoreError::Damaged(format!("the state of {stream} is not readable ({:?})", error.classify())))
}

/// What shall stand in `recent_commands`. What is there longer than a claim lasts is not asked for any more; so a
/// document whose commands carried no key is not written otherwise than it was.
fn remember(
    mut recent: Vec<RecentCommand>,
    once: Option<&Once>,
    answer: Option<&Answer>,
    now: Timestamp,
) -> Option<Vec<RecentCommand>> {
    let before = recent.len();
    recent.retain(|command| command.at >= now.plus_millis(-CLAIM_LIFE_MILLIS));
    let evicted = recent.len() < before;
    let Some((once, answer)) = once.zip(answer) else { return evicted.then_some(recent) };
    let (actor, key) = (once.actor.clone(), once.key.clone());
    recent.push(RecentCommand { actor, key, at: now, answer: answer.clone() });
    Some(recent)
}
