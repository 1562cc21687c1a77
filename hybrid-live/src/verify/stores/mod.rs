//! What is compared: one file per store.

mod author_timelines;
mod cached;
mod comments;
mod content;
mod counts;
mod edges;
mod follows;
mod home_rows;
mod homes;
mod hot_authors;
mod profiles;
mod reactions;
mod rendered;
mod usernames;
mod versions;

use std::sync::Arc;

use adapters::StoreError;
use adapters::stores::Stores;
use domain::UserId;
use projectors::{Engagement, Profiles, Timelines};

use super::compare::{Check, Checked};
use crate::cli::Projection;

/// Rows read at a time.
const PAGE: usize = 1000;

/// The comparisons that were asked for: of one projection's stores, or of all and the truth. A cache in the memory of
/// another process is not seen.
pub(super) async fn checks(
    stores: &Stores,
    asked: Option<Projection>,
    hot_author_followers: usize,
    sees_the_cache: bool,
) -> Result<Vec<Box<dyn Check>>, StoreError> {
    let mut checks: Vec<Box<dyn Check>> = Vec::new();
    if asked.is_none() {
        checks.push(Box::new(Checked::new(content::States(Arc::clone(&stores.content)))));
        checks.push(Box::new(Checked::new(rendered::Shown(Arc::clone(&stores.content)))));
        checks.push(Box::new(Checked::new(usernames::Owners(Arc::clone(&stores.content)))));
    }
    if asked.is_none_or(|asked| asked == Projection::Timelines) {
        let generation = stores.checkpoints.serving(Timelines::NAME).await?;
        let (views, timelines) = (&stores.views, &stores.timelines);
        checks.push(Box::new(Checked::new(edges::Edges { views: Arc::clone(views), generation })));
        let hot = hot_authors::Flags { views: Arc::clone(views), generation, threshold: hot_author_followers };
        checks.push(Box::new(Checked::new(hot)));
        let authors = author_timelines::AuthorPosts { timelines: Arc::clone(timelines), generation };
        checks.push(Box::new(Checked::new(authors)));
        checks.push(Box::new(Checked::new(home_rows::HomeRows { timelines: Arc::clone(timelines), generation })));
        checks.push(Box::new(Checked::new(homes::Homes::new(stores))));
    }
    if asked.is_none_or(|asked| asked == Projection::Engagement) {
        let generation = stores.checkpoints.serving(Engagement::NAME).await?;
        let views = &stores.views;
        checks.push(Box::new(Checked::new(counts::Counts { views: Arc::clone(views), generation })));
        checks.push(Box::new(Checked::new(comments::Comments { views: Arc::clone(views), generation })));
        checks.push(Box::new(Checked::new(reactions::Reactions { views: Arc::clone(views), generation })));
        checks.push(Box::new(Checked::new(versions::Versions { views: Arc::clone(views), generation })));
        if sees_the_cache {
            checks.push(Box::new(Checked::new(cached::Cached::new(stores, generation))));
        }
    }
    if asked.is_none_or(|asked| asked == Projection::Profiles) {
        let generation = stores.checkpoints.serving(Profiles::NAME).await?;
        let views = &stores.views;
        checks.push(Box::new(Checked::new(profiles::Profiles { views: Arc::clone(views), generation })));
        checks.push(Box::new(Checked::new(follows::Follows { views: Arc::clone(views), generation })));
    }
    Ok(checks)
}

/// The id just below, to scan from: what is asked for is then the first row.
fn below<const N: usize>(bytes: &[u8; N]) -> Option<[u8; N]> {
    let mut below = *bytes;
    for byte in below.iter_mut().rev() {
        let (value, borrowed) = byte.overflowing_sub(1);
        *byte = value;
        if !borrowed {
            return Some(below);
        }
    }
    None
}

/// The user just below.
fn user_below(user: UserId) -> Option<UserId> {
    below(user.as_bytes()).map(UserId::from_bytes)
}

/// The post just below.
fn post_below(post: domain::PostId) -> Option<domain::PostId> {
    below(post.as_bytes()).map(domain::PostId::from_bytes)
}
