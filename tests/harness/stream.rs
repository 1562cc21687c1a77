//! Event streams (SSE) as a browser follows them: everything is recorded, the connection can be cut, and resumed
//! from the last id.

use std::pin::pin;

use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Answer, Client};
use crate::condition::PATIENCE;
use crate::condition::eventually;
use crate::document::Document;

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// `event:`
    pub name: String,
    /// `id:`, where the event itself has one.
    pub id: Option<String>,
    /// `data:`
    pub data: Value,
}

/// What a stream has told so far, over all its connections.
#[derive(Debug, Default)]
struct History {
    told: Vec<Told>,
    last_id: Option<String>,
    /// The id that the first connection was opened from.
    first_id: Option<String>,
    ended: bool,
}

/// Somebody watching.
#[derive(Debug)]
pub struct Watching {
    client: Client,
    path: String,
    history: watch::Sender<History>,
    connection: Option<JoinHandle<()>>,
}

impl Watching {
    /// Opens the stream of a post from `last_event_id`, or from now.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn post(client: &Client, post: &str, last_event_id: Option<&str>) -> Self {
        Self::open(client, format!("/v1/posts/{post}/stream"), last_event_id).await
    }

    /// Opens the stream of the client's feed from `last_event_id`, or from now.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn feed(client: &Client, last_event_id: Option<&str>) -> Self {
        Self::open(client, "/v1/feed/stream".to_owned(), last_event_id).await
    }

    async fn open(client: &Client, path: String, last_event_id: Option<&str>) -> Self {
        let mut watching = Self {
            client: client.clone(),
            path,
            history: watch::Sender::new(History {
                last_id: last_event_id.map(str::to_owned),
                first_id: last_event_id.map(str::to_owned),
                ..History::default()
            }),
            connection: None,
        };
        watching.resume().await.unwrap_or_else(|answer| panic!("no stream: {}", answer.shown()));
        watching
    }

    /// Connects again from the last id.
    ///
    /// # Errors
    /// The answer, where it is no stream.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn resume(&mut self) -> Result<(), Answer> {
        self.end().await;
        let response = self.connect().await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let streams = headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let url = response.url().clone();
        if status != 200 || !streams {
            let answer = Answer { status, headers, body: response.bytes().await.unwrap_or_default() };
            Document::check(&Method::GET, &url, &answer);
            return Err(answer);
        }
        // Its beginning; it has no end.
        Document::check(&Method::GET, &url, &Answer { status, headers, body: Bytes::new() });
        self.history.send_modify(|history| history.ended = false);
        let history = self.history.clone();
        self.connection = Some(tokio::spawn(async move {
            let mut chunks = pin!(response.bytes_stream());
            let mut reader = Reader::default();
            // The end of the server is the end of the stream, and no error.
            while let Some(Ok(chunk)) = chunks.next().await {
                history.send_modify(|history| reader.read(&chunk, history));
            }
            history.send_modify(|history| history.ended = true);
        }));
        Ok(())
    }

    /// From whoever serves streams and answers.
    async fn connect(&self) -> reqwest::Response {
        let last_id = self.last_id();
        // Others ask, too, so one's turn may come to the same dead one twice.
        eventually("somebody answers", async || {
            let mut request = self.client.request(Method::GET, &self.path).header("accept", "text/event-stream");
            if let Some(id) = &last_id {
                request = request.header("last-event-id", id);
            }
            request.send().await.map_err(|error| error.to_string())
        })
        .await
    }

    /// Breaks the connection, as a lost network does.
    pub fn cut(&mut self) {
        if let Some(connection) = &self.connection {
            connection.abort();
        }
    }

    /// Breaks the connection, so early that the last `count` events had not arrived yet.
    pub async fn cut_before(&mut self, count: usize) {
        self.end().await;
        self.history.send_modify(|history| {
            history.told.truncate(history.told.len().saturating_sub(count));
            let last_id = history.told.iter().rev().find_map(|told| told.id.clone());
            if count > 0 {
                history.last_id = last_id.or_else(|| history.first_id.clone());
            }
        });
    }

    /// What the connection was just taking in counts: the last id is of what was told.
    async fn end(&mut self) {
        self.cut();
        if let Some(connection) = self.connection.take() {
            let _ = connection.await;
        }
    }

    /// All that was told, in order, over all connections.
    pub fn told(&self) -> Vec<Told> {
        self.history.borrow().told.clone()
    }

    /// How often something was told under `name`.
    pub fn count(&self, name: &str) -> usize {
        self.history.borrow().told.iter().filter(|told| told.name == name).count()
    }

    /// The ids of what was told under `name`, by the field `id` of its data.
    pub fn ids(&self, name: &str) -> Vec<String> {
        let of = |told: &Told| (told.name == name).then(|| told.data["id"].as_str().map(str::to_owned)).flatten();
        self.history.borrow().told.iter().filter_map(of).collect()
    }

    /// The id to resume from.
    pub fn last_id(&self) -> Option<String> {
        self.history.borrow().last_id.clone()
    }

    /// Waits until what was told is as `is_so` wants it.
    ///
    /// # Panics
    /// When it never is.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&[Told]) -> bool) {
        let mut history = self.history.subscribe();
        let waited = tokio::time::timeout(PATIENCE, history.wait_for(|history| is_so(&history.told))).await;
        assert!(waited.is_ok(), "{what}: not told; told was {:#?}", self.told());
    }

    /// Waits until something is told under `name`; answers the first of it.
    ///
    /// # Panics
    /// When nothing is.
    pub async fn first(&self, name: &str) -> Told {
        self.until(name, |told| told.iter().any(|told| told.name == name)).await;
        self.told().into_iter().find(|told| told.name == name).expect("it was told")
    }

    /// Waits until the server has ended the connection.
    ///
    /// # Panics
    /// When it does not.
    pub async fn until_ended(&self) {
        let mut history = self.history.subscribe();
        let waited = tokio::time::timeout(PATIENCE, history.wait_for(|history| history.ended)).await;
        assert!(waited.is_ok(), "the server ends the stream");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Takes events out of what comes over the wire.
#[derive(Debug, Default)]
struct Reader {
    buffer: Vec<u8>,
    name: String,
    id: Option<String>,
    data: String,
}

impl Reader {
    fn read(&mut self, chunk: &[u8], history: &mut History) {
        self.buffer.extend_from_slice(chunk);
        while let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8(line).expect("streams are UTF-8");
            self.line(line.trim_end_matches(['\r', '\n']), history);
        }
    }

    fn line(&mut self, line: &str, history: &mut History) {
        if line.is_empty() {
            self.end(history);
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" => self.id = Some(value.to_owned()),
            "data" => self.data.push_str(value),
            "retry" => assert!(value.parse::<u32>().is_ok(), "retry is milliseconds: {line:?}"),
            // A comment: a heartbeat.
            "" => {}
            _ => panic!("no field of an event stream: {line:?}"),
        }
    }

    fn end(&mut self, history: &mut History) {
        let id = self.id.take();
        if id.is_some() {
            history.last_id.clone_from(&id);
        }
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        // As the standard says: without data there is no event, only its id counts.
        if !data.is_empty() {
            let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("data is JSON ({error}): {data:?}"));
            history.told.push(Told { name, id, data });
        }
    }
}
