//! Counts of what is new, and why a post is, or is not, in a feed.

use adapters::timelines::Entry;
use domain::post::Visibility;
use domain::{PostId, StreamId, UserId};
use http::StatusCode;
use serde_json::{Value, json};

use super::http_client::Client;
use super::world::{GENERATION, World, partition_of};
use crate::explain::{Explanation, RuleName, explanation};

async fn why(world: &World, viewer: UserId, post: PostId) -> Explanation {
    explanation(&world.ports, viewer, post).await.unwrap()
}

/// The first rule that is not passed, with its detail.
fn kept_out(explanation: &Explanation) -> (RuleName, &str) {
    assert!(!explanation.in_feed);
    let rule = explanation.rules.iter().find(|rule| !rule.passed).unwrap();
    (rule.rule, &rule.detail)
}

fn detail(explanation: &Explanation, name: RuleName) -> &str {
    &explanation.rules.iter().find(|rule| rule.rule == name).unwrap().detail
}

#[tokio::test]
async fn the_events_that_put_a_post_there_are_named() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    world.unfollow(ada, bob).await;
    world.follow(ada, bob).await;
    let post = world.publish(bob, "words").await;
    let reply = Client::new(&world).by(ada).get(&format!("/v1/feed/explain?post={post}")).await;
    assert_eq!(reply.status, StatusCode::OK);
    let explanation: Explanation = serde_json::from_str(&reply.text).unwrap();
    assert_eq!((explanation.post, explanation.author, explanation.in_feed), (post, Some(bob), true));
    let names: Vec<RuleName> = explanation.rules.iter().map(|rule| rule.rule).collect();
    let all = [RuleName::Visible, RuleName::Followed, RuleName::NotMuted, RuleName::Projected, RuleName::Listed];
    assert_eq!(names, all);
    let row = world.ports.timelines.scan_authors(GENERATION, None, 1).await.unwrap()[0];
    let visible = &explanation.rules[0];
    assert_eq!((visible.stream, visible.sequence), (Some(StreamId::Post(post)), Some(1)));
    assert_eq!(visible.position, Some(world.position(post, row.offset)));
    let followed = &explanation.rules[1];
    assert_eq!((followed.stream, followed.sequence), (Some(StreamId::relation(ada, bob)), Some(3)));
    assert_eq!(detail(&explanation, RuleName::Listed), "it is stored in your feed");

    let own = world.publish(ada, "mine").await;
    let own = why(&world, ada, own).await;
    assert!(own.in_feed && detail(&own, RuleName::Followed) == "you wrote it");
}

#[tokio::test]
async fn posts_that_are_merged_say_so() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    let old = world.publish(bob, "old").await;
    world.publish(bob, "newer").await;
    world.ports.timelines.trim(GENERATION, ada, 1, 1).await.unwrap();
    world.ports.views.mark_hot(GENERATION, &[bob]).await.unwrap();
    let hot = world.publish_hot(bob, "hot").await;
    let (of_old, of_hot) = (why(&world, ada, old).await, why(&world, ada, hot).await);
    assert!(of_old.in_feed && detail(&of_old, RuleName::Listed).starts_with("it is older than what is stored"));
    assert!(of_hot.in_feed && detail(&of_hot, RuleName::Listed).starts_with("its author has many followers"));
}

#[tokio::test]
async fn the_rule_that_keeps_a_post_out_is_named() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let post = world.publish(bob, "words").await;
    assert_eq!(kept_out(&why(&world, ada, post).await), (RuleName::Followed, "you do not follow its author"));
    world.follow(ada, bob).await;
    assert!(why(&world, ada, post).await.in_feed);
    world.unfollow(ada, bob).await;
    let unfollowed = why(&world, ada, post).await;
    assert_eq!((kept_out(&unfollowed).0, unfollowed.rules[1].sequence), (RuleName::Followed, Some(2)));

    // Not projected yet, and then on its way.
    world.follow(ada, bob).await;
    let late = world.new_post_id();
    world.write_post(late, bob, "late", Visibility::Public).await;
    let (rule, told) = (RuleName::Projected, "the log does not have it yet");
    assert_eq!(kept_out(&why(&world, ada, late).await), (rule, told));
    let offset = world.next_offset();
    let entry = Entry { post: late, author: bob, partition: partition_of(offset), offset };
    world.list_author(entry).await;
    assert_eq!(kept_out(&why(&world, ada, late).await), (RuleName::Listed, "it is on its way into your feed"));
    world.list_homes(entry, &[ada, bob]).await;
    assert!(why(&world, ada, late).await.in_feed);

    // Parked: it waits for an operator.
    let parked = world.new_post_id();
    world.write_post(parked, bob, "parked", Visibility::Public).await;
    world.park(parked).await;
    let explanation = why(&world, ada, parked).await;
    assert!(kept_out(&explanation).1.contains("waits for an operator"), "{explanation:?}");
    assert!(why(&world, eve, parked).await.rules[1].rule == RuleName::Followed);

    world.delete_post(post, bob).await;
    let deleted = why(&world, ada, post).await;
    assert_eq!((kept_out(&deleted).1, deleted.author), ("the post was deleted", Some(bob)));
}

/// R3: what is not for the viewer to see does not even exist.
#[tokio::test]
async fn nobody_learns_more_than_they_may_see() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.follow(ada, bob).await;
    let for_followers = world.publish_to(bob, "among us", Visibility::Followers, true).await;
    let public = world.publish(bob, "for all").await;
    let gone = world.publish_to(bob, "gone", Visibility::Followers, true).await;
    world.delete_post(gone, bob).await;
    assert!(why(&world, ada, for_followers).await.in_feed);
    assert_eq!(why(&world, eve, public).await.author, Some(bob));
    let unknown = why(&world, eve, world.new_post_id()).await;
    assert_eq!((unknown.author, unknown.rules.len(), kept_out(&unknown).0), (None, 1, RuleName::Visible));
    for hidden in [for_followers, gone] {
        assert_eq!(why(&world, eve, hidden).await, Explanation { post: hidden, ..unknown.clone() });
    }
    world.block(bob, ada).await;
    world.block(eve, bob).await;
    for (viewer, post) in [(ada, public), (ada, for_followers), (ada, gone), (eve, public)] {
        assert_eq!(why(&world, viewer, post).await, Explanation { post, ..unknown.clone() });
    }
}

#[tokio::test]
async fn what_is_newer_than_a_page_is_counted_up_to_a_hundred() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.follow(ada, bob).await;
    world.publish(bob, "on the page").await;
    let client = Client::new(&world).by(ada);
    let page = client.get("/v1/feed?limit=1").await.body;
    let newest = page["newest"].as_str().unwrap();
    let count = async || client.get(&format!("/v1/feed/count?after={newest}")).await.body;
    assert_eq!(count().await, json!({"count": 0, "more": false}));
    let mut posts = Vec::new();
    for _ in 0..99 {
        posts.push(world.publish(bob, "newer").await);
        world.publish(eve, "not for ada").await;
    }
    world.publish(ada, "my own").await;
    assert_eq!(count().await, json!({"count": 100, "more": false}));
    world.calls.take();
    world.publish(bob, "one more").await;
    world.calls.take();
    assert_eq!(count().await, json!({"count": 100, "more": true}));
    assert!(world.calls.take().values().sum::<usize>() <= 4, "R2, and no authors and numbers for nobody to see");
    for post in &posts[..50] {
        world.delete_post(*post, bob).await;
    }
    assert_eq!(count().await, json!({"count": 51, "more": false}));
    world.unfollow(ada, bob).await;
    assert_eq!(count().await, json!({"count": 1, "more": false}));
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    world.publish(ada, "words").await;
    let anonymous = Client::new(&world);
    let client = anonymous.by(ada);
    let page = client.get(&format!("/v1/users/{ada}/posts")).await.body;
    let of_another_list = page["newest"].as_str().unwrap();
    let code = |body: &Value| (body["code"].as_str().unwrap().to_owned(), body["field"].as_str().map(str::to_owned));
    for (path, status, expected, field) in [
        ("/v1/feed/count".to_owned(), 422, "invalid_field", Some("after")),
        (format!("/v1/feed/count?after={of_another_list}"), 400, "invalid_cursor", Some("after")),
        ("/v1/feed/count?after=x&limit=5".to_owned(), 422, "invalid_field", Some("limit")),
        ("/v1/feed/explain".to_owned(), 422, "invalid_field", Some("post")),
        ("/v1/feed/explain?post=1".to_owned(), 422, "invalid_field", Some("post")),
        ("/v1/feed/stream?from=1".to_owned(), 422, "invalid_field", Some("from")),
    ] {
        let reply = client.get(&path).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.text);
        assert_eq!(code(&reply.body), (expected.to_owned(), field.map(str::to_owned)), "{path}");
        assert_eq!(anonymous.get(&path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}
