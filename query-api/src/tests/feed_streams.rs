//! Streams of feeds: live, resumed, late, trimmed, revoked, ended. L1: every post once, or `reset`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adapters::live::{Channel, Delivery};
use adapters::timelines::{AuthorEntry, Entry};
use adapters::views::EdgeField;
use domain::post::Visibility;
use domain::stream::BEFORE_FIRST;
use domain::{LogId, PostId, UserId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::watching::{Told, Watching, streams, streams_until};
use super::world::{GENERATION, World, partition_of};
use crate::feed::Walk;
use crate::items::PostItem;
use crate::stream::Streams;

/// Ada reads; bob and eve, whom she follows, write. The projection has caught up with all of it.
async fn ada_follows_bob_and_eve(world: &World) -> (UserId, UserId, UserId) {
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.follow(ada, bob).await;
    world.follow(ada, eve).await;
    world.publish(bob, "long ago").await;
    world.all_done().await;
    (ada, bob, eve)
}

impl Watching {
    /// The next post that is told.
    async fn post(&mut self) -> PostId {
        let told = self.event().await.unwrap();
        assert_eq!(told.event, "NEW_POST", "{told:?}");
        serde_json::from_value(told.data["id"].clone()).unwrap()
    }

    async fn posts(&mut self, count: usize) -> BTreeSet<PostId> {
        let mut posts = BTreeSet::new();
        for _ in 0..count {
            assert!(posts.insert(self.post().await), "told twice");
        }
        posts
    }

    /// All that is told before the next sign of life. The stream's time must be paused.
    async fn until_heartbeat(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        let started = tokio::time::Instant::now();
        while started.elapsed() < Duration::from_secs(15) {
            let text = self.text().await.unwrap();
            self.buffer.push_str(std::str::from_utf8(&text).unwrap());
            while let Some(event) = self.buffered() {
                told.push(event);
            }
        }
        told
    }

    /// The reset that is told at once: not only with the next sign of life.
    async fn reset(&mut self) -> String {
        self.take_in().await;
        let told = self.buffered().expect("told at once");
        assert_eq!(told.event, "reset", "{told:?}");
        told.data["reason"].as_str().unwrap().to_owned()
    }

    fn id(&self) -> &str {
        self.last_event_id.as_deref().unwrap()
    }
}

#[tokio::test]
async fn a_post_is_told_as_the_home_shows_it() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    let stranger = world.person("stranger").await;
    world.publish(stranger, "not for ada").await;
    let post = world.publish(bob, "# Title\nand \"text\"").await;
    let told = watching.event().await.unwrap();
    let item: PostItem = serde_json::from_value(told.data).unwrap();
    assert_eq!((item.id, item.author.id, item.text.as_str()), (post, bob, "# Title\nand \"text\""));
    assert_eq!((item.likes, item.liked_by_me, item.visibility), (0, false, Visibility::Public));

    let for_followers = world.publish_to(eve, "among us", Visibility::Followers, true).await;
    let own = world.publish(ada, "mine").await;
    assert_eq!(watching.posts(2).await, BTreeSet::from([for_followers, own]));
}

#[tokio::test]
async fn what_was_missed_is_told_once_however_often_a_stream_is_cut() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut id = {
        let mut watching = Watching::feed(&streams, ada, None).await;
        watching.take_in().await;
        assert!(watching.buffered().is_none());
        watching.id().to_owned()
    };
    for round in 0..12 {
        let mut expected = BTreeSet::new();
        for author in [bob, eve, ada] {
            expected.insert(world.publish(author, &format!("{round}")).await);
        }
        // Sometimes the checkpoint has come up to them, sometimes not.
        if round % 3 == 0 {
            world.all_done().await;
        }
        let mut watching = Watching::feed(&streams, ada, Some(&id)).await;
        // Cut after the second.
        let mut told = watching.posts(2).await;
        let middle = watching.id().to_owned();
        drop(watching);
        let mut watching = Watching::feed(&streams, ada, Some(&middle)).await;
        told.insert(watching.post().await);
        assert_eq!(told, expected, "L1, round {round}");
        watching.take_in().await;
        assert_eq!(watching.buffered(), None);
        id = watching.id().to_owned();
    }
}

/// A base never passes what was not read: fan-outs overtake each other, within a partition, too.
#[tokio::test]
async fn a_row_that_comes_late_is_told() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    let late = world.new_post_id();
    world.write_post(late, eve, "late", Visibility::Public).await;
    let offset = world.next_offset();
    let late = Entry { post: late, author: eve, partition: partition_of(offset), offset };
    for _ in 0..8 {
        let post = world.publish(bob, "quick").await;
        assert_eq!(watching.post().await, post);
    }
    let id = watching.id().to_owned();
    world.list_author(late).await;
    world.list_homes(late, &[ada]).await;
    assert_eq!(watching.post().await, late.post);
    world.all_done().await;
    let mut resumed = Watching::feed(&streams, ada, Some(&id)).await;
    assert_eq!(resumed.post().await, late.post);
    let mut again = Watching::feed(&streams, ada, Some(watching.id())).await;
    for watching in [&mut resumed, &mut again] {
        watching.take_in().await;
        assert_eq!(watching.buffered(), None, "and nothing else");
    }
}

#[tokio::test]
async fn what_hints_lost_is_found_with_a_sign_of_life() {
    let world = World::new().await;
    let (ada, bob, _) = ada_follows_bob_and_eve(&world).await;
    tokio::time::pause();
    let mut watching = Watching::feed(&streams(&world), ada, None).await;
    watching.text().await.unwrap();
    assert_eq!(watching.text().await.unwrap(), ":\n\n", "nothing has moved");
    let before = watching.last_event_id.clone();
    world.live.lose(true);
    let unheard = world.publish(bob, "unheard").await;
    assert_eq!(watching.until_heartbeat().await.len(), 0, "the checkpoint has not moved");
    world.all_done().await;
    let told = watching.until_heartbeat().await;
    assert_eq!((told.len(), &told[0].data["id"]), (1, &json!(unheard)));
    // The checkpoint moves, and with it the id: without an event.
    world.next_offset();
    world.all_done().await;
    let told_at = watching.last_event_id.clone();
    assert_eq!(watching.until_heartbeat().await, []);
    assert!(watching.last_event_id != told_at && told_at != before);
    assert_eq!(watching.text().await.unwrap(), ":\n\n");

    world.live.deliver(Channel::Home(ada), Delivery::Lost);
    world.publish(bob, "unheard, too").await;
    world.live.deliver(Channel::Home(ada), Delivery::Lost);
    watching.post().await;
}

/// An id holds a bounded number of posts, so a checkpoint that stands still holds up the stream, and loses nothing.
#[tokio::test]
async fn a_stream_waits_for_the_checkpoint_when_its_id_is_full() {
    let world = World::new().await;
    let (ada, bob, _) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    let mut published = BTreeSet::new();
    for number in 0..150 {
        published.insert(world.publish(bob, &format!("{number}")).await);
    }
    let mut told = watching.posts(64).await;
    watching.take_in().await;
    assert_eq!(watching.buffered(), None, "the id is full");
    let id = watching.id().to_owned();
    assert!(id.len() < 1_000);
    // Some of it is there for sure now: posts are in every other partition.
    let newest = world.next_offset() - 1;
    world.done(0, newest).await;
    world.done(1, newest).await;
    for post in watching.take_in_posts().await {
        assert!(told.insert(post), "told twice");
    }
    assert!(told.len() > 64 && told.len() < 150, "at once, as far as it goes: {}", told.len());
    world.all_done().await;
    for post in watching.take_in_posts().await {
        assert!(told.insert(post), "told twice");
    }
    assert_eq!(told, published);

    // Whoever was cut off when the id was full gets the rest, and can be cut off after each.
    let mut rest = BTreeSet::new();
    let mut id = id;
    for _ in 64..150 {
        let mut watching = Watching::feed(&streams, ada, Some(&id)).await;
        assert!(rest.insert(watching.post().await), "told twice");
        watching.id().clone_into(&mut id);
        assert!(id.len() < 1_000, "{} characters", id.len());
    }
    assert_eq!(rest.len(), 86);
    let mut watching = Watching::feed(&streams, ada, Some(&id)).await;
    watching.take_in().await;
    assert_eq!(watching.buffered(), None);
}

#[tokio::test]
async fn more_posts_than_are_worth_telling_get_a_reset() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    watching.take_in().await;
    watching.buffered();
    let since = watching.id().to_owned();
    drop(watching);
    for number in 0..200 {
        world.publish([bob, eve][number % 2], "one of many").await;
    }
    world.all_done().await;
    let mut watching = Watching::feed(&streams, ada, Some(&since)).await;
    assert_eq!(watching.posts(200).await.len(), 200, "two hundred are told");
    world.publish(bob, "one too many").await;
    world.all_done().await;
    let mut watching = Watching::feed(&streams, ada, Some(&since)).await;
    assert_eq!(watching.reset().await, "too_many_changes");
    let next = world.publish(bob, "after").await;
    assert_eq!(watching.post().await, next, "and it goes on from there");
    let mut watching = Watching::feed(&streams, ada, Some(watching.id())).await;
    watching.take_in().await;
    assert_eq!(watching.buffered(), None);
}

#[tokio::test]
async fn ids_that_lead_nowhere_get_a_reset() {
    let world = World::new().await;
    let (ada, bob, _) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut of_ada = Watching::feed(&streams, ada, None).await;
    let mut of_bob = Watching::feed(&streams, bob, None).await;
    for watching in [&mut of_ada, &mut of_bob] {
        watching.take_in().await;
        watching.buffered();
    }
    let good = crate::stream::FeedPosition::open(&world.cursors, ada, of_ada.id()).unwrap();
    let changed = |change: &dyn Fn(&mut crate::stream::FeedPosition)| {
        let mut position = good.clone();
        change(&mut position);
        position.seal(&world.cursors, ada)
    };
    let cases = [
        (String::new(), "malformed_position"),
        ("once upon a time".to_owned(), "malformed_position"),
        (of_bob.id().to_owned(), "malformed_position"),
        (world.position(PostId::MIN, 1), "malformed_position"),
        (changed(&|position| position.log = LogId(position.log.0 ^ 1)), "another_log"),
        (changed(&|position| position.base[2] += 1_000), "beyond_present"),
        (changed(&|position| position.generation.0 += 1), "rebuilt"),
        (changed(&|position| position.base.push(0)), "rebuilt"),
        (changed(&|position| position.drains += 1), "late_effects"),
        (changed(&|position| position.stamp ^= 1), "relations_changed"),
    ];
    for (id, reason) in cases {
        let mut watching = Watching::feed(&streams, ada, Some(&id)).await;
        assert_eq!(watching.reset().await, reason, "{id}");
        let post = world.publish(bob, "after").await;
        assert_eq!(watching.post().await, post);
        let mut back = Watching::feed(&streams, ada, Some(watching.id())).await;
        back.take_in().await;
        assert_eq!(back.buffered(), None, "it does not come back with the useless id");
    }
    let good = good.seal(&world.cursors, ada);
    assert_eq!(Watching::feed(&streams, ada, Some(&good)).await.event().await.unwrap().event, "NEW_POST");
}

#[tokio::test]
async fn a_change_of_ones_own_relations_gets_a_reset() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    let kim = world.person("kim").await;
    world.publish(kim, "before").await;
    world.all_done().await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    watching.take_in().await;
    watching.buffered();
    let id = watching.id().to_owned();
    world.follow(kim, ada).await;
    world.publish(bob, "whoever follows ada changes nothing for her").await;
    watching.post().await;
    world.follow(ada, kim).await;
    assert_eq!(watching.reset().await, "relations_changed");
    assert_eq!(Watching::feed(&streams, ada, Some(&id)).await.reset().await, "relations_changed");
    let post = world.publish(kim, "now heard").await;
    assert_eq!(watching.post().await, post);
    world.unfollow(ada, bob).await;
    assert_eq!(watching.reset().await, "relations_changed");
    world.publish(bob, "not heard any more").await;
    world.block(eve, ada).await;
    assert_eq!(watching.reset().await, "relations_changed", "a block ends ada's follow");
    world.publish(eve, "nor this").await;
    let post = world.publish(kim, "still heard").await;
    assert_eq!(watching.post().await, post);

    // The word may be lost: the next sign of life finds out.
    tokio::time::pause();
    world.live.lose(true);
    world.unfollow(ada, kim).await;
    assert_eq!(watching.reset_within_a_heartbeat().await, "relations_changed");
}

impl Watching {
    async fn reset_within_a_heartbeat(&mut self) -> String {
        let told = self.until_heartbeat().await;
        assert_eq!((told.len(), told[0].event.as_str()), (1, "reset"), "{told:?}");
        told[0].data["reason"].as_str().unwrap().to_owned()
    }
}

/// R3: even where the word has not come yet, whom one does not follow is not told.
#[tokio::test]
async fn whom_one_does_not_follow_now_is_not_told() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    let mut watching = Watching::feed(&streams(&world), ada, None).await;
    let block = adapters::views::EdgeChange { from: eve, to: ada, what: EdgeField::Blocking(true), sequence: 9 };
    world.ports.views.write_edges(GENERATION, &[block]).await.unwrap();
    world.publish(eve, "kept apart").await;
    let gone = world.new_post_id();
    world.list(bob, gone, &[ada]).await;
    let post = world.publish(bob, "heard").await;
    assert_eq!(watching.post().await, post, "R1: nor is what is not there");
}

#[tokio::test]
async fn effects_that_come_late_get_a_reset() {
    let world = World::new().await;
    let (ada, ..) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    watching.take_in().await;
    watching.buffered();
    let id = watching.id().to_owned();
    world.drain().await;
    assert_eq!(watching.reset().await, "late_effects");
    assert_eq!(Watching::feed(&streams, ada, Some(&id)).await.reset().await, "late_effects");
    watching.take_in().await;
    assert_eq!(watching.buffered(), None, "once");
    drop(watching);
    let mut next = Watching::feed(&streams, ada, None).await;
    next.take_in().await;
    assert_eq!(next.buffered(), None, "those who come later have nothing to do with it");
}

/// T2: what was trimmed before it was told is found in the authors' own timelines.
#[tokio::test]
async fn a_home_that_was_trimmed_meanwhile_loses_no_news() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    let seen = world.publish(bob, "seen").await;
    assert_eq!(watching.post().await, seen);
    let id = watching.id().to_owned();
    drop(watching);
    let mut missed = BTreeSet::new();
    for number in 0..30 {
        missed.insert(world.publish([bob, eve, ada][number % 3], "missed").await);
    }
    world.all_done().await;
    world.ports.timelines.trim(GENERATION, ada, 10, 5).await.unwrap();
    let mut told = BTreeSet::new();
    let mut id = id;
    // Cut off after each: the id must not take the new mark for its own before all is told.
    for _ in 0..30 {
        let mut watching = Watching::feed(&streams, ada, Some(&id)).await;
        assert!(told.insert(watching.post().await), "told twice");
        watching.id().clone_into(&mut id);
    }
    assert_eq!(told, missed);

    // An open stream that heard nothing of it, too.
    tokio::time::pause();
    let mut watching = Watching::feed(&streams, ada, Some(&id)).await;
    watching.text().await.unwrap();
    world.live.lose(true);
    for _ in 0..10 {
        world.publish(eve, "unheard").await;
    }
    world.ports.timelines.trim(GENERATION, ada, 3, 1).await.unwrap();
    world.all_done().await;
    assert_eq!(watching.until_heartbeat().await.len(), 10);
}

#[tokio::test]
async fn posts_of_hot_authors_are_told_and_resumed() {
    let world = World::new().await;
    let (ada, bob, eve) = ada_follows_bob_and_eve(&world).await;
    world.ports.views.mark_hot(GENERATION, &[bob]).await.unwrap();
    let streams = streams(&world);
    let mut of_ada = Watching::feed(&streams, ada, None).await;
    world.follow(eve, bob).await;
    let mut of_eve = Watching::feed(&streams, eve, None).await;
    while world.live.subscriptions(Channel::Author(bob)) == 0 {
        tokio::task::yield_now().await;
    }
    let post = world.publish_hot(bob, "to all").await;
    assert_eq!((of_ada.post().await, of_eve.post().await), (post, post));
    assert_eq!(streams.hot_authors(), 1);
    assert_eq!(world.live.subscriptions(Channel::Author(bob)), 1, "one for both");
    drop(of_eve);
    assert_eq!(streams.hot_authors(), 1);
    let id = of_ada.id().to_owned();
    drop(of_ada);
    assert_eq!(streams.hot_authors(), 0);

    let missed = BTreeSet::from([world.publish_hot(bob, "missed").await, world.publish(eve, "missed").await]);
    let mut of_ada = Watching::feed(&streams, ada, Some(&id)).await;
    assert_eq!(of_ada.posts(2).await, missed);

    // Who becomes hot while streams are open is heard, with the next sign of life at the latest.
    world.ports.views.mark_hot(GENERATION, &[eve]).await.unwrap();
    let first = world.publish_hot(eve, "hot now").await;
    world.all_done().await;
    tokio::time::pause();
    let told = of_ada.until_heartbeat().await;
    assert_eq!(told[0].data["id"], json!(first));
    tokio::time::resume();
    while world.live.subscriptions(Channel::Author(eve)) == 0 {
        tokio::task::yield_now().await;
    }
    let second = world.publish_hot(eve, "at once").await;
    assert_eq!(of_ada.post().await, second);
}

/// L1: nothing falls between a page and its stream, and what the page shows is not told.
#[tokio::test]
async fn a_stream_goes_on_where_the_page_ends() {
    let world = World::new().await;
    let (ada, bob, _) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    for done in [false, true, false] {
        for _ in 0..3 {
            world.publish(bob, "on the page").await;
        }
        if done {
            world.all_done().await;
        }
        let present = crate::stream::Present::of(&streams, ada).await.unwrap();
        let between = world.publish(bob, "while the page is read").await;
        let page = world.feed().home(ada, Walk::NEWEST, 2).await.unwrap();
        assert_eq!(page.posts()[0], between);
        let entries: Vec<Entry> = page.entries.iter().map(|listed| listed.entry).collect();
        let position = present.position(&streams, page.mark.unwrap(), &entries).seal(&world.cursors, ada);
        let after = world.publish(bob, "after the page").await;
        let mut watching = Watching::feed(&streams, ada, Some(&position)).await;
        let told = watching.take_in_posts().await;
        assert!(told.contains(&after), "L1");
        assert!(!told.iter().any(|told| page.posts().contains(told)), "and nothing twice");
    }
}

impl Watching {
    async fn take_in_posts(&mut self) -> Vec<PostId> {
        self.take_in().await;
        let mut posts = Vec::new();
        while let Some(told) = self.buffered() {
            posts.push(serde_json::from_value(told.data["id"].clone()).unwrap());
        }
        posts
    }
}

#[tokio::test]
async fn what_was_imported_is_not_told() {
    let world = World::new().await;
    let (ada, bob, _) = ada_follows_bob_and_eve(&world).await;
    let streams = streams(&world);
    let mut watching = Watching::feed(&streams, ada, None).await;
    let post = world.new_post_id();
    world.write_post(post, bob, "from elsewhere", Visibility::Public).await;
    let offset = world.next_offset();
    let partition = partition_of(offset);
    let row = AuthorEntry { author: bob, post, deleted: false, imported: true, sequence: 1, partition, offset };
    world.ports.timelines.write_authors(GENERATION, &[row]).await.unwrap();
    let entry = Entry { post, author: bob, partition, offset: BEFORE_FIRST };
    // A hint that should not be there is not enough.
    world.list_homes(entry, &[ada]).await;
    let next = world.publish(bob, "from here").await;
    assert_eq!(watching.post().await, next);
    world.ports.timelines.trim(GENERATION, ada, 0, 0).await.unwrap();
    world.publish(bob, "next").await;
    let mut resumed = Watching::feed(&streams, ada, Some(watching.id())).await;
    let told = resumed.take_in_posts().await;
    assert!(told.len() == 1 && told[0] > post, "{told:?}");
}

#[tokio::test]
async fn streams_end_with_the_token_the_server_and_the_stores() {
    let world = World::new().await;
    let (ada, bob, _) = ada_follows_bob_and_eve(&world).await;
    let shutdown = CancellationToken::new();
    let streams = streams_until(&world, shutdown.clone());
    let failing = Watching::feed(&streams, ada, None).await;
    world.calls.fail(true);
    world.live.deliver(Channel::Home(ada), Delivery::Lost);
    assert_eq!(failing.rest().await, [], "it ends, so that the client resumes: never a silent gap");
    world.calls.fail(false);

    let mut resumed = Watching::feed(&streams, ada, None).await;
    world.publish(bob, "words").await;
    resumed.post().await;
    shutdown.cancel();
    assert_eq!(resumed.rest().await, []);

    let streams = super::watching::streams(&world);
    tokio::time::pause();
    let permit = streams.enter().unwrap();
    let remaining = Some(Duration::from_secs(61));
    let stream = streams.open_feed(permit, ada, remaining, None).await.unwrap();
    let started = tokio::time::Instant::now();
    futures::StreamExt::count(stream).await;
    assert_eq!(started.elapsed().as_secs(), 61);
}

#[tokio::test]
async fn a_feeds_stream_is_one_of_the_open_streams_and_small() {
    let world = World::new().await;
    let (ada, ..) = ada_follows_bob_and_eve(&world).await;
    let streams =
        Arc::new(Streams::new(&world.ports, world.feed(), world.cursors.clone(), 1, CancellationToken::new()));
    let permit = streams.enter().unwrap();
    let stream = streams.open_feed(permit, ada, None, None).await.unwrap();
    assert!(size_of_val(&stream) < 2 * 1024, "{} bytes", size_of_val(&stream));
    assert!(streams.enter().is_none());
    drop(stream);
    assert!(streams.enter().is_some());
}
