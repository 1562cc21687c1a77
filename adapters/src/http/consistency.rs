//! Consistency tokens: what a client has written, so that what it reads next contains it (W7).
//!
//! A token names places in the log, or, where the log has not answered yet, events of streams; each with its lane,
//! because a projection can be past a place and have the lane parked. Tokens say nothing secret and prove nothing: the
//! worst that a made-up one does is to wait.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use domain::{Lane, LogId, Position, StreamId, Topic};
use http::{HeaderMap, HeaderName};
use tokio::sync::watch;
use tokio::time::Instant;

use super::problem::Problem;
use crate::StoreError;
use crate::checkpoints::{Partition, Progress};
use crate::content::Content;

/// What carries tokens, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("consistency-token");

/// Entries of a token. With more, the places of a partition become one, and its lanes are forgotten.
const ENTRIES: usize = 64;
/// Entries that are more than any client can have come to by honest means.
const TOO_MANY: usize = 512;
/// Bytes that a request may have of it.
const LONGEST: usize = 128 * 1024;
/// When streams are looked up again that the log has not answered for; each time after twice as long.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Between two such looks, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What a client has seen or written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// By life of the log, partition and lane; `None` stands for any lane of the partition.
    places: BTreeMap<(LogId, Topic, u16, Option<Lane>), i64>,
    /// Events whose place is not known yet, by stream.
    streams: BTreeMap<StreamId, Unplaced>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unplaced {
    sequence: u64,
    topic: Topic,
    lane: Lane,
}

/// Whether an answer contains what its token named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It does.
    Current,
    /// It may not.
    Behind,
}

impl Consistency {
    /// The value of the `Consistency` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
        }
    }
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a consistency token of this server")]
pub struct InvalidToken;

impl Token {
    /// An event at a known place.
    pub fn at(position: Position, lane: Lane) -> Self {
        let mut token = Self::default();
        token.add_place(position, Some(lane));
        token
    }

    /// An event that the log has not answered for.
    pub fn of_stream(stream: StreamId, sequence: u64, topic: Topic, lane: Lane) -> Self {
        let mut token = Self::default();
        token.add_stream(stream, Unplaced { sequence, topic, lane });
        token
    }

    /// Reads one token.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        if text.len() > LONGEST {
            return Err(InvalidToken);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        let lines = String::from_utf8(bytes).map_err(|_| InvalidToken)?;
        let mut token = Self::default();
        for line in lines.split('\n') {
            token.add_line(line).ok_or(InvalidToken)?;
            if token.len() > TOO_MANY {
                return Err(InvalidToken);
            }
        }
        Ok(token)
    }

    /// The token of a request, merged if there are several, separated by commas or headers; `None` if there is none.
    pub fn from_headers(headers: &HeaderMap) -> Option<Result<Self, Problem>> {
        if !headers.contains_key(HEADER) {
            return None;
        }
        let invalid = || Problem::invalid("Consistency-Token", InvalidToken);
        let values = headers.get_all(HEADER);
        if values.iter().map(|value| value.len()).sum::<usize>() > LONGEST {
            return Some(Err(invalid()));
        }
        let mut merged = Self::default();
        for value in values {
            let Ok(text) = value.to_str() else { return Some(Err(invalid())) };
            for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
                match Self::parse(one) {
                    Ok(token) => merged.merge(token),
                    Err(InvalidToken) => return Some(Err(invalid())),
                }
                if merged.len() > TOO_MANY {
                    return Some(Err(invalid()));
                }
            }
        }
        Some(Ok(merged))
    }

    /// Adds all that `other` names; of two places of one lane, or two events of one stream, the later remains.
    pub fn merge(&mut self, other: Self) {
        for ((log, topic, partition, lane), offset) in other.places {
            self.add_place(Position { log, topic, partition, offset }, lane);
        }
        for (stream, unplaced) in other.streams {
            self.add_stream(stream, unplaced);
        }
        if self.len() > ENTRIES {
            self.forget_lanes();
        }
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.places.len() + self.streams.len()
    }

    fn add_place(&mut self, position: Position, lane: Option<Lane>) {
        let Position { log, topic, partition, offset } = position;
        let greatest = self.places.entry((log, topic, partition, lane)).or_insert(offset);
        *greatest = offset.max(*greatest);
    }

    fn add_stream(&mut self, stream: StreamId, unplaced: Unplaced) {
        let known = self.streams.entry(stream).or_insert_with(|| unplaced.clone());
        known.sequence = unplaced.sequence.max(known.sequence);
    }

    /// The greatest place of a partition stands for all of it. Nothing is lost: who waits for it waits longer, and
    /// takes any parked lane for one of those.
    fn forget_lanes(&mut self) {
        for ((log, topic, partition, _), offset) in std::mem::take(&mut self.places) {
            self.add_place(Position { log, topic, partition, offset }, None);
        }
    }

    fn add_line(&mut self, line: &str) -> Option<()> {
        let mut parts = line.splitn(5, ' ');
        match parts.next()? {
            "p" => {
                let position = parts.next()?.parse().ok()?;
                let lane = parts.next().map(Lane::new);
                self.add_place(position, lane);
            }
            "s" => {
                let stream = parts.next()?.parse().ok()?;
                let sequence = parts.next()?.parse().ok()?;
                let topic = parts.next()?.parse().ok()?;
                let lane = Lane::new(parts.next()?);
                self.add_stream(stream, Unplaced { sequence, topic, lane });
            }
            _ => return None,
        }
        parts.next().is_none().then_some(())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut lines = String::new();
        for ((log, topic, partition, lane), offset) in &self.places {
            let position = Position { log: *log, topic: *topic, partition: *partition, offset: *offset };
            write!(lines, "\np {position}")?;
            if let Some(lane) = lane {
                write!(lines, " {lane}")?;
            }
        }
        for (stream, Unplaced { sequence, topic, lane }) in &self.streams {
            write!(lines, "\ns {stream} {sequence} {topic} {lane}")?;
        }
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(lines.trim_start()))
    }
}

/// Waits, for `limit` at most, until the projections in `reads` have passed what `token` names of the topics beside
/// them. Behind at once where waiting cannot help: a lane of the token is parked, or a place is of another log.
///
/// # Errors
/// `content` cannot be asked where an event is.
pub async fn wait(
    token: &Token,
    reads: &[(&'static str, &[Topic])],
    mut progress: watch::Receiver<Progress>,
    content: &dyn Content,
    log: LogId,
    limit: Duration,
) -> Result<Consistency, StoreError> {
    let deadline = Instant::now() + limit;
    let mut waiting = Waiting::new(token, reads);
    let mut look_again = LOOK_AGAIN;
    loop {
        waiting.place(content).await?;
        // Seen before it is judged, so that what comes after is news.
        let verdict = waiting.judge(&progress.borrow_and_update(), reads, log);
        match verdict {
            Some(consistency) => return Ok(consistency),
            None if waiting.streams.is_empty() => {
                if !matches!(tokio::time::timeout_at(deadline, progress.changed()).await, Ok(Ok(()))) {
                    return Ok(Consistency::Behind);
                }
            }
            None => {
                if Instant::now() >= deadline {
                    return Ok(Consistency::Behind);
                }
                // Where an event is gets known without any progress: by a look, every now and then.
                tokio::time::sleep_until(deadline.min(Instant::now() + look_again)).await;
                look_again = (look_again * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// What a query still waits for.
struct Waiting {
    places: Vec<(Position, Option<Lane>)>,
    streams: Vec<(StreamId, Unplaced)>,
}

impl Waiting {
    fn new(token: &Token, reads: &[(&'static str, &[Topic])]) -> Self {
        let is_read = |topic: Topic| reads.iter().any(|(_, topics)| topics.contains(&topic));
        let places = token.places.iter().filter(|((_, topic, ..), _)| is_read(*topic));
        let position = |((log, topic, partition, lane), offset): (&(LogId, Topic, u16, Option<Lane>), &i64)| {
            (Position { log: *log, topic: *topic, partition: *partition, offset: *offset }, lane.clone())
        };
        let streams = token.streams.iter().filter(|(_, unplaced)| is_read(unplaced.topic));
        let streams = streams.map(|(stream, unplaced)| (*stream, unplaced.clone())).collect();
        Self { places: places.map(position).collect(), streams }
    }

    /// Learns where events are that the log has answered for meanwhile.
    async fn place(&mut self, content: &dyn Content) -> Result<(), StoreError> {
        let mut unplaced = Vec::new();
        for (stream, event) in std::mem::take(&mut self.streams) {
            match content.published(stream).await? {
                // A later event of the stream is as good: it is behind this one.
                Some(published) if published.sequence >= event.sequence => {
                    self.places.push((published.position, Some(event.lane)));
                }
                Some(_) | None => unplaced.push((stream, event)),
            }
        }
        self.streams = unplaced;
        Ok(())
    }

    /// The verdict, once there is one; forgets what has been passed.
    fn judge(&mut self, progress: &Progress, reads: &[(&'static str, &[Topic])], log: LogId) -> Option<Consistency> {
        let mut hopeless = false;
        self.places.retain(|(position, lane)| {
            hopeless |= position.log != log;
            let partition = Partition { topic: position.topic, number: position.partition };
            let mut passed = true;
            for (projection, _) in reads.iter().filter(|(_, topics)| topics.contains(&position.topic)) {
                hopeless |= is_parked(progress, projection, partition, lane.as_ref());
                passed &= progress.has_passed(projection, partition, position.offset);
            }
            !passed
        });
        let parked = |(_, event): &(StreamId, Unplaced)| {
            // In which partition is not known yet; a lane's name is enough.
            let mut parked = progress.parked.iter().filter(|((_, partition), _)| partition.topic == event.topic);
            parked.any(|((name, _), lanes)| {
                reads.iter().any(|(projection, _)| projection == name) && lanes.contains(&event.lane)
            })
        };
        if hopeless || self.streams.iter().any(parked) {
            return Some(Consistency::Behind);
        }
        (self.places.is_empty() && self.streams.is_empty()).then_some(Consistency::Current)
    }
}

/// Whether the lane, or, where it was forgotten, any lane is parked.
fn is_parked(progress: &Progress, projection: &str, partition: Partition, lane: Option<&Lane>) -> bool {
    match lane {
        Some(lane) => progress.is_parked(projection, partition, lane),
        None => progress
            .parked
            .iter()
            .any(|((name, at), lanes)| name == projection && *at == partition && !lanes.is_empty()),
    }
}
