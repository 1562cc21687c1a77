//! Ports with something around every call: for tests that count calls, or whose stores are slow or fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::text::Username;
use domain::{CommentId, Lane, LogId, Position, PostId, StreamId, Timestamp, Topic, UserId};
use tokio::sync::watch;

use crate::StoreError;
use crate::cache::{self, Cache, Comments, Item, Key, ListKey, Lookup, Space, Token};
use crate::checkpoints::{
    Build, Checkpoints, Dropped, Epoch, Epochs, Generation, LaneOrder, Orders, Outcome, Owner, OwnerEpoch, ParkedLane,
    Partition, Progress, RequestId, Taken, WorkerState,
};
use crate::content::{
    Acknowledgement, Answer, ClaimOutcome, CommandClaim, Commit, CommitError, Committed, Content, Document, Outbox,
    PublicState, Published, Rendered, StoredKey, StoredPreview,
};
use crate::event_log::{EventLog, Logged, Membership, Record};
use crate::live::{Channel, Live, Message, Subscription};
use crate::timelines::{AuthorEntry, Entry, Home, Span, Timelines};
use crate::views::{
    CommentRow, Counts, Edge, EdgeChange, EdgeList, EngagementLookup, EngagementRows, EngagementUpdate, FollowList,
    FollowRow, PostRow, ProfileChange, ProfileRow, ReactionRow, RelationView, VersionRow, Views,
};

/// What happens around calls.
#[async_trait]
pub trait Around: Send + Sync + 'static {
    /// Before the call has its effect. An error is the call's answer, and it has none.
    async fn before(&self, call: &'static str) -> Result<(), StoreError>;

    /// After the call has had its effect. An error is the call's answer, as when a connection breaks too late.
    async fn after(&self, _call: &'static str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A port with something around its calls.
pub struct Decorated<P: ?Sized> {
    port: Arc<P>,
    around: Arc<dyn Around>,
}

impl<P: ?Sized> Decorated<P> {
    /// Puts `around` around `port`.
    pub fn new(port: Arc<P>, around: Arc<dyn Around>) -> Self {
        Self { port, around }
    }

    async fn call<T, E: From<StoreError>>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        self.around.before(name).await?;
        let answer = call.await?;
        self.around.after(name).await?;
        Ok(answer)
    }
}

/// Passes calls on: what is in braces, and the asynchronous calls that follow.
macro_rules! decorated {
    ($port:ident { $($own:item)* } { $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty, $error:ty;)* }) => {
        #[async_trait]
        impl<P: $port + ?Sized> $port for Decorated<P> {
            $($own)*
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, $error> {
                self.call(stringify!($name), self.port.$name($($argument),*)).await
            })*
        }
    };
}

decorated! {
    Content {} {
        load(stream: StreamId) -> Option<Document>, StoreError;
        commit(commit: Commit) -> Committed, CommitError;
        outbox(stream: StreamId) -> Vec<Record>, StoreError;
        pending_outboxes(before: Timestamp, limit: usize) -> Vec<Outbox>, StoreError;
        acknowledge(acknowledgements: Vec<Acknowledgement>) -> (), StoreError;
        published(stream: StreamId) -> Option<Published>, StoreError;
        states(streams: &[StreamId]) -> Vec<Option<PublicState>>, StoreError;
        previews(posts: &[PostId]) -> Vec<Option<StoredPreview>>, StoreError;
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

decorated! {
    EventLog {
        fn id(&self) -> LogId {
            self.port.id()
        }

        fn partitions(&self) -> u16 {
            self.port.partitions()
        }
    } {
        append(records: Vec<Record>) -> Vec<Position>, StoreError;
        read(topic: Topic, partition: u16, after: i64, limit: usize, wait: Duration) -> Vec<Logged>, StoreError;
        head(topic: Topic, partition: u16) -> i64, StoreError;
        join(group: &str, topics: &[Topic]) -> Box<dyn Membership>, StoreError;
    }
}

decorated! {
    Views {} {
        engagement_rows(generation: Generation, lookups: &[EngagementLookup]) -> Vec<EngagementRows>, StoreError;
        write_engagement(generation: Generation, updates: Vec<EngagementUpdate>) -> (), StoreError;
        counts(generation: Generation, posts: &[PostId]) -> Vec<Counts>, StoreError;
        liked(generation: Generation, user: UserId, posts: &[PostId]) -> Vec<bool>, StoreError;
        post_row(generation: Generation, post: PostId) -> PostRow, StoreError;
        comments(generation: Generation, post: PostId, before: Option<CommentId>, limit: usize) -> Vec<CommentRow>, StoreError;
        comments_changed(generation: Generation, post: PostId, after: i64, limit: usize) -> Vec<CommentRow>, StoreError;
        likes(generation: Generation, post: PostId, before: Option<i64>, limit: usize) -> Vec<ReactionRow>, StoreError;
        versions(generation: Generation, stream: StreamId, before: Option<u64>, limit: usize) -> Vec<VersionRow>, StoreError;
        write_edges(generation: Generation, changes: &[EdgeChange]) -> (), StoreError;
        relations(generation: Generation, viewer: UserId, others: &[UserId]) -> Vec<RelationView>, StoreError;
        followers(generation: Generation, author: UserId, after: Option<UserId>, limit: usize) -> Vec<UserId>, StoreError;
        following(generation: Generation, user: UserId, after: Option<UserId>, limit: usize) -> Vec<UserId>, StoreError;
        blocked_with(generation: Generation, user: UserId) -> Vec<UserId>, StoreError;
        relations_stamp(generation: Generation, user: UserId) -> i64, StoreError;
        renew_stamps(generation: Generation, users: &[UserId]) -> (), StoreError;
        edge_list(generation: Generation, user: UserId, list: EdgeList, before: Option<UserId>, limit: usize) -> Vec<UserId>, StoreError;
        mark_hot(generation: Generation, authors: &[UserId]) -> (), StoreError;
        hot(generation: Generation, authors: &[UserId]) -> Vec<UserId>, StoreError;
        hot_followed(generation: Generation, user: UserId) -> Vec<UserId>, StoreError;
        write_profiles(owner: Owner, changes: Vec<ProfileChange>) -> (), StoreError;
        profiles(generation: Generation, users: &[UserId]) -> Vec<Option<ProfileRow>>, StoreError;
        users_named(generation: Generation, usernames: &[Username]) -> Vec<Option<UserId>>, StoreError;
        newest_follows(generation: Generation, list: FollowList, before: Option<(Timestamp, UserId)>, limit: usize) -> Vec<FollowRow>, StoreError;
        scan_posts(generation: Generation, after: Option<PostId>, limit: usize) -> Vec<(PostId, PostRow)>, StoreError;
        scan_comments(generation: Generation, after: Option<(PostId, CommentId)>, limit: usize) -> Vec<CommentRow>, StoreError;
        scan_reactions(generation: Generation, after: Option<(PostId, UserId)>, limit: usize) -> Vec<ReactionRow>, StoreError;
        scan_edges(generation: Generation, after: Option<(UserId, UserId)>, limit: usize) -> Vec<Edge>, StoreError;
        scan_profiles(generation: Generation, after: Option<UserId>, limit: usize) -> Vec<ProfileRow>, StoreError;
        scan_follows(generation: Generation, after: Option<(UserId, UserId)>, limit: usize) -> Vec<FollowRow>, StoreError;
        scan_versions(generation: Generation, after: Option<(StreamId, u64)>, limit: usize) -> Vec<VersionRow>, StoreError;
    }
}

decorated! {
    Timelines {} {
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

decorated! {
    Checkpoints {
        fn progress(&self) -> watch::Receiver<Progress> {
            self.port.progress()
        }

        fn orders(&self) -> watch::Receiver<Orders> {
            self.port.orders()
        }
    } {
        serving(projection: &str) -> Generation, StoreError;
        take(build: Build, partition: Partition) -> Taken, StoreError;
        save(build: Build, epoch: OwnerEpoch, position: Position) -> (), StoreError;
        park(build: Build, epoch: OwnerEpoch, partition: Partition, lane: &Lane, offsets: &[i64], reason: &str) -> (), StoreError;
        parked_offsets(build: Build, partition: Partition, lane: &Lane, limit: usize) -> Vec<i64>, StoreError;
        unpark(build: Build, epoch: OwnerEpoch, partition: Partition, lane: &Lane, offset: i64) -> bool, StoreError;
        parked(build: Build) -> Vec<(Partition, ParkedLane)>, StoreError;
        positions(build: Build) -> Vec<Position>, StoreError;
        settle(build: Build, epoch: OwnerEpoch, partition: Partition, starts: u32) -> (), StoreError;
        begin_trial(build: Build, epoch: OwnerEpoch, partition: Partition, until: i64, careful_until: i64) -> (), StoreError;
        note_drains(build: Build, epoch: OwnerEpoch, partition: Partition, lane: &Lane, unfinished: u32, reason: Option<&str>) -> (), StoreError;
        drop_parked(build: Build, epoch: OwnerEpoch, partition: Partition, lane: &Lane, up_to: i64, at: Timestamp) -> bool, StoreError;
        dropped(build: Build, limit: usize) -> Vec<Dropped>, StoreError;
        raise(epoch: Epoch) -> (), StoreError;
        epochs() -> Epochs, StoreError;
        set_paused(projection: &str, paused: bool, at: Timestamp) -> bool, StoreError;
        request(build: Build, partition: Partition, lane: &Lane, order: LaneOrder, at: Timestamp) -> Option<RequestId>, StoreError;
        begin_request(build: Build, epoch: OwnerEpoch, partition: Partition, request: RequestId) -> bool, StoreError;
        end_request(build: Build, epoch: OwnerEpoch, partition: Partition, request: RequestId, outcome: Outcome) -> (), StoreError;
        withdraw_request(request: RequestId) -> bool, StoreError;
        outcome(request: RequestId) -> Option<Outcome>, StoreError;
        note_state(build: Build, partition: Partition, state: WorkerState) -> (), StoreError;
        states(build: Build) -> Vec<(Partition, WorkerState)>, StoreError;
    }
}

decorated! {
    Live {} {
        publish(channel: Channel, messages: Vec<Message>) -> (), StoreError;
        publish_to_each(channels: Vec<Channel>, message: Message) -> (), StoreError;
        subscribe(channel: Channel) -> Box<dyn Subscription>, StoreError;
    }
}

decorated! {
    Cache {
        fn limits(&self) -> cache::Limits {
            self.port.limits()
        }
    } {
        values(space: Space, keys: &[Key]) -> Vec<Option<cache::Value>>, StoreError;
        look_up(space: Space, keys: &[Key]) -> Vec<Lookup<cache::Value>>, StoreError;
        fill(space: Space, fills: Vec<(Key, Token, cache::Value)>) -> Vec<bool>, StoreError;
        update(space: Space, updates: Vec<(Key, cache::Value)>) -> (), StoreError;
        comments(space: Space, key: ListKey) -> Option<Comments>, StoreError;
        look_up_comments(space: Space, key: ListKey) -> Lookup<Comments>, StoreError;
        fill_comments(space: Space, key: ListKey, token: Token, list: Comments) -> bool, StoreError;
        add_comments(space: Space, additions: Vec<(ListKey, Vec<Item>)>) -> (), StoreError;
        drop_comments(space: Space, keys: Vec<ListKey>) -> (), StoreError;
    }
}
