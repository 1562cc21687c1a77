//! Timelines against models of plain sets, for random sequences of calls.

use std::collections::{BTreeMap, BTreeSet};

use domain::{PostId, UserId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{entry, listed, post, published, user};
use crate::property::for_all;
use crate::timelines::{AuthorEntry, Entry, Home, Order, Span, Timelines};

const OWNERS: u32 = 3;
const POSTS: u32 = 24;

#[derive(Clone, Debug)]
enum Call {
    WriteHomes { owners: BTreeSet<u32>, post: u32 },
    FillHome { owner: u32, posts: Vec<u32> },
    RaiseMark { owner: u32, mark: u32 },
    Trim { owner: u32, at: usize, to: usize },
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (proptest::collection::btree_set(0..OWNERS, 0..=OWNERS as usize), 1..=POSTS)
            .prop_map(|(owners, post)| Call::WriteHomes { owners, post }),
        2 => (0..OWNERS, vec(1..=POSTS, 0..10)).prop_map(|(owner, posts)| Call::FillHome { owner, posts }),
        1 => (0..OWNERS, 1..=POSTS).prop_map(|(owner, mark)| Call::RaiseMark { owner, mark }),
        2 => (0..OWNERS, 0..10usize, 0..12usize).prop_map(|(owner, at, to)| Call::Trim { owner, at, to }),
    ]
}

fn spans() -> impl Strategy<Value = (Span, usize)> {
    let order = prop_oneof![Just(Order::NewestFirst), Just(Order::OldestFirst)];
    let above = prop_oneof![Just(PostId::MIN), (0..=POSTS).prop_map(post)];
    let below = prop_oneof![Just(PostId::MAX), (0..=POSTS).prop_map(post)];
    (above, below, order, 0..30usize).prop_map(|(above, below, order, limit)| (Span { above, below, order }, limit))
}

/// What is in a span of `entries`.
fn cut(entries: impl DoubleEndedIterator<Item = Entry>, (span, limit): (Span, usize)) -> Vec<Entry> {
    let inside = entries.filter(|entry| entry.post > span.above && entry.post < span.below);
    match span.order {
        Order::NewestFirst => inside.rev().take(limit).collect(),
        Order::OldestFirst => inside.take(limit).collect(),
    }
}

#[derive(Default)]
struct ModelHome {
    mark: Option<PostId>,
    entries: BTreeMap<PostId, Entry>,
}

impl ModelHome {
    fn put(&mut self, entry: Entry) {
        if self.mark.is_none_or(|mark| entry.post > mark) {
            self.entries.insert(entry.post, entry);
        }
    }

    fn raise(&mut self, to: PostId) {
        self.mark = self.mark.max(Some(to));
        self.entries.retain(|post, _| Some(*post) > self.mark);
    }

    fn trim(&mut self, at: usize, to: usize) {
        if self.entries.len() > at
            && let Some(first_left_out) = self.entries.keys().rev().nth(to).copied()
        {
            self.raise(first_left_out);
        }
    }

    fn read(&self, span: (Span, usize)) -> Home {
        let entries = cut(self.entries.values().copied(), span);
        Home { mark: self.mark.unwrap_or(PostId::MIN), entries }
    }
}

pub(crate) async fn homes_are_what_the_model_says(timelines: &dyn Timelines) {
    for_all(vec((call(), spans()), 1..30), async |generation, calls| {
        let mut model: BTreeMap<u32, ModelHome> = (0..OWNERS).map(|owner| (owner, ModelHome::default())).collect();
        for (call, span) in calls {
            match call {
                Call::WriteHomes { owners, post } => {
                    let ids: Vec<UserId> = owners.iter().copied().map(user).collect();
                    timelines.write_homes(generation, &ids, entry(post)).await.unwrap();
                    for owner in owners {
                        model.get_mut(&owner).unwrap().put(entry(post));
                    }
                }
                Call::FillHome { owner, posts } => {
                    let entries: Vec<Entry> = posts.into_iter().map(entry).collect();
                    timelines.fill_home(generation, user(owner), &entries).await.unwrap();
                    for entry in entries {
                        model.get_mut(&owner).unwrap().put(entry);
                    }
                }
                Call::RaiseMark { owner, mark } => {
                    timelines.raise_mark(generation, user(owner), post(mark)).await.unwrap();
                    model.get_mut(&owner).unwrap().raise(post(mark));
                }
                Call::Trim { owner, at, to } => {
                    timelines.trim(generation, user(owner), at, to).await.unwrap();
                    model.get_mut(&owner).unwrap().trim(at, to);
                }
            }
            for (owner, expected) in &model {
                let read = timelines.home(generation, user(*owner), span.0, span.1).await.unwrap();
                assert_eq!(read, expected.read(span), "home of {owner} in {span:?}");
            }
        }
    });
}

pub(crate) async fn merges_are_what_the_model_says(timelines: &dyn Timelines) {
    // What an event of a post's stream is does not change from one occurrence in the log to the next; where it is does.
    let row = (1..=POSTS, 1..5u64, 0..100i64);
    let authors = vec(0..OWNERS, 0..5);
    for_all((vec(row, 0..60), vec((authors, spans()), 1..10)), async |generation, (rows, reads)| {
        let mut model: BTreeMap<(UserId, PostId), AuthorEntry> = BTreeMap::new();
        for (number, sequence, offset) in rows {
            // A post has one author.
            let deleted = (u64::from(number) + sequence).is_multiple_of(2);
            let row = AuthorEntry { deleted, sequence, offset, ..published(number % OWNERS, number) };
            timelines.write_authors(generation, &[row]).await.unwrap();
            let stored = model.entry((row.author, row.post)).or_insert(row);
            if (row.sequence, -row.offset) > (stored.sequence, -stored.offset) {
                *stored = row;
            }
        }
        let stored: Vec<AuthorEntry> = model.into_values().collect();
        let mut scanned = timelines.scan_authors(generation, None, 1_000).await.unwrap();
        scanned.sort_by_key(|row| row.author);
        assert_eq!(scanned, stored);
        for (authors, span) in reads {
            let authors: Vec<UserId> = authors.into_iter().map(user).collect();
            let of_them = stored.iter().filter(|row| !row.deleted && authors.contains(&row.author));
            let by_post: BTreeMap<PostId, Entry> = of_them.map(|row| (row.post, listed(*row))).collect();
            let read = timelines.authors(generation, &authors, span.0, span.1).await.unwrap();
            assert_eq!(read, cut(by_post.into_values(), span), "{authors:?} in {span:?}");
        }
    });
}
