//! Likes: repeatable, of what can be seen, and few store calls each.

use domain::{PostId, StreamId};
use futures::future::join_all;

use super::faults::{Crashing, Moment};
use super::world::{Person, World};

fn path(post: PostId) -> String {
    format!("/v1/posts/{post}/like")
}

#[tokio::test]
async fn liking_twice_is_liking_once_and_both_answers_cover_it() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    let first = bob.put(&path(post)).await.expect(204);
    let before = world.everything().await;
    let again = bob.put(&path(post)).await.expect(204);
    assert_eq!(world.everything().await, before);
    assert!(first.header("consistency-token").is_some());
    assert_eq!(first.header("consistency-token"), again.header("consistency-token"));
    bob.delete(&path(post)).await.expect(204);
    bob.delete(&path(post)).await.expect(204);
    bob.put(&path(post)).await.expect(204);
    // One's own post, too.
    ada.put(&path(post)).await.expect(204);
    let events = world.events().await;
    assert_eq!((events["reaction.liked"], events["reaction.unliked"]), (3, 1));
}

#[tokio::test]
async fn what_cannot_be_seen_cannot_be_liked() {
    let world = World::together().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let public = ada.publish("public").await;
    let hidden = ada.publish_to("followers", "hidden").await;
    bob.follow(&ada).await.expect(204);
    ada.block(&eve).await.expect(204);
    let before = world.everything().await;
    let refused = async |who: &Person, post: PostId| {
        who.put(&path(post)).await.refused(404, "not_found");
        who.delete(&path(post)).await.refused(404, "not_found");
        let text = serde_json::json!({ "text": "x" });
        who.post(&format!("/v1/posts/{post}/comments"), text).await.refused(404, "not_found");
    };
    refused(&eve, public).await;
    refused(&eve, hidden).await;
    assert_eq!(world.everything().await, before);
    bob.put(&path(hidden)).await.expect(204);
    ada.put(&path(hidden)).await.expect(204);
    bob.delete(&format!("/v1/users/{}/follow", ada.id)).await.expect(204);
    refused(&bob, hidden).await;
    refused(&bob, PostId::MAX).await;
    // A block from the other side, too.
    bob.block(&ada).await.expect(204);
    refused(&bob, public).await;
}

#[tokio::test]
async fn many_likes_of_one_person_at_once_are_one() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    let path = path(post);
    for reply in join_all((0..16).map(|_| bob.put(&path))).await {
        reply.expect(204);
    }
    assert_eq!(world.events().await["reaction.liked"], 1);
    assert_eq!(world.sequence(StreamId::Reaction(post, bob.id)).await, 1);
}

#[tokio::test]
async fn a_like_takes_two_reads_a_load_and_a_commit() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    let mut calls = Vec::new();
    for at in 0.. {
        let content = Crashing::new(world.content.clone(), at, Moment::Before);
        let dying = world.with(content.clone(), world.event_log.clone());
        bob.at(&dying).put(&path(post)).await;
        let Some(call) = content.ended_in() else { break };
        calls.push(call);
    }
    assert_eq!(calls, ["previews", "states", "load", "commit"]);
}

#[tokio::test]
async fn a_writer_that_meets_others_again_and_again_gives_way() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    let contested =
        |conflicts| world.with(Crashing::contested(world.content.clone(), conflicts), world.event_log.clone());
    let before = world.everything().await;
    bob.at(&contested(16)).put(&path(post)).await.refused(409, "conflict");
    assert_eq!(world.everything().await, before);
    // W2: each time it is decided again, on what is there by then.
    bob.at(&contested(15)).put(&path(post)).await.expect(204);
    bob.at(&contested(15)).delete(&path(post)).await.expect(204);
    assert_eq!(world.sequence(StreamId::Reaction(post, bob.id)).await, 2);
}
