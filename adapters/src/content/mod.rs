//! The port of the truth: one document per stream with its outbox, claims on names and on repeated commands, and the
//! wrapped keys that sealed text is opened with.
//!
//! An adapter needs nothing but atomic updates of single documents. Where the log is in the same SQLite file, the
//! adapter appends to it in the document's own transaction and the outbox stays empty: an optimisation of the same
//! protocol, chosen when the adapter is opened.

use async_trait::async_trait;
use domain::post::Visibility;
use domain::text::{Title, Username};
use domain::{EventId, Position, PostId, StreamId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::event_log::Record;

#[cfg(test)]
pub(crate) mod contract;
#[cfg(feature = "mongodb")]
mod mongodb;
mod sqlite;

#[cfg(feature = "mongodb")]
pub use self::mongodb::MongoContent;
pub use sqlite::SqliteContent;

/// A stream's document as the write path needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Raised by every change of `state` or `private`; what compare-and-set compares.
    pub revision: u64,
    /// The number of the newest event.
    pub sequence: u64,
    /// The aggregate's state as JSON: what folding the stream gives.
    pub state: String,
    /// What must not be in the log, as JSON.
    pub private: Option<String>,
    /// Commands that carried an `Idempotency-Key`, oldest first, until their claims hold the answer.
    pub recent_commands: Vec<RecentCommand>,
}

/// A command with an `Idempotency-Key`, recorded together with its effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentCommand {
    /// Whose key, see [`CommandClaim::actor`].
    pub actor: String,
    /// The key.
    pub key: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// What was answered.
    pub answer: Answer,
}

/// What a command answered, to be answered again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: String,
    /// `ETag` header, where the answer has one.
    pub etag: Option<String>,
}

/// A change of one document.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Which document.
    pub stream: StreamId,
    /// The revision that it was decided on; 0 where there was no document.
    pub expected_revision: u64,
    /// The new state as JSON.
    pub state: String,
    /// The new private part as JSON; `None` leaves it as it is.
    pub private: Option<String>,
    /// What follows from a post's text; `None` leaves it as it is.
    pub rendered: Option<Rendered>,
    /// The events, sealed, numbered on from the document's sequence.
    pub records: Vec<Record>,
    /// All that shall stand in `recent_commands`; `None` leaves them as they are.
    pub recent_commands: Option<Vec<RecentCommand>>,
    /// The present time, from which the relay counts.
    pub at: Timestamp,
}

/// A post as it is shown. Follows from the text and the renderer, so it is outside the state.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rendered {
    /// Which version of the renderer made it.
    pub renderer: u16,
    /// Sanitised HTML. Empty once the post is deleted.
    pub html: String,
    /// A [`Preview`] as JSON, ready to be put into a page; `None` once the post is deleted.
    pub preview: Option<String>,
}

/// What a list shows of a post, before it is joined by author and counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The post.
    pub id: PostId,
    /// Its author's id.
    pub author_id: UserId,
    /// Its title.
    pub title: Option<Title>,
    /// The beginning of its text, without markup.
    pub text: String,
    /// Whether there is more than `text` shows.
    pub truncated: bool,
    /// Who may read it.
    pub visibility: Visibility,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub edited_at: Option<Timestamp>,
    /// The stream's sequence: what the `ETag` says.
    pub version: u64,
}

/// A [`Preview`] as it is stored, and the sequence of its post's stream at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPreview {
    /// The number of the stream's newest event.
    pub sequence: u64,
    /// As JSON; `None` where nothing is shown any more.
    pub preview: Option<String>,
}

/// What a commit came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The new revision.
    pub revision: u64,
    /// The new sequence.
    pub sequence: u64,
    /// Where the last record is in the log, where the log has it already.
    pub position: Option<Position>,
    /// The commit's records, where they wait for the log and nothing else of the stream does: whoever publishes them
    /// now need not ask what waits. `None` where that is not known.
    pub whole_outbox: Option<Vec<Record>>,
}

/// Why a commit had no effect.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The document is at another revision: load and decide again.
    #[error("the document was changed meanwhile")]
    Conflict,
    /// The store failed; the commit may or may not have had its effect.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A document's state as queries may see it: without its private part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicState {
    /// The number of the newest event.
    pub sequence: u64,
    /// The aggregate's state as JSON.
    pub state: String,
}

/// Up to where a stream is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The newest event that the log has acknowledged.
    pub sequence: u64,
    /// Where it is.
    pub position: Position,
}

/// Events of one stream that the log has not acknowledged yet, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// Whose.
    pub stream: StreamId,
    /// The events.
    pub records: Vec<Record>,
}

/// The log's word for events of one stream.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// Whose events.
    pub stream: StreamId,
    /// Which: they leave the outbox.
    pub events: Vec<EventId>,
    /// The newest of them and where it is.
    pub published: Published,
}

/// Somebody's use of an `Idempotency-Key`, recorded before the command's first write. Lasts 24 h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandClaim {
    /// Whose key: keys of different actors have nothing to do with each other.
    pub actor: String,
    /// The key.
    pub key: String,
    /// Keyed digest of method, path and body: another body is another command.
    pub digest: [u8; 32],
    /// The stream that the command writes; a repeat decides on the same one.
    pub stream: StreamId,
    /// When it was made.
    pub at: Timestamp,
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// Nobody had it: it is recorded now.
    New,
    /// It was there. With an answer, the command is done; without, it may have been interrupted.
    Existing(CommandClaim, Option<Answer>),
}

/// How long a claim on a command and its answer last, in milliseconds.
pub const CLAIM_LIFE_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A person's key for sealed text, wrapped by the server's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredKey {
    /// Nonce and wrapped key.
    Wrapped(Vec<u8>),
    /// The person was erased: what the key closed stays closed for ever.
    Tombstone,
}

/// The truth.
///
/// Invariants: a commit happens whole or not at all, and only on the expected revision; the events of a stream leave
/// the outbox in order; nothing but `load` shows a private part.
#[async_trait]
pub trait Content: Send + Sync + 'static {
    /// The document, if there is one.
    async fn load(&self, stream: StreamId) -> Result<Option<Document>, StoreError>;

    /// Changes a document; see [`Commit`].
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// The events of a stream that the log has not acknowledged, in order.
    async fn outbox(&self, stream: StreamId) -> Result<Vec<Record>, StoreError>;

    /// Outboxes whose oldest event was recorded before `before`, oldest first, at most `limit` streams.
    async fn pending_outboxes(&self, before: Timestamp, limit: usize) -> Result<Vec<Outbox>, StoreError>;

    /// Takes acknowledged events out of outboxes and records up to where the streams are published. Idempotent;
    /// `published` never moves backwards.
    async fn acknowledge(&self, acknowledgements: Vec<Acknowledgement>) -> Result<(), StoreError>;

    /// Up to where a stream is in the log; `None` where nothing of it is.
    async fn published(&self, stream: StreamId) -> Result<Option<Published>, StoreError>;

    /// The states of many streams, in the order asked for.
    async fn states(&self, streams: &[StreamId]) -> Result<Vec<Option<PublicState>>, StoreError>;

    /// The [`Preview`]s of many posts, in the order asked for; `None` where there is no document. What cannot be read is
    /// as if it were not there.
    async fn previews(&self, posts: &[PostId]) -> Result<Vec<Option<StoredPreview>>, StoreError>;

    /// What a post is shown as; `None` for the absent.
    async fn rendered(&self, post: PostId) -> Result<Option<Rendered>, StoreError>;

    /// At most `limit` documents in the order of their stream's text, above `after`: for `verify`.
    async fn scan(&self, after: Option<StreamId>, limit: usize) -> Result<Vec<(StreamId, PublicState)>, StoreError>;

    /// Records the use of an `Idempotency-Key`. A claim older than [`CLAIM_LIFE_MILLIS`] is as if it were not there.
    async fn claim_command(&self, claim: CommandClaim) -> Result<ClaimOutcome, StoreError>;

    /// Records what a claimed command answered; the first answer stays.
    async fn answer_command(&self, actor: &str, key: &str, answer: &Answer) -> Result<(), StoreError>;

    /// Removes claims made before `before`, at most `limit`; answers how many.
    async fn forget_commands(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Claims a user name for `owner`; true if it is theirs. A name whose owner's document does not exist can be
    /// taken over once its claim has `expired`, that is, was made before that time.
    async fn claim_username(
        &self,
        name: &Username,
        owner: UserId,
        now: Timestamp,
        expired: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Who has claimed a user name. The account may not exist (yet).
    async fn username_owner(&self, name: &Username) -> Result<Option<UserId>, StoreError>;

    /// A person's key.
    async fn key(&self, person: UserId) -> Result<Option<StoredKey>, StoreError>;

    /// Stores a first key for a person and answers the key that is stored, which another writer may have made.
    async fn create_key(&self, person: UserId, wrapped: Vec<u8>) -> Result<StoredKey, StoreError>;
}
