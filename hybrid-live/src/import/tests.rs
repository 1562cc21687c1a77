//! Imports into a real data directory.

use std::collections::BTreeSet;
use std::path::Path;

use command_api::commands::Registration;
use domain::text::DisplayName;
use domain::{PostId, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::verify;

const ACTOR: &str = "https://social.example/users/ana";

async fn data_dir(directory: &Path) -> (Config, Opened, UserId) {
    let config = Config { data_dir: directory.display().to_string(), ..Config::default() };
    let opened = wiring::open(&config).await.expect("opens");
    let ana = UserId::from_parts(Timestamp::from_millis(1_700_000_000_000), [1; 10]);
    let registration = Registration {
        username: Username::parse("ana").expect("valid"),
        display_name: DisplayName::parse("Ana").expect("valid"),
        password_hash: None,
    };
    Commands::new(opened.write_path.clone()).register(&Origin::now(ana), registration).await.expect("registers");
    (config, opened, ana)
}

fn outbox(items: &[Value]) -> String {
    let items: Vec<String> = items.iter().map(Value::to_string).collect();
    format!(r#"{{"type":"OrderedCollection","totalItems":{},"orderedItems":[{}]}}"#, items.len(), items.join(","))
}

fn note(number: usize) -> Value {
    json!({
        "type": "Create",
        "actor": ACTOR,
        "object": {
            "id": format!("{ACTOR}/statuses/{number}"),
            "type": "Note",
            "attributedTo": ACTOR,
            "published": format!("2023-04-05T{:02}:{:02}:00Z", number / 60 % 24, number % 60),
            "to": ["https://www.w3.org/ns/activitystreams#Public"],
            "content": format!("<p>Number {number}</p>"),
        },
    })
}

async fn imported(opened: &Opened, owner: UserId, json: String) -> (Summary, Result<(), OutboxError>) {
    let progress = Progress::new("importing", json.len() as u64, Unit::Bytes);
    import(opened, owner, std::io::Cursor::new(json.into_bytes()), &progress).await.expect("writes")
}

#[tokio::test]
async fn posts_come_with_their_times_and_a_second_run_adds_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (config, opened, ana) = data_dir(directory.path()).await;
    let json = outbox(&(0..300).map(note).collect::<Vec<_>>());
    let (summary, outcome) = imported(&opened, ana, json.clone()).await;
    assert!(outcome.is_ok());
    assert_eq!(summary, Summary { imported: 300, ..Summary::default() });

    let (again, _) = imported(&opened, ana, json).await;
    assert_eq!(again, Summary { present: 300, ..Summary::default() });

    let posts: BTreeSet<PostId> = documents(&opened).await.into_iter().collect();
    assert_eq!(posts.len(), 300);
    let newest = posts.last().expect("posts").timestamp();
    assert_eq!(newest.to_string(), "2023-04-05T04:59:00.000Z");
    // Folded, projected and read by their author to the end.
    assert!(verify::is_clean(&config, &opened).await);
}

async fn documents(opened: &Opened) -> Vec<PostId> {
    let documents = opened.stores.content.scan(None, 1000).await.expect("reads");
    let posts = documents.into_iter().filter_map(|(stream, _)| match stream {
        StreamId::Post(post) => Some(post),
        _ => None,
    });
    posts.collect()
}

#[tokio::test]
async fn what_is_left_out_is_counted_by_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, opened, ana) = data_dir(directory.path()).await;
    let mut reply = note(3);
    reply["object"]["inReplyTo"] = json!("https://other.example/1");
    let items =
        [note(1), json!({ "type": "Announce" }), json!({ "type": "Announce" }), reply, json!(7), note(2), note(1)];
    let (summary, _) = imported(&opened, ana, outbox(&items)).await;
    assert_eq!((summary.imported, summary.present), (2, 1), "the same note twice is one post");
    let skipped = BTreeMap::from([("boosts", 2), ("replies to other people", 1), ("malformed", 1)]);
    assert_eq!(summary.skipped, skipped);
    assert!(lines(&summary, "@ana").contains(&"  2 boosts".to_owned()));
}

#[tokio::test]
async fn a_file_that_breaks_off_gives_what_it_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, opened, ana) = data_dir(directory.path()).await;
    let mut json = outbox(&[note(1), note(2), note(3)]);
    json.truncate(json.len() - 10);
    let (summary, outcome) = imported(&opened, ana, json).await;
    assert_eq!(summary.imported, 2);
    assert!(outcome.expect_err("broken").to_string().contains("item 3"));
}

#[tokio::test]
async fn only_an_account_that_exists_gets_posts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, opened, ana) = data_dir(directory.path()).await;
    assert_eq!(owner(&opened, "@Ana").await, Ok(ana));
    for (name, reason) in [("ben", "no such account"), ("a b", "letters")] {
        let refusal = owner(&opened, name).await.expect_err("refused").to_string();
        assert!(refusal.contains(name) && refusal.contains(reason), "{refusal}");
    }
}

#[tokio::test]
async fn files_that_are_none_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config { data_dir: directory.path().display().to_string(), ..Config::default() };
    for (file, reason) in
        [(directory.path().join("none.json"), "cannot be read"), (directory.path().to_owned(), "directory")]
    {
        let args = ImportArgs { file: file.clone(), user: "ana".to_owned() };
        let refusal = run(&config, &args).await.expect_err("refused").to_string();
        assert!(refusal.contains(&file.display().to_string()) && refusal.contains(reason), "{refusal}");
    }
}
