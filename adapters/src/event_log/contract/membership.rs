//! What every [`Membership`] promises. An adapter whose members are processes that share partitions stamps the rules on
//! itself with [`stamp`]; each `open` stands for a process of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::Topic;
use domain::stream::BEFORE_FIRST;
use futures::future::{join_all, select_all};
use tokio::sync::watch;

use super::{AT_ONCE, LONG, all_of, record, records_of};
use crate::checkpoints::Partition;
use crate::event_log::{EventLog, Logged, Membership, partition_of};

/// Makes a module with a test for every rule. `$place` is as in [`super::stamp`].
macro_rules! stamp {
    ($name:ident, $place:path) => {
        $crate::event_log::contract::stamp! {
            $name, $place, membership:
            a_sole_member_has_every_partition_of_its_topics,
            two_members_share_every_partition,
            a_group_does_not_see_another,
            the_partitions_of_one_who_leaves_move,
            the_partitions_of_one_who_is_gone_move,
            one_who_comes_back_gets_a_share_again,
            a_member_reads_what_the_log_has,
            a_member_may_go_back,
            a_member_that_waits_is_woken,
            a_member_goes_on_after_others,
        }
    };
}
pub(crate) use stamp;

const GROUP: &str = "group";

fn partitions_of(log: &dyn EventLog, topics: &[Topic]) -> BTreeSet<Partition> {
    let numbers = 0..log.partitions();
    topics.iter().flat_map(|&topic| numbers.clone().map(move |number| Partition { topic, number })).collect()
}

/// Waits until every partition has exactly one of the members, and every member has one.
async fn shared_out(members: &[&dyn Membership], all: &BTreeSet<Partition>) {
    let mut watched: Vec<_> = members.iter().map(|member| member.assigned()).collect();
    let settled = async {
        loop {
            let shares: Vec<_> = watched.iter_mut().map(|share| share.borrow_and_update().clone()).collect();
            let together: usize = shares.iter().map(BTreeSet::len).sum();
            let union: BTreeSet<_> = shares.iter().flatten().copied().collect();
            if union == *all && together == all.len() && shares.iter().all(|share| !share.is_empty()) {
                return;
            }
            select_all(watched.iter_mut().map(|share| Box::pin(share.changed()))).await.0.unwrap();
        }
    };
    let in_time = tokio::time::timeout(LONG, settled).await;
    let shares = || members.iter().map(|member| member.assigned().borrow().clone()).collect::<Vec<_>>();
    assert!(in_time.is_ok(), "not shared out: {:?}", shares());
}

async fn until(mut assigned: watch::Receiver<BTreeSet<Partition>>, wanted: impl Fn(&BTreeSet<Partition>) -> bool) {
    let in_time = tokio::time::timeout(LONG, assigned.wait_for(wanted)).await;
    in_time.expect("assigned in time").unwrap();
}

/// All that a member reads of a partition above `after`, until `count` records are there.
async fn read_on(member: &dyn Membership, partition: Partition, mut after: i64, count: usize) -> Vec<Logged> {
    let mut all = Vec::new();
    while all.len() < count {
        let page = member.read(partition, after, 3, LONG).await.unwrap();
        assert!(!page.is_empty() && page.len() <= 3, "{} of {count} records, then {}", all.len(), page.len());
        after = page.last().map_or(after, |logged| logged.position.offset);
        all.extend(page);
    }
    all
}

pub(crate) async fn a_sole_member_has_every_partition_of_its_topics(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let topics = [Topic::Posts, Topic::Users];
    let member = log.join(GROUP, &topics).await.unwrap();
    shared_out(&[&*member], &partitions_of(&*log, &topics)).await;
}

pub(crate) async fn two_members_share_every_partition(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let (ours, theirs) = (open().await, open().await);
    let one = ours.join(GROUP, &Topic::ALL).await.unwrap();
    let all = partitions_of(&*ours, &Topic::ALL);
    shared_out(&[&*one], &all).await;
    let other = theirs.join(GROUP, &Topic::ALL).await.unwrap();
    shared_out(&[&*one, &*other], &all).await;
}

pub(crate) async fn a_group_does_not_see_another(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let members = join_all(["one", "two"].map(|group| log.join(group, &Topic::ALL))).await;
    let all = partitions_of(&*log, &Topic::ALL);
    for member in members {
        shared_out(&[&*member.unwrap()], &all).await;
    }
}

pub(crate) async fn the_partitions_of_one_who_leaves_move(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let (ours, theirs) = (open().await, open().await);
    let one = ours.join(GROUP, &Topic::ALL).await.unwrap();
    let other = theirs.join(GROUP, &Topic::ALL).await.unwrap();
    let all = partitions_of(&*ours, &Topic::ALL);
    shared_out(&[&*one, &*other], &all).await;
    one.leave().await;
    assert!(one.assigned().borrow().is_empty(), "who has left has nothing");
    shared_out(&[&*other], &all).await;
    one.leave().await;
    other.leave().await;
    assert!(other.assigned().borrow().is_empty(), "who has left has nothing");
}

pub(crate) async fn the_partitions_of_one_who_is_gone_move(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let (ours, theirs) = (open().await, open().await);
    let one = ours.join(GROUP, &Topic::ALL).await.unwrap();
    let other = theirs.join(GROUP, &Topic::ALL).await.unwrap();
    let all = partitions_of(&*ours, &Topic::ALL);
    shared_out(&[&*one, &*other], &all).await;
    drop(one);
    drop(ours);
    shared_out(&[&*other], &all).await;
}

pub(crate) async fn one_who_comes_back_gets_a_share_again(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let (ours, theirs) = (open().await, open().await);
    let all = partitions_of(&*ours, &Topic::ALL);
    let stays = ours.join(GROUP, &Topic::ALL).await.unwrap();
    for _ in 0..3 {
        let comes = theirs.join(GROUP, &Topic::ALL).await.unwrap();
        shared_out(&[&*stays, &*comes], &all).await;
        comes.leave().await;
        shared_out(&[&*stays], &all).await;
    }
}

pub(crate) async fn a_member_reads_what_the_log_has(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let member = log.join(GROUP, &[Topic::Posts]).await.unwrap();
    let all = partitions_of(&*log, &[Topic::Posts]);
    until(member.assigned(), |assigned| *assigned == all).await;
    // Once what is there already, and once what comes while the member reads.
    let mut after = vec![BEFORE_FIRST; all.len()];
    for _ in 0..2 {
        let records = (0..60).map(|number| record(Topic::Posts, &number.to_string())).collect();
        log.append(records).await.unwrap();
        for partition in &all {
            let number = usize::from(partition.number);
            let mut expected = all_of(&*log, Topic::Posts, partition.number, 100).await;
            expected.retain(|logged| logged.position.offset > after[number]);
            let read = read_on(&*member, *partition, after[number], expected.len()).await;
            assert_eq!(read, expected);
            after[number] = log.head(Topic::Posts, partition.number).await.unwrap();
            let nothing = member.read(*partition, after[number], 10, std::time::Duration::from_millis(1)).await;
            assert!(nothing.unwrap().is_empty());
        }
    }
}

pub(crate) async fn a_member_may_go_back(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let log = open().await;
    let member = log.join(GROUP, &[Topic::Users]).await.unwrap();
    let all = partitions_of(&*log, &[Topic::Users]);
    until(member.assigned(), |assigned| *assigned == all).await;
    let positions = log.append((0..25).map(|_| record(Topic::Users, "lane")).collect()).await.unwrap();
    let partition = Partition { topic: Topic::Users, number: positions[0].partition };
    let all = all_of(&*log, Topic::Users, partition.number, 100).await;
    for from in [0_usize, 20, 3, 3, 24, 23, 0, 12] {
        let before = from.checked_sub(1).map_or(BEFORE_FIRST, |index| positions[index].offset);
        assert_eq!(read_on(&*member, partition, before, 25 - from).await, all[from..], "from {from}");
    }
    // Others' reading at random disturbs nobody.
    let page = member.read(partition, BEFORE_FIRST, 10, LONG).await.unwrap();
    assert_eq!(log.read(Topic::Users, partition.number, positions[3].offset, 2, AT_ONCE).await.unwrap(), all[4..6]);
    let after = page.last().unwrap().position.offset;
    assert_eq!(read_on(&*member, partition, after, 25 - page.len()).await, all[page.len()..]);
}

pub(crate) async fn a_member_that_waits_is_woken(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let (ours, theirs) = (open().await, open().await);
    let member = ours.join(GROUP, &[Topic::Posts]).await.unwrap();
    let all = partitions_of(&*ours, &[Topic::Posts]);
    until(member.assigned(), |assigned| *assigned == all).await;
    let number = partition_of(&domain::Lane::new("lane"), ours.partitions());
    let partition = Partition { topic: Topic::Posts, number };
    let mut after = BEFORE_FIRST;
    for log in [&ours, &theirs, &theirs] {
        let mut read = member.read(partition, after, 10, LONG);
        assert!(futures::poll!(&mut read).is_pending());
        let expected = record(Topic::Posts, "lane");
        log.append(vec![expected.clone()]).await.unwrap();
        let read = read.await.unwrap();
        assert_eq!(records_of(&read), [expected]);
        after = read[0].position.offset;
    }
}

pub(crate) async fn a_member_goes_on_after_others(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let (ours, theirs) = (open().await, open().await);
    let one = ours.join(GROUP, &[Topic::Posts]).await.unwrap();
    let all = partitions_of(&*ours, &[Topic::Posts]);
    shared_out(&[&*one], &all).await;
    let positions = ours.append((0..10).map(|_| record(Topic::Posts, "lane")).collect()).await.unwrap();
    let partition = Partition { topic: Topic::Posts, number: positions[0].partition };
    let first = one.read(partition, BEFORE_FIRST, 4, LONG).await.unwrap();
    one.leave().await;
    let other = theirs.join(GROUP, &[Topic::Posts]).await.unwrap();
    shared_out(&[&*other], &all).await;
    let after = first.last().unwrap().position.offset;
    let rest = read_on(&*other, partition, after, positions.len() - first.len()).await;
    let read: Vec<_> = first.iter().chain(&rest).map(|logged| logged.position).collect();
    assert_eq!(read, positions);
}
