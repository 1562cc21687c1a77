//! Write timestamps: who wins where two writes meet.
//!
//! Cassandra keeps, cell by cell, the write with the greatest timestamp, whichever came first. So a timestamp that says
//! what a write *is*, instead of when it was sent, makes every write idempotent and every order of arrival give the same
//! rows, without a read and without a lightweight transaction. All cells of a row are in every write of it, so that no row
//! is ever put together from two.

use domain::PostId;

use crate::StoreError;
use crate::timelines::AuthorEntry;

/// Bits of an author row's timestamp that hold the offset; the sequence has the 23 above them.
const OFFSET_BITS: u32 = 40;
const SEQUENCES: u64 = 1 << (63 - OFFSET_BITS);
const OFFSETS: i64 = 1 << OFFSET_BITS;

/// Of a deletion below a mark: above every row of a home. What is at or below a mark is never needed again.
pub(super) const BELOW_MARK: i64 = 1 << 62;

/// Of a row in its author's timeline: a greater sequence wins, and of one sequence the lesser offset. Equal are only
/// writes of the same record of the log, and those are the same row.
pub(super) fn author_row(entry: &AuthorEntry) -> Result<i64, StoreError> {
    let sequence = i64::try_from(entry.sequence).ok().filter(|_| entry.sequence < SEQUENCES);
    match (sequence, after_first(entry.offset)) {
        (Some(sequence), offset @ 0..OFFSETS) => Ok(sequence << OFFSET_BITS | (OFFSETS - 1 - offset)),
        // Far beyond what a log can hold; a wrong winner would be worse than none.
        _ => Err(StoreError::Unfit(format!(
            "timelines in Cassandra hold posts of fewer than {SEQUENCES} events and partitions of fewer than {OFFSETS}"
        ))),
    }
}

/// Of what only points from a place in the log: a greater offset wins. It matters to the greatest offset alone.
pub(super) fn pointer(offset: i64) -> i64 {
    after_first(offset) + 1
}

/// Of a row in a home: the lesser offset wins, -1 over all.
pub(super) fn home_row(offset: i64) -> i64 {
    BELOW_MARK - 1 - after_first(offset)
}

/// Of a mark: the greater wins. The id has one bit more than fits, and more behind that; of two marks with one
/// timestamp Cassandra keeps the greater value, so that it comes to the same.
pub(super) fn mark(mark: PostId) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *mark.as_bytes();
    i64::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1).unwrap_or(i64::MAX)
}

/// From 0, as offsets are from -1.
fn after_first(offset: i64) -> i64 {
    offset.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use domain::{Timestamp, UserId};
    use proptest::prelude::*;

    use super::*;

    fn row(sequence: u64, offset: i64) -> AuthorEntry {
        let at = Timestamp::from_millis(1);
        let (author, post) = (UserId::from_parts(at, [1; 10]), PostId::from_parts(at, [2; 10]));
        AuthorEntry { author, post, deleted: false, imported: false, sequence, partition: 0, offset }
    }

    proptest! {
        #[test]
        fn author_rows_are_ordered_by_sequence_and_then_against_the_offset(
            one in (0..SEQUENCES, -1..OFFSETS - 1),
            other in (0..SEQUENCES, -1..OFFSETS - 1),
        ) {
            let expected = (one.0, -one.1).cmp(&(other.0, -other.1));
            let guard = |(sequence, offset)| author_row(&row(sequence, offset)).unwrap();
            prop_assert_eq!(guard(one).cmp(&guard(other)), expected);
        }

        #[test]
        fn home_rows_are_ordered_against_the_offset_below_deletions(one in -1..i64::MAX / 4, other in -1..i64::MAX / 4) {
            prop_assert_eq!(home_row(one).cmp(&home_row(other)), other.cmp(&one));
            prop_assert!(home_row(one) < BELOW_MARK && home_row(one) > 0);
        }

        #[test]
        fn marks_are_never_ordered_against_the_ids(one: [u8; 16], other: [u8; 16]) {
            let (one, other) = (PostId::from_bytes(one), PostId::from_bytes(other));
            prop_assert!(one > other || mark(one) <= mark(other));
            prop_assert!(mark(one) >= 0);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (sequence, offset) in [(SEQUENCES, 0), (u64::MAX, 0), (1, OFFSETS - 1), (1, i64::MAX), (1, -2)] {
            assert!(matches!(author_row(&row(sequence, offset)), Err(StoreError::Unfit(_))), "{sequence}, {offset}");
        }
    }
}
