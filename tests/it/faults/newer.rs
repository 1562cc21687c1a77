//! A type of event that this version does not know, as a newer one writes it during a rolling upgrade: it parks its lane
//! and no other (P4), and waits there until somebody decides.

use std::collections::BTreeSet;

use domain::{EventId, Timestamp};
use harness::{Server, Tokens, eventually, get_current, walk};
use serde_json::{Value, json};

/// Projection and lane of what is parked.
async fn parked(server: &Server) -> BTreeSet<(String, String)> {
    let letters = server.run(&["dead-letters", "list", "--json"]).await.expect(0).text;
    let letters: Value = serde_json::from_str(&letters).unwrap_or_else(|error| panic!("{error}: {letters}"));
    let letters = letters["items"].as_array().expect("items").clone();
    let text = |letter: &Value, field: &str| letter[field].as_str().expect("a text").to_owned();
    letters.iter().map(|letter| (text(letter, "projection"), text(letter, "lane"))).collect()
}

#[tokio::test]
async fn what_a_newer_version_writes_holds_up_one_lane_until_somebody_decides() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let sick = ada.publish("sick", &mut tokens).await.id;
    let well = ada.publish("well", &mut tokens).await.id;
    server.settled().await;

    let look = server.look().await;
    let subject = format!("post-{sick}");
    let mut records = look.records().await.into_iter().filter_map(|logged| logged.record.ok());
    let mut newer = records.find(|record| record.attributes.subject == subject).expect("the post's event");
    newer.attributes.id = EventId::from_parts(Timestamp::from_millis(1_700_000_000_000), rand::random());
    newer.attributes.schema.kind = "post.celebrated".to_owned();
    newer.attributes.sequence = 2;
    let _ = look.stores().event_log.append(vec![newer]).await.expect("the log takes it");
    drop(look);

    let parked = eventually("the lane is parked, and no other", async || {
        let parked = parked(&server).await;
        let of_others = parked.iter().any(|(_, lane)| *lane != sick);
        // Whoever reads the posts' topic has come to it.
        if parked.len() >= 2 && !of_others { Ok(parked) } else { Err(format!("{parked:?}")) }
    })
    .await;
    let mut going_on = Tokens::default();
    ben.comment(&well, "this one goes on", &mut going_on).await;
    let page = get_current(&ben.client, &format!("/v1/posts/{well}"), &going_on).await.expect(200).json();
    assert_eq!(page["comments"], 1);
    let mut waiting = Tokens::default();
    ben.comment(&sick, "this one waits", &mut waiting).await;
    let behind = ben.client.get_after(&format!("/v1/posts/{sick}/comments"), &waiting.header()).await.expect(200);
    assert_eq!((behind.header("consistency"), &behind.json()["items"]), (Some("behind"), &json!([])), "W7");

    for (projection, lane) in &parked {
        let dropped = server.run(&["dead-letters", "drop", projection, lane]).await.expect(0);
        assert!(dropped.text.contains("events left out: 1"), "{}", dropped.text);
    }
    assert_eq!(walk(&ben.client, &format!("/v1/posts/{sick}/comments"), 20, &waiting).await.len(), 1, "P3");
    let judged = server.run(&["verify"]).await.expect(1);
    assert!(judged.text.contains("was dropped at") && judged.text.contains(&sick), "{}", judged.text);
}
