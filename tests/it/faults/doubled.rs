//! A record that is in the log twice, as a relay leaves it that died between the log's acknowledgement and its own note
//! of it.

use harness::{Person, Server, Tokens, walk};
use serde_json::json;

#[tokio::test]
async fn an_event_that_is_in_the_log_twice_counts_once() {
    let mut server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let post = ada.publish("doubled", &mut tokens).await.id;
    let comment = ben.comment(&post, "once", &mut tokens).await;
    ben.like(&post, &mut tokens).await;
    assert_eq!(ben.feed(20, &tokens).await.len(), 1);
    server.kill().await;
    let look = server.look().await;
    let records: Vec<_> = look.records().await.into_iter().filter_map(|logged| logged.record.ok()).collect();
    let doubled: Vec<_> = records.into_iter().filter(|record| record.lane.as_str() == post).collect();
    assert_eq!(doubled.len(), 3);
    let _ = look.stores().event_log.append(doubled).await.expect("the log takes them");
    drop(look);

    server.start_again().await;
    let token = ada.session["access_token"].as_str().expect("a token");
    let ada = Person { client: server.client().bearer(token), ..ada };
    let last = ada.comment(&post, "twice?", &mut tokens).await;
    let comments = walk(&ada.client, &format!("/v1/posts/{post}/comments"), 20, &tokens).await;
    assert_eq!(comments.iter().filter_map(|one| one["id"].as_str()).collect::<Vec<_>>(), [&last, &comment], "C2");
    let whole = ada.client.get(&format!("/v1/posts/{post}")).await.expect(200).json();
    assert_eq!((&whole["likes"], &whole["comments"]), (&json!(1), &json!(2)), "C2");
    server.verify().await;
}
