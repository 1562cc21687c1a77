//! No cache: for those who want none, and for whoever must see what the masters say.

use async_trait::async_trait;

use super::{Cache, Comments, Item, Key, Limits, ListKey, Lookup, Space, Token, Value};
use crate::StoreError;

/// The adapter. Readers are told that there is none, and go to the masters; there is nothing to be kept up to date.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

fn none<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("there is no cache".to_owned()))
}

#[async_trait]
impl Cache for NoCache {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    async fn values(&self, _: Space, _: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        none()
    }

    async fn look_up(&self, _: Space, _: &[Key]) -> Result<Vec<Lookup<Value>>, StoreError> {
        none()
    }

    async fn fill(&self, _: Space, _: Vec<(Key, Token, Value)>) -> Result<Vec<bool>, StoreError> {
        none()
    }

    async fn update(&self, _: Space, _: Vec<(Key, Value)>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn comments(&self, _: Space, _: ListKey) -> Result<Option<Comments>, StoreError> {
        none()
    }

    async fn look_up_comments(&self, _: Space, _: ListKey) -> Result<Lookup<Comments>, StoreError> {
        none()
    }

    async fn fill_comments(&self, _: Space, _: ListKey, _: Token, _: Comments) -> Result<bool, StoreError> {
        none()
    }

    async fn add_comments(&self, _: Space, _: Vec<(ListKey, Vec<Item>)>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn drop_comments(&self, _: Space, _: Vec<ListKey>) -> Result<(), StoreError> {
        Ok(())
    }
}
