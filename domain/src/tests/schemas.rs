//! What the schemas say and what the code takes: where a schema says no, so does the code, and what the code has taken
//! follows its schema.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::PartialSchema;

use crate::ids::{PostId, UserId};
use crate::post::Visibility;
use crate::text::{Bio, CommentText, DisplayName, Markdown, Title, Username};
use crate::time::Timestamp;

use super::{START, person};

/// Whether the code takes `text`, and that the schema is no stricter where it does and no looser where it must not be.
fn judge<T: PartialSchema + DeserializeOwned + Serialize>(text: &str) -> (bool, bool) {
    let schema = serde_json::to_value(T::schema()).expect("JSON");
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    let taken: Option<T> = serde_json::from_value(json!(text)).ok();
    if let Some(taken) = &taken {
        let shown = serde_json::to_value(taken).expect("JSON");
        assert!(schema.is_valid(&shown), "{shown} was taken and does not follow the schema");
    }
    (taken.is_some(), schema.is_valid(&Value::from(text)))
}

#[test]
fn the_limits_of_texts_are_those_of_their_schemas() {
    let of = |length: usize| "a".repeat(length);
    for length in [0, 1, 2, 3, 30, 31, 50, 51, 200, 201] {
        let (taken, valid) = judge::<Username>(&of(length));
        assert_eq!(taken, valid, "a user name of {length}");
        let (taken, valid) = judge::<DisplayName>(&of(length));
        assert_eq!(taken, valid, "a display name of {length}");
        let (taken, valid) = judge::<Title>(&of(length));
        assert_eq!(taken, valid, "a title of {length}");
    }
    for length in [0, 1, 500, 501] {
        let (taken, valid) = judge::<Bio>(&of(length));
        assert_eq!(taken, valid, "a bio of {length}");
    }
    for length in [0, 1, 8 * 1024, 8 * 1024 + 1, 64 * 1024, 64 * 1024 + 1] {
        let (taken, valid) = judge::<CommentText>(&of(length));
        assert_eq!(taken, valid, "a comment of {length}");
        let (taken, valid) = judge::<Markdown>(&of(length));
        assert_eq!(taken, valid, "a post of {length}");
    }
    for name in ["Ada_1", "1ada", "_ada", "a-b", "ädä", "ada lovelace"] {
        let (taken, valid) = judge::<Username>(name);
        assert_eq!(taken, valid, "{name}");
    }
}

#[test]
fn ids_times_and_visibilities_follow_their_schemas() {
    let post = PostId::from_parts(START, [7; 10]).to_string();
    let version_4 = "b4cbdd58-2b5f-4bb0-8a3d-3d3b8c4f6c0e";
    for (id, wanted) in [(post.as_str(), true), (&post.to_uppercase(), false), (version_4, false), ("", false)] {
        assert_eq!(judge::<PostId>(id), (wanted, wanted), "{id}");
        assert_eq!(judge::<UserId>(id), (wanted, wanted), "{id}");
    }
    assert_eq!(judge::<UserId>(&person(3).to_string()), (true, true));
    for (time, wanted) in [(START.to_string(), true), ("yesterday".to_owned(), false)] {
        assert_eq!(judge::<Timestamp>(&time), (wanted, wanted), "{time}");
    }
    for (visibility, wanted) in [("public", true), ("followers", true), ("nobody", false)] {
        assert_eq!(judge::<Visibility>(visibility), (wanted, wanted), "{visibility}");
    }
}
