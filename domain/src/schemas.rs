//! How ids, times and checked texts look in the OpenAPI document: their limits, for those who write clients.
//!
//! By hand and not derived: what a text may be is decided by code (`text`), and a schema can say only the greater part
//! of it. Lengths count what is left after trimming; a text that a schema lets pass may still be refused.

use std::borrow::Cow;

use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::ids::{CommentId, CorrelationId, EventId, PostId, SessionId, UserId};
use crate::post::Visibility;
use crate::stream::{Lane, Position, StreamId};
use crate::text::{Bio, CommentText, DisplayName, Markdown, Title, Username};
use crate::time::Timestamp;

/// What an id's text looks like: a UUIDv7, hyphenated, in lower case.
const ID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";

macro_rules! schemas {
    ($($name:ident => $schema:expr;)*) => {
        $(impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($schema))
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        })*
    };
}

schemas! {
    UserId => id("A person with an account: a UUIDv7.");
    PostId => id("A post: a UUIDv7 that carries the time at which it was written.");
    CommentId => id("A comment on a post: a UUIDv7 that carries the time at which it was written.");
    EventId => id("An event: a UUIDv7.");
    SessionId => id("A log-in: a UUIDv7.");
    CorrelationId => id("What one request caused: a UUIDv7.");
    Position => string("A place in the log: its id, topic and partition, and the offset.")
        .pattern(Some("^[0-9a-f]{16}-[pru][0-9]{1,5}-(?:-1|[0-9]+)$"))
        .build();
    Lane => string("A lane of a topic: the record key.").build();
    StreamId => string("A stream: the kind of what it is about, and its ids.").build();
    Timestamp => string("A time in UTC with milliseconds (RFC 3339).")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build();
    Username => text("Unique in the whole system, and kept in lower case: letters `a` to `z`, digits and underscores, \
        beginning with a letter.", 3, 30)
        .pattern(Some("^[A-Za-z][A-Za-z0-9_]*$"))
        .build();
    DisplayName => text("What a person wants to be called: one line.", 1, 50).build();
    Bio => text("What a person says of themselves: plain text, may be empty.", 0, 500).build();
    Title => text("A post's title: one line.", 1, 200).build();
    Markdown => text("A post's text in Markdown, at most 64 KiB.", 1, 64 * 1024).build();
    CommentText => text("What a comment says: plain text, at most 8 KiB.", 1, 8 * 1024).build();
    Visibility => string("Who may read a post besides its author: everyone whom no block keeps out, or those who follow \
        the author when they read.")
        .enum_values(Some(["public", "followers"]))
        .build();
}

fn string(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn id(description: &str) -> Object {
    string(description).format(Some(SchemaFormat::Custom("uuid".to_owned()))).pattern(Some(ID)).build()
}

fn text(description: &str, least: usize, most: usize) -> ObjectBuilder {
    string(description).min_length(Some(least)).max_length(Some(most))
}
