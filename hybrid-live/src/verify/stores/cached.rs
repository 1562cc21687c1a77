//! What is cached of posts: whatever lives must be what its master has. K1, K2: everything that the projections have
//! passed was told before.

use std::sync::Arc;

use adapters::StoreError;
use adapters::cache::{self, Cache, Key, ListKey, Space, load_previews};
use adapters::checkpoints::{Checkpoints, Generation};
use adapters::content::Content;
use adapters::event_log::EventLog;
use adapters::stores::Stores;
use adapters::views::{Counts, Views};
use domain::PostId;

use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Cached {
    cache: Arc<dyn Cache>,
    content: Arc<dyn Content>,
    event_log: Arc<dyn EventLog>,
    views: Arc<dyn Views>,
    checkpoints: Arc<dyn Checkpoints>,
    generation: Generation,
}

/// What is cached, each with what the master has.
pub(super) struct Row {
    counts: Option<Counts>,
    preview: Option<[cache::Value; 2]>,
    comments: Option<[cache::Comments; 2]>,
}

impl Cached {
    pub(super) fn new(stores: &Stores, generation: Generation) -> Self {
        let Stores { content, event_log, views, checkpoints, cache, .. } = stores.clone();
        Self { cache, content, event_log, views, checkpoints, generation }
    }

    async fn read(&self, post: PostId) -> Result<Row, StoreError> {
        let space = Space { log: self.event_log.id(), epoch: self.checkpoints.epochs().await?.cache };
        let keys = [Key::Counts(self.generation, post), Key::Preview(post)];
        let mut values = self.cache.values(space, &keys).await?.into_iter();
        let (counts, preview) = (values.next().flatten(), values.next().flatten());
        let comments = self.cache.comments(space, ListKey(self.generation, post)).await?;
        Ok(Row {
            counts: counts.as_ref().map(Counts::try_from).transpose()?,
            preview: match preview {
                Some(cached) => load_previews(self.content.as_ref(), &[post]).await?.pop().map(|own| [cached, own]),
                None => None,
            },
            comments: match comments {
                Some(cached) => {
                    let position = self.views.post_row(self.generation, post).await?.listed;
                    let kept = self.cache.limits().kept;
                    let rows = self.views.comments(self.generation, post, None, kept).await?;
                    Some([cached, cache::Comments::of(position, &rows)])
                }
                None => None,
            },
        })
    }
}

impl Rows for Cached {
    type Key = PostId;
    type Row = Row;
    const NAME: &'static str = "cached posts";
    const SCANNED: bool = false;

    fn expected(&self, model: &Model) -> Vec<PostId> {
        let mut posts: Vec<PostId> = model.newest.keys().copied().collect();
        posts.sort_unstable();
        posts
    }

    async fn page(&self, _: Option<PostId>) -> Result<Vec<(PostId, Row)>, StoreError> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &Model, post: PostId) -> Result<Option<Row>, StoreError> {
        match self.read(post).await {
            Ok(row) => Ok(Some(row)),
            // Without a cache nothing is cached.
            Err(StoreError::Unavailable(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn difference(&self, model: &Model, post: PostId, row: Option<&Row>) -> Option<Difference> {
        let Row { counts, preview, comments } = row?;
        if let (Some(cached), Some(position)) = (counts, model.newest.get(&post)) {
            let reference = &model.reference;
            let (likes, comments) = (reference.likes(post).len() as u64, reference.comments(post).len() as u64);
            let expected = Counts { likes, comments, position: *position };
            if *cached != expected {
                return Some(Difference::new(format!("{expected:?}"), format!("{cached:?}")));
            }
        }
        if let Some([cached, own]) = preview
            && cached != own
        {
            return Some(Difference::new(describe(own), describe(cached)));
        }
        if let Some([cached, own]) = comments
            && (cached.items != own.items || cached.version > own.version)
        {
            return Some(Difference::new(describe_list(own), describe_list(cached)));
        }
        None
    }

    fn show(post: PostId) -> String {
        format!("post {post}")
    }
}

fn describe(value: &cache::Value) -> String {
    format!("a preview of version {}: {}", value.version, String::from_utf8_lossy(&value.bytes))
}

fn describe_list(list: &cache::Comments) -> String {
    let comments: Vec<String> =
        list.items.iter().map(|item| format!("{} of position {}", item.comment, item.position)).collect();
    format!("comments as of {}: {}", list.version, comments.join(", "))
}
