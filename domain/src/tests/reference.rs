//! The judge is judged: by going through the whole list of events for every single answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{comment, correlation, event_id, later, person, post, remark, words};
use crate::aggregate::Aggregate;
use crate::comment::Comment;
use crate::event::{Envelope, Event};
use crate::ids::{CommentId, PostId, UserId};
use crate::post::{Post, Visibility};
use crate::reaction::{Reaction, Subject};
use crate::reference::{Inconsistency, Reference};
use crate::relation::{Direction, Pair, Relation};
use crate::sealed::SealedBox;
use crate::stream::{Lane, StreamId};
use crate::text::{Bio, DisplayName, Username};
use crate::user::{Profile, User};
use crate::{comment as comments, post as posts, reaction as reactions, relation as relations, user as users};

const PEOPLE: u8 = 4;
const POSTS: u8 = 6;
const COMMENTS: u8 = 6;

/// A write path with nothing durable about it.
#[derive(Default)]
struct World {
    users: HashMap<StreamId, User>,
    relations: HashMap<StreamId, Relation>,
    posts: HashMap<StreamId, Post>,
    comments: HashMap<StreamId, Comment>,
    reactions: HashMap<StreamId, Reaction>,
    log: Vec<Envelope>,
}

#[derive(Clone, Debug)]
enum Wish {
    User(u8),
    EditProfile(u8, u8),
    Relation(u8, u8, u8),
    Publish(u8, u8),
    EditPost(u8, u8, u8),
    DeletePost(u8, u8),
    Comment(u8, u8, u8, u8),
    EditComment(u8, u8, u8),
    DeleteComment(u8, u8),
    React(u8, u8, bool),
}

fn wish() -> impl Strategy<Value = Wish> {
    let (who, which, said) = (0..PEOPLE, 0..POSTS, 0..COMMENTS);
    prop_oneof![
        1 => who.clone().prop_map(Wish::User),
        1 => (who.clone(), 0..3u8).prop_map(|(user, says)| Wish::EditProfile(user, says)),
        5 => (who.clone(), who.clone(), 0..6u8).prop_map(|(from, to, what)| Wish::Relation(from, to, what)),
        3 => (which.clone(), who.clone()).prop_map(|(post, author)| Wish::Publish(post, author)),
        1 => (which.clone(), who.clone(), 0..3u8).prop_map(|(post, actor, text)| Wish::EditPost(post, actor, text)),
        1 => (which.clone(), who.clone()).prop_map(|(post, actor)| Wish::DeletePost(post, actor)),
        3 => (said.clone(), which.clone(), who.clone(), 0..3u8)
            .prop_map(|(comment, post, author, text)| Wish::Comment(comment, post, author, text)),
        1 => (said.clone(), who.clone(), 0..3u8).prop_map(|(comment, actor, text)| Wish::EditComment(comment, actor, text)),
        1 => (said, who.clone()).prop_map(|(comment, actor)| Wish::DeleteComment(comment, actor)),
        3 => (which, who, any::<bool>()).prop_map(|(post, user, like)| Wish::React(post, user, like)),
    ]
}

impl World {
    fn of(wishes: &[Wish]) -> Self {
        let mut world = Self::default();
        for wish in wishes {
            world.wish(wish);
        }
        world
    }

    fn wish(&mut self, wish: &Wish) {
        let text = |number: u8| format!("text {number}");
        match *wish {
            Wish::User(user) => {
                let username = Username::parse(&format!("user{user}")).expect("valid");
                let display_name = DisplayName::parse("Somebody").expect("valid");
                let user = person(user);
                let command = users::Command::Register { user, username, display_name };
                decide(&mut self.users, &mut self.log, StreamId::User(user), user, &command);
            }
            Wish::EditProfile(user, says) => {
                let bio = Bio::parse(&text(says)).expect("valid");
                let profile = Profile { display_name: DisplayName::parse("Somebody else").expect("valid"), bio };
                let user = person(user);
                let command = users::Command::EditProfile { user, profile };
                decide(&mut self.users, &mut self.log, StreamId::User(user), user, &command);
            }
            Wish::Relation(from, to, what) => {
                let pair = Pair { from: person(from), to: person(to) };
                let commands = [
                    relations::Command::Follow,
                    relations::Command::Unfollow,
                    relations::Command::Block,
                    relations::Command::Unblock,
                    relations::Command::Mute,
                    relations::Command::Unmute,
                ];
                let stream = StreamId::relation(pair.from, pair.to);
                let command = commands[usize::from(what)](pair);
                decide(&mut self.relations, &mut self.log, stream, pair.from, &command);
            }
            Wish::Publish(number, author) => {
                let (post, author, visibility) = (post(number), person(author), Visibility::Public);
                let text = words(&text(number));
                let command = posts::Command::Publish { post, author, visibility, text, imported: false };
                decide(&mut self.posts, &mut self.log, StreamId::Post(post), author, &command);
            }
            Wish::EditPost(number, actor, to) => {
                let (post, actor) = (post(number), person(actor));
                let command = posts::Command::Edit { post, actor, text: words(&text(to)) };
                decide(&mut self.posts, &mut self.log, StreamId::Post(post), actor, &command);
            }
            Wish::DeletePost(number, actor) => {
                let (post, actor) = (post(number), person(actor));
                let command = posts::Command::Delete { post, actor };
                decide(&mut self.posts, &mut self.log, StreamId::Post(post), actor, &command);
            }
            Wish::Comment(number, on, author, says) => {
                let (comment, author, text) = (comment(number), person(author), remark(&text(says)));
                let command = comments::Command::Add { comment, post: post(on), author, parent: None, text };
                decide(&mut self.comments, &mut self.log, StreamId::Comment(comment), author, &command);
            }
            Wish::EditComment(number, actor, says) => {
                let (comment, actor, text) = (comment(number), person(actor), remark(&text(says)));
                let command = comments::Command::Edit { comment, actor, text };
                decide(&mut self.comments, &mut self.log, StreamId::Comment(comment), actor, &command);
            }
            Wish::DeleteComment(number, actor) => {
                let (comment, actor) = (comment(number), person(actor));
                let command = comments::Command::Delete { comment, actor, post_author: None };
                decide(&mut self.comments, &mut self.log, StreamId::Comment(comment), actor, &command);
            }
            Wish::React(number, user, like) => {
                let subject = Subject { post: post(number), user: person(user) };
                let command =
                    if like { reactions::Command::Like(subject) } else { reactions::Command::Unlike(subject) };
                let stream = StreamId::Reaction(subject.post, subject.user);
                decide(&mut self.reactions, &mut self.log, stream, subject.user, &command);
            }
        }
    }

    /// The states that were decided on, as documents keep them.
    fn documents(&self) -> BTreeMap<String, (u64, String)> {
        fn add<A: Aggregate>(
            documents: &mut BTreeMap<String, (u64, String)>,
            states: &HashMap<StreamId, A>,
            log: &[Envelope],
        ) {
            for (stream, state) in states {
                let sequence = log.iter().filter(|envelope| envelope.stream == *stream).count() as u64;
                if sequence > 0 {
                    let json = serde_json::to_string(state).expect("serialises");
                    documents.insert(stream.to_string(), (sequence, json));
                }
            }
        }
        let mut documents = BTreeMap::new();
        add(&mut documents, &self.users, &self.log);
        add(&mut documents, &self.relations, &self.log);
        add(&mut documents, &self.posts, &self.log);
        add(&mut documents, &self.comments, &self.log);
        add(&mut documents, &self.reactions, &self.log);
        documents
    }
}

fn decide<A: Aggregate>(
    states: &mut HashMap<StreamId, A>,
    log: &mut Vec<Envelope>,
    stream: StreamId,
    actor: UserId,
    command: &A::Command,
) {
    let state = states.entry(stream).or_default();
    let Ok(events) = state.decide(command) else { return };
    for event in events {
        let number = log.len() as u64;
        let time = later(number as i64);
        state.evolve(&event, time);
        let sequence = log.iter().filter(|envelope| envelope.stream == stream).count() as u64 + 1;
        let (id, correlation) = (event_id(number), correlation(number));
        log.push(Envelope { id, time, stream, sequence, actor, correlation, causation: None, event: event.into() });
    }
}

/// The log read lane by lane, in an order of lanes of its own, with repeats: what a reader of partitions may see.
fn delivered(log: &[Envelope], shuffle: u64, repeats: &[usize]) -> Vec<(i64, Envelope)> {
    let mut lanes: BTreeMap<(u64, Lane), Vec<(i64, Envelope)>> = BTreeMap::new();
    for (offset, envelope) in log.iter().enumerate() {
        let lane = envelope.event.lane();
        let rank =
            lane.as_str().bytes().fold(shuffle, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        lanes.entry((rank, lane)).or_default().push((offset as i64, envelope.clone()));
    }
    let mut all: Vec<(i64, Envelope)> = lanes.into_values().flatten().collect();
    for repeat in repeats {
        if !all.is_empty() {
            // A repeat comes after its first occurrence, anywhere.
            let (from, to) = (repeat % all.len(), all.len());
            let again = all[from].clone();
            all.insert(from + 1 + repeat / 7 % (to - from), again);
        }
    }
    all
}

fn model(delivered: &[(i64, Envelope)]) -> Reference {
    let mut reference = Reference::default();
    for (offset, envelope) in delivered {
        reference.apply(envelope, *offset).expect("consistent");
    }
    reference
}

fn edge(log: &[Envelope], from: UserId, to: UserId) -> Direction {
    let mut direction = Direction::default();
    let pair = Pair { from, to };
    for envelope in log {
        let Event::Relation(event) = &envelope.event else { continue };
        match event {
            relations::Event::Followed(of) if *of == pair => direction.following = true,
            relations::Event::Unfollowed(of) if *of == pair => direction.following = false,
            relations::Event::Blocked(of) if *of == pair => direction.blocking = true,
            relations::Event::Unblocked(of) if *of == pair => direction.blocking = false,
            relations::Event::Muted(of) if *of == pair => direction.muting = true,
            relations::Event::Unmuted(of) if *of == pair => direction.muting = false,
            _ => {}
        }
    }
    direction
}

fn posts_by(log: &[Envelope], wanted: impl Fn(UserId) -> bool) -> Vec<PostId> {
    let mut posts = BTreeSet::new();
    for envelope in log {
        match &envelope.event {
            Event::Post(posts::Event::Published(new)) if wanted(new.author) => {
                posts.insert(new.post);
            }
            Event::Post(posts::Event::Deleted(gone)) => {
                posts.remove(&gone.post);
            }
            _ => {}
        }
    }
    posts.into_iter().rev().collect()
}

fn likes(log: &[Envelope], post: PostId) -> BTreeSet<UserId> {
    let mut users = BTreeSet::new();
    for envelope in log {
        match &envelope.event {
            Event::Reaction(reactions::Event::Liked(subject)) if subject.post == post => {
                users.insert(subject.user);
            }
            Event::Reaction(reactions::Event::Unliked(subject)) if subject.post == post => {
                users.remove(&subject.user);
            }
            _ => {}
        }
    }
    users
}

fn said(log: &[Envelope], post: PostId) -> Vec<(CommentId, String)> {
    let mut said = BTreeMap::new();
    for envelope in log {
        let Event::Comment(event) = &envelope.event else { continue };
        let text = match event {
            comments::Event::Added(comments::Added { text, .. })
            | comments::Event::Edited(comments::Edited { text, .. }) => text.open(),
            comments::Event::Deleted(_) => None,
        };
        match text {
            _ if event.post() != post => {}
            Some(text) => drop(said.insert(event.comment(), text.to_string())),
            None => drop(said.remove(&event.comment())),
        }
    }
    said.into_iter().rev().collect()
}

fn check(log: &[Envelope], reference: &Reference) {
    let people = || (0..PEOPLE).map(person);
    for user in people() {
        let reads = |author| {
            let edge = edge(log, user, author);
            author == user || edge.following && !edge.muting
        };
        assert_eq!(reference.home(user), posts_by(log, reads), "T1: home of {user}");
        assert_eq!(reference.author_posts(user), posts_by(log, |author| author == user));
        for other in people() {
            assert_eq!(reference.edge(user, other), edge(log, user, other));
            let blocked = edge(log, user, other).blocking || edge(log, other, user).blocking;
            assert_eq!(reference.is_blocked(user, other), blocked);
        }
        let follows: Vec<UserId> = people().filter(|other| edge(log, user, *other).following).collect();
        assert_eq!(reference.following(user).collect::<Vec<_>>(), follows);
    }
    for post in (0..POSTS).map(post) {
        assert_eq!(reference.likes(post), likes(log, post), "likes of {post}");
        let texts = reference.comments(post).into_iter();
        let texts: Vec<_> = texts.map(|comment| (comment.comment, comment.text.expect("there").to_string())).collect();
        assert_eq!(texts, said(log, post), "comments on {post}");
    }
    check_rows(log, reference);
    super::shown::check(log, reference, PEOPLE);
}

/// Every row knows the number and the place of its newest event.
fn check_rows(log: &[Envelope], reference: &Reference) {
    let of = |stream: StreamId| log.iter().enumerate().filter(move |(_, envelope)| envelope.stream == stream);
    let newest = |stream| of(stream).next_back().map(|(offset, envelope)| (envelope.sequence, offset as i64));
    let oldest = |stream| of(stream).next().map(|(offset, _)| offset as i64);
    for row in reference.posts() {
        assert_eq!(newest(StreamId::Post(row.post)), Some((row.sequence, row.changed)));
        assert_eq!(reference.post(row.post).map(|post| post.state), Some(row.state));
    }
    for row in reference.all_comments() {
        let stream = StreamId::Comment(row.comment);
        assert_eq!(newest(stream), Some((row.sequence, row.position)));
        assert_eq!(oldest(stream), Some(row.created));
    }
    for row in reference.reactions() {
        assert_eq!(newest(StreamId::Reaction(row.post, row.user)), Some((row.sequence, row.position)));
        assert!(reference.reactions_to(row.post).any(|reaction| reaction == row));
    }
    for row in reference.edges() {
        let here = of(StreamId::relation(row.from, row.to)).filter(|(_, envelope)| {
            matches!(&envelope.event, Event::Relation(event) if event.pair() == Pair { from: row.from, to: row.to })
        });
        assert_eq!(here.map(|(_, envelope)| envelope.sequence).max(), Some(row.sequence));
        assert_eq!(row.direction, edge(log, row.from, row.to));
    }
    let kinds = |wanted: fn(&StreamId) -> bool| {
        log.iter().map(|envelope| envelope.stream).filter(wanted).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(reference.users().count(), kinds(|stream| matches!(stream, StreamId::User(_))));
    assert_eq!(reference.posts().count(), kinds(|stream| matches!(stream, StreamId::Post(_))));
    assert_eq!(reference.all_comments().count(), kinds(|stream| matches!(stream, StreamId::Comment(_))));
    assert_eq!(reference.reactions().count(), kinds(|stream| matches!(stream, StreamId::Reaction(..))));
}

proptest! {
    #[test]
    fn t1_the_model_answers_what_the_whole_log_answers(
        wishes in vec(wish(), 0..80),
        shuffle in any::<u64>(),
        repeats in vec(any::<usize>(), 0..10),
    ) {
        let world = World::of(&wishes);
        check(&world.log, &model(&delivered(&world.log, shuffle, &repeats)));
    }

    #[test]
    fn content_is_the_fold_of_the_log(wishes in vec(wish(), 0..80), repeats in vec(any::<usize>(), 0..10)) {
        let world = World::of(&wishes);
        let states: Vec<_> = model(&delivered(&world.log, 7, &repeats)).states().collect();
        let texts: Vec<String> = states.iter().map(|(stream, ..)| stream.to_string()).collect();
        prop_assert!(texts.is_sorted(), "in the order of the streams' text");
        let states: BTreeMap<_, _> =
            states.into_iter().map(|(stream, sequence, state)| (stream.to_string(), (sequence, state))).collect();
        prop_assert_eq!(states.len(), texts.len(), "each stream once");
        prop_assert_eq!(states, world.documents());
    }

    #[test]
    fn w3_a_missing_event_is_reported_and_spoils_no_other_stream(
        wishes in vec(wish(), 1..80),
        missing in any::<prop::sample::Index>(),
    ) {
        let log = World::of(&wishes).log;
        prop_assume!(!log.is_empty());
        let gone = missing.get(&log);
        let mut reference = Reference::default();
        for (offset, envelope) in log.iter().enumerate().filter(|(_, envelope)| envelope.id != gone.id) {
            let answer = reference.apply(envelope, offset as i64);
            if envelope.stream == gone.stream && envelope.sequence > gone.sequence {
                let (stream, last, found) = (gone.stream, gone.sequence - 1, envelope.sequence);
                prop_assert_eq!(answer, Err(Inconsistency::Gap { stream, last, found, offset: offset as i64 }));
            } else {
                prop_assert_eq!(answer, Ok(()));
            }
        }
        let folded = log.iter().filter(|envelope| envelope.stream != gone.stream || envelope.sequence < gone.sequence);
        let folded: Vec<(i64, Envelope)> = folded.map(|envelope| (0, envelope.clone())).collect();
        prop_assert!(reference.states().eq(model(&folded).states()));
    }
}

fn one_of_each() -> Vec<Envelope> {
    let wishes = [
        Wish::User(0),
        Wish::Relation(0, 1, 0),
        Wish::Publish(0, 1),
        Wish::Comment(0, 0, 0, 0),
        Wish::React(0, 0, true),
    ];
    World::of(&wishes).log
}

#[test]
fn text_that_is_not_open_is_reported() {
    for mut envelope in one_of_each() {
        let Some((key, part)) = envelope.event.sealed_part() else { continue };
        part.close(SealedBox { key, bytes: vec![1] });
        let mut reference = Reference::default();
        let Envelope { stream, sequence, .. } = envelope;
        assert_eq!(reference.apply(&envelope, 5), Err(Inconsistency::Unopened { stream, sequence, offset: 5 }));
        assert_eq!(reference.states().count(), 0, "the model is as before");
    }
}

#[test]
fn a_repeat_whose_text_nobody_opened_is_a_repeat() {
    let log = one_of_each();
    let mut reference = model(&delivered(&log, 0, &[]));
    for mut envelope in log {
        if let Some((key, part)) = envelope.event.sealed_part() {
            part.close(SealedBox { key, bytes: vec![1] });
        }
        assert_eq!(reference.apply(&envelope, 99), Ok(()));
    }
}

#[test]
fn an_event_of_another_stream_and_event_zero_are_reported() {
    let log = one_of_each();
    let mut reference = Reference::default();
    let (about, stream) = (log[0].stream, log[2].stream);
    let strayed = Envelope { stream, ..log[0].clone() };
    assert_eq!(reference.apply(&strayed, 3), Err(Inconsistency::WrongStream { stream, sequence: 1, offset: 3, about }));
    let zero = Envelope { sequence: 0, ..log[0].clone() };
    assert_eq!(reference.apply(&zero, 3), Err(Inconsistency::Zero { stream: about, offset: 3 }));
    assert_eq!(reference.states().count(), 0);
}

#[test]
fn r3_a_block_keeps_posts_out_even_where_a_follow_was_not_ended() {
    let mut log = one_of_each();
    let reference = model(&delivered(&log, 0, &[]));
    assert_eq!(reference.home(person(0)), [post(0)]);
    // No decision makes such a log; the model must not depend on it.
    let pair = Pair { from: person(1), to: person(0) };
    let event = relations::Event::Blocked(pair).into();
    let followed = log[1].clone();
    log.push(Envelope { sequence: 2, id: event_id(99), event, ..followed });
    let reference = model(&delivered(&log, 0, &[]));
    assert_eq!(reference.edge(person(0), person(1)), Direction { following: true, ..Direction::default() });
    assert!(reference.home(person(0)).is_empty());
}

#[test]
fn what_is_said_and_liked_of_an_unknown_post_is_kept() {
    let wishes = [Wish::Comment(0, 3, 0, 0), Wish::React(3, 1, true)];
    let reference = model(&delivered(&World::of(&wishes).log, 0, &[]));
    assert_eq!(reference.comments(post(3)).len(), 1);
    assert_eq!(reference.likes(post(3)), BTreeSet::from([person(1)]));
    assert!(reference.post(post(3)).is_none());
}
