//! What operators do: beside a running server and without one, at the command line and over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Person, Server, Tokens, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

/// A command's answer as JSON.
async fn asked(server: &Server, arguments: &[&str]) -> Value {
    let outcome = server.run(arguments).await.expect(0);
    let first = outcome.text.lines().next().expect("a line");
    serde_json::from_str(first).unwrap_or_else(|error| panic!("{error}: {}", outcome.text))
}

/// The events that `events` shows.
async fn events(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let outcome = server.run(&[&["events", "--log-filter", "off"], arguments].concat()).await.expect(0);
    outcome.text.lines().map(|line| serde_json::from_str(line).expect("one JSON object per line")).collect()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no text {member:?}: {value}"))
}

async fn become_admin(server: &Server, person: &Person) {
    let _ = server.run(&["roles", "grant", &person.username, "admin"]).await.expect(0);
}

#[tokio::test]
async fn a_paused_projection_rests_in_every_process_until_it_is_resumed() {
    let mut server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    ada.publish("before", &mut tokens).await;
    assert_eq!(ben.feed(20, &tokens).await.len(), 1);

    let paused = server.run(&["projections", "pause", "timelines"]).await.expect(0);
    assert!(paused.text.contains("timelines is paused"), "{}", paused.text);
    let again = server.run(&["projections", "pause", "timelines"]).await.expect(0);
    assert!(again.text.contains("was paused already"), "{}", again.text);
    eventually("the server's workers rest", async || {
        let report = asked(&server, &["projections", "show", "timelines", "--json"]).await;
        let rests = report["partitions"].as_array().expect("partitions").iter().all(|one| one["state"] == "paused");
        let ready = server.client().get("/health/ready").await.json();
        let shown = ready["projections"].as_array().expect("projections").iter().any(|one| {
            one["detail"].as_array().expect("partitions").iter().all(|partition| partition["state"] == "paused")
        });
        if rests && shown { Ok(()) } else { Err(format!("{report}\n{ready}")) }
    })
    .await;
    let mut after = tokens.clone();
    let post = ada.publish("meanwhile", &mut after).await;
    ben.like(&post.id, &mut Tokens::default()).await;
    let behind = ben.client.get_after("/v1/feed", &after.header()).await.expect(200);
    assert_eq!(behind.header("consistency"), Some("behind"));
    let list = asked(&server, &["projections", "list", "--json"]).await;
    let states: BTreeMap<&str, (&str, bool)> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|one| (text(one, "name"), (text(one, "state"), one["lag_events"].as_u64() > Some(0))))
        .collect();
    assert_eq!(states["timelines"], ("paused", true));
    assert_eq!(states["engagement"].0, "running", "nothing else rests");
    let _ = server.client().get("/health/ready").await.expect(200);
    let refused = server.run(&["verify"]).await.expect(2);
    assert!(refused.text.contains("projections resume timelines"), "{}", refused.text);

    // A pause outlasts the process.
    assert!(server.terminate().await.success());
    let report = asked(&server, &["projections", "show", "timelines", "--json"]).await;
    assert_eq!(text(&report, "state"), "paused");
    let refused = server.run(&["verify"]).await.expect(2);
    assert!(refused.text.contains("projections resume timelines"), "{}", refused.text);
    server.start_again().await;
    let client = server.client().bearer(text(&ben.session, "access_token"));
    let behind = client.get_after("/v1/feed", &after.header()).await.expect(200);
    assert_eq!(behind.header("consistency"), Some("behind"));

    let resumed = server.run(&["projections", "resume", "timelines"]).await.expect(0);
    assert!(resumed.text.contains("timelines goes on"), "{}", resumed.text);
    let ben = Person { client, ..ben };
    assert_eq!(ben.feed(20, &after).await.len(), 2);
    server.verify().await;
    assert!(server.terminate().await.success());
    let report = asked(&server, &["projections", "show", "timelines", "--json"]).await;
    assert_eq!(text(&report, "state"), "stopped", "nobody runs it");
}

#[tokio::test]
async fn the_log_is_shown_beside_a_running_server() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    let secret = "nobody but the author's readers";
    let post = ada.publish(secret, &mut tokens).await;
    ben.follow(&ada, &mut tokens).await;
    ben.comment(&post.id, "well said", &mut tokens).await;
    ben.like(&post.id, &mut tokens).await;

    let all = events(&server, &[]).await;
    assert_eq!(all.len(), 6, "{all:#?}");
    // In the order of each partition, merged by time.
    let times: Vec<&str> = all.iter().map(|event| text(event, "time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    for event in &all {
        assert_eq!((text(event, "specversion"), text(event, "source")), ("1.0", "/hybrid-live"));
        assert!(text(event, "dataschema").contains(text(event, "type")));
        assert!(event["sequence"].as_u64() >= Some(1));
    }
    let types: BTreeSet<&str> = all.iter().map(|event| text(event, "type")).collect();
    let expected = ["comment.added", "post.published", "reaction.liked", "relation.followed", "user.registered"];
    assert_eq!(types, BTreeSet::from(expected));

    let published = events(&server, &["--type", "post.published"]).await;
    assert_eq!(published.len(), 1);
    assert!(!published[0].to_string().contains(secret), "sealed: {}", published[0]);
    let open = events(&server, &["--type", "post.published", "--reveal"]).await;
    assert_eq!(open[0]["data"]["text"]["markdown"], secret);
    assert_eq!(open[0]["id"], published[0]["id"]);

    let stream = format!("post-{}", post.id);
    let of_stream = events(&server, &["--stream", &stream]).await;
    assert_eq!(of_stream.len(), 1);
    assert_eq!(text(&of_stream[0], "subject"), stream);
    assert_eq!(events(&server, &["--type", "reaction.liked", "--type", "comment.added"]).await.len(), 2);
    assert_eq!(events(&server, &["--topic", "users"]).await.len(), 2);
    assert_eq!(events(&server, &["--limit", "4"]).await, all[..4]);

    // From a position on, that partition alone: everything about a post is in one.
    let position = text(&published[0], "position");
    let from = events(&server, &["--from", position]).await;
    let kinds: Vec<&str> = from.iter().map(|event| text(event, "type")).collect();
    assert_eq!(kinds, ["post.published", "comment.added", "reaction.liked"]);
    let since = events(&server, &["--from", times[5]]).await;
    assert!(since.contains(&all[5]) && since.iter().all(|event| text(event, "time") >= times[5]));
    assert_eq!(events(&server, &["--from", "2100-01-01T00:00:00Z"]).await, Vec::<Value>::new());

    let foreign = format!("{:016x}-p0-0", 1);
    let refused = server.run(&["events", "--from", &foreign]).await.expect(2);
    assert!(refused.text.contains("is of log"), "{}", refused.text);
}

/// It waits for what comes, and ends when nobody reads any more: as `events --follow | head` wants it.
#[tokio::test]
async fn following_the_log_ends_with_its_reader() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let mut follows = server.begin_heard(&["events", "--follow", "--type", "post.published"]);
    let mut lines = BufReader::new(follows.stdout.take().expect("its output")).lines();
    let mut tokens = Tokens::default();
    let first = ada.publish("first", &mut tokens).await;
    let line = tokio::time::timeout(harness::PATIENCE, lines.next_line()).await.expect("a line").expect("reads");
    let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
    assert_eq!(text(&event, "subject"), format!("post-{}", first.id));
    drop(lines);
    ada.publish("nobody hears this", &mut tokens).await;
    let ended = tokio::time::timeout(harness::PATIENCE, follows.wait()).await.expect("it ends").expect("a child");
    assert!(ended.success(), "{ended:?}");
}

#[tokio::test]
async fn a_role_works_from_the_next_request_on_and_so_does_its_loss() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let calls =
        ["/v1/admin/projections", "/v1/admin/projections/timelines", "/v1/admin/dead-letters", "/v1/admin/events"];
    for call in calls {
        assert_eq!(server.client().get(call).await.expect(401).problem().code.as_str(), "unauthenticated");
        assert_eq!(ada.client.get(call).await.expect(403).problem().code.as_str(), "forbidden");
    }
    let pause = "/v1/admin/projections/timelines/pause";
    assert_eq!(ada.client.put(pause).await.expect(403).problem().code.as_str(), "forbidden");
    let unchanged = asked(&server, &["projections", "show", "timelines", "--json"]).await;
    assert_eq!(unchanged["paused_since"], Value::Null);

    // Another role opens nothing here.
    let _ = server.run(&["roles", "grant", &ben.id, "moderator"]).await.expect(0);
    become_admin(&server, &ada).await;
    for call in calls {
        let answer = ada.client.get(call).await.expect(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let _ = ben.client.get(call).await.expect(403);
    }
    let list = asked(&server, &["roles", "list", "--json"]).await;
    let mut roles: Vec<(&str, &Value)> =
        list["items"].as_array().expect("items").iter().map(|one| (text(one, "username"), &one["roles"])).collect();
    roles.sort_by_key(|(name, _)| *name);
    assert_eq!(roles, [("ada", &json!(["admin"])), ("ben", &json!(["moderator"]))]);

    let _ = ada.client.put(pause).await.expect(204);
    let _ = ada.client.put(pause).await.expect(204);
    assert_eq!(ada.client.get("/v1/admin/projections/timelines").await.expect(200).text("state"), "paused");
    let _ = ada.client.delete(pause).await.expect(204);

    let _ = server.run(&["roles", "revoke", "ada", "admin"]).await.expect(0);
    for call in calls {
        let _ = ada.client.get(call).await.expect(403);
    }
    let nobody = server.run(&["roles", "grant", "nobody", "admin"]).await.expect(2);
    assert!(nobody.text.contains("no such account"), "{}", nobody.text);
    let log = events(&server, &[]).await;
    assert_eq!(log.len(), 2, "roles are in no event");
}

#[tokio::test]
async fn what_admins_ask_wrongly_is_named() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    become_admin(&server, &ada).await;
    for (path, field) in [
        ("/v1/admin/events?limit=0", "limit"),
        ("/v1/admin/events?limit=101", "limit"),
        ("/v1/admin/events?limit=many", "limit"),
        ("/v1/admin/events?stream=nothing", "stream"),
        ("/v1/admin/events?from=yesterday", "from"),
        ("/v1/admin/events?from=0000000000000001-p0-0", "from"),
        ("/v1/admin/events?kind=x", "kind"),
        ("/v1/admin/projections?all=1", "all"),
    ] {
        let problem = ada.client.get(path).await.expect(422).problem();
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("invalid_field", Some(field)), "{path}");
    }
    for path in ["/v1/admin/projections/homes", "/v1/admin/dead-letters/homes/a", "/v1/admin/dead-letters/timelines/a"]
    {
        assert_eq!(ada.client.get(path).await.expect(404).problem().code.as_str(), "not_found");
    }
    let lane = "/v1/admin/dead-letters/timelines/a";
    assert_eq!(ada.client.put("/v1/admin/projections/homes/pause").await.expect(404).problem().code, "not_found");
    assert_eq!(ada.client.post(&format!("{lane}/retry"), &json!({})).await.expect(404).problem().code, "not_found");
    assert_eq!(ada.client.post(&format!("{lane}/drop"), &json!({})).await.expect(404).problem().code, "not_found");
    let problem = ada.client.post(&format!("{lane}/drop"), &json!({ "every": true })).await.expect(422).problem();
    assert_eq!(problem.field.as_deref(), Some("every"));
}

#[tokio::test]
async fn pages_of_the_log_show_every_event_once() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    become_admin(&server, &ada).await;
    let mut tokens = Tokens::default();
    for number in 0..7 {
        let post = ada.publish(&format!("post {number}"), &mut tokens).await;
        ben.like(&post.id, &mut tokens).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/admin/events?limit=3".to_owned();
    loop {
        let page = ada.client.get(&path).await.expect(200).json();
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 3);
        seen.extend(items.iter().cloned());
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/admin/events?limit=3&from={next}"),
            None => break,
        }
    }
    assert_eq!(seen, events(&server, &[]).await);
    assert_eq!(seen.len(), 16);
    let likes = ada.client.get("/v1/admin/events?type=reaction.liked").await.expect(200).json();
    assert_eq!(likes["items"].as_array().map(Vec::len), Some(7));
}

#[tokio::test]
async fn every_shell_gets_its_completions() {
    let server = Server::prepare(harness::Setup::default());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = server.run(&["completions", shell]).await.expect(0).text;
        for word in ["dead-letters", "projections", "data-dir"] {
            assert!(script.contains(word), "{shell} completes {word}");
        }
    }
    assert!(!server.directory().join("data").exists(), "nothing was made");
}

/// Prometheus' conventions, for every family that there is: prefix, unit, `_total`, help and type.
#[tokio::test]
async fn metrics_keep_to_the_conventions() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let mut tokens = Tokens::default();
    let post = ada.publish("count me", &mut tokens).await;
    let _ = ada.feed(20, &tokens).await;
    let _watching = harness::Watching::post(&ada.client, &post.id, None).await;
    let _watching_feed = harness::Watching::feed(&ada.client, Some("nowhere")).await;
    let text = eventually("all that is looked at now and then is there", async || {
        let answer = server.client().get("/metrics").await.expect(200);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let wanted = [
            "hybrid_live_log_head",
            "hybrid_live_streams_open 2",
            "hybrid_live_stream_resets_total",
            "hybrid_live_outbox_waiting_streams",
        ];
        if wanted.iter().all(|name| text.contains(name)) { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(!text.contains(&ada.id) && !text.contains(&post.id), "labels have no ids: one series each");

    let (mut helps, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name, help);
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            types.insert(name, kind);
        }
    }
    let family = |series: &str| {
        let name = series.split(['{', ' ']).next().unwrap_or_default().to_owned();
        let parts = ["_bucket", "_sum", "_count"];
        let base = parts.iter().find_map(|part| name.strip_suffix(part)).filter(|base| types.contains_key(base));
        base.map_or(name.clone(), str::to_owned)
    };
    let families: BTreeSet<String> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(family).collect();
    assert!(families.len() > 20, "{families:?}");
    for name in &families {
        let name = name.as_str();
        assert!(name.starts_with("hybrid_live_") || name.starts_with("process_"), "{name}: whose is it?");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        let help = helps.get(name).unwrap_or_else(|| panic!("{name} has no HELP"));
        assert!(help.len() > 5, "{name}: {help}");
        let kind = *types.get(name).unwrap_or_else(|| panic!("{name} has no TYPE"));
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        if kind == "histogram" {
            assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name}: in which unit?");
        }
        for other in ["_milliseconds", "_millis", "_ms", "_minutes", "_kilobytes", "_percent", "_gauge"] {
            assert!(!name.contains(other), "{name}: base units only");
        }
    }
    for name in [
        "hybrid_live_build_info",
        "hybrid_live_http_requests_total",
        "hybrid_live_http_request_duration_seconds",
        "hybrid_live_projection_position",
        "hybrid_live_projection_lag_events",
        "hybrid_live_projection_lag_seconds",
        "hybrid_live_projection_parked_lanes",
        "hybrid_live_projection_parked_events",
        "hybrid_live_projection_paused",
        "hybrid_live_projection_faulted",
        "hybrid_live_log_head",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(families.contains(name), "{name}: {families:?}");
    }
    assert!(text.lines().any(|line| line.starts_with("hybrid_live_build_info{version=") && line.ends_with(" 1")));
}
