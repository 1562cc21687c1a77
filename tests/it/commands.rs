//! Commands that meet: the same one twice, two at once on the same thing, and what becomes of hostile text.

use std::collections::BTreeSet;

use futures::future::join_all;
use harness::{Answer, PASSWORD, Server, Setup, Tokens, get_current, walk};
use serde_json::{Value, json};

const AT_ONCE: usize = 32;

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

/// W4, with all of them under way at the same time.
#[tokio::test]
async fn one_key_at_once_from_many_connections_is_one_command() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let body = json!({ "markdown": "once" });
    let answers = join_all((0..AT_ONCE).map(|_| ada.client.post_once("/v1/posts", "same", &body))).await;
    let settled = ada.client.post_once("/v1/posts", "same", &body).await.expect(201);
    for answer in &answers {
        // One that came while another was under way may be told to come again.
        assert!([201, 409].contains(&answer.status), "{}", answer.shown());
        if answer.status == 201 {
            assert_eq!((&answer.body, answer.header("etag")), (&settled.body, settled.header("etag")));
        }
    }
    assert_eq!(server.happened("post.published").await, 1);

    // Keys belong to people: ben's has nothing to do with ada's.
    let other = ben.client.post_once("/v1/posts", "same", &body).await.expect(201);
    assert_ne!(other.body, settled.body);
    let mut tokens = Tokens::default();
    tokens.add(&settled);
    tokens.add(&other);
    let posts = walk(&ada.client, &format!("/v1/users/{}/posts", ada.id), 20, &tokens).await;
    assert_eq!(posts.len(), 1);
}

/// W4: a rejection leaves the key free: the same command decides again.
#[tokio::test]
async fn a_refused_command_may_come_again_with_its_key() {
    let server = Server::start().await;
    let [ada, ben] = server.people(["ada", "ben"]).await;
    let mut tokens = Tokens::default();
    let post = ada.publish_to("followers", "among us", &mut tokens).await;
    let path = format!("/v1/posts/{}/comments", post.id);
    let body = json!({ "text": "now?" });
    let _ = ben.client.post_once(&path, "key", &body).await.expect(404);
    ben.follow(&ada, &mut tokens).await;
    let first = ben.client.post_once(&path, "key", &body).await.expect(201);
    ben.unfollow(&ada, &mut tokens).await;
    let again = ben.client.post_once(&path, "key", &body).await.expect(201);
    assert_eq!(first.body, again.body, "what was answered is answered again");
    assert_eq!(server.happened("comment.added").await, 1);
}

/// W5, and W4 for those who have no account yet.
#[tokio::test]
async fn a_name_that_many_want_goes_to_one() {
    let server = Server::start().await;
    let client = server.client();
    let account = |number: usize| {
        // Upper or lower case: it is the same name.
        let username = if number.is_multiple_of(2) { "wanted" } else { "Wanted" };
        json!({ "username": username, "password": PASSWORD, "display_name": format!("number {number}") })
    };
    let bodies: Vec<Value> = (0..AT_ONCE).map(account).collect();
    let answers = join_all(bodies.iter().map(|body| client.post("/v1/accounts", body))).await;
    let mut expected = vec![409; AT_ONCE];
    expected[0] = 201;
    assert_eq!(statuses(&answers), expected, "W5");
    assert_eq!(server.happened("user.registered").await, 1);

    let body = json!({ "username": "patient", "password": PASSWORD });
    let first = client.post_once("/v1/accounts", "key", &body).await.expect(201);
    let again = client.post_once("/v1/accounts", "key", &body).await.expect(201);
    assert_eq!(first.body, again.body);
    server.verify().await;
}

/// W2: of edits that were made on the same version, one is in.
#[tokio::test]
async fn of_edits_at_once_one_wins_and_the_others_are_told() {
    let server = Server::start().await;
    let [ada] = server.people(["ada"]).await;
    let mut tokens = Tokens::default();
    let post = ada.publish("version 1", &mut tokens).await;
    let path = format!("/v1/posts/{}", post.id);
    let bodies: Vec<Value> = (0..AT_ONCE).map(|number| json!({ "markdown": format!("edit {number}") })).collect();
    let answers = join_all(bodies.iter().map(|body| ada.client.edit(&path, &post.etag, body))).await;
    let mut expected = vec![412; AT_ONCE];
    expected[0] = 200;
    assert_eq!(statuses(&answers), expected, "W2");
    let winner = answers.iter().position(|answer| answer.status == 200).expect("one");
    tokens.add(&answers[winner]);
    let whole = get_current(&ada.client, &path, &tokens).await.expect(200);
    assert_eq!(whole.json()["markdown"], bodies[winner]["markdown"]);
    assert_eq!(whole.header("etag"), Some("\"2\""));
    server.verify().await;
}

/// C1, C2: whatever the order, what is counted is what is there.
#[tokio::test]
async fn likes_and_unlikes_at_once_are_counted_as_they_end() {
    let server = Server::start().await;
    let people = server.people(["ada", "ben", "cleo", "dora"]).await;
    let mut tokens = Tokens::default();
    let post = people[0].publish("popular", &mut tokens).await;
    let path = format!("/v1/posts/{}/like", post.id);
    for person in &people {
        let (client, path) = (&person.client, &path);
        let likes = (0..AT_ONCE).map(|number| async move {
            if number % 2 == 0 { client.put(path).await } else { client.delete(path).await }
        });
        for answer in join_all(likes).await {
            // Too many at once on one reaction: told so, and nothing is half done.
            assert!([204, 409].contains(&answer.status), "{}", answer.shown());
        }
    }
    let liked: BTreeSet<&str> = [&people[1], &people[3]].map(|person| person.id.as_str()).into();
    for (number, person) in people.iter().enumerate() {
        if number % 2 == 1 {
            person.like(&post.id, &mut tokens).await;
        } else {
            person.like(&post.id, &mut tokens).await;
            person.unlike(&post.id, &mut tokens).await;
        }
    }
    let likes = walk(&server.client(), &format!("/v1/posts/{}/likes", post.id), 1, &tokens).await;
    assert_eq!(likes.iter().filter_map(|like| like["user"]["id"].as_str()).collect::<BTreeSet<_>>(), liked);
    let whole = people[1].client.get(&format!("/v1/posts/{}", post.id)).await.expect(200).json();
    assert_eq!((&whole["likes"], &whole["liked_by_me"]), (&json!(2), &json!(true)));
    server.verify().await;
}

/// W7: a token of another log names nothing that is here.
#[tokio::test]
async fn a_token_from_another_log_is_behind() {
    let (here, there) = (Server::start().await, Server::start().await);
    let ([ada], [ben]) = (here.people(["ada"]).await, there.people(["ben"]).await);
    let mut tokens = Tokens::default();
    ben.publish("elsewhere", &mut tokens).await;
    let answer = ada.client.get_after("/v1/feed", &tokens.header()).await.expect(200);
    assert_eq!(answer.header("consistency"), Some("behind"));
    let without = ada.client.get("/v1/feed").await.expect(200);
    assert_eq!(without.header("consistency"), None, "said only to those who ask");
}

#[tokio::test]
async fn no_markup_of_others_survives() {
    let server = Server::start_with(Setup::default()).await;
    let [ada] = server.people(["ada"]).await;
    let hostile = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "[click](JaVaScRiPt&colon;alert(1))",
        "[click](data:text/html;base64,PHNjcmlwdD4=)",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<svg/onload=alert(1)>",
        "<iframe src=\"https://evil.example\"></iframe>",
        "<style>*{display:none}</style>",
        "![x](https://evil.example/track.png \"onload=alert(1)\")",
        "<https://evil.example/\"onmouseover=\"alert(1)>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        "`<script>`\n\n```html\n<script>alert(1)</script>\n```",
        "<form action=https://evil.example><input name=password></form>",
        "[ref]: javascript:alert(1)\n\n[ref]",
    ];
    for markdown in hostile {
        let mut tokens = Tokens::default();
        let post = ada.publish(markdown, &mut tokens).await;
        let whole = get_current(&ada.client, &format!("/v1/posts/{}", post.id), &tokens).await.expect(200).json();
        assert_eq!(whole["markdown"], markdown, "kept as it was written");
        let html = whole["html"].as_str().expect("HTML").to_ascii_lowercase();
        for bad in ["<script", "<iframe", "<style", "<svg", "<math", "<form", "<input"] {
            assert!(!html.contains(bad), "{markdown}: {html}");
        }
        // Only in a tag does an attribute do anything: what was escaped is text.
        for tag in html.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag) {
            assert!(!tag.contains("=\"javascript:") && !tag.contains("=\"data:"), "{markdown}: {html}");
            let names: String = tag.split('"').step_by(2).collect();
            assert!(!names.contains(" on"), "{markdown}: {html}");
        }
    }
    let mut tokens = Tokens::default();
    let post = ada.publish("[good](https://example.org)", &mut tokens).await;
    let whole = get_current(&ada.client, &format!("/v1/posts/{}", post.id), &tokens).await.expect(200).json();
    assert_eq!(
        whole["html"].as_str().map(str::trim),
        Some("<p><a href=\"https://example.org\" rel=\"nofollow ugc noopener\">good</a></p>")
    );
}
