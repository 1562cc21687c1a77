//! What is cached: previews and counts of posts, and their newest comments.

use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::cache::{Cache, Comments, Key, ListKey, Lookup, Shown, Space, Token, Value, load_previews};
use adapters::checkpoints::{Checkpoints, Generation};
use adapters::content::Content;
use adapters::event_log::EventLog;
use adapters::views::{CommentRow, Counts, Views};
use async_trait::async_trait;
use domain::PostId;

use super::{Reader, Shelf};
use crate::Ports;

/// What of posts is read through the cache.
#[derive(Clone)]
pub(crate) struct Cached {
    values: Arc<Reader<Values>>,
    lists: Arc<Reader<Lists>>,
    checkpoints: Arc<dyn Checkpoints>,
    event_log: Arc<dyn EventLog>,
    views: Arc<dyn Views>,
    kept: usize,
}

/// The newest comments of a post.
pub(crate) struct NewestComments {
    /// Newest first by id.
    pub(crate) rows: Vec<CommentRow>,
    /// Everything up to this position is in them, or older than they are.
    pub(crate) position: i64,
    /// Whether there are no others.
    pub(crate) are_all: bool,
}

impl Cached {
    pub(crate) fn of(ports: &Ports) -> Self {
        let Ports { content, event_log, views, checkpoints, cache, .. } = ports.clone();
        let kept = cache.limits().kept;
        Self {
            values: Reader::new(Values { cache: cache.clone(), content, views: views.clone() }),
            lists: Reader::new(Lists { cache, views: views.clone() }),
            checkpoints,
            event_log,
            views,
            kept,
        }
    }

    /// Asked for before each read: whoever has seen a checkpoint sees the epochs that were raised before it (W7).
    fn space(&self) -> Space {
        Space { log: self.event_log.id(), epoch: self.checkpoints.progress().borrow().epochs.cache }
    }

    /// What lists show of posts, in their order, if there is anything to show (R1).
    pub(crate) async fn shown(&self, posts: &[PostId]) -> Result<Vec<Option<Shown>>, StoreError> {
        let keys: Vec<Key> = posts.iter().copied().map(Key::Preview).collect();
        let values = self.values.read(self.space(), &keys).await?;
        Ok(values.iter().map(Shown::of).collect())
    }

    /// The counts of posts, in their order.
    pub(crate) async fn counts(&self, generation: Generation, posts: &[PostId]) -> Result<Vec<Counts>, StoreError> {
        let keys: Vec<Key> = posts.iter().map(|post| Key::Counts(generation, *post)).collect();
        let values = self.values.read(self.space(), &keys).await?;
        Ok(values.iter().map(readable).collect())
    }

    /// A post's newest comments.
    pub(crate) async fn comments(&self, generation: Generation, post: PostId) -> Result<NewestComments, StoreError> {
        let list = self.lists.read(self.space(), &[ListKey(generation, post)]).await?.pop().unwrap_or_default();
        let are_all = list.items.len() < self.kept;
        let rows: Result<Vec<CommentRow>, StoreError> = list.items.iter().map(|item| item.row(post)).collect();
        match rows {
            Ok(rows) => Ok(NewestComments { rows, position: list.version, are_all }),
            Err(error) => {
                // Of another version of this program, perhaps.
                tracing::warn!(%post, %error, "a list of comments is read past the cache");
                let (rows, position) = newest(self.views.as_ref(), generation, post, self.kept).await?;
                Ok(NewestComments { are_all: rows.len() < self.kept, rows, position })
            }
        }
    }
}

/// Numbers that cannot be read must not take a page along (R1).
fn readable(value: &Value) -> Counts {
    Counts::try_from(value).unwrap_or_else(|error| {
        tracing::error!(%error, "damaged counts are shown as none");
        Counts::default()
    })
}

/// Single values of posts.
struct Values {
    cache: Arc<dyn Cache>,
    content: Arc<dyn Content>,
    views: Arc<dyn Views>,
}

#[async_trait]
impl Shelf for Values {
    type Key = Key;
    type Found = Value;

    async fn get(&self, space: Space, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        self.cache.values(space, keys).await
    }

    async fn look_up(&self, space: Space, keys: &[Key]) -> Result<Vec<Lookup<Value>>, StoreError> {
        self.cache.look_up(space, keys).await
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Value>, StoreError> {
        let (mut posts, mut counted, mut generations) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match key {
                Key::Preview(post) => posts.push(*post),
                Key::Counts(generation, post) => {
                    counted.push(*post);
                    generations.push(*generation);
                }
            }
        }
        // One page is of one generation.
        let generation = generations.first().copied().unwrap_or(Generation::FIRST);
        let previews = async {
            if posts.is_empty() { Ok(Vec::new()) } else { load_previews(self.content.as_ref(), &posts).await }
        };
        let counts =
            async { if counted.is_empty() { Ok(Vec::new()) } else { self.views.counts(generation, &counted).await } };
        let (previews, counts) = futures::try_join!(previews, counts)?;
        let (mut previews, mut counts) = (previews.into_iter(), counts.into_iter().map(Value::from));
        let value = |key: &Key| match key {
            Key::Preview(_) => previews.next(),
            Key::Counts(..) => counts.next(),
        };
        Ok(keys.iter().filter_map(value).collect())
    }

    async fn fill(&self, space: Space, fills: Vec<(Key, Token, Value)>) -> Result<(), StoreError> {
        self.cache.fill(space, fills).await.map(drop)
    }

    fn lease(&self) -> Duration {
        self.cache.limits().lease
    }
}

/// Lists of comments.
struct Lists {
    cache: Arc<dyn Cache>,
    views: Arc<dyn Views>,
}

#[async_trait]
impl Shelf for Lists {
    type Key = ListKey;
    type Found = Comments;

    async fn get(&self, space: Space, keys: &[ListKey]) -> Result<Vec<Option<Comments>>, StoreError> {
        futures::future::try_join_all(keys.iter().map(|key| self.cache.comments(space, *key))).await
    }

    async fn look_up(&self, space: Space, keys: &[ListKey]) -> Result<Vec<Lookup<Comments>>, StoreError> {
        futures::future::try_join_all(keys.iter().map(|key| self.cache.look_up_comments(space, *key))).await
    }

    async fn load(&self, keys: &[ListKey]) -> Result<Vec<Comments>, StoreError> {
        let kept = self.cache.limits().kept;
        let lists = keys.iter().map(|ListKey(generation, post)| async move {
            let (rows, position) = newest(self.views.as_ref(), *generation, *post, kept).await?;
            Ok(Comments::of(position, &rows))
        });
        futures::future::try_join_all(lists).await
    }

    async fn fill(&self, space: Space, fills: Vec<(ListKey, Token, Comments)>) -> Result<(), StoreError> {
        for (key, token, list) in fills {
            self.cache.fill_comments(space, key, token, list).await?;
        }
        Ok(())
    }

    fn lease(&self) -> Duration {
        self.cache.limits().lease
    }
}

/// The newest comments and the position that they are as of, which is read before them.
async fn newest(
    views: &dyn Views,
    generation: Generation,
    post: PostId,
    kept: usize,
) -> Result<(Vec<CommentRow>, i64), StoreError> {
    let position = views.post_row(generation, post).await?.listed;
    Ok((views.comments(generation, post, None, kept).await?, position))
}
