//! What the API shows of posts, comments and people, as it goes over the wire.

use adapters::content::Preview;
use adapters::views::{CommentRow, Engagement};
use domain::post::Visibility;
use domain::text::{CommentText, DisplayName, Title, Username};
use domain::{CommentId, PostId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// A person, where something is theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The account.
    pub id: UserId,
    /// Unique in the whole system.
    pub username: Username,
    /// What the person wants to be called.
    pub display_name: DisplayName,
}

/// A post in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostItem {
    /// The post.
    pub id: PostId,
    /// Who wrote it.
    pub author: Person,
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
    pub fn new(preview: Preview, author: Person, engagement: Engagement) -> Self {
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
            likes: engagement.likes,
            comments: engagement.comments,
            liked_by_me: engagement.liked_by_me,
        }
    }
}

/// A whole post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentItem {
    /// The comment.
    pub id: CommentId,
    /// What it is about.
    pub post_id: PostId,
    /// Who wrote it.
    pub author: Person,
    /// What it answers.
    pub parent_id: Option<CommentId>,
    /// What it says.
    pub text: CommentText,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last changed.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LikeItem {
    /// Who.
    pub user: Person,
}

/// How much is newer than a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newer {
    /// How many posts, up to a hundred.
    pub count: usize,
    /// Whether there are more, or may be.
    pub more: bool,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPage<T> {
    /// What is on it, newest first.
    pub items: Vec<T>,
    /// Where the list goes on; null only at its end.
    pub next: Option<String>,
    /// Of posts: what to give as `after` later on, to get what is newer than this page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub newest: Option<String>,
    /// Of comments: what to start the post's stream from. Of a home's newest posts: what to start the feed's from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream_position: Option<String>,
}
