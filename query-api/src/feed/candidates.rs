//! The candidates of a home: what is stored above its mark, hot authors merged in, and below the mark what all
//! followed authors wrote.

use std::cmp::Reverse;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::timelines::{Entry, Order, Span};
use adapters::views::RelationView;
use domain::{PostId, UserId};

use super::{Candidates, Feed, Walk};

/// Followed authors whose timelines are merged in one call.
pub(super) const AUTHORS_AT_ONCE: usize = 1_000;

impl Feed {
    /// At most `limit` candidates of `viewer`'s home, next in the walk.
    pub(super) async fn home_candidates(
        &self,
        generation: Generation,
        viewer: UserId,
        walk: Walk,
        pulling: &mut bool,
        limit: usize,
    ) -> Result<Candidates, StoreError> {
        if *pulling {
            let pulled = self.pull(generation, viewer, walk.span(), limit).await?;
            return Ok(Candidates::new(pulled, limit));
        }
        // The home first, the hot authors after it. A post that is not in the home because its author is hot was
        // published after the flag was set (T4); had the flags been read before the home, an author could have
        // become hot and published in between, and a page with newer posts would have passed that one by.
        let home = self.timelines.home(generation, viewer, walk.span(), limit).await?;
        let hot = self.views.hot_followed(generation, viewer).await?;
        let mut merged = home.entries;
        if !hot.is_empty() {
            let span = walk.span();
            // Below the mark everybody is pulled, the hot too.
            let span = Span { above: span.above.max(home.mark), ..span };
            let of_the_hot = self.timelines.authors(generation, &hot, span, limit).await?;
            merge(&mut merged, of_the_hot, span.order, limit);
        }
        match walk {
            // Fewer than asked for: all above the mark is used up.
            Walk::Before(below) => {
                let missing = limit - merged.len();
                if missing == 0 || home.mark == PostId::MIN {
                    return Ok(Candidates::new(merged, limit).with_mark(home.mark));
                }
                *pulling = true;
                let below = below.min(home.mark.just_above());
                let pulled = self.pull(generation, viewer, Walk::Before(below).span(), missing).await?;
                merged.extend(pulled);
                Ok(Candidates::new(merged, limit).with_mark(home.mark))
            }
            Walk::After(above) => {
                if home.mark <= above {
                    return Ok(Candidates::new(merged, limit).with_mark(home.mark));
                }
                // What is stored is above the mark; between the cursor and the mark comes first.
                let span = Span { above, below: home.mark.just_above(), order: Order::OldestFirst };
                let mut pulled = self.pull(generation, viewer, span, limit).await?;
                merged.truncate(limit - pulled.len());
                pulled.extend(merged);
                Ok(Candidates::new(pulled, limit).with_mark(home.mark))
            }
        }
    }

    /// Takes out whom `viewer` does not follow now, mutes, or is kept apart from by a block (R3): homes keep their posts.
    pub(super) async fn still_followed(
        &self,
        generation: Generation,
        viewer: UserId,
        mut candidates: Candidates,
    ) -> Result<Candidates, StoreError> {
        let others = candidates.entries.iter().map(|entry| entry.author).filter(|author| *author != viewer);
        let mut authors: Vec<UserId> = others.collect();
        authors.sort_unstable();
        authors.dedup();
        if authors.is_empty() {
            return Ok(candidates);
        }
        let relations = self.views.relations(generation, viewer, &authors).await?;
        let is_shown = |author: UserId| match authors.binary_search(&author) {
            Ok(place) => relations.get(place).is_some_and(is_read),
            // One's own.
            Err(_) => true,
        };
        candidates.entries.retain(|entry| is_shown(entry.author));
        Ok(candidates)
    }

    /// At most `limit` posts of all whom `viewer` follows, and of `viewer`, merged from their own timelines.
    async fn pull(
        &self,
        generation: Generation,
        viewer: UserId,
        mut span: Span,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut merged = Vec::new();
        let mut after = None;
        loop {
            let mut authors = self.views.following(generation, viewer, after, AUTHORS_AT_ONCE).await?;
            let more = authors.len() == AUTHORS_AT_ONCE;
            let first = after.is_none();
            after = authors.last().copied();
            if first {
                authors.push(viewer);
            }
            let posts = self.timelines.authors(generation, &authors, span, limit).await?;
            merge(&mut merged, posts, span.order, limit);
            if !more {
                return Ok(merged);
            }
            // With enough found, only what lies nearer can still matter.
            if merged.len() == limit
                && let Some(last) = merged.last()
            {
                match span.order {
                    Order::NewestFirst => span.above = last.post,
                    Order::OldestFirst => span.below = last.post,
                }
            }
        }
    }
}

/// Whether a home shows the posts of somebody whom its owner is this to: the one place that says so, for pages, streams,
/// counts and explanations.
pub(crate) fn is_read(relation: &RelationView) -> bool {
    relation.following && !relation.muting && !relation.is_blocked()
}

/// Adds `more` to `entries`, both in `order`, without doubles, and keeps the first `limit`.
fn merge(entries: &mut Vec<Entry>, more: Vec<Entry>, order: Order, limit: usize) {
    entries.extend(more);
    match order {
        Order::NewestFirst => entries.sort_unstable_by_key(|entry| Reverse(entry.post)),
        Order::OldestFirst => entries.sort_unstable_by_key(|entry| entry.post),
    }
    entries.dedup_by_key(|entry| entry.post);
    entries.truncate(limit);
}
