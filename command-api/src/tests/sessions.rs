//! Log in, refresh, log out: rotating refresh tokens whose second use ends the session; cookies for the page.

use adapters::http::clock::{entropy, now};
use domain::{SessionId, StreamId, UserId};
use futures::future::join_all;
use serde_json::{Value, json};

use super::world::{PASSWORD, Reply, World, request};
use crate::auth::private::{Private, SESSIONS, Session};
use crate::auth::refresh;

async fn refresh_with(world: &World, token: &str) -> Reply {
    world.post("/v1/sessions/refresh", &[], json!({ "refresh_token": token })).await
}

async fn private_of(world: &World, user: &str) -> Private {
    let stream = StreamId::User(user.parse().unwrap());
    let document = world.content.load(stream).await.unwrap().unwrap();
    Private::parse(document.private.as_deref()).unwrap()
}

/// The cookies that an answer sets, name to the rest.
fn cookies(reply: &Reply) -> Vec<(String, String)> {
    let values = reply.headers.get_all("set-cookie").iter();
    values
        .map(|value| value.to_str().unwrap().split_once('=').unwrap())
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect()
}

fn value(cookie: &str) -> &str {
    cookie.split(';').next().unwrap()
}

#[tokio::test]
async fn who_logs_in_gets_tokens() {
    let world = World::together().await;
    let id = world.register("ada").await.expect(201).text("id");
    let revision = world.content.load(StreamId::User(id.parse().unwrap())).await.unwrap().unwrap().revision;
    let log = world.log().await;
    let reply = world.log_in("ADA", PASSWORD).await.expect(201);
    let (access, refresh) = (reply.text("access_token"), reply.text("refresh_token"));
    let session = reply.text("session_id");
    let expected = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": 900, "refresh_token": refresh,
        "session_id": session, "user": { "id": id, "username": "ada", "display_name": "ada", "bio": "" },
    });
    assert_eq!(reply.body, expected);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(cookies(&reply), []);
    let claims = world.tokens.verify(&access, now()).unwrap();
    assert_eq!((claims.user.to_string(), claims.session.to_string()), (id.clone(), session));
    // A session is a private change: the revision rises, and no event says so.
    let document = world.content.load(StreamId::User(id.parse().unwrap())).await.unwrap().unwrap();
    assert_eq!((document.revision, document.sequence), (revision + 1, 1));
    assert_eq!(world.log().await, log);
    // At rest there is no token.
    let private = document.private.unwrap();
    assert!(!private.contains(&refresh) && !private.contains(PASSWORD), "{private}");
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_look_the_same() {
    let world = World::together().await;
    world.register("ada").await.expect(201);
    let before = world.everything().await;
    let wrong = world.log_in("ada", "wrong password").await.refused(401, "invalid_credentials");
    let long = "x".repeat(10_000);
    for (name, password) in [
        ("eve", PASSWORD),
        ("", PASSWORD),
        ("not a name", PASSWORD),
        ("ada", ""),
        ("ada", "correct horse battery stapl"),
        ("ada\u{0}", PASSWORD),
        (long.as_str(), PASSWORD),
        ("ada", long.as_str()),
    ] {
        let reply = world.log_in(name, password).await;
        let apart_from_trace = |reply: &Reply| {
            let mut body = reply.body.clone();
            body["trace_id"] = Value::Null;
            (reply.status, body)
        };
        assert_eq!(apart_from_trace(&reply), apart_from_trace(&wrong), "{name:.10} {password:.10}");
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn a_refresh_token_is_good_for_one_use_and_the_second_ends_the_session() {
    let world = World::together().await;
    world.register("ada").await.expect(201);
    let first = world.log_in("ada", PASSWORD).await.text("refresh_token");
    let elsewhere = world.log_in("ada", PASSWORD).await.text("refresh_token");
    let second = refresh_with(&world, &first).await.expect(200);
    assert!(world.tokens.verify(&second.text("access_token"), now()).is_ok());
    let third = refresh_with(&world, &second.text("refresh_token")).await.expect(200);
    assert_eq!(third.body["session_id"], second.body["session_id"]);
    refresh_with(&world, &first).await.refused(401, "refresh_token_reused");
    // Whoever has the newest has lost it, too; the other session goes on.
    refresh_with(&world, &third.text("refresh_token")).await.refused(401, "invalid_refresh_token");
    refresh_with(&world, &first).await.refused(401, "invalid_refresh_token");
    refresh_with(&world, &elsewhere).await.expect(200);
}

#[tokio::test]
async fn of_two_that_use_a_token_at_once_at_most_one_goes_on() {
    let world = World::together().await;
    world.register("ada").await.expect(201);
    let token = world.log_in("ada", PASSWORD).await.text("refresh_token");
    let mut statuses: Vec<u16> =
        join_all((0..4).map(|_| refresh_with(&world, &token))).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401]);
}

#[tokio::test]
async fn made_up_refresh_tokens_end_nothing() {
    let world = World::together().await;
    let id = world.register("ada").await.expect(201).text("id");
    let reply = world.log_in("ada", PASSWORD).await;
    let (token, session) = (reply.text("refresh_token"), reply.text("session_id"));
    let of_others = World::together().await;
    let (foreign, _) = refresh::issue(&of_others.secrets, id.parse().unwrap(), session.parse().unwrap());
    let nobody = UserId::from_parts(now(), entropy());
    let (of_nobody, _) = refresh::issue(&world.secrets, nobody, session.parse().unwrap());
    let (of_no_session, _) =
        refresh::issue(&world.secrets, id.parse().unwrap(), SessionId::from_parts(now(), entropy()));
    let before = world.everything().await;
    let long = "a.".repeat(10_000);
    let mut made_up =
        vec![foreign, of_nobody, of_no_session, String::new(), "a.b.c".to_owned(), long, format!("{token}.x")];
    made_up.push(token[..token.len() - 1].to_owned());
    made_up.push(format!("{id}.{session}.{}", "A".repeat(64)));
    for index in (0..token.len()).step_by(5) {
        let mut changed = token.clone().into_bytes();
        changed[index] = if changed[index] == b'1' { b'2' } else { b'1' };
        made_up.push(String::from_utf8(changed).unwrap());
    }
    for text in made_up {
        refresh_with(&world, &text).await.refused(401, "invalid_refresh_token");
    }
    assert_eq!(world.everything().await, before);
    refresh_with(&world, &token).await.expect(200);
}

#[tokio::test]
async fn an_old_session_is_over_and_a_refreshed_one_goes_on() {
    let world = World::together().await;
    let id = world.register("ada").await.expect(201).text("id");
    let day = 24 * 60 * 60 * 1000;
    let old = async |age: i64| {
        let user: UserId = id.parse().unwrap();
        let session = SessionId::from_parts(now(), entropy());
        let (text, token) = refresh::issue(&world.secrets, user, session);
        let decide = |found: &crate::write_path::Found<domain::user::User>| {
            let mut private = Private::parse(found.private.as_deref())?;
            let refreshed_at = now().plus_millis(-age);
            private.sessions.push(Session { id: session, fingerprint: token.fingerprint.clone(), refreshed_at });
            Ok::<_, crate::write_path::WriteError>(found.keep(Some(private.to_json()?)))
        };
        let origin = crate::write_path::Origin::now(user);
        world.write_path.change(StreamId::User(user), &origin, None, decide).await.unwrap();
        text
    };
    refresh_with(&world, &old(30 * day + 1000).await).await.refused(401, "invalid_refresh_token");
    let alive = refresh_with(&world, &old(29 * day).await).await.expect(200);
    refresh_with(&world, &alive.text("refresh_token")).await.expect(200);
}

#[tokio::test]
async fn sessions_are_bounded_and_the_longest_idle_gives_way() {
    let world = World::together().await;
    let id = world.register("ada").await.expect(201).text("id");
    let first = world.log_in("ada", PASSWORD).await.text("refresh_token");
    let second = world.log_in("ada", PASSWORD).await.text("refresh_token");
    // The first is used, later than the second was begun: so the second is the longest idle.
    let begun = now();
    super::world::eventually("a millisecond passes", async || (now() > begun).then_some(())).await;
    let first = refresh_with(&world, &first).await.expect(200).text("refresh_token");
    for _ in 2..SESSIONS + 1 {
        world.log_in("ada", PASSWORD).await.expect(201);
    }
    assert_eq!(private_of(&world, &id).await.sessions.len(), SESSIONS);
    refresh_with(&world, &second).await.refused(401, "invalid_refresh_token");
    refresh_with(&world, &first).await.expect(200);
}

#[tokio::test]
async fn who_logs_out_has_no_session_and_no_cookies() {
    let world = World::together().await;
    let ada = world.person("ada").await;
    let other = world.log_in("ada", PASSWORD).await.text("refresh_token");
    let reply = ada.delete("/v1/sessions/current").await.expect(204);
    for (name, cookie) in cookies(&reply) {
        assert!(cookie.starts_with(';') && cookie.contains("Max-Age=0"), "{name}={cookie}");
    }
    assert_eq!(cookies(&reply).len(), 2);
    assert_eq!(private_of(&world, &ada.id.to_string()).await.sessions.len(), 1);
    // Twice is once.
    ada.delete("/v1/sessions/current").await.expect(204);
    refresh_with(&world, &other).await.expect(200);
    world.send(request("DELETE", "/v1/sessions/current", &[], None)).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_page_gets_cookies_that_scripts_and_other_sites_cannot_use() {
    let world = World::together().await;
    world.register("ada").await.expect(201);
    let body = json!({ "username": "ada", "password": PASSWORD, "delivery": "cookie" });
    let page = [("host", "live.example"), ("origin", "https://live.example")];
    let reply = world.post("/v1/sessions", &page, body.clone()).await.expect(201);
    assert!(reply.body.get("access_token").is_none() && reply.body.get("refresh_token").is_none(), "{:?}", reply.body);
    let set = cookies(&reply);
    let rules = "HttpOnly; SameSite=Strict; Secure";
    let (access, refresh) = (value(&set[0].1).to_owned(), value(&set[1].1).to_owned());
    assert_eq!(set[0], ("hybrid_live_access".to_owned(), format!("{access}; Path=/; Max-Age=900; {rules}")));
    let month = 30 * 24 * 60 * 60;
    assert_eq!(
        set[1],
        ("hybrid_live_refresh".to_owned(), format!("{refresh}; Path=/v1/sessions; Max-Age={month}; {rules}"))
    );
    // Only on the machine itself without TLS.
    for (host, secure) in [
        ("localhost:8080", false),
        ("127.0.0.1:8080", false),
        ("[::1]:8080", false),
        ("app.localhost", false),
        ("localhost.example", true),
        ("127.0.0.1.example", true),
        ("10.0.0.1", true),
    ] {
        let reply = world.post("/v1/sessions", &[("host", host)], body.clone()).await.expect(201);
        assert_eq!(
            cookies(&reply).iter().filter(|(_, cookie)| cookie.contains("Secure")).count(),
            2 * usize::from(secure),
            "{host}"
        );
    }

    // The access cookie acts, from our own page.
    let cookie = format!("hybrid_live_access={access}");
    let publish = async |origin: Option<&str>| {
        let mut headers = vec![("cookie", cookie.as_str()), ("host", "live.example")];
        headers.extend(origin.map(|origin| ("origin", origin)));
        world.post("/v1/posts", &headers, json!({ "markdown": "hello" })).await
    };
    publish(Some("https://live.example")).await.expect(201);
    publish(Some("https://social.example")).await.expect(201);
    let before = world.everything().await;
    publish(Some("https://evil.example")).await.refused(403, "origin_mismatch");
    publish(None).await.refused(403, "origin_mismatch");
    // The refresh cookie refreshes, from our own page, and the answer is cookies again.
    let cookie = format!("hybrid_live_refresh={refresh}");
    let refresh = async |origin: &str| {
        let headers = [("cookie", cookie.as_str()), ("host", "live.example"), ("origin", origin)];
        world.post("/v1/sessions/refresh", &headers, json!({})).await
    };
    refresh("https://evil.example").await.refused(403, "origin_mismatch");
    // Nor does another site's page log its visitors in.
    let headers = [("host", "live.example"), ("origin", "https://evil.example")];
    world.post("/v1/sessions", &headers, body).await.refused(403, "origin_mismatch");
    assert_eq!(world.everything().await, before);
    let reply = refresh("https://live.example").await.expect(200);
    assert!(reply.body.get("refresh_token").is_none());
    assert_eq!(cookies(&reply).len(), 2);
    refresh("https://live.example").await.refused(401, "refresh_token_reused");
    world.post("/v1/sessions/refresh", &[], json!({})).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn calls_that_issue_tokens_take_no_key() {
    let world = World::together().await;
    world.register("ada").await.expect(201);
    let token = world.log_in("ada", PASSWORD).await.text("refresh_token");
    let before = world.everything().await;
    let key = [("idempotency-key", "k")];
    let body = json!({ "username": "ada", "password": PASSWORD });
    world.post("/v1/sessions", &key, body).await.refused(422, "invalid_field").at("Idempotency-Key");
    let body = json!({ "refresh_token": token });
    world.post("/v1/sessions/refresh", &key, body).await.refused(422, "invalid_field").at("Idempotency-Key");
    assert_eq!(world.everything().await, before);
}
