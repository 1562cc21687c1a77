//! Where an event belongs: its stream, its topic and lane, and its place in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CommentId, PostId, UserId};

/// The events of one aggregate, numbered 1, 2, 3 … (`sequence`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StreamId {
    /// An account.
    User(UserId),
    /// What two people are to each other, both ways; made by [`StreamId::relation`], the lesser id first.
    Relation(UserId, UserId),
    /// A post.
    Post(PostId),
    /// A comment.
    Comment(CommentId),
    /// What one person thinks of one post.
    Reaction(PostId, UserId),
}

impl StreamId {
    /// The one stream of an unordered pair: the same whichever comes first.
    pub fn relation(one: UserId, other: UserId) -> Self {
        Self::Relation(one.min(other), one.max(other))
    }
}

/// A text that names no stream, topic or position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user-{user}"),
            Self::Relation(low, high) => write!(f, "relation-{low}-{high}"),
            Self::Post(post) => write!(f, "post-{post}"),
            Self::Comment(comment) => write!(f, "comment-{comment}"),
            Self::Reaction(post, user) => write!(f, "reaction-{post}-{user}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const UUID: usize = 36;
        let malformed = Malformed("stream id");
        let (kind, rest) = text.split_once('-').ok_or_else(|| malformed.clone())?;
        let pair = || match (rest.get(..UUID), rest.get(UUID..UUID + 1), rest.get(UUID + 1..)) {
            (Some(first), Some("-"), Some(second)) => Ok((first, second)),
            _ => Err(Malformed("stream id")),
        };
        let parsed = match kind {
            "user" => rest.parse().ok().map(Self::User),
            "post" => rest.parse().ok().map(Self::Post),
            "comment" => rest.parse().ok().map(Self::Comment),
            "relation" => {
                let (low, high) = pair()?;
                let ids: Option<(UserId, UserId)> = low.parse().ok().zip(high.parse().ok());
                ids.filter(|(low, high)| low < high).map(|(low, high)| Self::Relation(low, high))
            }
            "reaction" => {
                let (post, user) = pair()?;
                post.parse().ok().zip(user.parse().ok()).map(|(post, user)| Self::Reaction(post, user))
            }
            _ => None,
        };
        parsed.ok_or(malformed)
    }
}

impl TryFrom<String> for StreamId {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(stream: StreamId) -> String {
        stream.to_string()
    }
}

/// A topic of the log. Its events are ordered per lane only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Post, comment and reaction events, one lane per post.
    Posts,
    /// Relation events, one lane per unordered pair.
    Relations,
    /// Account events, one lane per user.
    Users,
    /// No events: what is sent through the log to see whether it comes out at the other end. Only the newest are kept.
    Canaries,
}

impl Topic {
    /// Every topic that holds events.
    pub const ALL: [Self; 3] = [Self::Posts, Self::Relations, Self::Users];
    /// Every topic of the log.
    pub const WITH_CANARIES: [Self; 4] = [Self::Posts, Self::Relations, Self::Users, Self::Canaries];

    /// The name in the log, as Kafka shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Posts => "hybrid-live.posts",
            Self::Relations => "hybrid-live.relations",
            Self::Users => "hybrid-live.users",
            Self::Canaries => "hybrid-live.canaries",
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Posts => 'p',
            Self::Relations => 'r',
            Self::Users => 'u',
            Self::Canaries => 'c',
        }
    }

    fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.letter() == letter)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Topic {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::WITH_CANARIES.into_iter().find(|topic| topic.name() == text).ok_or(Malformed("topic"))
    }
}

/// The record key of a topic. Everything in one lane is in one order; it is the unit of parallelism, of guards and
/// of parking in every projection. Text, because a lane can be parked whose events cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lane(String);

impl Lane {
    /// The lane with this record key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The lane of a post and of all that is said and thought about it.
    pub fn post(post: PostId) -> Self {
        Self(post.to_string())
    }

    /// The lane of an account.
    pub fn user(user: UserId) -> Self {
        Self(user.to_string())
    }

    /// The lane of an unordered pair.
    pub fn pair(one: UserId, other: UserId) -> Self {
        Self(format!("{}:{}", one.min(other), one.max(other)))
    }

    /// The record key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a log. A restored or copied log is another life, so that a position of the old one is recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LogId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let well_formed = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let value = if well_formed { u64::from_str_radix(text, 16).ok() } else { None };
        value.map(Self).ok_or(Malformed("log id"))
    }
}

/// The offset that precedes the first record of a partition.
pub const BEFORE_FIRST: i64 = -1;

/// A place in the log: the record at `offset`, or, with [`BEFORE_FIRST`], the start.
///
/// Written `<log>-<topic letter><partition>-<offset>`, for example `00f3a91c5be2d407-p3-128`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Position {
    /// The life of the log.
    pub log: LogId,
    /// The topic.
    pub topic: Topic,
    /// The partition of the topic.
    pub partition: u16,
    /// The record's offset in the partition, or [`BEFORE_FIRST`].
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}-{}", self.log, self.topic.letter(), self.partition, self.offset)
    }
}

impl FromStr for Position {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed("position");
        let mut parts = text.splitn(3, '-');
        let (log, place, offset) = match (parts.next(), parts.next(), parts.next()) {
            (Some(log), Some(place), Some(offset)) => (log, place, offset),
            _ => return Err(malformed()),
        };
        let letter = place.chars().next().and_then(Topic::from_letter).ok_or_else(malformed)?;
        let position = Self {
            log: log.parse().map_err(|_| malformed())?,
            topic: letter,
            partition: place[1..].parse().map_err(|_| malformed())?,
            offset: offset.parse().map_err(|_| malformed())?,
        };
        // Written back it must be the same: `+3` and `03` are other people's positions.
        if position.offset >= BEFORE_FIRST && position.to_string() == text { Ok(position) } else { Err(malformed()) }
    }
}

impl TryFrom<String> for Position {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Position> for String {
    fn from(position: Position) -> String {
        position.to_string()
    }
}
