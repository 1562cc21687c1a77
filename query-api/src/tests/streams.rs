//! Streams of posts: live, resumed, slow, revoked, ended.

use std::time::Duration;

use adapters::live::{Channel, Delivery, Message, News};
use adapters::views::EdgeField;
use domain::post::Visibility;
use domain::text::CommentText;
use domain::{PostId, UserId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::watching::{Watching, streams, streams_until};
use super::world::World;
use crate::stream::Watcher;

/// A post by ada, and bob, who comments.
async fn post_of_ada(world: &World) -> (UserId, UserId, PostId) {
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    (ada, bob, world.publish(ada, "text").await)
}

#[tokio::test]
async fn the_first_connection_learns_the_likes_and_where_it_is() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    world.like(post, bob).await;
    world.comment(post, bob, "before").await;
    let mut watching = Watching::open(&streams(&world), None, post, None).await.unwrap();
    let opening = String::from_utf8(watching.text().await.unwrap().to_vec()).unwrap();
    let present = world.next_offset() - 1;
    let id = world.position(post, present);
    assert_eq!(opening, format!("retry: 3000\n\nid: {id}\n\nevent: LIKES\ndata: {{\"likes\":1}}\n\n"));
}

#[tokio::test]
async fn what_happens_is_told_at_once_with_its_position() {
    let world = World::new().await;
    let (ada, bob, post) = post_of_ada(&world).await;
    let mut watching = Watching::open(&streams(&world), Some(bob), post, None).await.unwrap();
    let comment = world.comment(post, bob, "hello\nworld").await;
    let told = watching.news().await.unwrap();
    let created = comment.timestamp();
    assert_eq!(told.event, "NEW_COMMENT");
    assert_eq!(
        told.data,
        json!({"id": comment, "post_id": post, "author": {"id": bob, "username": "bob", "display_name": "\"bob\" 😀"},
            "parent_id": null, "text": "hello\nworld", "created_at": created, "edited_at": null, "version": 1})
    );
    let first = told.id.unwrap();
    world.change_comment(post, comment, Some("changed")).await;
    let told = watching.news().await.unwrap();
    assert_eq!(told.short(), ("COMMENT_EDITED", Some(first + 1), "changed"));
    assert!(told.data["edited_at"].is_string() && told.data["id"] == json!(comment));
    world.change_comment(post, comment, None).await;
    let told = watching.news().await.unwrap();
    assert_eq!(told.data, json!({"id": comment, "post_id": post}));
    assert_eq!(told.short(), ("COMMENT_DELETED", Some(first + 2), ""));
    world.edit_post(post, ada, "another text", Visibility::Public).await;
    let told = watching.news().await.unwrap();
    assert_eq!(told.short(), ("POST_EDITED", Some(first + 3), ""));
    assert_eq!((&told.data["id"], &told.data["version"]), (&json!(post), &json!(2)));
    assert_eq!(watching.last_event_id.as_deref(), Some(world.position(post, first + 3).as_str()));
}

#[tokio::test]
async fn what_is_not_newer_is_not_told() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let comment = world.comment(post, bob, "in the snapshot").await;
    let mut watching = Watching::open(&streams(&world), None, post, None).await.unwrap();
    let again = |position| {
        let text = CommentText::parse("in the snapshot").unwrap();
        let news = News::NewComment { comment, author: bob, parent: None, text };
        Delivery::Message(Message { position, news })
    };
    let row = world.comment_row(post, comment).await;
    world.live.deliver(Channel::Post(post), again(row.created));
    world.comment(post, bob, "new").await;
    world.live.deliver(Channel::Post(post), again(row.created));
    world.comment(post, bob, "newer").await;
    assert_eq!(watching.news().await.unwrap().short().2, "new", "L2");
    assert_eq!(watching.news().await.unwrap().short().2, "newer", "L2");
}

#[tokio::test]
async fn watchers_of_a_post_share_a_subscription_that_ends_with_the_last() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let streams = streams(&world);
    let mut one = Watching::open(&streams, None, post, None).await.unwrap();
    let mut other = Watching::open(&streams, Some(bob), post, None).await.unwrap();
    world.comment(post, bob, "for both").await;
    assert_eq!(one.news().await, other.news().await);
    assert_eq!(world.live.subscriptions(Channel::Post(post)), 1);
    drop(one);
    world.comment(post, bob, "for the other").await;
    assert_eq!(other.news().await.unwrap().short().2, "for the other");
    assert_eq!(streams.watched_posts(), 1);
    drop(other);
    assert_eq!(streams.watched_posts(), 0);
    let mut third = Watching::open(&streams, None, post, None).await.unwrap();
    world.comment(post, bob, "for the third").await;
    assert_eq!(third.news().await.unwrap().short().2, "for the third");
    assert_eq!(world.live.subscriptions(Channel::Post(post)), 2);
}

#[tokio::test]
async fn a_resumed_stream_tells_what_has_changed_since_in_order() {
    let world = World::new().await;
    let (ada, bob, post) = post_of_ada(&world).await;
    let untouched = world.comment(post, bob, "untouched").await;
    let edited = world.comment(post, bob, "edited").await;
    let deleted = world.comment(post, bob, "deleted").await;
    let since = world.position(post, world.next_offset());
    let new_and_edited = world.comment(post, bob, "new").await;
    world.change_comment(post, edited, Some("edited since")).await;
    let new_and_deleted = world.comment(post, bob, "never told").await;
    world.change_comment(post, deleted, None).await;
    world.edit_post(post, ada, "changed", Visibility::Public).await;
    world.change_comment(post, new_and_deleted, None).await;
    world.change_comment(post, new_and_edited, Some("new, edited since")).await;
    let base: i64 = since.rsplit_once('-').unwrap().1.parse().unwrap();

    let streams = streams(&world);
    let mut watching = Watching::open(&streams, None, post, Some(&since)).await.unwrap();
    let told: Vec<_> = [
        watching.event().await.unwrap(),
        watching.event().await.unwrap(),
        watching.event().await.unwrap(),
        watching.event().await.unwrap(),
        watching.event().await.unwrap(),
    ]
    .to_vec();
    let short: Vec<_> = told.iter().map(super::watching::Told::short).collect();
    assert_eq!(
        short,
        [
            ("NEW_COMMENT", Some(base + 1), "new, edited since"),
            ("COMMENT_EDITED", Some(base + 2), "edited since"),
            ("COMMENT_DELETED", Some(base + 4), ""),
            ("POST_EDITED", Some(base + 5), ""),
            ("LIKES", None, ""),
        ]
    );
    assert_eq!(told[0].data["version"], 2);
    world.comment(post, bob, "live").await;
    assert_eq!(watching.event().await.unwrap().short(), ("NEW_COMMENT", Some(base + 8), "live"));

    // Cut off after the first event, it goes on behind that one.
    let after_first = world.position(post, base + 1);
    let mut watching = Watching::open(&streams, None, post, Some(&after_first)).await.unwrap();
    let first = watching.event().await.unwrap();
    assert_eq!(first.short(), ("COMMENT_EDITED", Some(base + 2), "edited since"));
    let row = world.comment_row(post, untouched).await;
    assert!(row.position <= base, "the untouched comment is told to nobody");
}

#[tokio::test]
async fn a_publication_is_no_edit() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = world.new_post_id();
    // The truth has it, and no projection yet.
    world.write_post(post, ada, "text", Visibility::Public).await;
    let mut watching = Watching::open(&streams(&world), None, post, None).await.unwrap();
    watching.event().await.unwrap();
    assert_eq!(watching.last_event_id, Some(world.position(post, -1)), "before the first event");
    let published = |rows: &mut adapters::views::EngagementRows, offset| {
        rows.post.sequence = 1;
        rows.post.changed = offset;
        None
    };
    world.engage(post, published).await;
    world.comment(post, bob, "first").await;
    let mut resumed = Watching::open(&streams(&world), None, post, watching.last_event_id.as_deref()).await.unwrap();
    assert_eq!(resumed.event().await.unwrap().short().2, "first");
    assert_eq!(resumed.event().await.unwrap().event, "LIKES");
}

#[tokio::test]
async fn positions_that_lead_nowhere_get_a_reset_and_the_stream_goes_on() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    world.comment(post, bob, "before").await;
    let present = world.next_offset() - 1;
    let good = world.position(post, present);
    let another_log = format!("0000000000000000{}", &good[16..]);
    let partition: u16 = good.split('-').nth(1).unwrap()[1..].parse().unwrap();
    let another_partition = format!("{}-p{}-0", &good[..16], partition + 1);
    let another_topic = format!("{}-r{partition}-0", &good[..16]);
    let beyond = world.position(post, present + 1_000);
    for (id, reason) in [
        ("", "malformed_position"),
        ("once upon a time", "malformed_position"),
        (another_log.as_str(), "another_log"),
        (another_partition.as_str(), "another_partition"),
        (another_topic.as_str(), "another_partition"),
        (beyond.as_str(), "beyond_present"),
    ] {
        let mut watching = Watching::open(&streams(&world), None, post, Some(id)).await.unwrap();
        let told = watching.event().await.unwrap();
        assert_eq!((told.event.as_str(), &told.data), ("reset", &json!({"reason": reason})), "{id}");
        assert!(told.id.is_some(), "it does not come back with the useless id");
        world.comment(post, bob, "after").await;
        assert_eq!(watching.news().await.unwrap().short().2, "after");
        let back = Watching::open(&streams(&world), None, post, watching.last_event_id.as_deref()).await;
        assert_eq!(back.unwrap().event().await.unwrap().event, "LIKES", "and nothing is told again");
    }
}

#[tokio::test]
async fn more_changes_than_are_worth_telling_get_a_reset() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let since = world.position(post, world.next_offset());
    let comments: Vec<_> = (0..1_001).map(|index| world.new_comment(post, bob, &format!("{index}"))).collect();
    let add = |count: usize| {
        let comments = comments[..count].to_vec();
        move |rows: &mut adapters::views::EngagementRows, _| {
            for (index, mut comment) in comments.into_iter().enumerate() {
                comment.created = index as i64 + 3;
                comment.position = index as i64 + 3;
                rows.comments.push(comment);
            }
            None
        }
    };
    world.engage_silently(post, add(1_000)).await;
    // All rows lie at or below the offsets that the world has given out by then.
    while world.next_offset() < 2_000 {}
    world.engage_silently(post, |_, _| None).await;
    let mut watching = Watching::open(&streams(&world), None, post, Some(&since)).await.unwrap();
    assert_eq!(watching.event().await.unwrap().event, "NEW_COMMENT", "a thousand are told");
    world.engage_silently(post, add(1_001)).await;
    let mut watching = Watching::open(&streams(&world), None, post, Some(&since)).await.unwrap();
    assert_eq!(watching.event().await.unwrap().data, json!({"reason": "too_many_changes"}));
}

#[tokio::test]
async fn a_slow_client_reads_what_it_missed_and_misses_nothing() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let streams = streams(&world);
    let mut slow = Watching::open(&streams, None, post, None).await.unwrap();
    let mut quick = Watching::open(&streams, None, post, None).await.unwrap();
    for index in 0..200 {
        world.comment(post, bob, &format!("{index}")).await;
        assert_eq!(quick.news().await.unwrap().short().2, format!("{index}"));
    }
    world.calls.take();
    for index in 0..200 {
        assert_eq!(slow.news().await.unwrap().short().2, format!("{index}"));
    }
    assert_eq!(world.calls.take().get("comments_changed"), Some(&1), "it had fallen behind, and read once");
    world.comment(post, bob, "live again").await;
    assert_eq!(slow.news().await.unwrap().short().2, "live again");
}

#[tokio::test]
async fn what_upstream_loses_is_read_from_the_views() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let mut watching = Watching::open(&streams(&world), None, post, None).await.unwrap();
    let row = world.new_comment(post, bob, "lost");
    world.engage_silently(post, World::added(row)).await;
    world.live.deliver(Channel::Post(post), Delivery::Lost);
    world.comment(post, bob, "not lost").await;
    assert_eq!(watching.news().await.unwrap().short().2, "lost", "L1");
    assert_eq!(watching.news().await.unwrap().short().2, "not lost");
    world.comment(post, bob, "next").await;
    assert_eq!(watching.news().await.unwrap().short().2, "next", "and neither is told twice");
}

#[tokio::test]
async fn a_stream_that_cannot_read_what_it_missed_ends() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let mut watching = Watching::open(&streams(&world), None, post, None).await.unwrap();
    world.comment(post, bob, "seen").await;
    watching.news().await.unwrap();
    let row = world.new_comment(post, bob, "lost");
    world.engage_silently(post, World::added(row)).await;
    world.calls.fail(true);
    world.live.deliver(Channel::Post(post), Delivery::Lost);
    assert_eq!(watching.event().await, None, "it ends, so that the client resumes: never a silent gap");
    world.calls.fail(false);
    let back = Watching::open(&streams(&world), None, post, watching.last_event_id.as_deref()).await;
    assert_eq!(back.unwrap().news().await.unwrap().short().2, "lost");
}

#[tokio::test]
async fn when_upstream_ends_streams_end_and_the_next_subscribes_anew() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let streams = streams(&world);
    let watching = Watching::open(&streams, None, post, None).await.unwrap();
    world.live.shut_down();
    assert_eq!(watching.rest().await.len(), 1, "the likes, and then the end");
    let mut again = Watching::open(&streams, None, post, None).await.unwrap();
    world.comment(post, bob, "hello").await;
    assert_eq!(again.news().await.unwrap().short().2, "hello");
}

#[tokio::test]
async fn a_deleted_post_is_told_once_and_then_not_there() {
    let world = World::new().await;
    let (ada, bob, post) = post_of_ada(&world).await;
    let streams = streams(&world);
    let before = world.position(post, world.next_offset());
    world.comment(post, bob, "last words").await;
    let watching = Watching::open(&streams, None, post, None).await.unwrap();
    world.delete_post(post, ada).await;
    let rest = watching.rest().await;
    let ends: Vec<_> = rest.iter().map(super::watching::Told::short).collect();
    let deleted = ends[1].1;
    assert_eq!(ends, [("LIKES", None, ""), ("POST_DELETED", deleted, "")], "and the stream ends");

    assert!(Watching::open(&streams, None, post, None).await.is_none(), "nothing is there for those who come anew");
    let resumed = Watching::open(&streams, None, post, Some(&before)).await.unwrap().rest().await;
    assert!(resumed.iter().any(|told| told.event == "POST_DELETED" && told.id == deleted));
    let told_already = world.position(post, deleted.unwrap());
    assert!(Watching::open(&streams, None, post, Some(&told_already)).await.is_none());
    assert!(Watching::open(&streams, None, post, Some("nonsense")).await.is_none());
    world.block(ada, bob).await;
    assert!(Watching::open(&streams, Some(bob), post, Some(&before)).await.is_none(), "R3, to the end");
}

#[tokio::test]
async fn a_deletion_that_the_projection_has_not_seen_yet_is_still_told() {
    let world = World::new().await;
    let (ada, bob, post) = post_of_ada(&world).await;
    world.comment(post, bob, "before").await;
    let since = world.position(post, 0);
    world.erase_post(post, ada).await;
    let watching = Watching::open(&streams(&world), Some(bob), post, Some(&since)).await.unwrap();
    world
        .engage(post, |rows, offset| {
            rows.post.sequence = 2;
            rows.post.changed = offset;
            rows.post.deleted = true;
            Some(News::PostDeleted)
        })
        .await;
    assert_eq!(watching.rest().await.last().unwrap().event, "POST_DELETED");
}

#[tokio::test]
async fn who_may_not_see_a_post_may_not_watch_it() {
    let world = World::new().await;
    let (ada, bob, public) = post_of_ada(&world).await;
    let streams = streams(&world);
    let for_followers = world.publish_to(ada, "text", Visibility::Followers, true).await;
    for viewer in [None, Some(bob)] {
        assert!(Watching::open(&streams, viewer, for_followers, None).await.is_none());
        assert!(Watching::open(&streams, viewer, world.new_post_id(), None).await.is_none());
    }
    assert!(Watching::open(&streams, Some(ada), for_followers, None).await.is_some());
    world.follow(bob, ada).await;
    assert!(Watching::open(&streams, Some(bob), for_followers, None).await.is_some());
    world.block(ada, bob).await;
    assert!(Watching::open(&streams, Some(bob), for_followers, None).await.is_none());
    assert!(Watching::open(&streams, Some(bob), public, None).await.is_none());
    assert!(Watching::open(&streams, None, public, None).await.is_some());
}

#[tokio::test]
async fn a_stream_ends_when_its_viewer_may_no_longer_see_the_post() {
    let world = World::new().await;
    let (ada, bob, public) = post_of_ada(&world).await;
    let streams = streams(&world);
    let for_followers = world.publish_to(ada, "text", Visibility::Followers, true).await;
    world.follow(bob, ada).await;
    let one = Watching::open(&streams, Some(bob), for_followers, None).await.unwrap();
    let mut other = Watching::open(&streams, Some(bob), public, None).await.unwrap();
    world.unfollow(bob, ada).await;
    world.comment(for_followers, ada, "not for bob any more").await;
    assert_eq!(one.rest().await.len(), 1, "only the likes at the beginning");
    world.comment(public, ada, "for all").await;
    assert_eq!(other.news().await.unwrap().short().2, "for all", "what is public goes on");
    world.edge(ada, bob, EdgeField::Blocking(true)).await;
    world.comment(public, ada, "not for bob").await;
    assert_eq!(other.event().await, None, "until a block");
}

#[tokio::test]
async fn a_lost_word_on_relations_is_looked_up() {
    let world = World::new().await;
    let (ada, bob, post) = post_of_ada(&world).await;
    let mut watching = Watching::open(&streams(&world), Some(bob), post, None).await.unwrap();
    watching.event().await.unwrap();
    let change = adapters::views::EdgeChange { from: ada, to: bob, what: EdgeField::Blocking(true), sequence: 9 };
    world.ports.views.write_edges(super::world::GENERATION, &[change]).await.unwrap();
    world.live.deliver(Channel::Viewer(bob), Delivery::Lost);
    assert_eq!(watching.event().await, None);
}

#[tokio::test]
async fn whom_a_block_keeps_apart_is_not_heard() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let (eve, kim) = (world.person("eve").await, world.person("kim").await);
    world.block(bob, eve).await;
    world.block(kim, bob).await;
    let streams = streams(&world);
    let since = world.position(post, world.next_offset());
    let mut of_bob = Watching::open(&streams, Some(bob), post, None).await.unwrap();
    let mut of_eve = Watching::open(&streams, Some(eve), post, None).await.unwrap();
    let by_eve = world.comment(post, eve, "by eve").await;
    world.comment(post, kim, "by kim").await;
    world.change_comment(post, by_eve, Some("by eve, edited")).await;
    world.comment(post, bob, "by bob").await;
    world.comment(post, kim, "by kim again").await;
    world.change_comment(post, by_eve, None).await;
    assert_eq!(of_bob.news().await.unwrap().short().2, "by bob", "R3, either way");
    let heard = [of_eve.news().await.unwrap(), of_eve.news().await.unwrap(), of_eve.news().await.unwrap()];
    assert_eq!(heard.map(|told| told.short().2.to_owned()), ["by eve", "by kim", "by eve, edited"]);

    let mut resumed = Watching::open(&streams, Some(bob), post, Some(&since)).await.unwrap();
    assert_eq!(resumed.event().await.unwrap().short().2, "by bob");
    assert_eq!(resumed.event().await.unwrap().event, "LIKES");
    // A new block works at once, on a stream that is open.
    world.block(bob, kim).await;
    world.edge(kim, bob, EdgeField::Blocking(false)).await;
    world.comment(post, kim, "unheard").await;
    world.edge(bob, kim, EdgeField::Blocking(false)).await;
    world.live.deliver(Channel::Post(post), Delivery::Lost);
    world.comment(post, kim, "heard").await;
    let mut last = String::new();
    while last != "heard" {
        last = resumed.news().await.unwrap().short().2.to_owned();
    }
}

#[tokio::test]
async fn streams_end_with_the_access_token() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    tokio::time::pause();
    let watcher = Watcher { user: Some(bob), remaining: Some(Duration::from_secs(61)) };
    let mut watching = Watching::open_for(&streams(&world), watcher, post, None).await.unwrap();
    let started = tokio::time::Instant::now();
    while watching.text().await.is_some() {}
    assert_eq!(started.elapsed().as_secs(), 61);
}

#[tokio::test]
async fn a_sign_of_life_comes_every_fifteen_seconds() {
    let world = World::new().await;
    let (_, _, post) = post_of_ada(&world).await;
    tokio::time::pause();
    let mut watching = Watching::open(&streams(&world), None, post, None).await.unwrap();
    watching.text().await.unwrap();
    let started = tokio::time::Instant::now();
    for beat in 1..4u64 {
        assert_eq!(watching.text().await.unwrap(), ":\n\n");
        assert_eq!(started.elapsed().as_secs(), beat * 15);
    }
}

#[tokio::test]
async fn likes_are_gathered_and_told_when_they_have_changed() {
    let world = World::new().await;
    let (_, _, post) = post_of_ada(&world).await;
    tokio::time::pause();
    let mut watching = Watching::open(&streams(&world), None, post, None).await.unwrap();
    assert_eq!(watching.event().await.unwrap().data, json!({"likes": 0}));
    let like = |position, likes| {
        let message = Message { position, news: News::NewLike { likes } };
        world.live.deliver(Channel::Post(post), Delivery::Message(message));
    };
    let started = tokio::time::Instant::now();
    for likes in 1..=505u16 {
        like(100 + i64::from(likes), u64::from(likes));
        if likes % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(watching.event().await.unwrap().data, json!({"likes": 505}), "once, and absolute");
    assert_eq!(started.elapsed().as_secs(), 2);
    // Up and down again within the time: nothing to tell.
    like(700, 506);
    like(701, 505);
    // Older than what is known: nothing to tell either.
    assert_eq!(watching.text().await.unwrap(), ":\n\n");
    like(702, 504);
    let told = watching.event().await.unwrap();
    assert_eq!((told.data, told.id), (json!({"likes": 504}), None));
}

#[tokio::test]
async fn likes_older_than_the_snapshot_are_not_told() {
    let world = World::new().await;
    let (ada, bob, post) = post_of_ada(&world).await;
    let streams = streams(&world);
    let keeps_it_open = Watching::open(&streams, None, post, None).await.unwrap();
    world.like(post, ada).await;
    world.like(post, bob).await;
    let late = Message { position: 1, news: News::NewLike { likes: 1 } };
    tokio::time::pause();
    let mut watching = Watching::open(&streams, None, post, None).await.unwrap();
    assert_eq!(watching.event().await.unwrap().data, json!({"likes": 2}));
    world.live.deliver(Channel::Post(post), Delivery::Message(late));
    assert_eq!(watching.text().await.unwrap(), ":\n\n", "never backwards");
    drop(keeps_it_open);
}

#[tokio::test]
async fn a_stream_is_small() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let streams = streams(&world);
    let watcher = Watcher { user: Some(bob), remaining: None };
    let stream = streams.open(streams.enter().unwrap(), watcher, post, None).await.unwrap().unwrap();
    assert!(size_of_val(&stream) < 2 * 1024, "{} bytes", size_of_val(&stream));
}

#[tokio::test]
async fn streams_end_at_shutdown() {
    let world = World::new().await;
    let (_, bob, post) = post_of_ada(&world).await;
    let shutdown = CancellationToken::new();
    let streams = streams_until(&world, shutdown.clone());
    let one = Watching::open(&streams, None, post, None).await.unwrap();
    let other = Watching::open(&streams, Some(bob), post, None).await.unwrap();
    shutdown.cancel();
    assert_eq!((one.rest().await.len(), other.rest().await.len()), (1, 1), "the likes, and then the end");
    assert_eq!(streams.watched_posts(), 0);
}
