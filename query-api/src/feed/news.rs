//! What is new in a home, by the order of the log and not by age: what feed streams tell, live and after a cut.
//!
//! As everywhere, the home is read first and the hot authors after it (T4). A home that was trimmed since a stream last
//! looked may have lost rows that it has not told; then the followed authors' own timelines have them all.

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::timelines::{Entry, Order, Span};
use domain::{PostId, UserId};

use super::candidates::AUTHORS_AT_ONCE;
use super::{Candidates, Feed, List, Listed, readable};

/// Rows that a hint makes a stream look at, at most. Whatever is not among them is found when the stream moves its base.
const HINTED: usize = 256;

/// Rows above some offsets.
#[derive(Debug)]
pub(crate) struct News {
    /// The home's mark when its rows were read.
    pub(crate) mark: PostId,
    /// The rows, of authors who are no longer followed too, in any order.
    pub(crate) entries: Vec<Entry>,
    /// The hot authors whom the viewer follows.
    pub(crate) hot: Vec<UserId>,
}

impl Feed {
    /// What is above the offsets `base` in `viewer`'s home, which ended at `mark` when they were read: all of it, or
    /// at least `limit` rows if there are so many.
    pub(crate) async fn news(
        &self,
        generation: Generation,
        viewer: UserId,
        base: &[i64],
        mark: PostId,
        limit: usize,
    ) -> Result<News, StoreError> {
        let mut news = self.present_news(generation, viewer, base, limit).await?;
        if news.mark == mark {
            return Ok(news);
        }
        let mut after = None;
        loop {
            let mut authors = self.views.following(generation, viewer, after, AUTHORS_AT_ONCE).await?;
            let more = authors.len() == AUTHORS_AT_ONCE;
            let is_first = after.is_none();
            after = authors.last().copied();
            if is_first {
                authors.push(viewer);
            }
            news.entries.extend(self.timelines.authors_since(generation, &authors, base, limit).await?);
            news.without_doubles();
            if !more || news.entries.len() >= limit {
                return Ok(news);
            }
        }
    }

    /// What is above the offsets `base` in `viewer`'s home as it is stored now, and of hot authors.
    pub(crate) async fn present_news(
        &self,
        generation: Generation,
        viewer: UserId,
        base: &[i64],
        limit: usize,
    ) -> Result<News, StoreError> {
        let home = self.timelines.home_since(generation, viewer, base, limit).await?;
        let hot = self.views.hot_followed(generation, viewer).await?;
        let mut news = News { mark: home.mark, entries: home.entries, hot };
        if !news.hot.is_empty() {
            news.entries.extend(self.timelines.authors_since(generation, &news.hot, base, limit).await?);
            news.without_doubles();
        }
        Ok(news)
    }

    /// What a hint points at: rows of the home from `least` up, and of hot authors if `hot` names some.
    pub(crate) async fn hinted(
        &self,
        generation: Generation,
        viewer: UserId,
        base: &[i64],
        least: Option<PostId>,
        hot: &[UserId],
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        if let Some(least) = least {
            let span = Span { above: least.just_below(), below: PostId::MAX, order: Order::OldestFirst };
            entries = self.timelines.home(generation, viewer, span, HINTED).await?.entries;
        }
        if !hot.is_empty() {
            entries.extend(self.timelines.authors_since(generation, hot, base, HINTED).await?);
        }
        entries.sort_unstable_by_key(|entry| entry.post);
        entries.dedup_by_key(|entry| entry.post);
        Ok(entries)
    }

    /// Those of `entries` that `viewer`'s home shows now (R1, R3), with what is stored of them.
    pub(crate) async fn shown(
        &self,
        generation: Generation,
        viewer: UserId,
        entries: Vec<Entry>,
    ) -> Result<Vec<Listed>, StoreError> {
        let limit = entries.len();
        let candidates = Candidates::new(entries, limit);
        let entries = self.still_followed(generation, viewer, candidates).await?.entries;
        let posts: Vec<PostId> = entries.iter().map(|entry| entry.post).collect();
        let listed = entries.into_iter().zip(self.cached.shown(&posts).await?);
        Ok(listed.filter_map(|(entry, shown)| readable(List::Home(viewer), entry, shown)).collect())
    }
}

impl News {
    /// A post may be in the home and in its author's timeline, at the same place of the log.
    fn without_doubles(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.post);
        self.entries.dedup_by_key(|entry| entry.post);
    }
}
