//! Starting, ending, and refusing to start.

use std::sync::Arc;

use harness::{Person, Server, Setup, Tokens, Watching, eventually, get_current, walk};
use serde_json::json;

#[tokio::test]
async fn it_ends_cleanly_with_streams_open_and_commands_under_way() {
    let mut server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    let post = ada.publish("watch me", &mut tokens).await.id;
    let mut streams = Vec::new();
    for client in [&ada.client, &ben.client, &server.client()] {
        streams.push(Watching::post(client, &post, None).await);
    }
    // One that has sent half a request and will never send the rest.
    let mut half = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.expect("connects");
    let head = "POST /v1/posts HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    tokio::io::AsyncWriteExt::write_all(&mut half, head.as_bytes()).await.expect("half a request");

    let ada = Arc::new(ada);
    let mut commands = tokio::task::JoinSet::new();
    for client in 0..8 {
        let ada = Arc::clone(&ada);
        commands.spawn(async move {
            let mut published = Vec::new();
            for number in 0.. {
                let request = ada.client.request(http::Method::POST, "/v1/posts");
                let mark = format!("{client}-{number}");
                let Ok(answer) = harness::Client::try_send(request.json(&json!({ "markdown": mark }))).await else {
                    break;
                };
                // While it ends it may also refuse; it must not break down.
                if answer.status != 201 {
                    assert_eq!(answer.status, 503, "{}", answer.shown());
                    break;
                }
                published.push(answer.text("id"));
            }
            published
        });
    }
    streams[0].first("LIKES").await;
    server.ask_to_end();
    let published = commands.join_all().await.concat();
    let status = server.ended().await;
    assert!(status.success(), "it ends with 0: {status}");
    for stream in &streams {
        stream.until_ended().await;
    }
    drop(half);

    server.start_again().await;
    let client = server.client();
    let listed = walk(&client, &format!("/v1/users/{}/posts", ada.id), 100, &Tokens::default()).await;
    let listed: Vec<&str> = listed.iter().filter_map(|post| post["id"].as_str()).collect();
    for id in &published {
        let whole = client.get(&format!("/v1/posts/{id}")).await;
        assert_eq!(whole.status, 200, "W1: acknowledged while it ended: {}", whole.shown());
    }
    println!("{} posts were acknowledged while it ended; {} are listed", published.len(), listed.len());
    server.verify().await;
}

#[tokio::test]
async fn sessions_streams_and_cursors_outlive_a_restart() {
    let mut server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let mut posts = Vec::new();
    for number in 0..5 {
        posts.insert(0, ada.publish(&number.to_string(), &mut tokens).await.id);
    }
    let page = get_current(&ben.client, "/v1/feed?limit=2", &tokens).await.expect(200);
    let mut watching = Watching::post(&ben.client, &posts[0], None).await;
    let first = ada.comment(&posts[0], "before", &mut tokens).await;
    watching.until("the comment", |told| told.iter().any(|told| told.data["id"] == first)).await;

    assert!(server.terminate().await.success());
    server.start_again().await;
    let second = ada.comment(&posts[0], "after", &mut tokens).await;
    watching.resume().await.expect("a stream");
    watching.until("the next", |told| told.iter().any(|told| told.data["id"] == second)).await;
    assert_eq!(watching.ids("NEW_COMMENT"), [first, second]);
    let next = format!("/v1/feed?limit=20&before={}", page.text("next"));
    let rest = get_current(&ben.client, &next, &tokens).await.expect(200).json();
    let rest: Vec<&str> =
        rest["items"].as_array().expect("items").iter().filter_map(|post| post["id"].as_str()).collect();
    assert_eq!(rest, posts[2..].iter().collect::<Vec<_>>());
    let refresh = json!({ "refresh_token": ben.session["refresh_token"] });
    let _ = server.client().post("/v1/sessions/refresh", &refresh).await.expect(200);
    let _ = Person::log_in(&server.client(), "ada").await;
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start().await;
    let second = server.run(&["serve", "--listen", "127.0.0.1:0"]).await.expect(2);
    assert!(second.text.contains("data"), "it names the directory: {}", second.text);
    let _ = server.client().get("/health/ready").await.expect(200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let server = Server::start().await;
    let other = Server::prepare(Setup::default());
    let place = format!("127.0.0.1:{}", server.port());
    let refused = other.run(&["serve", "--listen", &place]).await.expect(2);
    assert!(refused.text.contains(&place), "{}", refused.text);
}

#[tokio::test]
async fn settings_that_nobody_knows_are_named() {
    let unknown = Setup { settings: "[projections]\nhot_auhtor_followers = 3\n".to_owned(), ..Setup::default() };
    let refused = Server::prepare(unknown).run(&["serve", "--listen", "127.0.0.1:0"]).await.expect(2);
    assert!(refused.text.contains("projections.hot_auhtor_followers"), "{}", refused.text);
    assert!(refused.text.contains("hybrid-live.toml"), "and where it stands: {}", refused.text);

    let wrong = Setup { settings: "[projections]\ntrim_at = \"many\"\n".to_owned(), ..Setup::default() };
    let refused = Server::prepare(wrong).run(&["serve", "--listen", "127.0.0.1:0"]).await.expect(2);
    assert!(refused.text.contains("projections.trim_at"), "{}", refused.text);

    let elsewhere = Setup { settings: "[limits]\nstreams = 1\n".to_owned(), ..Setup::default() };
    let refused = Server::prepare(elsewhere).run(&["serve", "--config", "no-such-file.toml"]).await.expect(2);
    assert!(refused.text.contains("no-such-file.toml"), "{}", refused.text);
}

#[tokio::test]
async fn stores_that_are_not_built_in_are_named() {
    // In every build: there is no such adapter for documents.
    let kafka = Setup {
        stores: harness::Stores::Embedded,
        settings: "[stores]\nviews = \"kafka://127.0.0.1:9092\"\n".to_owned(),
        ..Setup::default()
    };
    let refused = Server::prepare(kafka).run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert_ne!(refused.code, Some(0));
    assert!(refused.text.contains("kafka"), "{}", refused.text);
}

#[cfg(unix)]
#[tokio::test]
async fn keys_that_others_may_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;

    let mut server = Server::start().await;
    assert!(server.terminate().await.success());
    let secrets = server.secrets_file();
    let mode = std::fs::metadata(&secrets).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "made for the owner alone");
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    let refused = server.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert_ne!(refused.code, Some(0));
    assert!(refused.text.contains("secrets.toml"), "{}", refused.text);
}

#[tokio::test]
async fn health_and_metrics_say_how_it_is() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let mut tokens = Tokens::default();
    ada.publish("count me", &mut tokens).await;
    let client = server.client();
    let _ = client.get_after("/v1/feed", &tokens.header()).await.expect(401);
    // The projections are looked at for the first time once the server runs.
    eventually("the projections are named", || async {
        let ready = client.get("/health/ready").await;
        if ready.status != 200 {
            return Err(ready.shown());
        }
        let projections = ready.json()["projections"].clone();
        let named = |name: &str| {
            projections.as_array().expect("projections").iter().any(|one| one["name"].as_str() == Some(name))
        };
        let all = ["timelines", "engagement", "profiles"].into_iter().all(named);
        if all { Ok(()) } else { Err(ready.shown()) }
    })
    .await;
    let metrics = client.get("/metrics").await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for name in ["hybrid_live_http_requests_total", "hybrid_live_http_request_duration_seconds"] {
        assert!(metrics.contains(name), "{name}:\n{metrics}");
    }
    assert!(!metrics.contains(&ada.id), "labels have no ids: there would be one series each");
}
