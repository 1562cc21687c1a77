//! Lists of what people did (comments, likes), newest first, with who did it and without those whom a block keeps
//! apart from the viewer (R3). What drops out is made up for from further on (R1), in bounded work.

use std::collections::HashSet;

use adapters::StoreError;
use adapters::checkpoints::{ENGAGEMENT, Generation, TIMELINES};
use adapters::views::{CommentRow, ReactionRow, Views};
use domain::{CommentId, PostId, UserId};

use crate::api::Api;
use crate::hydrate::People;
use crate::items::Person;

/// Rows that one request looks at, about.
const EXAMINED: usize = 2_000;
/// Rows in one call, at most.
const AT_ONCE: usize = 500;

/// A row of such a list.
pub(crate) trait Done: Sized + Send + Sync {
    /// What rows are ordered by.
    type Key: Copy + Send + Sync;

    /// At most `limit` rows about a post below a key, newest first.
    fn read(
        views: &dyn Views,
        generation: Generation,
        post: PostId,
        before: Option<Self::Key>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self>, StoreError>> + Send;

    /// Where the row is in the order.
    fn key(&self) -> Self::Key;

    /// Who did it.
    fn by(&self) -> UserId;
}

impl Done for CommentRow {
    type Key = CommentId;

    async fn read(
        views: &dyn Views,
        generation: Generation,
        post: PostId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<Self>, StoreError> {
        views.comments(generation, post, before, limit).await
    }

    fn key(&self) -> CommentId {
        self.comment
    }

    fn by(&self) -> UserId {
        self.author
    }
}

impl Done for ReactionRow {
    type Key = i64;

    async fn read(
        views: &dyn Views,
        generation: Generation,
        post: PostId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Self>, StoreError> {
        views.likes(generation, post, before, limit).await
    }

    fn key(&self) -> i64 {
        self.position
    }

    fn by(&self) -> UserId {
        self.user
    }
}

/// A page of rows with their people, and the key to go on below; `None` only at the end.
///
/// `first`, if given, are the rows right below `before`, as many as happen to be known, and whether nothing follows them.
pub(crate) async fn fill<R: Done>(
    api: &Api,
    viewer: Option<UserId>,
    post: PostId,
    mut before: Option<R::Key>,
    mut first: Option<(Vec<R>, bool)>,
    limit: usize,
) -> Result<(Vec<(R, Person)>, Option<R::Key>), StoreError> {
    let generation = api.ports.checkpoints.serving(ENGAGEMENT).await?;
    let mut page = Vec::with_capacity(limit);
    let mut examined = 0;
    // A few more than the page takes: they spare a second round, and tell whether anything follows.
    let mut at_once = (limit + limit / 4 + 2).min(AT_ONCE);
    loop {
        let (found, at_end) = match first.take() {
            Some((mut rows, are_all)) => {
                let at_end = are_all && rows.len() <= at_once;
                rows.truncate(at_once);
                (rows, at_end)
            }
            None => {
                let found = R::read(api.ports.views.as_ref(), generation, post, before, at_once).await?;
                let at_end = found.len() < at_once;
                (found, at_end)
            }
        };
        let count = found.len();
        examined += count;
        let apart = kept_apart(api, viewer, found.iter().map(R::by)).await?;
        let heard = found.iter().map(R::by).filter(|user| !apart.contains(user));
        let people = People::read(api.ports.content.as_ref(), heard).await?;
        let mut used = 0;
        for row in found {
            if page.len() == limit {
                break;
            }
            used += 1;
            before = Some(row.key());
            let user = row.by();
            if !apart.contains(&user)
                && let Some(person) = people.person(user)
            {
                page.push((row, person));
            }
        }
        if used == count && at_end {
            return Ok((page, None));
        }
        if page.len() == limit || examined >= EXAMINED {
            return Ok((page, before));
        }
        at_once = (at_once * 2).min(AT_ONCE);
    }
}

/// Those of `users` whom a block, either way, keeps apart from the viewer.
async fn kept_apart(
    api: &Api,
    viewer: Option<UserId>,
    users: impl Iterator<Item = UserId>,
) -> Result<HashSet<UserId>, StoreError> {
    let Some(viewer) = viewer else { return Ok(HashSet::new()) };
    let users: HashSet<UserId> = users.filter(|user| *user != viewer).collect();
    if users.is_empty() {
        return Ok(users);
    }
    let users: Vec<UserId> = users.into_iter().collect();
    let generation = api.ports.checkpoints.serving(TIMELINES).await?;
    let relations = api.ports.views.relations(generation, viewer, &users).await?;
    Ok(users.into_iter().zip(relations).filter(|(_, relation)| relation.is_blocked()).map(|(user, _)| user).collect())
}
