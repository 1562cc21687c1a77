//! Tests of all rules: stories per aggregate, and properties of whatever anybody may do.

use crate::ids::{CommentId, CorrelationId, EventId, PostId, UserId};
use crate::post::Text;
use crate::text::{CommentText, Markdown, Title};
use crate::time::Timestamp;

mod comment;
mod envelope;
mod golden;
mod post;
mod reaction;
mod reference;
mod relation;
mod schemas;
mod shown;
mod story;
mod strategies;
mod text;
mod user;
mod words;

/// When stories begin.
const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn later(millis: i64) -> Timestamp {
    START.plus_millis(millis)
}

fn person(number: u8) -> UserId {
    UserId::from_parts(START, [number; 10])
}

/// The greater the number, the newer.
fn post(number: u8) -> PostId {
    PostId::from_parts(later(i64::from(number)), [number; 10])
}

/// The greater the number, the newer.
fn comment(number: u8) -> CommentId {
    CommentId::from_parts(later(i64::from(number)), [number; 10])
}

fn event_id(number: u64) -> EventId {
    EventId::from_parts(START, bytes_of(number))
}

fn correlation(number: u64) -> CorrelationId {
    CorrelationId::from_parts(START, bytes_of(number))
}

fn bytes_of(number: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn words(text: &str) -> Text {
    Text { title: None, markdown: Markdown::parse(text).expect("valid") }
}

fn titled(title: &str, text: &str) -> Text {
    Text { title: Some(Title::parse(title).expect("valid")), ..words(text) }
}

fn remark(text: &str) -> CommentText {
    CommentText::parse(text).expect("valid")
}
