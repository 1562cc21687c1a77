//! Keeping the cache up to date with a batch, or owning up that it could not be told.
//!
//! K2: the masters are written before this, and the checkpoint moves after it, so that a cached value is never older than
//! the checkpoint says. It is done again on redelivery, which changes nothing. A cache that cannot be reached is not waited
//! for: its epoch is raised, so that nobody reads what it holds any more.
//!
//! Which epoch the cache is told under is asked of the store after the masters were written. Whoever reads under a later one
//! loads after that, and so finds in the masters what the cache is told here.

use std::sync::Arc;
use std::time::Duration;

use adapters::StoreError;
use adapters::cache::{Cache, Item, Key, ListKey, Lookup, Space, Value, load_previews};
use adapters::checkpoints::{Checkpoints, Epoch, Generation};
use adapters::content::Content;
use adapters::views::Counts;
use domain::{LogId, PostId};

use crate::giving_up::GivingUp;

/// How often a post is loaded that is older than its event, and how long is waited in between: longer, in all, than any
/// reader of a file may be behind.
const LOADS: usize = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// Who keeps it.
pub(crate) struct CacheKeeper {
    cache: Arc<dyn Cache>,
    content: Arc<dyn Content>,
    checkpoints: Arc<dyn Checkpoints>,
    giving_up: GivingUp,
}

/// What a batch has changed of what may be cached.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Posts that were published, edited or deleted, and the sequence of the newest such event.
    pub(crate) posts: Vec<(PostId, u64)>,
    /// Counts as they are in the views now.
    pub(crate) counts: Vec<(PostId, Counts)>,
    /// Comments that were added, in order of their positions, of posts that are not in `dropped`.
    pub(crate) added: Vec<(PostId, Vec<Item>)>,
    /// Posts of which a comment was edited or deleted.
    pub(crate) dropped: Vec<PostId>,
}

impl CacheKeeper {
    pub(crate) fn new(cache: Arc<dyn Cache>, content: Arc<dyn Content>, checkpoints: Arc<dyn Checkpoints>) -> Self {
        let giving_up = GivingUp::new(Arc::clone(&checkpoints), Epoch::Cache);
        Self { cache, content, checkpoints, giving_up }
    }

    /// Tells the cache of a batch that is in the masters.
    ///
    /// # Errors
    /// The masters', and that the epoch cannot be raised.
    pub(crate) async fn tell(&self, log: LogId, generation: Generation, changes: Changes) -> Result<(), StoreError> {
        let space = Space { log, epoch: self.checkpoints.epochs().await?.cache };
        match self.try_tell(space, generation, changes).await {
            Ok(()) => self.giving_up.settle(None).await,
            Err(Trouble::Master(error)) => Err(error),
            Err(Trouble::Cache(error)) => self.giving_up.settle(Some(error)).await,
        }
    }

    async fn try_tell(&self, space: Space, generation: Generation, changes: Changes) -> Result<(), Trouble> {
        let Changes { posts, counts, added, dropped } = changes;
        let counts = counts.into_iter().map(|(post, counts)| (Key::Counts(generation, post), Value::from(counts)));
        let list = |post| ListKey(generation, post);
        let counts = self.cache.update(space, counts.collect());
        let added = added.into_iter().map(|(post, items)| (list(post), items)).collect();
        let added = self.cache.add_comments(space, added);
        let dropped = self.cache.drop_comments(space, dropped.into_iter().map(list).collect());
        let lists = async { futures::try_join!(counts, added, dropped).map_err(Trouble::Cache) };
        futures::try_join!(self.tell_posts(space, posts), lists)?;
        Ok(())
    }

    /// New posts are in the cache before anybody asks for them. They get there as everything does, under a lease: whoever
    /// sleeps between reading and telling fills nothing.
    async fn tell_posts(&self, space: Space, posts: Vec<(PostId, u64)>) -> Result<(), Trouble> {
        if posts.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = posts.iter().map(|(post, _)| Key::Preview(*post)).collect();
        let looked_up = self.cache.look_up(space, &keys).await.map_err(Trouble::Cache)?;
        let values = self.load(&posts).await.map_err(Trouble::Master)?;
        let (mut fills, mut updates) = (Vec::new(), Vec::new());
        for ((key, looked_up), value) in keys.into_iter().zip(looked_up).zip(values) {
            let Some(value) = value else { continue };
            match looked_up {
                Lookup::Granted(token) => fills.push((key, token, value)),
                Lookup::Found(_) | Lookup::Taken => updates.push((key, value)),
            }
        }
        if !fills.is_empty() {
            self.cache.fill(space, fills).await.map_err(Trouble::Cache)?;
        }
        if !updates.is_empty() {
            self.cache.update(space, updates).await.map_err(Trouble::Cache)?;
        }
        Ok(())
    }

    /// What the master has of posts, as of these sequences at least; nothing for those that are damaged there.
    ///
    /// Where another process writes the same file, a reader may see it as it was a moment before, and lack what the log
    /// says already. That must not be told as the newest.
    async fn load(&self, posts: &[(PostId, u64)]) -> Result<Vec<Option<Value>>, StoreError> {
        let mut values = vec![None; posts.len()];
        for attempt in 0..LOADS {
            let behind: Vec<usize> = (0..posts.len()).filter(|place| values[*place].is_none()).collect();
            if behind.is_empty() {
                break;
            }
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let ids: Vec<PostId> = behind.iter().map(|place| posts[*place].0).collect();
            let loaded = load_previews(self.content.as_ref(), &ids).await?;
            for (place, value) in behind.into_iter().zip(loaded) {
                let is_new_enough = u64::try_from(value.version).is_ok_and(|version| version >= posts[place].1);
                values[place] = is_new_enough.then_some(value);
            }
        }
        Ok(values)
    }
}

enum Trouble {
    /// It is waited for.
    Master(StoreError),
    /// It is given up.
    Cache(StoreError),
}
