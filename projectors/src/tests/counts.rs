//! C1, C2, C3 where counts and rows are written apart, as a store without transactions does: the process dies between
//! the steps, batches are delivered again, and the log repeats events.

use std::collections::{BTreeMap, BTreeSet};

use adapters::live::{Message, News};
use adapters::views::{CommentRow, EngagementRows, EngagementUpdate, PostRow, ReactionRow, VersionRow};
use domain::stream::BEFORE_FIRST;
use domain::text::{CommentText, Markdown};
use domain::{Aggregate, CommentId, Envelope, Event, PostId, StreamId, UserId, comment, post as posts, reaction};
use proptest::prelude::*;

use super::fixture::{envelope, id, post_position};
use crate::engagement::{LaneState, lookup};
use crate::projection::Recorded;

/// A store of one post's rows that can die between any two writes.
#[derive(Default)]
struct Store {
    post: PostRow,
    comments: BTreeMap<CommentId, CommentRow>,
    reactions: BTreeMap<UserId, ReactionRow>,
    versions: BTreeMap<(StreamId, u64), VersionRow>,
    /// Newest offset of a batch whose rows were all written.
    whole_up_to: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Death {
    No,
    BeforeCounts,
    AfterRows(usize),
    BeforePublishing,
}

impl Store {
    fn rows(&self, post: PostId, events: &[&Recorded]) -> EngagementRows {
        let lookup = lookup(post, events);
        EngagementRows {
            post: self.post,
            comments: lookup.comments.iter().filter_map(|id| self.comments.get(id).cloned()).collect(),
            reactions: lookup.users.iter().filter_map(|user| self.reactions.get(user).copied()).collect(),
        }
    }

    /// Counts, then rows and versions one by one, then `listed`; stops where the process dies.
    fn write(&mut self, update: EngagementUpdate, death: Death) -> bool {
        assert_eq!(update.expected_position, self.post.position, "guarded by the position");
        if matches!(death, Death::BeforeCounts) {
            return false;
        }
        assert!(update.row.position >= self.post.position, "C3");
        let listed = self.post.listed;
        self.post = PostRow { listed, ..update.row };
        let mut left = match death {
            Death::AfterRows(rows) => rows,
            _ => usize::MAX,
        };
        for row in update.comments {
            if left == 0 {
                return false;
            }
            left -= 1;
            let stored = self.comments.get(&row.comment).map_or(0, |stored| stored.sequence);
            if row.sequence > stored {
                self.comments.insert(row.comment, row);
            }
        }
        for row in update.reactions {
            if left == 0 {
                return false;
            }
            left -= 1;
            let stored = self.reactions.get(&row.user).map_or(0, |stored| stored.sequence);
            if row.sequence > stored {
                self.reactions.insert(row.user, row);
            }
        }
        for version in update.versions {
            if left == 0 {
                return false;
            }
            left -= 1;
            self.versions.entry((version.stream, version.sequence)).or_insert(version);
        }
        if left == 0 {
            return false;
        }
        self.versions.retain(|(stream, _), _| !update.forgotten.contains(stream));
        self.post.listed = update.row.listed;
        true
    }
}

fn deliver(store: &mut Store, post: PostId, events: &[Recorded], death: Death) -> Option<Vec<Message>> {
    let events: Vec<&Recorded> = events.iter().collect();
    let mut lane = LaneState::from_stored(post, store.rows(post, &events));
    for event in &events {
        lane.apply(event.position.offset, &event.envelope).expect("no gaps are made");
    }
    let (update, messages) = lane.finish();
    let whole = store.write(update, death);
    if let (true, Some(last)) = (whole, events.last()) {
        store.whole_up_to = store.whole_up_to.max(Some(last.position.offset));
    }
    (whole && !matches!(death, Death::BeforePublishing)).then_some(messages)
}

/// What somebody wants; indices into few comments and few people, so that they meet.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Add(u8),
    Edit(u8, u8),
    Delete(u8),
    Like(u8),
    Unlike(u8),
    Publish(u8),
    EditPost(u8),
    DeletePost,
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let wish = prop_oneof![
        (0..4u8).prop_map(Wish::Add),
        (0..4u8, 0..3u8).prop_map(|(comment, text)| Wish::Edit(comment, text)),
        (0..4u8).prop_map(Wish::Delete),
        (0..4u8).prop_map(Wish::Like),
        (0..4u8).prop_map(Wish::Unlike),
        (0..3u8).prop_map(Wish::Publish),
        (0..3u8).prop_map(Wish::EditPost),
        Just(Wish::DeletePost),
    ];
    prop::collection::vec(wish, 1..40)
}

fn deaths() -> impl Strategy<Value = Vec<Death>> {
    let death = prop_oneof![
        3 => Just(Death::No),
        1 => Just(Death::BeforeCounts),
        3 => (0..8usize).prop_map(Death::AfterRows),
        1 => Just(Death::BeforePublishing),
    ];
    prop::collection::vec(death, 60)
}

/// Decides the wishes on real aggregates and numbers the streams.
#[derive(Default)]
struct Decided {
    comments: BTreeMap<u8, (comment::Comment, u64)>,
    reactions: BTreeMap<u8, (reaction::Reaction, u64)>,
    post: (posts::Post, u64),
    /// What each stream that is there ever said, by sequence.
    said: BTreeMap<(StreamId, u64), String>,
    events: Vec<Envelope>,
}

impl Decided {
    fn wish(&mut self, post: PostId, wish: Wish) {
        let author: UserId = id(99);
        let text = |n: u8| CommentText::parse(&format!("text {n}")).expect("valid");
        let (stream, events): (StreamId, Vec<Event>) = match wish {
            Wish::Add(n) | Wish::Edit(n, _) | Wish::Delete(n) => {
                let comment: CommentId = id(n);
                let (state, _) = self.comments.entry(n).or_default();
                let command = match wish {
                    Wish::Add(_) => comment::Command::Add { comment, post, author, parent: None, text: text(9) },
                    Wish::Edit(_, new) => comment::Command::Edit { comment, actor: author, text: text(new) },
                    _ => comment::Command::Delete { comment, actor: author, post_author: None },
                };
                let Ok(events) = state.decide(&command) else { return };
                for event in &events {
                    state.evolve(event, envelope_time());
                }
                (StreamId::Comment(comment), events.into_iter().map(Event::from).collect())
            }
            Wish::Like(n) | Wish::Unlike(n) => {
                let subject = reaction::Subject { post, user: id(n) };
                let (state, _) = self.reactions.entry(n).or_default();
                let command = match wish {
                    Wish::Like(_) => reaction::Command::Like(subject),
                    _ => reaction::Command::Unlike(subject),
                };
                let Ok(events) = state.decide(&command) else { return };
                for event in &events {
                    state.evolve(event, envelope_time());
                }
                (StreamId::Reaction(post, subject.user), events.into_iter().map(Event::from).collect())
            }
            Wish::Publish(_) | Wish::EditPost(_) | Wish::DeletePost => {
                let text = |n: u8| posts::Text {
                    title: None,
                    markdown: Markdown::parse(&format!("post {n}")).expect("valid"),
                };
                let visibility = posts::Visibility::Public;
                let command = match wish {
                    Wish::Publish(n) => {
                        posts::Command::Publish { post, author, visibility, text: text(n), imported: false }
                    }
                    Wish::EditPost(n) => posts::Command::Edit { post, actor: author, text: text(n) },
                    _ => posts::Command::Delete { post, actor: author },
                };
                let Ok(events) = self.post.0.decide(&command) else { return };
                for event in &events {
                    self.post.0.evolve(event, envelope_time());
                }
                (StreamId::Post(post), events.into_iter().map(Event::from).collect())
            }
        };
        for event in events {
            let sequence = match wish {
                Wish::Add(n) | Wish::Edit(n, _) | Wish::Delete(n) => &mut self.comments.entry(n).or_default().1,
                Wish::Like(n) | Wish::Unlike(n) => &mut self.reactions.entry(n).or_default().1,
                Wish::Publish(_) | Wish::EditPost(_) | Wish::DeletePost => &mut self.post.1,
            };
            *sequence += 1;
            match said_by(&event) {
                Some(text) => drop(self.said.insert((stream, *sequence), text)),
                None => self.said.retain(|(of, _), _| *of != stream),
            }
            self.events.push(envelope(stream, *sequence, author, event));
        }
    }
}

fn said_by(event: &Event) -> Option<String> {
    match event {
        Event::Post(
            posts::Event::Published(posts::Published { text, .. }) | posts::Event::Edited(posts::Edited { text, .. }),
        ) => text.open().map(|text| text.markdown.to_string()),
        Event::Comment(
            comment::Event::Added(comment::Added { text, .. }) | comment::Event::Edited(comment::Edited { text, .. }),
        ) => text.open().map(ToString::to_string),
        _ => None,
    }
}

fn envelope_time() -> domain::Timestamp {
    domain::Timestamp::from_millis(1_700_000_000_000)
}

/// The log: every event once, in order, and repeats of some somewhere behind their first occurrence.
fn log(events: &[Envelope], repeats: &[(prop::sample::Index, prop::sample::Index)]) -> Vec<Recorded> {
    let mut order: Vec<usize> = (0..events.len()).collect();
    for (which, place) in repeats {
        let which = which.index(events.len());
        let first = order.iter().position(|event| *event == which).expect("every event is there");
        order.insert(first + 1 + place.index(order.len() - first), which);
    }
    let recorded = |(offset, event): (usize, &usize)| Recorded {
        position: post_position(i64::try_from(offset).expect("small") * 3),
        envelope: events[*event].clone(),
    };
    order.iter().enumerate().map(recorded).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn c1_c2_c3_counts_equal_rows_whatever_is_repeated_and_wherever_the_process_dies(
        wishes in wishes(),
        repeats in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..6),
        batches in prop::collection::vec(1..6usize, 60),
        deaths in deaths(),
    ) {
        let post: PostId = id(1);
        let mut decided = Decided::default();
        for wish in wishes {
            decided.wish(post, wish);
        }
        prop_assume!(!decided.events.is_empty());
        let log = log(&decided.events, &repeats);

        let mut store = Store::default();
        let mut told: Vec<Message> = Vec::new();
        let mut checkpoint = 0;
        for (size, death) in batches.iter().zip(deaths).chain(std::iter::repeat((&3, Death::No))) {
            let batch = &log[checkpoint..(checkpoint + size).min(log.len())];
            if batch.is_empty() {
                break;
            }
            if let Some(messages) = deliver(&mut store, post, batch, death) {
                told.extend(messages);
                checkpoint += batch.len();
            }
            // Streams start from there, so what is below must be in the rows, whatever the counts contain.
            prop_assert!(store.post.listed <= store.whole_up_to.unwrap_or(BEFORE_FIRST), "listed beyond the rows");
        }

        let likes: BTreeSet<u8> = decided.reactions.iter().filter(|(_, (state, _))| state.liked).map(|(n, _)| *n).collect();
        let liked: BTreeSet<UserId> = store.reactions.values().filter(|row| row.liked).map(|row| row.user).collect();
        prop_assert_eq!(liked, likes.iter().map(|n| id(*n)).collect::<BTreeSet<UserId>>());
        prop_assert_eq!(store.post.likes, likes.len() as u64, "C1: likes");

        let mut comments = 0;
        for (n, (state, sequence)) in &decided.comments {
            let row = store.comments.get(&id(*n));
            prop_assert_eq!(row.map_or(0, |row| row.sequence), *sequence);
            let text = match state {
                comment::Comment::Added { text, .. } => { comments += 1; Some(text) }
                comment::Comment::Absent | comment::Comment::Deleted { .. } => None,
            };
            prop_assert_eq!(row.and_then(|row| row.text.as_ref()), text);
        }
        prop_assert_eq!(store.post.comments, comments, "C1: comments");
        prop_assert_eq!(store.post.listed, store.post.position);

        // Nothing that was said is missing, and nothing that was deleted is back.
        let kept = store.versions.into_iter().map(|(key, version)| (key, version.text));
        prop_assert_eq!(kept.collect::<BTreeMap<_, _>>(), decided.said);

        // Whoever listened all the time was told of every comment, and of the newest change of each.
        for row in store.comments.values() {
            let at = |offset: i64| told.iter().filter(move |message| message.position == offset);
            if row.text.is_some() {
                let is_new = |message: &Message| matches!(message.news, News::NewComment { .. });
                prop_assert!(at(row.created).any(is_new), "told of {:?}", row.comment);
            }
            prop_assert!(at(row.position).next().is_some(), "told of the change of {:?}", row.comment);
        }
        let last = told.iter().rev().find_map(|message| match message.news {
            News::NewLike { likes } => Some(likes),
            _ => None,
        });
        prop_assert_eq!(last.unwrap_or(0), store.post.likes, "the last number told is the present one");
    }
}
