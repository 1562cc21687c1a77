//! W4: the same key and body get the same answer and have one effect, wherever a former attempt ended.

use std::sync::Arc;

use adapters::content::{CLAIM_LIFE_MILLIS, Commit};
use adapters::http::clock::now;
use domain::StreamId;
use futures::future::join_all;
use serde_json::{Value, json};

use super::faults::{Crashing, Moment};
use super::world::{PASSWORD, Person, Reply, World};

/// A command that can carry a key, and what is left of it once it is done.
struct Story {
    world: World,
    actor: Option<Person>,
    path: String,
    body: Value,
    event: &'static str,
}

impl Story {
    async fn of(name: &str, world: World) -> Self {
        let (actor, path, body, event) = match name {
            "account" => {
                let body = json!({ "username": "grace", "password": PASSWORD });
                (None, "/v1/accounts".to_owned(), body, "user.registered")
            }
            "post" => {
                let ada = world.person("ada").await;
                (Some(ada), "/v1/posts".to_owned(), json!({ "markdown": "hello *world*" }), "post.published")
            }
            _ => {
                let (ada, bob) = (world.person("ada").await, world.person("bob").await);
                let post = ada.publish("hello").await;
                (Some(bob), format!("/v1/posts/{post}/comments"), json!({ "text": "well said" }), "comment.added")
            }
        };
        Self { world, actor, path, body, event }
    }

    async fn send_to(&self, world: &World, body: &Value) -> Reply {
        match &self.actor {
            Some(actor) => actor.at(world).post_once(&self.path, "k1", body.clone()).await,
            None => world.post(&self.path, &[("idempotency-key", "k1")], body.clone()).await,
        }
    }

    async fn count(&self) -> usize {
        // Where an outbox does the work, what it holds is as good as in the log.
        let mut ids = std::collections::HashSet::new();
        let mut records = Vec::new();
        for (stream, _) in self.world.content.scan(None, 1000).await.unwrap() {
            records.extend(self.world.content.outbox(stream).await.unwrap());
        }
        // Afterwards: what leaves an outbox meanwhile is there by then.
        records.extend(self.world.log().await);
        records.retain(|record| record.attributes.schema.kind == self.event && ids.insert(record.attributes.id));
        records.len()
    }
}

async fn ends_at_every_step(name: &str, apart: bool) {
    let mut steps = Vec::new();
    for at in 0.. {
        let mut over = true;
        for moment in [Moment::Before, Moment::After] {
            let world = if apart { World::apart().await } else { World::together().await };
            let story = Story::of(name, world).await;
            let before = story.count().await;
            let content = Crashing::new(story.world.content.clone(), at, moment);
            let dying = story.world.with(content.clone(), story.world.event_log.clone());
            let first = story.send_to(&dying, &story.body).await;
            // What publishes in the background may be what ends; it has no part in the answer.
            let ended_in = content.ended_in();
            over &= ended_in.is_none();
            if ended_in.is_some() {
                assert!(first.status == 201 || first.status == 503, "{at} {moment:?} {ended_in:?}: {first:?}");
            }
            let where_ended = format!("{name}, apart: {apart}, ended {moment:?} call {at} ({ended_in:?})");

            let second = story.send_to(&story.world, &story.body).await;
            assert_eq!(second.status, 201, "{where_ended}: {second:?}");
            let third = story.send_to(&story.world, &story.body).await;
            assert_eq!(second.answer(), third.answer(), "{where_ended}");
            if first.status == 201 {
                assert_eq!(first.answer(), second.answer(), "{where_ended}");
            }
            assert_eq!(story.count().await, before + 1, "one effect: {where_ended}");
            assert!(third.header("consistency-token").is_some(), "{where_ended}");
            let mut other = story.body.clone();
            other[if name == "post" {
                "title"
            } else if name == "account" {
                "display_name"
            } else {
                "text"
            }] = "other".into();
            story.send_to(&story.world, &other).await.refused(422, "idempotency_key_reused").at("Idempotency-Key");
            assert_eq!(story.count().await, before + 1, "{where_ended}");
            steps.extend(ended_in);
        }
        if over {
            break;
        }
    }
    // All steps that matter were among those where it ended.
    for step in ["claim_command", "load", "key", "create_key", "commit", "answer_command"] {
        // A commenter has a key since their registration; whoever is new does not.
        let is_there = steps.contains(&step) || (step == "create_key" && name != "account");
        assert!(is_there, "{name} never ended in {step}: {steps:?}");
    }
}

#[tokio::test]
async fn an_account_comes_into_being_once() {
    ends_at_every_step("account", false).await;
}

#[tokio::test]
async fn an_account_comes_into_being_once_with_an_outbox() {
    ends_at_every_step("account", true).await;
}

#[tokio::test]
async fn a_post_is_published_once() {
    ends_at_every_step("post", false).await;
}

#[tokio::test]
async fn a_post_is_published_once_with_an_outbox() {
    ends_at_every_step("post", true).await;
}

#[tokio::test]
async fn a_comment_is_added_once() {
    ends_at_every_step("comment", false).await;
}

#[tokio::test]
async fn a_comment_is_added_once_with_an_outbox() {
    ends_at_every_step("comment", true).await;
}

#[tokio::test]
async fn many_at_once_have_one_effect() {
    for name in ["account", "post", "comment"] {
        let story = Story::of(name, World::together().await).await;
        let before = story.count().await;
        let replies = join_all((0..16).map(|_| story.send_to(&story.world, &story.body))).await;
        for reply in &replies {
            assert_eq!(reply.status, 201, "{reply:?}");
            assert_eq!(reply.answer(), replies[0].answer());
        }
        assert_eq!(story.count().await, before + 1, "{name}");
    }
}

#[tokio::test]
async fn keys_of_different_people_have_nothing_to_do_with_each_other() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let body = json!({ "markdown": "hello" });
    let of_ada = ada.post_once("/v1/posts", "same", body.clone()).await.expect(201);
    let of_bob = bob.post_once("/v1/posts", "same", body.clone()).await.expect(201);
    assert_ne!(of_ada.text("id"), of_bob.text("id"));
    // Nor have two paths, with one key: that is another command.
    let post = of_ada.text("id");
    let path = format!("/v1/posts/{post}/comments");
    ada.post_once(&path, "same", json!({ "text": "x" })).await.refused(422, "idempotency_key_reused");
    // Without a key, twice is twice.
    ada.post("/v1/posts", body.clone()).await.expect(201);
    ada.post("/v1/posts", body).await.expect(201);
    assert_eq!(world.events().await["post.published"], 4);
}

#[tokio::test]
async fn a_rejection_leaves_the_claim_unanswered_and_is_decided_again() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    ada.block(&bob).await.expect(204);
    let path = format!("/v1/posts/{post}/comments");
    let body = json!({ "text": "well said" });
    bob.post_once(&path, "k", body.clone()).await.refused(404, "not_found");
    bob.post_once(&path, "k", body.clone()).await.refused(404, "not_found");
    // Another body is another command all the same.
    bob.post_once(&path, "k", json!({ "text": "?" })).await.refused(422, "idempotency_key_reused");
    ada.delete(&format!("/v1/users/{}/block", bob.id)).await.expect(204);
    let done = bob.post_once(&path, "k", body.clone()).await.expect(201);
    // Once it is done it is done, whatever has become of the post.
    ada.delete(&format!("/v1/posts/{post}")).await.expect(204);
    assert_eq!(bob.post_once(&path, "k", body).await.answer(), done.answer());
    assert_eq!(world.events().await["comment.added"], 1);
}

#[tokio::test]
async fn a_repeat_finds_its_answer_in_the_document_though_the_rules_have_changed() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = ada.publish("hello").await;
    let path = format!("/v1/posts/{post}/comments");
    let body = json!({ "text": "well said" });
    // Everything but the claim's answer.
    let content = find_call(&world, &bob, &path, &body, "answer_command").await;
    let first = bob.at(&world.with(content, world.event_log.clone())).post_once(&path, "k", body.clone()).await;
    first.clone().expect(201);
    ada.block(&bob).await.expect(204);
    assert_eq!(bob.post_once(&path, "k", body).await.answer(), first.answer());
}

/// A process that ends when it calls `name` for this command, found by trying with other keys.
async fn find_call(world: &World, actor: &Person, path: &str, body: &Value, name: &str) -> Arc<Crashing> {
    for at in 0.. {
        let content = Crashing::new(world.content.clone(), at, Moment::Before);
        let dying = world.with(content.clone(), world.event_log.clone());
        actor.at(&dying).post_once(path, &format!("try-{at}"), body.clone()).await;
        match content.ended_in() {
            Some(call) if call == name => return Crashing::new(world.content.clone(), at, Moment::Before),
            Some(_) => {}
            None => break,
        }
    }
    panic!("{name} is never called");
}

#[tokio::test]
async fn documents_remember_what_their_claims_may_not_hold() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let reply = ada.post_once("/v1/posts", "k", json!({ "markdown": "hello" })).await.expect(201);
    let post = reply.text("id").parse().unwrap();
    let document = world.content.load(StreamId::Post(post)).await.unwrap().unwrap();
    assert_eq!(document.recent_commands.len(), 1);
    // A change without a key leaves it there.
    ada.edit(&format!("/v1/posts/{post}"), "\"1\"", json!({ "markdown": "bye" })).await.expect(200);
    let mut document = world.content.load(StreamId::Post(post)).await.unwrap().unwrap();
    assert_eq!(document.recent_commands.len(), 1);

    // Once the claim has expired nobody asks for it any more, and it goes with the next change.
    document.recent_commands[0].at = now().plus_millis(-CLAIM_LIFE_MILLIS - 1000);
    let commit = Commit {
        stream: StreamId::Post(post),
        expected_revision: document.revision,
        state: document.state,
        private: None,
        rendered: None,
        records: Vec::new(),
        recent_commands: Some(document.recent_commands),
        at: now(),
    };
    world.content.commit(commit).await.unwrap();
    ada.edit(&format!("/v1/posts/{post}"), "\"2\"", json!({ "markdown": "again" })).await.expect(200);
    let document = world.content.load(StreamId::Post(post)).await.unwrap().unwrap();
    assert_eq!(document.recent_commands, []);
}
