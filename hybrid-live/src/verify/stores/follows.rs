//! Who follows whom since when, ended follows as tombstones: what both lists are read from.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::{FollowRow, Views};
use domain::{Timestamp, UserId};

use super::{PAGE, user_below};
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Follows {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
}

impl Rows for Follows {
    type Key = (UserId, UserId);
    type Row = FollowRow;
    const NAME: &'static str = "follows";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<Self::Key> {
        model.reference.follows().map(|follow| (follow.from, follow.to)).collect()
    }

    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, FollowRow)>, StoreError> {
        let rows = self.views.scan_follows(self.generation, after, PAGE).await?;
        Ok(rows.into_iter().map(|row| ((row.from, row.to), row)).collect())
    }

    async fn find(&self, _: &Model, (from, to): Self::Key) -> Result<Option<FollowRow>, StoreError> {
        let after = user_below(to).map(|below| (from, below));
        let rows = self.views.scan_follows(self.generation, after, 1).await?;
        Ok(rows.into_iter().find(|row| row.from == from && row.to == to))
    }

    fn difference(&self, model: &Model, (from, to): Self::Key, row: Option<&FollowRow>) -> Option<Difference> {
        let expected = model.reference.follow(from, to);
        let expected = expected.map(|answer| describe(answer.following, answer.sequence, answer.since));
        Difference::between(expected, row.map(|row| describe(row.following, row.sequence, row.since)))
    }

    fn show((from, to): Self::Key) -> String {
        format!("from {from} to {to}")
    }
}

fn describe(following: bool, sequence: u64, since: Timestamp) -> String {
    format!("following {following}, sequence {sequence}, since {since}")
}
