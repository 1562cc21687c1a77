//! All that posts and comments that are there ever said.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::{VersionRow, Views};
use domain::{CommentId, PostId, StreamId, Timestamp};

use super::PAGE;
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Versions {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
}

/// What has versions, in the order in which the store has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Text {
    Comment(CommentId),
    Post(PostId),
}

impl Text {
    fn of(stream: StreamId) -> Option<Self> {
        match stream {
            StreamId::Comment(comment) => Some(Self::Comment(comment)),
            StreamId::Post(post) => Some(Self::Post(post)),
            StreamId::User(_) | StreamId::Relation(..) | StreamId::Reaction(..) => None,
        }
    }

    fn stream(self) -> StreamId {
        match self {
            Self::Comment(comment) => StreamId::Comment(comment),
            Self::Post(post) => StreamId::Post(post),
        }
    }
}

impl Rows for Versions {
    type Key = (Text, u64);
    type Row = VersionRow;
    const NAME: &'static str = "versions";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<Self::Key> {
        let texts = model.reference.all_versions().filter_map(|(stream, all)| Text::of(stream).zip(Some(all)));
        let mut keys: Vec<Self::Key> =
            texts.flat_map(|(text, all)| all.iter().map(move |version| (text, version.sequence))).collect();
        keys.sort_unstable();
        keys
    }

    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, VersionRow)>, StoreError> {
        let after = after.map(|(text, sequence)| (text.stream(), sequence));
        let rows = self.views.scan_versions(self.generation, after, PAGE).await?;
        let keyed = rows.into_iter().map(|row| match Text::of(row.stream) {
            Some(text) => Ok(((text, row.sequence), row)),
            None => Err(StoreError::Damaged(format!("{} has versions", row.stream))),
        });
        keyed.collect()
    }

    async fn find(&self, _: &Model, (text, sequence): Self::Key) -> Result<Option<VersionRow>, StoreError> {
        let after = Some((text.stream(), sequence.saturating_sub(1)));
        let rows = self.views.scan_versions(self.generation, after, 1).await?;
        Ok(rows.into_iter().find(|row| row.stream == text.stream() && row.sequence == sequence))
    }

    fn difference(&self, model: &Model, (text, sequence): Self::Key, row: Option<&VersionRow>) -> Option<Difference> {
        let mut versions = model.reference.versions(text.stream()).iter();
        let expected = versions.find(|version| version.sequence == sequence);
        let expected = expected.map(|version| describe(version.at, version.title.as_ref(), &version.text));
        Difference::between(expected, row.map(|row| describe(row.at, row.title.as_ref(), &row.text)))
    }

    fn show((text, sequence): Self::Key) -> String {
        format!("{}, version {sequence}", text.stream())
    }
}

fn describe(at: Timestamp, title: Option<&domain::text::Title>, text: &str) -> String {
    format!("at {at}, title {title:?}, text {text:?}")
}
