//! Streams as keys: shorter than their text, and in the same order.

use domain::ids::InvalidId;
use domain::{CommentId, PostId, StreamId, UserId};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

const ID: usize = 16;

/// A byte for the kind, in the alphabetical order of the kinds' names, then the ids that the text names, in its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamKey {
    bytes: [u8; 1 + 2 * ID],
    length: usize,
}

impl StreamKey {
    /// The key of a stream.
    pub(super) fn of(stream: StreamId) -> Self {
        match stream {
            StreamId::Comment(comment) => Self::new(1, comment.as_bytes(), &[]),
            StreamId::Post(post) => Self::new(2, post.as_bytes(), &[]),
            StreamId::Reaction(post, user) => Self::new(3, post.as_bytes(), user.as_bytes()),
            StreamId::Relation(low, high) => Self::new(4, low.as_bytes(), high.as_bytes()),
            StreamId::User(user) => Self::new(5, user.as_bytes(), &[]),
        }
    }

    fn new(kind: u8, first: &[u8], second: &[u8]) -> Self {
        let mut bytes = [0; 1 + 2 * ID];
        let length = 1 + first.len() + second.len();
        bytes[0] = kind;
        bytes[1..=first.len()].copy_from_slice(first);
        bytes[1 + first.len()..length].copy_from_slice(second);
        Self { bytes, length }
    }

    /// The stream whose key `bytes` are.
    pub(super) fn parse(bytes: &[u8]) -> Result<StreamId, InvalidId> {
        let (kind, ids) = bytes.split_first().ok_or(InvalidId)?;
        let (first, second) = ids.split_at_checked(ID).ok_or(InvalidId)?;
        Ok(match (kind, second.len()) {
            (1, 0) => StreamId::Comment(CommentId::from_slice(first)?),
            (2, 0) => StreamId::Post(PostId::from_slice(first)?),
            (3, ID) => StreamId::Reaction(PostId::from_slice(first)?, UserId::from_slice(second)?),
            (4, ID) => StreamId::Relation(UserId::from_slice(first)?, UserId::from_slice(second)?),
            (5, 0) => StreamId::User(UserId::from_slice(first)?),
            _ => return Err(InvalidId),
        })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl ToSql for StreamKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_bytes().to_sql()
    }
}

/// A stream as a column holds it.
pub(super) struct StoredStream(pub(super) StreamId);

impl FromSql for StoredStream {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        StreamKey::parse(value.as_blob()?).map(Self).map_err(FromSqlError::other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> impl Strategy<Value = StreamId> {
        // Few values per byte, so that ids share beginnings and order is decided late.
        let id = || prop::array::uniform16(prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xff]));
        (0..5, id(), id()).prop_map(|(kind, first, second)| match kind {
            0 => StreamId::Comment(CommentId::from_bytes(first)),
            1 => StreamId::Post(PostId::from_bytes(first)),
            2 => StreamId::Reaction(PostId::from_bytes(first), UserId::from_bytes(second)),
            3 => StreamId::Relation(UserId::from_bytes(first), UserId::from_bytes(second)),
            _ => StreamId::User(UserId::from_bytes(first)),
        })
    }

    proptest! {
        #[test]
        fn keys_sort_as_texts_do_and_read_back(one in stream(), other in stream()) {
            let (one_key, other_key) = (StreamKey::of(one), StreamKey::of(other));
            prop_assert_eq!(one_key.as_bytes().cmp(other_key.as_bytes()), one.to_string().cmp(&other.to_string()));
            prop_assert_eq!(StreamKey::parse(one_key.as_bytes()), Ok(one));
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let key = StreamKey::of(StreamId::Reaction(PostId::MAX, UserId::MIN));
        for length in 0..key.length {
            // A shorter one may be a key of another kind only if its first byte said so, which it does not.
            assert_eq!(StreamKey::parse(&key.as_bytes()[..length]), Err(InvalidId), "{length} bytes");
        }
        assert_eq!(StreamKey::parse(&[6; 17]), Err(InvalidId));
    }
}
