//! People and their numbers. C1: counts equal the rows that they count. C2: a repeat changes nothing. The numbers are fed
//! by many lanes, which come in any order.

use std::collections::{BTreeMap, BTreeSet};

use domain::text::{Bio, DisplayName, Username};
use domain::{PostId, Timestamp, Topic, UserId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{ONE, OTHER, post, user, users};
use crate::checkpoints::{Generation, Owner, OwnerEpoch, Partition};
use crate::property::for_all;
use crate::views::{FollowList, FollowRow, ProfileChange, ProfileNames, ProfileRow, Views};

/// The first owner of some partition.
fn owner(generation: Generation) -> Owner {
    Owner { generation, partition: Partition { topic: Topic::Users, number: 0 }, epoch: OwnerEpoch(1) }
}

fn names(username: &str, bio: &str) -> ProfileNames {
    ProfileNames {
        username: Username::parse(username).unwrap(),
        display_name: DisplayName::parse(&format!("{username} 🚢")).unwrap(),
        bio: Bio::parse(bio).unwrap(),
    }
}

fn named(number: u32, username: &str, bio: &str, sequence: u64) -> ProfileChange {
    ProfileChange::Named { user: user(number), names: Some(names(username, bio)), sequence }
}

fn follow(from: u32, to: u32, following: bool, sequence: u64, since: i64) -> ProfileChange {
    let (from, to, since) = (user(from), user(to), Timestamp::from_millis(since));
    ProfileChange::Follow(FollowRow { from, to, following, sequence, since })
}

fn follows(from: u32, to: u32, sequence: u64) -> ProfileChange {
    follow(from, to, true, sequence, i64::try_from(sequence).unwrap() * 1_000)
}

fn unfollows(from: u32, to: u32, sequence: u64) -> ProfileChange {
    follow(from, to, false, sequence, i64::try_from(sequence).unwrap() * 1_000)
}

fn wrote(author: u32, number: u32, listed: bool, sequence: u64) -> ProfileChange {
    ProfileChange::Post { author: user(author), post: post(number), listed, sequence }
}

async fn profile(views: &dyn Views, number: u32) -> Option<ProfileRow> {
    views.profiles(ONE, &[user(number)]).await.unwrap().remove(0)
}

/// Followers, followed, posts.
async fn numbers(views: &dyn Views, number: u32) -> (u64, u64, u64) {
    profile(views, number).await.map_or((0, 0, 0), |row| (row.followers, row.following, row.posts))
}

pub(crate) async fn what_nobody_wrote_is_nothing(views: &dyn Views) {
    views.write_profiles(owner(ONE), Vec::new()).await.unwrap();
    assert_eq!(views.profiles(ONE, &users([1, 2])).await.unwrap(), [None, None]);
    assert_eq!(views.profiles(ONE, &[]).await.unwrap(), []);
    assert_eq!(views.users_named(ONE, &[Username::parse("ada").unwrap()]).await.unwrap(), [None]);
    for list in [FollowList::FollowersOf(user(1)), FollowList::FollowedBy(user(1))] {
        assert_eq!(views.newest_follows(ONE, list, None, 10).await.unwrap(), []);
    }
}

pub(crate) async fn names_are_those_of_the_newest_event(views: &dyn Views) {
    views
        .write_profiles(owner(ONE), vec![named(1, "ada", "", 1), named(1, "ada", "Analyst.\nReader.", 2)])
        .await
        .unwrap();
    let expected = |bio, sequence| {
        let names = Some(names("ada", bio));
        Some(ProfileRow { user: user(1), names, sequence, followers: 0, following: 0, posts: 0 })
    };
    assert_eq!(profile(views, 1).await, expected("Analyst.\nReader.", 2));
    for late in [named(1, "ada", "", 1), named(1, "ada", "Another.", 2)] {
        views.write_profiles(owner(ONE), vec![late]).await.unwrap();
        assert_eq!(profile(views, 1).await, expected("Analyst.\nReader.", 2));
    }
    views.write_profiles(owner(ONE), vec![named(1, "ada", "", 3)]).await.unwrap();
    assert_eq!(profile(views, 1).await, expected("", 3));
    let erased = ProfileChange::Named { user: user(1), names: None, sequence: 4 };
    views.write_profiles(owner(ONE), vec![erased]).await.unwrap();
    assert_eq!(profile(views, 1).await.and_then(|row| row.names), None);
}

pub(crate) async fn people_are_found_by_user_name(views: &dyn Views) {
    views.write_profiles(owner(ONE), vec![named(2, "grace", "", 1), named(1, "ada", "", 1)]).await.unwrap();
    let asked = ["ada", "nobody", "grace"].map(|name| Username::parse(name).unwrap());
    assert_eq!(views.users_named(ONE, &asked).await.unwrap(), [Some(user(1)), None, Some(user(2))]);
    assert_eq!(views.users_named(OTHER, &asked).await.unwrap(), [None; 3]);
}

pub(crate) async fn numbers_change_with_what_they_count(views: &dyn Views) {
    views.write_profiles(owner(ONE), vec![follows(1, 2, 1), follows(3, 2, 1), wrote(2, 7, true, 1)]).await.unwrap();
    assert_eq!(numbers(views, 2).await, (2, 0, 1));
    assert_eq!(numbers(views, 1).await, (0, 1, 0));
    // Names may come after the numbers: they are of another lane.
    assert_eq!(profile(views, 2).await.map(|row| (row.names, row.sequence)), Some((None, 0)));
    views.write_profiles(owner(ONE), vec![named(2, "grace", "", 1)]).await.unwrap();
    assert_eq!(numbers(views, 2).await, (2, 0, 1));

    views
        .write_profiles(
            owner(ONE),
            vec![unfollows(1, 2, 2), wrote(2, 8, true, 1), wrote(2, 7, false, 2), follows(2, 1, 3)],
        )
        .await
        .unwrap();
    assert_eq!(numbers(views, 2).await, (1, 1, 1));
    assert_eq!(numbers(views, 1).await, (1, 0, 0));
    // What has gone before it was known to be there counts for nothing.
    views.write_profiles(owner(ONE), vec![wrote(2, 9, false, 2), unfollows(4, 2, 2)]).await.unwrap();
    assert_eq!(numbers(views, 2).await, (1, 1, 1));
}

pub(crate) async fn a_repeat_and_a_late_event_change_nothing(views: &dyn Views) {
    let all = vec![
        follows(1, 2, 1),
        unfollows(1, 2, 2),
        follows(1, 2, 5),
        wrote(2, 7, true, 1),
        wrote(2, 7, false, 3),
        wrote(2, 8, true, 1),
    ];
    views.write_profiles(owner(ONE), all.clone()).await.unwrap();
    for again in all.iter().cloned().map(|change| vec![change]).chain([all.clone()]) {
        views.write_profiles(owner(ONE), again).await.unwrap();
        assert_eq!(numbers(views, 2).await, (1, 0, 1));
        assert_eq!(numbers(views, 1).await, (0, 1, 0));
    }
    // A sequence is one event: what is stored of it stays.
    for other in [unfollows(1, 2, 5), wrote(2, 7, true, 3), wrote(2, 8, false, 1)] {
        views.write_profiles(owner(ONE), vec![other]).await.unwrap();
        assert_eq!(numbers(views, 2).await, (1, 0, 1));
    }
}

pub(crate) async fn follows_are_paged_newest_first(views: &dyn Views) {
    // Of the same moment, the greater id comes first.
    let times = [(3, 100), (1, 300), (5, 200), (4, 200), (2, 400)];
    let mut changes: Vec<ProfileChange> = times.iter().map(|(other, at)| follow(*other, 9, true, 1, *at)).collect();
    changes.extend(times.iter().map(|(other, at)| follow(9, *other, true, 2, *at)));
    changes.extend([follow(2, 9, false, 3, 500), follow(9, 2, false, 4, 500), follow(1, 3, true, 1, 600)]);
    views.write_profiles(owner(ONE), changes).await.unwrap();
    for list in [FollowList::FollowersOf(user(9)), FollowList::FollowedBy(user(9))] {
        let mut found: Vec<FollowRow> = Vec::new();
        let place = |found: &[FollowRow]| found.last().map(|row| (row.since, list.other(row)));
        while let page @ [_, ..] = &views.newest_follows(ONE, list, place(&found), 2).await.unwrap()[..] {
            assert!(page.len() <= 2 && found.len() < 10);
            found.extend(page);
        }
        let others: Vec<UserId> = found.iter().map(|row| list.other(row)).collect();
        assert_eq!(others, users([1, 5, 4, 3]), "{list:?}");
        assert!(found.iter().all(|row| row.following));
    }
}

pub(crate) async fn generations_are_independent(views: &dyn Views) {
    views
        .write_profiles(owner(ONE), vec![named(1, "ada", "", 1), follows(1, 2, 1), wrote(1, 7, true, 1)])
        .await
        .unwrap();
    assert_eq!(views.profiles(OTHER, &users([1])).await.unwrap(), [None]);
    assert_eq!(views.newest_follows(OTHER, FollowList::FollowedBy(user(1)), None, 10).await.unwrap(), []);
    assert_eq!(views.scan_profiles(OTHER, None, 10).await.unwrap(), []);
    assert_eq!(views.scan_follows(OTHER, None, 10).await.unwrap(), []);
    views.write_profiles(owner(OTHER), vec![wrote(1, 7, true, 1)]).await.unwrap();
    assert_eq!(numbers(views, 1).await, (0, 1, 1));
}

pub(crate) async fn people_and_follows_are_scanned_in_the_order_of_their_keys(views: &dyn Views) {
    let changes = [3, 1, 2].into_iter().flat_map(|from| [9, 7].map(|to| follows(from, to, 1))).collect();
    views.write_profiles(owner(ONE), changes).await.unwrap();
    views.write_profiles(owner(ONE), vec![unfollows(2, 7, 2)]).await.unwrap();
    let mut follows: Vec<(UserId, UserId)> = Vec::new();
    while let page @ [_, ..] = &views.scan_follows(ONE, follows.last().copied(), 4).await.unwrap()[..] {
        assert!(page.len() <= 4 && follows.len() < 20);
        follows.extend(page.iter().map(|row| (row.from, row.to)));
    }
    let expected = (1..=3).flat_map(|from| [7, 9].map(|to| (user(from), user(to))));
    assert_eq!(follows, expected.collect::<Vec<_>>());
    let mut people: Vec<UserId> = Vec::new();
    while let page @ [_, ..] = &views.scan_profiles(ONE, people.last().copied(), 2).await.unwrap()[..] {
        assert!(page.len() <= 2 && people.len() < 20);
        people.extend(page.iter().map(|row| row.user));
    }
    assert_eq!(people, users([1, 2, 3, 7, 9]));
}

const USERS: u32 = 4;
const POSTS: u32 = 3;

/// A log of one lane: each event changes it, the next has the next sequence.
#[derive(Clone, Debug)]
enum Lane {
    Account(u32, u64),
    Follow(u32, u32, u64),
    Post(u32, u32, u64),
}

fn lanes() -> impl Strategy<Value = Vec<Vec<ProfileChange>>> {
    let length = || 1..5u64;
    let lane = prop_oneof![
        (0..USERS, length()).prop_map(|(who, length)| Lane::Account(who, length)),
        (0..USERS, 0..USERS, length())
            .prop_filter("two", |(from, to, _)| from != to)
            .prop_map(|(from, to, length)| Lane::Follow(from, to, length)),
        (0..USERS, 0..POSTS, 1..3u64).prop_map(|(who, which, length)| Lane::Post(who, which, length)),
    ];
    vec(lane, 1..12).prop_map(|lanes| {
        // One lane per key, the longest.
        let mut by_key: BTreeMap<(u8, u32, u32), u64> = BTreeMap::new();
        for lane in lanes {
            let (key, length) = match lane {
                Lane::Account(who, length) => ((0, who, 0), length),
                Lane::Follow(from, to, length) => ((1, from, to), length),
                Lane::Post(who, which, length) => ((2, who, which * USERS + who), length),
            };
            let kept = by_key.entry(key).or_default();
            *kept = length.max(*kept);
        }
        let events = |((kind, one, other), length): ((u8, u32, u32), u64)| {
            let event = move |sequence: u64| match kind {
                0 => named(one, &format!("user{one}"), &format!("bio {sequence}"), sequence),
                1 => follow(one, other, sequence % 2 == 1, sequence, i64::try_from(sequence).unwrap()),
                _ => wrote(one, other, sequence == 1, sequence),
            };
            (1..=length).map(event).collect()
        };
        by_key.into_iter().map(events).collect()
    })
}

/// Every event in the order of its lane, and lanes interleaved; each batch may come again at any time after it came
/// first: redelivered, or by an owner who does not know that he is none any more.
fn deliveries(
    lanes: &[Vec<ProfileChange>],
    picks: &[prop::sample::Index],
    sizes: &[usize],
    again: &[(prop::sample::Index, prop::sample::Index)],
) -> Vec<Vec<ProfileChange>> {
    let mut left: Vec<&[ProfileChange]> = lanes.iter().map(Vec::as_slice).collect();
    let mut order = Vec::new();
    for pick in picks.iter().cycle() {
        left.retain(|lane| !lane.is_empty());
        if left.is_empty() {
            break;
        }
        let lane = pick.index(left.len());
        order.push(left[lane][0].clone());
        left[lane] = &left[lane][1..];
    }
    let mut batches: Vec<Vec<ProfileChange>> = Vec::new();
    let mut rest = &order[..];
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (batch, after) = rest.split_at((*size).min(rest.len()));
        batches.push(batch.to_vec());
        rest = after;
    }
    for (which, place) in again {
        let which = which.index(batches.len());
        let batch = batches[which].clone();
        batches.insert(which + 1 + place.index(batches.len() - which), batch);
    }
    batches
}

/// C2, C4
pub(crate) async fn numbers_are_those_of_the_model_whatever_is_repeated(views: &dyn Views) {
    let index = any::<prop::sample::Index>;
    let strategy = (lanes(), vec(index(), 1..40), vec(1..5usize, 1..10), vec((index(), index()), 0..8));
    for_all(strategy, async |generation, (lanes, picks, sizes, again)| {
        for batch in deliveries(&lanes, &picks, &sizes, &again) {
            views.write_profiles(owner(generation), batch).await.unwrap();
        }

        // What each lane came to, by its last event alone.
        let mut shown: BTreeMap<UserId, (Option<ProfileNames>, u64)> = BTreeMap::new();
        let mut follows: BTreeMap<(UserId, UserId), FollowRow> = BTreeMap::new();
        let mut posts: BTreeSet<(UserId, PostId)> = BTreeSet::new();
        let mut authors: BTreeSet<UserId> = BTreeSet::new();
        for change in lanes.iter().filter_map(|lane| lane.last()) {
            match change.clone() {
                ProfileChange::Named { user, names, sequence } => drop(shown.insert(user, (names, sequence))),
                ProfileChange::Follow(row) => drop(follows.insert((row.from, row.to), row)),
                ProfileChange::Post { author, post, listed, .. } => {
                    authors.insert(author);
                    if listed {
                        posts.insert((author, post));
                    }
                }
            }
        }
        let mut people: BTreeSet<UserId> = shown.keys().copied().chain(authors).collect();
        people.extend(follows.keys().flat_map(|(from, to)| [*from, *to]));
        let count =
            |is: &dyn Fn(&FollowRow) -> bool| follows.values().filter(|row| row.following && is(row)).count() as u64;
        let expected = people.into_iter().map(|user| {
            let (names, sequence) = shown.get(&user).cloned().unwrap_or_default();
            ProfileRow {
                user,
                names,
                sequence,
                followers: count(&|row| row.to == user),
                following: count(&|row| row.from == user),
                posts: posts.iter().filter(|(author, _)| *author == user).count() as u64,
            }
        });
        assert_eq!(views.scan_profiles(generation, None, 100).await.unwrap(), expected.collect::<Vec<_>>());
        let rows: Vec<FollowRow> = follows.values().copied().collect();
        assert_eq!(views.scan_follows(generation, None, 100).await.unwrap(), rows);
    });
}
