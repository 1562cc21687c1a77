//! Numbers that many lanes feed: who follows, whom somebody follows, what they wrote (C1, C2, C4).
//!
//! A number is in the profile, what it counts is a row of its own (a follow, a post), and no write changes both. So the
//! profile says in `applying` what its numbers count already and the rows do not say yet: `{number, other, sequence,
//! holds}`. What a number takes a row to be is the entry with the greatest sequence, or the row itself where there is
//! none above the row's. *At every moment each number is the count of what it takes its rows to be*, and each step keeps
//! it so:
//!
//! 1. *The fence.* Each profile of the batch gets the partition's `fence`, the owner's epoch with a number that is
//!    random and this call's own, unless there is a later epoch. From then on no other call for this partition changes
//!    the profile's numbers or takes entries away.
//! 2. *Reading*, after the fence: profiles' entries, then rows. Whatever a former owner has counted is in one of the two,
//!    since an entry is taken away after its row is written. (The fence of step 5 would do without that order, and that
//!    order without the fence; both are free.)
//! 3. *The numbers*: one update of each profile, if the fence is this call's, adds the difference and pushes the entries.
//!    An entry is pushed even where the difference is nothing: a row must not get ahead of what *both* of its people's
//!    numbers take it to be, or an owner who is overtaken could write it behind the back of the next.
//! 4. *The rows*, each if it is newer. What is true at a sequence is the same for all, so an overtaken owner can write
//!    nothing here that is wrong.
//! 5. *The entries* that the rows say now are taken away, if the fence is this call's. Those above the row stay: a
//!    longer batch had come further before it ended.
//!
//! A crash after any step leaves the numbers right for what they take the rows to be, and the next batch goes on from
//! that, whatever its boundaries; so it may also put all events of a row together. A call that comes late, after its
//! sender took it for lost and tried again, finds another number in the fence. A celebrity's followers in one batch are
//! one update.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{PostId, UserId};
use mongodb::bson::{Bson, DateTime, Document, Uuid, doc};
use serde::Deserialize;

use super::profiles::{ProfileKey, StoredFollow, follow_key, profile_key};
use super::schema::{FOLLOWS, PROFILE_POSTS, PROFILES};
use super::store::{Statement, Store, any_of, uuid};
use crate::StoreError;
use crate::checkpoints::{Generation, Owner};
use crate::mongodb::int;
use crate::views::{FollowRow, ProfileChange, ProfileNames};

/// Changes that go through the steps together: a profile must have room for all their entries.
const CHANGES: usize = 1_000;

/// A number of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Number {
    Followers,
    Following,
    Posts,
}

impl Number {
    const fn name(self) -> &'static str {
        match self {
            Self::Followers => "followers",
            Self::Following => "following",
            Self::Posts => "posts",
        }
    }
}

/// What a number counts already: `other` is the other person or the post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Entry {
    number: Number,
    other: Uuid,
    sequence: u64,
    holds: bool,
}

impl Entry {
    fn document(&self) -> Document {
        let Self { number: counted, other, sequence, holds } = *self;
        doc! { "number": counted.name(), "other": other, "sequence": int(sequence), "holds": holds }
    }
}

/// A row that is counted, as it is stored or as it shall be.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    holds: bool,
    sequence: u64,
}

pub(super) async fn write(store: &Store, owner: Owner, changes: Vec<ProfileChange>) -> Result<(), StoreError> {
    for changes in changes.chunks(CHANGES) {
        let batch = Batch::of(changes);
        let call = Call { store, generation: owner.generation, fence: Fence::of(owner) };
        call.write(&batch).await?;
    }
    Ok(())
}

/// What a row shall be, and whether it held at any time in the batch.
struct Wanted<T> {
    row: T,
    held: bool,
}

/// The newest of each row; of the same sequence the first.
#[derive(Default)]
struct Batch<'changes> {
    names: BTreeMap<UserId, (Option<&'changes ProfileNames>, u64)>,
    follows: BTreeMap<(UserId, UserId), Wanted<FollowRow>>,
    posts: BTreeMap<(UserId, PostId), Wanted<State>>,
}

impl<'changes> Batch<'changes> {
    fn of(changes: &'changes [ProfileChange]) -> Self {
        let mut batch = Self::default();
        for change in changes {
            match change {
                ProfileChange::Named { user, names, sequence } => {
                    let names = (names.as_ref(), *sequence);
                    let newest = batch.names.entry(*user).or_insert(names);
                    if newest.1 < *sequence {
                        *newest = names;
                    }
                }
                ProfileChange::Follow(row) => {
                    let place = batch.follows.entry((row.from, row.to));
                    keep_newest(place, *row, row.following, |row| row.sequence);
                }
                ProfileChange::Post { author, post, listed, sequence } => {
                    let row = State { holds: *listed, sequence: *sequence };
                    keep_newest(batch.posts.entry((*author, *post)), row, *listed, |row| row.sequence);
                }
            }
        }
        batch
    }

    fn people(&self) -> BTreeSet<UserId> {
        let named = self.names.keys().copied();
        let follows = self.follows.keys().flat_map(|(from, to)| [*from, *to]);
        named.chain(follows).chain(self.posts.keys().map(|(author, _)| *author)).collect()
    }
}

fn keep_newest<K: Ord, T>(place: Place<'_, K, Wanted<T>>, row: T, holds: bool, sequence: impl Fn(&T) -> u64) {
    match place {
        Place::Vacant(free) => drop(free.insert(Wanted { row, held: holds })),
        Place::Occupied(mut taken) => {
            let kept = taken.get_mut();
            kept.held |= holds;
            if sequence(&kept.row) < sequence(&row) {
                kept.row = row;
            }
        }
    }
}

/// Where the partition's fence is in profiles, and what it is during this call.
struct Fence {
    field: String,
    epoch: i64,
    call: i64,
}

impl Fence {
    fn of(owner: Owner) -> Self {
        // A topic's name has a point, and to the server that is a way into a document.
        let topic = owner.partition.topic.name().replace('.', "-");
        let field = format!("fence.{topic}-{}", owner.partition.number);
        Self { field, epoch: int(owner.epoch.0), call: rand::random() }
    }

    /// Raises the fence of a profile, which is made if it is not there.
    fn raise(&self, key: Document) -> Statement {
        let query = doc! { "key": key, format!("{}.epoch", self.field): { "$not": { "$gt": self.epoch } } };
        let fence = doc! { "epoch": self.epoch, "call": self.call };
        let nothing = doc! {
            "names": Bson::Null,
            "sequence": 0_i64,
            "followers": 0_i64,
            "following": 0_i64,
            "posts": 0_i64,
            // There is nothing to be seen of somebody of whom only this is known.
            "shown": false,
        };
        Statement::upsert(query, doc! { "$set": { &self.field: fence }, "$setOnInsert": nothing })
    }

    /// Finds a profile whose fence is still this call's.
    fn finds(&self, key: Document) -> Document {
        doc! { "key": key, format!("{}.call", self.field): self.call }
    }

    fn overtaken(&self) -> StoreError {
        let Self { field, epoch, .. } = self;
        StoreError::Overtaken(format!("another owner than that of epoch {epoch} has raised the {field} of profiles"))
    }
}

/// What is stored of all that a batch is about.
struct Known {
    entries: HashMap<UserId, Vec<Entry>>,
    follows: HashMap<(UserId, UserId), State>,
    posts: HashMap<(UserId, PostId), State>,
}

/// What becomes of a profile.
#[derive(Default)]
struct Change {
    steps: Vec<(Number, i64)>,
    is_shown: bool,
    pushed: Vec<Entry>,
    pulled: Vec<Entry>,
}

struct Call<'store> {
    store: &'store Store,
    generation: Generation,
    fence: Fence,
}

impl Call<'_> {
    async fn write(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let people = batch.people();
        self.raise_fences(&people).await?;
        let known = self.known(batch, &people).await?;
        let profiles = changes(batch, &known);
        self.count(&profiles).await?;
        self.write_names(batch).await?;
        self.write_rows(batch, &known).await?;
        self.take_entries_away(&profiles).await
    }

    async fn raise_fences(&self, people: &BTreeSet<UserId>) -> Result<(), StoreError> {
        let raise = |user: &UserId| self.fence.raise(profile_key(self.generation, *user));
        let statements: Vec<Statement> = people.iter().map(raise).collect();
        let raised = self.store.write_guarded(PROFILES, &statements).await?;
        if raised == statements.len() { Ok(()) } else { Err(self.fence.overtaken()) }
    }

    async fn known(&self, batch: &Batch<'_>, people: &BTreeSet<UserId>) -> Result<Known, StoreError> {
        #[derive(Deserialize)]
        struct Profile {
            key: ProfileKey,
            #[serde(default)]
            applying: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct PostKey {
            author: Uuid,
            post: Uuid,
        }
        #[derive(Deserialize)]
        struct Post {
            key: PostKey,
            listed: bool,
            sequence: u64,
        }

        let mut known = Known { entries: HashMap::new(), follows: HashMap::new(), posts: HashMap::new() };
        if batch.follows.is_empty() && batch.posts.is_empty() {
            return Ok(known);
        }
        let mut filter = any_of(people.iter().map(|user| profile_key(self.generation, *user)).collect());
        // Almost all have none.
        filter.insert("applying", doc! { "$exists": true, "$ne": [] });
        let profiles: Vec<Profile> = self.store.find(PROFILES, filter, people.len()).await?;
        known.entries.extend(profiles.into_iter().map(|profile| (profile.key.user(), profile.applying)));

        if !batch.follows.is_empty() {
            let keys = batch.follows.keys().map(|(from, to)| follow_key(self.generation, *from, *to)).collect();
            let found: Vec<StoredFollow> = self.store.find(FOLLOWS, any_of(keys), batch.follows.len()).await?;
            known.follows.extend(
                found
                    .into_iter()
                    .map(FollowRow::from)
                    .map(|row| ((row.from, row.to), State { holds: row.following, sequence: row.sequence })),
            );
        }
        if !batch.posts.is_empty() {
            let keys = batch.posts.keys().map(|(author, post)| post_key(self.generation, *author, *post)).collect();
            let found: Vec<Post> = self.store.find(PROFILE_POSTS, any_of(keys), batch.posts.len()).await?;
            known.posts.extend(found.into_iter().map(|Post { key, listed, sequence }| {
                let key = (UserId::from_bytes(key.author.bytes()), PostId::from_bytes(key.post.bytes()));
                (key, State { holds: listed, sequence })
            }));
        }
        Ok(known)
    }

    async fn count(&self, profiles: &BTreeMap<UserId, Change>) -> Result<(), StoreError> {
        let counted = profiles.iter().filter(|(_, change)| !change.pushed.is_empty());
        let statements: Vec<Statement> = counted
            .map(|(user, change)| {
                let entries: Vec<Document> = change.pushed.iter().map(Entry::document).collect();
                let mut update = doc! { "$push": { "applying": { "$each": entries } } };
                let mut sums = Document::new();
                for counted in [Number::Followers, Number::Following, Number::Posts] {
                    let sum: i64 = change.steps.iter().filter(|(of, _)| *of == counted).map(|(_, step)| step).sum();
                    if sum != 0 {
                        sums.insert(counted.name(), sum);
                    }
                }
                if !sums.is_empty() {
                    update.insert("$inc", sums);
                }
                if change.is_shown {
                    update.insert("$set", doc! { "shown": true });
                }
                Statement::update(self.fence.finds(profile_key(self.generation, *user)), update)
            })
            .collect();
        self.all_found(&statements).await
    }

    /// Names have the sequence of their own stream for a guard, in the same document.
    async fn write_names(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let statements: Vec<Statement> = batch
            .names
            .iter()
            .map(|(user, (names, sequence))| {
                let sequence = int(*sequence);
                let query = doc! { "key": profile_key(self.generation, *user), "sequence": { "$lt": sequence } };
                let names = names.map_or(Bson::Null, |names| {
                    let ProfileNames { username, display_name, bio } = names;
                    let (username, display_name, bio) = (username.as_str(), display_name.as_str(), bio.as_str());
                    doc! { "username": username, "display_name": display_name, "bio": bio }.into()
                });
                let set = doc! { "names": names, "sequence": sequence, "shown": true };
                Statement::update(query, doc! { "$set": set })
            })
            .collect();
        self.store.write(PROFILES, &statements).await?;
        Ok(())
    }

    async fn write_rows(&self, batch: &Batch<'_>, known: &Known) -> Result<(), StoreError> {
        let stored = |key: &(UserId, UserId)| known.follows.get(key).map_or(0, |state| state.sequence);
        let follows = batch.follows.iter().filter(|(key, wanted)| wanted.row.sequence > stored(key));
        let follows: Vec<Statement> = follows
            .map(|((from, to), Wanted { row, .. })| {
                let sequence = int(row.sequence);
                let query = doc! { "key": follow_key(self.generation, *from, *to), "sequence": { "$lt": sequence } };
                let since = DateTime::from_millis(row.since.as_millis());
                let set = doc! { "following": row.following, "sequence": sequence, "since": since };
                Statement::upsert(query, doc! { "$set": set })
            })
            .collect();
        self.store.write_guarded(FOLLOWS, &follows).await?;

        let stored = |key: &(UserId, PostId)| known.posts.get(key).map_or(0, |state| state.sequence);
        let posts = batch.posts.iter().filter(|(key, wanted)| wanted.row.sequence > stored(key));
        let posts: Vec<Statement> = posts
            .map(|((author, post), Wanted { row, .. })| {
                let sequence = int(row.sequence);
                let query = doc! { "key": post_key(self.generation, *author, *post), "sequence": { "$lt": sequence } };
                Statement::upsert(query, doc! { "$set": { "listed": row.holds, "sequence": sequence } })
            })
            .collect();
        self.store.write_guarded(PROFILE_POSTS, &posts).await?;
        Ok(())
    }

    async fn take_entries_away(&self, profiles: &BTreeMap<UserId, Change>) -> Result<(), StoreError> {
        let pulled = profiles.iter().filter(|(_, change)| !change.pulled.is_empty());
        let statements: Vec<Statement> = pulled
            .map(|(user, change)| {
                let entries: Vec<Document> = change.pulled.iter().map(Entry::document).collect();
                let update = doc! { "$pull": { "applying": { "$in": entries } } };
                Statement::update(self.fence.finds(profile_key(self.generation, *user)), update)
            })
            .collect();
        self.all_found(&statements).await
    }

    async fn all_found(&self, statements: &[Statement]) -> Result<(), StoreError> {
        let written = self.store.write(PROFILES, statements).await?;
        if written.found == statements.len() { Ok(()) } else { Err(self.fence.overtaken()) }
    }
}

fn post_key(Generation(generation): Generation, author: UserId, post: PostId) -> Document {
    doc! { "generation": i64::from(generation), "author": uuid(author.as_bytes()), "post": uuid(post.as_bytes()) }
}

/// What becomes of each profile: of both of a follow's people, and of a post's author.
fn changes(batch: &Batch<'_>, known: &Known) -> BTreeMap<UserId, Change> {
    let mut changes: BTreeMap<UserId, Change> = BTreeMap::new();
    let mut one = |user: UserId, counted: Number, other: Uuid, stored: Option<&State>, wanted: State, held: bool| {
        let entries = known.entries.get(&user).map_or(&[][..], Vec::as_slice);
        let entries = entries.iter().filter(|entry| entry.number == counted && entry.other == other);
        change(changes.entry(user).or_default(), counted, other, entries, stored.copied(), wanted, held);
    };
    for (key @ (from, to), Wanted { row, held }) in &batch.follows {
        let stored = known.follows.get(key);
        let wanted = State { holds: row.following, sequence: row.sequence };
        one(*to, Number::Followers, uuid(from.as_bytes()), stored, wanted, *held);
        one(*from, Number::Following, uuid(to.as_bytes()), stored, wanted, *held);
    }
    for (key @ (author, post), Wanted { row, held }) in &batch.posts {
        one(*author, Number::Posts, uuid(post.as_bytes()), known.posts.get(key), *row, *held);
    }
    changes
}

/// What becomes of a number for one row, from what it takes the row to be.
fn change<'known>(
    change: &mut Change,
    counted: Number,
    other: Uuid,
    entries: impl Iterator<Item = &'known Entry>,
    stored: Option<State>,
    wanted: State,
    held: bool,
) {
    let stored = stored.unwrap_or_default();
    let said = stored.sequence.max(wanted.sequence);
    let mut taken_for = stored;
    for entry in entries {
        if entry.sequence > taken_for.sequence {
            taken_for = State { holds: entry.holds, sequence: entry.sequence };
        }
        if entry.sequence <= said {
            change.pulled.push(*entry);
        }
    }
    if wanted.sequence <= taken_for.sequence {
        return;
    }
    let State { holds, sequence } = wanted;
    let step = i64::from(holds) - i64::from(taken_for.holds);
    change.steps.push((counted, step));
    change.is_shown |= held || step != 0;
    let entry = Entry { number: counted, other, sequence, holds };
    change.pushed.push(entry);
    change.pulled.push(entry);
}
