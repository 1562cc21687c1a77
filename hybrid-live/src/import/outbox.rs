//! Reads the file: an `OrderedCollection` of any size, one item in memory at a time.

use std::fmt;
use std::io::{BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What the reader does with an item; false stops it.
pub(super) type Take<'a> = dyn FnMut(u64, &RawValue) -> bool + 'a;

/// Why the file is not an outbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutboxError {
    #[error("it is a packed archive: unpack it and give the outbox.json that is in it")]
    Packed,
    #[error("it is no JSON from item {item} (line {line}, column {column}) on: {reason}")]
    Syntax { item: u64, line: usize, column: usize, reason: String },
    #[error("it is no outbox: {0}")]
    NotAnOutbox(String),
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
}

/// Hands each of `orderedItems` to `take`, numbered from 1, until that says false.
///
/// # Errors
/// Everything before the error has been handed over.
pub(super) fn read(source: impl Read, take: &mut Take<'_>) -> Result<(), OutboxError> {
    let mut source = BufReader::with_capacity(256 * 1024, source);
    skip_mark(&mut source)?;
    let mut items = Items { take, count: 0, stopped: false };
    let mut json = serde_json::Deserializer::from_reader(source);
    let outcome = json.deserialize_map(Collection(&mut items)).and_then(|found| json.end().map(|()| found));
    let Items { count, stopped, .. } = items;
    match outcome {
        _ if stopped => Ok(()),
        Ok(found) => found.check(),
        Err(error) => Err(describe(error, count)),
    }
}

fn describe(error: serde_json::Error, items: u64) -> OutboxError {
    use serde_json::error::Category;
    match error.classify() {
        Category::Io => OutboxError::Unreadable(error.into()),
        Category::Data => OutboxError::NotAnOutbox(error.to_string()),
        Category::Syntax | Category::Eof => OutboxError::Syntax {
            item: items + 1,
            line: error.line(),
            column: error.column(),
            reason: error.to_string(),
        },
    }
}

/// Passes a byte order mark, and recognises what people give instead of the file in the archive.
fn skip_mark(source: &mut BufReader<impl Read>) -> Result<(), OutboxError> {
    use std::io::BufRead as _;
    let beginning = source.fill_buf().map_err(OutboxError::Unreadable)?;
    if beginning.starts_with(b"PK\x03\x04") || beginning.starts_with(b"\x1f\x8b") {
        return Err(OutboxError::Packed);
    }
    if beginning.starts_with(b"\xef\xbb\xbf") {
        source.consume(3);
    }
    Ok(())
}

struct Items<'a, 'b> {
    take: &'a mut Take<'b>,
    count: u64,
    stopped: bool,
}

/// What the collection says of itself.
#[derive(Default)]
struct Found {
    kind: Option<String>,
    has_items: bool,
}

impl Found {
    fn check(self) -> Result<(), OutboxError> {
        match self.kind.as_deref() {
            Some("OrderedCollection" | "OrderedCollectionPage") | None => {}
            Some(other) => {
                return Err(OutboxError::NotAnOutbox(format!("its type is `{other}`, not OrderedCollection")));
            }
        }
        if self.has_items { Ok(()) } else { Err(OutboxError::NotAnOutbox("it has no orderedItems".to_owned())) }
    }
}

struct Collection<'a, 'b, 'c>(&'a mut Items<'b, 'c>);

impl<'de> Visitor<'de> for Collection<'_, '_, '_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an OrderedCollection")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => {
                    let kind: serde_json::Value = map.next_value()?;
                    found.kind = Some(kind.as_str().map_or_else(|| kind.to_string(), str::to_owned));
                }
                "orderedItems" if found.has_items => return Err(A::Error::custom("it has orderedItems twice")),
                "orderedItems" => {
                    found.has_items = true;
                    map.next_value_seed(Each(self.0))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

struct Each<'a, 'b, 'c>(&'a mut Items<'b, 'c>);

impl<'de> DeserializeSeed<'de> for Each<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of activities")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            self.0.count += 1;
            if !(self.0.take)(self.0.count, &item) {
                self.0.stopped = true;
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// A reader that tells how far it is.
pub(super) struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    /// Adds what is read to `bytes`.
    pub(super) fn new(inner: R, bytes: Arc<AtomicU64>) -> Self {
        Self { inner, bytes }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(json: &str) -> (Vec<String>, Result<(), OutboxError>) {
        let mut items = Vec::new();
        let outcome = read(json.as_bytes(), &mut |number, item: &RawValue| {
            assert_eq!(number, items.len() as u64 + 1);
            items.push(item.get().to_owned());
            true
        });
        (items, outcome)
    }

    fn refusal(json: &str) -> String {
        items(json).1.expect_err("refused").to_string()
    }

    #[test]
    fn items_come_one_by_one_whatever_else_there_is() {
        let json = r#"{"@context": ["x", {"y": 1}], "type": "OrderedCollection", "totalItems": 2,
                       "orderedItems": [{"a": [1]}, "b"], "id": "outbox.json"}"#;
        let (items, outcome) = items(json);
        assert!(outcome.is_ok());
        assert_eq!(items, [r#"{"a": [1]}"#, r#""b""#]);
    }

    #[test]
    fn a_byte_order_mark_is_passed() {
        assert!(items("\u{feff}{\"orderedItems\": []}").1.is_ok());
    }

    #[test]
    fn a_packed_archive_is_recognised() {
        let zip = read(b"PK\x03\x04rest".as_slice(), &mut |_, _| true).expect_err("refused");
        assert!(zip.to_string().contains("unpack it"));
        let gzip = read(b"\x1f\x8b\x08rest".as_slice(), &mut |_, _| true).expect_err("refused");
        assert!(gzip.to_string().contains("unpack it"));
    }

    #[test]
    fn what_is_no_outbox_is_refused_with_the_reason() {
        assert!(refusal(r#"{"type": "Person", "orderedItems": []}"#).contains("`Person`"));
        assert!(refusal(r#"{"type": "OrderedCollection"}"#).contains("no orderedItems"));
        assert!(refusal("[1, 2]").contains("an OrderedCollection"));
        assert!(refusal(r#"{"orderedItems": {"a": 1}}"#).contains("a list of activities"));
        assert!(refusal(r#"{"orderedItems": [], "orderedItems": []}"#).contains("twice"));
        assert!(refusal("").contains("item 1"));
    }

    #[test]
    fn a_cut_off_file_gives_what_it_has_and_names_the_item() {
        let (items, outcome) = items("{\"orderedItems\": [1,\n 2,\n {\"a\":");
        assert_eq!(items, ["1", "2"]);
        let refusal = outcome.expect_err("refused").to_string();
        assert!(refusal.contains("item 3") && refusal.contains("line 3"), "{refusal}");
    }

    #[test]
    fn what_follows_the_collection_is_refused() {
        assert!(refusal(r#"{"orderedItems": []} x"#).contains("line 1"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let json = b"{\"orderedItems\": [\"\xff\"]}";
        assert!(read(json.as_slice(), &mut |_, _| true).is_err());
    }

    #[test]
    fn nesting_without_end_takes_no_stack() {
        let deep = format!("{{\"orderedItems\": [{}1{}]}}", "[".repeat(100_000), "]".repeat(100_000));
        let (items, outcome) = items(&deep);
        assert!(outcome.is_ok() && items.len() == 1);
        let unread = format!("{{\"x\": {}", "[".repeat(100_000));
        assert!(refusal(&unread).contains("item 1"));
    }

    #[test]
    fn the_taker_can_stop() {
        let mut taken = 0;
        let outcome = read(br#"{"orderedItems": [1, 2, 3]}"#.as_slice(), &mut |_, _| {
            taken += 1;
            taken < 2
        });
        assert!(outcome.is_ok());
        assert_eq!(taken, 2);
    }
}
