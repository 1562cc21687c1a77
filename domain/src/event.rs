//! What happened, in its envelope: the attributes of CloudEvents 1.0 and the data of one type and version.
//!
//! Every type and version has a JSON Schema and a golden example in `schemas/events/`.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{CorrelationId, EventId, UserId};
use crate::sealed::{SealedBox, SealedPart};
use crate::stream::{Lane, Malformed, StreamId, Topic};
use crate::time::Timestamp;
use crate::upcast;
use crate::{comment, post, reaction, relation, user};

/// Anything that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// To an account.
    User(user::Event),
    /// Between two people.
    Relation(relation::Event),
    /// To a post.
    Post(post::Event),
    /// To a comment.
    Comment(comment::Event),
    /// To somebody's reaction to a post.
    Reaction(reaction::Event),
}

/// Why no event can be made of what was read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableEvent {
    /// The type or its version is unknown here. A newer release may know it.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// The data is not what the type's schema says.
    #[error("malformed data of {kind}: {source}")]
    Malformed {
        /// The type.
        kind: String,
        /// What serde says of it.
        source: serde_json::Error,
    },
    /// An attribute is not what the envelope says.
    #[error(transparent)]
    Attribute(#[from] Malformed),
    /// `subject` names one stream and the data another.
    #[error("the data is about {about}, not about {subject}")]
    Subject {
        /// The stream that the envelope names.
        subject: StreamId,
        /// The stream that the data belongs to.
        about: StreamId,
    },
    /// Somebody's text is sealed with another person's key, so that erasing them would leave it readable (E2).
    #[error("the text of {owner} is sealed with the key of {key}")]
    Key {
        /// Whose text it is.
        owner: UserId,
        /// Whose key the box names.
        key: UserId,
    },
}

macro_rules! types {
    ($($name:literal = $aggregate:ident :: $variant:ident),* $(,)?) => {
        impl Event {
            /// Every type that is written, each in its newest version (all are at 1).
            pub const TYPES: &'static [&'static str] = &[$($name),*];

            /// The type, past tense, for example `post.published`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(types!(@pattern $aggregate $variant) => $name),*
                }
            }

            /// The data as JSON.
            ///
            /// # Errors
            /// If personal data in it is not sealed.
            pub fn data(&self) -> Result<Vec<u8>, serde_json::Error> {
                match self {
                    $(types!(@bound $aggregate $variant data) => serde_json::to_vec(data)),*
                }
            }

            fn parse_newest(kind: &str, data: &[u8]) -> Result<Self, UnreadableEvent> {
                match kind {
                    $($name => parse_data(kind, data).map(|data| $aggregate::Event::$variant(data).into()),)*
                    _ => Err(UnreadableEvent::UnknownType(kind.to_owned())),
                }
            }
        }
    };
    (@pattern user $variant:ident) => { Event::User(user::Event::$variant(_)) };
    (@pattern relation $variant:ident) => { Event::Relation(relation::Event::$variant(_)) };
    (@pattern post $variant:ident) => { Event::Post(post::Event::$variant(_)) };
    (@pattern comment $variant:ident) => { Event::Comment(comment::Event::$variant(_)) };
    (@pattern reaction $variant:ident) => { Event::Reaction(reaction::Event::$variant(_)) };
    (@bound user $variant:ident $data:ident) => { Event::User(user::Event::$variant($data)) };
    (@bound relation $variant:ident $data:ident) => { Event::Relation(relation::Event::$variant($data)) };
    (@bound post $variant:ident $data:ident) => { Event::Post(post::Event::$variant($data)) };
    (@bound comment $variant:ident $data:ident) => { Event::Comment(comment::Event::$variant($data)) };
    (@bound reaction $variant:ident $data:ident) => { Event::Reaction(reaction::Event::$variant($data)) };
}

types! {
    "user.registered" = user::Registered,
    "user.profile_edited" = user::ProfileEdited,
    "relation.followed" = relation::Followed,
    "relation.unfollowed" = relation::Unfollowed,
    "relation.blocked" = relation::Blocked,
    "relation.unblocked" = relation::Unblocked,
    "relation.muted" = relation::Muted,
    "relation.unmuted" = relation::Unmuted,
    "post.published" = post::Published,
    "post.edited" = post::Edited,
    "post.deleted" = post::Deleted,
    "comment.added" = comment::Added,
    "comment.edited" = comment::Edited,
    "comment.deleted" = comment::Deleted,
    "reaction.liked" = reaction::Liked,
    "reaction.unliked" = reaction::Unliked,
}

fn parse_data<T: DeserializeOwned>(kind: &str, data: &[u8]) -> Result<T, UnreadableEvent> {
    serde_json::from_slice(data).map_err(|source| UnreadableEvent::Malformed { kind: kind.to_owned(), source })
}

impl Event {
    /// Reads `data` of the type and version that `schema` names, upcast to the newest.
    ///
    /// # Errors
    /// An unknown type or version, or data that its schema forbids.
    pub fn parse(schema: &Schema, data: &[u8]) -> Result<Self, UnreadableEvent> {
        if schema.version == upcast::newest(&schema.kind) {
            return Self::parse_newest(&schema.kind, data);
        }
        let old: Value = parse_data(&schema.kind, data)?;
        let new = upcast::upcast(schema, old).ok_or_else(|| UnreadableEvent::UnknownType(schema.to_string()))?;
        let new = serde_json::to_vec(&new)
            .map_err(|source| UnreadableEvent::Malformed { kind: schema.kind.clone(), source })?;
        Self::parse_newest(&schema.kind, &new)
    }

    /// The schema that [`Self::data`] follows.
    pub fn schema(&self) -> Schema {
        Schema { kind: self.kind().to_owned(), version: upcast::newest(self.kind()) }
    }

    /// The topic that carries it.
    pub fn topic(&self) -> Topic {
        match self {
            Self::User(_) => Topic::Users,
            Self::Relation(_) => Topic::Relations,
            Self::Post(_) | Self::Comment(_) | Self::Reaction(_) => Topic::Posts,
        }
    }

    /// The lane in the topic.
    pub fn lane(&self) -> Lane {
        match self {
            Self::User(event) => Lane::user(event.user()),
            Self::Relation(event) => Lane::pair(event.pair().from, event.pair().to),
            Self::Post(event) => Lane::post(event.post()),
            Self::Comment(event) => Lane::post(event.post()),
            Self::Reaction(event) => Lane::post(event.subject().post),
        }
    }

    /// The stream that it belongs to.
    pub fn stream(&self) -> StreamId {
        match self {
            Self::User(event) => StreamId::User(event.user()),
            Self::Relation(event) => StreamId::relation(event.pair().from, event.pair().to),
            Self::Post(event) => StreamId::Post(event.post()),
            Self::Comment(event) => StreamId::Comment(event.comment()),
            Self::Reaction(event) => StreamId::Reaction(event.subject().post, event.subject().user),
        }
    }

    /// The box around the personal data in it, and whose data it is; `None` where there is none or it is open.
    pub fn sealed_box(&self) -> Option<(UserId, &SealedBox)> {
        match self {
            Self::User(user::Event::Registered(data)) => data.names.sealed().map(|sealed| (data.user, sealed)),
            Self::User(user::Event::ProfileEdited(data)) => data.profile.sealed().map(|sealed| (data.user, sealed)),
            Self::Post(post::Event::Published(data)) => data.text.sealed().map(|sealed| (data.author, sealed)),
            Self::Post(post::Event::Edited(data)) => data.text.sealed().map(|sealed| (data.author, sealed)),
            Self::Comment(comment::Event::Added(data)) => data.text.sealed().map(|sealed| (data.author, sealed)),
            Self::Comment(comment::Event::Edited(data)) => data.text.sealed().map(|sealed| (data.author, sealed)),
            Self::Relation(_)
            | Self::Post(post::Event::Deleted(_))
            | Self::Comment(comment::Event::Deleted(_))
            | Self::Reaction(_) => None,
        }
    }

    /// The personal data in it, and whose it is.
    pub fn sealed_part(&mut self) -> Option<(UserId, &mut dyn SealedPart)> {
        match self {
            Self::User(user::Event::Registered(data)) => Some((data.user, &mut data.names)),
            Self::User(user::Event::ProfileEdited(data)) => Some((data.user, &mut data.profile)),
            Self::Post(post::Event::Published(data)) => Some((data.author, &mut data.text)),
            Self::Post(post::Event::Edited(data)) => Some((data.author, &mut data.text)),
            Self::Comment(comment::Event::Added(data)) => Some((data.author, &mut data.text)),
            Self::Comment(comment::Event::Edited(data)) => Some((data.author, &mut data.text)),
            Self::Relation(_)
            | Self::Post(post::Event::Deleted(_))
            | Self::Comment(comment::Event::Deleted(_))
            | Self::Reaction(_) => None,
        }
    }
}

/// A type and its version: CloudEvents' `dataschema`, written `urn:hybrid-live:<type>:<version>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schema {
    /// The event's type.
    pub kind: String,
    /// Counts from 1.
    pub version: u16,
}

impl std::fmt::Display for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "urn:hybrid-live:{}:{}", self.kind, self.version)
    }
}

impl std::str::FromStr for Schema {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parsed = text.strip_prefix("urn:hybrid-live:").and_then(|rest| rest.rsplit_once(':'));
        let (kind, version) = parsed.ok_or(Malformed("dataschema"))?;
        let version = version.parse().map_err(|_| Malformed("dataschema"))?;
        let schema = Self { kind: kind.to_owned(), version };
        // Written back it must be the same: `:01` and `:+1` are no versions.
        let canonical = !kind.is_empty() && version > 0 && schema.to_string() == text;
        if canonical { Ok(schema) } else { Err(Malformed("dataschema")) }
    }
}

impl TryFrom<String> for Schema {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Schema> for String {
    fn from(schema: Schema) -> String {
        schema.to_string()
    }
}

/// An event with its CloudEvents attributes (`source` is the constant [`SOURCE`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `id`: unique.
    pub id: EventId,
    /// `time`: when it was decided.
    pub time: Timestamp,
    /// `subject`: the stream.
    pub stream: StreamId,
    /// `sequence`: its number in the stream, from 1.
    pub sequence: u64,
    /// `actor`: who caused it.
    pub actor: UserId,
    /// `correlationid`: the request that caused it.
    pub correlation: CorrelationId,
    /// `causationid`: the event that caused it, if one did.
    pub causation: Option<EventId>,
    /// `type`, `dataschema` and data.
    pub event: Event,
}

impl Envelope {
    /// Whether attributes and data belong together. Every reader of events asks this before it hands one on.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self) -> Result<(), UnreadableEvent> {
        let about = self.event.stream();
        if about != self.stream {
            return Err(UnreadableEvent::Subject { subject: self.stream, about });
        }
        if self.sequence == 0 {
            return Err(Malformed("sequence").into());
        }
        match self.event.sealed_box() {
            Some((owner, sealed)) if sealed.key != owner => Err(UnreadableEvent::Key { owner, key: sealed.key }),
            Some(_) | None => Ok(()),
        }
    }
}

/// CloudEvents' `source` of everything that this system records.
pub const SOURCE: &str = "/hybrid-live";

/// CloudEvents' `specversion`.
pub const SPEC_VERSION: &str = "1.0";

/// An envelope in CloudEvents' structured JSON form: how people and files see events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StructuredForm {
    specversion: String,
    id: EventId,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: StreamId,
    time: Timestamp,
    dataschema: Schema,
    sequence: u64,
    actor: UserId,
    correlationid: CorrelationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causationid: Option<EventId>,
    data: Value,
}

impl Serialize for Envelope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let data = self.event.data().map_err(S::Error::custom)?;
        StructuredForm {
            specversion: SPEC_VERSION.to_owned(),
            id: self.id,
            source: SOURCE.to_owned(),
            kind: self.event.kind().to_owned(),
            subject: self.stream,
            time: self.time,
            dataschema: self.event.schema(),
            sequence: self.sequence,
            actor: self.actor,
            correlationid: self.correlation,
            causationid: self.causation,
            data: serde_json::from_slice(&data).map_err(S::Error::custom)?,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = StructuredForm::deserialize(deserializer)?;
        let ours = form.specversion == SPEC_VERSION && form.source == SOURCE;
        if !ours || form.kind != form.dataschema.kind {
            return Err(D::Error::custom("not an event of this system: specversion, source or dataschema"));
        }
        let data = serde_json::to_vec(&form.data).map_err(D::Error::custom)?;
        let envelope = Self {
            id: form.id,
            time: form.time,
            stream: form.subject,
            sequence: form.sequence,
            actor: form.actor,
            correlation: form.correlationid,
            causation: form.causationid,
            event: Event::parse(&form.dataschema, &data).map_err(D::Error::custom)?,
        };
        envelope.check().map_err(D::Error::custom)?;
        Ok(envelope)
    }
}
