//! The OpenAPI document of everything that is served: put together of what stands beside the handlers.
//!
//! It is kept in `schemas/openapi/hybrid-live.json`, so that a change of the API shows where changes are looked at; a
//! test holds the two against each other.

use adapters::http::openapi::describe;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use crate::serve;

const DESCRIPTION: &str = "\
The backend of a live social feed: post, follow, comment, like, and watch it happen.

Ids are UUIDv7, times RFC 3339 in UTC. Lists are newest first, in pages of `limit` items, and go on with `before` and the \
cursor in `next`; a cursor belongs to its list. Commands answer with a `Consistency-Token`: sent along with a query, it \
makes the answer contain what was done. Edits need `If-Match`. Refusals are `application/problem+json` with a stable \
`code`. What a block or a post's visibility hides from somebody is, for them, not there.";

/// What calls are about.
const TAGS: [(&str, &str); 12] = [
    ("accounts", "Coming into being."),
    ("sessions", "Logging in, staying so, logging out."),
    ("users", "People."),
    ("relations", "Who follows, blocks and mutes whom."),
    ("feed", "The home feed."),
    ("posts", "Posts, and lists of somebody's."),
    ("comments", "Comments on posts."),
    ("reactions", "Likes."),
    ("live", "Event streams."),
    ("reference", "This document."),
    ("administration", "For admins: a role that `hybrid-live roles grant` gives."),
    ("operations", "For those who run the server."),
];

/// The whole document.
pub(crate) fn document() -> OpenApi {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Hybrid Live")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license))
        .build();
    let tags = TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    let mut document = OpenApiBuilder::new().info(info).tags(Some(tags)).build();
    for part in parts() {
        document.merge(part);
    }
    describe(&mut document);
    document
}

/// The same as it is served: without what only people need.
pub(crate) fn compact() -> String {
    // Its keys are texts and its values such: it always serialises.
    document().to_json().unwrap_or_default()
}

/// The same as it is kept, to be read.
pub(crate) fn text() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn parts() -> [OpenApi; 5] {
    [
        command_api::document(),
        query_api::document(),
        serve::admin_document(),
        query_api::health::document(),
        serve::reference_document(),
    ]
}

#[cfg(test)]
mod tests;
