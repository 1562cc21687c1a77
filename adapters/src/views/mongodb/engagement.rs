//! Counts, comments and reactions.
//!
//! Each step is a write of its own, so the order decides (C1, C2): the counts first, by compare-and-set on the position
//! that they were computed from; then the rows, each only if it is newer; versions; and `listed` last. Whoever finds
//! the counts at a position, and rows that are behind it, knows from the position which events are counted.
//!
//! - *A crash* between two steps leaves rows that are behind. The batch comes again, whole or in other parts: it counts
//!   nothing up to the position, and writes the rows.
//! - *Two owners*: the counts go from a position once, so only one of two batches that would count the same event is
//!   counted. From a position to itself nothing is counted, and both write the same. Rows are what their lane says at
//!   their sequence, whoever writes them, and never go back. Reading needs no order: a row that contains an event that
//!   the counts as read do not was written after the counts moved, and then the compare-and-set fails.
//! - *A call that comes late*, after its sender took it for lost and tried again, is another zombie.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use domain::stream::BEFORE_FIRST;
use domain::text::CommentText;
use domain::{CommentId, PostId, Timestamp, UserId};
use mongodb::bson::{Bson, DateTime, Document, Uuid, doc};
use serde::Deserialize;

use super::schema::{COMMENTS, POSTS, REACTIONS};
use super::store::{Statement, Store, any_of, rounds, uuid};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::mongodb::int;
use crate::views::{CommentRow, Counts, EngagementLookup, EngagementRows, EngagementUpdate, PostRow, ReactionRow};

#[derive(Deserialize)]
struct PostKey {
    post: Uuid,
}

#[derive(Deserialize)]
struct StoredPost {
    key: PostKey,
    likes: u64,
    comments: u64,
    position: i64,
    listed: i64,
    sequence: u64,
    changed: i64,
    deleted: bool,
}

impl StoredPost {
    fn id(&self) -> PostId {
        PostId::from_bytes(self.key.post.bytes())
    }

    fn row(&self) -> PostRow {
        let Self { key: _, likes, comments, position, listed, sequence, changed, deleted } = *self;
        PostRow { likes, comments, position, listed, sequence, changed, deleted }
    }
}

#[derive(Deserialize)]
struct CommentKey {
    post: Uuid,
    comment: Uuid,
}

#[derive(Deserialize)]
struct StoredComment {
    key: CommentKey,
    author: Uuid,
    parent: Option<Uuid>,
    // Stored as it was checked once; checked again, so that damage is seen and not shown.
    text: Option<CommentText>,
    edited_at: Option<DateTime>,
    sequence: u64,
    created: i64,
    position: i64,
}

impl From<StoredComment> for CommentRow {
    fn from(stored: StoredComment) -> Self {
        Self {
            comment: CommentId::from_bytes(stored.key.comment.bytes()),
            post: PostId::from_bytes(stored.key.post.bytes()),
            author: UserId::from_bytes(stored.author.bytes()),
            parent: stored.parent.map(|parent| CommentId::from_bytes(parent.bytes())),
            text: stored.text,
            edited_at: stored.edited_at.map(|at| Timestamp::from_millis(at.timestamp_millis())),
            sequence: stored.sequence,
            created: stored.created,
            position: stored.position,
        }
    }
}

#[derive(Deserialize)]
struct ReactionKey {
    post: Uuid,
    user: Uuid,
}

#[derive(Deserialize)]
struct StoredReaction {
    key: ReactionKey,
    liked: bool,
    sequence: u64,
    position: i64,
}

impl From<StoredReaction> for ReactionRow {
    fn from(StoredReaction { key, liked, sequence, position }: StoredReaction) -> Self {
        let (post, user) = (PostId::from_bytes(key.post.bytes()), UserId::from_bytes(key.user.bytes()));
        Self { post, user, liked, sequence, position }
    }
}

fn post_key(Generation(generation): Generation, post: PostId) -> Document {
    doc! { "generation": i64::from(generation), "post": uuid(post.as_bytes()) }
}

fn comment_key(Generation(generation): Generation, post: PostId, comment: CommentId) -> Document {
    doc! { "generation": i64::from(generation), "post": uuid(post.as_bytes()), "comment": uuid(comment.as_bytes()) }
}

fn reaction_key(Generation(generation): Generation, post: PostId, user: UserId) -> Document {
    doc! { "generation": i64::from(generation), "post": uuid(post.as_bytes()), "user": uuid(user.as_bytes()) }
}

/// What batches need to know before they are applied: three queries for any number of them.
pub(super) async fn rows(
    store: &Store,
    generation: Generation,
    lookups: &[EngagementLookup],
) -> Result<Vec<EngagementRows>, StoreError> {
    let posts: Vec<PostId> = lookups.iter().map(|lookup| lookup.post).collect();
    let comment_keys: Vec<Document> = lookups
        .iter()
        .flat_map(|lookup| lookup.comments.iter().map(|comment| comment_key(generation, lookup.post, *comment)))
        .collect();
    let reaction_keys: Vec<Document> = lookups
        .iter()
        .flat_map(|lookup| lookup.users.iter().map(|user| reaction_key(generation, lookup.post, *user)))
        .collect();

    let posts = by_id(store, generation, &posts).await?;
    let comments: Vec<StoredComment> = all(store, COMMENTS, comment_keys).await?;
    let reactions: Vec<StoredReaction> = all(store, REACTIONS, reaction_keys).await?;
    let comments: HashMap<_, CommentRow> =
        comments.into_iter().map(CommentRow::from).map(|row| ((row.post, row.comment), row)).collect();
    let reactions: HashMap<_, ReactionRow> =
        reactions.into_iter().map(ReactionRow::from).map(|row| ((row.post, row.user), row)).collect();
    let found = |lookup: &EngagementLookup| EngagementRows {
        post: posts.get(&lookup.post).copied().unwrap_or_default(),
        comments: lookup.comments.iter().filter_map(|id| comments.get(&(lookup.post, *id)).cloned()).collect(),
        reactions: lookup.users.iter().filter_map(|user| reactions.get(&(lookup.post, *user)).copied()).collect(),
    };
    Ok(lookups.iter().map(found).collect())
}

async fn by_id(
    store: &Store,
    generation: Generation,
    posts: &[PostId],
) -> Result<HashMap<PostId, PostRow>, StoreError> {
    let keys = posts.iter().map(|post| post_key(generation, *post)).collect();
    let found: Vec<StoredPost> = all(store, POSTS, keys).await?;
    Ok(found.iter().map(|post| (post.id(), post.row())).collect())
}

async fn all<T: serde::de::DeserializeOwned>(
    store: &Store,
    collection: &str,
    keys: Vec<Document>,
) -> Result<Vec<T>, StoreError> {
    match keys.len() {
        0 => Ok(Vec::new()),
        wanted => store.find(collection, any_of(keys), wanted).await,
    }
}

pub(super) async fn write(
    store: &Store,
    generation: Generation,
    updates: Vec<EngagementUpdate>,
) -> Result<(), StoreError> {
    for updates in rounds(updates, |update| update.post) {
        write_counts(store, generation, &updates).await?;
        let comments =
            newest(updates.iter().flat_map(|update| &update.comments), |row| ((row.post, row.comment), row.sequence));
        let comments: Vec<Statement> = comments.into_iter().map(|row| write_comment(generation, row)).collect();
        store.write_guarded(COMMENTS, &comments).await?;
        let reactions =
            newest(updates.iter().flat_map(|update| &update.reactions), |row| ((row.post, row.user), row.sequence));
        let reactions: Vec<Statement> = reactions.into_iter().map(|row| write_reaction(generation, row)).collect();
        store.write_guarded(REACTIONS, &reactions).await?;
        super::versions::write(store, generation, &updates).await?;
        write_listed(store, generation, &updates).await?;
    }
    Ok(())
}

async fn write_counts(store: &Store, generation: Generation, updates: &[EngagementUpdate]) -> Result<(), StoreError> {
    // C3: besides being the one that the counts were computed from, a position is only left for a later one.
    if let Some(back) = updates.iter().find(|update| update.row.position < update.expected_position) {
        let (post, expected, position) = (back.post, back.expected_position, back.row.position);
        return Err(StoreError::Overtaken(format!(
            "the counts of post {post} do not go from {expected} to {position}"
        )));
    }
    let statements: Vec<Statement> = updates.iter().map(|update| write_count(generation, update)).collect();
    // A post whose position is another is found by nothing, or is in the way of the one to be made.
    let written = store.write(POSTS, &statements).await?;
    if written.found == statements.len() {
        return Ok(());
    }
    let lost = statements.len() - written.found;
    Err(StoreError::Overtaken(format!("the counts of {lost} posts are not where they were read")))
}

fn write_count(generation: Generation, update: &EngagementUpdate) -> Statement {
    let row = &update.row;
    let query = doc! { "key": post_key(generation, update.post), "position": update.expected_position };
    let set = doc! {
        "likes": int(row.likes),
        "comments": int(row.comments),
        "position": row.position,
        "sequence": int(row.sequence),
        "changed": row.changed,
        "deleted": row.deleted,
    };
    match update.expected_position {
        BEFORE_FIRST => Statement::upsert(query, doc! { "$set": set, "$setOnInsert": { "listed": BEFORE_FIRST } }),
        _ => Statement::update(query, doc! { "$set": set }),
    }
}

fn write_comment(generation: Generation, row: &CommentRow) -> Statement {
    let sequence = int(row.sequence);
    let query = doc! {
        "key": comment_key(generation, row.post, row.comment),
        "sequence": { "$lt": sequence },
    };
    let set = doc! {
        "author": uuid(row.author.as_bytes()),
        "parent": row.parent.as_ref().map_or(Bson::Null, |parent| uuid(parent.as_bytes()).into()),
        "text": row.text.as_ref().map_or(Bson::Null, |text| text.as_str().into()),
        "deleted": row.text.is_none(),
        "edited_at": row.edited_at.map_or(Bson::Null, |at| DateTime::from_millis(at.as_millis()).into()),
        "sequence": sequence,
        "created": row.created,
        "position": row.position,
    };
    Statement::upsert(query, doc! { "$set": set })
}

fn write_reaction(generation: Generation, row: &ReactionRow) -> Statement {
    let sequence = int(row.sequence);
    let query = doc! {
        "key": reaction_key(generation, row.post, row.user),
        "sequence": { "$lt": sequence },
    };
    let set = doc! { "liked": row.liked, "sequence": sequence, "position": row.position };
    Statement::upsert(query, doc! { "$set": set })
}

/// Of each thing the newest row; of the same sequence the first, as if they were written one by one.
fn newest<'rows, T, K: Eq + Hash + Copy>(
    rows: impl Iterator<Item = &'rows T>,
    place: impl Fn(&T) -> (K, u64),
) -> Vec<&'rows T> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut kept: Vec<&T> = Vec::new();
    for row in rows {
        let (key, sequence) = place(row);
        match places.entry(key) {
            Entry::Vacant(free) => {
                free.insert(kept.len());
                kept.push(row);
            }
            Entry::Occupied(taken) => {
                if let Some(other) = kept.get_mut(*taken.get()).filter(|other| place(other).1 < sequence) {
                    *other = row;
                }
            }
        }
    }
    kept
}

/// Says up to where rows are written, once they are. Only forward: a later batch may have said more.
async fn write_listed(store: &Store, generation: Generation, updates: &[EngagementUpdate]) -> Result<(), StoreError> {
    let statements: Vec<Statement> = updates
        .iter()
        .map(|update| {
            let listed = update.row.listed;
            let query = doc! { "key": post_key(generation, update.post), "listed": { "$lt": listed } };
            Statement::update(query, doc! { "$set": { "listed": listed } })
        })
        .collect();
    store.write(POSTS, &statements).await?;
    Ok(())
}

/// The counts of many posts, in one query.
pub(super) async fn counts(store: &Store, generation: Generation, posts: &[PostId]) -> Result<Vec<Counts>, StoreError> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let keys = posts.iter().map(|post| post_key(generation, *post)).collect();
    // Numbers that cannot be read must not take the page along (R1): they are passed over, and shown as none.
    let found = store.page::<StoredPost>(POSTS, any_of(keys), doc! {}, posts.len()).await?;
    let found: HashMap<PostId, Counts> = found.iter().map(|post| (post.id(), post.row().into())).collect();
    Ok(posts.iter().map(|post| found.get(post).copied().unwrap_or_default()).collect())
}

/// Which of many posts somebody likes, in one query.
pub(super) async fn liked(
    store: &Store,
    generation: Generation,
    user: UserId,
    posts: &[PostId],
) -> Result<Vec<bool>, StoreError> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let mut filter = any_of(posts.iter().map(|post| reaction_key(generation, *post, user)).collect());
    filter.insert("liked", true);
    let liked = store.page::<StoredReaction>(REACTIONS, filter, doc! {}, posts.len()).await?;
    let liked: HashSet<PostId> = liked.into_iter().map(|row| ReactionRow::from(row).post).collect();
    Ok(posts.iter().map(|post| liked.contains(post)).collect())
}

pub(super) async fn post(store: &Store, generation: Generation, post: PostId) -> Result<PostRow, StoreError> {
    Ok(by_id(store, generation, &[post]).await?.remove(&post).unwrap_or_default())
}

/// Comments of a post that are not deleted, by the index `shown`.
pub(super) async fn comments(
    store: &Store,
    generation: Generation,
    post: PostId,
    before: Option<CommentId>,
    limit: usize,
) -> Result<Vec<CommentRow>, StoreError> {
    let mut filter = of_post(generation, post);
    filter.insert("deleted", false);
    if let Some(before) = before {
        filter.insert("key.comment", doc! { "$lt": uuid(before.as_bytes()) });
    }
    let found: Vec<StoredComment> = store.page(COMMENTS, filter, doc! { "key.comment": -1 }, limit).await?;
    Ok(found.into_iter().map(CommentRow::from).collect())
}

/// Comments by the index `changed`. `position` is never below `created`, so it alone finds both.
pub(super) async fn comments_changed(
    store: &Store,
    generation: Generation,
    post: PostId,
    after: i64,
    limit: usize,
) -> Result<Vec<CommentRow>, StoreError> {
    let mut filter = of_post(generation, post);
    filter.insert("position", doc! { "$gt": after });
    let found: Vec<StoredComment> = store.page(COMMENTS, filter, doc! { "position": 1 }, limit).await?;
    Ok(found.into_iter().map(CommentRow::from).collect())
}

/// Likes by the index `liked`.
pub(super) async fn likes(
    store: &Store,
    generation: Generation,
    post: PostId,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<ReactionRow>, StoreError> {
    let mut filter = of_post(generation, post);
    filter.insert("liked", true);
    if let Some(before) = before {
        filter.insert("position", doc! { "$lt": before });
    }
    let found: Vec<StoredReaction> = store.page(REACTIONS, filter, doc! { "position": -1 }, limit).await?;
    Ok(found.into_iter().map(ReactionRow::from).collect())
}

fn of_post(Generation(generation): Generation, post: PostId) -> Document {
    doc! { "key.generation": i64::from(generation), "key.post": uuid(post.as_bytes()) }
}

pub(super) async fn scan_posts(
    store: &Store,
    generation: Generation,
    after: Option<PostId>,
    limit: usize,
) -> Result<Vec<(PostId, PostRow)>, StoreError> {
    let after = after.map(|post| post_key(generation, post));
    let found: Vec<StoredPost> = store.scan(POSTS, generation, after, doc! {}, limit).await?;
    Ok(found.iter().map(|post| (post.id(), post.row())).collect())
}

pub(super) async fn scan_comments(
    store: &Store,
    generation: Generation,
    after: Option<(PostId, CommentId)>,
    limit: usize,
) -> Result<Vec<CommentRow>, StoreError> {
    let after = after.map(|(post, comment)| comment_key(generation, post, comment));
    let found: Vec<StoredComment> = store.scan(COMMENTS, generation, after, doc! {}, limit).await?;
    Ok(found.into_iter().map(CommentRow::from).collect())
}

pub(super) async fn scan_reactions(
    store: &Store,
    generation: Generation,
    after: Option<(PostId, UserId)>,
    limit: usize,
) -> Result<Vec<ReactionRow>, StoreError> {
    let after = after.map(|(post, user)| reaction_key(generation, post, user));
    let found: Vec<StoredReaction> = store.scan(REACTIONS, generation, after, doc! {}, limit).await?;
    Ok(found.into_iter().map(ReactionRow::from).collect())
}
