//! Content and log in two files: the outbox and its relay bring every event over, in order, whatever fails.

use std::collections::BTreeMap;

use harness::{Event, Server, Setup, Stores, Tokens, TruthFiles, walk};
use serde_json::json;

fn setup() -> Setup {
    Setup { stores: Stores::EmbeddedApart, ..Setup::default() }
}

/// Events that wait for the log, whether that can be opened or not.
fn waiting(files: &TruthFiles) -> i64 {
    files.content().query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).expect("a number")
}

/// W3: in the log the first occurrence of n comes after the first of n - 1.
fn assert_in_order(events: &[Event]) {
    let mut newest = BTreeMap::<String, u64>::new();
    for event in events {
        let newest = newest.entry(event.subject.clone()).or_default();
        assert!(event.sequence <= *newest + 1, "W3: {} jumps from {newest} to {}", event.subject, event.sequence);
        *newest = event.sequence.max(*newest);
    }
}

#[tokio::test]
async fn commands_are_accepted_while_the_log_is_down_and_arrive_after_a_kill() {
    let mut server = Server::start_with(setup()).await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let post = ada.publish("before", &mut tokens).await;
    assert_eq!(ben.feed(20, &tokens).await.len(), 1);
    let files = server.files();

    // Another process holds the log's file: nothing can be appended.
    let held = TruthFiles::changing(&files.event_log);
    held.execute_batch("BEGIN IMMEDIATE").expect("the log is held");
    let mut expected = vec![post.id.clone()];
    for number in 0..10 {
        expected.insert(0, ada.publish(&number.to_string(), &mut tokens).await.id);
    }
    let comment = ben.comment(&post.id, "frist", &mut tokens).await;
    let edited =
        ben.client.edit(&format!("/v1/comments/{comment}"), "\"1\"", &json!({ "text": "first" })).await.expect(200);
    tokens.add(&edited);
    ada.like(&post.id, &mut tokens).await;
    ada.unlike(&post.id, &mut tokens).await;
    ada.like(&post.id, &mut tokens).await;
    assert_eq!(waiting(&files), 15, "all of it waits");
    let behind = ben.client.get_after("/v1/feed", &tokens.header()).await.expect(200);
    assert_eq!(behind.header("consistency"), Some("behind"), "W7");

    server.kill().await;
    held.execute_batch("ROLLBACK").expect("the log is free");
    drop(held);
    server.start_again().await;
    let again = |person: &harness::Person| {
        let token = person.session["access_token"].as_str().expect("a token");
        harness::Person { client: server.client().bearer(token), ..person.clone() }
    };
    let (ada, ben) = (again(&ada), again(&ben));
    let feed: Vec<String> =
        ben.feed(4, &tokens).await.iter().filter_map(|post| post["id"].as_str().map(str::to_owned)).collect();
    assert_eq!(feed, expected);
    let comments = walk(&ada.client, &format!("/v1/posts/{}/comments", post.id), 20, &tokens).await;
    assert_eq!((comments.len(), &comments[0]["text"], &comments[0]["version"]), (1, &json!("first"), &json!(2)));
    let whole = ada.client.get(&format!("/v1/posts/{}", post.id)).await.expect(200).json();
    assert_eq!((&whole["likes"], &whole["liked_by_me"]), (&json!(1), &json!(true)));
    server.settled().await;
    assert_in_order(&server.events(None).await);
    server.verify().await;
    assert!(server.terminate().await.success());
    server.verify().await;
}

/// What waits in the outbox is named by `verify`.
#[tokio::test]
async fn what_a_killed_server_left_in_the_outbox_is_not_forgotten() {
    let mut server = Server::start_with(setup()).await;
    let [ada] = server.people(["ada"]).await;
    let mut tokens = Tokens::default();
    let files = server.files();
    let held = TruthFiles::changing(&files.event_log);
    held.execute_batch("BEGIN IMMEDIATE").expect("the log is held");
    let post = ada.publish("waits", &mut tokens).await.id;
    server.kill().await;
    held.execute_batch("ROLLBACK").expect("the log is free");
    drop(held);
    assert_eq!(waiting(&files), 1);
    let judged = server.run(&["verify"]).await;
    // Nobody has lost anything, so nothing differs; but whoever asks is told that something waits, and of what.
    assert!(judged.text.contains(&format!("post-{post} (1 events)")), "{}", judged.text);
    let _ = judged.expect(0);
    server.start_again().await;
    let path = format!("/v1/users/{}/posts", ada.id);
    let shown = walk(&server.client(), &path, 20, &tokens).await;
    assert_eq!(shown.iter().filter_map(|post| post["id"].as_str()).collect::<Vec<_>>(), [&post]);
    server.verify().await;
}
