//! What the master of a list has: a pure function of the log, apart from what is checked.

use std::ops::RangeInclusive;

use bytes::Bytes;
use domain::CommentId;
use domain::stream::BEFORE_FIRST;

use super::super::cell::{Comments, Item};
use Event::{Add, Delete, Edit};

/// What a list has at most.
pub(super) const KEPT: usize = 2;

/// What happens to a comment; greater numbers are newer ids. One that is added again is a repeat in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    Add(u8),
    Edit(u8),
    Delete(u8),
}

impl Event {
    pub(super) fn comment(self) -> u8 {
        let (Self::Add(comment) | Self::Edit(comment) | Self::Delete(comment)) = self;
        comment
    }
}

pub(super) type Log = Vec<Event>;

fn id(comment: u8) -> CommentId {
    CommentId::from_bytes([comment; 16])
}

/// The comments of a log, and what each said as of a position: how often it was edited, if it was there.
pub(super) struct Rows<'a>(pub(super) &'a [Event]);

impl Rows<'_> {
    fn text(&self, comment: u8, position: i64) -> Option<u8> {
        let mut text = None;
        let mut added = false;
        for event in self.0[..position as usize].iter().filter(|event| event.comment() == comment) {
            text = match event {
                Add(_) if added => text,
                Add(_) => Some(0),
                Edit(_) => text.map(|edits| edits + 1),
                Delete(_) => None,
            };
            added = true;
        }
        text
    }

    fn created(&self, comment: u8) -> i64 {
        self.0.iter().position(|event| *event == Add(comment)).map_or(BEFORE_FIRST, |index| index as i64 + 1)
    }

    pub(super) fn item(&self, comment: u8, position: i64) -> Option<Item> {
        let text = self.text(comment, position)?;
        Some(Item { comment: id(comment), position: self.created(comment), bytes: Bytes::from(vec![text]) })
    }

    /// The newest as of a position.
    pub(super) fn newest(&self, position: i64) -> Vec<Item> {
        (0..=u8::MAX).rev().filter_map(|comment| self.item(comment, position)).take(KEPT).collect()
    }

    /// Whether a list is the newest as of some position, but for comments that were touched since: of those, it may have
    /// any state that they were in since. (Items are read after the version, one after the other.)
    pub(super) fn is_as_of(&self, list: &Comments, since: RangeInclusive<i64>) -> bool {
        let in_order = list.items.is_sorted_by(|one, next| one.comment > next.comment) && list.items.len() <= KEPT;
        let all_true = list.items.iter().all(|item| {
            let comment = item.comment.as_bytes()[0];
            since.clone().any(|position| self.item(comment, position).as_ref() == Some(item))
        });
        let below = list.items.last().filter(|_| list.items.len() == KEPT).map(|item| item.comment);
        let mut comments = self.0.iter().map(|event| event.comment());
        let all_there = comments.all(|comment| {
            let always = since.clone().all(|position| self.text(comment, position).is_some());
            !always
                || below.is_some_and(|below| id(comment) < below)
                || list.items.iter().any(|item| item.comment == id(comment))
        });
        in_order && all_true && all_there
    }
}

/// All logs of a length that can be.
pub(super) fn all(length: usize, comments: u8) -> Vec<Log> {
    let mut logs = vec![Log::new()];
    for position in 0..length as i64 {
        let mut longer = Vec::new();
        for log in logs {
            for comment in 1..=comments {
                let live = Rows(&log).text(comment, position).is_some();
                let next = [Add(comment), Edit(comment), Delete(comment)];
                longer.extend(next[..if live { 3 } else { 1 }].iter().map(|event| [&log[..], &[*event]].concat()));
            }
        }
        logs = longer;
    }
    logs
}
