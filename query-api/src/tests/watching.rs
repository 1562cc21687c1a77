//! A client of a stream, as browsers are: it remembers the last id and can come back with it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{PostId, UserId};
use futures::{FutureExt as _, Stream, StreamExt as _};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::place::Place;
use crate::stream::{Streams, Watcher};

/// An event as a browser would raise it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) event: String,
    /// The offset in the id, if the event has one.
    pub(super) id: Option<i64>,
    pub(super) data: Value,
}

impl Told {
    /// Event, offset and the comment's or post's text or nothing.
    pub(super) fn short(&self) -> (&str, Option<i64>, &str) {
        (&self.event, self.id, self.data.get("text").and_then(Value::as_str).unwrap_or_default())
    }
}

pub(super) struct Watching {
    stream: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    pub(super) buffer: String,
    pub(super) last_event_id: Option<String>,
}

pub(super) fn streams(world: &World) -> Arc<Streams> {
    streams_until(world, CancellationToken::new())
}

pub(super) fn streams_until(world: &World, shutdown: CancellationToken) -> Arc<Streams> {
    Arc::new(Streams::new(&world.ports, world.feed(), world.cursors.clone(), 100_000, shutdown))
}

impl World {
    pub(super) fn position(&self, post: PostId, offset: i64) -> String {
        Place::of(post, self.ports.event_log.as_ref()).at(offset).to_string()
    }
}

impl Watching {
    pub(super) async fn open(
        streams: &Arc<Streams>,
        user: Option<UserId>,
        post: PostId,
        last_event_id: Option<&str>,
    ) -> Option<Self> {
        Self::open_for(
            streams,
            Watcher { user, remaining: user.map(|_| Duration::from_secs(900)) },
            post,
            last_event_id,
        )
        .await
    }

    pub(super) async fn open_for(
        streams: &Arc<Streams>,
        watcher: Watcher,
        post: PostId,
        last_event_id: Option<&str>,
    ) -> Option<Self> {
        let permit = streams.enter().unwrap();
        let stream = streams.open(permit, watcher, post, last_event_id).await.unwrap()?;
        Some(Self {
            stream: Box::pin(stream),
            buffer: String::new(),
            last_event_id: last_event_id.map(ToOwned::to_owned),
        })
    }

    /// The stream of a feed.
    pub(super) async fn feed(streams: &Arc<Streams>, user: UserId, last_event_id: Option<&str>) -> Self {
        let permit = streams.enter().unwrap();
        let remaining = Some(Duration::from_secs(900));
        let stream = streams.open_feed(permit, user, remaining, last_event_id).await.unwrap();
        Self { stream: Box::pin(stream), buffer: String::new(), last_event_id: last_event_id.map(ToOwned::to_owned) }
    }

    /// The next text, whatever it is; `None` at the end.
    pub(super) async fn text(&mut self) -> Option<Bytes> {
        self.stream.next().await
    }

    /// The next event that is in the buffer already.
    pub(super) fn buffered(&mut self) -> Option<Told> {
        while let Some(end) = self.buffer.find("\n\n") {
            let block: String = self.buffer.drain(..end + 2).collect();
            let mut told = Told { event: String::new(), id: None, data: Value::Null };
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => {
                        self.last_event_id = Some(id.to_owned());
                        told.id = id.rsplit_once('-').and_then(|(_, offset)| offset.parse().ok());
                    }
                    Some(("event", event)) => told.event = event.to_owned(),
                    Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                    _ => {}
                }
            }
            // Blocks without data raise no event.
            if !told.event.is_empty() {
                return Some(told);
            }
        }
        None
    }

    /// The next event; `None` at the end.
    pub(super) async fn event(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.buffered() {
                return Some(told);
            }
            let text = self.stream.next().await?;
            assert_ne!(text, ":\n\n", "there was nothing to tell for fifteen seconds");
            self.buffer.push_str(std::str::from_utf8(&text).unwrap());
        }
    }

    /// The next event that is not `LIKES`.
    pub(super) async fn news(&mut self) -> Option<Told> {
        loop {
            let told = self.event().await?;
            if told.event != "LIKES" {
                return Some(told);
            }
        }
    }

    /// Everything up to the end.
    pub(super) async fn rest(mut self) -> Vec<Told> {
        let mut rest = Vec::new();
        while let Some(told) = self.event().await {
            rest.push(told);
        }
        rest
    }

    /// Takes in what is there without waiting; false at the end.
    pub(super) async fn take_in(&mut self) -> bool {
        loop {
            // The post's task runs beside this one: let it tell what it has.
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            match self.stream.next().now_or_never() {
                Some(Some(text)) => self.buffer.push_str(std::str::from_utf8(&text).unwrap()),
                Some(None) => return false,
                None => return true,
            }
        }
    }
}
