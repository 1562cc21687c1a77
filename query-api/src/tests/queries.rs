//! The queries as clients see them.

use adapters::checkpoints::{Build, Partition};
use adapters::http::consistency::Token;
use domain::post::Visibility;
use domain::{Lane, Position, Topic};
use http::StatusCode;
use serde_json::{Value, json};

use super::http_client::Client;
use super::world::World;
use crate::feed::Walk;
use crate::items::{CommentItem, LikeItem, ListPage, PostItem};

fn texts(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_home_shows_posts_with_authors_and_numbers() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    let post = world.publish(bob, "# A \"title\"\n\\ and\ttext \u{1f600} </script>").await;
    world.like(post, ada).await;
    world.like(post, bob).await;
    world.comment(post, ada, "one").await;
    let client = Client::new(&world);
    let reply = client.by(ada).get("/v1/feed").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "private, no-store");
    let item = json!({
        "id": post,
        "author": {"id": bob, "username": "bob", "display_name": "\"bob\" 😀"},
        "title": "A \"title\"",
        "text": "# A \"title\"\n\\ and\ttext \u{1f600} </script>",
        "truncated": false,
        "visibility": "public",
        "created_at": post.timestamp(),
        "edited_at": null,
        "version": 1,
        "likes": 2,
        "comments": 1,
        "liked_by_me": true,
    });
    assert_eq!(reply.body["items"], json!([item]));
    assert_eq!(reply.body["next"], json!(null));

    world.edit_post(post, bob, "plain", Visibility::Public).await;
    world.react(post, ada, false).await;
    let reply = client.by(ada).get("/v1/feed").await;
    let item = &reply.body["items"][0];
    assert_eq!((&item["title"], &item["text"], &item["version"]), (&json!(null), &json!("plain"), &json!(2)));
    assert_eq!((&item["likes"], &item["liked_by_me"]), (&json!(1), &json!(false)));
    assert!(item["edited_at"].is_string());
}

#[tokio::test]
async fn the_written_page_is_what_the_typed_form_would_be() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for index in 0..12 {
        let text =
            ["# Title\nwith \"quotes\"", "\\u0041 \u{7} is not allowed, \u{e9} is", "\u{2028}\u{1f600}"][index % 3];
        let post = world.publish(ada, &text.replace('\u{7}', "")).await;
        if index % 2 == 0 {
            world.like(post, ada).await;
        }
    }
    let reply = Client::new(&world).by(ada).get("/v1/feed?limit=10").await;
    let page: ListPage<PostItem> = serde_json::from_str(&reply.text).unwrap();
    assert_eq!(page.items.len(), 10);
    assert_eq!(serde_json::to_string(&page).unwrap(), reply.text, "byte for byte");
}

#[tokio::test]
async fn cursors_lead_through_a_home_both_ways() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for index in 0..7 {
        world.publish(ada, &format!("{index}")).await;
    }
    let client = Client::new(&world);
    let first = client.by(ada).get("/v1/feed?limit=3").await.body;
    assert_eq!(texts(&first), ["6", "5", "4"]);
    let cursor = first["next"].as_str().unwrap();
    let second = client.by(ada).get(&format!("/v1/feed?limit=3&before={cursor}")).await.body;
    assert_eq!(texts(&second), ["3", "2", "1"]);
    let last = client.by(ada).get(&format!("/v1/feed?limit=3&before={}", second["next"].as_str().unwrap())).await.body;
    assert_eq!((texts(&last), &last["next"]), (vec!["0"], &json!(null)));
    let newer = client.by(ada).get(&format!("/v1/feed?limit=2&after={cursor}")).await.body;
    assert_eq!(texts(&newer), ["6", "5"], "newest first here, too");
    assert_eq!(newer["next"], json!(null));
    let newer = client.by(ada).get(&format!("/v1/feed?limit=2&after={}", second["next"].as_str().unwrap())).await.body;
    assert_eq!(texts(&newer), ["3", "2"], "the nearest ones");
    let newest = client.by(ada).get(&format!("/v1/feed?limit=9&after={}", newer["next"].as_str().unwrap())).await.body;
    assert_eq!((texts(&newest), &newest["next"]), (vec!["6", "5", "4"], &json!(null)));
    // Only where a page ends at the newest post can the stream go on.
    let starts_a_stream = |page: &Value| page["stream_position"].is_string();
    assert!(starts_a_stream(&first) && starts_a_stream(&newest));
    assert!(!starts_a_stream(&second) && !starts_a_stream(&newer));
    let of_author = client.by(ada).get(&format!("/v1/users/{ada}/posts")).await.body;
    assert!(!starts_a_stream(&of_author));
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = world.publish(ada, "text").await;
    world.publish(ada, "text").await;
    let client = Client::new(&world);
    let of_ada = client.by(ada).get("/v1/feed?limit=1").await.body["next"].as_str().unwrap().to_owned();
    for (path, status, field) in [
        ("/v1/feed?limit=0".to_owned(), 422, Some("limit")),
        ("/v1/feed?limit=101".to_owned(), 422, Some("limit")),
        ("/v1/feed?limit=99999999999999999999".to_owned(), 422, Some("limit")),
        ("/v1/feed?limit=-1".to_owned(), 422, Some("limit")),
        ("/v1/feed?limit=many".to_owned(), 422, Some("limit")),
        ("/v1/feed?colour=red".to_owned(), 422, Some("colour")),
        (format!("/v1/feed?before={of_ada}&after={of_ada}"), 422, Some("after")),
        ("/v1/feed?before=nonsense".to_owned(), 400, Some("before")),
        (format!("/v1/users/{ada}/posts?after={of_ada}"), 400, Some("after")),
        (format!("/v1/posts/{post}/comments?before={of_ada}"), 400, Some("before")),
        (format!("/v1/posts/{post}/comments?after={of_ada}"), 422, Some("after")),
        (format!("/v1/posts/{post}/likes?before={of_ada}"), 400, Some("before")),
        ("/v1/posts/nonsense".to_owned(), 404, None),
        (format!("/v1/users/{post}/posts"), 404, None),
    ] {
        let reply = client.by(ada).get(&path).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.text);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(reply.body["field"].as_str(), field, "{path}: {}", reply.text);
    }
    let elsewhere = client.by(bob).get(&format!("/v1/feed?before={of_ada}")).await;
    assert_eq!((elsewhere.status.as_u16(), &elsewhere.body["code"]), (400, &json!("invalid_cursor")));
    assert_eq!(client.by(ada).get(&format!("/v1/feed?before={of_ada}")).await.status, StatusCode::OK);
    assert_eq!(client.anonymous().get("/v1/feed").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.with_token("forged").get(&format!("/v1/posts/{post}")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_post_whose_author_or_preview_is_unreadable_drops_out_and_the_page_fills() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    let nobody = domain::UserId::from_parts(world.now(), [9; 10]);
    world.follow(ada, nobody).await;
    for index in 0..3 {
        world.publish(bob, &format!("{index}")).await;
    }
    for _ in 0..30 {
        world.publish(nobody, "by nobody").await;
    }
    let page = Client::new(&world).by(ada).get("/v1/feed?limit=2").await.body;
    assert_eq!(texts(&page), ["2", "1"], "R1");
    assert!(page["next"].is_string());
}

#[tokio::test]
async fn an_authors_posts_are_for_those_who_may_see_them() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.publish(ada, "for all").await;
    world.publish_to(ada, "for followers", Visibility::Followers, true).await;
    world.follow(bob, ada).await;
    let client = Client::new(&world);
    let path = format!("/v1/users/{ada}/posts");
    assert_eq!(texts(&client.anonymous().get(&path).await.body), ["for all"]);
    assert_eq!(texts(&client.by(eve).get(&path).await.body), ["for all"]);
    assert_eq!(texts(&client.by(bob).get(&path).await.body), ["for followers", "for all"]);
    assert_eq!(texts(&client.by(ada).get(&path).await.body), ["for followers", "for all"]);
    world.block(ada, eve).await;
    world.block(bob, ada).await;
    assert_eq!(client.by(eve).get(&path).await.status, StatusCode::NOT_FOUND, "R3, the blocked");
    assert_eq!(client.by(bob).get(&path).await.status, StatusCode::NOT_FOUND, "R3, the blocker");
    let nobody = domain::UserId::from_parts(world.now(), [9; 10]);
    assert_eq!(client.anonymous().get(&format!("/v1/users/{nobody}/posts")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_post_has_its_text_its_html_and_a_version() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = world.publish(ada, "# Title\ntext").await;
    world.like(post, bob).await;
    let client = Client::new(&world);
    let path = format!("/v1/posts/{post}");
    let reply = client.by(bob).get(&path).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("etag"), "\"1\"");
    assert_eq!(reply.header("cache-control"), "private, no-store");
    assert_eq!(reply.body["markdown"], "# Title\ntext");
    assert_eq!(reply.body["html"], "<p># Title\ntext</p>");
    assert_eq!((&reply.body["likes"], &reply.body["liked_by_me"]), (&json!(1), &json!(true)));
    assert_eq!((&reply.body["title"], &reply.body["version"]), (&json!("Title"), &json!(1)));
    let position = world.position(post, world.next_offset() - 1);
    assert_eq!(reply.body["stream_position"], json!(position));
    assert_eq!(reply.header("stream-position"), position);

    // The version of the text does not stand for the numbers: who has it is sent them all the same.
    world.like(post, ada).await;
    for tag in ["\"1\"", "W/\"1\"", "*"] {
        let reply = client.anonymous().with("if-none-match", tag).get(&path).await;
        assert_eq!((reply.status, reply.header("etag")), (StatusCode::OK, "\"1\""), "{tag}");
        assert_eq!(reply.body["likes"], json!(2), "{tag}");
    }
    world.edit_post(post, ada, "new", Visibility::Public).await;
    let reply = client.anonymous().get(&path).await;
    assert_eq!((reply.status.as_u16(), reply.header("etag"), &reply.body["markdown"]), (200, "\"2\"", &json!("new")));
    world.delete_post(post, ada).await;
    for client in [client.anonymous(), client.by(ada)] {
        assert_eq!(client.get(&path).await.status, StatusCode::NOT_FOUND);
        assert_eq!(client.get(&format!("{path}/comments")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(client.get(&format!("{path}/likes")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(client.get(&format!("{path}/stream")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn what_is_for_followers_is_not_there_for_others() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = world.publish_to(ada, "text", Visibility::Followers, true).await;
    let client = Client::new(&world);
    for rest in ["", "/comments", "/likes", "/stream"] {
        let path = format!("/v1/posts/{post}{rest}");
        assert_eq!(client.anonymous().get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(client.by(bob).get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(client.by(ada).head(&path).await, StatusCode::OK, "{path}");
    }
    world.follow(bob, ada).await;
    assert_eq!(client.by(bob).get(&format!("/v1/posts/{post}")).await.status, StatusCode::OK);
    world.block(ada, bob).await;
    assert_eq!(client.by(bob).get(&format!("/v1/posts/{post}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn comments_come_newest_first_without_those_of_the_blocked() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let post = world.publish(ada, "text").await;
    let mut comments = Vec::new();
    for index in 0..9 {
        let author = if index % 3 == 0 { eve } else { bob };
        comments.push(world.comment(post, author, &format!("{index}")).await);
    }
    world.change_comment(post, comments[4], None).await;
    world.change_comment(post, comments[5], Some("5, edited")).await;
    let client = Client::new(&world);
    let path = format!("/v1/posts/{post}/comments");
    let reply = client.anonymous().get(&path).await;
    assert_eq!(texts(&reply.body), ["8", "7", "6", "5, edited", "3", "2", "1", "0"]);
    assert_eq!(reply.body["next"], json!(null));
    let all_but_one = client.anonymous().get(&format!("{path}?limit=7")).await.body;
    assert!(all_but_one["next"].is_string(), "null only at the end");
    let page: ListPage<CommentItem> = serde_json::from_value(reply.body.clone()).unwrap();
    assert_eq!(page.stream_position, Some(world.position(post, world.next_offset() - 1)));
    let edited = &page.items[3];
    assert_eq!((edited.version, edited.author.id, edited.edited_at.is_some()), (2, bob, true));
    assert_eq!(edited.created_at, comments[5].timestamp());

    world.block(ada, eve).await;
    let first = client.by(ada).get(&format!("{path}?limit=4")).await.body;
    assert_eq!(texts(&first), ["8", "7", "5, edited", "2"], "R3, and the page is filled");
    let second = client.by(ada).get(&format!("{path}?limit=4&before={}", first["next"].as_str().unwrap())).await.body;
    assert_eq!((texts(&second), &second["next"]), (vec!["1"], &json!(null)));
    assert_eq!(client.by(eve).get(&path).await.status, StatusCode::NOT_FOUND);
    world.block(eve, bob).await;
    let other = world.publish(eve, "text").await;
    world.comment(other, ada, "unseen by eve").await;
    assert!(texts(&client.by(eve).get(&format!("/v1/posts/{other}/comments")).await.body).is_empty());
}

#[tokio::test]
async fn likes_come_newest_first_without_those_of_the_blocked() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let post = world.publish(ada, "text").await;
    let mut people = Vec::new();
    for index in 0..6 {
        people.push(world.person(&format!("person{index}")).await);
        world.like(post, people[index]).await;
    }
    world.react(post, people[2], false).await;
    world.block(ada, people[4]).await;
    let client = Client::new(&world);
    let path = format!("/v1/posts/{post}/likes?limit=2");
    let mut seen = Vec::new();
    let mut next = Some(path.clone());
    while let Some(at) = next {
        let page: ListPage<LikeItem> = serde_json::from_str(&client.by(ada).get(&at).await.text).unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|item| item.user.id));
        next = page.next.map(|cursor| format!("{path}&before={cursor}"));
    }
    assert_eq!(seen, [people[5], people[3], people[1], people[0]]);
}

#[tokio::test]
async fn me_is_who_asks() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let client = Client::new(&world);
    let reply = client.by(ada).get("/v1/me").await;
    assert_eq!(reply.body, json!({"id": ada, "username": "ada", "display_name": "\"ada\" 😀", "bio": ""}));
    assert_eq!(reply.header("etag"), "\"1\"");
    let known = client.by(ada).with("if-none-match", "\"1\"").get("/v1/me").await;
    assert_eq!((known.status, known.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(client.by(ada).with("if-none-match", "\"2\"").get("/v1/me").await.status, StatusCode::OK);
    assert_eq!(client.anonymous().get("/v1/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_page_takes_a_constant_number_of_calls() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let post = world.publish(ada, "text").await;
    for index in 0..60 {
        let author = world.person(&format!("author{index}")).await;
        world.follow(ada, author).await;
        world.publish(author, "text").await;
        world.publish(ada, "text").await;
        world.comment(post, author, "text").await;
        world.like(post, author).await;
    }
    let client = Client::new(&world);
    for (path, expected) in [
        ("/v1/feed".to_owned(), 7),
        (format!("/v1/users/{ada}/posts"), 5),
        (format!("/v1/posts/{post}/comments"), 5),
        (format!("/v1/posts/{post}/likes"), 4),
        (format!("/v1/users/{ada}/following"), 4),
    ] {
        for limit in [1, 10, 50] {
            world.calls.take();
            let page = client.by(ada).get(&format!("{path}?limit={limit}")).await.body;
            assert_eq!(page["items"].as_array().unwrap().len(), limit, "{path}");
            let calls = world.calls.take();
            assert_eq!(calls.values().sum::<usize>(), expected, "R2: {path}, limit {limit}: {calls:?}");
        }
    }
}

#[tokio::test]
async fn what_a_consistency_token_names_is_waited_for() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = world.publish(ada, "text").await;
    let of_the_post: Position = world.position(post, 5).parse().unwrap();
    let of_a_follow = Position { topic: Topic::Relations, partition: 0, ..of_the_post };
    let mut token = Token::at(of_the_post, Lane::post(post));
    token.merge(Token::at(of_a_follow, Lane::pair(ada, bob)));
    let client = Client::new(&world).by(ada);
    let asking = client.with("consistency-token", &token.to_string());
    let lists = [
        "/v1/feed".to_owned(),
        format!("/v1/users/{ada}/posts"),
        format!("/v1/posts/{post}"),
        format!("/v1/posts/{post}/comments"),
        format!("/v1/posts/{post}/likes"),
        format!("/v1/posts/{post}/history"),
        format!("/v1/users/{ada}"),
        format!("/v1/users?ids={ada}"),
        format!("/v1/users/{ada}/followers"),
        format!("/v1/users/{ada}/following"),
        "/v1/me/blocked".to_owned(),
        "/v1/me/muted".to_owned(),
    ];
    // Nothing is written meanwhile, so that no time but the wait's passes.
    tokio::time::pause();
    for path in &lists {
        let started = tokio::time::Instant::now();
        let reply = asking.get(path).await;
        assert_eq!((reply.status, reply.header("consistency")), (StatusCode::OK, "behind"), "{path}");
        assert_eq!(started.elapsed().as_secs(), 2, "bounded");
        assert_eq!(client.get(path).await.header("consistency"), "", "only those who ask are told");
    }
    assert_eq!(asking.get("/v1/me").await.header("consistency"), "current", "the truth is never behind");
    tokio::time::resume();
    for (projection, position) in [
        ("timelines", of_the_post),
        ("timelines", of_a_follow),
        ("engagement", of_the_post),
        ("profiles", of_the_post),
        ("profiles", of_a_follow),
    ] {
        let build = Build { projection, generation: super::world::GENERATION };
        let partition = Partition { topic: position.topic, number: position.partition };
        let taken = world.ports.checkpoints.take(build, partition).await.unwrap();
        world.ports.checkpoints.save(build, taken.epoch, position).await.unwrap();
    }
    for path in &lists {
        assert_eq!(asking.get(path).await.header("consistency"), "current", "W7: {path}");
    }
    let reply = client.with("consistency-token", "nonsense!").get("/v1/feed").await;
    assert_eq!((reply.status.as_u16(), &reply.body["field"]), (422, &json!("Consistency-Token")));
}

#[tokio::test]
async fn a_store_that_is_away_is_a_503_without_details() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let client = Client::new(&world);
    world.calls.fail(true);
    for path in ["/v1/feed", "/v1/me"] {
        let reply = client.by(ada).get(path).await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (503, &json!("unavailable")));
        assert!(!reply.text.contains("as the test wants"));
    }
}

#[tokio::test]
async fn a_stream_over_http_is_an_event_stream() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let post = world.publish(ada, "text").await;
    let client = Client::new(&world);
    let page = client.by(bob).get(&format!("/v1/posts/{post}")).await;
    let position = page.header("stream-position").to_owned();
    world.comment(post, bob, "between load and stream").await;
    for client in [
        client.by(bob).with("last-event-id", &position),
        client.by(bob).with_query("last_event_id", &position),
        client.anonymous().with_query("last_event_id", &position),
        // The header is the newer: browsers keep the address and add the header when they come back.
        client.by(bob).with("last-event-id", &position).with_query("last_event_id", "nonsense"),
    ] {
        let (status, headers, first) = client.stream(&format!("/v1/posts/{post}/stream")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(first.contains("event: NEW_COMMENT") && first.contains("between load and stream"), "{first}");
    }
    let (_, _, first) =
        client.by(bob).with("last-event-id", "\u{e9}").stream(&format!("/v1/posts/{post}/stream")).await;
    assert!(first.contains(r#"data: {"reason":"malformed_position"}"#), "{first}");
    let unknown = client.by(bob).get(&format!("/v1/posts/{post}/stream?colour=red")).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(client.with_token("forged").get(&format!("/v1/posts/{post}/stream")).await.status, 401);
}

#[tokio::test]
async fn streams_above_the_limit_are_refused() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let post = world.publish(ada, "text").await;
    let client = Client::with_stream_limit(&world, 1);
    let path = format!("/v1/posts/{post}/stream");
    let first = client.anonymous().open(&path).await;
    assert_eq!(first.status(), StatusCode::OK);
    let refused = client.anonymous().get(&path).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"));
    drop(first);
    assert_eq!(client.anonymous().open(&path).await.status(), StatusCode::OK, "until one leaves");
}

#[tokio::test]
async fn a_long_walk_by_pages_shows_each_post_once() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    let mut posts = Vec::new();
    for index in 0..50 {
        let post = world.publish(bob, "text").await;
        if index % 4 == 1 { world.delete_post(post, bob).await } else { posts.push(post) }
    }
    world.ports.timelines.trim(super::world::GENERATION, ada, 20, 10).await.unwrap();
    posts.reverse();
    let client = Client::new(&world);
    let mut seen = Vec::new();
    let mut next = Some(String::new());
    while let Some(before) = next {
        let reply = client.by(ada).get(&format!("/v1/feed?limit=7{before}")).await;
        let page: ListPage<PostItem> = serde_json::from_str(&reply.text).unwrap();
        seen.extend(page.items.iter().map(|item| item.id));
        next = page.next.map(|cursor| format!("&before={cursor}"));
    }
    assert_eq!(seen, posts);
    assert_eq!(world.feed().home(ada, Walk::NEWEST, 100).await.unwrap().posts(), posts);
}
