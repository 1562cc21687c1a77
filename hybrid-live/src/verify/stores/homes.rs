//! Homes as their owners read them, to the end. T1.

use std::collections::BTreeSet;
use std::sync::Arc;

use adapters::StoreError;
use adapters::cache::NoCache;
use adapters::stores::Stores;
use domain::{PostId, UserId};
use query_api::Ports;
use query_api::feed::Feed;

use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Homes(Feed);

impl Homes {
    pub(super) fn new(stores: &Stores) -> Self {
        let Stores { content, event_log, views, timelines, checkpoints, live, .. } = stores.clone();
        // What is cached is compared on its own.
        let cache = Arc::new(NoCache);
        Self(Feed::new(&Ports { content, event_log, views, timelines, checkpoints, cache, live }))
    }
}

impl Rows for Homes {
    type Key = UserId;
    type Row = Vec<PostId>;
    const NAME: &'static str = "homes";
    const SCANNED: bool = false;

    fn expected(&self, model: &Model) -> Vec<UserId> {
        model.reference.users().collect()
    }

    async fn page(&self, _: Option<UserId>) -> Result<Vec<(UserId, Vec<PostId>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &Model, owner: UserId) -> Result<Option<Vec<PostId>>, StoreError> {
        self.0.whole_home(owner).await.map(Some)
    }

    fn difference(&self, model: &Model, owner: UserId, row: Option<&Vec<PostId>>) -> Option<Difference> {
        let expected = model.reference.home(owner);
        let nothing = Vec::new();
        let found = row.unwrap_or(&nothing);
        if expected == *found {
            return None;
        }
        let wanted: BTreeSet<&PostId> = expected.iter().collect();
        let there: BTreeSet<&PostId> = found.iter().collect();
        let missing = wanted.difference(&there).next();
        let surplus = there.difference(&wanted).next();
        let what = match (missing, surplus) {
            (Some(missing), _) => format!("{} posts, among them not {missing}", found.len()),
            (None, Some(surplus)) => format!("{} posts, among them {surplus}", found.len()),
            (None, None) => format!("{} posts in another order, or some twice", found.len()),
        };
        Some(Difference::new(format!("{} posts", expected.len()), what))
    }

    fn show(owner: UserId) -> String {
        format!("home of {owner}")
    }
}
