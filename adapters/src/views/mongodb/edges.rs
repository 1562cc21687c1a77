//! Who follows, blocks and mutes whom, and which authors are hot.
//!
//! A direction is one document with one sequence, so one write with its guard is all there is to it (T3): no owner that
//! comes late can change it for an older event.

use std::collections::{HashMap, HashSet};

use domain::UserId;
use mongodb::bson::{Bson, Document, Uuid, doc};
use serde::Deserialize;

use super::schema::{EDGES, HOT, STAMPS};
use super::store::{Statement, Store, any_of, rounds, uuid};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::mongodb::int;
use crate::views::{Edge, EdgeChange, EdgeField, EdgeList, RelationView};

/// Hot authors that are looked at in one query; they are few.
const HOT_PAGE: usize = 1_000;
/// Rows that one call fetches where all are wanted.
const PAGE: usize = 1_000;

/// What one person does about another, as the elements of `holds` that one index finds them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Following,
    Blocking,
    Muting,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Blocking => "blocking",
            Self::Muting => "muting",
        }
    }
}

#[derive(Deserialize)]
struct EdgeKey {
    from: Uuid,
    to: Uuid,
}

#[derive(Deserialize)]
struct StoredEdge {
    key: EdgeKey,
    #[serde(default)]
    holds: Vec<Part>,
    sequence: u64,
}

impl StoredEdge {
    fn from(&self) -> UserId {
        UserId::from_bytes(self.key.from.bytes())
    }

    fn to(&self) -> UserId {
        UserId::from_bytes(self.key.to.bytes())
    }

    fn holds(&self, part: Part) -> bool {
        self.holds.contains(&part)
    }
}

fn key(Generation(generation): Generation, from: UserId, to: UserId) -> Document {
    doc! { "generation": i64::from(generation), "from": uuid(from.as_bytes()), "to": uuid(to.as_bytes()) }
}

pub(super) async fn write(store: &Store, generation: Generation, changes: &[EdgeChange]) -> Result<(), StoreError> {
    // Each change has its own sequence to be above of, so those of one direction are written one after the other.
    for changes in rounds(changes, |change| (change.from, change.to)) {
        let statements: Vec<Statement> = changes.into_iter().map(|change| write_one(generation, change)).collect();
        store.write_guarded(EDGES, &statements).await?;
    }
    Ok(())
}

fn write_one(generation: Generation, change: &EdgeChange) -> Statement {
    let sequence = int(change.sequence);
    let (part, holds) = match change.what {
        EdgeField::Following(holds) => (Part::Following, holds),
        EdgeField::Blocking(holds) => (Part::Blocking, holds),
        EdgeField::Muting(holds) => (Part::Muting, holds),
    };
    let how = if holds { "$addToSet" } else { "$pull" };
    let query = doc! { "key": key(generation, change.from, change.to), "sequence": { "$lt": sequence } };
    Statement::upsert(query, doc! { how: { "holds": part.name() }, "$set": { "sequence": sequence } })
}

/// Both directions with everybody in one query.
pub(super) async fn relations(
    store: &Store,
    generation: Generation,
    viewer: UserId,
    others: &[UserId],
) -> Result<Vec<RelationView>, StoreError> {
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let both = |other: &UserId| [key(generation, viewer, *other), key(generation, *other, viewer)];
    let keys: Vec<Document> = others.iter().flat_map(both).collect();
    let wanted = keys.len();
    let found: Vec<StoredEdge> = store.find(EDGES, any_of(keys), wanted).await?;
    let found: HashMap<(UserId, UserId), StoredEdge> =
        found.into_iter().map(|edge| ((edge.from(), edge.to()), edge)).collect();
    let relation = |other: &UserId| {
        let mine = |part| found.get(&(viewer, *other)).is_some_and(|edge| edge.holds(part));
        let theirs = |part| found.get(&(*other, viewer)).is_some_and(|edge| edge.holds(part));
        RelationView {
            following: mine(Part::Following),
            followed_by: theirs(Part::Following),
            blocking: mine(Part::Blocking),
            blocked_by: theirs(Part::Blocking),
            muting: mine(Part::Muting),
        }
    };
    Ok(others.iter().map(relation).collect())
}

pub(super) async fn followers(
    store: &Store,
    generation: Generation,
    author: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let mut filter = to(generation, author, Part::Following);
    if let Some(after) = after {
        filter.insert("key.from", doc! { "$gt": uuid(after.as_bytes()) });
    }
    let found: Vec<StoredEdge> = store.page(EDGES, filter, doc! { "key.from": 1 }, limit).await?;
    Ok(found.iter().map(StoredEdge::from).collect())
}

pub(super) async fn following(
    store: &Store,
    generation: Generation,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let mut filter = from(generation, user, Part::Following);
    if let Some(after) = after {
        filter.insert("key.to", doc! { "$gt": uuid(after.as_bytes()) });
    }
    let found: Vec<StoredEdge> = store.page(EDGES, filter, doc! { "key.to": 1 }, limit).await?;
    Ok(found.iter().map(StoredEdge::to).collect())
}

pub(super) async fn blocked_with(
    store: &Store,
    generation: Generation,
    user: UserId,
) -> Result<Vec<UserId>, StoreError> {
    let (blocking, blocked_by) = tokio::try_join!(
        store.find::<StoredEdge>(EDGES, from(generation, user, Part::Blocking), PAGE),
        store.find::<StoredEdge>(EDGES, to(generation, user, Part::Blocking), PAGE),
    )?;
    // Who blocks each other is one person all the same.
    let those: HashSet<UserId> =
        blocking.iter().map(StoredEdge::to).chain(blocked_by.iter().map(StoredEdge::from)).collect();
    Ok(those.into_iter().collect())
}

pub(super) async fn list(
    store: &Store,
    generation: Generation,
    user: UserId,
    list: EdgeList,
    before: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let part = match list {
        EdgeList::Blocking => Part::Blocking,
        EdgeList::Muting => Part::Muting,
    };
    let mut filter = from(generation, user, part);
    if let Some(before) = before {
        filter.insert("key.to", doc! { "$lt": uuid(before.as_bytes()) });
    }
    let found: Vec<StoredEdge> = store.page(EDGES, filter, doc! { "key.to": -1 }, limit).await?;
    Ok(found.iter().map(StoredEdge::to).collect())
}

/// By the index `from`.
fn from(Generation(generation): Generation, user: UserId, part: Part) -> Document {
    doc! { "key.generation": i64::from(generation), "key.from": uuid(user.as_bytes()), "holds": part.name() }
}

/// By the index `to`.
fn to(Generation(generation): Generation, user: UserId, part: Part) -> Document {
    doc! { "key.generation": i64::from(generation), "key.to": uuid(user.as_bytes()), "holds": part.name() }
}

pub(super) async fn scan(
    store: &Store,
    generation: Generation,
    after: Option<(UserId, UserId)>,
    limit: usize,
) -> Result<Vec<Edge>, StoreError> {
    let after = after.map(|(from, to)| key(generation, from, to));
    let found: Vec<StoredEdge> = store.scan(EDGES, generation, after, doc! {}, limit).await?;
    let edge = |stored: &StoredEdge| Edge {
        from: stored.from(),
        to: stored.to(),
        following: stored.holds(Part::Following),
        blocking: stored.holds(Part::Blocking),
        muting: stored.holds(Part::Muting),
        sequence: stored.sequence,
    };
    Ok(found.iter().map(edge).collect())
}

#[derive(Deserialize)]
struct Stamp {
    stamp: i64,
}

fn stamp_key(Generation(generation): Generation, user: UserId) -> Document {
    doc! { "generation": i64::from(generation), "user": uuid(user.as_bytes()) }
}

pub(super) async fn stamp(store: &Store, generation: Generation, user: UserId) -> Result<i64, StoreError> {
    let found: Vec<Stamp> = store.find(STAMPS, any_of(vec![stamp_key(generation, user)]), 1).await?;
    Ok(found.first().map_or(0, |found| found.stamp))
}

/// Random and not counted: when all is built again the same changes may come in another order, and a count would come
/// to the same. Of two who renew at once either number is another than those before.
pub(super) async fn renew_stamps(store: &Store, generation: Generation, users: &[UserId]) -> Result<(), StoreError> {
    let users: HashSet<UserId> = users.iter().copied().collect();
    let statements: Vec<Statement> = users
        .into_iter()
        .map(|user| {
            let stamp = rand::random_range(1..=i64::MAX);
            Statement::upsert(doc! { "key": stamp_key(generation, user) }, doc! { "$set": { "stamp": stamp } })
        })
        .collect();
    store.write_guarded(STAMPS, &statements).await?;
    Ok(())
}

#[derive(Deserialize)]
struct HotKey {
    author: Uuid,
}

#[derive(Deserialize)]
struct HotAuthor {
    key: HotKey,
}

impl HotAuthor {
    fn author(&self) -> UserId {
        UserId::from_bytes(self.key.author.bytes())
    }
}

fn hot_key(Generation(generation): Generation, author: UserId) -> Document {
    doc! { "generation": i64::from(generation), "author": uuid(author.as_bytes()) }
}

pub(super) async fn mark_hot(store: &Store, generation: Generation, authors: &[UserId]) -> Result<(), StoreError> {
    let authors: HashSet<UserId> = authors.iter().copied().collect();
    let statements: Vec<Statement> = authors
        .into_iter()
        .map(|author| {
            // T4: a row is made and never taken back, so whoever makes it, it is the same.
            Statement::upsert(doc! { "key": hot_key(generation, author) }, doc! { "$setOnInsert": { "hot": true } })
        })
        .collect();
    store.write(HOT, &statements).await?;
    Ok(())
}

pub(super) async fn hot(store: &Store, generation: Generation, authors: &[UserId]) -> Result<Vec<UserId>, StoreError> {
    if authors.is_empty() {
        return Ok(Vec::new());
    }
    let keys = authors.iter().map(|author| hot_key(generation, *author)).collect();
    let found: Vec<HotAuthor> = store.find(HOT, any_of(keys), authors.len()).await?;
    let found: HashSet<UserId> = found.iter().map(HotAuthor::author).collect();
    Ok(authors.iter().copied().filter(|author| found.contains(author)).collect())
}

/// Two queries for each thousand of hot authors: they are few, and a user may follow thousands.
pub(super) async fn hot_followed(
    store: &Store,
    generation: Generation,
    user: UserId,
) -> Result<Vec<UserId>, StoreError> {
    let mut followed = Vec::new();
    let mut after = None;
    loop {
        let page: Vec<HotAuthor> = store.scan(HOT, generation, after, doc! {}, HOT_PAGE).await?;
        let Some(last) = page.last() else { return Ok(followed) };
        after = Some(hot_key(generation, last.author()));
        let mut filter = any_of(page.iter().map(|hot| key(generation, user, hot.author())).collect());
        filter.insert("holds", Bson::from(Part::Following.name()));
        let found: Vec<StoredEdge> = store.find(EDGES, filter, page.len()).await?;
        followed.extend(found.iter().map(StoredEdge::to));
        if page.len() < HOT_PAGE {
            return Ok(followed);
        }
    }
}
