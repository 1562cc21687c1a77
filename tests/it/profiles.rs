//! What people show of themselves, whom they mute, and what was said before.

use harness::{Person, Server, Tokens, get_current, walk};
use serde_json::{Value, json};

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

/// Followers, followed and posts, as `who` sees them.
async fn numbers(who: &Person, of: &Person, tokens: &Tokens) -> [u64; 3] {
    let profile = get_current(&who.client, &format!("/v1/users/{}", of.id), tokens).await.expect(200).json();
    ["followers", "following", "posts"].map(|number| profile[number].as_u64().expect("a number"))
}

#[tokio::test]
async fn a_new_account_is_found_where_its_answer_says_and_shows_what_its_owner_wants() {
    let server = Server::start().await;
    let account = json!({ "username": "ada", "password": harness::PASSWORD, "display_name": "Ada" });
    let made = server.client().post("/v1/accounts", &account).await.expect(201);
    let mut tokens = Tokens::default();
    tokens.add(&made);
    let place = made.header("location").expect("a place").to_owned();
    let profile = get_current(&server.client(), &place, &tokens).await.expect(200).json();
    assert_eq!((&profile["username"], &profile["bio"], &profile["version"]), (&json!("ada"), &json!(""), &json!(1)));

    let ada = Person::log_in(&server.client(), "ada").await;
    let me = ada.client.get("/v1/me").await.expect(200);
    let etag = me.header("etag").expect("an ETag").to_owned();
    let body = json!({ "display_name": "Ada L.", "bio": "Analyst.\nمی\u{200c}خواهم 🎉" });
    let newer = ada.edit("/v1/me", &etag, &body, &mut tokens).await;
    assert_eq!(ada.client.edit("/v1/me", &etag, &body).await.expect(412).problem().code, "stale");
    let me = ada.client.get("/v1/me").await.expect(200);
    assert_eq!((me.header("etag"), &me.json()["bio"]), (Some(newer.as_str()), &body["bio"]));
    let profile = get_current(&server.client(), &place, &tokens).await.expect(200).json();
    assert_eq!((&profile["display_name"], &profile["bio"]), (&body["display_name"], &body["bio"]));
    assert_eq!((format!("\"{}\"", profile["version"]), &profile["relation"]), (newer, &Value::Null));

    // The new name stands wherever something is theirs.
    let post = ada.publish("hello", &mut tokens).await.id;
    let post = get_current(&server.client(), &format!("/v1/posts/{post}"), &tokens).await.expect(200).json();
    assert_eq!(post["author"]["display_name"], body["display_name"]);
    let found = get_current(&server.client(), "/v1/users?usernames=nobody,ADA", &tokens).await.expect(200).json();
    assert_eq!(ids(found["items"].as_array().expect("items")), [ada.id]);
    server.verify().await;
}

#[tokio::test]
async fn numbers_follow_what_they_count_through_repeats_and_blocks() {
    let server = Server::start().await;
    let [ada, ben, cleo, dora] = server.people(["ada", "ben", "cleo", "dora"]).await;
    let mut tokens = Tokens::default();
    for reader in [&ben, &cleo, &dora] {
        reader.follow(&ada, &mut tokens).await;
        reader.follow(&ada, &mut tokens).await;
        ada.follow(reader, &mut tokens).await;
    }
    let post = ada.publish("one", &mut tokens).await.id;
    ada.publish_to("followers", "two", &mut tokens).await;
    assert_eq!(numbers(&ben, &ada, &tokens).await, [3, 3, 2], "whatever the posts' visibility");
    ben.unfollow(&ada, &mut tokens).await;
    ada.delete(&format!("/v1/posts/{post}"), &mut tokens).await;
    cleo.block(&ada, &mut tokens).await;
    assert_eq!(numbers(&ben, &ada, &tokens).await, [1, 2, 1], "a block ends follows both ways");
    assert_eq!(numbers(&cleo, &cleo, &tokens).await, [0, 0, 0]);
    ben.follow(&ada, &mut tokens).await;

    let followers = format!("/v1/users/{}/followers", ada.id);
    let expected = [ben.id.clone(), dora.id.clone()];
    assert_eq!(ids(&walk(&server.client(), &followers, 1, &tokens).await), expected, "newest follow first");
    let _ = get_current(&ada.client, &format!("/v1/users/{}", cleo.id), &tokens).await.expect(404);
    let blocked = walk(&cleo.client, "/v1/me/blocked", 10, &tokens).await;
    assert_eq!(ids(&blocked), std::slice::from_ref(&ada.id));
    server.verify().await;
}

#[tokio::test]
async fn muting_is_for_the_muter_alone() {
    let server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    for author in [&ben, &cleo] {
        ada.follow(author, &mut tokens).await;
    }
    ben.follow(&ada, &mut tokens).await;
    let loud = ben.publish("loud", &mut tokens).await.id;
    let quiet = cleo.publish("quiet", &mut tokens).await.id;
    assert_eq!(ids(&ada.feed(10, &tokens).await), [quiet.clone(), loud.clone()]);
    let before = get_current(&ben.client, &format!("/v1/users/{}", ada.id), &tokens).await.expect(200).json();

    ada.mute(&ben, &mut tokens).await;
    ada.mute(&ben, &mut tokens).await;
    let later = ben.publish("louder", &mut tokens).await.id;
    assert_eq!(ids(&ada.feed(1, &tokens).await), std::slice::from_ref(&quiet), "neither what was nor what comes");
    // What one opens is shown: the post, its comments, the profile and its posts.
    ben.comment(&quiet, "hm", &mut tokens).await;
    let _ = get_current(&ada.client, &format!("/v1/posts/{loud}"), &tokens).await.expect(200);
    assert_eq!(walk(&ada.client, &format!("/v1/posts/{quiet}/comments"), 10, &tokens).await.len(), 1);
    assert_eq!(walk(&ada.client, &format!("/v1/users/{}/posts", ben.id), 10, &tokens).await.len(), 2);
    let seen = get_current(&ada.client, &format!("/v1/users/{}", ben.id), &tokens).await.expect(200).json();
    let relation = json!({ "following": true, "followed_by": true, "blocking": false, "muting": true });
    assert_eq!(seen["relation"], relation);
    assert_eq!(ids(&walk(&ada.client, "/v1/me/muted", 10, &tokens).await), std::slice::from_ref(&ben.id));
    // The muted person sees nothing of it.
    let after = get_current(&ben.client, &format!("/v1/users/{}", ada.id), &tokens).await.expect(200).json();
    assert_eq!(after, before);
    assert_eq!(walk(&ben.client, "/v1/me/muted", 10, &tokens).await, [] as [Value; 0]);

    ada.unmute(&ben, &mut tokens).await;
    assert_eq!(ids(&ada.feed(10, &tokens).await), [later, quiet, loud]);
    server.verify().await;
}

#[tokio::test]
async fn a_history_keeps_what_was_said_until_it_is_deleted() {
    let server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let post = ada.publish_to("followers", "one", &mut tokens).await;
    let path = format!("/v1/posts/{}", post.id);
    let body = json!({ "title": "Second", "markdown": "*two*" });
    let etag = ada.edit(&path, &post.etag, &body, &mut tokens).await;
    ada.edit(&path, &etag, &json!({ "markdown": "three" }), &mut tokens).await;
    let history = walk(&ben.client, &format!("{path}/history"), 2, &tokens).await;
    let said: Vec<Value> =
        history.iter().map(|version| json!([version["version"], version["title"], version["markdown"]])).collect();
    assert_eq!(json!(said), json!([[3, null, "three"], [2, "Second", "*two*"], [1, null, "one"]]));
    let times: Vec<&str> = history.iter().filter_map(|version| version["at"].as_str()).collect();
    assert!(times.len() == 3 && times.is_sorted_by(|newer, older| newer >= older));
    let _ = get_current(&cleo.client, &format!("{path}/history"), &tokens).await.expect(404);

    let answer = ben.client.post(&format!("{path}/comments"), &json!({ "text": "first" })).await.expect(201);
    tokens.add(&answer);
    let comment = answer.header("location").expect("a place").to_owned();
    let found = get_current(&ada.client, &comment, &tokens).await.expect(200);
    assert_eq!((&found.json()["text"], found.header("etag")), (&json!("first"), Some("\"1\"")));
    ben.edit(&comment, "\"1\"", &json!({ "text": "second" }), &mut tokens).await;
    let history = walk(&ada.client, &format!("{comment}/history"), 10, &tokens).await;
    let said: Vec<Value> = history.iter().map(|version| json!([version["version"], version["text"]])).collect();
    assert_eq!(json!(said), json!([[2, "second"], [1, "first"]]));

    // What is deleted leaves nothing of what it said.
    let comment_stream = comment.replace("/v1/comments/", "comment-");
    let kept = async || {
        let look = server.look().await;
        look.versions(&format!("post-{}", post.id)).await.len() + look.versions(&comment_stream).await.len()
    };
    assert_eq!(kept().await, 5);
    ben.delete(&comment, &mut tokens).await;
    let _ = get_current(&ada.client, &format!("{comment}/history"), &tokens).await.expect(404);
    ada.delete(&path, &mut tokens).await;
    let _ = get_current(&ada.client, &format!("{path}/history"), &tokens).await.expect(404);
    assert_eq!(kept().await, 0);
    server.verify().await;
}
