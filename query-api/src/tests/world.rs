//! A small world for tests: real SQLite stores in a directory of their own, filled through the ports as the write
//! path and the projections fill them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use adapters::cache::NoCache;
use adapters::checkpoints::{Build, Generation, Owner, OwnerEpoch, Partition, SqliteCheckpoints, TIMELINES};
use adapters::content::{Commit, Preview, Rendered, SqliteContent};
use adapters::decorated::Decorated;
use adapters::event_log::{Attributes, Record, SqliteEventLog};
use adapters::http::cursor::Cursors;
use adapters::live::{Channel, Live, Message, News};
use adapters::secrets::Secrets;
use adapters::sqlite::{Database, Durability, READ_MODELS, TRUTH};
use adapters::timelines::{AuthorEntry, Entry, Order, Span, SqliteTimelines};
use adapters::views::{
    CommentRow, EdgeChange, EdgeField, EngagementLookup, EngagementRows, EngagementUpdate, FollowRow, ProfileChange,
    ProfileNames, ReactionRow, SqliteViews, VersionRow,
};
use domain::event::Schema;
use domain::post::{Post, Text, Visibility};
use domain::text::{Bio, CommentText, DisplayName, Markdown, Title, Username};
use domain::user::User;
use domain::{CommentId, CorrelationId, EventId, Lane, Position, PostId, StreamId, Timestamp, Topic, UserId};
use serde::Serialize;
use tempfile::TempDir;

use super::counted::Calls;
use super::live::ManualLive;
use crate::Ports;
use crate::feed::Feed;

pub(super) const GENERATION: Generation = Generation::FIRST;
pub(super) const PARTITIONS: u16 = 4;

/// The first owner of some partition.
fn owner() -> Owner {
    Owner { generation: GENERATION, partition: Partition { topic: Topic::Users, number: 0 }, epoch: OwnerEpoch(1) }
}

/// Where the log has what is at `offset`: all partitions share one count.
pub(super) fn partition_of(offset: i64) -> u16 {
    (offset % i64::from(PARTITIONS)) as u16
}

pub(super) struct World {
    pub(super) ports: Ports,
    pub(super) calls: Arc<Calls>,
    pub(super) live: Arc<ManualLive>,
    pub(super) cursors: Cursors,
    millis: AtomicI64,
    random: AtomicU64,
    offset: AtomicI64,
    edges: Mutex<HashMap<(UserId, UserId), u64>>,
    _directory: TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let truth = Database::open(&directory.path().join("truth"), &TRUTH, Durability::Process).unwrap();
        let read_models =
            Database::open(&directory.path().join("read_models"), &READ_MODELS, Durability::Process).unwrap();
        let calls = Arc::new(Calls::default());
        let live = Arc::new(ManualLive::default());
        let ports = Ports {
            content: Arc::new(Decorated::new(
                Arc::new(SqliteContent::open(truth.clone(), None).unwrap()),
                calls.clone(),
            )),
            event_log: Arc::new(SqliteEventLog::open(truth.clone(), PARTITIONS).await.unwrap()),
            views: Arc::new(Decorated::new(Arc::new(SqliteViews::new(read_models.clone())), calls.clone())),
            timelines: Arc::new(Decorated::new(Arc::new(SqliteTimelines::new(read_models.clone())), calls.clone())),
            checkpoints: Arc::new(SqliteCheckpoints::open(read_models, truth).unwrap()),
            cache: Arc::new(NoCache),
            live: live.clone(),
        };
        Self {
            ports,
            calls,
            live,
            cursors: Cursors::new(&Secrets::load_or_create(&directory.path().join("secrets")).unwrap()),
            millis: AtomicI64::new(1_700_000_000_000),
            random: AtomicU64::new(0),
            offset: AtomicI64::new(0),
            edges: Mutex::default(),
            _directory: directory,
        }
    }

    pub(super) fn feed(&self) -> Feed {
        Feed::new(&self.ports)
    }

    /// A later time at every call.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.fetch_add(1, Ordering::Relaxed))
    }

    fn random(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.random.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        bytes
    }

    /// The offset of the next event. All partitions share one count: it only has to grow.
    pub(super) fn next_offset(&self) -> i64 {
        self.offset.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn new_post_id(&self) -> PostId {
        PostId::from_parts(self.now(), self.random())
    }

    // The truth.

    pub(super) async fn commit(&self, stream: StreamId, state: &impl Serialize, rendered: Option<Rendered>) -> u64 {
        let document = self.ports.content.load(stream).await.unwrap();
        let (revision, sequence) = document.map_or((0, 0), |document| (document.revision, document.sequence));
        let at = self.now();
        let record = Record {
            topic: Topic::Posts,
            lane: Lane::new("any"),
            attributes: Attributes {
                id: EventId::from_parts(at, self.random()),
                schema: Schema { kind: "test.happened".to_owned(), version: 1 },
                subject: stream.to_string(),
                sequence: sequence + 1,
                time: at,
                actor: UserId::from_parts(at, self.random()),
                correlation: CorrelationId::from_parts(at, self.random()),
                causation: None,
            },
            data: "{}".to_owned(),
        };
        let commit = Commit {
            stream,
            expected_revision: revision,
            state: serde_json::to_string(state).unwrap(),
            private: None,
            rendered,
            records: vec![record],
            recent_commands: None,
            at,
        };
        self.ports.content.commit(commit).await.unwrap().sequence
    }

    pub(super) async fn person(&self, name: &str) -> UserId {
        let user = UserId::from_parts(self.now(), self.random());
        let state = User::Registered {
            username: Username::parse(name).unwrap(),
            display_name: DisplayName::parse(&format!("\"{name}\" \u{1f600}")).unwrap(),
            bio: Bio::default(),
        };
        self.commit(StreamId::User(user), &state, None).await;
        self.show(user, name, "", 1).await;
        user
    }

    // The projection `profiles`.

    /// What somebody shows of themselves, in the read model alone.
    pub(super) async fn show(&self, user: UserId, name: &str, bio: &str, sequence: u64) {
        let names = ProfileNames {
            username: Username::parse(name).unwrap(),
            display_name: DisplayName::parse(&format!("\"{name}\" \u{1f600}")).unwrap(),
            bio: Bio::parse(bio).unwrap(),
        };
        let named = ProfileChange::Named { user, names: Some(names), sequence };
        self.ports.views.write_profiles(owner(), vec![named]).await.unwrap();
    }

    /// A version of a post or comment, in the read model alone.
    pub(super) async fn keep_version(&self, post: PostId, version: VersionRow) {
        let row = self.ports.views.post_row(GENERATION, post).await.unwrap();
        let update = EngagementUpdate {
            post,
            expected_position: row.position,
            row,
            comments: Vec::new(),
            reactions: Vec::new(),
            versions: vec![version],
            forgotten: Vec::new(),
        };
        self.ports.views.write_engagement(GENERATION, vec![update]).await.unwrap();
    }

    /// Writes a post into the truth alone.
    pub(super) async fn write_post(&self, post: PostId, author: UserId, text: &str, visibility: Visibility) -> u64 {
        let earlier = self.ports.content.states(&[StreamId::Post(post)]).await.unwrap().remove(0);
        let edited_at = earlier.is_some().then(|| self.now());
        let version = earlier.map_or(1, |earlier| earlier.sequence + 1);
        let title = text.lines().next().and_then(|line| line.strip_prefix("# ")).map(|t| Title::parse(t).unwrap());
        let preview = Preview {
            id: post,
            author_id: author,
            title: title.clone(),
            text: text.to_owned(),
            truncated: false,
            visibility,
            created_at: post.timestamp(),
            edited_at,
            version,
        };
        let rendered = Rendered {
            renderer: 1,
            html: format!("<p>{text}</p>"),
            preview: Some(serde_json::to_string(&preview).unwrap()),
        };
        let text = Text { title, markdown: Markdown::parse(text).unwrap() };
        let state = Post::Published { author, visibility, text, edited_at };
        self.commit(StreamId::Post(post), &state, Some(rendered)).await
    }

    /// Takes a post out of the truth alone.
    pub(super) async fn erase_post(&self, post: PostId, author: UserId) -> u64 {
        let gone = Rendered { renderer: 1, html: String::new(), preview: None };
        self.commit(StreamId::Post(post), &Post::Deleted { author }, Some(gone)).await
    }

    // The projection `timelines`.

    pub(super) async fn list(&self, author: UserId, post: PostId, homes: &[UserId]) {
        let offset = self.next_offset();
        let entry = Entry { post, author, partition: partition_of(offset), offset };
        self.list_author(entry).await;
        self.list_homes(entry, homes).await;
    }

    /// The author's own timeline, which comes first.
    pub(super) async fn list_author(&self, entry: Entry) {
        let Entry { post, author, partition, offset } = entry;
        let row = AuthorEntry { author, post, deleted: false, imported: false, sequence: 1, partition, offset };
        self.ports.timelines.write_authors(GENERATION, &[row]).await.unwrap();
    }

    /// Homes, and then the hints.
    pub(super) async fn list_homes(&self, entry: Entry, homes: &[UserId]) {
        self.ports.timelines.write_homes(GENERATION, homes, entry).await.unwrap();
        let message =
            Message { position: entry.offset, news: News::NewPost { post: entry.post, author: entry.author } };
        self.live.publish_to_each(homes.iter().copied().map(Channel::Home).collect(), message).await.unwrap();
    }

    /// The projection's checkpoint: all effects up to `offset` are there.
    pub(super) async fn done(&self, partition: u16, offset: i64) {
        let build = Build { projection: TIMELINES, generation: GENERATION };
        let place = Partition { topic: Topic::Posts, number: partition };
        let epoch = self.ports.checkpoints.take(build, place).await.unwrap().epoch;
        let position = Position { log: self.ports.event_log.id(), topic: Topic::Posts, partition, offset };
        self.ports.checkpoints.save(build, epoch, position).await.unwrap();
    }

    /// The projection has caught up.
    pub(super) async fn all_done(&self) {
        let newest = self.offset.load(Ordering::Relaxed) - 1;
        for partition in 0..PARTITIONS {
            self.done(partition, newest).await;
        }
    }

    /// A post's lane is parked.
    pub(super) async fn park(&self, post: PostId) {
        let build = Build { projection: TIMELINES, generation: GENERATION };
        let lane = Lane::post(post);
        let number = adapters::event_log::partition_of(&lane, PARTITIONS);
        let place = Partition { topic: Topic::Posts, number };
        let epoch = self.ports.checkpoints.take(build, place).await.unwrap().epoch;
        self.ports.checkpoints.park(build, epoch, place, &lane, &[0], "stopped").await.unwrap();
    }

    /// A lane was parked and drains.
    pub(super) async fn drain(&self) {
        let build = Build { projection: TIMELINES, generation: GENERATION };
        let place = Partition { topic: Topic::Posts, number: 0 };
        let (checkpoints, lane) = (&self.ports.checkpoints, Lane::new("parked"));
        let epoch = checkpoints.take(build, place).await.unwrap().epoch;
        checkpoints.park(build, epoch, place, &lane, &[0], "stopped").await.unwrap();
        checkpoints.unpark(build, epoch, place, &lane, 0).await.unwrap();
    }

    /// A public post, in the homes of the author's present followers and in the author's own.
    pub(super) async fn publish(&self, author: UserId, text: &str) -> PostId {
        self.publish_to(author, text, Visibility::Public, true).await
    }

    /// A post of a hot author: in no home but the author's own.
    pub(super) async fn publish_hot(&self, author: UserId, text: &str) -> PostId {
        self.publish_to(author, text, Visibility::Public, false).await
    }

    pub(super) async fn publish_to(&self, author: UserId, text: &str, visibility: Visibility, fan_out: bool) -> PostId {
        let post = self.new_post_id();
        self.write_post(post, author, text, visibility).await;
        let mut homes = vec![author];
        if fan_out {
            homes.extend(self.ports.views.followers(GENERATION, author, None, 10_000).await.unwrap());
        }
        self.list(author, post, &homes).await;
        if !fan_out {
            let news = News::NewPost { post, author };
            self.live.publish(Channel::Author(author), vec![Message { position: 0, news }]).await.unwrap();
        }
        let written = ProfileChange::Post { author, post, listed: true, sequence: 1 };
        self.ports.views.write_profiles(owner(), vec![written]).await.unwrap();
        self.engage(post, |rows, offset| {
            rows.post.sequence = 1;
            rows.post.changed = offset;
            None
        })
        .await;
        post
    }

    pub(super) async fn edge(&self, from: UserId, to: UserId, what: EdgeField) {
        self.edge_silently(from, to, what).await;
        self.relations_changed(from, to).await;
    }

    async fn edge_silently(&self, from: UserId, to: UserId, what: EdgeField) {
        let sequence = {
            let mut edges = self.edges.lock().unwrap();
            let sequence = edges.entry((from.min(to), from.max(to))).or_default();
            *sequence += 1;
            *sequence
        };
        self.ports.views.write_edges(GENERATION, &[EdgeChange { from, to, what, sequence }]).await.unwrap();
        if let EdgeField::Following(following) = what {
            let follow = FollowRow { from, to, following, sequence, since: self.now() };
            self.ports.views.write_profiles(owner(), vec![ProfileChange::Follow(follow)]).await.unwrap();
        }
    }

    /// The stamp and the word, after what they stand for.
    async fn relations_changed(&self, from: UserId, to: UserId) {
        self.ports.views.renew_stamps(GENERATION, &[from]).await.unwrap();
        for user in [from, to] {
            let message = Message { position: 0, news: News::RelationChanged };
            self.live.publish(Channel::Viewer(user), vec![message]).await.unwrap();
        }
    }

    /// The edge first, then the author's posts above the home's mark, as the projection does it.
    pub(super) async fn follow(&self, from: UserId, to: UserId) {
        self.edge_silently(from, to, EdgeField::Following(true)).await;
        let timelines = &self.ports.timelines;
        let all = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };
        let mark = timelines.home(GENERATION, from, all, 0).await.unwrap().mark;
        let missing = timelines.authors(GENERATION, &[to], Span { above: mark, ..all }, 10_000).await.unwrap();
        timelines.fill_home(GENERATION, from, &missing).await.unwrap();
        self.relations_changed(from, to).await;
    }

    pub(super) async fn unfollow(&self, from: UserId, to: UserId) {
        self.edge(from, to, EdgeField::Following(false)).await;
    }

    /// Ends follows both ways, as the decision does.
    pub(super) async fn block(&self, from: UserId, to: UserId) {
        self.edge(from, to, EdgeField::Following(false)).await;
        self.edge(to, from, EdgeField::Following(false)).await;
        self.edge(from, to, EdgeField::Blocking(true)).await;
    }

    // The projection `engagement`: the views first, then the live message.

    /// Changes a post's rows as one event does, without telling anyone; answers the message that would be published.
    pub(super) async fn engage_silently(
        &self,
        post: PostId,
        change: impl FnOnce(&mut EngagementRows, i64) -> Option<News>,
    ) -> Option<Message> {
        let lookup = EngagementLookup { post, comments: Vec::new(), users: Vec::new() };
        let mut rows = self.ports.views.engagement_rows(GENERATION, &[lookup]).await.unwrap().remove(0);
        let expected_position = rows.post.position;
        let position = self.next_offset();
        let news = change(&mut rows, position);
        rows.post.position = position;
        rows.post.listed = position;
        let EngagementRows { post: row, comments, reactions } = rows;
        let update = EngagementUpdate {
            post,
            expected_position,
            row,
            comments,
            reactions,
            versions: Vec::new(),
            forgotten: Vec::new(),
        };
        self.ports.views.write_engagement(GENERATION, vec![update]).await.unwrap();
        news.map(|news| Message { position, news })
    }

    pub(super) async fn engage(&self, post: PostId, change: impl FnOnce(&mut EngagementRows, i64) -> Option<News>) {
        if let Some(message) = self.engage_silently(post, change).await {
            self.live.publish(Channel::Post(post), vec![message]).await.unwrap();
        }
    }

    pub(super) fn new_comment(&self, post: PostId, author: UserId, text: &str) -> CommentRow {
        CommentRow {
            comment: CommentId::from_parts(self.now(), self.random()),
            post,
            author,
            parent: None,
            text: Some(CommentText::parse(text).unwrap()),
            edited_at: None,
            sequence: 1,
            created: 0,
            position: 0,
        }
    }

    /// The change that a new comment makes.
    pub(super) fn added(mut row: CommentRow) -> impl FnOnce(&mut EngagementRows, i64) -> Option<News> {
        move |rows, offset| {
            row.created = offset;
            row.position = offset;
            rows.post.comments += 1;
            rows.comments.push(row.clone());
            Some(News::NewComment {
                comment: row.comment,
                author: row.author,
                parent: row.parent,
                text: row.text.clone()?,
            })
        }
    }

    /// The change that an edit or, without a text, a deletion makes of a row.
    pub(super) fn changed(
        mut row: CommentRow,
        text: Option<&str>,
        at: Timestamp,
    ) -> impl FnOnce(&mut EngagementRows, i64) -> Option<News> {
        let text = text.map(|text| CommentText::parse(text).unwrap());
        move |rows, offset| {
            row.sequence += 1;
            row.position = offset;
            row.edited_at = text.is_some().then_some(at);
            row.text.clone_from(&text);
            let (comment, author) = (row.comment, row.author);
            rows.comments.push(row);
            Some(match text {
                Some(text) => News::CommentEdited { comment, author, text, edited_at: at },
                None => {
                    rows.post.comments -= 1;
                    News::CommentDeleted { comment, author }
                }
            })
        }
    }

    pub(super) async fn comment(&self, post: PostId, author: UserId, text: &str) -> CommentId {
        let row = self.new_comment(post, author, text);
        let comment = row.comment;
        self.engage(post, Self::added(row)).await;
        comment
    }

    pub(super) async fn comment_row(&self, post: PostId, comment: CommentId) -> CommentRow {
        let lookup = EngagementLookup { post, comments: vec![comment], users: Vec::new() };
        let mut rows = self.ports.views.engagement_rows(GENERATION, &[lookup]).await.unwrap();
        rows.remove(0).comments.remove(0)
    }

    /// Edits a comment or, without a text, deletes it.
    pub(super) async fn change_comment(&self, post: PostId, comment: CommentId, text: Option<&str>) {
        let row = self.comment_row(post, comment).await;
        self.engage(post, Self::changed(row, text, self.now())).await;
    }

    pub(super) async fn like(&self, post: PostId, user: UserId) {
        self.react(post, user, true).await;
    }

    pub(super) async fn react(&self, post: PostId, user: UserId, liked: bool) {
        self.engage(post, |rows, offset| {
            rows.post.likes = if liked { rows.post.likes + 1 } else { rows.post.likes - 1 };
            let sequence = offset as u64 + 1;
            rows.reactions.push(ReactionRow { post, user, liked, sequence, position: offset });
            Some(News::NewLike { likes: rows.post.likes })
        })
        .await;
    }

    pub(super) async fn edit_post(&self, post: PostId, author: UserId, text: &str, visibility: Visibility) {
        let version = self.write_post(post, author, text, visibility).await;
        let edited_at = self.now();
        self.engage(post, |rows, offset| {
            rows.post.sequence = version;
            rows.post.changed = offset;
            Some(News::PostEdited { edited_at, version })
        })
        .await;
    }

    pub(super) async fn delete_post(&self, post: PostId, author: UserId) {
        let sequence = self.erase_post(post, author).await;
        self.engage(post, |rows, offset| {
            rows.post.sequence = sequence;
            rows.post.changed = offset;
            rows.post.deleted = true;
            Some(News::PostDeleted)
        })
        .await;
    }
}
