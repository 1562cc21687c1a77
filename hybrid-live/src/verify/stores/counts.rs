//! What is counted about each post, and how far. C1: the counts equal the rows, and both the log.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::{PostRow, Views};
use domain::PostId;
use domain::post::Post;
use domain::stream::BEFORE_FIRST;

use super::{PAGE, post_below};
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Counts {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
}

impl Rows for Counts {
    type Key = PostId;
    type Row = PostRow;
    const NAME: &'static str = "counts";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<PostId> {
        // A comment or a like may come before its post, or after its deletion.
        let mut posts: Vec<PostId> = model.newest.keys().copied().collect();
        posts.sort_unstable();
        posts
    }

    async fn page(&self, after: Option<PostId>) -> Result<Vec<(PostId, PostRow)>, StoreError> {
        self.views.scan_posts(self.generation, after, PAGE).await
    }

    async fn find(&self, _: &Model, post: PostId) -> Result<Option<PostRow>, StoreError> {
        let rows = self.views.scan_posts(self.generation, post_below(post), 1).await?;
        Ok(rows.into_iter().find(|(found, _)| *found == post).map(|(_, row)| row))
    }

    fn difference(&self, model: &Model, post: PostId, row: Option<&PostRow>) -> Option<Difference> {
        Difference::between(expected_row(model, post).as_ref().map(describe), row.map(describe))
    }

    fn show(post: PostId) -> String {
        format!("post {post}")
    }
}

fn expected_row(model: &Model, post: PostId) -> Option<PostRow> {
    let reference = &model.reference;
    let answer = reference.post(post);
    let position = *model.newest.get(&post)?;
    Some(PostRow {
        likes: reference.likes(post).len() as u64,
        comments: reference.comments(post).len() as u64,
        position,
        listed: position,
        sequence: answer.map_or(0, |answer| answer.sequence),
        changed: answer.map_or(BEFORE_FIRST, |answer| answer.changed),
        deleted: answer.is_some_and(|answer| matches!(answer.state, Post::Deleted { .. })),
    })
}

fn describe(row: &PostRow) -> String {
    let PostRow { likes, comments, position, listed, sequence, changed, deleted } = row;
    format!(
        "{likes} likes, {comments} comments, position {position}, listed {listed}, sequence {sequence}, changed {changed}, \
         deleted {deleted}"
    )
}
