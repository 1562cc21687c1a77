//! Everything that is written as text has one spelling, and is read from no other.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::strategies::{position, post_id, raw_text, stream_id, timestamp, user_id};
use super::{person, post};
use crate::event::{Event, Schema};
use crate::ids::{PostId, UserId};
use crate::stream::{BEFORE_FIRST, Lane, LogId, Position, StreamId, Topic};
use crate::time::Timestamp;

fn survives_writing<T>(value: &T)
where
    T: Display + FromStr + Serialize + DeserializeOwned + PartialEq + Debug,
    T::Err: Debug,
{
    let text = value.to_string();
    assert_eq!(&text.parse::<T>().expect("its own text"), value);
    let json = serde_json::to_string(value).expect("serialises");
    assert_eq!(json, format!("\"{text}\""), "JSON shows the same text");
    assert_eq!(&serde_json::from_str::<T>(&json).expect("its own JSON"), value);
}

/// Whatever is read from a text with one letter changed, taken out or put in, at every place, is written as that text.
fn one_spelling_around<T: Display + FromStr>(text: &str) {
    let right: Vec<char> = text.chars().collect();
    for place in 0..=right.len() {
        let (before, after) = right.split_at(place);
        one_spelling::<T>(&before.iter().chain(after.iter().skip(1)).collect::<String>());
        for letter in "-+017aAFpr :{".chars() {
            let letter = [letter];
            one_spelling::<T>(&before.iter().chain(&letter).chain(after).collect::<String>());
            one_spelling::<T>(&before.iter().chain(&letter).chain(after.iter().skip(1)).collect::<String>());
        }
    }
}

fn one_spelling<T: Display + FromStr>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text, "read from another spelling");
    }
}

proptest! {
    #[test]
    fn ids_survive_writing(user in user_id(), post in post_id()) {
        survives_writing(&user);
        survives_writing(&post);
        prop_assert_eq!(UserId::from_slice(user.as_bytes()), Ok(user));
        prop_assert_eq!(PostId::from_bytes(*post.as_bytes()), post);
    }

    #[test]
    fn an_id_carries_its_time_and_sorts_by_it(
        early in 0..Timestamp::MAX.as_millis(),
        later in 1..1_000_000i64,
        random in any::<[[u8; 10]; 2]>(),
    ) {
        let early = Timestamp::from_millis(early);
        let late = early.plus_millis(later);
        let (first, second) = (PostId::from_parts(early, random[0]), PostId::from_parts(late, random[1]));
        prop_assert_eq!(first.timestamp(), early);
        prop_assert!(late == early || first < second);
        prop_assert_eq!(first.cmp(&second), first.to_string().cmp(&second.to_string()), "text sorts alike");
        prop_assert!(PostId::MIN < first && second < PostId::MAX);
    }

    #[test]
    fn streams_and_positions_survive_writing(stream in stream_id(), position in position()) {
        survives_writing(&stream);
        survives_writing(&position);
    }

    #[test]
    fn lanes_survive_writing_whatever_they_are(key in raw_text()) {
        let lane = Lane::new(key.clone());
        prop_assert_eq!(lane.as_str(), &key);
        let json = serde_json::to_string(&lane).expect("serialises");
        prop_assert_eq!(&json, &serde_json::to_string(&key).expect("serialises"));
        prop_assert_eq!(serde_json::from_str::<Lane>(&json).expect("its own JSON"), lane);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in raw_text()) {
        one_spelling::<StreamId>(&text);
        one_spelling::<Position>(&text);
        one_spelling::<Topic>(&text);
        one_spelling::<UserId>(&text);
        one_spelling::<Schema>(&text);
        let _ = text.parse::<Timestamp>();
    }

    #[test]
    fn times_survive_writing(time in timestamp()) {
        survives_writing(&time);
    }

    #[test]
    fn a_time_out_of_range_becomes_one_in_range(millis in any::<i64>(), more in any::<i64>()) {
        survives_writing(&Timestamp::from_millis(millis));
        survives_writing(&Timestamp::from_millis(millis).plus_millis(more));
        survives_writing(&PostId::from_parts(Timestamp::from_millis(millis), [0xff; 10]));
    }

    #[test]
    fn a_relation_has_one_stream_and_one_lane(one in user_id(), other in user_id()) {
        prop_assert_eq!(StreamId::relation(one, other), StreamId::relation(other, one));
        prop_assert_eq!(Lane::pair(one, other), Lane::pair(other, one));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_misspelt_is_nothing_or_something_else(stream in stream_id(), position in position(), user in user_id()) {
        one_spelling_around::<StreamId>(&stream.to_string());
        one_spelling_around::<Position>(&position.to_string());
        one_spelling_around::<Position>(&Position { partition: 0, offset: BEFORE_FIRST, ..position }.to_string());
        one_spelling_around::<LogId>(&position.log.to_string());
        one_spelling_around::<UserId>(&user.to_string());
        one_spelling_around::<Schema>("urn:hybrid-live:post.published:12");
    }
}

const ID: &str = "01976f3c-5a80-7b12-9c34-56789abcdef0";
const GREATER: &str = "01976f3c-5a80-7b12-9c34-56789abcdef1";

#[test]
fn an_id_has_one_spelling() {
    assert!(ID.parse::<UserId>().is_ok());
    for other in [
        ID.to_uppercase(),
        ID.replace('-', ""),
        format!("{{{ID}}}"),
        format!("urn:uuid:{ID}"),
        format!(" {ID}"),
        format!("{ID}\n"),
        ID.replacen("-7b12", "-4b12", 1), // another version
        ID.replacen("-9c34", "-1c34", 1), // another variant
        String::new(),
    ] {
        assert!(other.parse::<UserId>().is_err(), "{other:?}");
    }
    assert!(UserId::MIN.to_string().parse::<UserId>().is_err());
    assert!(UserId::MAX.to_string().parse::<UserId>().is_err());
    assert!(UserId::from_slice(&[0; 15]).is_err());
}

#[test]
fn a_stream_has_one_spelling() {
    for right in [
        format!("user-{ID}"),
        format!("relation-{ID}-{GREATER}"),
        format!("post-{ID}"),
        format!("comment-{ID}"),
        format!("reaction-{GREATER}-{ID}"),
    ] {
        assert_eq!(right.parse::<StreamId>().expect("a stream").to_string(), right);
    }
    for wrong in [
        format!("relation-{GREATER}-{ID}"), // the lesser id comes first
        format!("relation-{ID}-{ID}"),      // nobody is their own relation
        format!("relation-{ID}"),
        format!("relation-{ID}:{GREATER}"),
        format!("reaction-{ID}-{GREATER}-"),
        format!("post-{}", ID.to_uppercase()),
        format!("Post-{ID}"),
        format!("post{ID}"),
        format!("presence-{ID}"),
        format!("user-{ID}-{GREATER}"),
        "post-".to_owned(),
        "post".to_owned(),
        "relation-ééééééééééééééééééééééééé".to_owned(),
    ] {
        assert!(wrong.parse::<StreamId>().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_position_has_one_spelling() {
    let position = Position { log: LogId(0x00f3_a91c_5be2_d407), topic: Topic::Posts, partition: 3, offset: 128 };
    assert_eq!(position.to_string(), "00f3a91c5be2d407-p3-128");
    let start = Position { offset: BEFORE_FIRST, topic: Topic::Relations, ..position };
    assert_eq!(start.to_string(), "00f3a91c5be2d407-r3--1");
    assert_eq!("00f3a91c5be2d407-r3--1".parse(), Ok(start));
    for wrong in [
        "00f3a91c5be2d407-p3-+128",
        "00f3a91c5be2d407-p3-0128",
        "00f3a91c5be2d407-p3--0",
        "00f3a91c5be2d407-p3--2",
        "00f3a91c5be2d407-p03-128",
        "00f3a91c5be2d407-p+3-128",
        "00f3a91c5be2d407-P3-128",
        "00f3a91c5be2d407-x3-128",
        "00f3a91c5be2d407-é3-128",
        "00f3a91c5be2d407-p65536-128",
        "00f3a91c5be2d407-p-128",
        "00F3A91C5BE2D407-p3-128",
        "f3a91c5be2d407-p3-128",
        "00f3a91c5be2d407-p3",
        "00f3a91c5be2d407-p3-128-",
        "00f3a91c5be2d407-p3-9223372036854775808",
        " 00f3a91c5be2d407-p3-128",
        "",
    ] {
        assert!(wrong.parse::<Position>().is_err(), "{wrong:?}");
    }
}

#[test]
fn topics_are_known_by_name() {
    for topic in Topic::ALL {
        assert_eq!(topic.name().parse(), Ok(topic));
    }
    assert!("hybrid-live.mail".parse::<Topic>().is_err());
    assert!("Posts".parse::<Topic>().is_err());
}

#[test]
fn a_schema_has_one_spelling() {
    for kind in Event::TYPES {
        let text = format!("urn:hybrid-live:{kind}:1");
        assert_eq!(text.parse::<Schema>().expect("a schema").to_string(), text);
    }
    for wrong in [
        "urn:hybrid-live:post.published:01",
        "urn:hybrid-live:post.published:+1",
        "urn:hybrid-live:post.published:0",
        "urn:hybrid-live:post.published:65536",
        "urn:hybrid-live:post.published:",
        "urn:hybrid-live:post.published",
        "urn:hybrid-live::1",
        "urn:other:post.published:1",
        "post.published:1",
    ] {
        assert!(wrong.parse::<Schema>().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_time_is_written_in_utc_with_milliseconds_and_read_from_any_offset() {
    let time = Timestamp::from_millis(1_750_000_000_120);
    assert_eq!(time.to_string(), "2025-06-15T15:06:40.120Z");
    for same in ["2025-06-15T15:06:40.12Z", "2025-06-15T17:06:40.120+02:00", "2025-06-15T15:06:40.120999Z"] {
        assert_eq!(same.parse(), Ok(time), "{same:?}");
    }
    assert_eq!(Timestamp::MIN.to_string(), "0000-01-01T00:00:00.000Z");
    assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00.999Z");
    for wrong in ["", "yesterday", "2025-06-15", "2025-06-15T15:06:40", "-000001-06-15T15:06:40Z"] {
        assert!(wrong.parse::<Timestamp>().is_err(), "{wrong:?}");
    }
}

#[test]
fn lanes_are_those_of_the_things_they_order() {
    assert_eq!(Lane::post(post(1)).as_str(), post(1).to_string());
    assert_eq!(Lane::user(person(1)).as_str(), person(1).to_string());
    assert_eq!(Lane::pair(person(2), person(1)).as_str(), format!("{}:{}", person(1), person(2)));
}
