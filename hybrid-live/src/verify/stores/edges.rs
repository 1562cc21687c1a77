//! What people do about each other: every direction in which anything ever happened. T3.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::{Edge, Views};
use domain::UserId;
use domain::relation::Direction;

use super::{PAGE, user_below};
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Edges {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
}

impl Rows for Edges {
    type Key = (UserId, UserId);
    type Row = Edge;
    const NAME: &'static str = "edges";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<Self::Key> {
        model.reference.edges().map(|edge| (edge.from, edge.to)).collect()
    }

    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, Edge)>, StoreError> {
        let rows = self.views.scan_edges(self.generation, after, PAGE).await?;
        Ok(rows.into_iter().map(|edge| ((edge.from, edge.to), edge)).collect())
    }

    async fn find(&self, _: &Model, (from, to): Self::Key) -> Result<Option<Edge>, StoreError> {
        let after = user_below(to).map(|below| (from, below));
        let rows = self.views.scan_edges(self.generation, after, 1).await?;
        Ok(rows.into_iter().find(|edge| edge.from == from && edge.to == to))
    }

    fn difference(&self, model: &Model, (from, to): Self::Key, row: Option<&Edge>) -> Option<Difference> {
        let expected = model.reference.edge_answer(from, to).map(|answer| describe(answer.direction, answer.sequence));
        Difference::between(
            expected,
            row.map(|edge| {
                let Edge { following, blocking, muting, .. } = *edge;
                describe(Direction { following, blocking, muting }, edge.sequence)
            }),
        )
    }

    fn show((from, to): Self::Key) -> String {
        format!("from {from} to {to}")
    }
}

fn describe(direction: Direction, sequence: u64) -> String {
    let Direction { following, blocking, muting } = direction;
    format!("following {following}, blocking {blocking}, muting {muting}, sequence {sequence}")
}
