//! Anything of a kind, for properties.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::event::{Envelope, Event};
use crate::ids::{CommentId, CorrelationId, EventId, PostId, UserId};
use crate::post::{Text, Visibility};
use crate::reaction::Subject;
use crate::relation::Pair;
use crate::sealed::{Sealed, SealedBox};
use crate::stream::{LogId, Position, StreamId, Topic};
use crate::text::{Bio, CommentText, DisplayName, Markdown, Title, Username};
use crate::time::Timestamp;
use crate::user::{Names, Profile};
use crate::{comment, post, reaction, relation, user};

pub(super) fn timestamp() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_millis()..=Timestamp::MAX.as_millis()).prop_map(Timestamp::from_millis)
}

macro_rules! ids {
    ($($name:ident: $id:ident),*) => {$(
        pub(super) fn $name() -> impl Strategy<Value = $id> {
            (timestamp(), any::<[u8; 10]>()).prop_map(|(at, random)| $id::from_parts(at, random))
        }
    )*};
}

ids!(user_id: UserId, post_id: PostId, comment_id: CommentId, event_id: EventId, correlation_id: CorrelationId);

fn two_people() -> impl Strategy<Value = Pair> {
    (user_id(), user_id()).prop_filter("two", |(from, to)| from != to).prop_map(|(from, to)| Pair { from, to })
}

pub(super) fn stream_id() -> impl Strategy<Value = StreamId> {
    prop_oneof![
        user_id().prop_map(StreamId::User),
        two_people().prop_map(|pair| StreamId::relation(pair.from, pair.to)),
        post_id().prop_map(StreamId::Post),
        comment_id().prop_map(StreamId::Comment),
        (post_id(), user_id()).prop_map(|(post, user)| StreamId::Reaction(post, user)),
    ]
}

pub(super) fn position() -> impl Strategy<Value = Position> {
    let topic = proptest::sample::select(&Topic::ALL[..]);
    (any::<u64>(), topic, any::<u16>(), -1..=i64::MAX).prop_map(|(log, topic, partition, offset)| Position {
        log: LogId(log),
        topic,
        partition,
        offset,
    })
}

/// What anybody may try to send as text: every plane of Unicode, and all that is awkward.
pub(super) fn raw_text() -> impl Strategy<Value = String> {
    let awkward = proptest::sample::select(
        &[
            "\r\n",
            "\r",
            "\n",
            "\t",
            " ",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{200b}",
            "\u{200d}",
            "\u{202e}",
            "\u{2028}",
            "\u{2029}",
            "\u{2066}",
            "\u{feff}",
            "\u{3000}",
            "e\u{301}",
            "\u{1f468}\u{200d}\u{1f469}",
        ][..],
    )
    .prop_map(str::to_owned);
    vec(prop_oneof![3 => "\\PC{1,8}", 1 => awkward, 1 => any::<char>().prop_map(String::from)], 0..12)
        .prop_map(|parts| parts.concat())
}

fn names() -> impl Strategy<Value = Names> {
    let username = "[a-zA-Z][a-zA-Z0-9_]{2,29}".prop_filter_map("a user name", |text| Username::parse(&text).ok());
    let display_name = "\\PC{1,50}".prop_filter_map("a display name", |text| DisplayName::parse(&text).ok());
    (username, display_name).prop_map(|(username, display_name)| Names { username, display_name })
}

fn post_text() -> impl Strategy<Value = Text> {
    let title = "\\PC{1,60}".prop_filter_map("a title", |text| Title::parse(&text).ok());
    let markdown = raw_text().prop_filter_map("a text", |text| Markdown::parse(&text).ok());
    (option::of(title), markdown).prop_map(|(title, markdown)| Text { title, markdown })
}

fn comment_text() -> impl Strategy<Value = CommentText> {
    raw_text().prop_filter_map("a comment", |text| CommentText::parse(&text).ok())
}

fn profile() -> impl Strategy<Value = Profile> {
    let display_name = "\\PC{1,50}".prop_filter_map("a display name", |text| DisplayName::parse(&text).ok());
    let bio = raw_text().prop_filter_map("a bio", |text| Bio::parse(&text).ok());
    (display_name, bio).prop_map(|(display_name, bio)| Profile { display_name, bio })
}

fn user_event() -> impl Strategy<Value = user::Event> {
    let registered = (user_id(), names())
        .prop_map(|(user, names)| user::Event::Registered(user::Registered { user, names: Sealed::Open(names) }));
    let edited = (user_id(), profile()).prop_map(|(user, profile)| {
        user::Event::ProfileEdited(user::ProfileEdited { user, profile: Sealed::Open(profile) })
    });
    prop_oneof![registered, edited]
}

fn relation_event() -> impl Strategy<Value = relation::Event> {
    use relation::Event::{Blocked, Followed, Muted, Unblocked, Unfollowed, Unmuted};
    (two_people(), 0..6u8).prop_map(|(pair, what)| match what {
        0 => Followed(pair),
        1 => Unfollowed(pair),
        2 => Blocked(pair),
        3 => Unblocked(pair),
        4 => Muted(pair),
        _ => Unmuted(pair),
    })
}

fn post_event() -> impl Strategy<Value = post::Event> {
    let visibility = prop_oneof![Just(Visibility::Public), Just(Visibility::Followers)];
    let published = (post_id(), user_id(), visibility, any::<bool>(), post_text()).prop_map(
        |(post, author, visibility, imported, text)| post::Published {
            post,
            author,
            visibility,
            imported,
            text: Sealed::Open(text),
        },
    );
    let edited = (post_id(), user_id(), post_text()).prop_map(|(post, author, text)| post::Edited {
        post,
        author,
        text: Sealed::Open(text),
    });
    let deleted = (post_id(), user_id()).prop_map(|(post, author)| post::Deleted { post, author });
    prop_oneof![
        published.prop_map(post::Event::Published),
        edited.prop_map(post::Event::Edited),
        deleted.prop_map(post::Event::Deleted),
    ]
}

fn comment_event() -> impl Strategy<Value = comment::Event> {
    let place = || (comment_id(), post_id(), user_id());
    let added =
        (place(), option::of(comment_id()), comment_text()).prop_map(|((comment, post, author), parent, text)| {
            comment::Added { comment, post, author, parent, text: Sealed::Open(text) }
        });
    let edited = (place(), comment_text()).prop_map(|((comment, post, author), text)| comment::Edited {
        comment,
        post,
        author,
        text: Sealed::Open(text),
    });
    let deleted = place().prop_map(|(comment, post, author)| comment::Deleted { comment, post, author });
    prop_oneof![
        added.prop_map(comment::Event::Added),
        edited.prop_map(comment::Event::Edited),
        deleted.prop_map(comment::Event::Deleted),
    ]
}

fn reaction_event() -> impl Strategy<Value = reaction::Event> {
    (post_id(), user_id(), any::<bool>()).prop_map(|(post, user, liked)| {
        let subject = Subject { post, user };
        if liked { reaction::Event::Liked(subject) } else { reaction::Event::Unliked(subject) }
    })
}

/// Any event, its text open.
pub(super) fn open_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        user_event().prop_map(Event::from),
        relation_event().prop_map(Event::from),
        post_event().prop_map(Event::from),
        comment_event().prop_map(Event::from),
        reaction_event().prop_map(Event::from),
    ]
}

/// Any event as it travels: its text in a box that nobody has the key of.
pub(super) fn closed_event() -> impl Strategy<Value = Event> {
    (open_event(), vec(any::<u8>(), 1..100)).prop_map(|(mut event, bytes)| {
        if let Some((key, part)) = event.sealed_part() {
            part.close(SealedBox { key, bytes });
        }
        event
    })
}

/// Any event in any envelope that fits it.
pub(super) fn envelope() -> impl Strategy<Value = Envelope> {
    let caused = (user_id(), correlation_id(), option::of(event_id()));
    (event_id(), timestamp(), 1..=u64::MAX, caused, closed_event()).prop_map(
        |(id, time, sequence, (actor, correlation, causation), event)| {
            let stream = event.stream();
            Envelope { id, time, stream, sequence, actor, correlation, causation, event }
        },
    )
}
