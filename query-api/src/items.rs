//! What the API shows of posts, comments and people, as it goes over the wire.

use adapters::content::Preview;
use adapters::views::{CommentRow, Counts, ProfileNames, ProfileRow, RelationView};
use domain::post::Visibility;
use domain::text::{Bio, CommentText, DisplayName, Title, Username};
use domain::{CommentId, PostId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A person, where something is theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// The account.
    pub id: UserId,
    /// Unique in the whole system.
    pub username: Username,
    /// What the person wants to be called.
    pub display_name: DisplayName,
}

impl Person {
    /// Of a row; `None` of somebody who shows nothing.
    pub fn of(row: ProfileRow) -> Option<Self> {
        let ProfileNames { username, display_name, bio: _ } = row.names?;
        Some(Self { id: row.user, username, display_name })
    }
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// The account.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// What the person wants to be called.
    pub display_name: DisplayName,
    /// What the person says of themselves; may be empty.
    pub bio: Bio,
}

/// What the viewer and another person are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relation {
    /// The viewer follows them.
    pub following: bool,
    /// They follow the viewer.
    pub followed_by: bool,
    /// The viewer has blocked them.
    pub blocking: bool,
    /// The viewer mutes them.
    pub muting: bool,
}

impl From<RelationView> for Relation {
    fn from(view: RelationView) -> Self {
        let RelationView { following, followed_by, blocking, muting, blocked_by: _ } = view;
        Self { following, followed_by, blocking, muting }
    }
}

/// A person, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// The account.
    pub id: UserId,
    /// Unique in the whole system.
    pub username: Username,
    /// What the person wants to be called.
    pub display_name: DisplayName,
    /// What the person says of themselves; may be empty.
    pub bio: Bio,
    /// When the account came into being.
    pub registered_at: Timestamp,
    /// What the `ETag` of the account says.
    pub version: u64,
    /// How many follow them.
    pub followers: u64,
    /// How many they follow.
    pub following: u64,
    /// How many posts of theirs are not deleted, whoever may read them.
    pub posts: u64,
    /// What the viewer and they are to each other; null without a viewer, and of oneself.
    pub relation: Option<Relation>,
}

impl Profile {
    /// Of a row; `None` of somebody who shows nothing.
    pub fn new(row: ProfileRow, relation: Option<Relation>) -> Option<Self> {
        let ProfileRow { user: id, names, sequence: version, followers, following, posts } = row;
        let ProfileNames { username, display_name, bio } = names?;
        let registered_at = id.timestamp();
        Some(Self { id, username, display_name, bio, registered_at, version, followers, following, posts, relation })
    }
}

/// The people who were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profiles {
    /// In the order in which they were asked for, each once, without those who are not there.
    pub items: Vec<Profile>,
}

/// Somebody in a list of people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelatedPerson {
    /// Who.
    #[serde(flatten)]
    pub person: Person,
    /// In lists of follows: since when it holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub followed_at: Option<Timestamp>,
    /// What the viewer and they are to each other; null without a viewer, and of oneself.
    pub relation: Option<Relation>,
}

/// What a post said from one edit to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostVersion {
    /// What the `ETag` said.
    pub version: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The title.
    pub title: Option<Title>,
    /// The text as written.
    pub markdown: String,
}

/// What a comment said from one edit to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommentVersion {
    /// What the `ETag` said.
    pub version: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The text.
    pub text: String,
}

/// A post in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostItem {
    /// The post.
    pub id: PostId,
    /// Who wrote it.
    pub author: Person,
    /// Its title.
    #[schema(required)]
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
    #[schema(required)]
    pub edited_at: Option<Timestamp>,
    /// What the `ETag` says.
    pub version: u64,
    /// How many like it.
    pub likes: u64,
    /// How many comments there are.
    pub comments: u64,
    /// Whether the viewer likes it.
    pub liked_by_me: bool,
}

impl PostItem {
    /// Joined of what is stored of a post, its author and its numbers.
    pub fn new(preview: Preview, author: Person, counts: Counts, liked_by_me: bool) -> Self {
        Self {
            id: preview.id,
            author,
            title: preview.title,
            text: preview.text,
            truncated: preview.truncated,
            visibility: preview.visibility,
            created_at: preview.created_at,
            edited_at: preview.edited_at,
            version: preview.version,
            likes: counts.likes,
            comments: counts.comments,
            liked_by_me,
        }
    }
}

/// A whole post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WholePost {
    /// As in a list.
    #[serde(flatten)]
    pub item: PostItem,
    /// The text as written.
    pub markdown: String,
    /// The text as shown: safe to be put into a page.
    pub html: String,
    /// What to start the post's stream from, so that nothing falls between.
    pub stream_position: String,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommentItem {
    /// The comment.
    pub id: CommentId,
    /// What it is about.
    pub post_id: PostId,
    /// Who wrote it.
    pub author: Person,
    /// What it answers.
    #[schema(required)]
    pub parent_id: Option<CommentId>,
    /// What it says.
    pub text: CommentText,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(required)]
    pub edited_at: Option<Timestamp>,
    /// What the `ETag` says.
    pub version: u64,
}

impl CommentItem {
    /// Joined of a row and its author; `None` of a deleted comment.
    pub fn new(row: &CommentRow, author: Person) -> Option<Self> {
        Some(Self {
            id: row.comment,
            post_id: row.post,
            author,
            parent_id: row.parent,
            text: row.text.clone()?,
            created_at: row.comment.timestamp(),
            edited_at: row.edited_at,
            version: row.sequence,
        })
    }
}

/// Somebody who likes a post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LikeItem {
    /// Who.
    pub user: Person,
}

/// How much is newer than a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Newer {
    /// How many posts, up to a hundred.
    pub count: usize,
    /// Whether there are more, or may be.
    pub more: bool,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListPage<T> {
    /// What is on it, newest first.
    pub items: Vec<T>,
    /// Where the list goes on; null only at its end.
    #[schema(required)]
    pub next: Option<String>,
    /// Of posts: what to give as `after` later on, to get what is newer than this page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub newest: Option<String>,
    /// Of comments: what to start the post's stream from. Of a home's newest posts: what to start the feed's from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub stream_position: Option<String>,
}
