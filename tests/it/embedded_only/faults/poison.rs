//! Events that cannot be read: each parks its lane and no other (P4), and the lane drains in order once it can.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{EventRow, Person, Post, Server, Tokens, TruthFiles, Watching, eventually, walk};
use rusqlite::params;
use serde_json::json;

/// A post with two comments, of which the first will be unreadable, and a post beside it that stays well.
struct Story {
    server: Server,
    ada: Person,
    ben: Person,
    sick: Post,
    well: Post,
    first: String,
    second: String,
    tokens: Tokens,
}

async fn story() -> Story {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let sick = ada.publish("sick", &mut tokens).await;
    let well = ada.publish("well", &mut tokens).await;
    let first = ben.comment(&sick.id, "first", &mut tokens).await;
    let second = ada.comment(&sick.id, "second", &mut tokens).await;
    ben.comment(&well.id, "fine", &mut tokens).await;
    assert_eq!(ben.feed(20, &tokens).await.len(), 2);
    Story { server, ada, ben, sick, well, first, second, tokens }
}

/// Damages the first comment's event by `damage`, and lets the projections read everything again.
async fn damage(story: &mut Story, damage: &str) -> EventRow {
    assert!(story.server.terminate().await.success());
    let files = story.server.files();
    let subject = format!("comment-{}", story.first);
    let event = files.events(None).into_iter().find(|event| event.subject == subject).expect("the comment's event");
    let changed = TruthFiles::changing(&files.event_log)
        .execute(&format!("UPDATE events SET {damage} WHERE place = ?1"), [event.place])
        .expect("SQL");
    assert_eq!(changed, 1);
    // Operators may delete the read models' file: it is made again from the log's first event.
    for suffix in ["", "-wal", "-shm"] {
        let mut path = files.read_models.clone().into_os_string();
        path.push(suffix);
        let _ = std::fs::remove_file(path);
    }
    story.server.start_again().await;
    reconnect(story);
    event
}

async fn mend(story: &mut Story, event: &EventRow) {
    assert!(story.server.terminate().await.success());
    let file = TruthFiles::changing(&story.server.files().event_log);
    let changed = file
        .execute(
            "UPDATE events SET type = ?2, version = 1, subject = ?3, sequence = ?4, data = ?5 WHERE place = ?1",
            params![event.place, event.kind, event.subject, event.sequence, event.data],
        )
        .expect("SQL");
    assert_eq!(changed, 1);
    drop(file);
    story.server.start_again().await;
    reconnect(story);
}

/// The server is another process now: old connections are dead.
fn reconnect(story: &mut Story) {
    for person in [&mut story.ada, &mut story.ben] {
        let token = person.session["access_token"].as_str().expect("a token").to_owned();
        person.client = story.server.client().bearer(&token);
    }
}

/// Which lanes are parked, over all projections, as readiness says. A parked lane makes nobody else wait, so the server
/// is ready all the same.
async fn parked_lanes(server: &Server) -> BTreeSet<String> {
    let ready = server.client().get("/health/ready").await.expect(200).json();
    let projections = ready["projections"].as_array().expect("projections");
    let partitions = projections.iter().flat_map(|one| one["detail"].as_array().expect("partitions"));
    let named = partitions.flat_map(|partition| {
        let named = partition["parked"].as_array().expect("names");
        assert_eq!(partition["parked_lanes"], json!(named.len()), "there are few, so all are named");
        named
    });
    named.map(|lane| lane.as_str().expect("a name").to_owned()).collect()
}

async fn until_parked(server: &Server, lane: &str) {
    let lane = BTreeSet::from([lane.to_owned()]);
    eventually("the lane is parked, and no other", async || match parked_lanes(server).await {
        parked if parked == lane => Ok(()),
        parked => Err(format!("{parked:?}")),
    })
    .await;
}

async fn parks_one_lane(how: &str) {
    let mut story = story().await;
    let event = damage(&mut story, how).await;
    let lane = story.sick.id.clone();
    assert_eq!(event.lane, lane);

    // The other lanes go on: posts, comments, likes, follows.
    let mut tokens = story.tokens.clone();
    let mut after = Tokens::default();
    story.ben.comment(&story.well.id, "still fine", &mut after).await;
    story.ada.like(&story.well.id, &mut after).await;
    story.ada.follow(&story.ben, &mut after).await;
    let new = story.ada.publish("new", &mut after).await;
    let well = format!("/v1/posts/{}", story.well.id);
    let page = eventually("the lane beside it goes on", async || {
        let answer = story.ben.client.get_after(&well, &after.header()).await;
        if answer.header("consistency") == Some("current") { Ok(answer) } else { Err(answer.shown()) }
    })
    .await
    .expect(200)
    .json();
    assert_eq!((&page["comments"], &page["likes"]), (&json!(2), &json!(1)));
    let feed = story.ben.feed(20, &after).await;
    let feed: Vec<&str> = feed.iter().filter_map(|post| post["id"].as_str()).collect();
    assert_eq!(feed, [&new.id, &story.well.id, &story.sick.id], "P4: what came before it in its lane stays, too");

    // Commands on the lane are accepted, and its token is answered honestly.
    let third = story.ben.comment(&story.sick.id, "third", &mut tokens).await;
    let comments = format!("/v1/posts/{}/comments", story.sick.id);
    until_parked(&story.server, &lane).await;
    let behind = story.ben.client.get_after(&comments, &tokens.header()).await.expect(200);
    assert_eq!(behind.header("consistency"), Some("behind"));
    assert_eq!(behind.json()["items"], json!([]), "nothing of the lane from the first unreadable event on");

    let metrics = story.server.client().get("/metrics").await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let parked: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("hybrid_live_projection_parked_lanes")).collect();
    assert!(parked.iter().any(|line| !line.ends_with(" 0")), "metrics count parked lanes: {parked:#?}");

    let judged = story.server.run(&["verify"]).await.expect(1);
    assert!(judged.text.contains(&lane) && judged.text.contains("parked"), "verify names the lane:\n{}", judged.text);
    assert!(!judged.text.contains(&story.well.id), "and no other:\n{}", judged.text);

    // A restart alone does not help, and loses nothing.
    assert!(story.server.terminate().await.success());
    story.server.start_again().await;
    reconnect(&mut story);
    let still = story.ben.client.get_after(&comments, &tokens.header()).await.expect(200);
    assert_eq!((still.header("consistency"), &still.json()["items"]), (Some("behind"), &json!([])));

    mend(&mut story, &event).await;
    let texts: Vec<String> = walk(&story.ben.client, &comments, 20, &tokens)
        .await
        .iter()
        .map(|comment| comment["text"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(texts, ["third", "second", "first"], "P4: the lane has drained");
    // Positions in the rows are those of the log, in its order.
    let page = story.ben.client.get(&comments).await.expect(200).text("stream_position");
    let (place, _) = page.rsplit_once('-').expect("a position");
    let watching = Watching::post(&story.ben.client, &story.sick.id, Some(&format!("{place}--1"))).await;
    watching
        .until("the drained comments", |told| told.iter().filter(|told| told.name == "NEW_COMMENT").count() == 3)
        .await;
    assert_eq!(watching.ids("NEW_COMMENT"), [story.first.clone(), story.second.clone(), third], "P3: in order");
    eventually("nothing is parked", async || match parked_lanes(&story.server).await {
        parked if parked.is_empty() => Ok(()),
        parked => Err(format!("{parked:?}")),
    })
    .await;
    story.server.verify().await;
}

#[tokio::test]
async fn an_unknown_type_parks_its_lane_alone() {
    parks_one_lane("type = 'comment.celebrated'").await;
}

#[tokio::test]
async fn a_newer_version_parks_its_lane_alone() {
    parks_one_lane("version = 9").await;
}

#[tokio::test]
async fn broken_data_parks_its_lane_alone() {
    parks_one_lane("data = '{\"comment\":'").await;
}

#[tokio::test]
async fn a_broken_subject_parks_its_lane_alone() {
    parks_one_lane("subject = 'comment-'").await;
}

#[tokio::test]
async fn a_gap_parks_its_lane_alone() {
    parks_one_lane("sequence = 3").await;
}

/// A box that was opened with the wrong key is not skipped: text that cannot be read now may be readable later.
#[tokio::test]
async fn a_forged_box_parks_its_lane_alone() {
    let flipped = "data = replace(data, substr(data, length(data) - 24, 4), 'AAAA')";
    parks_one_lane(flipped).await;
}

/// Nothing waits for a parked lane: the answer is there long before the query would have given up waiting.
#[tokio::test]
async fn a_token_of_a_parked_lane_does_not_wait() {
    let mut story = story().await;
    let event = damage(&mut story, "version = 9").await;
    until_parked(&story.server, &event.lane).await;
    assert_eq!(event.lane, story.sick.id);
    let mut tokens = Tokens::default();
    story.ada.like(&story.sick.id, &mut tokens).await;
    let path = format!("/v1/posts/{}", story.sick.id);
    // Thirty in a row would take a minute if each waited its two seconds.
    let all = async {
        for _ in 0..30 {
            let answer = story.ben.client.get_after(&path, &tokens.header()).await.expect(200);
            assert_eq!(answer.header("consistency"), Some("behind"));
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(55), all).await.is_ok(), "W7: behind at once");
}

/// Turns the event back into what it was, beside the running server.
fn mend_beside(story: &Story, event: &EventRow) {
    let changed = TruthFiles::changing(&story.server.files().event_log)
        .execute("UPDATE events SET type = ?2, version = 1 WHERE place = ?1", params![event.place, event.kind])
        .expect("SQL");
    assert_eq!(changed, 1);
}

async fn texts(story: &Story, tokens: &Tokens) -> Vec<String> {
    let comments = format!("/v1/posts/{}/comments", story.sick.id);
    let comments = walk(&story.ben.client, &comments, 20, tokens).await;
    comments.iter().map(|comment| comment["text"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn an_operator_retries_a_lane_while_the_server_runs() {
    let mut story = story().await;
    let event = damage(&mut story, "type = 'comment.celebrated'").await;
    until_parked(&story.server, &event.lane).await;
    let lane = event.lane.as_str();

    let listed = story.server.run(&["dead-letters", "list"]).await.expect(0);
    assert!(listed.text.contains(lane) && listed.text.contains("engagement"), "{}", listed.text);
    let shown = story.server.run(&["dead-letters", "show", "engagement", lane]).await.expect(0);
    assert!(shown.text.contains("comment.celebrated") && shown.text.contains("unknown"), "{}", shown.text);
    assert!(!shown.text.contains("\"first\""), "what people wrote stays sealed: {}", shown.text);
    let other = story.server.run(&["dead-letters", "retry", "engagement", &story.well.id]).await.expect(2);
    assert!(other.text.contains("no parked lane"), "{}", other.text);
    let still = story.server.run(&["dead-letters", "retry", "engagement", lane]).await.expect(1);
    assert!(still.text.contains("still parked"), "{}", still.text);
    let paused = story.server.run(&["projections", "pause", "engagement"]).await.expect(0);
    let refused = story.server.run(&["dead-letters", "retry", "engagement", lane]).await.expect(2);
    assert!(refused.text.contains("is paused"), "{}\n{}", paused.text, refused.text);
    let _ = story.server.run(&["projections", "resume", "engagement"]).await.expect(0);

    mend_beside(&story, &event);
    for projection in ["engagement", "timelines", "profiles"] {
        let letters = story.server.run(&["dead-letters", "list", "--json"]).await.expect(0);
        if letters.text.contains(&format!("\"{projection}\"")) {
            let drained = story.server.run(&["dead-letters", "retry", projection, lane]).await.expect(0);
            assert!(drained.text.contains("is drained"), "{}", drained.text);
        }
    }
    assert_eq!(texts(&story, &story.tokens).await, ["second", "first"], "P3: in order");
    story.server.verify().await;
}

#[tokio::test]
async fn an_admin_drops_an_event_and_verify_names_it() {
    let mut story = story().await;
    let event = damage(&mut story, "type = 'comment.celebrated'").await;
    until_parked(&story.server, &event.lane).await;
    let _ = story.server.run(&["roles", "grant", "ada", "admin"]).await.expect(0);
    let letters = story.ada.client.get("/v1/admin/dead-letters").await.expect(200).json();
    let letters = letters["items"].as_array().expect("items").clone();
    assert!(!letters.is_empty());
    for letter in &letters {
        let path = format!("/v1/admin/dead-letters/{}/{}", letter["projection"].as_str().expect("a name"), event.lane);
        let detail = story.ada.client.get(&path).await.expect(200).json();
        assert_eq!(detail["first"], letter["first"]);
        assert_eq!(detail["events"][0]["type"], "comment.celebrated");
        let retried = story.ada.client.post(&format!("{path}/retry"), &json!({})).await.expect(200).json();
        assert_eq!((&retried["outcome"], &retried["parked"]["first"]), (&json!("parked"), &letter["first"]));
        assert_eq!(
            story.ben.client.post(&format!("{path}/drop"), &json!({})).await.expect(403).problem().code,
            "forbidden"
        );
        let dropped = story.ada.client.post(&format!("{path}/drop"), &json!({})).await.expect(200).json();
        assert_eq!((&dropped["outcome"], &dropped["dropped"]), (&json!("drained"), &json!(1)));
        assert_eq!(dropped["parked"], json!(null));
        let _ = story.ada.client.get(&path).await.expect(404);
    }
    assert_eq!(texts(&story, &story.tokens).await, ["second"], "the rest of the lane goes on");
    let judged = story.server.run(&["verify"]).await.expect(1);
    assert!(judged.text.contains("was dropped at") && judged.text.contains(&event.lane), "{}", judged.text);
    let list = story.server.run(&["projections", "list"]).await.expect(0);
    assert!(list.text.contains("DROPPED"), "{}", list.text);
}

#[tokio::test]
async fn a_lane_is_dropped_where_no_server_runs() {
    let mut story = story().await;
    let event = damage(&mut story, "type = 'comment.celebrated'").await;
    until_parked(&story.server, &event.lane).await;
    assert!(story.server.terminate().await.success());
    let letters = story.server.run(&["dead-letters", "list", "--json"]).await.expect(0).text;
    for projection in ["engagement", "timelines", "profiles"] {
        if letters.contains(&format!("\"{projection}\"")) {
            let all = ["dead-letters", "drop", projection, &event.lane, "--all"];
            let dropped = story.server.run(&all).await.expect(0);
            assert!(dropped.text.contains("events left out: 2"), "{}", dropped.text);
        }
    }
    story.server.start_again().await;
    reconnect(&mut story);
    let mut tokens = story.tokens.clone();
    story.ben.comment(&story.sick.id, "third", &mut tokens).await;
    assert_eq!(texts(&story, &tokens).await, ["third"]);
}
