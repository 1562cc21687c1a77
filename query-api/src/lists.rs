//! What lists are asked for: how much, from where, which way.

use adapters::http::problem::{Code, Problem};
use domain::PostId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::Api;
use crate::feed::Walk;

/// How many items a page has at most: 1 to 100.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
pub(crate) struct Limit(usize);

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

impl TryFrom<u64> for Limit {
    type Error = &'static str;

    fn try_from(limit: u64) -> Result<Self, Self::Error> {
        match usize::try_from(limit) {
            Ok(limit @ 1..=100) => Ok(Self(limit)),
            _ => Err("must be from 1 to 100"),
        }
    }
}

impl Limit {
    /// The number.
    pub(crate) fn get(self) -> usize {
        self.0
    }
}

/// The query string of lists of posts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BothWays {
    /// How many items the page has at most.
    #[serde(default)]
    #[param(value_type = u8, minimum = 1, maximum = 100, default = 20)]
    pub(crate) limit: Limit,
    /// Only what is older than this cursor.
    #[param(nullable = false)]
    before: Option<String>,
    /// Only what is newer than this cursor.
    #[param(nullable = false)]
    after: Option<String>,
}

/// The query string of lists that are read from the newest down.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NewestFirst {
    /// How many items the page has at most.
    #[serde(default)]
    #[param(value_type = u8, minimum = 1, maximum = 100, default = 20)]
    pub(crate) limit: Limit,
    /// Only what is older than this cursor.
    #[param(nullable = false)]
    before: Option<String>,
}

impl BothWays {
    /// Where the page begins and which way it goes.
    ///
    /// # Errors
    /// Both ways at once, or a cursor of another list.
    pub(crate) fn walk(&self, api: &Api, scope: &str) -> Result<Walk, Problem> {
        let post = |bytes: &[u8]| PostId::from_slice(bytes).ok();
        match (&self.before, &self.after) {
            (None, None) => Ok(Walk::NEWEST),
            (Some(before), None) => open(api, scope, "before", before, post).map(Walk::Before),
            (None, Some(after)) => open(api, scope, "after", after, post).map(Walk::After),
            (Some(_), Some(_)) => {
                Err(Problem::invalid("after", "goes the other way than `before`: only one of the two"))
            }
        }
    }
}

impl NewestFirst {
    /// What the page lies below, if it is not the first.
    ///
    /// # Errors
    /// A cursor of another list.
    pub(crate) fn before<K>(
        &self,
        api: &Api,
        scope: &str,
        value: impl Fn(&[u8]) -> Option<K>,
    ) -> Result<Option<K>, Problem> {
        self.before.as_deref().map(|cursor| open(api, scope, "before", cursor, value)).transpose()
    }
}

/// What a cursor of the list `scope` says.
///
/// # Errors
/// A cursor of another list; names the field.
pub(crate) fn open<K>(
    api: &Api,
    scope: &str,
    field: &str,
    cursor: &str,
    value: impl Fn(&[u8]) -> Option<K>,
) -> Result<K, Problem> {
    let bytes = api.cursors.open(scope, cursor);
    let opened = bytes.and_then(|bytes| value(&bytes).ok_or_else(|| Problem::from(Code::InvalidCursor)));
    opened.map_err(|problem| Problem { field: Some(field.to_owned()), ..problem })
}
