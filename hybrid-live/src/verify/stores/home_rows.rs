//! The rows of stored homes. Which of them must be there depends on marks and hot authors and is judged by the whole
//! homes; here is asked whether each row is one that some event can have put there.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::timelines::{Entry, Timelines};
use domain::stream::BEFORE_FIRST;
use domain::{PostId, UserId};

use super::{PAGE, post_below};
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct HomeRows {
    pub(super) timelines: Arc<dyn Timelines>,
    pub(super) generation: Generation,
}

impl Rows for HomeRows {
    type Key = (UserId, PostId);
    type Row = Entry;
    const NAME: &'static str = "home rows";
    const SCANNED: bool = true;

    fn expected(&self, _: &Model) -> Vec<Self::Key> {
        Vec::new()
    }

    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, Entry)>, StoreError> {
        let rows = self.timelines.scan_homes(self.generation, after, PAGE).await?;
        Ok(rows.into_iter().map(|(owner, entry)| ((owner, entry.post), entry)).collect())
    }

    async fn find(&self, _: &Model, (owner, post): Self::Key) -> Result<Option<Entry>, StoreError> {
        let after = post_below(post).map(|below| (owner, below));
        let rows = self.timelines.scan_homes(self.generation, after, 1).await?;
        Ok(rows.into_iter().find(|(found, entry)| *found == owner && entry.post == post).map(|(_, entry)| entry))
    }

    fn difference(&self, model: &Model, (owner, post): Self::Key, row: Option<&Entry>) -> Option<Difference> {
        // Trimmed meanwhile.
        let row = row?;
        let answer = model.reference.post(post);
        let author = answer.and_then(|answer| answer.state.author());
        let (Some(answer), Some(author)) = (answer, author) else {
            return Some(Difference::new(
                "no row of a post that nobody published",
                describe(row.author, row.partition, row.offset),
            ));
        };
        if author != owner && !model.ever.contains(&(owner, author)) {
            let expected = "no row of an author whom its owner never followed";
            return Some(Difference::new(expected, describe(row.author, row.partition, row.offset)));
        }
        let offset = if model.imported.contains(&post) { BEFORE_FIRST } else { answer.created };
        let expected = describe(author, model.partition_of_post(post), offset);
        Difference::between(Some(expected), Some(describe(row.author, row.partition, row.offset)))
    }

    fn show((owner, post): Self::Key) -> String {
        format!("home of {owner}, post {post}")
    }
}

fn describe(author: UserId, partition: u16, offset: i64) -> String {
    format!("author {author}, partition {partition}, offset {offset}")
}
