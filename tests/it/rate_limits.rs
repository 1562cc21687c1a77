//! Who calls too often is told to wait, and is told nothing else by it.

use harness::{Answer, Client, PASSWORD, Person, Server, Setup};
use http::Method;
use serde_json::{Value, json};

async fn limited(settings: &str) -> Server {
    Server::start_with(Setup { settings: settings.to_owned(), rate_limits: true, ..Setup::default() }).await
}

async fn log_in(client: &Client, username: &str, from: &str) -> Answer {
    let body = json!({ "username": username, "password": "not the password" });
    Client::send(client.request(Method::POST, "/v1/sessions").header("x-forwarded-for", from).json(&body)).await
}

/// A number that a header says.
fn number(answer: &Answer, name: &str) -> u64 {
    let text = answer.header(name).unwrap_or_else(|| panic!("no {name}: {}", answer.shown()));
    text.parse().unwrap_or_else(|_| panic!("no number: {}", answer.shown()))
}

/// All of a refusal that could differ from account to account.
fn told(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.json();
    body["trace_id"] = Value::Null;
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    (answer.status, body, headers)
}

#[tokio::test]
async fn guessing_at_a_name_is_slowed_down_wherever_it_comes_from_and_tells_nothing() {
    let server = limited("[rate_limits]\nlog_in_name = 3\nlog_in = 0\n").await;
    let client = server.client();
    let _ = Person::register(&client, "ada").await;
    let mut refusals = Vec::new();
    // One of ada's three has gone to her own log-in; what is spelt in another way is the same name.
    for names in [["ada", "ADA", "Ada"], ["nobody", "Nobody", "NOBODY"]] {
        let mut answers = Vec::new();
        for name in names {
            answers.push(log_in(&client, name, "198.51.100.1").await);
        }
        let refused =
            if names[0] == "ada" { answers.remove(2) } else { log_in(&client, "nobody", "198.51.100.2").await };
        assert!(answers.iter().all(|answer| answer.status == 401), "{names:?}");
        assert_eq!(refused.status, 429, "{}", refused.shown());
        assert_eq!(refused.problem().code, "rate_limited");
        assert_eq!((number(&refused, "ratelimit-limit"), number(&refused, "ratelimit-remaining")), (3, 0));
        assert!((1..=20).contains(&number(&refused, "retry-after")), "{}", refused.shown());
        refusals.push(told(&refused));
    }
    assert_eq!(refusals[0], refusals[1], "whether there is an account does not show");
    let right = json!({ "username": "ada", "password": PASSWORD });
    let _ = client.post("/v1/sessions", &right).await.expect(429);
}

#[tokio::test]
async fn behind_a_proxy_clients_are_told_apart_by_what_it_says() {
    let server = limited("[rate_limits]\nlog_in = 2\nlog_in_name = 0\n").await;
    let client = server.client();
    let statuses = async |from: &[&str]| {
        let mut statuses = Vec::new();
        for from in from {
            statuses.push(log_in(&client, "nobody", from).await.status);
        }
        statuses
    };
    assert_eq!(statuses(&["198.51.100.1", "198.51.100.2", "198.51.100.3"]).await, [401, 401, 429], "no proxy of ours");

    let settings = "trusted_proxies = 1\n[rate_limits]\nlog_in = 2\nlog_in_name = 0\n";
    let server = limited(settings).await;
    let client = server.client();
    let mut seen = Vec::new();
    for from in ["198.51.100.1", "198.51.100.2", "203.0.113.9, 198.51.100.1", "203.0.113.8, 198.51.100.1"] {
        seen.push(log_in(&client, "nobody", from).await.status);
    }
    assert_eq!(seen, [401, 401, 401, 429], "what the client itself has written does not help");
}

#[tokio::test]
async fn a_command_too_many_has_no_effect_and_reading_goes_on() {
    let server = limited("[rate_limits]\ncommands = 2\n").await;
    let [ada] = server.people(["ada"]).await;
    for left in [1, 0] {
        let answer = ada.client.post("/v1/posts", &json!({ "markdown": "a post" })).await.expect(201);
        assert_eq!((number(&answer, "ratelimit-limit"), number(&answer, "ratelimit-remaining")), (2, left));
    }
    let heads = server.settled().await;
    let refused = ada.client.post("/v1/posts", &json!({ "markdown": "one too many" })).await.expect(429);
    assert_eq!(refused.problem().code, "rate_limited");
    assert_eq!(server.heads().await, heads);
    let _ = ada.client.get("/v1/feed").await.expect(200);
    let _ = server.client().get("/health/live").await.expect(200);
}
