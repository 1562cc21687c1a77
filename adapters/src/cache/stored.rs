//! What is in values and items, and where it comes from: the same for whoever fills the cache and whoever keeps it up to
//! date.
//!
//! A preview is kept as the part of a post's JSON that comes from `content`, so that a page of posts is put together of
//! bytes and not taken apart and written again.

use domain::post::Visibility;
use domain::text::CommentText;
use domain::{CommentId, PostId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Comments, Item, Value};
use crate::StoreError;
use crate::content::{Content, StoredPreview};
use crate::views::{CommentRow, Counts};

const PUBLIC: u8 = b'p';
const FOLLOWERS: u8 = b'f';

/// A post as lists show it, but for its id, its author and its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    value: bytes::Bytes,
}

impl Shown {
    /// Of a preview's value; `None` where there is nothing to show.
    pub fn of(value: &Value) -> Option<Self> {
        (!value.bytes.is_empty()).then(|| Self { value: value.bytes.clone() })
    }

    /// Who may read it.
    pub fn visibility(&self) -> Visibility {
        // What is neither is for the fewest.
        if self.value.first() == Some(&PUBLIC) { Visibility::Public } else { Visibility::Followers }
    }

    /// The members `title`, `text`, `truncated`, `visibility`, `created_at`, `edited_at` and `version` of a JSON object.
    pub fn members(&self) -> &[u8] {
        self.value.get(1..).unwrap_or_default()
    }
}

/// A preview's value, of its JSON.
fn shown(preview: &str) -> Result<Value, StoreError> {
    /// A [`Preview`](crate::content::Preview), its values as they are written there.
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow)]
        title: &'a RawValue,
        #[serde(borrow)]
        text: &'a RawValue,
        #[serde(borrow)]
        truncated: &'a RawValue,
        visibility: Visibility,
        #[serde(borrow)]
        created_at: &'a RawValue,
        #[serde(borrow)]
        edited_at: &'a RawValue,
        version: i64,
    }
    // Without what serde quotes: previews hold what people wrote.
    let unreadable =
        |error: serde_json::Error| StoreError::Damaged(format!("a preview is not readable ({:?})", error.classify()));
    let Stored { title, text, truncated, visibility, created_at, edited_at, version } =
        serde_json::from_str(preview).map_err(unreadable)?;
    let (kind, visibility) = match visibility {
        Visibility::Public => (PUBLIC, "public"),
        Visibility::Followers => (FOLLOWERS, "followers"),
    };
    let mut bytes = vec![kind];
    bytes.extend_from_slice(
        format!(
            concat!(
                r#""title":{},"text":{},"truncated":{},"visibility":"{}","#,
                r#""created_at":{},"edited_at":{},"version":{}"#
            ),
            title, text, truncated, visibility, created_at, edited_at, version
        )
        .as_bytes(),
    );
    Ok(Value { version, bytes: bytes.into() })
}

/// Loads previews from their master, in the order of `posts`. What is damaged is as if it were not there (R1).
///
/// # Errors
/// The master's.
pub async fn load_previews(content: &dyn Content, posts: &[PostId]) -> Result<Vec<Value>, StoreError> {
    let stored = content.previews(posts).await?;
    Ok(posts.iter().zip(stored).map(|(post, stored)| value(*post, stored)).collect())
}

fn value(post: PostId, stored: Option<StoredPreview>) -> Value {
    let nothing = |version| Value { version, bytes: bytes::Bytes::new() };
    let Some(StoredPreview { sequence, preview }) = stored else { return nothing(0) };
    // The sequence of a deletion keeps what was before it from coming back (K1).
    let nothing = || nothing(i64::try_from(sequence).unwrap_or(i64::MAX));
    let Some(preview) = preview else { return nothing() };
    shown(&preview).unwrap_or_else(|error| {
        tracing::error!(%post, %error, "a damaged preview is passed over");
        nothing()
    })
}

impl From<Counts> for Value {
    fn from(counts: Counts) -> Self {
        let Counts { likes, comments, position } = counts;
        Self { version: position, bytes: format!("{likes} {comments}").into() }
    }
}

impl TryFrom<&Value> for Counts {
    type Error = StoreError;

    fn try_from(value: &Value) -> Result<Self, StoreError> {
        let read = || {
            let (likes, comments) = std::str::from_utf8(&value.bytes).ok()?.split_once(' ')?;
            Some(Self { likes: likes.parse().ok()?, comments: comments.parse().ok()?, position: value.version })
        };
        read().ok_or_else(|| StoreError::Damaged("cached counts are no counts".to_owned()))
    }
}

/// A comment as it is written into an item, without what the item and its key say already.
#[derive(Serialize, Deserialize)]
struct StoredComment {
    author: UserId,
    parent: Option<CommentId>,
    text: CommentText,
    edited_at: Option<Timestamp>,
    sequence: u64,
    position: i64,
}

impl Item {
    /// Of a row; `None` of a deleted comment.
    pub fn of(row: &CommentRow) -> Option<Self> {
        let stored = StoredComment {
            author: row.author,
            parent: row.parent,
            text: row.text.clone()?,
            edited_at: row.edited_at,
            sequence: row.sequence,
            position: row.position,
        };
        let bytes = serde_json::to_vec(&stored).ok()?.into();
        Some(Self { comment: row.comment, position: row.created, bytes })
    }

    /// The row of a comment on `post`.
    ///
    /// # Errors
    /// It was written by something else.
    pub fn row(&self, post: PostId) -> Result<CommentRow, StoreError> {
        let unreadable = |error: serde_json::Error| {
            StoreError::Damaged(format!("a cached comment is not readable ({:?})", error.classify()))
        };
        let StoredComment { author, parent, text, edited_at, sequence, position } =
            serde_json::from_slice(&self.bytes).map_err(unreadable)?;
        let (comment, created) = (self.comment, self.position);
        Ok(CommentRow { comment, post, author, parent, text: Some(text), edited_at, sequence, created, position })
    }
}

impl Comments {
    /// Of rows as they were read after `version` was.
    pub fn of(version: i64, rows: &[CommentRow]) -> Self {
        Self { version, items: rows.iter().filter_map(Item::of).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_keeps_its_values_as_they_are_written() {
        let preview = r#"{"id":"x","author_id":"y","title":"A \"t\"","text":"wörds","truncated":false,
            "visibility":"followers","created_at":"2026-01-01T00:00:00Z","edited_at":null,"version":3}"#;
        let value = shown(preview).unwrap();
        let shown = Shown::of(&value).unwrap();
        assert_eq!((value.version, shown.visibility()), (3, Visibility::Followers));
        let members = std::str::from_utf8(shown.members()).unwrap();
        assert_eq!(
            members,
            concat!(
                r#""title":"A \"t\"","text":"wörds","truncated":false,"visibility":"followers","#,
                r#""created_at":"2026-01-01T00:00:00Z","edited_at":null,"version":3"#
            )
        );
    }

    #[test]
    fn what_is_no_preview_says_nothing_of_its_text() {
        let error = shown(r#"{"title":"secret"}"#).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn counts_are_read_as_they_were_written() {
        let counts = Counts { likes: 505, comments: 0, position: -1 };
        assert_eq!(Counts::try_from(&Value::from(counts)).unwrap(), counts);
        for bytes in ["", "1", "1 2 3", "1 -2", "one two"] {
            let value = Value { version: 1, bytes: bytes.into() };
            assert!(Counts::try_from(&value).is_err(), "{bytes}");
        }
    }
}
