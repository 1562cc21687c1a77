//! Events as they travel: sealed, and attributes and data of a piece.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::strategies::{closed_event, envelope, open_event};
use super::{correlation, event_id, later, person, post, words};
use crate::event::{Envelope, Event, Schema, UnreadableEvent};
use crate::post::{Published, Visibility};
use crate::sealed::{Sealed, SealedBox, SealedPart};
use crate::stream::{Lane, StreamId, Topic};
use crate::upcast;

fn published(text: Sealed<crate::post::Text>) -> Envelope {
    let event = crate::post::Event::Published(Published {
        post: post(1),
        author: person(1),
        visibility: Visibility::Public,
        imported: false,
        text,
    });
    Envelope {
        id: event_id(1),
        time: later(0),
        stream: StreamId::Post(post(1)),
        sequence: 1,
        actor: person(1),
        correlation: correlation(1),
        causation: None,
        event: event.into(),
    }
}

fn sealed(key: u8) -> Sealed<crate::post::Text> {
    Sealed::Closed(SealedBox { key: person(key), bytes: vec![1, 2, 3] })
}

fn on_the_wire() -> Value {
    serde_json::to_value(published(sealed(1))).expect("serialises")
}

#[track_caller]
fn unreadable(wire: Value) -> String {
    serde_json::from_value::<Envelope>(wire).expect_err("unreadable").to_string()
}

#[test]
fn an_envelope_has_the_attributes_of_cloudevents() {
    assert_eq!(
        on_the_wire(),
        json!({
            "specversion": "1.0",
            "id": event_id(1),
            "source": "/hybrid-live",
            "type": "post.published",
            "subject": format!("post-{}", post(1)),
            "time": "2025-06-15T15:06:40.000Z",
            "dataschema": "urn:hybrid-live:post.published:1",
            "sequence": 1,
            "actor": person(1),
            "correlationid": correlation(1),
            "data": {
                "post": post(1),
                "author": person(1),
                "visibility": "public",
                "imported": false,
                "text": { "key": person(1), "box": "AQID" },
            },
        })
    );
}

#[test]
fn e2_open_text_refuses_to_be_written() {
    let open = published(Sealed::Open(words("Secret words")));
    let error = serde_json::to_string(&open).expect_err("refused").to_string();
    assert!(error.contains("must be sealed"), "{error}");
    assert!(open.event.data().is_err());
    assert!(!format!("{open:?}").contains("Secret"), "nor is it shown to whoever debugs");
}

#[test]
fn e2_text_sealed_with_another_persons_key_is_refused() {
    let foreign = published(sealed(2));
    assert!(
        matches!(foreign.check(), Err(UnreadableEvent::Key { owner, key }) if owner == person(1) && key == person(2))
    );
    assert!(unreadable(serde_json::to_value(foreign).expect("serialises")).contains("sealed with the key"));
}

#[test]
fn an_unknown_type_or_version_is_named() {
    let mut wire = on_the_wire();
    wire["type"] = json!("post.pinned");
    wire["dataschema"] = json!("urn:hybrid-live:post.pinned:1");
    assert!(unreadable(wire).contains("post.pinned"));
    let mut wire = on_the_wire();
    wire["dataschema"] = json!("urn:hybrid-live:post.published:2");
    assert!(unreadable(wire).contains("urn:hybrid-live:post.published:2"));
}

#[test]
fn attributes_that_contradict_each_other_are_refused() {
    for (attribute, wrong) in [
        ("specversion", json!("0.3")),
        ("source", json!("/elsewhere")),
        ("type", json!("post.edited")),
        ("dataschema", json!("urn:hybrid-live:post.edited:1")),
        ("subject", json!(format!("post-{}", post(2)))),
        ("subject", json!(format!("user-{}", person(1)))),
        ("sequence", json!(0)),
        ("sequence", json!(-1)),
        ("sequence", json!("1")),
        ("time", json!("yesterday")),
        ("surprise", json!(true)),
    ] {
        let mut wire = on_the_wire();
        wire[attribute] = wrong;
        unreadable(wire);
    }
}

#[test]
fn boxes_are_canonical_base64_and_hold_something() {
    for wrong in ["", "AQI", "AQIDBA", "AQJ=", "AQ-_", " AQID", "AQID\n"] {
        let mut wire = on_the_wire();
        wire["data"]["text"]["box"] = json!(wrong);
        unreadable(wire);
    }
}

#[test]
fn what_was_in_a_box_and_is_not_such_a_text_is_refused_without_showing_it() {
    let mut text = sealed(1);
    for wrong in [&b"\"Secret words\""[..], b"{\"title\":null,\"markdown\":\"Secret\\u0000\"}", b"{}", b"Secret"] {
        let error = text.unseal(wrong).expect_err("refused").to_string();
        assert!(!error.contains("Secret"), "{error}");
        assert!(text.sealed().is_some(), "the box stays");
    }
    text.unseal(b"{\"title\":null,\"markdown\":\"Hello\"}").expect("a text");
    assert_eq!(text.open(), Some(&words("Hello")));
}

#[test]
fn no_version_of_the_future_is_read() {
    for kind in Event::TYPES {
        let schema = Schema { kind: (*kind).to_owned(), version: upcast::newest(kind) + 1 };
        assert!(upcast::upcast(&schema, json!({})).is_none());
        assert!(matches!(Event::parse(&schema, b"{}"), Err(UnreadableEvent::UnknownType(_))));
    }
}

proptest! {
    #[test]
    fn envelopes_survive_writing(envelope in envelope()) {
        let json = serde_json::to_string(&envelope).expect("serialises");
        prop_assert_eq!(serde_json::from_str::<Envelope>(&json).expect("its own JSON"), envelope);
    }

    #[test]
    fn events_survive_writing(event in closed_event()) {
        let data = event.data().expect("closed");
        prop_assert_eq!(Event::parse(&event.schema(), &data).expect("its own data"), event);
    }

    #[test]
    fn e2_no_event_is_written_with_its_text_open_and_sealing_loses_nothing(mut event in open_event()) {
        let original = event.clone();
        prop_assert!(event.sealed_box().is_none());
        let plaintext = event.sealed_part().map(|(_, part)| part.plaintext().expect("open"));
        let Some(plaintext) = plaintext else {
            prop_assert!(event.data().is_ok(), "there is nothing to seal");
            return Ok(());
        };
        prop_assert!(event.data().is_err());

        let (owner, part) = event.sealed_part().expect("text");
        part.close(SealedBox { key: owner, bytes: vec![0; 40] });
        prop_assert!(part.plaintext().is_none(), "a box shows nothing");
        prop_assert_eq!(event.sealed_box().map(|(whose, sealed)| (whose, sealed.key)), Some((owner, owner)));
        let written = event.data().expect("closed");

        let mut read = Event::parse(&event.schema(), &written).expect("its own data");
        let (_, part) = read.sealed_part().expect("text");
        part.unseal(&plaintext).expect("its own plaintext");
        prop_assert_eq!(read, original);
    }

    // W3 and P3 rest on this: all events of a stream are in one lane of one topic.
    #[test]
    fn the_lane_follows_from_the_stream(event in closed_event()) {
        let (topic, lane) = match event.stream() {
            StreamId::User(user) => (Topic::Users, Some(Lane::user(user))),
            StreamId::Relation(low, high) => (Topic::Relations, Some(Lane::pair(low, high))),
            StreamId::Post(post) | StreamId::Reaction(post, _) => (Topic::Posts, Some(Lane::post(post))),
            StreamId::Comment(_) => (Topic::Posts, None), // the post's, which the comment's id does not name
        };
        prop_assert_eq!(event.topic(), topic);
        if let Some(lane) = lane {
            prop_assert_eq!(event.lane(), lane);
        } else if let Event::Comment(comment) = &event {
            prop_assert_eq!(event.lane(), Lane::post(comment.post()));
        }
        prop_assert!(Event::TYPES.contains(&event.kind()));
    }
}
