//! All that each author published, deleted posts as tombstones.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::timelines::{AuthorEntry, Timelines};
use domain::post::Post;
use domain::reference::PostAnswer;
use domain::{PostId, UserId};

use super::{PAGE, post_below};
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct AuthorPosts {
    pub(super) timelines: Arc<dyn Timelines>,
    pub(super) generation: Generation,
}

impl Rows for AuthorPosts {
    type Key = (UserId, PostId);
    type Row = AuthorEntry;
    const NAME: &'static str = "author timelines";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<Self::Key> {
        let posts = model.reference.posts();
        let mut keys: Vec<Self::Key> =
            posts.filter_map(|answer| answer.state.author().map(|author| (author, answer.post))).collect();
        keys.sort_unstable();
        keys
    }

    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, AuthorEntry)>, StoreError> {
        let rows = self.timelines.scan_authors(self.generation, after, PAGE).await?;
        Ok(rows.into_iter().map(|row| ((row.author, row.post), row)).collect())
    }

    async fn find(&self, _: &Model, (author, post): Self::Key) -> Result<Option<AuthorEntry>, StoreError> {
        let after = post_below(post).map(|below| (author, below));
        let rows = self.timelines.scan_authors(self.generation, after, 1).await?;
        Ok(rows.into_iter().find(|row| row.author == author && row.post == post))
    }

    fn difference(&self, model: &Model, (author, post): Self::Key, row: Option<&AuthorEntry>) -> Option<Difference> {
        let answer = model.reference.post(post).filter(|answer| answer.state.author() == Some(author));
        let expected = answer.map(|answer| {
            let (deleted, sequence, offset) = newest_listed(&answer);
            let imported = !deleted && model.imported.contains(&post);
            describe(deleted, imported, sequence, model.partition_of_post(post), offset)
        });
        let found = row.map(|row| describe(row.deleted, row.imported, row.sequence, row.partition, row.offset));
        Difference::between(expected, found)
    }

    fn show((author, post): Self::Key) -> String {
        format!("author {author}, post {post}")
    }
}

/// The newest event that an author's timeline takes notice of: publication or deletion, never an edit.
fn newest_listed(answer: &PostAnswer<'_>) -> (bool, u64, i64) {
    match answer.state {
        Post::Deleted { .. } => (true, answer.sequence, answer.changed),
        Post::Absent | Post::Published { .. } => (false, 1, answer.created),
    }
}

fn describe(deleted: bool, imported: bool, sequence: u64, partition: u16, offset: i64) -> String {
    let what = match (deleted, imported) {
        (true, _) => "deleted",
        (false, true) => "imported",
        (false, false) => "published",
    };
    format!("{what}, sequence {sequence}, partition {partition}, offset {offset}")
}
