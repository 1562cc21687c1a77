//! Where a feed's stream is: what its ids are made of.
//!
//! A row of a home is known by its place in the log, (partition, offset). A position says which rows have been told:
//! all up to an offset in each partition, its *base*, and some above. The base is a checkpoint of `timelines`, so all
//! rows up to there had been written when they were read, and nothing can come later at or below it, but in three ways,
//! each of which shows: a parked lane drains (`drains`), the viewer's relations change (`stamp`), or the home is trimmed
//! and has a new `mark`.

use std::collections::BTreeSet;

use adapters::checkpoints::Generation;
use adapters::http::cursor::Cursors;
use adapters::timelines::Entry;
use domain::stream::BEFORE_FIRST;
use domain::{LogId, PostId, UserId};

use crate::place::Reset;

/// The form in which positions are written; another one is not read.
const VERSION: u8 = 1;
/// Rows above the base that a position holds, at most: those of a page, and those that a stream tells before it moves
/// its base.
pub(crate) const MOST_HELD: usize = 100 + super::MOST_TOLD;

/// What a feed has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedPosition {
    /// Which life of the log the offsets are of.
    pub(crate) log: LogId,
    /// Which build of `timelines` drains and stamp are of.
    pub(crate) generation: Generation,
    /// How often effects have come later than the base says.
    pub(crate) drains: u64,
    /// The viewer's stamp.
    pub(crate) stamp: i64,
    /// Where the stored home ended.
    pub(crate) mark: PostId,
    /// Offsets by partition: everything up to there has been told.
    pub(crate) base: Vec<i64>,
    /// Rows above the base that have been told, too.
    pub(crate) told: BTreeSet<(u16, i64)>,
}

impl FeedPosition {
    /// The offset up to which all has been told.
    fn base_of(&self, partition: u16) -> i64 {
        self.base.get(usize::from(partition)).copied().unwrap_or(BEFORE_FIRST)
    }

    /// Whether a row is still to be told. One that is news to nobody has no offset, and never is.
    pub(crate) fn lacks(&self, entry: &Entry) -> bool {
        entry.offset > self.base_of(entry.partition) && !self.told.contains(&(entry.partition, entry.offset))
    }

    /// Counts a row as told.
    pub(crate) fn add(&mut self, entry: &Entry) {
        if self.lacks(entry) {
            self.told.insert((entry.partition, entry.offset));
        }
    }

    /// Moves the base forward, to `offset` in `partition`: all rows up to there have been told.
    pub(crate) fn advance(&mut self, partition: u16, offset: i64) {
        if let Some(base) = self.base.get_mut(usize::from(partition))
            && offset > *base
        {
            *base = offset;
            self.told.retain(|(at, told)| *at != partition || *told > offset);
        }
    }

    /// The id of an event or page of `viewer`'s feed.
    pub(crate) fn seal(&self, cursors: &Cursors, viewer: UserId) -> String {
        cursors.seal(&scope(viewer), &self.to_bytes())
    }

    /// Reads an id back.
    pub(crate) fn open(cursors: &Cursors, viewer: UserId, id: &str) -> Result<Self, Reset> {
        let bytes = cursors.open(&scope(viewer), id).map_err(|_| Reset::Malformed)?;
        Self::from_bytes(&bytes).ok_or(Reset::Malformed)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + 4 * self.base.len() + 4 * self.told.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.log.0.to_be_bytes());
        bytes.extend_from_slice(&self.generation.0.to_be_bytes());
        write_number(&mut bytes, self.drains);
        bytes.extend_from_slice(&self.stamp.to_be_bytes());
        bytes.extend_from_slice(self.mark.as_bytes());
        write_number(&mut bytes, self.base.len() as u64);
        for offset in &self.base {
            // Offsets are from -1 on.
            write_number(&mut bytes, offset.wrapping_add(1) as u64);
        }
        for (partition, offset) in &self.told {
            write_number(&mut bytes, u64::from(*partition));
            // What is told is not far above the base, so that most take one byte.
            write_number(&mut bytes, offset.wrapping_sub(self.base_of(*partition)) as u64);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let log = LogId(u64::from_be_bytes(take(&mut rest)?));
        let generation = Generation(u32::from_be_bytes(take(&mut rest)?));
        let drains = read_number(&mut rest)?;
        let stamp = i64::from_be_bytes(take(&mut rest)?);
        let mark = PostId::from_bytes(take(&mut rest)?);
        let partitions = u16::try_from(read_number(&mut rest)?).ok()?;
        let mut base = Vec::with_capacity(usize::from(partitions));
        for _ in 0..partitions {
            base.push((read_number(&mut rest)? as i64).wrapping_sub(1));
        }
        let mut position = Self { log, generation, drains, stamp, mark, base, told: BTreeSet::new() };
        while !rest.is_empty() {
            let partition = u16::try_from(read_number(&mut rest)?).ok()?;
            let above = read_number(&mut rest)? as i64;
            position.told.insert((partition, position.base_of(partition).wrapping_add(above)));
        }
        Some(position)
    }
}

fn scope(viewer: UserId) -> String {
    format!("feed_stream:{viewer}")
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let [byte] = take(bytes)?;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = FeedPosition> {
        let base = prop::collection::vec(prop_oneof![Just(-1i64), 0..1_000i64, Just(i64::MAX - 200)], 0..12);
        let told = prop::collection::vec((0..12u16, 1..100i64), 0..MOST_HELD);
        (any::<(u64, u32, u64, i64)>(), any::<[u8; 16]>(), base, told).prop_map(|(numbers, mark, base, told)| {
            let (log, generation, drains, stamp) = numbers;
            let mut position = FeedPosition {
                log: LogId(log),
                generation: Generation(generation),
                drains,
                stamp,
                mark: PostId::from_bytes(mark),
                base,
                told: BTreeSet::new(),
            };
            for (partition, above) in told {
                position.told.insert((partition, position.base_of(partition) + above));
            }
            position
        })
    }

    fn cursors() -> Cursors {
        let directory = tempfile::tempdir().unwrap();
        Cursors::new(&adapters::secrets::Secrets::load_or_create(&directory.path().join("secrets")).unwrap())
    }

    proptest! {
        #[test]
        fn ids_come_back_as_they_went(position in positions(), other in any::<[u8; 16]>()) {
            let cursors = cursors();
            let viewer = UserId::from_parts(Timestamp::from_millis(1), [1; 10]);
            let id = position.seal(&cursors, viewer);
            prop_assert_eq!(FeedPosition::open(&cursors, viewer, &id), Ok(position));
            let other = UserId::from_bytes(other);
            prop_assert_eq!(FeedPosition::open(&cursors, other, &id), Err(Reset::Malformed));
        }

        #[test]
        fn bytes_from_elsewhere_are_no_position(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            // Sealed, so they come from this server: from another version of it, at worst.
            if let Some(position) = FeedPosition::from_bytes(&bytes) {
                prop_assert_eq!(bytes[0], VERSION);
                prop_assert!(position.base.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_full_id_fits_into_a_header() {
        let mut position = FeedPosition {
            log: LogId(u64::MAX),
            generation: Generation(1),
            drains: 5,
            stamp: i64::MIN,
            mark: PostId::MAX,
            base: vec![1_000_000_000; 16],
            told: BTreeSet::new(),
        };
        position.told.extend((0..MOST_HELD).map(|number| ((number % 16) as u16, 1_000_000_001 + number as i64 * 50)));
        let id = position.seal(&cursors(), UserId::from_parts(Timestamp::from_millis(1), [1; 10]));
        assert!(id.len() < 1_000, "{} characters", id.len());
    }

    #[test]
    fn what_is_below_the_base_or_among_the_told_is_not_lacked() {
        let entry = |partition, offset| {
            let (post, author) = (PostId::MIN, UserId::MIN);
            Entry { post, author, partition, offset }
        };
        let mut position = FeedPosition {
            log: LogId(1),
            generation: Generation(1),
            drains: 0,
            stamp: 0,
            mark: PostId::MIN,
            base: vec![5, BEFORE_FIRST],
            told: BTreeSet::new(),
        };
        assert!(position.lacks(&entry(0, 6)) && !position.lacks(&entry(0, 5)));
        assert!(position.lacks(&entry(1, 0)) && !position.lacks(&entry(1, BEFORE_FIRST)));
        position.add(&entry(0, 8));
        position.add(&entry(0, 6));
        position.add(&entry(0, 3));
        assert!(!position.lacks(&entry(0, 8)) && !position.lacks(&entry(0, 6)) && position.lacks(&entry(0, 7)));
        position.advance(0, 7);
        assert_eq!((position.base.as_slice(), position.told.len()), ([7, -1].as_slice(), 1));
        position.advance(0, 2);
        assert_eq!(position.base, [7, -1], "never backwards");
    }
}
