//! What the model answers about texts: all that a post or a comment ever said, for as long as it is there.

use super::Reference;
use crate::stream::StreamId;
use crate::text::Title;
use crate::time::Timestamp;
use crate::{comment, post};

/// What a post or a comment said from one event to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The event's number in the stream.
    pub sequence: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The title, of posts that have one.
    pub title: Option<Title>,
    /// The text: Markdown of a post, plain text of a comment.
    pub text: String,
}

impl Reference {
    /// The versions of a post or comment, oldest first; none once it is deleted.
    pub fn versions(&self, stream: StreamId) -> &[Version] {
        self.versions.get(&stream).map_or(&[], Vec::as_slice)
    }

    /// Each post and each comment that is there with its versions, by stream.
    pub fn all_versions(&self) -> impl Iterator<Item = (StreamId, &[Version])> {
        self.versions.iter().map(|(stream, versions)| (*stream, versions.as_slice()))
    }

    pub(super) fn collect_post_version(&mut self, event: &post::Event, sequence: u64, at: Timestamp) {
        let stream = StreamId::Post(event.post());
        let text = match event {
            post::Event::Published(post::Published { text, .. }) | post::Event::Edited(post::Edited { text, .. }) => {
                text.open()
            }
            post::Event::Deleted(_) => None,
        };
        match text {
            Some(post::Text { title, markdown }) => {
                self.add_version(stream, Version { sequence, at, title: title.clone(), text: markdown.to_string() });
            }
            None => drop(self.versions.remove(&stream)),
        }
    }

    pub(super) fn collect_comment_version(&mut self, event: &comment::Event, sequence: u64, at: Timestamp) {
        let stream = StreamId::Comment(event.comment());
        let text = match event {
            comment::Event::Added(comment::Added { text, .. })
            | comment::Event::Edited(comment::Edited { text, .. }) => text.open(),
            comment::Event::Deleted(_) => None,
        };
        match text {
            Some(text) => self.add_version(stream, Version { sequence, at, title: None, text: text.to_string() }),
            None => drop(self.versions.remove(&stream)),
        }
    }

    fn add_version(&mut self, stream: StreamId, version: Version) {
        self.versions.entry(stream).or_default().push(version);
    }
}
