//! Records as Kafka carries them: CloudEvents' binary mode. The attributes are headers that begin with `ce_`, the key
//! is the lane, the value is the data.

use std::str::FromStr;

use domain::event::{SOURCE, SPEC_VERSION, Schema};
use domain::{Lane, LogId, Position, Topic};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

use crate::event_log::{Attributes, Logged, Record};

const JSON: &str = "application/json";

/// The headers of a record.
pub(super) fn headers(attributes: &Attributes) -> OwnedHeaders {
    let Attributes { id, schema, subject, sequence, time, actor, correlation, causation } = attributes;
    let texts = [
        ("content-type", JSON.to_owned()),
        ("ce_specversion", SPEC_VERSION.to_owned()),
        ("ce_id", id.to_string()),
        ("ce_type", schema.kind.clone()),
        ("ce_source", SOURCE.to_owned()),
        ("ce_subject", subject.clone()),
        ("ce_time", time.to_string()),
        ("ce_dataschema", schema.to_string()),
        ("ce_sequence", sequence.to_string()),
        ("ce_actor", actor.to_string()),
        ("ce_correlationid", correlation.to_string()),
    ];
    let causation = causation.map(|causation| ("ce_causationid", causation.to_string()));
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
    let schema: Schema = parsed(message, "ce_dataschema")?;
    for (header, expected) in [("ce_specversion", SPEC_VERSION), ("ce_source", SOURCE), ("ce_type", &schema.kind)] {
        if text(message, header)? != Some(expected) {
            return Err(format!("{header} is not `{expected}`"));
        }
    }
    Ok(Record {
        topic,
        lane: Lane::new(std::str::from_utf8(key).map_err(|_| "the key is not UTF-8")?),
        attributes: Attributes {
            id: parsed(message, "ce_id")?,
            subject: text(message, "ce_subject")?.ok_or("ce_subject is missing")?.to_owned(),
            sequence: parsed(message, "ce_sequence")?,
            time: parsed(message, "ce_time")?,
            actor: parsed(message, "ce_actor")?,
            correlation: parsed(message, "ce_correlationid")?,
            causation: match text(message, "ce_causationid")? {
                None => None,
                Some(_) => Some(parsed(message, "ce_causationid")?),
            },
            schema,
        },
        data: std::str::from_utf8(data).map_err(|_| "the data is not UTF-8")?.to_owned(),
    })
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(message: &BorrowedMessage<'_>, header: &str) -> Result<T, String> {
    let text = text(message, header)?.ok_or_else(|| format!("{header} is missing"))?;
    text.parse().map_err(|error| format!("{header}: {error}"))
}

fn text<'a>(message: &'a BorrowedMessage<'_>, header: &str) -> Result<Option<&'a str>, String> {
    let Some(headers) = message.headers() else { return Ok(None) };
    let mut values = headers.iter().filter(|found| found.key == header).map(|found| found.value);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(Some(bytes)), None) => std::str::from_utf8(bytes).map(Some).map_err(|_| format!("{header} is not UTF-8")),
        (Some(None), None) => Err(format!("{header} has no value")),
        (Some(_), Some(_)) => Err(format!("{header} is there twice")),
    }
}
