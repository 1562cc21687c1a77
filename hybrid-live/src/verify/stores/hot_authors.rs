//! The flags of authors whose posts readers merge. T4 itself is judged by the homes, which miss posts where a flag
//! does; here is asked whether an author can ever have had that many followers.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::Views;
use domain::UserId;

use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Flags {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
    /// Followers above which an author is flagged.
    pub(super) threshold: usize,
}

impl Rows for Flags {
    type Key = UserId;
    type Row = ();
    const NAME: &'static str = "hot authors";
    const SCANNED: bool = false;

    fn expected(&self, model: &Model) -> Vec<UserId> {
        model.reference.users().collect()
    }

    async fn page(&self, _: Option<UserId>) -> Result<Vec<(UserId, ())>, StoreError> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &Model, author: UserId) -> Result<Option<()>, StoreError> {
        let hot = self.views.hot(self.generation, &[author]).await?;
        Ok((!hot.is_empty()).then_some(()))
    }

    fn difference(&self, model: &Model, author: UserId, row: Option<&()>) -> Option<Difference> {
        row?;
        let followers = model.ever_followed.get(&author).copied().unwrap_or(0);
        (followers <= self.threshold).then(|| {
            let expected = format!("no flag at {followers} followers ever and a threshold of {}", self.threshold);
            Difference::new(expected, "a flag")
        })
    }

    fn show(author: UserId) -> String {
        format!("author {author}")
    }
}
