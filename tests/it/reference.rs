//! The API's reference as a person sees it: in a browser, under its own policy, with nothing from anywhere else.

use std::process::Stdio;

use harness::{PATIENCE, Server};
use serde_json::Value;

/// Chromium as Debian installs it; `tests/run` sees to it. The flags keep it from looking for anything but the page.
const BROWSER: &str = "chromium";
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
];

#[tokio::test]
async fn a_browser_draws_every_call_of_the_document() {
    let server = Server::start().await;
    let profile = tempfile::tempdir().expect("a directory");
    let run = tokio::process::Command::new(BROWSER)
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // The page's own clock: it runs on as soon as nothing is under way, so nothing is waited for in vain.
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("{}/docs", server.client().base()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("the browser ends").expect("chromium is installed");
    let (page, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let console: Vec<&str> = complaints.lines().filter(|line| line.contains(":CONSOLE")).collect();
    assert!(console.is_empty(), "the page has nothing to complain of: {console:#?}");

    let document: Value = server.client().get("/openapi.json").await.expect(200).json();
    let mut calls = 0;
    for operation in document["paths"].as_object().expect("paths").values() {
        for call in operation.as_object().expect("operations").values() {
            let id = call["operationId"].as_str().expect("an id");
            // How the reference names the block of a call: by its tag and its id.
            assert!(page.contains(&format!("-{id}\"")), "{id} is drawn:\n{complaints}\n{page}");
            calls += 1;
        }
    }
    assert!(calls > 40, "{calls}");
}
