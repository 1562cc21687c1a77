//! What the judge says of profiles and of the versions of texts, against going through the whole log.

use std::collections::BTreeSet;

use super::person;
use crate::event::{Envelope, Event};
use crate::ids::UserId;
use crate::reference::{Reference, Version};
use crate::stream::StreamId;
use crate::time::Timestamp;
use crate::{comment as comments, post as posts, relation as relations, user as users};

/// Whatever the model says of people and versions, the log says.
pub(super) fn check(log: &[Envelope], reference: &Reference, people: u8) {
    for user in (0..people).map(person) {
        check_profile(log, reference, user);
        for other in (0..people).map(person) {
            let follow = reference.follow(user, other).map(|follow| (follow.following, follow.sequence, follow.since));
            assert_eq!(follow, newest_follow(log, user, other), "{user} follows {other}");
        }
    }
    let listed: Vec<UserId> = reference.profiles().map(|profile| profile.user).collect();
    let everybody: BTreeSet<UserId> = log.iter().flat_map(named).collect();
    assert_eq!(listed, everybody.into_iter().collect::<Vec<_>>());
    let streams: BTreeSet<StreamId> = log.iter().map(|envelope| envelope.stream).collect();
    for stream in &streams {
        assert_eq!(reference.versions(*stream), versions(log, *stream), "{stream}");
    }
    let all: Vec<(StreamId, Vec<Version>)> =
        reference.all_versions().map(|(stream, versions)| (stream, versions.to_vec())).collect();
    let expected = streams.into_iter().map(|stream| (stream, versions(log, stream)));
    assert_eq!(all, expected.filter(|(_, versions)| !versions.is_empty()).collect::<Vec<_>>());
}

/// Whom an event makes a profile of.
fn named(envelope: &Envelope) -> Vec<UserId> {
    match &envelope.event {
        Event::User(event) => vec![event.user()],
        Event::Relation(relations::Event::Followed(pair) | relations::Event::Unfollowed(pair)) => {
            vec![pair.from, pair.to]
        }
        Event::Post(posts::Event::Published(published)) => vec![published.author],
        _ => Vec::new(),
    }
}

fn check_profile(log: &[Envelope], reference: &Reference, user: UserId) {
    let mut username = None;
    let mut shown = None;
    let mut sequence = 0;
    let mut written = BTreeSet::new();
    for envelope in log {
        match &envelope.event {
            Event::User(event) if event.user() == user => {
                sequence = envelope.sequence;
                match event {
                    users::Event::Registered(registered) => {
                        let names = registered.names.open().expect("open");
                        username = Some(names.username.as_str());
                        shown = Some((names.display_name.as_str(), ""));
                    }
                    users::Event::ProfileEdited(edited) => {
                        let profile = edited.profile.open().expect("open");
                        shown = Some((profile.display_name.as_str(), profile.bio.as_str()));
                    }
                }
            }
            Event::Post(posts::Event::Published(new)) if new.author == user => {
                written.insert(new.post);
            }
            Event::Post(posts::Event::Deleted(gone)) => {
                written.remove(&gone.post);
            }
            _ => {}
        }
    }
    let follows = |from, to| newest_follow(log, from, to).is_some_and(|(following, ..)| following);
    let people: BTreeSet<UserId> = log.iter().flat_map(named).collect();
    let profile = reference.profile(user);
    let names =
        profile.names.map(|(username, display_name, bio)| (username.as_str(), display_name.as_str(), bio.as_str()));
    assert_eq!(names, username.zip(shown).map(|(username, (display_name, bio))| (username, display_name, bio)));
    assert_eq!(profile.sequence, sequence);
    assert_eq!(profile.followers, people.iter().filter(|other| follows(**other, user)).count() as u64);
    assert_eq!(profile.following, people.iter().filter(|other| follows(user, **other)).count() as u64);
    assert_eq!(profile.posts, written.len() as u64);
}

fn newest_follow(log: &[Envelope], from: UserId, to: UserId) -> Option<(bool, u64, Timestamp)> {
    let pair = relations::Pair { from, to };
    log.iter().rev().find_map(|envelope| match &envelope.event {
        Event::Relation(relations::Event::Followed(of)) if *of == pair => {
            Some((true, envelope.sequence, envelope.time))
        }
        Event::Relation(relations::Event::Unfollowed(of)) if *of == pair => {
            Some((false, envelope.sequence, envelope.time))
        }
        _ => None,
    })
}

fn versions(log: &[Envelope], stream: StreamId) -> Vec<Version> {
    let mut versions = Vec::new();
    for envelope in log.iter().filter(|envelope| envelope.stream == stream) {
        let said = match &envelope.event {
            Event::Post(
                posts::Event::Published(posts::Published { text, .. })
                | posts::Event::Edited(posts::Edited { text, .. }),
            ) => text.open().map(|text| (text.title.clone(), text.markdown.to_string())),
            Event::Comment(
                comments::Event::Added(comments::Added { text, .. })
                | comments::Event::Edited(comments::Edited { text, .. }),
            ) => text.open().map(|text| (None, text.to_string())),
            _ => None,
        };
        match said {
            Some((title, text)) => {
                versions.push(Version { sequence: envelope.sequence, at: envelope.time, title, text });
            }
            None => versions.clear(),
        }
    }
    versions
}
