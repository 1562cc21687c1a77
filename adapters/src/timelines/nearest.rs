//! Many timelines merged into one: of all entries, those nearest to the end that a span is counted from.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Entry, Order, Span};

/// Never holds more than the nearest `limit` entries. Once it has so many, its span ends at the farthest of them, and a
/// timeline need be read no farther than that: many authors cost little more than a look at each.
pub(super) struct Nearest {
    span: Span,
    limit: usize,
    kept: BinaryHeap<Kept>,
}

/// An entry, ordered by how far it is from the end that the span is counted from.
struct Kept {
    entry: Entry,
    order: Order,
}

impl Nearest {
    pub(super) fn new(span: Span, limit: usize) -> Self {
        Self { span, limit, kept: BinaryHeap::new() }
    }

    /// Where entries are still wanted.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Keeps the entry if it is among the nearest so far.
    pub(super) fn keep(&mut self, entry: Entry) -> bool {
        let kept = Kept { entry, order: self.span.order };
        if self.kept.len() == self.limit {
            match self.kept.peek_mut() {
                Some(mut farthest) if kept < *farthest => *farthest = kept,
                _ => return false,
            }
        } else {
            self.kept.push(kept);
        }
        if self.kept.len() == self.limit
            && let Some(farthest) = self.kept.peek()
        {
            match self.span.order {
                Order::NewestFirst => self.span.above = farthest.entry.post,
                Order::OldestFirst => self.span.below = farthest.entry.post,
            }
        }
        true
    }

    /// In the order of the span.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.kept.into_sorted_vec().into_iter().map(|kept| kept.entry).collect()
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.order {
            Order::NewestFirst => other.entry.post.cmp(&self.entry.post),
            Order::OldestFirst => self.entry.post.cmp(&other.entry.post),
        }
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}
