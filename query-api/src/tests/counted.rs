//! Ports that count how often each of their calls is made, and fail on demand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use adapters::StoreError;
use adapters::checkpoints::{Generation, Owner};
use adapters::content::{
    Acknowledgement, Answer, ClaimOutcome, CommandClaim, Commit, CommitError, Committed, Content, Document, Outbox,
    PublicState, Published, Rendered, StoredKey,
};
use adapters::event_log::Record;
use adapters::timelines::{AuthorEntry, Entry, Home, Span, Timelines};
use adapters::views::{
    CommentRow, Edge, EdgeChange, EdgeList, Engagement, EngagementLookup, EngagementRows, EngagementUpdate, FollowList,
    FollowRow, PostRow, ProfileChange, ProfileRow, ReactionRow, RelationView, VersionRow, Views,
};
use async_trait::async_trait;
use domain::text::Username;
use domain::{CommentId, PostId, StreamId, Timestamp, UserId};

/// How often each call was made.
#[derive(Default)]
pub(super) struct Calls {
    made: Mutex<Vec<&'static str>>,
    failing: AtomicBool,
}

impl Calls {
    /// The calls since the last time, in order.
    pub(super) fn take_in_order(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The calls since the last time, by name.
    pub(super) fn take(&self) -> BTreeMap<&'static str, usize> {
        let mut by_name = BTreeMap::new();
        for name in self.take_in_order() {
            *by_name.entry(name).or_default() += 1;
        }
        by_name
    }

    /// From now on every call fails, or none.
    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    fn count(&self, name: &'static str) -> Result<(), StoreError> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        if self.failing.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("as the test wants".to_owned()));
        }
        Ok(())
    }
}

pub(super) struct Counted<P> {
    port: P,
    calls: Arc<Calls>,
}

impl<P> Counted<P> {
    pub(super) fn new(port: P, calls: &Arc<Calls>) -> Self {
        Self { port, calls: calls.clone() }
    }
}

macro_rules! counted {
    ($port:ident { $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty, $error:ty;)* }) => {
        #[async_trait]
        impl<P: $port> $port for Counted<P> {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, $error> {
                self.calls.count(stringify!($name))?;
                self.port.$name($($argument),*).await
            })*
        }
    };
}

counted! {
    Content {
        load(stream: StreamId) -> Option<Document>, StoreError;
        commit(commit: Commit) -> Committed, CommitError;
        outbox(stream: StreamId) -> Vec<Record>, StoreError;
        pending_outboxes(before: Timestamp, limit: usize) -> Vec<Outbox>, StoreError;
        acknowledge(acknowledgements: Vec<Acknowledgement>) -> (), StoreError;
        published(stream: StreamId) -> Option<Published>, StoreError;
        states(streams: &[StreamId]) -> Vec<Option<PublicState>>, StoreError;
        previews(posts: &[PostId]) -> Vec<Option<String>>, StoreError;
        rendered(post: PostId) -> Option<Rendered>, StoreError;
        scan(after: Option<StreamId>, limit: usize) -> Vec<(StreamId, PublicState)>, StoreError;
        claim_command(claim: CommandClaim) -> ClaimOutcome, StoreError;
        answer_command(actor: &str, key: &str, answer: &Answer) -> (), StoreError;
        forget_commands(before: Timestamp, limit: usize) -> usize, StoreError;
        claim_username(name: &Username, owner: UserId, now: Timestamp, expired: Timestamp) -> bool, StoreError;
        username_owner(name: &Username) -> Option<UserId>, StoreError;
        key(person: UserId) -> Option<StoredKey>, StoreError;
        create_key(person: UserId, wrapped: Vec<u8>) -> StoredKey, StoreError;
    }
}

counted! {
    Views {
        engagement_rows(generation: Generation, lookups: &[EngagementLookup]) -> Vec<EngagementRows>, StoreError;
        write_engagement(generation: Generation, updates: Vec<EngagementUpdate>) -> (), StoreError;
        engagement(generation: Generation, viewer: Option<UserId>, posts: &[PostId]) -> Vec<Engagement>, StoreError;
        post_row(generation: Generation, post: PostId) -> PostRow, StoreError;
        comments(generation: Generation, post: PostId, before: Option<CommentId>, limit: usize) -> Vec<CommentRow>, StoreError;
        comments_changed(generation: Generation, post: PostId, after: i64, limit: usize) -> Vec<CommentRow>, StoreError;
        likes(generation: Generation, post: PostId, before: Option<i64>, limit: usize) -> Vec<ReactionRow>, StoreError;
        write_edges(generation: Generation, changes: &[EdgeChange]) -> (), StoreError;
        relations(generation: Generation, viewer: UserId, others: &[UserId]) -> Vec<RelationView>, StoreError;
        followers(generation: Generation, author: UserId, after: Option<UserId>, limit: usize) -> Vec<UserId>, StoreError;
        following(generation: Generation, user: UserId, after: Option<UserId>, limit: usize) -> Vec<UserId>, StoreError;
        blocked_with(generation: Generation, user: UserId) -> Vec<UserId>, StoreError;
        relations_stamp(generation: Generation, user: UserId) -> i64, StoreError;
        renew_stamps(generation: Generation, users: &[UserId]) -> (), StoreError;
        versions(generation: Generation, stream: StreamId, before: Option<u64>, limit: usize) -> Vec<VersionRow>, StoreError;
        edge_list(generation: Generation, user: UserId, list: EdgeList, before: Option<UserId>, limit: usize) -> Vec<UserId>, StoreError;
        write_profiles(owner: Owner, changes: Vec<ProfileChange>) -> (), StoreError;
        profiles(generation: Generation, users: &[UserId]) -> Vec<Option<ProfileRow>>, StoreError;
        users_named(generation: Generation, usernames: &[Username]) -> Vec<Option<UserId>>, StoreError;
        newest_follows(generation: Generation, list: FollowList, before: Option<(Timestamp, UserId)>, limit: usize) -> Vec<FollowRow>, StoreError;
        scan_profiles(generation: Generation, after: Option<UserId>, limit: usize) -> Vec<ProfileRow>, StoreError;
        scan_follows(generation: Generation, after: Option<(UserId, UserId)>, limit: usize) -> Vec<FollowRow>, StoreError;
        scan_versions(generation: Generation, after: Option<(StreamId, u64)>, limit: usize) -> Vec<VersionRow>, StoreError;
        mark_hot(generation: Generation, authors: &[UserId]) -> (), StoreError;
        hot(generation: Generation, authors: &[UserId]) -> Vec<UserId>, StoreError;
        hot_followed(generation: Generation, user: UserId) -> Vec<UserId>, StoreError;
        scan_posts(generation: Generation, after: Option<PostId>, limit: usize) -> Vec<(PostId, PostRow)>, StoreError;
        scan_comments(generation: Generation, after: Option<(PostId, CommentId)>, limit: usize) -> Vec<CommentRow>, StoreError;
        scan_reactions(generation: Generation, after: Option<(PostId, UserId)>, limit: usize) -> Vec<ReactionRow>, StoreError;
        scan_edges(generation: Generation, after: Option<(UserId, UserId)>, limit: usize) -> Vec<Edge>, StoreError;
    }
}

counted! {
    Timelines {
        write_authors(generation: Generation, entries: &[AuthorEntry]) -> (), StoreError;
        authors(generation: Generation, authors: &[UserId], span: Span, limit: usize) -> Vec<Entry>, StoreError;
        authors_since(generation: Generation, authors: &[UserId], after: &[i64], limit: usize) -> Vec<Entry>, StoreError;
        write_homes(generation: Generation, owners: &[UserId], entry: Entry) -> Vec<UserId>, StoreError;
        fill_home(generation: Generation, owner: UserId, entries: &[Entry]) -> (), StoreError;
        raise_mark(generation: Generation, owner: UserId, mark: PostId) -> (), StoreError;
        trim(generation: Generation, owner: UserId, at: usize, to: usize) -> (), StoreError;
        home(generation: Generation, owner: UserId, span: Span, limit: usize) -> Home, StoreError;
        home_since(generation: Generation, owner: UserId, after: &[i64], limit: usize) -> Home, StoreError;
        scan_authors(generation: Generation, after: Option<(UserId, PostId)>, limit: usize) -> Vec<AuthorEntry>, StoreError;
        scan_homes(generation: Generation, after: Option<(UserId, PostId)>, limit: usize) -> Vec<(UserId, Entry)>, StoreError;
    }
}
