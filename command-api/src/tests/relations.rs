//! Follow, unfollow, block, unblock, mute, unmute: repeatable, and never of nobody or oneself.

use adapters::http::clock::{entropy, now};
use domain::relation::{Pair, Relation};
use domain::{StreamId, UserId};

use super::world::{Person, World};

async fn relation(world: &World, one: &Person, other: &Person) -> Relation {
    let states = world.content.states(&[StreamId::relation(one.id, other.id)]).await.unwrap();
    states[0].as_ref().map(|state| serde_json::from_str(&state.state).unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn following_is_idempotent_and_each_answer_covers_it() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let first = ada.follow(&bob).await.expect(204);
    assert!(first.body.is_null());
    let pair = Pair { from: ada.id, to: bob.id };
    assert!(relation(&world, &ada, &bob).await.direction(pair).following);
    let before = world.everything().await;
    let again = ada.follow(&bob).await.expect(204);
    assert_eq!(world.everything().await, before);
    assert_eq!(first.header("consistency-token"), again.header("consistency-token"));

    ada.delete(&format!("/v1/users/{}/follow", bob.id)).await.expect(204);
    let before = world.everything().await;
    ada.delete(&format!("/v1/users/{}/follow", bob.id)).await.expect(204);
    assert_eq!(world.everything().await, before);
    assert!(!relation(&world, &ada, &bob).await.direction(pair).following);
}

#[tokio::test]
async fn what_never_was_can_be_ended_without_a_trace() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let before = world.everything().await;
    let reply = ada.delete(&format!("/v1/users/{}/follow", bob.id)).await.expect(204);
    assert_eq!(reply.header("consistency-token"), None, "there is nothing to wait for");
    ada.delete(&format!("/v1/users/{}/block", bob.id)).await.expect(204);
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn a_block_ends_follows_both_ways_and_allows_none() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    ada.follow(&bob).await.expect(204);
    bob.follow(&ada).await.expect(204);
    ada.block(&bob).await.expect(204);
    let events = world.events().await;
    assert_eq!((events["relation.unfollowed"], events["relation.blocked"]), (2, 1));
    let before = world.everything().await;
    ada.follow(&bob).await.refused(409, "blocked");
    bob.follow(&ada).await.refused(409, "blocked");
    ada.block(&bob).await.expect(204);
    assert_eq!(world.everything().await, before);
    ada.delete(&format!("/v1/users/{}/block", bob.id)).await.expect(204);
    assert_eq!(relation(&world, &ada, &bob).await, Relation::default(), "an unblock restores nothing");
    bob.follow(&ada).await.expect(204);
}

#[tokio::test]
async fn nobody_and_oneself_are_refused() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let before = world.everything().await;
    let nobody = UserId::from_parts(now(), entropy());
    for what in ["follow", "block"] {
        for method in ["PUT", "DELETE"] {
            let refused = async |id: String| ada.send(method, &format!("/v1/users/{id}/{what}"), &[], None).await;
            refused(nobody.to_string()).await.refused(404, "not_found");
            refused("x".to_owned()).await.refused(404, "not_found");
            refused(ada.id.to_string()).await.refused(422, "oneself");
        }
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn a_mute_is_repeatable_and_touches_nothing_else() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let path = format!("/v1/users/{}/mute", bob.id);
    let before = world.everything().await;
    assert_eq!(ada.delete(&path).await.expect(204).header("consistency-token"), None, "there is nothing to wait for");
    assert_eq!(world.everything().await, before);

    ada.follow(&bob).await.expect(204);
    let first = ada.put(&path).await.expect(204);
    assert!(first.body.is_null());
    let pair = Pair { from: ada.id, to: bob.id };
    let direction = relation(&world, &ada, &bob).await.direction(pair);
    assert!(direction.muting && direction.following && !direction.blocking);
    let before = world.everything().await;
    let again = ada.put(&path).await.expect(204);
    assert_eq!(world.everything().await, before);
    assert_eq!(first.header("consistency-token"), again.header("consistency-token"));

    // A block ends the follow, and the mute is there whatever becomes of the block.
    ada.block(&bob).await.expect(204);
    ada.delete(&format!("/v1/users/{}/block", bob.id)).await.expect(204);
    let direction = relation(&world, &ada, &bob).await.direction(pair);
    assert!(direction.muting && !direction.following && !direction.blocking);
    ada.delete(&path).await.expect(204);
    assert_eq!(relation(&world, &ada, &bob).await, Relation::default());
    let events = world.events().await;
    assert_eq!((events["relation.muted"], events["relation.unmuted"]), (1, 1));
}

#[tokio::test]
async fn nobody_mutes_themselves_or_nobody() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let before = world.everything().await;
    let unknown = UserId::from_parts(now(), entropy());
    for (user, status, code) in [(ada.id, 422, "oneself"), (unknown, 404, "not_found")] {
        let path = format!("/v1/users/{user}/mute");
        ada.put(&path).await.refused(status, code);
        ada.delete(&path).await.refused(status, code);
    }
    assert_eq!(world.everything().await, before);
}
