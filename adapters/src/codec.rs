//! Between events and the log's records: seals what people wrote on the way in, opens it on the way out.
//!
//! A box is bound to the attributes of its event, so it cannot be moved to another. Only a person who has a tombstone
//! in place of a key is erased; a key that is just not there is damage.

use std::sync::Arc;

use domain::event::UnreadableEvent;
use domain::stream::Malformed;
use domain::{Envelope, Event, SealedBox, StreamId, UserId};

use crate::StoreError;
use crate::content::Content;
use crate::event_log::{Attributes, Record};
use crate::secrets::Secrets;

mod cipher;
mod keys;
#[cfg(test)]
mod tests;

use keys::{Found, Keys};

/// Nobody: a key under this id shows with which wrapping key a content's keys are wrapped.
pub const WITNESS: UserId = UserId::MIN;

/// Seals and opens.
pub struct Codec {
    keys: Keys,
}

/// Why a sealed part stays closed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It will never open: no key and no tombstone, or not the box that was closed for this event.
    #[error("the sealed part cannot be opened: {0}")]
    Permanent(String),
    /// The person was erased.
    #[error("the person whose text it was has been erased")]
    Erased,
    /// The key cannot be had now.
    #[error(transparent)]
    Unavailable(StoreError),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Unfit(_) => Self::Unavailable(error),
            StoreError::Damaged(_) | StoreError::Overtaken(_) => Self::Permanent(error.to_string()),
        }
    }
}

impl Codec {
    /// With the keys that `content` stores.
    pub fn new(content: Arc<dyn Content>, secrets: &Secrets) -> Self {
        Self { keys: Keys::new(content, secrets.wrapping_key().clone()) }
    }

    /// Whether the server's wrapping key is the one that this content has been written with from the first process on:
    /// others, with which nobody could read what there is, must not get in.
    ///
    /// # Errors
    /// The key of [`WITNESS`] cannot be had.
    pub async fn fits_the_content(&self) -> Result<bool, StoreError> {
        self.keys.opens(WITNESS).await
    }

    /// The record of an event, its personal data sealed (E2). Makes the person's key on first use.
    ///
    /// # Errors
    /// The key cannot be had, or the person was erased ([`StoreError::Overtaken`]).
    pub async fn seal(&self, mut envelope: Envelope) -> Result<Record, StoreError> {
        consistent(&envelope).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let context = context(&envelope);
        let open_part = envelope.event.sealed_part().filter(|(_, part)| part.sealed().is_none());
        let open_part = open_part.map(|(person, part)| (person, part.plaintext().map(zeroize::Zeroizing::new)));
        if let Some((person, plaintext)) = open_part {
            let plaintext = plaintext.ok_or_else(|| StoreError::Damaged("personal data is not JSON".to_owned()))?;
            let Found::Key(key) = self.keys.find_or_make(person).await? else {
                return Err(StoreError::Overtaken(format!("{person} was erased")));
            };
            let bytes = cipher::close(&key, &context, &plaintext)?;
            if let Some((_, part)) = envelope.event.sealed_part() {
                part.close(SealedBox { key: person, bytes });
            }
        }
        let data = envelope.event.data().map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(Record {
            topic: envelope.event.topic(),
            lane: envelope.event.lane(),
            data: String::from_utf8(data).map_err(|error| StoreError::Damaged(error.to_string()))?,
            attributes: Attributes {
                id: envelope.id,
                schema: envelope.event.schema(),
                subject: envelope.stream.to_string(),
                sequence: envelope.sequence,
                time: envelope.time,
                actor: envelope.actor,
                correlation: envelope.correlation,
                causation: envelope.causation,
            },
        })
    }

    /// The event of a record. Its sealed part stays closed.
    ///
    /// # Errors
    /// A type that this version does not know, or data, lane or subject that are not the type's.
    pub fn parse(&self, record: &Record) -> Result<Envelope, UnreadableEvent> {
        let Attributes { id, schema, subject, sequence, time, actor, correlation, causation } = &record.attributes;
        let envelope = Envelope {
            id: *id,
            time: *time,
            stream: subject.parse::<StreamId>()?,
            sequence: *sequence,
            actor: *actor,
            correlation: *correlation,
            causation: *causation,
            event: Event::parse(schema, record.data.as_bytes())?,
        };
        consistent(&envelope)?;
        // In another lane it would be out of order with those whose order it depends on.
        if record.topic != envelope.event.topic() || record.lane != envelope.event.lane() {
            return Err(Malformed("lane").into());
        }
        Ok(envelope)
    }

    /// Opens the sealed part of an event, if it has one that is closed.
    ///
    /// # Errors
    /// See [`OpenError`]; the event is then as it was.
    pub async fn open(&self, envelope: &mut Envelope) -> Result<(), OpenError> {
        let context = context(envelope);
        let Some((person, part)) = envelope.event.sealed_part() else { return Ok(()) };
        let Some(sealed) = part.sealed().cloned() else { return Ok(()) };
        let permanent = |wrong: String| OpenError::Permanent(wrong);
        if sealed.key != person {
            return Err(permanent(format!("a text of {person} is closed with the key of {}", sealed.key)));
        }
        let key = match self.keys.find(person).await? {
            Found::Key(key) => key,
            Found::Tombstone => return Err(OpenError::Erased),
            Found::Nothing => return Err(permanent(format!("{person} has neither a key nor a tombstone"))),
        };
        let plaintext = cipher::open(&key, &context, &sealed.bytes)
            .ok_or_else(|| permanent("it is not the box that was closed for this event".to_owned()))?;
        let Some((_, part)) = envelope.event.sealed_part() else { return Ok(()) };
        // Without what serde says: it could quote the text.
        part.unseal(&plaintext).map_err(|_| permanent("the box holds something else than the event's text".to_owned()))
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codec(…)")
    }
}

fn consistent(envelope: &Envelope) -> Result<(), Malformed> {
    if envelope.stream != envelope.event.stream() {
        return Err(Malformed("subject"));
    }
    if envelope.sequence == 0 { Err(Malformed("sequence")) } else { Ok(()) }
}

/// What a box is bound to: all attributes of its event. Stored for ever within every tag, so it must not change; the
/// version of the type is not in it, for readers turn old versions into new ones before they open.
fn context(envelope: &Envelope) -> Vec<u8> {
    let Envelope { id, time, stream, sequence, actor, correlation, causation, event } = envelope;
    let (stream, kind) = (stream.to_string(), event.kind());
    let mut context = Vec::with_capacity(256);
    context.extend_from_slice(id.as_bytes());
    context.extend_from_slice(&sequence.to_be_bytes());
    context.extend_from_slice(&time.as_millis().to_be_bytes());
    context.extend_from_slice(actor.as_bytes());
    context.extend_from_slice(correlation.as_bytes());
    // No event has this id.
    context.extend_from_slice(causation.as_ref().unwrap_or(&domain::EventId::MIN).as_bytes());
    // The parts before have fixed lengths and a stream holds no zero byte, so nothing can be divided otherwise.
    context.extend_from_slice(stream.as_bytes());
    context.push(0);
    context.extend_from_slice(kind.as_bytes());
    context
}
