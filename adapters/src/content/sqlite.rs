//! [`Content`] in the truth's file.
//!
//! Opened with the log of the same file, a commit appends to it in the document's own transaction: the outbox stays
//! empty, and the answer knows the position. Opened without, events wait in the outbox.

use std::sync::Arc;

use async_trait::async_trait;
use domain::text::Username;
use domain::{PostId, StreamId, Timestamp, UserId};
use rusqlite::Connection;

use super::{
    Acknowledgement, Answer, ClaimOutcome, CommandClaim, Commit, CommitError, Committed, Content, Document, Outbox,
    PublicState, Published, Rendered, StoredKey, StoredPreview,
};
use crate::StoreError;
use crate::event_log::{Appender, Record, SqliteEventLog};
use crate::sqlite::Database;
use crate::sqlite::remembered::Remembered;

mod claims;
mod documents;
mod key;
mod keys;
mod outbox;
#[cfg(test)]
mod tests;

/// Accounts that are remembered.
const ACCOUNTS: usize = 8_192;

/// The adapter.
#[derive(Clone, Debug)]
pub struct SqliteContent {
    db: Arc<Database>,
    log: Option<Appender>,
    /// The public states of accounts, whose names stand on every page. Commands of operators make and change accounts
    /// beside a server.
    accounts: Remembered<UserId, Option<PublicState>>,
}

impl SqliteContent {
    /// In the truth's file ([`TRUTH`](crate::sqlite::TRUTH)). `log` is the log of the same [`Database`], where events go
    /// to; `None` leaves them in the outbox.
    ///
    /// # Errors
    /// The file cannot be used, or `log` is not in it.
    pub fn open(db: Arc<Database>, log: Option<Arc<SqliteEventLog>>) -> Result<Self, StoreError> {
        let accounts = Remembered::briefly(&db, ACCOUNTS);
        let Some(log) = log else { return Ok(Self { db, log: None, accounts }) };
        if !Arc::ptr_eq(&db, log.database()) {
            let other = log.database().path().display().to_string();
            return Err(StoreError::Damaged(format!("{} is not where the log is: {other}", db.path().display())));
        }
        let log = log.appender();
        // From a time when the log was elsewhere: no relay would look for it any more.
        outbox::move_to_log(&db, &log)?;
        Ok(Self { db, log: Some(log), accounts })
    }
}

#[async_trait]
impl Content for SqliteContent {
    async fn load(&self, stream: StreamId) -> Result<Option<Document>, StoreError> {
        self.db.read(|connection| documents::load(connection, stream)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let (log, announcer) = (self.log.clone(), self.log.clone());
        let account = match commit.stream {
            StreamId::User(user) => Some(user),
            _ => None,
        };
        let writing = self.accounts.writing(account);
        let write = move |connection: &Connection| documents::commit(connection, log.as_ref(), &commit);
        let announce = move |committed: &Committed| {
            drop(writing);
            if let (Some(log), Some(position)) = (announcer, committed.position) {
                log.announce(&[position]);
            }
        };
        self.db.write_then(write, announce).await.map_err(|error| match error {
            StoreError::Overtaken(_) => CommitError::Conflict,
            error => CommitError::Store(error),
        })
    }

    async fn outbox(&self, stream: StreamId) -> Result<Vec<Record>, StoreError> {
        self.db.read(|connection| outbox::of(connection, stream)).await
    }

    async fn pending_outboxes(&self, before: Timestamp, limit: usize) -> Result<Vec<Outbox>, StoreError> {
        self.db.read(|connection| outbox::pending(connection, before, limit)).await
    }

    async fn acknowledge(&self, acknowledgements: Vec<Acknowledgement>) -> Result<(), StoreError> {
        let each = move |connection: &Connection| {
            acknowledgements.iter().try_for_each(|it| outbox::acknowledge(connection, it))
        };
        self.db.write(each).await
    }

    async fn published(&self, stream: StreamId) -> Result<Option<Published>, StoreError> {
        self.db.read(|connection| outbox::published(connection, stream)).await
    }

    async fn states(&self, streams: &[StreamId]) -> Result<Vec<Option<PublicState>>, StoreError> {
        let user = |stream: &StreamId| match stream {
            StreamId::User(user) => Some(*user),
            _ => None,
        };
        let Some(users) = streams.iter().map(user).collect::<Option<Vec<UserId>>>() else {
            return self.db.read(|connection| documents::states(connection, streams)).await;
        };
        let read = |connection: &Connection, users: &[UserId]| {
            let streams: Vec<StreamId> = users.iter().copied().map(StreamId::User).collect();
            documents::states(connection, &streams)
        };
        self.accounts.read(&users, read).await
    }

    async fn previews(&self, posts: &[PostId]) -> Result<Vec<Option<StoredPreview>>, StoreError> {
        self.db.read(|connection| documents::previews(connection, posts)).await
    }

    async fn rendered(&self, post: PostId) -> Result<Option<Rendered>, StoreError> {
        self.db.read(|connection| documents::rendered(connection, post)).await
    }

    async fn scan(&self, after: Option<StreamId>, limit: usize) -> Result<Vec<(StreamId, PublicState)>, StoreError> {
        self.db.read(|connection| documents::scan(connection, after, limit)).await
    }

    async fn claim_command(&self, claim: CommandClaim) -> Result<ClaimOutcome, StoreError> {
        self.db.write(move |connection| claims::command(connection, &claim)).await
    }

    async fn answer_command(&self, actor: &str, key: &str, answer: &Answer) -> Result<(), StoreError> {
        let (actor, key, answer) = (actor.to_owned(), key.to_owned(), answer.clone());
        self.db.write(move |connection| claims::answer(connection, &actor, &key, &answer)).await
    }

    async fn forget_commands(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.db.write(move |connection| claims::forget(connection, before, limit)).await
    }

    async fn claim_username(
        &self,
        name: &Username,
        owner: UserId,
        now: Timestamp,
        expired: Timestamp,
    ) -> Result<bool, StoreError> {
        let name = name.clone();
        self.db.write(move |connection| claims::username(connection, &name, owner, now, expired)).await
    }

    async fn username_owner(&self, name: &Username) -> Result<Option<UserId>, StoreError> {
        self.db.read(|connection| claims::username_owner(connection, name)).await
    }

    async fn key(&self, person: UserId) -> Result<Option<StoredKey>, StoreError> {
        self.db.read(|connection| keys::of(connection, person)).await
    }

    async fn create_key(&self, person: UserId, wrapped: Vec<u8>) -> Result<StoredKey, StoreError> {
        self.db.write(move |connection| keys::create(connection, person, &wrapped)).await
    }
}
