//! Which posts a list shows: homes and authors' posts, put together from the read models at the moment of reading.
//!
//! A home is, by definition, every readable post of the authors that its owner follows now, and the owner's own,
//! newest first, as far back as one scrolls. What is stored is a prefix; the rest is merged here from the authors'
//! own timelines, so that trimming never ends a feed early. How the posts are then shown is `hydrate`'s affair.
//!
//! Invariants: T1 a home equals the reference model's, to its end. T4 the hot flag is set before the first post that
//! is not fanned out. R1 what is missing or unreadable drops out and the page fills from further on. R2 a page takes
//! a constant number of batched calls, whatever its size. R3 relations are applied when read.

use std::sync::Arc;

use adapters::StoreError;
use adapters::cache::Shown;
use adapters::checkpoints::{Checkpoints, TIMELINES};
use adapters::timelines::{Entry, Order, Span, Timelines};
use adapters::views::Views;
use domain::post::Visibility;
use domain::{PostId, UserId};

use crate::Ports;
use crate::cached::Cached;

mod candidates;
mod news;

pub(crate) use candidates::is_read;

/// Candidates that one request looks at, about: a list of nothing but removed posts answers a short page and a
/// cursor instead of reading on for ever.
const EXAMINED: usize = 2_000;
/// Candidates in one call, at most.
const AT_ONCE: usize = 500;

/// Where a page begins and which way it goes. The id itself is excluded and need not belong to a post any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Towards older posts, from below this id.
    Before(PostId),
    /// Towards newer posts, from above this id.
    After(PostId),
}

impl Walk {
    /// From the newest post down.
    pub const NEWEST: Self = Self::Before(PostId::MAX);

    pub(crate) fn span(self) -> Span {
        match self {
            Self::Before(below) => Span { above: PostId::MIN, below, order: Order::NewestFirst },
            Self::After(above) => Span { above, below: PostId::MAX, order: Order::OldestFirst },
        }
    }

    /// The id that it begins from.
    pub fn from(self) -> PostId {
        match self {
            Self::Before(post) | Self::After(post) => post,
        }
    }

    /// The same way, further on: `post` has been looked at.
    fn past(self, post: PostId) -> Self {
        match self {
            Self::Before(_) => Self::Before(post),
            Self::After(_) => Self::After(post),
        }
    }
}

/// A post that belongs on the page, with what is stored of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The post and its author.
    pub entry: Entry,
    /// What is shown of it.
    pub shown: Shown,
}

/// A page of posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The posts in the order of the walk: newest first before a post, oldest first after one.
    pub entries: Vec<Listed>,
    /// Where to go on, past all that was looked at; `None` only at the very end.
    pub next: Option<Walk>,
    /// Where the stored home ended when it was first looked at, if it was.
    pub mark: Option<PostId>,
}

impl Page {
    /// The ids alone.
    pub fn posts(&self) -> Vec<PostId> {
        self.entries.iter().map(|listed| listed.entry.post).collect()
    }
}

/// Which list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum List {
    /// What this person follows, and their own.
    Home(UserId),
    /// What this author wrote, with or without what is for followers only.
    Author { author: UserId, followers_only: bool },
}

/// Puts lists of posts together.
#[derive(Clone)]
pub struct Feed {
    cached: Cached,
    views: Arc<dyn Views>,
    timelines: Arc<dyn Timelines>,
    checkpoints: Arc<dyn Checkpoints>,
}

impl Feed {
    /// Over these stores.
    pub fn new(ports: &Ports) -> Self {
        let cached = Cached::of(ports);
        let Ports { views, timelines, checkpoints, .. } = ports.clone();
        Self { cached, views, timelines, checkpoints }
    }

    /// What its posts are read through.
    pub(crate) fn cached(&self) -> &Cached {
        &self.cached
    }

    /// A page of `viewer`'s home: at most `limit` posts.
    ///
    /// # Errors
    /// A store's.
    pub async fn home(&self, viewer: UserId, walk: Walk, limit: usize) -> Result<Page, StoreError> {
        self.page(List::Home(viewer), walk, limit).await
    }

    /// A page of what `author` wrote: at most `limit` posts, those for followers only if `followers_only`. Whether a
    /// block keeps the reader out altogether has been asked before.
    ///
    /// # Errors
    /// A store's.
    pub async fn author(
        &self,
        author: UserId,
        followers_only: bool,
        walk: Walk,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.page(List::Author { author, followers_only }, walk, limit).await
    }

    /// `viewer`'s home from its newest post to its end, as `verify` compares it. Unbounded: not for requests.
    ///
    /// # Errors
    /// A store's.
    pub async fn whole_home(&self, viewer: UserId) -> Result<Vec<PostId>, StoreError> {
        let mut posts = Vec::new();
        let mut walk = Some(Walk::NEWEST);
        while let Some(from) = walk {
            let page = self.home(viewer, from, AT_ONCE).await?;
            posts.extend(page.entries.iter().map(|listed| listed.entry.post));
            walk = page.next;
        }
        Ok(posts)
    }

    /// A page of any list, of at least one post if there is one.
    pub(crate) async fn page(&self, list: List, from: Walk, limit: usize) -> Result<Page, StoreError> {
        let limit = limit.max(1);
        let generation = self.checkpoints.serving(TIMELINES).await?;
        let mut entries = Vec::with_capacity(limit.min(AT_ONCE));
        let mut walk = from;
        let mut examined = 0;
        // A few more than the page takes: they cost little, spare a second round where something drops out, and tell
        // whether anything follows.
        let mut at_once = (limit + limit / 4 + 2).min(AT_ONCE);
        // Whether the stored home's mark is passed: it only rises (T2), so what is stored is of no use from there on.
        let mut pulling = false;
        let mut mark = None;
        loop {
            let candidates = match list {
                List::Home(viewer) => {
                    let found = self.home_candidates(generation, viewer, walk, &mut pulling, at_once).await?;
                    self.still_followed(generation, viewer, found).await?
                }
                List::Author { author, .. } => {
                    let posts = self.timelines.authors(generation, &[author], walk.span(), at_once).await?;
                    Candidates::new(posts, at_once)
                }
            };
            mark = mark.or(candidates.mark);
            examined += candidates.examined;
            let mut taken = 0;
            while taken < candidates.entries.len() && entries.len() < limit {
                // First just what the page lacks; if some of that drops out, the rest: two calls, not one for each.
                let until = if taken == 0 { limit - entries.len() } else { candidates.entries.len() };
                let chunk = &candidates.entries[taken..until.min(candidates.entries.len())];
                let posts: Vec<PostId> = chunk.iter().map(|entry| entry.post).collect();
                for (entry, shown) in chunk.iter().zip(self.cached.shown(&posts).await?) {
                    if entries.len() == limit {
                        break;
                    }
                    taken += 1;
                    walk = walk.past(entry.post);
                    entries.extend(readable(list, *entry, shown));
                }
            }
            if taken < candidates.entries.len() {
                return Ok(Page { entries, next: Some(walk), mark });
            }
            // All of the chunk is used up, so go past those too that its filter took out.
            let Some(last) = candidates.last else { return Ok(Page { entries, next: None, mark }) };
            walk = walk.past(last);
            if candidates.at_end {
                return Ok(Page { entries, next: None, mark });
            }
            if entries.len() == limit || examined >= EXAMINED {
                return Ok(Page { entries, next: Some(walk), mark });
            }
            at_once = (at_once * 2).min(AT_ONCE);
        }
    }
}

/// What may belong on the page, in the order of the walk.
#[derive(Debug)]
struct Candidates {
    entries: Vec<Entry>,
    /// How many there were before any was taken out.
    examined: usize,
    /// The furthest, even if it was taken out.
    last: Option<PostId>,
    /// Whether nothing follows.
    at_end: bool,
    /// The mark of the home that they were read from.
    mark: Option<PostId>,
}

impl Candidates {
    /// Of an answer to a call for at most `limit`.
    fn new(entries: Vec<Entry>, limit: usize) -> Self {
        let examined = entries.len();
        Self { last: entries.last().map(|entry| entry.post), at_end: examined < limit, entries, examined, mark: None }
    }

    fn with_mark(self, mark: PostId) -> Self {
        Self { mark: Some(mark), ..self }
    }
}

/// A candidate with what is shown of it, if anything is (R1) and the list's reader may see it (R3).
fn readable(list: List, entry: Entry, shown: Option<Shown>) -> Option<Listed> {
    let shown = shown?;
    match list {
        // Whose posts stand in a home is followed, so they may see what is for followers.
        List::Home(_) | List::Author { followers_only: true, .. } => {}
        List::Author { followers_only: false, .. } => {
            if shown.visibility() != Visibility::Public {
                return None;
            }
        }
    }
    Some(Listed { entry, shown })
}
