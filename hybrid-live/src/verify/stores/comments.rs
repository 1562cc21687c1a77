//! Comments by post, deleted ones as tombstones.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::{CommentRow, Views};
use domain::reference::CommentAnswer;
use domain::{CommentId, PostId};

use super::{PAGE, below};
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Comments {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
}

impl Rows for Comments {
    type Key = (PostId, CommentId);
    type Row = CommentRow;
    const NAME: &'static str = "comments";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<Self::Key> {
        let mut keys: Vec<Self::Key> =
            model.reference.all_comments().map(|comment| (comment.post, comment.comment)).collect();
        keys.sort_unstable();
        keys
    }

    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, CommentRow)>, StoreError> {
        let rows = self.views.scan_comments(self.generation, after, PAGE).await?;
        Ok(rows.into_iter().map(|row| ((row.post, row.comment), row)).collect())
    }

    async fn find(&self, _: &Model, (post, comment): Self::Key) -> Result<Option<CommentRow>, StoreError> {
        let after = below(comment.as_bytes()).map(|below| (post, CommentId::from_bytes(below)));
        let rows = self.views.scan_comments(self.generation, after, 1).await?;
        Ok(rows.into_iter().find(|row| row.post == post && row.comment == comment))
    }

    fn difference(&self, model: &Model, (post, comment): Self::Key, row: Option<&CommentRow>) -> Option<Difference> {
        let answer = model.reference.comment(comment).filter(|answer| answer.post == post);
        Difference::between(answer.map(|answer| describe_answer(&answer)), row.map(describe_row))
    }

    fn show((post, comment): Self::Key) -> String {
        format!("post {post}, comment {comment}")
    }
}

/// Of a deleted comment, what it said, answered and when it was edited is nobody's business any more.
fn describe_answer(answer: &CommentAnswer<'_>) -> String {
    let CommentAnswer { author, sequence, created, position, .. } = answer;
    let places = format!("author {author}, sequence {sequence}, created {created}, position {position}");
    match answer.text {
        None => format!("deleted, {places}"),
        Some(text) => format!("{places}, parent {:?}, edited {:?}, text {text:?}", answer.parent, answer.edited_at),
    }
}

fn describe_row(row: &CommentRow) -> String {
    let CommentRow { author, sequence, created, position, .. } = row;
    let places = format!("author {author}, sequence {sequence}, created {created}, position {position}");
    match &row.text {
        None => format!("deleted, {places}"),
        Some(text) => format!("{places}, parent {:?}, edited {:?}, text {text:?}", row.parent, row.edited_at),
    }
}
