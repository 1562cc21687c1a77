//! Records as Kafka carries them: CloudEvents' binary mode. The attributes are headers that begin with `ce_`, the key
//! is the lane, the value is the data.

use std::str::FromStr;

use domain::event::{SOURCE, SPEC_VERSION, Schema};
use domain::{Lane, LogId, Position, Topic};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

use crate::event_log::{Attributes, Logged, Record};

const JSON: &str = "application/json";

// The headers.
const SPECVERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
const TYPE: &str = "ce_type";
const CE_SOURCE: &str = "ce_source";
const SUBJECT: &str = "ce_subject";
const TIME: &str = "ce_time";
const DATASCHEMA: &str = "ce_dataschema";
const SEQUENCE: &str = "ce_sequence";
const ACTOR: &str = "ce_actor";
const CORRELATION: &str = "ce_correlationid";
const CAUSATION: &str = "ce_causationid";

/// The headers of a record.
pub(super) fn headers(attributes: &Attributes) -> OwnedHeaders {
    let Attributes { id, schema, subject, sequence, time, actor, correlation, causation } = attributes;
    let texts = [
        ("content-type", JSON.to_owned()),
        (SPECVERSION, SPEC_VERSION.to_owned()),
        (ID, id.to_string()),
        (TYPE, schema.kind.clone()),
        (CE_SOURCE, SOURCE.to_owned()),
        (SUBJECT, subject.clone()),
        (TIME, time.to_string()),
        (DATASCHEMA, schema.to_string()),
        (SEQUENCE, sequence.to_string()),
        (ACTOR, actor.to_string()),
        (CORRELATION, correlation.to_string()),
    ];
    let causation = causation.map(|causation| (CAUSATION, causation.to_string()));
    texts.into_iter().chain(causation).fold(OwnedHeaders::new_with_capacity(12), |headers, (key, text)| {
        headers.insert(Header { key, value: Some(&text) })
    })
}

/// What a message holds. Its lane is known whatever else is wrong with it.
pub(super) fn logged(message: &BorrowedMessage<'_>, log: LogId, topic: Topic, partition: u16) -> Logged {
    let lane = Lane::new(String::from_utf8_lossy(message.key().unwrap_or_default()));
    Logged {
        position: Position { log, topic, partition, offset: message.offset() },
        record: record(message, topic),
        lane,
    }
}

fn record(message: &BorrowedMessage<'_>, topic: Topic) -> Result<Record, String> {
    let key = message.key().ok_or("no key")?;
    let data = message.payload().ok_or("no data")?;
    let found = Found::of(message);
    let schema: Schema = found.parsed(DATASCHEMA)?;
    for (header, expected) in [(SPECVERSION, SPEC_VERSION), (CE_SOURCE, SOURCE), (TYPE, &schema.kind)] {
        if found.text(header)? != Some(expected) {
            return Err(format!("{header} is not `{expected}`"));
        }
    }
    Ok(Record {
        topic,
        lane: Lane::new(std::str::from_utf8(key).map_err(|_| "the key is not UTF-8")?),
        attributes: Attributes {
            id: found.parsed(ID)?,
            subject: found.needed(SUBJECT)?.to_owned(),
            sequence: found.parsed(SEQUENCE)?,
            time: found.parsed(TIME)?,
            actor: found.parsed(ACTOR)?,
            correlation: found.parsed(CORRELATION)?,
            causation: found.text(CAUSATION)?.map(|text| parsed(CAUSATION, text)).transpose()?,
            schema,
        },
        data: std::str::from_utf8(data).map_err(|_| "the data is not UTF-8")?.to_owned(),
    })
}

/// The headers of a message, gone through once: each look at one is a call into the library.
struct Found<'a>(Vec<(&'a str, Option<&'a [u8]>)>);

impl<'a> Found<'a> {
    fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self(headers.map(|header| (header.key, header.value)).collect())
    }

    fn text(&self, header: &str) -> Result<Option<&'a str>, String> {
        let mut values = self.0.iter().filter(|(key, _)| *key == header).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(Some(bytes)), None) => {
                std::str::from_utf8(bytes).map(Some).map_err(|_| format!("{header} is not UTF-8"))
            }
            (Some(None), None) => Err(format!("{header} has no value")),
            (Some(_), Some(_)) => Err(format!("{header} is there twice")),
        }
    }

    fn needed(&self, header: &str) -> Result<&'a str, String> {
        self.text(header)?.ok_or_else(|| format!("{header} is missing"))
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, header: &str) -> Result<T, String> {
        parsed(header, self.needed(header)?)
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(header: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{header}: {error}"))
}
