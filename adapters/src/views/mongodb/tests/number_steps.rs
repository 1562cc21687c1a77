//! C1, C2, C4 for numbers that many lanes feed: whoever ends where, and whoever takes over when, the answers are those of
//! a store that writes all in one transaction.

use std::sync::Arc;

use domain::text::{Bio, DisplayName, Username};
use domain::{PostId, Timestamp, Topic, UserId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::open_own;
use super::world::{Apply, Turn, World, schedule};
use crate::StoreError;
use crate::checkpoints::{Generation, Owner, OwnerEpoch, Partition};
use crate::property::for_some;
use crate::sqlite::{Database, Durability, READ_MODELS};
use crate::views::{FollowRow, ProfileChange, ProfileNames, SqliteViews, Views};

const PARTITIONS: [Partition; 4] = [
    Partition { topic: Topic::Relations, number: 0 },
    Partition { topic: Topic::Relations, number: 1 },
    Partition { topic: Topic::Posts, number: 0 },
    Partition { topic: Topic::Users, number: 0 },
];

const USERS: u32 = 3;

fn user(number: u32) -> UserId {
    UserId::from_parts(Timestamp::from_millis(i64::from(number)), [0; 10])
}

fn owner(generation: Generation, partition: usize, epoch: u64) -> Owner {
    Owner { generation, partition: PARTITIONS[partition], epoch: OwnerEpoch(epoch) }
}

/// The log of each partition: few pairs, posts and accounts, so that they meet often. Some events are in it twice.
fn logs() -> impl Strategy<Value = Vec<Vec<ProfileChange>>> {
    let lanes = vec((0..8u32, 0..USERS), 3..14);
    (lanes, vec(any::<(Index, Index)>(), 0..4)).prop_map(|(events, repeats)| {
        let mut logs: Vec<Vec<ProfileChange>> = vec![Vec::new(); PARTITIONS.len()];
        let mut sequences = std::collections::HashMap::new();
        for (kind, who) in events {
            let other = (who + 1) % USERS;
            let (partition, kind) = match kind {
                0..=2 => (usize::from(who == 0), 0),
                3..=5 => (2, 1),
                _ => (3, 2),
            };
            let sequence: &mut u64 = sequences.entry((kind, who)).or_default();
            *sequence += 1;
            let at = i64::try_from(*sequence).unwrap();
            logs[partition].push(match kind {
                0 => ProfileChange::Follow(FollowRow {
                    from: user(who),
                    to: user(other),
                    following: *sequence % 2 == 1,
                    sequence: *sequence,
                    since: Timestamp::from_millis(at),
                }),
                1 => ProfileChange::Post {
                    author: user(who),
                    post: PostId::from_parts(Timestamp::from_millis(i64::from(who)), [1; 10]),
                    listed: *sequence % 2 == 1,
                    sequence: *sequence,
                },
                _ => ProfileChange::Named {
                    user: user(who),
                    names: Some(ProfileNames {
                        username: Username::parse(&format!("user{who}")).unwrap(),
                        display_name: DisplayName::parse("Somebody").unwrap(),
                        bio: Bio::parse(&format!("version {sequence}")).unwrap(),
                    }),
                    sequence: *sequence,
                },
            });
        }
        for (which, place) in repeats {
            let log = &mut logs[usize::from(which.index(2) == 0) * 2];
            if !log.is_empty() {
                let which = which.index(log.len());
                let again = log[which].clone();
                log.insert(which + 1 + place.index(log.len() - which), again);
            }
        }
        logs
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_right_whoever_ends_and_takes_over_at_any_step() {
    let (views, _own) = open_own().await;
    let folder = TempDir::new().unwrap();
    let file = Database::open(&folder.path().join("views.db"), &READ_MODELS, Durability::Process).unwrap();
    let whole = SqliteViews::new(file);
    for_some(64, (logs(), schedule()), async |generation, (logs, schedule)| {
        for (partition, log) in logs.iter().enumerate() {
            for change in log {
                whole.write_profiles(owner(generation, partition, 1), vec![change.clone()]).await.unwrap();
            }
        }

        let lengths = logs.iter().map(Vec::len).collect();
        let logs = Arc::new(logs);
        let apply: Apply = Arc::new(move |views: crate::views::MongoViews, turn: Turn| {
            let logs = Arc::clone(&logs);
            Box::pin(async move {
                let batch = logs[turn.partition][turn.from..turn.to].to_vec();
                views.write_profiles(owner(generation, turn.partition, turn.epoch), batch).await
            })
        });
        let mut world = World::new(views.clone(), lengths, apply);
        world.run(&schedule).await;
        world.finish().await;

        let expected = whole.scan_profiles(generation, None, 100).await.unwrap();
        assert_eq!(views.scan_profiles(generation, None, 100).await.unwrap(), expected);
        let expected = whole.scan_follows(generation, None, 100).await.unwrap();
        assert_eq!(views.scan_follows(generation, None, 100).await.unwrap(), expected);
    });
}

/// Nothing is left behind: a profile does not grow with what has once been counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_celebritys_followers_are_counted_together_and_leave_nothing_behind() {
    let (views, own) = open_own().await;
    let follow = |from: u32| {
        let since = Timestamp::from_millis(1);
        ProfileChange::Follow(FollowRow { from: user(from), to: user(0), following: true, sequence: 1, since })
    };
    let batch: Vec<ProfileChange> = (1..=256).map(follow).collect();
    views.write_profiles(owner(Generation::FIRST, 0, 1), batch.clone()).await.unwrap();
    views.write_profiles(owner(Generation::FIRST, 0, 2), batch).await.unwrap();
    let found = views.profiles(Generation::FIRST, &[user(0), user(256)]).await.unwrap();
    let numbers: Vec<_> = found.into_iter().flatten().map(|row| (row.followers, row.following)).collect();
    assert_eq!(numbers, [(256, 0), (0, 1)]);
    let profiles = own.0.collection::<mongodb::bson::Document>("profiles");
    let left = profiles.count_documents(mongodb::bson::doc! { "applying.number": "followers" }).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overtaken_owner_is_told() {
    let (views, _own) = open_own().await;
    let follow = |from, to, sequence| {
        let (from, to, since) = (user(from), user(to), Timestamp::from_millis(1));
        vec![ProfileChange::Follow(FollowRow { from, to, following: true, sequence, since })]
    };
    views.write_profiles(owner(Generation::FIRST, 0, 2), follow(1, 2, 1)).await.unwrap();
    for late in [follow(1, 2, 1), follow(1, 2, 2), follow(3, 1, 1)] {
        let refused = views.write_profiles(owner(Generation::FIRST, 0, 1), late).await;
        assert!(matches!(refused, Err(StoreError::Overtaken(_))), "{refused:?}");
    }
    // Other partitions have owners of their own.
    views.write_profiles(owner(Generation::FIRST, 1, 1), follow(3, 1, 1)).await.unwrap();
    let found = views.profiles(Generation::FIRST, &[user(1), user(2), user(3)]).await.unwrap();
    let numbers: Vec<_> = found.into_iter().flatten().map(|row| (row.followers, row.following)).collect();
    assert_eq!(numbers, [(1, 1), (1, 0), (0, 1)]);
}
