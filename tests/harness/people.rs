//! People who use the server, and what they do in stories.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::condition::eventually;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// Somebody with an account who has logged in.
#[derive(Clone, Debug)]
pub struct Person {
    /// The account.
    pub id: String,
    /// Its name.
    pub username: String,
    /// What was answered to the log-in.
    pub session: Value,
    /// Speaks as this person.
    pub client: Client,
}

/// A post as its author knows it after publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Its id.
    pub id: String,
    /// Its `ETag`.
    pub etag: String,
}

/// Consistency tokens, as a careful client collects them: a query that carries them has seen all that they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(BTreeSet<String>);

impl Tokens {
    /// Remembers an answer's token.
    pub fn add(&mut self, answer: &Answer) {
        self.0.insert(answer.token());
    }

    /// As a header.
    pub fn header(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Person {
    /// Registers and logs in.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn register(server: &Client, username: &str) -> Self {
        let account = json!({ "username": username, "password": PASSWORD });
        let _ = server.post("/v1/accounts", &account).await.expect(201);
        Self::log_in(server, username).await
    }

    /// Registers people at the same time and logs them in.
    pub async fn register_all<const N: usize>(server: &Client, usernames: [&str; N]) -> [Self; N] {
        let people = usernames.map(|username| Self::register(server, username));
        let people = futures::future::join_all(people).await;
        people.try_into().unwrap_or_else(|_| unreachable!("as many people as names"))
    }

    /// Logs in to an account that is there.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn log_in(server: &Client, username: &str) -> Self {
        let session = json!({ "username": username, "password": PASSWORD });
        let session = server.post("/v1/sessions", &session).await.expect(201).json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            id: text(&session["user"]["id"]),
            username: username.to_owned(),
            client: server.bearer(&text(&session["access_token"])),
            session,
        }
    }

    /// Logs in again, so that whoever speaks as this person goes on: an access token lasts a quarter of an hour.
    pub async fn log_in_again(&self) {
        let session = json!({ "username": self.username, "password": PASSWORD });
        let token = eventually("a new session", async || {
            match Client::try_send(self.client.request(Method::POST, "/v1/sessions").json(&session)).await {
                Ok(answer) if answer.status == 201 => Ok(answer.text("access_token")),
                Ok(answer) => Err(answer.shown()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        self.client.renew(&token);
    }

    /// Publishes a public post.
    pub async fn publish(&self, markdown: &str, tokens: &mut Tokens) -> Post {
        self.publish_to("public", markdown, tokens).await
    }

    /// Publishes a post.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn publish_to(&self, visibility: &str, markdown: &str, tokens: &mut Tokens) -> Post {
        let body = json!({ "markdown": markdown, "visibility": visibility });
        let answer = self.client.post("/v1/posts", &body).await.expect(201);
        tokens.add(&answer);
        Post { id: answer.text("id"), etag: answer.header("etag").expect("an ETag").to_owned() }
    }

    /// Comments on a post; answers the comment's id.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn comment(&self, post: &str, text: &str, tokens: &mut Tokens) -> String {
        let answer = self.client.post(&format!("/v1/posts/{post}/comments"), &json!({ "text": text })).await;
        let answer = answer.expect(201);
        tokens.add(&answer);
        answer.text("id")
    }

    /// Likes a post.
    pub async fn like(&self, post: &str, tokens: &mut Tokens) {
        self.done(Method::PUT, &format!("/v1/posts/{post}/like"), tokens).await;
    }

    /// Takes a like back.
    pub async fn unlike(&self, post: &str, tokens: &mut Tokens) {
        self.done(Method::DELETE, &format!("/v1/posts/{post}/like"), tokens).await;
    }

    /// Follows somebody.
    pub async fn follow(&self, other: &Self, tokens: &mut Tokens) {
        self.done(Method::PUT, &format!("/v1/users/{}/follow", other.id), tokens).await;
    }

    /// Follows somebody no longer.
    pub async fn unfollow(&self, other: &Self, tokens: &mut Tokens) {
        self.done(Method::DELETE, &format!("/v1/users/{}/follow", other.id), tokens).await;
    }

    /// Blocks somebody.
    pub async fn block(&self, other: &Self, tokens: &mut Tokens) {
        self.done(Method::PUT, &format!("/v1/users/{}/block", other.id), tokens).await;
    }

    /// Ends a block.
    pub async fn unblock(&self, other: &Self, tokens: &mut Tokens) {
        self.done(Method::DELETE, &format!("/v1/users/{}/block", other.id), tokens).await;
    }

    /// Mutes somebody.
    pub async fn mute(&self, other: &Self, tokens: &mut Tokens) {
        self.done(Method::PUT, &format!("/v1/users/{}/mute", other.id), tokens).await;
    }

    /// Ends a mute.
    pub async fn unmute(&self, other: &Self, tokens: &mut Tokens) {
        self.done(Method::DELETE, &format!("/v1/users/{}/mute", other.id), tokens).await;
    }

    /// Changes what a profile, a post or a comment says, by its path; answers the new `ETag`.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn edit(&self, path: &str, etag: &str, body: &Value, tokens: &mut Tokens) -> String {
        let answer = self.client.edit(path, etag, body).await.expect(200);
        tokens.add(&answer);
        answer.header("etag").expect("an ETag").to_owned()
    }

    /// Deletes a post or a comment, by its path.
    pub async fn delete(&self, path: &str, tokens: &mut Tokens) {
        self.done(Method::DELETE, path, tokens).await;
    }

    async fn done(&self, method: Method, path: &str, tokens: &mut Tokens) {
        tokens.add(&Client::send(self.client.request(method, path)).await.expect(204));
    }

    /// The whole home feed in pages of `limit`, once all that `tokens` name is in it.
    pub async fn feed(&self, limit: usize, tokens: &Tokens) -> Vec<Value> {
        walk(&self.client, "/v1/feed", limit, tokens).await
    }
}

/// `GET` once all that `tokens` name is in the answer. The server waits a bounded time: on a busy machine its first
/// answer may well be that it is behind.
pub async fn get_current(client: &Client, path: &str, tokens: &Tokens) -> Answer {
    eventually(&format!("{path} is current"), async || {
        let answer = match tokens.header() {
            nothing if nothing.is_empty() => client.get(path).await,
            header => client.get_after(path, &header).await,
        };
        if answer.header("consistency") == Some("behind") { Err(answer.shown()) } else { Ok(answer) }
    })
    .await
}

/// A whole list to its end, newest first, in pages of `limit`, once all that `tokens` name is in it.
///
/// # Panics
/// When an answer is not a page, a page is longer than asked for, or the list is behind.
pub async fn walk(client: &Client, path: &str, limit: usize, tokens: &Tokens) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{path}?limit={limit}{cursor}");
        let answer = get_current(client, &page, tokens).await.expect(200).json();
        let found = answer["items"].as_array().expect("items");
        assert!(found.len() <= limit, "a page of {limit} has {}", found.len());
        items.extend(found.iter().cloned());
        match answer["next"].as_str() {
            Some(next) => cursor = format!("&before={next}"),
            None => return items,
        }
    }
}
