//! The tour in the README, run as it is written.

use std::path::Path;
use std::process::Stdio;

use harness::{PATIENCE, Server, Tokens, walk};
use serde_json::Value;

/// The shell that stands between the tour's markers, one block after the other.
fn tour() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("a README");
    let (_, rest) = readme.split_once("<!-- tour:begin -->").expect("the tour begins");
    let (tour, _) = rest.split_once("<!-- tour:end -->").expect("the tour ends");
    let mut script = String::new();
    let mut inside = false;
    for line in tour.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => script.extend([line, "\n"]),
            _ => {}
        }
    }
    script
}

#[tokio::test]
async fn the_tour_works_as_written() {
    let server = Server::start().await;
    let script = tour();
    let place = "http://127.0.0.1:8080";
    assert!(script.contains(place), "the tour names where it goes");
    let script = script.replace(place, server.client().base());
    // In a session of its own it behaves as if pasted: what it leaves behind ends with it.
    let run = tokio::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(server.directory())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("the tour ends").expect("bash runs");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(!said.contains("urn:hybrid-live:problem"), "nothing was refused:\n{said}\n{complained}");

    let answers: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let ada = answers.iter().find(|answer| answer["username"] == "ada").expect("ada is told who she is");
    let feed = answers.iter().find(|answer| answer["items"].is_array()).expect("ben reads his feed");
    let posts = feed["items"].as_array().expect("items");
    assert_eq!(posts.len(), 1, "published once, though sent twice: {feed:#}");
    assert_eq!((&posts[0]["author"]["id"], &posts[0]["title"]), (&ada["id"], &Value::from("Hello")));
    for told in ["event: NEW_COMMENT", "Congratulations!", "event: LIKES", "\"likes\":1"] {
        assert!(said.contains(told), "the stream tells {told}:\n{said}\n{complained}");
    }

    let path = format!("/v1/users/{}/posts", ada["id"].as_str().expect("an id"));
    let posts = walk(&server.client(), &path, 20, &Tokens::default()).await;
    assert_eq!((posts.len(), &posts[0]["likes"], &posts[0]["comments"]), (1, &Value::from(1), &Value::from(1)));
    // As the README goes on: stop it, and let it be judged.
    let mut server = server;
    assert!(server.terminate().await.success());
    server.verify().await;
}
