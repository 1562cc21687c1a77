//! Posts: published once, edited and deleted by their author, gone for good.

use proptest::collection::vec;
use proptest::prelude::*;

use super::story::{given, nothing, run};
use super::{later, person, post, titled, words};
use crate::aggregate::Rejection;
use crate::post::{Command, Deleted, Edited, Event, Post, Published, Text, Visibility};
use crate::sealed::Sealed;

fn publish(text: Text) -> Command {
    let visibility = Visibility::Followers;
    Command::Publish { post: post(1), author: person(1), visibility, text, imported: false }
}

fn published(text: Text) -> Event {
    let visibility = Visibility::Followers;
    let text = Sealed::Open(text);
    Event::Published(Published { post: post(1), author: person(1), visibility, imported: false, text })
}

fn edit(actor: u8, text: Text) -> Command {
    Command::Edit { post: post(1), actor: person(actor), text }
}

fn edited(text: Text) -> Event {
    Event::Edited(Edited { post: post(1), author: person(1), text: Sealed::Open(text) })
}

fn delete(actor: u8) -> Command {
    Command::Delete { post: post(1), actor: person(actor) }
}

fn deleted() -> Event {
    Event::Deleted(Deleted { post: post(1), author: person(1) })
}

#[test]
fn a_published_post_says_what_its_author_wrote() {
    nothing::<Post>().when(publish(titled("First", "Hello"))).then([published(titled("First", "Hello"))]).is(
        Post::Published {
            author: person(1),
            visibility: Visibility::Followers,
            text: titled("First", "Hello"),
            edited_at: None,
        },
    );
}

#[test]
fn an_imported_post_is_marked_as_such() {
    let (visibility, text) = (Visibility::Public, words("From elsewhere"));
    nothing::<Post>()
        .when(Command::Publish { post: post(1), author: person(1), visibility, text: text.clone(), imported: true })
        .then([Event::Published(Published {
            post: post(1),
            author: person(1),
            visibility,
            imported: true,
            text: Sealed::Open(text),
        })]);
}

#[test]
fn an_id_is_published_once_even_after_its_deletion() {
    given::<Post>([published(words("Hello"))]).when(publish(words("Hello"))).refused(Rejection::AlreadyExists("post"));
    given::<Post>([published(words("Hello")), deleted()])
        .when(publish(words("Hello")))
        .refused(Rejection::AlreadyExists("post"));
}

#[test]
fn an_edit_replaces_title_and_text_and_keeps_visibility() {
    given::<Post>([published(titled("First", "Hello"))])
        .when(edit(1, words("Hello again")))
        .then([edited(words("Hello again"))])
        .is(Post::Published {
            author: person(1),
            visibility: Visibility::Followers,
            text: words("Hello again"),
            edited_at: Some(later(2)),
        });
}

#[test]
fn an_edit_of_the_title_alone_is_an_edit() {
    given::<Post>([published(words("Hello"))])
        .when(edit(1, titled("First", "Hello")))
        .then([edited(titled("First", "Hello"))]);
}

#[test]
fn an_edit_that_changes_nothing_is_none() {
    given::<Post>([published(words("Hello"))]).when(edit(1, words("Hello"))).then_nothing();
}

#[test]
fn only_its_author_edits_a_post() {
    given::<Post>([published(words("Hello"))])
        .when(edit(2, words("Mine now")))
        .refused(Rejection::NotYours("post"))
        .when(edit(2, words("Hello")))
        .refused(Rejection::NotYours("post"));
}

#[test]
fn a_deleted_post_keeps_its_author_and_none_of_its_text() {
    let gone = given::<Post>([published(titled("First", "Secret words"))])
        .when(delete(1))
        .then([deleted()])
        .is(Post::Deleted { author: person(1) });
    gone.when(delete(1)).refused(Rejection::NotFound("post"));
}

#[test]
fn only_its_author_deletes_a_post() {
    given::<Post>([published(words("Hello"))]).when(delete(2)).refused(Rejection::NotYours("post"));
}

#[test]
fn what_is_not_there_is_neither_edited_nor_deleted() {
    nothing::<Post>()
        .when(edit(1, words("Hello")))
        .refused(Rejection::NotFound("post"))
        .when(delete(1))
        .refused(Rejection::NotFound("post"));
    given::<Post>([published(words("Hello")), deleted()])
        .when(edit(1, words("Again")))
        .refused(Rejection::NotFound("post"))
        .when(edit(2, words("Again")))
        .refused(Rejection::NotFound("post"));
}

fn command() -> impl Strategy<Value = Command> {
    (0..4u8, 1..3u8, 0..3u8).prop_map(|(what, actor, text)| {
        let text = words(&format!("text {text}"));
        match what {
            0 => publish(text),
            1 | 2 => edit(actor, text),
            _ => delete(actor),
        }
    })
}

proptest! {
    // Invariants: absent, then published, then deleted, never back; author and visibility never change; only an edit
    // changes text, and says when; an edit is idempotent.
    #[test]
    fn whatever_is_wanted_of_a_post(commands in vec(command(), 0..30)) {
        let edits = |command: &Command| matches!(command, Command::Edit { .. });
        run::<Post>(&commands, edits, |before, after, event| match (before, after) {
            (Post::Absent, Post::Published { author, edited_at: None, .. }) => assert_eq!(*author, person(1)),
            (
                Post::Published { author: a, visibility: v, text: old, .. },
                Post::Published { author: b, visibility: w, text: new, edited_at: Some(_) },
            ) => {
                assert_eq!((a, v), (b, w));
                assert_ne!(old, new);
                assert!(matches!(event, Event::Edited(_)));
            }
            (Post::Published { author: a, .. }, Post::Deleted { author: b }) => assert_eq!(a, b),
            (before, after) => panic!("{before:?} became {after:?}"),
        });
    }
}
