//! A feed's stream, end to end: what is published arrives at followers, and at nobody twice, however often they are cut
//! off. And what goes with it: counts of what is new, and why a post is in a feed or is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Person, Server, Setup, Tokens, Watching, get_current};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

fn told(watching: &Watching, post: &str) -> bool {
    watching.ids("NEW_POST").iter().any(|id| id == post)
}

async fn until_told(watching: &Watching, post: &str) {
    watching.until(post, |told| told.iter().any(|told| told.name == "NEW_POST" && told.data["id"] == post)).await;
}

/// The newest page of a feed, once all is in it, and the stream from there.
async fn load(person: &Person, tokens: &Tokens) -> (Value, Watching) {
    let page = get_current(&person.client, "/v1/feed?limit=100", tokens).await.expect(200);
    let watching = Watching::feed(&person.client, Some(&page.text("stream_position"))).await;
    (page.json(), watching)
}

#[tokio::test]
async fn a_new_post_arrives_at_followers_as_their_home_shows_it() {
    let server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let before = ada.publish("before", &mut tokens).await.id;
    let (page, of_ben) = load(&ben, &tokens).await;
    assert_eq!(page["items"][0]["id"], json!(before));
    let (_, of_ada) = load(&ada, &tokens).await;
    let (_, of_cleo) = load(&cleo, &tokens).await;

    let first = ada.publish("# First\n\n*really*", &mut tokens).await.id;
    let second = ada.publish_to("followers", "among us", &mut tokens).await.id;
    let unheard = cleo.publish("not for ben", &mut tokens).await.id;
    for watching in [&of_ben, &of_ada] {
        until_told(watching, &first).await;
        until_told(watching, &second).await;
        assert!(!told(watching, &unheard) && !told(watching, &before));
    }
    until_told(&of_cleo, &unheard).await;
    assert_eq!(of_cleo.ids("NEW_POST"), [unheard], "nobody hears of strangers");

    let home = ben.feed(20, &tokens).await;
    for item in of_ben.told() {
        assert!(item.id.is_some(), "each is something to resume from");
        assert!(home.contains(&item.data), "the stream tells {item:?}, and the home shows {home:?}");
    }
    server.verify().await;
}

#[tokio::test]
async fn a_feeds_stream_needs_somebody_and_sensible_words() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    for path in ["/v1/feed/stream", "/v1/feed/count?after=x", "/v1/feed/explain?post=x"] {
        assert_eq!(server.client().get(path).await.expect(401).problem().code, "unauthenticated");
    }
    let watching = Watching::feed(&ada.client, Some("nonsense")).await;
    assert_eq!(watching.first("reset").await.data, json!({ "reason": "malformed_position" }));
    assert!(watching.last_id().is_some_and(|id| id != "nonsense"), "it has something better to come back with");
    let [ben] = server.people(["ben"]).await;
    let (page, _) = load(&ben, &Tokens::default()).await;
    let of_ben = page["stream_position"].as_str().expect("a position");
    let watching = Watching::feed(&ada.client, Some(of_ben)).await;
    assert_eq!(watching.first("reset").await.data, json!({ "reason": "malformed_position" }), "others' ids are no use");
}

#[tokio::test]
async fn a_change_of_relations_is_a_reset_and_a_killed_server_is_none() {
    let mut server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let old = cleo.publish("from before", &mut tokens).await.id;
    let (_, watching) = load(&ben, &tokens).await;
    ben.follow(&cleo, &mut tokens).await;
    assert_eq!(watching.first("reset").await.data, json!({ "reason": "relations_changed" }));
    assert!(!told(&watching, &old), "a follow brings posts that are not new");

    let (page, mut watching) = load(&ben, &tokens).await;
    assert_eq!(page["items"][0]["id"], json!(old));
    let first = cleo.publish("seen", &mut tokens).await.id;
    until_told(&watching, &first).await;
    server.kill().await;
    watching.until_ended().await;
    server.start_again().await;
    let missed = [ada.publish("one", &mut tokens).await.id, cleo.publish("two", &mut tokens).await.id];
    let _ = get_current(&ben.client, "/v1/feed", &tokens).await.expect(200);
    watching.resume().await.expect("a stream");
    let last = ada.publish("three", &mut tokens).await.id;
    for post in missed.iter().chain([&last]) {
        until_told(&watching, post).await;
    }
    assert_eq!(watching.ids("NEW_POST").len(), 4, "each once: {:?}", watching.told());
    assert!(!watching.told().iter().any(|told| told.name == "reset"));

    // A block by the other ends the follow, too.
    cleo.block(&ben, &mut tokens).await;
    assert_eq!(watching.first("reset").await.data, json!({ "reason": "relations_changed" }));
}

/// T2, T4 and L1: trimming and hot authors take nothing from a stream.
#[tokio::test]
async fn trimmed_homes_and_hot_authors_are_resumed_exactly() {
    let limits = "[projections]\ntrim_at = 10\ntrim_to = 6\ntrim_every = 1\nhot_author_followers = 2\n";
    let server = Server::start_with(Setup { settings: limits.to_owned(), ..Setup::default() }).await;
    let [ada, ben, cleo, dora] = server.people(["ada", "ben", "cleo", "dora"]).await;
    let mut tokens = Tokens::default();
    for reader in [&ben, &cleo, &dora] {
        reader.follow(&ada, &mut tokens).await;
    }
    dora.follow(&ben, &mut tokens).await;
    // With this she is hot.
    ada.publish("to three", &mut tokens).await;
    let (_, mut watching) = load(&dora, &tokens).await;
    let live = ada.publish("merged", &mut tokens).await.id;
    until_told(&watching, &live).await;
    watching.cut();
    let mut expected = vec![live];
    for number in 0..40 {
        let author = if number % 2 == 0 { &ada } else { &ben };
        expected.push(author.publish(&number.to_string(), &mut tokens).await.id);
    }
    let _ = get_current(&dora.client, "/v1/feed", &tokens).await.expect(200);
    watching.resume().await.expect("a stream");
    for post in &expected {
        until_told(&watching, post).await;
    }
    assert_eq!(watching.ids("NEW_POST").len(), expected.len(), "each once");
    assert!(server.look().await.is_trimmed(&dora).await, "her home was trimmed: the test tests something");

    let why = get_current(&dora.client, &format!("/v1/feed/explain?post={}", expected[1]), &tokens).await;
    let why = why.expect(200).json();
    assert_eq!((&why["in_feed"], &why["author"]), (&json!(true), &json!(ada.id)));
    assert_eq!(why["rules"][1]["rule"], json!("followed"));
    assert!(why["rules"][1]["stream"].as_str().is_some_and(|stream| stream.starts_with("relation-")), "{why}");
    server.verify().await;
}

#[tokio::test]
async fn new_posts_are_counted_and_explained() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    ada.publish("on the page", &mut tokens).await;
    let page = get_current(&ben.client, "/v1/feed", &tokens).await.expect(200);
    let count = format!("/v1/feed/count?after={}", page.text("newest"));
    assert_eq!(ben.client.get(&count).await.expect(200).json(), json!({ "count": 0, "more": false }));
    let posts = [ada.publish("one", &mut tokens).await.id, ada.publish("two", &mut tokens).await.id];
    let counted = get_current(&ben.client, &count, &tokens).await.expect(200);
    assert_eq!(counted.json(), json!({ "count": 2, "more": false }));

    let explain = format!("/v1/feed/explain?post={}", posts[0]);
    let why = get_current(&ben.client, &explain, &tokens).await.expect(200).json();
    assert_eq!(why["in_feed"], json!(true), "{why}");
    ben.unfollow(&ada, &mut tokens).await;
    let why = get_current(&ben.client, &explain, &tokens).await.expect(200).json();
    assert_eq!((&why["in_feed"], &why["rules"][1]["passed"]), (&json!(false), &json!(false)), "{why}");
    let counted = get_current(&ben.client, &count, &tokens).await.expect(200);
    assert_eq!(counted.json(), json!({ "count": 0, "more": false }));
    ada.block(&ben, &mut tokens).await;
    let why = get_current(&ben.client, &explain, &tokens).await.expect(200).json();
    assert_eq!((&why["author"], &why["rules"][0]["rule"]), (&Value::Null, &json!("visible")), "{why}");
}

/// L1 at full speed: four people publish as fast as they can, and a reader who follows them is cut off again and again,
/// wherever that happens to be. They are never further ahead of the reader than a stream tells one by one, however slow the
/// machine is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_feed_that_is_cut_again_and_again_misses_nothing() {
    let cuts = crate::cases(200);
    let server = Server::start().await;
    let [reader, ada, ben, cleo, dora] = server.people(["reader", "ada", "ben", "cleo", "dora"]).await;
    let mut tokens = Tokens::default();
    for author in [&ada, &ben, &cleo, &dora] {
        reader.follow(author, &mut tokens).await;
    }
    let (_, mut watching) = load(&reader, &tokens).await;

    let (is_over, ahead) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(150)));
    let authors = [ada, ben, cleo, dora].map(|author| {
        let (is_over, ahead) = (is_over.clone(), ahead.clone());
        tokio::spawn(async move {
            let mut published = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                ahead.acquire().await.expect("is open").forget();
                published.push(author.publish("as fast as can be", &mut Tokens::default()).await.id);
            }
            published
        })
    });
    let mut random = harness::random("cuts at full speed");
    let mut seen = 0;
    for _ in 0..cuts {
        // So that something happens between two cuts; how much is chance.
        let more = watching.ids("NEW_POST").len() + random.random_range(0..4);
        watching.until("more", |told| told.len() >= more).await;
        // A cut takes some of it back, which is told again.
        let told = watching.ids("NEW_POST").len().max(seen);
        ahead.add_permits(told - std::mem::replace(&mut seen, told));
        watching.cut_before(random.random_range(0..3)).await;
        watching.resume().await.expect("a stream");
    }
    is_over.store(true, Ordering::Relaxed);
    // Whoever waits publishes once more, and then sees that it is over.
    ahead.add_permits(4);
    let mut published = BTreeSet::new();
    for author in authors {
        published.extend(author.await.expect("an author"));
    }
    watching
        .until("all that was published", |told| told.len() >= published.len() || told.iter().any(|t| t.name == "reset"))
        .await;
    let told = watching.told();
    assert!(told.iter().all(|told| told.name == "NEW_POST"), "nobody was so long away: {:?}", told.last());
    let once: BTreeSet<String> = watching.ids("NEW_POST").into_iter().collect();
    assert_eq!(once.len(), told.len(), "L1: nothing twice");
    assert_eq!(once, published, "L1: nothing missed");
    println!("{cuts} cuts, {} posts", published.len());
    server.verify().await;
}
