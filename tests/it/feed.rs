//! Homes: what is in them, in which order, and to their end.

use harness::{Person, Server, Setup, Tokens, get_current, walk};
use serde_json::{Value, json};

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

async fn home(person: &Person, tokens: &Tokens) -> Vec<String> {
    let small = ids(&person.feed(3, tokens).await);
    let large = ids(&person.feed(100, tokens).await);
    assert_eq!(small, large, "the size of pages changes nothing");
    large
}

#[tokio::test]
async fn a_home_is_the_followed_authors_and_ones_own_newest_first() {
    let server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    let mut expected = Vec::new();
    for number in 0..4 {
        expected.insert(0, ada.publish(&format!("ada's {number}"), &mut tokens).await.id);
        if number == 1 {
            // Before and after: what was there is copied, what comes is fanned out.
            cleo.follow(&ada, &mut tokens).await;
            cleo.follow(&ben, &mut tokens).await;
        }
        expected.insert(0, ben.publish(&format!("ben's {number}"), &mut tokens).await.id);
        expected.insert(0, cleo.publish(&format!("cleo's own {number}"), &mut tokens).await.id);
    }
    assert_eq!(home(&cleo, &tokens).await, expected);

    let item = &cleo.feed(1, &tokens).await[2];
    let author = json!({ "id": ada.id, "username": "ada", "display_name": "ada" });
    assert_eq!((&item["author"], &item["text"], &item["likes"]), (&author, &json!("ada's 3"), &json!(0)));
    cleo.like(&expected[2], &mut tokens).await;
    ben.comment(&expected[2], "well said", &mut tokens).await;
    let item = &cleo.feed(20, &tokens).await[2];
    assert_eq!((&item["likes"], &item["comments"], &item["liked_by_me"]), (&json!(1), &json!(1), &json!(true)));
    let seen_by_ben = walk(&ben.client, &format!("/v1/users/{}/posts", ada.id), 20, &tokens).await;
    assert_eq!((&seen_by_ben[0]["likes"], &seen_by_ben[0]["liked_by_me"]), (&json!(1), &json!(false)));

    // Forwards again: what is newer than a cursor, newest first like any page.
    let page = cleo.client.get("/v1/feed?limit=5").await.expect(200);
    let next = page.text("next");
    let newer = cleo.client.get(&format!("/v1/feed?limit=5&after={next}")).await.expect(200).json();
    let newer = ids(newer["items"].as_array().expect("items"));
    assert!(newer.iter().all(|id| expected[..5].contains(id)), "{newer:?} is above the cursor");
}

#[tokio::test]
async fn unfollowing_and_blocking_take_posts_out_at_once() {
    let server = Server::start().await;
    let [ada, ben, cleo, dora] = server.people(["ada", "ben", "cleo", "dora"]).await;
    let mut tokens = Tokens::default();
    for reader in [&ben, &cleo, &dora] {
        reader.follow(&ada, &mut tokens).await;
    }
    let post = ada.publish("for all", &mut tokens).await.id;
    for reader in [&ben, &cleo, &dora] {
        assert_eq!(home(reader, &tokens).await, std::slice::from_ref(&post));
    }
    ben.unfollow(&ada, &mut tokens).await;
    ada.block(&cleo, &mut tokens).await;
    assert_eq!(home(&ben, &tokens).await, [] as [&str; 0]);
    assert_eq!(home(&cleo, &tokens).await, [] as [&str; 0]);
    assert_eq!(home(&dora, &tokens).await, std::slice::from_ref(&post), "nobody else is affected");

    // To the blocked it is not there, and they cannot follow, comment or like.
    let path = format!("/v1/posts/{post}");
    let _ = get_current(&cleo.client, &path, &tokens).await.expect(404);
    let _ = cleo.client.put(&format!("{path}/like")).await.expect(404);
    let _ = cleo.client.post(&format!("{path}/comments"), &json!({ "text": "let me in" })).await.expect(404);
    let refused = cleo.client.put(&format!("/v1/users/{}/follow", ada.id)).await.expect(409);
    assert_eq!(refused.problem().code, "blocked");
    // One who merely does not follow may still read what is public.
    let _ = ben.client.get(&path).await.expect(200);

    // An unblock restores no follow; a new follow brings everything back.
    ada.unblock(&cleo, &mut tokens).await;
    assert_eq!(home(&cleo, &tokens).await, [] as [&str; 0]);
    for reader in [&ben, &cleo] {
        reader.follow(&ada, &mut tokens).await;
        assert_eq!(home(reader, &tokens).await, std::slice::from_ref(&post));
    }
    server.verify().await;
}

#[tokio::test]
async fn posts_for_followers_are_for_followers() {
    let server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let secret = ada.publish_to("followers", "among us", &mut tokens).await.id;
    let open = ada.publish("for everybody", &mut tokens).await.id;

    assert_eq!(home(&ben, &tokens).await, [open.clone(), secret.clone()]);
    assert_eq!(home(&ada, &tokens).await, [open.clone(), secret.clone()]);
    let posts = format!("/v1/users/{}/posts", ada.id);
    assert_eq!(ids(&walk(&cleo.client, &posts, 20, &tokens).await), std::slice::from_ref(&open));
    assert_eq!(ids(&walk(&server.client(), &posts, 20, &tokens).await), std::slice::from_ref(&open));
    assert_eq!(ids(&walk(&ben.client, &posts, 1, &tokens).await), [open, secret.clone()]);

    for stranger in [&cleo.client, &server.client()] {
        for path in ["", "/comments", "/likes", "/stream"] {
            let answer = stranger.get(&format!("/v1/posts/{secret}{path}")).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.shown());
        }
    }
    let _ = cleo.client.put(&format!("/v1/posts/{secret}/like")).await.expect(404);
    let _ = cleo.client.post(&format!("/v1/posts/{secret}/comments"), &json!({ "text": "hm" })).await.expect(404);
    ben.like(&secret, &mut tokens).await;
    ben.unfollow(&ada, &mut tokens).await;
    let _ = get_current(&ben.client, &format!("/v1/posts/{secret}"), &tokens).await.expect(404);
}

#[tokio::test]
async fn a_deleted_post_leaves_every_list_and_cursors_stay_good() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let mut posts = Vec::new();
    for number in 0..7 {
        posts.insert(0, ada.publish(&number.to_string(), &mut tokens).await.id);
    }
    let page = get_current(&ben.client, "/v1/feed?limit=3", &tokens).await.expect(200);
    let cursor = page.text("next");
    assert_eq!(ids(page.json()["items"].as_array().expect("items")), posts[..3]);
    // The post that the cursor stands at, and one further on.
    for gone in [&posts[2], &posts[4]] {
        ada.delete(&format!("/v1/posts/{gone}"), &mut tokens).await;
        let _ = ada.client.delete(&format!("/v1/posts/{gone}")).await.expect(404);
    }
    let rest = get_current(&ben.client, &format!("/v1/feed?limit=3&before={cursor}"), &tokens).await.expect(200);
    assert_eq!(
        ids(rest.json()["items"].as_array().expect("items")),
        [&posts[3], &posts[5], &posts[6]].map(Clone::clone)
    );
    let left = [0, 1, 3, 5, 6].map(|index: usize| posts[index].clone());
    assert_eq!(home(&ben, &tokens).await, left);
    assert_eq!(home(&ada, &tokens).await, left);
    server.verify().await;
}

/// T1, T2: trimming ends no feed; T4: neither does becoming hot.
#[tokio::test]
async fn trimmed_homes_and_hot_authors_lose_nothing() {
    let limits = "[projections]\ntrim_at = 10\ntrim_to = 6\ntrim_every = 1\nhot_author_followers = 2\n";
    let server = Server::start_with(Setup { settings: limits.to_owned(), ..Setup::default() }).await;
    let [ada, ben, cleo, dora] = server.people(["ada", "ben", "cleo", "dora"]).await;
    let mut tokens = Tokens::default();
    dora.follow(&ada, &mut tokens).await;
    dora.follow(&ben, &mut tokens).await;
    let mut expected = Vec::new();
    for number in 0..45 {
        // Half-way through ada becomes hot: from the third follower on she is merged and not fanned out.
        if number == 20 {
            ben.follow(&ada, &mut tokens).await;
        }
        if number == 25 {
            cleo.follow(&ada, &mut tokens).await;
            // Her next post is to be decided on with all three followers in place.
            let _ = home(&cleo, &tokens).await;
        }
        let author = if number % 3 == 0 { &ben } else { &ada };
        expected.insert(0, author.publish(&number.to_string(), &mut tokens).await.id);
    }
    assert_eq!(home(&dora, &tokens).await, expected);

    let look = server.look().await;
    assert!(look.is_trimmed(&dora).await, "her home was trimmed: the test tests something");
    let everybody = [&ada, &ben, &cleo, &dora];
    assert_eq!(look.hot(&everybody).await, std::slice::from_ref(&ada.id), "ada is hot, and nobody else");

    // A late follower gets as much, to the same end.
    cleo.follow(&ben, &mut tokens).await;
    assert_eq!(home(&cleo, &tokens).await, expected);
    // Who has crossed the threshold once stays merged.
    cleo.unfollow(&ada, &mut tokens).await;
    ben.unfollow(&ada, &mut tokens).await;
    expected.insert(0, ada.publish("still merged", &mut tokens).await.id);
    assert_eq!(home(&dora, &tokens).await, expected);
    server.verify().await;
}
