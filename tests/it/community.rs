//! A made-up community, and real posts from elsewhere.

use std::collections::BTreeSet;
use std::path::PathBuf;

use harness::{PASSWORD, Person, Server, Setup, Tokens, eventually, walk};
use serde_json::{Value, json};

#[tokio::test]
async fn a_seeded_community_is_plausible_and_judged_whole() {
    let mut server = Server::prepare(Setup::default());
    let arguments = ["seed", "--users", "40", "--posts", "300"];
    server.migrate().await;
    let _ = server.run(&arguments).await.expect(0);
    let heads = server.heads().await;
    assert_eq!((heads.documents("user"), heads.waiting), (40, 0));
    assert_eq!(server.happened("post.published").await, 300);
    let _ = server.run(&arguments).await.expect(0);
    assert_eq!(server.heads().await, heads, "a second run adds nothing");
    server.verify().await;

    // Whoever wants to look around logs in as one of them.
    server.start_again().await;
    let documents = server.look().await.documents().await;
    let people = documents.iter().filter(|(stream, _)| stream.to_string().starts_with("user-"));
    let somebody: Value =
        serde_json::from_str(&people.min_by_key(|(_, one)| &one.state).expect("one").1.state).expect("JSON");
    let name = somebody["username"].as_str().expect("a name").to_owned();
    let person = Person::log_in(&server.client(), &name).await;
    let feed = person.feed(100, &Tokens::default()).await;
    let times: Vec<&str> = feed.iter().filter_map(|post| post["created_at"].as_str()).collect();
    assert!(!feed.is_empty() && times.is_sorted_by(|newer, older| newer >= older), "newest first");

    let follows = server.events(Some("relation.followed")).await;
    let mut followers = std::collections::HashMap::<String, usize>::new();
    for follow in &follows {
        let data: Value = serde_json::from_str(&follow.data).expect("JSON");
        *followers.entry(data["to"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    let most = followers.values().max().copied().unwrap_or_default();
    let mean = follows.len() / followers.len().max(1);
    assert!(most >= 2 * mean, "some are followed far more than others: at most {most}, in the mean {mean}");

    // More of it, while the server runs.
    let _ = server.run(&["seed", "--users", "40", "--posts", "350"]).await.expect(0);
    assert!(server.happened("post.published").await > 300, "a larger community has more posts");
    server.verify().await;
}

#[tokio::test]
async fn the_same_seed_makes_the_same_community() {
    let mut made = Vec::new();
    for seed in ["7", "7", "8"] {
        let server = Server::prepare(Setup::default());
        server.migrate().await;
        let _ = server.run(&["seed", "--users", "15", "--posts", "60", "--seed", seed]).await.expect(0);
        let documents = server.look().await.documents().await.into_iter();
        made.push(documents.map(|(stream, document)| (stream, document.state)).collect::<Vec<_>>());
    }
    assert!(made[0] == made[1], "the same seed, the same data");
    assert!(made[0] != made[2], "another seed, other data");
}

/// What a Mastodon account export's `outbox.json` looks like, with `posts` public posts among other things.
fn outbox(posts: usize) -> (Value, Vec<(String, String)>) {
    const PUBLIC: &str = "https://www.w3.org/ns/activitystreams#Public";
    let account = "https://social.example/users/ada";
    let followers = format!("{account}/followers");
    let activity = |number: usize, kind: &str, published: &str, to: &str, cc: &str, object: Value| {
        json!({
            "id": format!("{account}/statuses/{number}/activity"), "type": kind, "actor": account,
            "published": published, "to": [to], "cc": [cc], "object": object,
        })
    };
    let note = |number: usize, published: &str, to: &str, cc: &str, content: &str| {
        json!({
            "id": format!("{account}/statuses/{number}"), "type": "Note", "summary": null, "inReplyTo": null,
            "published": published, "url": format!("https://social.example/@ada/{number}"), "attributedTo": account,
            "to": [to], "cc": [cc], "sensitive": false, "content": content, "contentMap": { "en": content },
            "attachment": [], "tag": [], "replies": { "id": "x", "type": "Collection" },
        })
    };
    let (mut items, mut expected) = (Vec::new(), Vec::new());
    for number in 0..posts {
        // Three a day over years; every tenth in the same second as the one before.
        let second = number - usize::from(number % 10 == 9);
        let (day, hour) = (second / 3, second % 3 * 7);
        let published =
            format!("{:04}-{:02}-{:02}T{hour:02}:30:00Z", 2019 + day / 336, day / 28 % 12 + 1, day % 28 + 1);
        let content = format!(
            "<p>Post {number} with <strong>weight</strong> &amp; <a href=\"https://example.org/{number}\">more</a></p>"
        );
        let object = note(number, &published, PUBLIC, &followers, &content);
        items.push(activity(number, "Create", &published, PUBLIC, &followers, object));
        expected.push((published.clone(), format!("Post {number} ")));
        if number % 50 == 0 {
            let boost = json!("https://elsewhere.example/users/x/statuses/1");
            items.push(activity(1_000_000 + number, "Announce", &published, PUBLIC, &followers, boost));
            let private = note(
                2_000_000 + number,
                &published,
                &followers,
                "https://social.example/users/ben",
                "<p>not for all</p>",
            );
            items.push(activity(
                2_000_000 + number,
                "Create",
                &published,
                &followers,
                "https://social.example/users/ben",
                private,
            ));
        }
    }
    expected.reverse();
    let outbox = json!({
        "@context": "https://www.w3.org/ns/activitystreams", "id": "outbox.json", "type": "OrderedCollection",
        "totalItems": items.len(), "orderedItems": items,
    });
    (outbox, expected)
}

#[tokio::test]
async fn thousands_of_imported_posts_are_in_followers_feeds_to_the_end() {
    const POSTS: usize = 3_000;
    let mut server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    let today = ben.publish("today", &mut tokens).await.id;
    let (outbox, expected) = outbox(POSTS);
    let file: PathBuf = server.directory().join("outbox.json");
    std::fs::write(&file, outbox.to_string()).expect("a file");
    let file = file.to_str().expect("a path");

    // While the server runs.
    let said = server.run(&["import", file, "--as", "ada"]).await.expect(0);
    assert!(said.text.contains(&POSTS.to_string()), "it says how many: {}", said.text);
    assert_eq!(server.happened("post.published").await, POSTS + 1);
    eventually("the import is in the feed", async || {
        let last = &expected[POSTS - 1].1;
        let path = format!("/v1/users/{}/posts?limit=1", ada.id);
        let posts = server.client().get(&path).await.expect(200).json();
        let ready = server.client().get("/health/ready").await;
        let lag = ready.json().to_string();
        if posts["items"].as_array().is_some_and(|items| !items.is_empty())
            && ben.feed(100, &Tokens::default()).await.len() == POSTS + 1
        {
            Ok(())
        } else {
            Err(format!("{last} is missing; {lag}"))
        }
    })
    .await;
    assert_shown(&ben, Some(&today), &expected).await;
    // Who follows only now sees as much.
    cleo.follow(&ada, &mut tokens).await;
    assert_eq!(cleo.feed(100, &tokens).await.len(), POSTS);
    assert_shown(&cleo, None, &expected).await;

    let before = server.settled().await;
    let _ = server.run(&["import", file, "--as", "ada"]).await.expect(0);
    assert_eq!(server.heads().await, before, "a second run adds nothing, while the server runs");
    server.verify().await;
    assert!(server.terminate().await.success());
    let _ = server.run(&["import", file, "--as", "ada"]).await.expect(0);
    assert_eq!(server.heads().await, before, "nor while it does not");
    server.verify().await;
    // Nobody of that name.
    let refused = server.run(&["import", file, "--as", "nobody"]).await;
    assert!(refused.code != Some(0) && refused.text.contains("nobody"), "{}", refused.text);
}

/// W4 for those who write without HTTP: what was begun is gone on with, and not begun again.
#[tokio::test]
async fn an_import_or_a_seed_that_is_killed_goes_on_where_it_was() {
    const POSTS: usize = 1_500;
    let mut server = Server::start().await;
    let [_ada] = server.people(["ada"]).await;
    let file = server.directory().join("outbox.json");
    std::fs::write(&file, outbox(POSTS).0.to_string()).expect("a file");
    let file = file.to_str().expect("a path");
    // The log may hold an event twice where content and log are apart and the writer was killed between the two.
    let published = async |server: &Server| {
        let events = server.events(Some("post.published")).await;
        events.into_iter().map(|event| event.subject).collect::<BTreeSet<_>>().len()
    };

    let import = ["import", file, "--as", "ada"];
    for goal in [POSTS / 10, POSTS / 2] {
        let mut running = server.begin(&import);
        eventually("some posts are imported", async || match published(&server).await {
            enough if enough >= goal => Ok(()),
            few => Err(format!("{few} posts")),
        })
        .await;
        running.kill().await.expect("it is killed");
    }
    println!("killed with {} of {POSTS} posts imported", published(&server).await);
    let _ = server.run(&import).await.expect(0);
    server.settled().await;
    assert_eq!(published(&server).await, POSTS);
    server.verify().await;

    assert!(server.terminate().await.success());
    let seed = ["seed", "--users", "60", "--posts", "1000"];
    let mut running = server.begin(&seed);
    eventually("some posts are seeded", async || match published(&server).await - POSTS {
        enough if enough >= 300 => Ok(()),
        few => Err(format!("{few} posts")),
    })
    .await;
    running.kill().await.expect("it is killed");
    let _ = server.run(&seed).await.expect(0);
    assert_eq!(published(&server).await, POSTS + 1_000);
    server.verify().await;
}

async fn assert_shown(reader: &Person, own: Option<&String>, expected: &[(String, String)]) {
    let feed = walk(&reader.client, "/v1/feed", 100, &Tokens::default()).await;
    let (head, imported) = feed.split_at(usize::from(own.is_some()));
    assert_eq!(head.first().and_then(|post| post["id"].as_str()), own.map(String::as_str), "today's is the newest");
    assert_eq!(imported.len(), expected.len());
    let times: Vec<&str> = imported.iter().filter_map(|post| post["created_at"].as_str()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first");
    // Posts of one second are in any order among themselves.
    let shown: BTreeSet<(String, String)> = imported
        .iter()
        .map(|post| {
            let text = post["text"].as_str().expect("a text");
            let words = text.split(' ').take(2).fold(String::new(), |words, word| words + word + " ");
            assert!(text.contains("weight") && !text.contains(['*', '<']), "without markup: {text}");
            // Whole seconds, whatever the precision that they are shown in.
            (post["created_at"].as_str().expect("a time")[..19].to_owned() + "Z", words)
        })
        .collect();
    assert_eq!(shown, expected.iter().cloned().collect::<BTreeSet<_>>(), "all of them, with their times");
    let whole = format!("/v1/posts/{}", imported[0]["id"].as_str().expect("an id"));
    let whole = reader.client.get(&whole).await.expect(200).json();
    let markdown = whole["markdown"].as_str().expect("Markdown");
    assert!(markdown.contains("**weight**") && markdown.contains("(https://example.org/"), "{markdown}");
    let html = whole["html"].as_str().expect("HTML");
    assert!(html.contains("rel=\"nofollow ugc noopener\""), "{html}");
}

/// E2, and secrets: what people write, their passwords and tokens are nowhere in the log, nor in what is logged.
#[tokio::test]
async fn nothing_personal_is_in_the_log_and_no_secret_is_kept() {
    let mut server = Server::start().await;
    let [ada, ben] = server.people(["ada_lovelace", "ben"]).await;
    let mut tokens = Tokens::default();
    let post = ada.publish("analytical engine", &mut tokens).await;
    let comment = ben.comment(&post.id, "poetical science", &mut tokens).await;
    let edited = ada
        .client
        .edit(&format!("/v1/posts/{}", post.id), &post.etag, &json!({ "markdown": "difference engine" }))
        .await;
    let _ = edited.expect(200);
    ben.delete(&format!("/v1/comments/{comment}"), &mut tokens).await;
    let refresh = ada.session["refresh_token"].as_str().expect("a token").to_owned();
    let access = ada.session["access_token"].as_str().expect("a token").to_owned();
    let wrong = json!({ "username": "ada_lovelace", "password": "a wrong passphrase" });
    let _ = server.client().post("/v1/sessions", &wrong).await.expect(401);
    let renewed = server.client().post("/v1/sessions/refresh", &json!({ "refresh_token": refresh })).await.expect(200);
    let renewed = renewed.text("refresh_token");
    assert!(server.terminate().await.success());

    for event in server.events(None).await {
        for word in ["analytical", "poetical", "difference", "ada_lovelace"] {
            assert!(!event.data.contains(word), "E2: {word} in {event:?}");
        }
    }
    let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
    for (stream, document) in server.look().await.documents().await {
        kept.push((stream.to_string(), format!("{document:?}").into_bytes()));
    }
    // Whatever is in files, in this mix of stores; but the server's own keys are in one.
    for folder in [server.directory().to_owned(), server.directory().join("data")] {
        let files = std::fs::read_dir(folder).expect("a directory").map(|entry| entry.expect("an entry").path());
        for file in files.filter(|path| path.is_file() && !path.ends_with("secrets.toml")) {
            kept.push((file.display().to_string(), std::fs::read(&file).expect("a file")));
        }
    }
    assert!(kept.len() > 4, "the test looks somewhere");
    for (place, bytes) in kept {
        for secret in [PASSWORD, "a wrong passphrase", &refresh, &renewed, &access] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {place}");
        }
    }
}
