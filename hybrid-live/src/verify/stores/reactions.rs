//! Who likes what, withdrawn likes as tombstones.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::{ReactionRow, Views};
use domain::{PostId, UserId};

use super::{PAGE, user_below};
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Reactions {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
}

impl Rows for Reactions {
    type Key = (PostId, UserId);
    type Row = ReactionRow;
    const NAME: &'static str = "reactions";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<Self::Key> {
        model.reference.reactions().map(|reaction| (reaction.post, reaction.user)).collect()
    }

    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, ReactionRow)>, StoreError> {
        let rows = self.views.scan_reactions(self.generation, after, PAGE).await?;
        Ok(rows.into_iter().map(|row| ((row.post, row.user), row)).collect())
    }

    async fn find(&self, _: &Model, (post, user): Self::Key) -> Result<Option<ReactionRow>, StoreError> {
        let after = user_below(user).map(|below| (post, below));
        let rows = self.views.scan_reactions(self.generation, after, 1).await?;
        Ok(rows.into_iter().find(|row| row.post == post && row.user == user))
    }

    fn difference(&self, model: &Model, (post, user): Self::Key, row: Option<&ReactionRow>) -> Option<Difference> {
        let expected = model.reference.reaction(post, user);
        let expected = expected.map(|answer| describe(answer.liked, answer.sequence, answer.position));
        Difference::between(expected, row.map(|row| describe(row.liked, row.sequence, row.position)))
    }

    fn show((post, user): Self::Key) -> String {
        format!("post {post}, user {user}")
    }
}

fn describe(liked: bool, sequence: u64, position: i64) -> String {
    format!("liked {liked}, sequence {sequence}, position {position}")
}
