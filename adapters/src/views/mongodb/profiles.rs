//! People, their numbers, and who follows them since when: what is read. How it is written is in [`super::counted`].

use std::collections::HashMap;

use domain::text::{Bio, DisplayName, Username};
use domain::{Timestamp, UserId};
use mongodb::bson::{DateTime, Document, Uuid, doc};
use serde::Deserialize;

use super::schema::{FOLLOWS, PROFILES};
use super::store::{Store, any_of, uuid};
use crate::StoreError;
use crate::checkpoints::Generation;
use crate::views::{FollowList, FollowRow, ProfileNames, ProfileRow};

#[derive(Deserialize)]
pub(super) struct ProfileKey {
    user: Uuid,
}

impl ProfileKey {
    pub(super) fn user(&self) -> UserId {
        UserId::from_bytes(self.user.bytes())
    }
}

// Texts are stored as they were checked once; checked again, so that damage is seen and not shown.
#[derive(Deserialize)]
struct StoredNames {
    username: Username,
    display_name: DisplayName,
    bio: Bio,
}

#[derive(Deserialize)]
struct StoredProfile {
    key: ProfileKey,
    names: Option<StoredNames>,
    sequence: u64,
    followers: u64,
    following: u64,
    posts: u64,
}

impl From<StoredProfile> for ProfileRow {
    fn from(StoredProfile { key, names, sequence, followers, following, posts }: StoredProfile) -> Self {
        let names =
            names.map(|StoredNames { username, display_name, bio }| ProfileNames { username, display_name, bio });
        Self { user: key.user(), names, sequence, followers, following, posts }
    }
}

#[derive(Deserialize)]
struct FollowKey {
    from: Uuid,
    to: Uuid,
}

#[derive(Deserialize)]
pub(super) struct StoredFollow {
    key: FollowKey,
    following: bool,
    sequence: u64,
    since: DateTime,
}

impl From<StoredFollow> for FollowRow {
    fn from(StoredFollow { key, following, sequence, since }: StoredFollow) -> Self {
        let (from, to) = (UserId::from_bytes(key.from.bytes()), UserId::from_bytes(key.to.bytes()));
        Self { from, to, following, sequence, since: Timestamp::from_millis(since.timestamp_millis()) }
    }
}

pub(super) fn profile_key(Generation(generation): Generation, user: UserId) -> Document {
    doc! { "generation": i64::from(generation), "user": uuid(user.as_bytes()) }
}

pub(super) fn follow_key(Generation(generation): Generation, from: UserId, to: UserId) -> Document {
    doc! { "generation": i64::from(generation), "from": uuid(from.as_bytes()), "to": uuid(to.as_bytes()) }
}

pub(super) async fn rows(
    store: &Store,
    generation: Generation,
    users: &[UserId],
) -> Result<Vec<Option<ProfileRow>>, StoreError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut filter = any_of(users.iter().map(|user| profile_key(generation, *user)).collect());
    filter.insert("shown", true);
    let found: Vec<StoredProfile> = store.find(PROFILES, filter, users.len()).await?;
    let found: HashMap<UserId, ProfileRow> =
        found.into_iter().map(ProfileRow::from).map(|row| (row.user, row)).collect();
    Ok(users.iter().map(|user| found.get(user).cloned()).collect())
}

#[derive(Deserialize)]
struct Named {
    key: ProfileKey,
    names: StoredNames,
}

pub(super) async fn users_named(
    store: &Store,
    Generation(generation): Generation,
    usernames: &[Username],
) -> Result<Vec<Option<UserId>>, StoreError> {
    if usernames.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = usernames.iter().map(Username::as_str).collect();
    let filter = doc! { "key.generation": i64::from(generation), "names.username": { "$in": names } };
    let found: Vec<Named> = store.find(PROFILES, filter, usernames.len()).await?;
    let found: HashMap<&str, UserId> =
        found.iter().map(|named| (named.names.username.as_str(), named.key.user())).collect();
    Ok(usernames.iter().map(|name| found.get(name.as_str()).copied()).collect())
}

/// By the indexes `followers` and `followed`.
pub(super) async fn newest_follows(
    store: &Store,
    Generation(generation): Generation,
    list: FollowList,
    before: Option<(Timestamp, UserId)>,
    limit: usize,
) -> Result<Vec<FollowRow>, StoreError> {
    let (whose, user, other) = match list {
        FollowList::FollowersOf(user) => ("key.to", user, "key.from"),
        FollowList::FollowedBy(user) => ("key.from", user, "key.to"),
    };
    let mut filter = doc! { "key.generation": i64::from(generation), whose: uuid(user.as_bytes()), "following": true };
    if let Some((since, before)) = before {
        let since = DateTime::from_millis(since.as_millis());
        // The first condition says nothing that the second does not, but it is where the index begins.
        filter.insert("since", doc! { "$lte": since });
        let earlier = doc! { "since": { "$lt": since } };
        let same = doc! { "since": since, other: { "$lt": uuid(before.as_bytes()) } };
        filter.insert("$or", vec![earlier, same]);
    }
    let found: Vec<StoredFollow> = store.page(FOLLOWS, filter, doc! { "since": -1, other: -1 }, limit).await?;
    Ok(found.into_iter().map(FollowRow::from).collect())
}

pub(super) async fn scan(
    store: &Store,
    generation: Generation,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<ProfileRow>, StoreError> {
    let after = after.map(|user| profile_key(generation, user));
    let found: Vec<StoredProfile> = store.scan(PROFILES, generation, after, doc! { "shown": true }, limit).await?;
    Ok(found.into_iter().map(ProfileRow::from).collect())
}

pub(super) async fn scan_follows(
    store: &Store,
    generation: Generation,
    after: Option<(UserId, UserId)>,
    limit: usize,
) -> Result<Vec<FollowRow>, StoreError> {
    let after = after.map(|(from, to)| follow_key(generation, from, to));
    let found: Vec<StoredFollow> = store.scan(FOLLOWS, generation, after, doc! {}, limit).await?;
    Ok(found.into_iter().map(FollowRow::from).collect())
}
