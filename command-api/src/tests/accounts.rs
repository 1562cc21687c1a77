//! Registering: one owner per name (W5), and a name whose owner never came into being is free again.

use adapters::http::clock::now;
use domain::text::{DisplayName, Username};
use domain::{SessionId, StreamId, UserId};
use futures::future::join_all;
use serde_json::json;

use super::world::{PASSWORD, World, request};
use crate::commands::{Commands, Registration};
use crate::write_path::{Origin, WriteError};

#[tokio::test]
async fn who_registers_has_an_account() {
    let world = World::together().await;
    let reply = world.register("Ada_1").await.expect(201);
    let id = reply.text("id");
    assert_eq!(reply.body, json!({ "id": id, "username": "ada_1", "display_name": "ada_1", "bio": "" }));
    assert_eq!(reply.header("location"), Some(format!("/v1/users/{id}").as_str()));
    assert!(reply.header("consistency-token").is_some());
    let body = json!({ "username": "grace", "password": PASSWORD, "display_name": "Grace \u{1f600}" });
    let reply = world.post("/v1/accounts", &[], body).await.expect(201);
    assert_eq!(reply.text("display_name"), "Grace \u{1f600}");
    // E2, and the password: neither is in the log in any form.
    let log = format!("{:?}", world.log().await);
    assert_eq!(world.events().await["user.registered"], 2);
    for secret in ["Grace", "grace", "ada_1", PASSWORD, "argon2"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_name_has_one_owner() {
    let world = World::together().await;
    world.register("ada").await.expect(201);
    let before = world.everything().await;
    world.register("ada").await.refused(409, "username_taken").at("username");
    world.register("ADA").await.refused(409, "username_taken");
    assert_eq!(world.everything().await, before);
    // Also where many want it at once.
    let replies = join_all((0..8).map(|_| world.register("grace"))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[201].as_slice(), &[409; 7]].concat());
    assert_eq!(world.events().await["user.registered"], 2);
}

#[tokio::test]
async fn a_name_whose_owner_never_came_into_being_is_free_after_a_while() {
    let world = World::together().await;
    let name = Username::parse("ada").unwrap();
    let ghost = UserId::from_parts(now(), [1; 10]);
    let claim = async |age_millis: i64| {
        let then = now().plus_millis(-age_millis);
        world.content.claim_username(&name, ghost, then, then).await.unwrap()
    };
    assert!(claim(60_000).await);
    world.register("ada").await.refused(409, "username_taken");
    assert_eq!(world.log().await.len(), 0);

    let world = World::together().await;
    let then = now().plus_millis(-11 * 60_000);
    assert!(world.content.claim_username(&name, ghost, then, then).await.unwrap());
    let taken = world.register("ada").await.expect(201).text("id");
    assert_eq!(world.content.username_owner(&name).await.unwrap().unwrap().to_string(), taken);
    world.register("ada").await.refused(409, "username_taken");
}

#[tokio::test]
async fn accounts_can_be_made_with_given_ids_and_hashes() {
    let world = World::together().await;
    let commands = Commands::new(world.write_path.clone());
    let user = UserId::from_parts(now().plus_millis(-86_400_000), [7; 10]);
    let registration = Registration {
        username: Username::parse("ada").unwrap(),
        display_name: DisplayName::parse("Ada").unwrap(),
        password_hash: None,
    };
    let origin = Origin { at: user.timestamp(), ..Origin::now(user) };
    let answered = commands.register(&origin, registration.clone()).await.unwrap();
    assert_eq!(answered.stream, StreamId::User(user));
    let record = &world.log().await[0];
    assert_eq!((record.attributes.time, record.attributes.actor), (user.timestamp(), user));
    // Without a hash nobody logs in; and nobody registers twice.
    world.log_in("ada", PASSWORD).await.refused(401, "invalid_credentials");
    let again = commands.register(&origin, registration.clone()).await.unwrap_err();
    assert!(matches!(again, WriteError::Rejected(domain::Rejection::AlreadyExists("user"))), "{again}");
    let other = UserId::from_parts(now(), [8; 10]);
    let taken = commands.register(&Origin::now(other), registration).await.unwrap_err();
    assert!(matches!(taken, WriteError::UsernameTaken), "{taken}");
    // Its token is good all the same: what it says is signed.
    let token = world.tokens.issue(user, SessionId::from_parts(now(), [1; 10]), now()).unwrap();
    assert!(world.tokens.verify(&token, now()).is_ok());
}

#[tokio::test]
async fn a_profile_is_edited_by_its_owner_from_the_version_that_they_have_seen() {
    for world in [World::together().await, World::apart().await] {
        let ada = world.person("ada").await;
        let body = json!({ "display_name": " Ada L. ", "bio": "Analyst.\r\nMetaphysician.\n" });
        let reply = ada.edit("/v1/me", "\"1\"", body.clone()).await.expect(200);
        let account = json!({
            "id": ada.id, "username": "ada", "display_name": "Ada L.", "bio": "Analyst.\nMetaphysician.",
        });
        assert_eq!(reply.body, account);
        assert_eq!((reply.header("etag"), reply.header("location")), (Some("\"2\""), None));
        let token = reply.header("consistency-token").expect("a token").to_owned();
        // E2: the log has none of it in plain text.
        let log = format!("{:?}", world.log().await);
        assert!(log.contains("user.profile_edited") && !log.contains("Analyst") && !log.contains("Ada L."));

        // What says so already changes nothing, and its answer covers what was written.
        let before = world.everything().await;
        let again = ada.edit("/v1/me", "\"2\"", body.clone()).await.expect(200);
        assert_eq!((again.body.clone(), again.header("etag")), (account, Some("\"2\"")));
        assert_eq!(again.header("consistency-token"), Some(token.as_str()));
        ada.edit("/v1/me", "\"1\"", json!({ "display_name": "A", "bio": "" })).await.refused(412, "stale");
        ada.send("PUT", "/v1/me", &[], Some(body)).await.refused(428, "precondition_required").at("If-Match");
        assert_eq!(world.everything().await, before);

        let reply = ada.edit("/v1/me", "*", json!({ "display_name": "A", "bio": "" })).await.expect(200);
        assert_eq!((&reply.body["bio"], reply.header("etag")), (&json!(""), Some("\"3\"")));
        let reply = world.log_in("ada", PASSWORD).await.expect(201);
        assert_eq!(reply.body["user"], json!({ "id": ada.id, "username": "ada", "display_name": "A", "bio": "" }));
    }
}

#[tokio::test]
async fn profiles_that_are_not_allowed() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let before = world.everything().await;
    let good = json!({ "display_name": "Ada", "bio": "Analyst." });
    let wrong = [
        ("display_name", json!("")),
        ("display_name", json!("a\nb")),
        ("display_name", json!("x".repeat(51))),
        ("display_name", json!(null)),
        ("bio", json!("x".repeat(501))),
        ("bio", json!("a\u{0}b")),
        ("bio", json!("a\u{1b}[2J")),
        ("bio", json!(null)),
        ("bio", json!(7)),
        ("username", json!("another")),
    ];
    for (field, value) in wrong {
        let mut body = good.clone();
        body[field] = value.clone();
        ada.edit("/v1/me", "*", body).await.refused(422, "invalid_field").at(field);
    }
    for field in ["display_name", "bio"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        ada.edit("/v1/me", "*", body).await.refused(422, "invalid_field").at(field);
    }
    let nobody = world.send(request("PUT", "/v1/me", &[("if-match", "*")], Some(good))).await;
    nobody.refused(401, "unauthenticated");
    assert_eq!(world.everything().await, before);
    // The longest that is allowed.
    let body = json!({ "display_name": "é".repeat(50), "bio": "é".repeat(500) });
    ada.edit("/v1/me", "*", body).await.expect(200);
}
