//! Publish, edit with `If-Match`, delete; raw and rendered text are kept, and nothing is left of what is deleted.

use adapters::content::Preview;
use domain::StreamId;
use domain::post::Post;
use serde_json::json;

use super::world::{Person, World};

async fn state(world: &World, post: &str) -> Post {
    let states = world.content.states(&[StreamId::Post(post.parse().unwrap())]).await.unwrap();
    serde_json::from_str(&states[0].as_ref().unwrap().state).unwrap()
}

async fn preview(world: &World, post: &str) -> Option<Preview> {
    let previews = world.content.previews(&[post.parse().unwrap()]).await.unwrap();
    let stored = previews[0].as_ref()?;
    stored.preview.as_ref().map(|preview| serde_json::from_str(preview).unwrap())
}

#[tokio::test]
async fn a_post_is_published_with_what_is_shown_of_it() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let body = json!({ "title": "On *Engines*", "markdown": "hello *world*", "visibility": "followers" });
    let reply = ada.post("/v1/posts", body).await.expect(201);
    let id = reply.text("id");
    let created_at = reply.text("created_at");
    assert_eq!(reply.body, json!({ "id": id, "version": 1, "created_at": created_at }));
    assert_eq!(reply.header("location"), Some(format!("/v1/posts/{id}").as_str()));
    assert_eq!(reply.header("etag"), Some("\"1\""));
    assert!(reply.header("consistency-token").is_some());
    let rendered = world.content.rendered(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((rendered.renderer, rendered.html.trim()), (1, "<p>hello <em>world</em></p>"));
    let preview = serde_json::to_value(preview(&world, &id).await.unwrap()).unwrap();
    let expected = json!({
        "id": id, "author_id": ada.id, "title": "On *Engines*", "text": "hello world", "truncated": false,
        "visibility": "followers", "created_at": created_at, "edited_at": null, "version": 1,
    });
    assert_eq!(preview, expected);
    // E2: neither the text nor what follows from it is in the log.
    let log = format!("{:?}", world.log().await);
    assert!(!log.contains("world") && !log.contains("Engines") && !log.contains("<em>"));
}

#[tokio::test]
async fn an_edit_needs_the_present_version() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let id = ada.publish("one").await;
    let path = format!("/v1/posts/{id}");
    let reply = ada.edit(&path, "\"1\"", json!({ "markdown": "two" })).await.expect(200);
    assert_eq!((&reply.body["id"], &reply.body["version"]), (&json!(id), &json!(2)));
    assert!(reply.body["edited_at"].is_string());
    assert_eq!(reply.header("etag"), Some("\"2\""));
    assert_eq!(reply.header("location"), None);
    let shown = preview(&world, &id.to_string()).await.unwrap();
    assert_eq!((shown.text.as_str(), shown.version), ("two", 2));
    assert!(world.content.rendered(id).await.unwrap().unwrap().html.contains("two"));

    let before = world.everything().await;
    let body = json!({ "markdown": "three" });
    for stale in ["\"1\"", "\"3\"", "\"0\"", "W/\"2\"", "\"02\"", "\"x\"", "\"\"", "\"1\", \"3\""] {
        ada.edit(&path, stale, body.clone()).await.refused(412, "stale");
    }
    for malformed in ["2", "\"2", "", "\"2\" \"3\" x"] {
        ada.edit(&path, malformed, body.clone()).await.refused(422, "invalid_field").at("If-Match");
    }
    ada.send("PUT", &path, &[], Some(body.clone())).await.refused(428, "precondition_required").at("If-Match");
    // The same text again changes nothing, and says so.
    let same = ada.edit(&path, "\"2\"", json!({ "markdown": "two" })).await.expect(200);
    assert_eq!(same.answer(), reply.answer());
    assert!(same.header("consistency-token").is_some());
    assert_eq!(world.everything().await, before);

    ada.edit(&path, "\"1\", \"2\"", body).await.expect(200);
    ada.edit(&path, "*", json!({ "title": "T", "markdown": "four" })).await.expect(200);
    assert_eq!(preview(&world, &id.to_string()).await.unwrap().title.unwrap().as_str(), "T");
}

#[tokio::test]
async fn of_edits_at_once_on_one_version_one_happens() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let path = format!("/v1/posts/{}", ada.publish("one").await);
    let edits = (0..8).map(|number| {
        let (ada, path) = (ada.clone(), path.clone());
        async move { ada.edit(&path, "\"1\"", json!({ "markdown": format!("two {number}") })).await.status }
    });
    let mut statuses = futures::future::join_all(edits).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [[200].as_slice(), &[412; 7]].concat(), "W2");
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_post() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let id = ada.publish("secret words").await;
    let path = format!("/v1/posts/{id}");
    let reply = ada.delete(&path).await.expect(204);
    assert!(reply.header("consistency-token").is_some());
    assert_eq!(state(&world, &id.to_string()).await, Post::Deleted { author: ada.id });
    assert_eq!(preview(&world, &id.to_string()).await, None);
    let rendered = world.content.rendered(id).await.unwrap().unwrap();
    assert_eq!((rendered.html.as_str(), rendered.preview), ("", None));
    let before = world.everything().await;
    ada.delete(&path).await.refused(404, "not_found");
    ada.edit(&path, "\"2\"", json!({ "markdown": "back" })).await.refused(404, "not_found");
    ada.put(&format!("{path}/like")).await.refused(404, "not_found");
    ada.post(&format!("{path}/comments"), json!({ "text": "x" })).await.refused(404, "not_found");
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn others_posts_are_others_if_they_can_be_seen() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let public = ada.publish("public").await;
    let hidden = ada.publish_to("followers", "hidden").await;
    let before = world.everything().await;
    let touch = async |who: &Person, post| {
        let path = format!("/v1/posts/{post}");
        let edited = who.edit(&path, "\"1\"", json!({ "markdown": "mine" })).await;
        (edited, who.delete(&path).await)
    };
    let (edited, deleted) = touch(&bob, public).await;
    edited.refused(403, "not_yours");
    deleted.refused(403, "not_yours");
    let (edited, deleted) = touch(&bob, hidden).await;
    edited.refused(404, "not_found");
    deleted.refused(404, "not_found");
    // Staleness is no way to learn anything either.
    let reply = bob.edit(&format!("/v1/posts/{public}"), "\"9\"", json!({ "markdown": "mine" })).await;
    reply.refused(403, "not_yours");
    assert_eq!(world.everything().await, before);
}
