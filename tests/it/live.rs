//! From command to live comment, and what a stream tells of everything else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Person, Server, Tokens, Told, Watching, get_current};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

async fn story() -> (Server, [Person; 3]) {
    let server = Server::start().await;
    let people = server.people(["ada", "ben", "cleo"]).await;
    (server, people)
}

#[tokio::test]
async fn a_comment_arrives_at_whoever_watches() {
    let (server, [ada, ben, _]) = story().await;
    let mut tokens = Tokens::default();
    let post = ada.publish("first", &mut tokens).await;
    let watching = Watching::post(&ada.client, &post.id, None).await;
    let anonymous = Watching::post(&server.client(), &post.id, None).await;

    let comment = ben.comment(&post.id, "congratulations", &mut tokens).await;
    let reply = json!({ "text": "thanks", "parent_id": comment });
    let reply = ada.client.post(&format!("/v1/posts/{}/comments", post.id), &reply).await.expect(201).text("id");

    for watching in [&watching, &anonymous] {
        watching
            .until("both comments", |told| told.iter().filter(|told| told.name == "NEW_COMMENT").count() == 2)
            .await;
        assert_eq!(watching.ids("NEW_COMMENT"), [comment.clone(), reply.clone()]);
        // A live comment is what the query gives.
        let listed = harness::walk(&server.client(), &format!("/v1/posts/{}/comments", post.id), 50, &tokens).await;
        let told: Vec<Value> =
            watching.told().into_iter().filter(|told| told.name == "NEW_COMMENT").map(|told| told.data).collect();
        assert_eq!(told.into_iter().rev().collect::<Vec<_>>(), listed);
    }
    let first = watching.first("NEW_COMMENT").await;
    assert_eq!(first.data["author"], json!({ "id": ben.id, "username": "ben", "display_name": "ben" }));
    assert_eq!(first.data["parent_id"], Value::Null);
    assert!(first.id.is_some(), "a comment is something to resume from");
}

#[tokio::test]
async fn likes_arrive_as_absolute_numbers_without_an_id() {
    let (_server, [ada, ben, cleo]) = story().await;
    let mut tokens = Tokens::default();
    let post = ada.publish("like me", &mut tokens).await;
    ada.like(&post.id, &mut tokens).await;
    // Once the count is made, a new stream begins with it.
    let _ = get_current(&ada.client, &format!("/v1/posts/{}", post.id), &tokens).await.expect(200);
    let watching = Watching::post(&ada.client, &post.id, None).await;
    watching.until("the present number", |told| told.iter().any(|told| told.data == json!({ "likes": 1 }))).await;

    ben.like(&post.id, &mut tokens).await;
    cleo.like(&post.id, &mut tokens).await;
    cleo.like(&post.id, &mut tokens).await;
    watching.until("all likes", |told| told.iter().any(|told| told.data == json!({ "likes": 3 }))).await;
    ben.unlike(&post.id, &mut tokens).await;
    watching
        .until("the withdrawn like", |told| told.last().is_some_and(|told| told.data == json!({ "likes": 2 })))
        .await;

    let told = watching.told();
    assert!(told.iter().all(|told| told.name == "LIKES" && told.id.is_none()), "likes carry no id: {told:#?}");
    assert!(told.windows(2).all(|pair| pair[0].data != pair[1].data), "told only when changed: {told:#?}");

    let likes = harness::walk(&ada.client, &format!("/v1/posts/{}/likes", post.id), 1, &tokens).await;
    let likes: Vec<&Value> = likes.iter().map(|like| &like["user"]["username"]).collect();
    assert_eq!(likes, ["cleo", "ada"], "newest first");
}

#[tokio::test]
async fn edits_and_deletions_arrive() {
    let (server, [ada, ben, cleo]) = story().await;
    let mut tokens = Tokens::default();
    let post = ada.publish("draft", &mut tokens).await;
    let first = ben.comment(&post.id, "frist", &mut tokens).await;
    let second = cleo.comment(&post.id, "rude", &mut tokens).await;
    // What the stream begins with is what there is.
    let _ = get_current(&ben.client, &format!("/v1/posts/{}/comments", post.id), &tokens).await.expect(200);
    let watching = Watching::post(&ben.client, &post.id, None).await;

    let edited =
        ben.client.edit(&format!("/v1/comments/{first}"), "\"1\"", &json!({ "text": "first" })).await.expect(200);
    assert_eq!((edited.header("etag"), &edited.json()["version"]), (Some("\"2\""), &json!(2)));
    // The post's author keeps their own house.
    ada.delete(&format!("/v1/comments/{second}"), &mut tokens).await;
    let edited =
        ada.client.edit(&format!("/v1/posts/{}", post.id), &post.etag, &json!({ "markdown": "**final**" })).await;
    let edited = edited.expect(200);
    tokens.add(&edited);
    watching.first("POST_EDITED").await;

    let told: Vec<(String, Value)> =
        watching.told().into_iter().filter(|told| told.name != "LIKES").map(|told| (told.name, told.data)).collect();
    let edited_at = |told: &Value| told["edited_at"].as_str().expect("a time").to_owned();
    let expected = [
        (
            "COMMENT_EDITED",
            json!({ "id": first, "post_id": post.id, "text": "first", "edited_at": edited_at(&told[0].1) }),
        ),
        ("COMMENT_DELETED", json!({ "id": second, "post_id": post.id })),
        ("POST_EDITED", json!({ "id": post.id, "version": 2, "edited_at": edited.text("edited_at") })),
    ];
    assert_eq!(told, expected.map(|(name, data)| (name.to_owned(), data)));

    let whole = get_current(&server.client(), &format!("/v1/posts/{}", post.id), &tokens).await.expect(200);
    assert_eq!(whole.header("etag"), Some("\"2\""));
    let whole = whole.json();
    assert_eq!((&whole["markdown"], &whole["comments"]), (&json!("**final**"), &json!(1)));
    assert!(whole["html"].as_str().is_some_and(|html| html.contains("<strong>final</strong>")), "{whole}");

    ada.delete(&format!("/v1/posts/{}", post.id), &mut tokens).await;
    let gone = watching.first("POST_DELETED").await;
    assert_eq!(gone.data, json!({ "id": post.id }));
    watching.until_ended().await;
    let after = get_current(&server.client(), &format!("/v1/posts/{}", post.id), &tokens).await.expect(404);
    assert_eq!(after.problem().code, "not_found");
}

/// L1: what happened meanwhile is told once, with its present text.
#[tokio::test]
async fn a_stream_that_was_cut_goes_on_where_it_was() {
    let (_server, [ada, ben, cleo]) = story().await;
    let mut tokens = Tokens::default();
    let post = ada.publish("watch", &mut tokens).await;
    let mut watching = Watching::post(&cleo.client, &post.id, None).await;
    let seen = ben.comment(&post.id, "seen", &mut tokens).await;
    watching.until("the first", |told| told.iter().any(|told| told.name == "NEW_COMMENT")).await;

    watching.cut();
    let next = cleo.comment(&post.id, "next", &mut tokens).await;
    let missed = ben.comment(&post.id, "mised", &mut tokens).await;
    let fleeting = ben.comment(&post.id, "fleeting", &mut tokens).await;
    ben.delete(&format!("/v1/comments/{fleeting}"), &mut tokens).await;
    let edited =
        ben.client.edit(&format!("/v1/comments/{missed}"), "\"1\"", &json!({ "text": "missed" })).await.expect(200);
    tokens.add(&edited);
    let edited =
        ben.client.edit(&format!("/v1/comments/{seen}"), "\"1\"", &json!({ "text": "seen!" })).await.expect(200);
    tokens.add(&edited);
    // All of it has happened before the stream comes back.
    let _ = get_current(&ben.client, &format!("/v1/posts/{}/comments", post.id), &tokens).await.expect(200);
    watching.resume().await.expect("a stream");
    let last = ben.comment(&post.id, "last", &mut tokens).await;
    watching.until("the last", |told| told.iter().any(|told| told.data["id"] == last)).await;

    assert_eq!(watching.ids("NEW_COMMENT"), [seen.clone(), next, missed.clone(), last]);
    let told = watching.told();
    let text = told.iter().find(|told| told.data["id"] == missed).map(|told| told.data["text"].clone());
    assert_eq!(text, Some(json!("missed")), "the present text");
    assert_eq!(watching.ids("COMMENT_EDITED"), [seen], "what was new is not told as an edit, too: {told:#?}");
    assert!(!told.iter().any(|told| told.data["id"] == fleeting), "nothing of what came and went: {told:#?}");

    // The position that a page names is where its stream starts from.
    let page = get_current(&ada.client, &format!("/v1/posts/{}/comments", post.id), &tokens).await.expect(200);
    let from = page.text("stream_position");
    let watching = Watching::post(&ada.client, &post.id, Some(&from)).await;
    let next = ben.comment(&post.id, "after the page", &mut tokens).await;
    watching.until("the next", |told| told.iter().any(|told| told.data["id"] == next)).await;
    assert_eq!(watching.ids("NEW_COMMENT"), [next]);
}

/// L1: never a silent gap.
#[tokio::test]
async fn an_id_from_elsewhere_is_answered_by_a_reset() {
    let (server, [ada, _, _]) = story().await;
    let mut tokens = Tokens::default();
    let post = ada.publish("here", &mut tokens).await;
    let page = get_current(&ada.client, &format!("/v1/posts/{}/comments", post.id), &tokens).await.expect(200);
    let position = page.text("stream_position");
    let (place, offset) = position.rsplit_once('-').expect("a position");
    let (log, partition) = place.split_once('-').expect("a position");
    let offset: i64 = offset.parse().expect("an offset");
    let elsewhere = if partition == "p0" { "p1" } else { "p0" };
    let ids = [
        "nonsense".to_owned(),
        format!("0123456789abcdef-{partition}-{offset}"),
        format!("{log}-{elsewhere}-{offset}"),
        format!("{log}-{partition}-{}", offset + 1_000_000),
    ];
    for id in ids {
        let watching = Watching::post(&server.client(), &post.id, Some(&id)).await;
        let reset = watching.first("reset").await;
        assert!(reset.data["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{id}: {reset:?}");
    }
}

/// R3: whom a block keeps apart do not hear each other.
#[tokio::test]
async fn a_block_ends_what_a_stream_tells() {
    let (_server, [ada, ben, cleo]) = story().await;
    let mut tokens = Tokens::default();
    let post = cleo.publish("open house", &mut tokens).await;
    let watching = Watching::post(&ada.client, &post.id, None).await;
    let before = ben.comment(&post.id, "before", &mut tokens).await;
    watching.until("before", |told| told.iter().any(|told| told.data["id"] == before)).await;

    ada.block(&ben, &mut tokens).await;
    // The block is in force once a page shows that it is.
    let _ = get_current(&ada.client, &format!("/v1/users/{}/posts", ben.id), &tokens).await.expect(404);
    let unheard = ben.comment(&post.id, "unheard", &mut tokens).await;
    let heard = cleo.comment(&post.id, "heard", &mut tokens).await;
    watching.until("heard", |told| told.iter().any(|told| told.data["id"] == heard)).await;
    assert_eq!(watching.ids("NEW_COMMENT"), [before.clone(), heard.clone()]);
    let page = harness::walk(&ada.client, &format!("/v1/posts/{}/comments", post.id), 50, &tokens).await;
    let page: Vec<&str> = page.iter().filter_map(|comment| comment["id"].as_str()).collect();
    assert_eq!(page, [&heard], "nor does a page show {before} or {unheard}");
}

/// L1 at full speed: people comment as fast as they can, and watchers are cut off again and again, wherever that happens to
/// be, and lose some of what had arrived. Nobody who comments is further ahead of any of them than a stream tells one by
/// one, however slow the machine is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_stream_that_is_cut_again_and_again_sees_every_comment_once() {
    const WATCHERS: usize = 4;
    const AHEAD: usize = 100;
    let cuts = crate::cases(1_000) as usize / WATCHERS;
    let (server, [ada, ben, cleo]) = story().await;
    let post = ada.publish("much to say about", &mut Tokens::default()).await.id;
    // Those who lose all that they have heard have this to go on from.
    let position = server.client().get(&format!("/v1/posts/{post}")).await.expect(200).text("stream_position");
    let (mut watchers, mut turns) = (JoinSet::new(), Vec::new());
    for number in 0..WATCHERS {
        let turn = Arc::new(Semaphore::new(AHEAD));
        turns.push(Arc::clone(&turn));
        let watching = Watching::post(&server.client(), &post, Some(&position)).await;
        let random = harness::random(&format!("cuts of stream {number}"));
        watchers.spawn(cut_again_and_again(watching, turn, cuts, random));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let commenting = [ben, cleo].map(|author| {
        let (is_over, turns, post) = (is_over.clone(), turns.clone(), post.clone());
        tokio::spawn(async move {
            let mut said = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                for turn in &turns {
                    turn.acquire().await.expect("is open").forget();
                }
                said.push(author.comment(&post, "as fast as can be", &mut Tokens::default()).await);
            }
            said
        })
    });
    let watchers = watchers.join_all().await;
    is_over.store(true, Ordering::Relaxed);
    let mut said = BTreeSet::new();
    for commenting in commenting {
        said.extend(commenting.await.expect("an author"));
    }
    for watching in &watchers {
        watching.until("all that was said", |told| comments(told) >= said.len()).await;
        assert!(watching.told().iter().all(|told| told.name != "reset"), "nobody was so long away");
        let told = watching.ids("NEW_COMMENT");
        let once: BTreeSet<String> = told.iter().cloned().collect();
        assert_eq!(once.len(), told.len(), "L1: nothing twice");
        assert_eq!(once, said, "L1: nothing missed");
    }
    println!("{} cuts, {} comments", cuts * WATCHERS, said.len());
    server.verify().await;
}

fn comments(told: &[Told]) -> usize {
    told.iter().filter(|told| told.name == "NEW_COMMENT").count()
}

async fn cut_again_and_again(
    mut watching: Watching,
    turn: Arc<Semaphore>,
    cuts: usize,
    mut random: ChaCha8Rng,
) -> Watching {
    let mut seen = 0;
    for _ in 0..cuts {
        let told = watching.count("NEW_COMMENT").max(seen);
        turn.add_permits(told - std::mem::replace(&mut seen, told));
        // How much happens between two cuts is chance, and a cut takes some of it back, which is told again.
        let more = told + random.random_range(0..3);
        watching.until("more", |told| comments(told) >= more).await;
        watching.cut_before(random.random_range(0..3)).await;
        watching.resume().await.expect("a stream");
    }
    // It watches on, and nobody waits for it any more.
    turn.add_permits(Semaphore::MAX_PERMITS / 2);
    watching
}
