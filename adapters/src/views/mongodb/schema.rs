//! Collections, and the reason for each index.
//!
//! Every row has its key twice. `key` has its parts, which other indexes find rows by: `{generation, post, comment}`.
//! `_id` is the same as a text, `00000000000000000001/<post>/<comment>/`, whose order is the parts': so the index of `_id` gives
//! rows in the order in which `verify` reads them.

use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::StoreError;
use crate::mongodb::{Schema, failed};

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
pub(super) const SCHEMA: Schema = Schema { store: "views", version: 1 };

fn indexes() -> [(&'static str, &'static str, Document); 8] {
    let generation = "key.generation";
    [
        // Pages of comments, newest first, without reading past the deleted.
        (COMMENTS, "shown", doc! { generation: 1, "key.post": 1, "deleted": 1, "key.comment": 1 }),
        // What a resumed stream has missed.
        (COMMENTS, "changed", doc! { generation: 1, "key.post": 1, "position": 1 }),
        // Who likes a post, newest first.
        (REACTIONS, "liked", doc! { generation: 1, "key.post": 1, "liked": 1, "position": 1 }),
        // Whom somebody follows, blocks or mutes, by id. `holds` is an array, so one index serves all three.
        (EDGES, "from", doc! { generation: 1, "key.from": 1, "holds": 1, "key.to": 1 }),
        // Who follows or blocks somebody, by id.
        (EDGES, "to", doc! { generation: 1, "key.to": 1, "holds": 1, "key.from": 1 }),
        // People by their user names. Not unique: a name that is free again may be taken before this model knows.
        (PROFILES, "username", doc! { generation: 1, "names.username": 1 }),
        // Both lists of follows, newest first.
        (FOLLOWS, "followers", doc! { generation: 1, "key.to": 1, "following": 1, "since": 1, "key.from": 1 }),
        (FOLLOWS, "followed", doc! { generation: 1, "key.from": 1, "following": 1, "since": 1, "key.to": 1 }),
    ]
}

/// Makes the indexes that are missing; two may do so at once.
pub(super) async fn make_indexes(database: &Database) -> Result<(), StoreError> {
    for (collection, name, key) in indexes() {
        let index = doc! { "key": key, "name": name };
        let command = doc! { "createIndexes": collection, "indexes": [index], "writeConcern": { "w": "majority" } };
        database.run_command(command).await.map_err(failed)?;
    }
    Ok(())
}
