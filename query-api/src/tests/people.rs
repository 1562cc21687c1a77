//! People, lists of people, single comments and histories, as clients see them.

use adapters::views::{EdgeField, VersionRow};
use domain::post::Visibility;
use domain::text::Title;
use domain::{StreamId, Timestamp, UserId};
use http::StatusCode;
use serde_json::{Value, json};

use super::http_client::Client;
use super::world::World;
use crate::items::{CommentItem, ListPage, Profile, Profiles, RelatedPerson};

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

fn texts(users: &[UserId]) -> Vec<String> {
    users.iter().map(UserId::to_string).collect()
}

#[tokio::test]
async fn a_profile_has_names_numbers_and_what_the_two_are_to_each_other() {
    let world = World::new().await;
    let (ada, bob, cleo) = (world.person("ada").await, world.person("bob").await, world.person("cleo").await);
    world.follow(ada, bob).await;
    world.follow(cleo, bob).await;
    world.follow(bob, ada).await;
    world.edge(ada, bob, EdgeField::Muting(true)).await;
    world.publish(bob, "one").await;
    world.publish_to(bob, "two", Visibility::Followers, true).await;
    world.show(bob, "bob", "Builder.\nReader.", 2).await;
    let client = Client::new(&world);
    let path = format!("/v1/users/{bob}");
    let reply = client.by(ada).get(&path).await;
    let mut expected = json!({
        "id": bob, "username": "bob", "display_name": "\"bob\" 😀", "bio": "Builder.\nReader.",
        "registered_at": bob.timestamp(), "version": 2, "followers": 2, "following": 1, "posts": 2,
        "relation": {"following": true, "followed_by": true, "blocking": false, "muting": true},
    });
    assert_eq!(reply.body, expected);
    assert_eq!(reply.header("cache-control"), "private, no-store");
    let typed: Profile = serde_json::from_str(&reply.text).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), expected);
    // The muted see nothing of it.
    let seen = client.by(bob).get(&format!("/v1/users/{ada}")).await.body;
    let relation = json!({"following": true, "followed_by": true, "blocking": false, "muting": false});
    assert_eq!(seen["relation"], relation);
    expected["relation"] = json!(null);
    assert_eq!(client.anonymous().get(&path).await.body, expected);
    assert_eq!(client.by(bob).get(&path).await.body, expected, "one is nothing to oneself");
}

#[tokio::test]
async fn who_blocks_is_not_there_and_whom_one_blocks_is_shown() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.block(ada, bob).await;
    let client = Client::new(&world);
    let seen = client.by(ada).get(&format!("/v1/users/{bob}")).await.body;
    assert_eq!(seen["relation"]["blocking"], json!(true), "or nobody could lift a block");
    for path in ["", "/followers", "/following", "/posts"] {
        let reply = client.by(bob).get(&format!("/v1/users/{ada}{path}")).await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (404, &json!("not_found")), "{path}");
    }
    for path in ["/followers", "/following", "/posts"] {
        assert_eq!(client.by(ada).get(&format!("/v1/users/{bob}{path}")).await.status, StatusCode::NOT_FOUND);
    }
    let both = client.by(bob).get(&format!("/v1/users?ids={ada},{bob}")).await.body;
    assert_eq!(ids(&both), texts(&[bob]));
    let unknown = UserId::from_parts(Timestamp::from_millis(1), [9; 10]);
    for path in ["", "/followers", "/following"] {
        assert_eq!(client.by(bob).get(&format!("/v1/users/{unknown}{path}")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(client.anonymous().get(&format!("/v1/users/7{path}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn some_people_are_answered_in_the_order_asked_for() {
    let world = World::new().await;
    let (ada, bob, cleo) = (world.person("ada").await, world.person("bob").await, world.person("cleo").await);
    let unknown = UserId::from_parts(Timestamp::from_millis(1), [9; 10]);
    let client = Client::new(&world);
    let reply = client.by(ada).get(&format!("/v1/users?ids={cleo},{unknown},{ada},{cleo},{bob}")).await;
    assert_eq!(ids(&reply.body), texts(&[cleo, ada, bob]));
    let typed: Profiles = serde_json::from_str(&reply.text).unwrap();
    assert_eq!((typed.items[1].relation, typed.items[2].relation.is_some()), (None, true));
    let reply = client.anonymous().get("/v1/users?usernames=bob,nobody,ADA,bob").await;
    assert_eq!(ids(&reply.body), texts(&[bob, ada]));
    assert_eq!(client.anonymous().get(&format!("/v1/users?ids={unknown}")).await.body, json!({"items": []}));

    world.calls.take();
    let one = client.by(ada).get(&format!("/v1/users?ids={bob}")).await;
    assert_eq!(one.status, StatusCode::OK);
    let calls = world.calls.take();
    let many = [ada, bob, cleo].repeat(33).iter().map(UserId::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(client.by(ada).get(&format!("/v1/users?ids={many}")).await.body["items"].as_array().unwrap().len(), 3);
    assert_eq!(world.calls.take(), calls, "R2");
}

#[tokio::test]
async fn askings_for_people_that_are_not_allowed() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let client = Client::new(&world).by(ada);
    let many = |one: String| vec![one; 101].join(",");
    for (query, field) in [
        (String::new(), "ids"),
        ("ids=".to_owned(), "ids"),
        (format!("ids={ada},"), "ids"),
        (format!("ids={ada},7"), "ids"),
        (format!("ids={}", ada.to_string().to_uppercase()), "ids"),
        (format!("ids={}", many(ada.to_string())), "ids"),
        ("usernames=".to_owned(), "usernames"),
        ("usernames=ada,a%20b".to_owned(), "usernames"),
        (format!("usernames={}", many("ada".to_owned())), "usernames"),
        (format!("ids={ada}&usernames=ada"), "usernames"),
        (format!("ids={ada}&ids={ada}"), "ids"),
        (format!("ids={ada}&limit=3"), "limit"),
    ] {
        let reply = client.get(&format!("/v1/users?{query}")).await;
        assert_eq!((reply.status.as_u16(), &reply.body["field"]), (422, &json!(field)), "{query}: {}", reply.text);
    }
    let most = vec![ada.to_string(); 100].join(",");
    assert_eq!(client.get(&format!("/v1/users?ids={most}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn follows_are_listed_newest_first_without_those_kept_apart() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let mut people = Vec::new();
    for index in 0..8 {
        let person = world.person(&format!("person{index}")).await;
        people.push(person);
    }
    // Neither the order of accounts nor that of names.
    for index in [3, 0, 6, 1, 7, 2, 5, 4] {
        world.follow(people[index], ada).await;
        world.follow(ada, people[index]).await;
    }
    world.unfollow(people[7], ada).await;
    world.unfollow(ada, people[7]).await;
    world.edge(people[1], bob, EdgeField::Blocking(true)).await;
    world.edge(bob, people[2], EdgeField::Blocking(true)).await;
    let client = Client::new(&world);
    let everybody = [4, 5, 2, 1, 6, 0, 3].map(|index: usize| people[index]);
    let seen_by_bob = [4, 5, 6, 0, 3].map(|index: usize| people[index]);
    for list in ["followers", "following"] {
        for (client, expected) in [(client.anonymous(), &everybody[..]), (client.by(bob), &seen_by_bob[..])] {
            for limit in [1, 2, 3, 50] {
                let path = format!("/v1/users/{ada}/{list}?limit={limit}");
                let (mut seen, mut next) = (Vec::new(), Some(path.clone()));
                while let Some(at) = next {
                    let page: ListPage<RelatedPerson> = serde_json::from_str(&client.get(&at).await.text).unwrap();
                    assert!(page.items.len() <= limit && seen.len() < 20);
                    seen.extend(page.items);
                    next = page.next.map(|cursor| format!("{path}&before={cursor}"));
                }
                let found: Vec<UserId> = seen.iter().map(|item| item.person.id).collect();
                assert_eq!(found, expected, "{list} in pages of {limit}");
                assert!(seen.is_sorted_by_key(|item| std::cmp::Reverse(item.followed_at)), "newest first");
            }
        }
    }
    let first = &client.by(people[0]).get(&format!("/v1/users/{ada}/followers?limit=6")).await.body["items"];
    let relation = json!({"following": false, "followed_by": false, "blocking": false, "muting": false});
    assert_eq!((&first[0]["username"], &first[0]["relation"]), (&json!("person4"), &relation));
    assert!(first[0]["followed_at"].is_string());
    assert_eq!((&first[5]["username"], &first[5]["relation"]), (&json!("person0"), &json!(null)), "oneself");
    let foreign = client.anonymous().get(&format!("/v1/users/{ada}/followers?limit=1")).await.body;
    let cursor = foreign["next"].as_str().unwrap();
    let reply = client.anonymous().get(&format!("/v1/users/{ada}/following?before={cursor}")).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (400, &json!("invalid_cursor")));
}

#[tokio::test]
async fn ones_own_lists_name_whom_one_blocks_and_mutes() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let mut people = Vec::new();
    for index in 0..5 {
        people.push(world.person(&format!("person{index}")).await);
    }
    for index in [3, 0, 4] {
        world.edge(ada, people[index], EdgeField::Blocking(true)).await;
        world.edge(ada, people[index], EdgeField::Muting(true)).await;
    }
    world.edge(people[3], ada, EdgeField::Blocking(true)).await;
    world.edge(people[1], ada, EdgeField::Blocking(true)).await;
    world.edge(people[2], ada, EdgeField::Muting(true)).await;
    let client = Client::new(&world);
    for list in ["blocked", "muted"] {
        let path = format!("/v1/me/{list}");
        assert_eq!(client.anonymous().get(&path).await.status, StatusCode::UNAUTHORIZED);
        let whole = client.by(ada).get(&path).await.body;
        assert_eq!(ids(&whole), texts(&[people[4], people[3], people[0]]), "also who blocks in turn");
        let relation = json!({"following": false, "followed_by": false, "blocking": true, "muting": true});
        let item = json!({
            "id": people[4], "username": "person4", "display_name": "\"person4\" 😀", "relation": relation,
        });
        assert_eq!((&whole["items"][0], &whole["next"]), (&item, &json!(null)));
        let first = client.by(ada).get(&format!("{path}?limit=2")).await.body;
        let cursor = first["next"].as_str().unwrap();
        let second = client.by(ada).get(&format!("{path}?limit=2&before={cursor}")).await.body;
        assert_eq!((ids(&second), &second["next"]), (vec![people[0].to_string().as_str()], &json!(null)));
        let reply = client.by(people[0]).get(&format!("{path}?before={cursor}")).await;
        assert_eq!((reply.status.as_u16(), &reply.body["field"]), (400, &json!("before")), "another's cursor");
    }
    assert_eq!(ids(&client.by(people[2]).get("/v1/me/blocked").await.body), Vec::<&str>::new());
}

#[tokio::test]
async fn a_muted_authors_posts_are_in_no_home_and_everywhere_else() {
    let world = World::new().await;
    let (ada, bob, cleo) = (world.person("ada").await, world.person("bob").await, world.person("cleo").await);
    for author in [bob, cleo] {
        world.follow(ada, author).await;
    }
    let (muted, other) = (world.publish(bob, "muted").await, world.publish(cleo, "other").await);
    let client = Client::new(&world).by(ada);
    let home = async || client.get("/v1/feed").await.body;
    assert_eq!(ids(&home().await), [other.to_string(), muted.to_string()]);
    world.edge(ada, bob, EdgeField::Muting(true)).await;
    assert_eq!(ids(&home().await), [other.to_string()]);
    assert_eq!(client.get(&format!("/v1/posts/{muted}")).await.status, StatusCode::OK);
    assert_eq!(ids(&client.get(&format!("/v1/users/{bob}/posts")).await.body), [muted.to_string()]);
    // Hot authors and those below the mark are merged, and muted all the same.
    world.ports.views.mark_hot(super::world::GENERATION, &[bob]).await.unwrap();
    world.publish_hot(bob, "merged").await;
    assert_eq!(ids(&home().await), [other.to_string()]);
    world.edge(ada, bob, EdgeField::Muting(false)).await;
    assert_eq!(home().await["items"].as_array().unwrap().len(), 3);
}

/// The comment in the truth, as the command writes it.
async fn comment_in_the_truth(world: &World, comment: &CommentItem) {
    let state = domain::comment::Comment::Added {
        post: comment.post_id,
        author: comment.author.id,
        parent: comment.parent_id,
        text: comment.text.clone(),
        edited_at: comment.edited_at,
    };
    world.commit(StreamId::Comment(comment.id), &state, None).await;
}

#[tokio::test]
async fn a_comment_is_found_by_its_id_by_those_who_see_its_post() {
    let world = World::new().await;
    let (ada, bob, cleo) = (world.person("ada").await, world.person("bob").await, world.person("cleo").await);
    let post = world.publish_to(ada, "for followers", Visibility::Followers, true).await;
    world.follow(bob, ada).await;
    world.comment(post, bob, "well said").await;
    let client = Client::new(&world);
    let listed = client.by(ada).get(&format!("/v1/posts/{post}/comments")).await.body;
    let item: CommentItem = serde_json::from_value(listed["items"][0].clone()).unwrap();
    comment_in_the_truth(&world, &item).await;
    let path = format!("/v1/comments/{}", item.id);
    let reply = client.by(ada).get(&path).await;
    assert_eq!(reply.body, listed["items"][0], "as in the list");
    assert_eq!(reply.header("etag"), "\"1\"");
    for path in [path.clone(), format!("{path}/history"), format!("/v1/posts/{post}/history")] {
        assert_eq!(client.by(ada).get(&path).await.status, StatusCode::OK, "{path}");
        assert_eq!(client.by(cleo).get(&path).await.status, StatusCode::NOT_FOUND, "{path}: a stranger");
        assert_eq!(client.anonymous().get(&path).await.status, StatusCode::NOT_FOUND, "{path}: nobody");
    }
    world.follow(cleo, ada).await;
    assert_eq!(client.by(cleo).get(&path).await.status, StatusCode::OK);
    world.block(bob, cleo).await;
    for path in [path.clone(), format!("{path}/history")] {
        assert_eq!(client.by(cleo).get(&path).await.status, StatusCode::NOT_FOUND, "{path}: kept apart");
    }
    world.delete_post(post, ada).await;
    assert_eq!(client.by(bob).get(&path).await.status, StatusCode::NOT_FOUND, "its post is gone");
}

#[tokio::test]
async fn a_history_is_paged_newest_first() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let post = world.publish(ada, "version 5").await;
    let at = |sequence: u64| Timestamp::from_millis(1_700_000_000_000 + i64::try_from(sequence).unwrap());
    for sequence in 1..=5 {
        let title = (sequence > 1).then(|| Title::parse(&format!("Title {sequence}")).unwrap());
        let stream = StreamId::Post(post);
        let text = format!("version {sequence}");
        world.keep_version(post, VersionRow { stream, sequence, at: at(sequence), title, text }).await;
    }
    let client = Client::new(&world).anonymous();
    let path = format!("/v1/posts/{post}/history");
    let whole = client.get(&path).await.body;
    let item = json!({"version": 5, "at": at(5), "title": "Title 5", "markdown": "version 5"});
    assert_eq!((&whole["items"][0], &whole["next"]), (&item, &json!(null)));
    assert_eq!(whole["items"][4], json!({"version": 1, "at": at(1), "title": null, "markdown": "version 1"}));
    let first = client.get(&format!("{path}?limit=3")).await.body;
    let cursor = first["next"].as_str().unwrap();
    let second = client.get(&format!("{path}?limit=3&before={cursor}")).await.body;
    let versions = |page: &Value| {
        page["items"].as_array().unwrap().iter().map(|item| item["version"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(versions(&first), [Some(5), Some(4), Some(3)]);
    assert_eq!((versions(&second), &second["next"]), (vec![Some(2), Some(1)], &json!(null)));
    let reply = client.get(&format!("/v1/posts/{post}/comments?before={cursor}")).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (400, &json!("invalid_cursor")));
}
