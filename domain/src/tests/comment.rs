//! Comments: edited by their author, deleted by their author or the post's, gone for good.

use proptest::collection::vec;
use proptest::prelude::*;

use super::story::{given, nothing, run};
use super::{comment, later, person, post, remark};
use crate::aggregate::Rejection;
use crate::comment::{Added, Command, Comment, Deleted, Edited, Event};
use crate::ids::{CommentId, UserId};
use crate::sealed::Sealed;

const AUTHOR: u8 = 1;
const POST_AUTHOR: u8 = 2;
const STRANGER: u8 = 3;

fn add(parent: Option<CommentId>, text: &str) -> Command {
    Command::Add { comment: comment(1), post: post(1), author: person(AUTHOR), parent, text: remark(text) }
}

fn added(parent: Option<CommentId>, text: &str) -> Event {
    let text = Sealed::Open(remark(text));
    Event::Added(Added { comment: comment(1), post: post(1), author: person(AUTHOR), parent, text })
}

fn edit(actor: u8, text: &str) -> Command {
    Command::Edit { comment: comment(1), actor: person(actor), text: remark(text) }
}

fn edited(text: &str) -> Event {
    let text = Sealed::Open(remark(text));
    Event::Edited(Edited { comment: comment(1), post: post(1), author: person(AUTHOR), text })
}

fn delete(actor: u8, post_author: Option<UserId>) -> Command {
    Command::Delete { comment: comment(1), actor: person(actor), post_author }
}

fn deleted() -> Event {
    Event::Deleted(Deleted { comment: comment(1), post: post(1), author: person(AUTHOR) })
}

#[test]
fn a_comment_says_what_its_author_wrote() {
    nothing::<Comment>().when(add(None, "Well said")).then([added(None, "Well said")]).is(Comment::Added {
        post: post(1),
        author: person(AUTHOR),
        parent: None,
        text: remark("Well said"),
        edited_at: None,
    });
}

#[test]
fn a_reply_knows_what_it_answers() {
    nothing::<Comment>().when(add(Some(comment(7)), "Indeed")).then([added(Some(comment(7)), "Indeed")]).is(
        Comment::Added {
            post: post(1),
            author: person(AUTHOR),
            parent: Some(comment(7)),
            text: remark("Indeed"),
            edited_at: None,
        },
    );
}

#[test]
fn an_id_is_added_once_even_after_its_deletion() {
    given::<Comment>([added(None, "Well said")])
        .when(add(None, "Well said"))
        .refused(Rejection::AlreadyExists("comment"));
    given::<Comment>([added(None, "Well said"), deleted()])
        .when(add(None, "Well said"))
        .refused(Rejection::AlreadyExists("comment"));
}

#[test]
fn an_edit_replaces_the_text_and_keeps_the_place() {
    given::<Comment>([added(Some(comment(7)), "Wel said")])
        .when(edit(AUTHOR, "Well said"))
        .then([edited("Well said")])
        .is(Comment::Added {
            post: post(1),
            author: person(AUTHOR),
            parent: Some(comment(7)),
            text: remark("Well said"),
            edited_at: Some(later(2)),
        });
}

#[test]
fn an_edit_that_changes_nothing_is_none() {
    given::<Comment>([added(None, "Well said")]).when(edit(AUTHOR, "Well said")).then_nothing();
}

#[test]
fn only_its_author_edits_a_comment_not_even_the_posts() {
    given::<Comment>([added(None, "Well said")])
        .when(edit(STRANGER, "Nonsense"))
        .refused(Rejection::NotYours("comment"))
        .when(edit(POST_AUTHOR, "Nonsense"))
        .refused(Rejection::NotYours("comment"));
}

#[test]
fn its_author_deletes_a_comment_and_nothing_of_its_text_is_left() {
    given::<Comment>([added(None, "Secret words")])
        .when(delete(AUTHOR, Some(person(POST_AUTHOR))))
        .then([deleted()])
        .is(Comment::Deleted { post: post(1), author: person(AUTHOR) })
        .when(delete(AUTHOR, Some(person(POST_AUTHOR))))
        .refused(Rejection::NotFound("comment"));
}

#[test]
fn its_author_deletes_a_comment_whose_post_is_gone() {
    given::<Comment>([added(None, "Well said")]).when(delete(AUTHOR, None)).then([deleted()]);
}

#[test]
fn the_posts_author_deletes_any_comment_on_it() {
    given::<Comment>([added(None, "Rude")])
        .when(delete(POST_AUTHOR, Some(person(POST_AUTHOR))))
        .then([deleted()])
        .is(Comment::Deleted { post: post(1), author: person(AUTHOR) });
}

#[test]
fn nobody_else_deletes_a_comment() {
    given::<Comment>([added(None, "Well said")])
        .when(delete(STRANGER, Some(person(POST_AUTHOR))))
        .refused(Rejection::NotYours("comment"))
        .when(delete(POST_AUTHOR, None))
        .refused(Rejection::NotYours("comment"));
}

#[test]
fn what_is_not_there_is_neither_edited_nor_deleted() {
    nothing::<Comment>()
        .when(edit(AUTHOR, "Hello"))
        .refused(Rejection::NotFound("comment"))
        .when(delete(AUTHOR, None))
        .refused(Rejection::NotFound("comment"));
    given::<Comment>([added(None, "Hello"), deleted()])
        .when(edit(AUTHOR, "Again"))
        .refused(Rejection::NotFound("comment"));
}

fn command() -> impl Strategy<Value = Command> {
    (0..4u8, AUTHOR..=STRANGER, 0..3u8, any::<bool>()).prop_map(|(what, actor, text, post_is_there)| {
        let text = format!("text {text}");
        match what {
            0 => add(None, &text),
            1 | 2 => edit(actor, &text),
            _ => delete(actor, post_is_there.then(|| person(POST_AUTHOR))),
        }
    })
}

proptest! {
    // Invariants: absent, then added, then deleted, never back; post, author and parent never change; only an edit
    // changes text, and says when; an edit is idempotent.
    #[test]
    fn whatever_is_wanted_of_a_comment(commands in vec(command(), 0..30)) {
        let edits = |command: &Command| matches!(command, Command::Edit { .. });
        run::<Comment>(&commands, edits, |before, after, event| match (before, after) {
            (Comment::Absent, Comment::Added { edited_at: None, .. }) => {}
            (
                Comment::Added { post: p, author: a, parent: r, text: old, .. },
                Comment::Added { post: q, author: b, parent: s, text: new, edited_at: Some(_) },
            ) => {
                assert_eq!((p, a, r), (q, b, s));
                assert_ne!(old, new);
                assert!(matches!(event, Event::Edited(_)));
            }
            (Comment::Added { post: p, author: a, .. }, Comment::Deleted { post: q, author: b }) => {
                assert_eq!((p, a), (q, b));
            }
            (before, after) => panic!("{before:?} became {after:?}"),
        });
    }
}
