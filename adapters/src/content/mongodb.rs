//! [`Content`] in MongoDB: one document per stream, its outbox inside.
//!
//! Collections: `content.documents` (`_id`: the stream's text), `content.command_claims`, `content.usernames`,
//! `content.keys`. All of it is truth: nothing here is made again from elsewhere.
//!
//! A commit is one update of one document, on the revision that it was decided on (W2): `$set` of what is new and
//! `$push` of the events, never a replace, because acknowledgements change the same document without a new revision.
//! `outbox_since` is when the outbox's oldest event was recorded, and there exactly while something waits: a commit
//! sets it in the same update that fills an empty outbox, an acknowledgement takes it away in the same update that
//! empties one. The relay finds outboxes by it (a sparse index), so events without it would never leave. What may be
//! wrong for a moment, after a crash between two updates, is only that it is older than it should be, or there without
//! events; whoever meets that mends it.
//!
//! A commit whose answer is lost is [`StoreError::Unavailable`]: it may be there. Its events are then in the outbox and
//! leave with the relay. Whoever repeats the command finds it by its key (W4), or decides on what is there.
//!
//! An outbox holds at most [`OUTBOX_BYTES`] of events: a document has 16 MB, and a log that is away for days must not
//! make a stream that cannot be written at all. Beyond, commands on that stream are unavailable until the log is back.

use async_trait::async_trait;
use domain::text::Username;
use domain::{PostId, StreamId, Timestamp, UserId};
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};

use super::{
    Acknowledgement, Answer, ClaimOutcome, CommandClaim, Commit, CommitError, Committed, Content, Document, Outbox,
    PublicState, Published, Rendered, StoredKey, StoredPreview,
};
use crate::StoreError;
use crate::event_log::Record;
use crate::mongodb::{Schema, failed};
use crate::stores::Migration;
use crate::url::StoreUrl;

mod claims;
mod documents;
mod keys;
mod outbox;
#[cfg(test)]
mod tests;

const SCHEMA: Schema = Schema { store: "content", version: 1 };
const DOCUMENTS: &str = "content.documents";
const COMMAND_CLAIMS: &str = "content.command_claims";
const USERNAMES: &str = "content.usernames";
const KEYS: &str = "content.keys";

/// Beyond this, an outbox takes no more: half of what a document may have, for states and renderings are in it, too.
const OUTBOX_BYTES: i64 = 8 * 1024 * 1024;

/// Documents as they come: each is read by itself, so that a damaged one takes no other along.
type Raw = Collection<RawDocumentBuf>;

/// The adapter.
#[derive(Clone, Debug)]
pub struct MongoContent {
    database: Database,
}

impl MongoContent {
    /// Makes the indexes that are missing.
    ///
    /// # Errors
    /// The database cannot be written, or is of a newer version.
    pub async fn migrate(url: &StoreUrl) -> Result<Migration, StoreError> {
        let (database, from) = SCHEMA.begin(url).await?;
        let waiting = IndexModel::builder()
            .keys(doc! { "outbox_since": 1 })
            .options(IndexOptions::builder().name("waiting".to_owned()).sparse(true).build())
            .build();
        database.collection::<RawDocumentBuf>(DOCUMENTS).create_index(waiting).await.map_err(failed)?;
        let age = IndexModel::builder()
            .keys(doc! { "at": 1 })
            .options(IndexOptions::builder().name("age".to_owned()).build())
            .build();
        database.collection::<RawDocumentBuf>(COMMAND_CLAIMS).create_index(age).await.map_err(failed)?;
        SCHEMA.finish(&database, from).await
    }

    /// In the database that `url` names.
    ///
    /// # Errors
    /// It cannot be reached, or is not of this version.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        Ok(Self { database: SCHEMA.open(url).await? })
    }

    fn collection(&self, name: &str) -> Raw {
        self.database.collection(name)
    }

    fn documents(&self) -> Raw {
        self.collection(DOCUMENTS)
    }
}

#[async_trait]
impl Content for MongoContent {
    async fn load(&self, stream: StreamId) -> Result<Option<Document>, StoreError> {
        documents::load(&self.documents(), stream).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let (committed, alone) = documents::commit(&self.documents(), &commit).await?;
        Ok(Committed { whole_outbox: alone.then_some(commit.records), ..committed })
    }

    async fn outbox(&self, stream: StreamId) -> Result<Vec<Record>, StoreError> {
        outbox::of(&self.documents(), stream).await
    }

    async fn pending_outboxes(&self, before: Timestamp, limit: usize) -> Result<Vec<Outbox>, StoreError> {
        outbox::pending(&self.documents(), before, limit).await
    }

    async fn acknowledge(&self, acknowledgements: Vec<Acknowledgement>) -> Result<(), StoreError> {
        outbox::acknowledge(&self.database, &acknowledgements).await
    }

    async fn published(&self, stream: StreamId) -> Result<Option<Published>, StoreError> {
        outbox::published(&self.documents(), stream).await
    }

    async fn states(&self, streams: &[StreamId]) -> Result<Vec<Option<PublicState>>, StoreError> {
        documents::states(&self.documents(), streams).await
    }

    async fn previews(&self, posts: &[PostId]) -> Result<Vec<Option<StoredPreview>>, StoreError> {
        documents::previews(&self.documents(), posts).await
    }

    async fn rendered(&self, post: PostId) -> Result<Option<Rendered>, StoreError> {
        documents::rendered(&self.documents(), post).await
    }

    async fn scan(&self, after: Option<StreamId>, limit: usize) -> Result<Vec<(StreamId, PublicState)>, StoreError> {
        documents::scan(&self.documents(), after, limit).await
    }

    async fn claim_command(&self, claim: CommandClaim) -> Result<ClaimOutcome, StoreError> {
        claims::command(&self.collection(COMMAND_CLAIMS), &claim).await
    }

    async fn answer_command(&self, actor: &str, key: &str, answer: &Answer) -> Result<(), StoreError> {
        claims::answer(&self.collection(COMMAND_CLAIMS), actor, key, answer).await
    }

    async fn forget_commands(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        claims::forget(&self.collection(COMMAND_CLAIMS), before, limit).await
    }

    async fn claim_username(
        &self,
        name: &Username,
        owner: UserId,
        now: Timestamp,
        expired: Timestamp,
    ) -> Result<bool, StoreError> {
        claims::username(&self.collection(USERNAMES), &self.documents(), name, owner, now, expired).await
    }

    async fn username_owner(&self, name: &Username) -> Result<Option<UserId>, StoreError> {
        claims::username_owner(&self.collection(USERNAMES), name).await
    }

    async fn key(&self, person: UserId) -> Result<Option<StoredKey>, StoreError> {
        keys::of(&self.collection(KEYS), person).await
    }

    async fn create_key(&self, person: UserId, wrapped: Vec<u8>) -> Result<StoredKey, StoreError> {
        keys::create(&self.collection(KEYS), person, wrapped).await
    }
}
