//! How members divide partitions: a function of who is there, so that all come to the same answer without a word.

use std::collections::BTreeSet;

use domain::Topic;

use super::Row;
use crate::checkpoints::Partition;

/// What is `own`'s. Of each topic, those who read it get numbers of partitions that differ by one at most; a
/// partition goes to the member that draws the highest for it among those who still have room, so that most stay where
/// they are when somebody comes or goes.
pub(super) fn share_of(own: i64, members: &[Row], partitions: u16) -> BTreeSet<Partition> {
    let mut share = BTreeSet::new();
    for (turn, topic) in Topic::WITH_CANARIES.into_iter().enumerate() {
        let mut readers: Vec<i64> =
            members.iter().filter(|row| row.topics.contains(&topic)).map(|row| row.member).collect();
        readers.sort_unstable();
        let count = readers.len();
        if count == 0 {
            continue;
        }
        let (each, over) = (usize::from(partitions) / count, usize::from(partitions) % count);
        // Not the same members get one more in every topic.
        let has_one_more = |place: usize| (place + turn * over) % count < over;
        let mut room: Vec<(i64, usize)> = readers
            .into_iter()
            .enumerate()
            .map(|(place, member)| (member, each + usize::from(has_one_more(place))))
            .collect();
        for number in 0..partitions {
            let partition = Partition { topic, number };
            let with_room = room.iter_mut().filter(|(_, room)| *room > 0);
            let Some((member, room)) = with_room.max_by_key(|(member, _)| draw(*member, turn, number)) else { break };
            *room -= 1;
            if *member == own {
                share.insert(partition);
            }
        }
    }
    share
}

/// What a member draws for a partition: evenly spread, and the same in every process and version (SplitMix64).
fn draw(member: i64, turn: usize, number: u16) -> u64 {
    let seed = member.cast_unsigned() ^ (turn as u64) << 16 ^ u64::from(number);
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(member: i64, topics: &[Topic]) -> Row {
        Row { member, topics: topics.to_vec() }
    }

    fn shares(members: &[Row], partitions: u16) -> Vec<BTreeSet<Partition>> {
        members.iter().map(|row| share_of(row.member, members, partitions)).collect()
    }

    #[test]
    fn every_partition_has_one_member_and_nobody_has_two_more_than_another() {
        for partitions in 1..20 {
            for count in 1..8 {
                let members: Vec<Row> = (1..=count).map(|member| row(member * 7919, &Topic::ALL)).collect();
                let shares = shares(&members, partitions);
                let all: Vec<Partition> = shares.iter().flatten().copied().collect();
                let distinct: BTreeSet<Partition> = all.iter().copied().collect();
                assert_eq!(all.len(), usize::from(partitions) * Topic::ALL.len());
                assert_eq!(all.len(), distinct.len());
                for topic in Topic::ALL {
                    let sizes = shares.iter().map(|share| share.iter().filter(|one| one.topic == topic).count());
                    let sizes: Vec<usize> = sizes.collect();
                    assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
                }
            }
        }
    }

    #[test]
    fn a_topic_goes_to_those_who_read_it() {
        let members = [row(1, &[Topic::Posts]), row(2, &[Topic::Posts, Topic::Users])];
        let shares = shares(&members, 4);
        assert_eq!(shares[0].iter().filter(|one| one.topic == Topic::Posts).count(), 2);
        assert_eq!(shares[1].iter().filter(|one| one.topic == Topic::Users).count(), 4);
        assert!(shares.iter().flatten().all(|one| one.topic != Topic::Relations), "nobody reads them");
    }

    #[test]
    fn most_partitions_stay_where_they_are_when_somebody_comes() {
        let members: Vec<Row> = (1..=4).map(|member| row(member * 7919, &Topic::ALL)).collect();
        let (before, after) = (shares(&members[..3], 16), shares(&members, 16));
        let kept: usize = before.iter().zip(&after).map(|(before, after)| before.intersection(after).count()).sum();
        let needed = after[3].len();
        assert!(kept >= 48 - 2 * needed, "{kept} of 48 stayed, and {needed} had to go");
    }
}
