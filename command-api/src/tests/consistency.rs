//! Tokens of commands: what they name is what was written (W7 begins here).

use adapters::http::consistency::Token;
use domain::{Lane, StreamId};

use super::world::World;

#[tokio::test]
async fn a_token_names_the_place_of_the_last_event() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    ada.follow(&bob).await.expect(204);
    // A block of somebody who is followed is two events: the token names the second.
    let reply = ada.block(&bob).await.expect(204);
    let stream = StreamId::relation(ada.id, bob.id);
    let published = world.content.published(stream).await.unwrap().unwrap();
    assert_eq!(published.sequence, 3);
    let token = Token::at(published.position, Lane::pair(ada.id, bob.id));
    assert_eq!(reply.header("consistency-token"), Some(token.to_string().as_str()));
}

#[tokio::test]
async fn a_comments_token_is_in_its_posts_lane() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let post = ada.publish("hello").await;
    let comment: domain::CommentId = ada.comment(post, "hi").await.parse().unwrap();
    let path = format!("/v1/comments/{comment}");
    let body = serde_json::json!({ "text": "hi" });
    // An edit that changes nothing covers what is there.
    let reply = ada.edit(&path, "\"1\"", body).await.expect(200);
    let published = world.content.published(StreamId::Comment(comment)).await.unwrap().unwrap();
    let token = Token::at(published.position, Lane::post(post));
    assert_eq!(reply.header("consistency-token"), Some(token.to_string().as_str()));
    let deleted = ada.delete(&path).await.expect(204);
    assert_ne!(deleted.header("consistency-token"), reply.header("consistency-token"));
}

#[tokio::test]
async fn the_trace_of_a_request_is_in_its_events() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let reply = ada.post("/v1/posts", serde_json::json!({ "markdown": "hello" })).await.expect(201);
    let trace = reply.header("x-trace-id").unwrap();
    let log = world.log().await;
    let published = log.iter().find(|record| record.attributes.schema.kind == "post.published").unwrap();
    assert_eq!(published.attributes.correlation.to_string().replace('-', ""), trace);
    assert_eq!(published.attributes.actor, ada.id);
}
