//! Collections, and the reason for each index.
//!
//! Every key is a document that opens with the generation: `{generation, post, comment}`. Such keys compare field by
//! field, ids by their bytes, so the index of keys gives rows in the order in which `verify` reads them.

use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::StoreError;
use crate::mongodb::{failed, is_duplicate};
use crate::stores::Migration;

/// Counts of posts.
pub(super) const POSTS: &str = "posts";
/// Comments and what is left of them.
pub(super) const COMMENTS: &str = "comments";
/// What each person thinks of each post.
pub(super) const REACTIONS: &str = "reactions";
/// All that posts and comments ever said.
pub(super) const VERSIONS: &str = "versions";
/// What one person does about another.
pub(super) const EDGES: &str = "edges";
/// A number for each person that changes with their relations.
pub(super) const STAMPS: &str = "relation_stamps";
/// Authors whose posts readers merge.
pub(super) const HOT: &str = "hot_authors";
/// People and their numbers.
pub(super) const PROFILES: &str = "profiles";
/// Who follows whom since when.
pub(super) const FOLLOWS: &str = "follows";
/// Which posts are counted in profiles.
pub(super) const PROFILE_POSTS: &str = "profile_posts";

/// What this version writes.
const VERSION: u32 = 1;
/// Where the version is, one document per kind of store.
const SCHEMA: &str = "schema";
const KEY: &str = "views";

fn indexes() -> [(&'static str, &'static str, Document); 8] {
    let generation = "_id.generation";
    [
        // Pages of comments, newest first, without reading past the deleted.
        (COMMENTS, "shown", doc! { generation: 1, "_id.post": 1, "deleted": 1, "_id.comment": 1 }),
        // What a resumed stream has missed.
        (COMMENTS, "changed", doc! { generation: 1, "_id.post": 1, "position": 1 }),
        // Who likes a post, newest first.
        (REACTIONS, "liked", doc! { generation: 1, "_id.post": 1, "liked": 1, "position": 1 }),
        // Whom somebody follows, blocks or mutes, by id. `holds` is an array, so one index serves all three.
        (EDGES, "from", doc! { generation: 1, "_id.from": 1, "holds": 1, "_id.to": 1 }),
        // Who follows or blocks somebody, by id.
        (EDGES, "to", doc! { generation: 1, "_id.to": 1, "holds": 1, "_id.from": 1 }),
        // People by their user names. Not unique: a name that is free again may be taken before this model knows.
        (PROFILES, "username", doc! { generation: 1, "names.username": 1 }),
        // Both lists of follows, newest first.
        (FOLLOWS, "followers", doc! { generation: 1, "_id.to": 1, "following": 1, "since": 1, "_id.from": 1 }),
        (FOLLOWS, "followed", doc! { generation: 1, "_id.from": 1, "following": 1, "since": 1, "_id.to": 1 }),
    ]
}

/// Brings the database to this version. An index that is there is left alone, so two may do this at once.
pub(super) async fn migrate(database: &Database) -> Result<Migration, StoreError> {
    let from = stored(database).await?.unwrap_or(0);
    if from > VERSION {
        return Err(too_new(from));
    }
    for (collection, name, key) in indexes() {
        let index = doc! { "key": key, "name": name };
        let command = doc! { "createIndexes": collection, "indexes": [index], "writeConcern": { "w": "majority" } };
        database.run_command(command).await.map_err(failed)?;
    }
    // Only forward: a newer program may have been here since.
    let raised = database
        .collection::<Document>(SCHEMA)
        .update_one(
            doc! { "_id": KEY, "version": { "$lt": i64::from(VERSION) } },
            doc! { "$set": { "version": i64::from(VERSION) } },
        )
        .upsert(true)
        .await;
    match raised {
        Ok(_) => Ok(Migration { from, to: VERSION }),
        Err(error) if is_duplicate(&error) => match stored(database).await? {
            Some(VERSION) => Ok(Migration { from, to: VERSION }),
            version => Err(too_new(version.unwrap_or_default())),
        },
        Err(error) => Err(failed(error)),
    }
}

/// Refuses a database of another version, or of none.
pub(super) async fn check(database: &Database) -> Result<(), StoreError> {
    match stored(database).await? {
        Some(VERSION) => Ok(()),
        Some(newer) if newer > VERSION => Err(too_new(newer)),
        older => {
            let has = older.map_or("no schema".to_owned(), |version| format!("version {version} of its schema"));
            Err(StoreError::Unfit(format!("the database of views has {has}: run `hybrid-live migrate`")))
        }
    }
}

async fn stored(database: &Database) -> Result<Option<u32>, StoreError> {
    let found = database.collection::<Document>(SCHEMA).find_one(doc! { "_id": KEY }).await.map_err(failed)?;
    let Some(found) = found else { return Ok(None) };
    let version = found.get("version").and_then(|version| match version {
        mongodb::bson::Bson::Int32(version) => u32::try_from(*version).ok(),
        mongodb::bson::Bson::Int64(version) => u32::try_from(*version).ok(),
        _ => None,
    });
    version.map(Some).ok_or_else(|| StoreError::Damaged("the version of the views' schema is no number".to_owned()))
}

fn too_new(version: u32) -> StoreError {
    StoreError::Unfit(format!(
        "the database of views has version {version} of its schema, and this program knows {VERSION}: use a newer one"
    ))
}
