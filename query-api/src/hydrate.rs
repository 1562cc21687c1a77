//! Joins what lists hold with what is shown: names of people, numbers of posts.
//!
//! Pages of posts are written straight into one buffer, from what is cached of them and the joined values, without
//! taking texts apart and putting them together again: a home is the most read page there is. What comes out is
//! what [`PostItem`](crate::items::PostItem) would be written as; a test holds the two against each other.
//!
//! R1 what is unreadable drops out. R2 each kind of thing is read in one call, each thing once.

use std::io::Write as _;

use adapters::StoreError;
use adapters::checkpoints::ENGAGEMENT;
use adapters::content::{Content, PublicState};
use adapters::views::Counts;
use domain::user::User;
use domain::{PostId, StreamId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Ports;
use crate::cached::Cached;
use crate::feed::Listed;
use crate::items::Person;

/// The states of some accounts, each read once.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// Ascending and distinct.
    ids: Vec<UserId>,
    states: Vec<Option<PublicState>>,
}

impl People {
    /// Reads the accounts of `users`, who may be named more than once, in one call.
    pub(crate) async fn read(
        content: &dyn Content,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<Self, StoreError> {
        let mut ids: Vec<UserId> = users.into_iter().collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        ids.sort_unstable();
        ids.dedup();
        let streams: Vec<StreamId> = ids.iter().copied().map(StreamId::User).collect();
        let states = content.states(&streams).await?;
        Ok(Self { ids, states })
    }

    fn state(&self, user: UserId) -> Option<&str> {
        let index = self.ids.binary_search(&user).ok()?;
        self.states.get(index)?.as_ref().map(|found| found.state.as_str())
    }

    /// What is shown of a person; `None` if there is nobody.
    pub(crate) fn person(&self, user: UserId) -> Option<Person> {
        match serde_json::from_str(self.state(user)?).ok()? {
            User::Absent => None,
            User::Registered { username, display_name, .. } => Some(Person { id: user, username, display_name }),
        }
    }
}

/// The names in an account's state, as they are written there.
#[derive(Deserialize)]
struct StoredNames<'a> {
    #[serde(borrow)]
    username: &'a RawValue,
    #[serde(borrow)]
    display_name: &'a RawValue,
}

/// How a page begins.
const HEAD: &[u8] = br#"{"items":["#;

/// Posts as pages show them.
#[derive(Debug)]
pub(crate) struct WrittenPosts {
    /// The beginning of a page: [`HEAD`], and the items with a comma after each.
    text: Vec<u8>,
    /// Which posts, in order, and where each one's item ends.
    ends: Vec<(PostId, usize)>,
}

impl Default for WrittenPosts {
    fn default() -> Self {
        Self { text: HEAD.to_vec(), ends: Vec::new() }
    }
}

impl WrittenPosts {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The posts, in the order in which they were written.
    pub(crate) fn posts(&self) -> impl DoubleEndedIterator<Item = PostId> {
        self.ends.iter().map(|(post, _)| *post)
    }

    /// Each post with its item.
    pub(crate) fn items(&self) -> impl Iterator<Item = (PostId, &[u8])> {
        let starts = std::iter::once(HEAD.len()).chain(self.ends.iter().map(|(_, end)| *end));
        // Without the comma.
        starts.zip(&self.ends).map(|(start, (post, end))| (*post, &self.text[start..end - 1]))
    }

    /// The page up to the end of its items, in the order of writing or, `reversed`, the last first.
    pub(crate) fn into_page(self, reversed: bool) -> Vec<u8> {
        let mut page = self.text;
        if reversed {
            let written = std::mem::replace(&mut page, HEAD.to_vec());
            let mut until = written.len();
            for index in (0..self.ends.len()).rev() {
                let from = if index == 0 { HEAD.len() } else { self.ends[index - 1].1 };
                page.extend_from_slice(&written[from..until]);
                until = from;
            }
        }
        if page.last() == Some(&b',') {
            page.pop();
        }
        page.push(b']');
        page
    }

    /// Writes posts after those that are there; those with an unreadable preview or author drop out.
    pub(crate) async fn add(
        &mut self,
        ports: &Ports,
        cached: &Cached,
        viewer: Option<UserId>,
        listed: &[Listed],
    ) -> Result<(), StoreError> {
        if listed.is_empty() {
            return Ok(());
        }
        let people = People::read(ports.content.as_ref(), listed.iter().map(|listed| listed.entry.author)).await?;
        let posts: Vec<PostId> = listed.iter().map(|listed| listed.entry.post).collect();
        let generation = ports.checkpoints.serving(ENGAGEMENT).await?;
        let counts = cached.counts(generation, &posts).await?;
        let liked = Liked::read(ports, viewer, posts.into_iter().zip(counts.iter().copied())).await?;
        // Ids, names and numbers come to about as much again for each post.
        let items: usize = listed.iter().map(|listed| listed.shown.members().len() + 320).sum();
        // And what stands behind them.
        self.text.reserve(items + 512);
        for (listed, counts) in listed.iter().zip(counts) {
            if self.write(listed, &people, counts, liked.has(listed.entry.post)).is_none() {
                tracing::warn!(post = %listed.entry.post, "a post cannot be shown: it or its author is unreadable");
            }
        }
        Ok(())
    }

    fn write(&mut self, listed: &Listed, people: &People, counts: Counts, liked_by_me: bool) -> Option<()> {
        let Listed { entry, shown } = listed;
        // Read before anything is written, so that what drops out leaves nothing behind.
        let names: StoredNames<'_> = serde_json::from_str(people.state(entry.author)?).ok()?;
        write!(
            self.text,
            r#"{{"id":"{}","author":{{"id":"{}","username":{},"display_name":{}}},"#,
            entry.post, entry.author, names.username, names.display_name
        )
        .ok()?;
        self.text.extend_from_slice(shown.members());
        write!(self.text, r#","likes":{},"comments":{},"liked_by_me":{liked_by_me}}},"#, counts.likes, counts.comments)
            .ok()?;
        self.ends.push((entry.post, self.text.len()));
        Some(())
    }
}

/// Which of some posts the viewer likes.
#[derive(Debug, Default)]
pub(crate) struct Liked(Vec<PostId>);

impl Liked {
    /// Asks, in one call, for those that anybody likes.
    pub(crate) async fn read(
        ports: &Ports,
        viewer: Option<UserId>,
        posts: impl Iterator<Item = (PostId, Counts)>,
    ) -> Result<Self, StoreError> {
        let Some(viewer) = viewer else { return Ok(Self::default()) };
        let mut posts: Vec<PostId> = posts.filter(|(_, counts)| counts.likes > 0).map(|(post, _)| post).collect();
        if !posts.is_empty() {
            let generation = ports.checkpoints.serving(ENGAGEMENT).await?;
            let mut liked = ports.views.liked(generation, viewer, &posts).await?.into_iter();
            posts.retain(|_| liked.next() == Some(true));
        }
        Ok(Self(posts))
    }

    /// Whether the post is one of them.
    pub(crate) fn has(&self, post: PostId) -> bool {
        self.0.contains(&post)
    }
}
