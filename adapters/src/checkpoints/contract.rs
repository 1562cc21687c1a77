//! What every adapter of [`Checkpoints`] must do. `stamp!(open)` makes a test of each rule; `open` is an async function
//! beside it that answers an empty store, the same store as another process sees it, and what must outlive both.

use std::time::Duration;

use domain::{Lane, LogId, Position, Topic};
use tokio::sync::watch;

use super::{Build, Checkpoints, Generation, OwnerEpoch, Partition, Progress};

pub(crate) mod operating;
pub(crate) mod owners;
pub(crate) mod parking;
pub(crate) mod progress;

macro_rules! stamp {
    ($open:ident) => {
        $crate::checkpoints::contract::stamp! { $open:
            owners {
                a_new_build_begins_at_the_beginning,
                whoever_takes_a_partition_goes_on_where_the_former_owner_was,
                the_first_epoch_is_greater_than_those_of_checkpoints_that_are_gone,
                a_former_owner_is_fenced,
                a_checkpoint_never_goes_backwards,
                builds_and_partitions_are_independent,
                another_log_is_recognised,
            }
            parking {
                events_wait_in_the_order_of_their_offsets,
                parking_again_changes_nothing,
                a_queue_drains_in_order_and_closes_when_empty,
                whatever_leaves_a_queue_counts_as_a_drain,
                lanes_builds_and_partitions_are_independent,
                an_owner_finds_the_parked_lanes_of_its_partition,
            }
            operating {
                starts_without_an_end_are_counted,
                trials_outlast_the_process,
                unfinished_drains_are_remembered,
                dropped_events_leave_the_queue_and_are_remembered,
                a_pause_shows_everywhere,
                requests_are_done_once_and_their_outcome_is_kept,
                workers_say_how_they_are,
            }
            progress {
                own_writes_show_at_once,
                other_processes_writes_show,
                whoever_watches_is_woken,
                epochs_are_seen_with_the_checkpoint_at_the_latest,
                only_what_serves_counts,
            }
        }
    };
    ($open:ident: $($group:ident { $($rule:ident,)+ })+) => {
        $(
            mod $group {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $rule() {
                        let (checkpoints, elsewhere, _outlives) = super::$open().await;
                        $crate::checkpoints::contract::$group::$rule(&*checkpoints, &*elsewhere).await;
                    }
                )+
            }
        )+
    };
}
pub(crate) use stamp;

const BUILD: Build = Build { projection: "timelines", generation: Generation::FIRST };
const NEXT_BUILD: Build = Build { projection: "timelines", generation: Generation(2) };
const OTHER_BUILD: Build = Build { projection: "engagement", generation: Generation::FIRST };

const PLACE: Partition = Partition { topic: Topic::Posts, number: 3 };
const OTHER_PLACE: Partition = Partition { topic: Topic::Posts, number: 4 };
const OTHER_TOPIC: Partition = Partition { topic: Topic::Relations, number: 3 };

const LOG: LogId = LogId(0xfedc_ba98_7654_3210);

pub(crate) fn at(partition: Partition, offset: i64) -> Position {
    Position { log: LOG, topic: partition.topic, partition: partition.number, offset }
}

fn lane(name: &str) -> Lane {
    Lane::new(name)
}

async fn take(checkpoints: &dyn Checkpoints, build: Build, partition: Partition) -> OwnerEpoch {
    checkpoints.take(build, partition).await.unwrap().epoch
}

/// Waits until the progress is as `is_so` wants it. What does come, comes within this time, however slow the machine.
async fn until(progress: &mut watch::Receiver<Progress>, is_so: impl FnMut(&Progress) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), progress.wait_for(is_so)).await;
    waited.expect("the progress that was waited for").expect("the port is open");
}
