//! Ids as newtypes over UUIDv7, so that a comment's id cannot stand where a post's belongs.
//!
//! A UUIDv7 sorts by the millisecond it carries: "newest first" is "greatest id first" everywhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a UUIDv7 in its hyphenated lower-case form")]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// Below every id: the bound that excludes nothing. No id itself, so it is read from no text.
            pub const MIN: Self = Self(Uuid::nil());
            /// Above every id. No id itself either.
            pub const MAX: Self = Self(Uuid::max());

            /// The id made at `at`, or at the Unix epoch where that is later, whose other 74 bits come from `random`.
            pub fn from_parts(at: Timestamp, random: [u8; 10]) -> Self {
                // No time that can be written needs more than the 48 bits that an id has for it.
                let millis = u64::try_from(at.as_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// The millisecond that the id carries.
            pub fn timestamp(&self) -> Timestamp {
                let bytes = self.0.as_bytes();
                let mut millis = [0u8; 8];
                millis[2..].copy_from_slice(&bytes[..6]);
                Timestamp::from_millis(i64::from_be_bytes(millis))
            }

            /// The sixteen bytes, in sort order.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From the sixteen bytes that [`Self::as_bytes`] gave.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The id next below, for what excludes its ends; the least is its own.
            #[must_use]
            pub fn just_below(self) -> Self {
                Self(Uuid::from_u128(self.0.as_u128().saturating_sub(1)))
            }

            /// The id next above, for what excludes its ends; the greatest is its own.
            #[must_use]
            pub fn just_above(self) -> Self {
                Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
            }

            /// From the sixteen bytes that [`Self::as_bytes`] gave.
            ///
            /// # Errors
            /// [`InvalidId`] if there are not sixteen.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            // One spelling only: an id that can be written in two ways is two keys in every cache.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
                let canonical = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
                let version_7 = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
                if canonical && version_7 { Ok(Self(id)) } else { Err(InvalidId) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

id!(
    /// A person with an account.
    UserId
);
id!(
    /// A post; carries the time at which it was written, which for an imported post is its original time.
    PostId
);
id!(
    /// A comment on a post.
    CommentId
);
id!(
    /// An event. Unique, and in no order that anything relies on.
    EventId
);
id!(
    /// A log-in: what refresh tokens are bound to.
    SessionId
);
id!(
    /// What one request of a client caused, across all its events.
    CorrelationId
);
