//! Comments: on what can be seen, in reply to what can be seen, edited by their authors, deleted by either author.

use domain::StreamId;
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn a_comment_is_added_and_answered() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    let path = format!("/v1/posts/{post}/comments");
    let reply = bob.post(&path, json!({ "text": "a <b>\r\nb" })).await.expect(201);
    let id = reply.text("id");
    let created_at = reply.text("created_at");
    assert_eq!(reply.body, json!({ "id": id, "post_id": post, "version": 1, "created_at": created_at }));
    assert_eq!(reply.header("location"), Some(format!("/v1/comments/{id}").as_str()));
    assert_eq!(reply.header("etag"), Some("\"1\""));
    assert!(reply.header("consistency-token").is_some());
    ada.post(&path, json!({ "text": "thanks", "parent_id": id })).await.expect(201);
    assert!(!format!("{:?}", world.log().await).contains("thanks"), "E2");

    // What cannot be answered: unknown, of another post, deleted.
    let elsewhere = ada.publish("other").await;
    let of_other = bob.comment(elsewhere, "there").await;
    let gone = bob.comment(post, "gone").await;
    bob.delete(&format!("/v1/comments/{gone}")).await.expect(204);
    let before = world.everything().await;
    for parent in [of_other, gone, post.to_string()] {
        let reply = ada.post(&path, json!({ "text": "x", "parent_id": parent })).await;
        reply.refused(404, "not_found").at("parent_id");
    }
    ada.post(&path, json!({ "text": "x", "parent_id": "x" })).await.refused(422, "invalid_field").at("parent_id");
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn nobody_answers_those_whom_a_block_hides() {
    let world = World::together().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let post = ada.publish("hello").await;
    let of_bob = bob.comment(post, "hi").await;
    bob.block(&eve).await.expect(204);
    let before = world.everything().await;
    let path = format!("/v1/posts/{post}/comments");
    eve.post(&path, json!({ "text": "x", "parent_id": of_bob })).await.refused(404, "not_found").at("parent_id");
    // To touch what is not there for one is to be told that it is not there.
    eve.delete(&format!("/v1/comments/{of_bob}")).await.refused(404, "not_found");
    eve.edit(&format!("/v1/comments/{of_bob}"), "\"1\"", json!({ "text": "x" })).await.refused(404, "not_found");
    assert_eq!(world.everything().await, before);
    eve.post(&path, json!({ "text": "to all" })).await.expect(201);
}

#[tokio::test]
async fn a_comment_is_edited_by_its_author_who_knows_the_version() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    let id = bob.comment(post, "one").await;
    let path = format!("/v1/comments/{id}");
    let reply = bob.edit(&path, "\"1\"", json!({ "text": "two" })).await.expect(200);
    assert_eq!((&reply.body["version"], &reply.body["post_id"]), (&json!(2), &json!(post)));
    assert!(reply.body["edited_at"].is_string());
    assert_eq!(reply.header("etag"), Some("\"2\""));
    let before = world.everything().await;
    bob.edit(&path, "\"1\"", json!({ "text": "three" })).await.refused(412, "stale");
    bob.send("PUT", &path, &[], Some(json!({ "text": "x" }))).await.refused(428, "precondition_required");
    // Also the post's author may not put words into others' mouths.
    ada.edit(&path, "\"2\"", json!({ "text": "x" })).await.refused(403, "not_yours");
    assert_eq!(bob.edit(&path, "\"2\"", json!({ "text": "two" })).await.expect(200).answer(), reply.answer());
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn a_comment_is_deleted_by_its_author_or_the_posts() {
    let world = World::together().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let post = ada.publish("hello").await;
    let (first, second, third) =
        (bob.comment(post, "1").await, bob.comment(post, "2").await, bob.comment(post, "3").await);
    let path = |id: &str| format!("/v1/comments/{id}");
    let before = world.everything().await;
    eve.delete(&path(&first)).await.refused(403, "not_yours");
    assert_eq!(world.everything().await, before);
    bob.delete(&path(&first)).await.expect(204);
    ada.delete(&path(&second)).await.expect(204);
    // One's own words can be taken back whatever has become of the post.
    ada.block(&bob).await.expect(204);
    ada.delete(&format!("/v1/posts/{post}")).await.expect(204);
    bob.delete(&path(&third)).await.expect(204);
    let before = world.everything().await;
    for id in [&first, &second, &third] {
        bob.delete(&path(id)).await.refused(404, "not_found");
        bob.edit(&path(id), "\"2\"", json!({ "text": "x" })).await.refused(404, "not_found");
    }
    assert_eq!(world.everything().await, before);
    let states = world.content.states(&[StreamId::Comment(first.parse().unwrap())]).await.unwrap();
    assert!(states[0].as_ref().unwrap().state.contains("deleted"));
}
