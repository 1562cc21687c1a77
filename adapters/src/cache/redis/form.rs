//! How cells are written in Redis; `cells.lua` says the same.

use bytes::Bytes;
use domain::CommentId;
use domain::stream::BEFORE_FIRST;
use redis::Value as Answer;

use crate::cache::cell::{Comments, Item, Token, Value};

/// What a reader makes of a cell.
pub(super) enum Seen<V> {
    Holds(V),
    Leased,
}

/// Digits that compare as the number does.
fn digits(number: i64) -> String {
    format!("{:020}", number.cast_unsigned() ^ 1 << 63)
}

fn number(text: &[u8]) -> Option<i64> {
    Some((unsigned::<u64>(text)? ^ 1 << 63).cast_signed())
}

fn unsigned<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    // `parse` would take a sign, too.
    let is_number = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// A value, as it is held.
pub(super) fn value(value: &Value) -> Vec<u8> {
    let mut text = Vec::with_capacity(21 + value.bytes.len());
    text.push(b'=');
    text.extend_from_slice(digits(value.version).as_bytes());
    text.extend_from_slice(&value.bytes);
    text
}

/// A token, as scripts compare it.
pub(super) fn token(token: Token) -> String {
    format!("{:020}", token.0)
}

/// The lease of a value, with nothing that waits.
pub(super) fn lease(token: Token) -> String {
    format!("?{:020}", token.0)
}

/// The lease of a list, with nothing that waits.
pub(super) fn list_lease(token: Token) -> String {
    format!("?{:020}{}", token.0, digits(BEFORE_FIRST))
}

/// A list's version, as scripts compare it.
pub(super) fn version(version: i64) -> String {
    digits(version)
}

/// A comment.
pub(super) fn item(item: &Item) -> Vec<u8> {
    let id = u128::from_be_bytes(*item.comment.as_bytes());
    let mut text = format!("c{id:039}{}", digits(item.position)).into_bytes();
    text.extend_from_slice(&item.bytes);
    text
}

/// The cell of a value. `None`: there is nothing, or nothing of ours.
pub(super) fn read(answer: Answer) -> Option<Seen<Value>> {
    let Answer::BulkString(text) = answer else { return None };
    let first = text.get(1..21)?;
    match text[0] {
        b'=' => {
            let version = number(first)?;
            Some(Seen::Holds(Value { version, bytes: Bytes::from(text).slice(21..) }))
        }
        b'?' if unsigned::<u64>(first).is_some() => match text.len() {
            21 => Some(Seen::Leased),
            _ => unsigned::<u64>(text.get(21..41)?).map(|_| Seen::Leased),
        },
        _ => None,
    }
}

/// The cell of a list. `None`: there is nothing, or nothing of ours.
pub(super) fn read_list(answer: Answer) -> Option<Seen<Comments>> {
    let Answer::Array(mut texts) = answer else { return None };
    let Some(Answer::BulkString(marker)) = texts.pop() else { return None };
    let first = marker.get(1..21)?;
    let items: Vec<Item> = texts.into_iter().map(read_item).collect::<Option<_>>()?;
    match (marker[0], marker.len()) {
        (b'=', 21) => Some(Seen::Holds(Comments { version: number(first)?, items })),
        (b'?', 41) => unsigned::<u64>(first).and(unsigned::<u64>(&marker[21..])).map(|_| Seen::Leased),
        _ => None,
    }
}

fn read_item(answer: Answer) -> Option<Item> {
    let Answer::BulkString(text) = answer else { return None };
    if text.first() != Some(&b'c') {
        return None;
    }
    let comment = CommentId::from_bytes(unsigned::<u128>(text.get(1..40)?)?.to_be_bytes());
    let position = number(text.get(40..60)?)?;
    Some(Item { comment, position, bytes: Bytes::from(text).slice(60..) })
}
