//! The documents' states: content = fold(log), where the log has all of the stream.

use std::cmp::Ordering;
use std::sync::Arc;

use adapters::StoreError;
use adapters::content::{Content, PublicState};
use domain::StreamId;
use serde_json::Value;

use super::PAGE;
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct States(pub(super) Arc<dyn Content>);

/// A stream, in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(StreamId);

impl Key {
    fn rank(self) -> (u8, [u8; 16], [u8; 16]) {
        let none = [0; 16];
        match self.0 {
            StreamId::Comment(comment) => (0, *comment.as_bytes(), none),
            StreamId::Post(post) => (1, *post.as_bytes(), none),
            StreamId::Reaction(post, user) => (2, *post.as_bytes(), *user.as_bytes()),
            StreamId::Relation(low, high) => (3, *low.as_bytes(), *high.as_bytes()),
            StreamId::User(user) => (4, *user.as_bytes(), none),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

pub(super) struct Row {
    state: PublicState,
    /// Sequences of the events that the log has not acknowledged; read only when a document is looked at again.
    waiting: Vec<u64>,
}

impl Rows for States {
    type Key = Key;
    type Row = Row;
    const NAME: &'static str = "content";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<Key> {
        model.reference.states().map(|(stream, _, _)| Key(stream)).collect()
    }

    async fn page(&self, after: Option<Key>) -> Result<Vec<(Key, Row)>, StoreError> {
        let documents = self.0.scan(after.map(|key| key.0), PAGE).await?;
        Ok(documents.into_iter().map(|(stream, state)| (Key(stream), Row { state, waiting: Vec::new() })).collect())
    }

    async fn find(&self, _: &Model, key: Key) -> Result<Option<Row>, StoreError> {
        // The state first: what waits afterwards is at most what it has.
        let Some(state) = self.0.states(&[key.0]).await?.into_iter().next().flatten() else { return Ok(None) };
        let outbox = self.0.outbox(key.0).await?;
        let waiting = outbox.into_iter().map(|record| record.attributes.sequence).collect();
        Ok(Some(Row { state, waiting }))
    }

    fn difference(&self, model: &Model, key: Key, row: Option<&Row>) -> Option<Difference> {
        let expected = model.reference.state(key.0);
        let Some(Row { state: found, waiting }) = row else {
            return Difference::between(expected.map(|(sequence, state)| describe(sequence, &state)), None);
        };
        let folded = expected.as_ref().map_or(0, |(sequence, _)| *sequence);
        if (folded + 1..=found.sequence).all(|sequence| waiting.contains(&sequence)) && folded < found.sequence {
            // The document is ahead of the log, as it must be while its outbox waits.
            return None;
        }
        let is_same = expected.as_ref().is_some_and(|(sequence, state)| {
            *sequence == found.sequence && (*state == found.state || parsed(state) == parsed(&found.state))
        });
        if is_same {
            return None;
        }
        let expected = expected.map(|(sequence, state)| describe(sequence, &state));
        Difference::between(expected, Some(describe(found.sequence, &found.state)))
    }

    fn show(key: Key) -> String {
        key.0.to_string()
    }
}

/// The state apart from how it is spelled; unreadable text is like nothing else.
fn parsed(state: &str) -> Result<Value, String> {
    serde_json::from_str(state).map_err(|_| state.to_owned())
}

fn describe(sequence: u64, state: &str) -> String {
    format!("sequence {sequence}, {state}")
}
