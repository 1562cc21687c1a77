//! Events of parked lanes, and those that were dropped. See the module above for what counts when.

use std::collections::BTreeMap;

use domain::{Lane, Timestamp};
use futures::TryStreamExt as _;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use serde::Deserialize;

use super::partitions::{Place, Stored, StoredDrop, StoredLane, Write, key_of, of_build};
use super::{DROPPED, QUEUES, Raw, Store, TRIES};
use crate::StoreError;
use crate::checkpoints::{Build, Dropped, OwnerEpoch, Partition};
use crate::mongodb::{failed, int, is_duplicate, read};

/// Documents that are inserted by one command.
const AT_ONCE: usize = 1000;

#[derive(Deserialize)]
struct Entry {
    offset: i64,
}

fn entries_of(place: &Place, lane: &Lane, incarnation: i64) -> Document {
    doc! { "partition": &place.id, "incarnation": incarnation, "lane": lane.as_str() }
}

impl Store {
    fn queues(&self) -> Raw {
        self.collection(QUEUES)
    }

    /// Puts events at the end of a lane's queue, and answers the partition's document.
    pub(super) async fn park(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        lane: &Lane,
        offsets: &[i64],
        reason: &str,
    ) -> Result<Stored, StoreError> {
        for _ in 0..TRIES {
            let stored = self.owned(place, epoch).await?;
            let parked = stored.lanes.get(&key_of(lane));
            // What is in the queue already has its entries, or has left it.
            let is_new = |offset: &i64| parked.is_none_or(|parked| *offset > parked.last);
            let offsets: Vec<i64> = offsets.iter().copied().filter(is_new).collect();
            if offsets.is_empty() {
                return Ok(stored);
            }
            let incarnation = parked.map_or(stored.version + 1, |parked| parked.incarnation);
            self.enqueue(place, lane, incarnation, &offsets).await?;
            let write = parking(&stored, lane, &offsets, reason);
            if let Some(written) = self.write(place, epoch, write).await? {
                return Ok(written);
            }
        }
        Err(place.is_busy())
    }

    /// Writes entries, which count for nothing yet.
    async fn enqueue(&self, place: &Place, lane: &Lane, incarnation: i64, offsets: &[i64]) -> Result<(), StoreError> {
        let entry = |offset: &i64| {
            let mut entry = doc! { "_id": format!("{}/{incarnation}/{offset}", place.id) };
            entry.extend(entries_of(place, lane, incarnation));
            entry.insert("offset", *offset);
            entry
        };
        insert_missing(&self.queues(), &offsets.iter().map(entry).collect::<Vec<_>>()).await
    }

    /// The first offsets of a lane's queue.
    pub(super) async fn parked_offsets(
        &self,
        place: &Place,
        lane: &Lane,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        for _ in 0..TRIES {
            let stored = self.partition(place).await?;
            let Some(parked) = stored.as_ref().and_then(|stored| stored.lanes.get(&key_of(lane))) else {
                return Ok(Vec::new());
            };
            let mut waiting = entries_of(place, lane, parked.incarnation);
            waiting.insert("offset", doc! { "$gte": parked.first, "$lte": parked.last });
            let queues = self.queues();
            let found = queues.find(waiting).sort(doc! { "offset": 1 });
            let found = found.limit(i64::try_from(limit).unwrap_or(i64::MAX)).await.map_err(failed)?;
            let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
            let offsets = found.iter().map(|found| Ok(read::<Entry>(found)?.offset));
            let offsets = offsets.collect::<Result<Vec<_>, StoreError>>()?;
            // Otherwise some have left since the document was read.
            if offsets.first() == Some(&parked.first) {
                return Ok(offsets);
            }
        }
        // Those behind it would overtake it (P3).
        Err(StoreError::Damaged(format!("the first event that waits in a lane of {} is not in its queue", place.id)))
    }

    /// Takes events up to `up_to` out of a lane's queue, to be remembered as dropped where `dropped_at` says when. Answers
    /// the partition's document.
    pub(super) async fn leave(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        lane: &Lane,
        up_to: i64,
        dropped_at: Option<Timestamp>,
    ) -> Result<Stored, StoreError> {
        for _ in 0..TRIES {
            let stored = self.owned(place, epoch).await?;
            let parked = stored.lanes.get(&key_of(lane));
            let Some(parked) = parked.filter(|parked| parked.first <= up_to) else { return Ok(stored) };
            let up_to = up_to.min(parked.last);
            let rest = if up_to < parked.last {
                let Some(rest) = self.rest(place, parked, up_to).await? else {
                    // Others have taken it out since the document was read; or else it is lost.
                    if self.owned(place, epoch).await?.version > stored.version {
                        continue;
                    }
                    let lost = format!("the last event that waits in a lane of {} is not in its queue", place.id);
                    return Err(StoreError::Damaged(lost));
                };
                Some(rest)
            } else {
                None
            };
            let write = leaving(parked, up_to, rest, dropped_at);
            let Some(written) = self.write(place, epoch, write).await? else { continue };
            if dropped_at.is_some() {
                return self.with_drops_remembered(place, written).await;
            }
            let mut gone = entries_of(place, lane, parked.incarnation);
            gone.insert("offset", doc! { "$lte": up_to });
            self.remove(gone).await;
            return Ok(written);
        }
        Err(place.is_busy())
    }

    /// The first that waits above `up_to`, and how many do.
    async fn rest(&self, place: &Place, parked: &StoredLane, up_to: i64) -> Result<Option<(i64, u64)>, StoreError> {
        let mut waiting = entries_of(place, &parked.lane, parked.incarnation);
        waiting.insert("offset", doc! { "$gt": up_to, "$lte": parked.last });
        let first = self.queues().find_one(waiting.clone()).sort(doc! { "offset": 1 }).await.map_err(failed)?;
        let Some(first) = first else { return Ok(None) };
        let count = self.queues().count_documents(waiting).await.map_err(failed)?;
        Ok(Some((read::<Entry>(&first)?.offset, count)))
    }

    /// Removes what no parked lane refers to any more. What stays costs nothing but its place.
    pub(super) async fn remove_dead_entries(&self, place: &Place, stored: &Stored) {
        let alive: Vec<i64> = stored.lanes.values().map(|lane| lane.incarnation).collect();
        let incarnation = doc! { "$lte": stored.version, "$nin": alive };
        self.remove(doc! { "partition": &place.id, "incarnation": incarnation }).await;
    }

    async fn remove(&self, entries: Document) {
        if let Err(error) = self.queues().delete_many(entries).await.map_err(failed) {
            tracing::debug!(%error, "entries that count for nothing stay until their partition is taken over");
        }
    }

    /// Copies what was dropped from the queue to where it is remembered, and takes it out. Can be repeated, and be done
    /// by several at once: the note stays until all of it is done.
    pub(super) async fn with_drops_remembered(&self, place: &Place, mut stored: Stored) -> Result<Stored, StoreError> {
        for drop in std::mem::take(&mut stored.drops) {
            self.remember(place, &drop).await?;
        }
        Ok(stored)
    }

    async fn remember(&self, place: &Place, drop: &StoredDrop) -> Result<(), StoreError> {
        let StoredDrop { lane, incarnation, reason, first, up_to, at } = drop;
        let mut gone = entries_of(place, lane, *incarnation);
        gone.insert("offset", doc! { "$gte": first, "$lte": up_to });
        let mut entries = self.queues().find(gone.clone()).sort(doc! { "offset": 1 }).await.map_err(failed)?;
        let mut documents = Vec::new();
        while let Some(entry) = entries.try_next().await.map_err(failed)? {
            let Entry { offset } = read(&entry)?;
            let mut dropped = doc! { "_id": format!("{}/{offset}", place.id) };
            dropped.extend(place.fields());
            dropped.extend(doc! { "offset": offset, "lane": lane.as_str(), "reason": reason, "at": at });
            documents.push(dropped);
            if documents.len() == AT_ONCE {
                insert_missing(&self.collection(DROPPED), &documents).await?;
                documents.clear();
            }
        }
        insert_missing(&self.collection(DROPPED), &documents).await?;
        self.queues().delete_many(gone).await.map_err(failed)?;
        let note = doc! { "incarnation": incarnation, "first": first, "up_to": up_to };
        let done = doc! { "$pull": { "drops": note } };
        self.partitions().update_one(doc! { "_id": &place.id }, done).await.map_err(failed)?;
        Ok(())
    }

    /// The first events of a build that were dropped.
    pub(super) async fn dropped(&self, build: Build, limit: usize) -> Result<Vec<Dropped>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut before = self.all_drops_remembered(build).await?;
        for _ in 0..TRIES {
            let dropped = self.remembered(build, limit).await?;
            let after = self.all_drops_remembered(build).await?;
            // Otherwise others may have been copying at that moment, and parts of a drop were there.
            if after == before {
                return Ok(dropped);
            }
            before = after;
        }
        Err(StoreError::Unavailable(format!("lanes of {} leave their queues all the time", build.projection)))
    }

    /// Copies what was dropped up to now; answers how often events have left queues, by partition.
    async fn all_drops_remembered(&self, build: Build) -> Result<BTreeMap<String, (String, u64)>, StoreError> {
        let mut drains = BTreeMap::new();
        for stored in self.partitions_of(build).await? {
            let place = Place::of(build, stored.place()?);
            let Stored { id, born, drains: left, .. } = self.with_drops_remembered(&place, stored).await?;
            drains.insert(id, (born, left));
        }
        Ok(drains)
    }

    async fn remembered(&self, build: Build, limit: usize) -> Result<Vec<Dropped>, StoreError> {
        #[derive(Deserialize)]
        struct Found {
            topic: String,
            partition: u16,
            offset: i64,
            lane: Lane,
            reason: String,
            at: i64,
        }
        let dropped = self.collection(DROPPED);
        let found = dropped.find(of_build(build));
        let found = found.sort(doc! { "topic": 1, "partition": 1, "offset": 1 });
        let found = found.limit(i64::try_from(limit).unwrap_or(i64::MAX)).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        let dropped = found.iter().map(|found| {
            let Found { topic, partition, offset, lane, reason, at } = read(found)?;
            let topic = topic.parse().map_err(|_| StoreError::Damaged(format!("`{topic}` is no topic")))?;
            let partition = Partition { topic, number: partition };
            Ok(Dropped { partition, offset, lane, reason, at: Timestamp::from_millis(at) })
        });
        dropped.collect()
    }
}

/// Makes entries count: parks the lane, or moves its end.
fn parking(stored: &Stored, lane: &Lane, offsets: &[i64], reason: &str) -> Write {
    let field = format!("lanes.{}", key_of(lane));
    let (first, last) = (offsets.iter().min().copied(), offsets.iter().max().copied());
    let count = int(offsets.len() as u64);
    match stored.lanes.get(&key_of(lane)) {
        Some(parked) => Write {
            guard: doc! { format!("{field}.incarnation"): parked.incarnation, format!("{field}.last"): parked.last },
            set: doc! { format!("{field}.last"): last },
            inc: doc! { format!("{field}.waiting"): count },
            ..Write::default()
        },
        None => {
            let lane = doc! {
                "lane": lane.as_str(), "incarnation": stored.version + 1, "reason": reason, "first": first, "last": last,
                "waiting": count, "unfinished_drains": 0_i64,
            };
            // That the lane is not parked is not enough: it may have been meanwhile, and what waited is applied.
            Write { guard: stored.unchanged(), set: doc! { field: lane }, ..Write::default() }
        }
    }
}

/// Moves a queue's beginning behind `up_to`, or closes it.
fn leaving(parked: &StoredLane, up_to: i64, rest: Option<(i64, u64)>, dropped_at: Option<Timestamp>) -> Write {
    let StoredLane { lane, incarnation, first, last, reason, .. } = parked;
    let field = format!("lanes.{}", key_of(lane));
    let guard = doc! {
        format!("{field}.incarnation"): incarnation,
        format!("{field}.first"): first,
        format!("{field}.last"): last,
        // It is remembered with what is dropped.
        format!("{field}.reason"): reason,
    };
    let mut write = Write { guard, inc: doc! { "drains": 1_i64 }, ..Write::default() };
    match rest {
        Some((next, waiting)) => {
            write.set = doc! { format!("{field}.first"): next, format!("{field}.waiting"): int(waiting) };
        }
        None => write.unset = doc! { field: "" },
    }
    if let Some(at) = dropped_at {
        let note = doc! {
            "lane": lane.as_str(), "incarnation": incarnation, "reason": reason, "first": first, "up_to": up_to,
            "at": at.as_millis(),
        };
        write.push = doc! { "drops": note };
    }
    write
}

/// Inserts those documents that are not there.
async fn insert_missing(collection: &Raw, documents: &[Document]) -> Result<(), StoreError> {
    for documents in documents.chunks(AT_ONCE) {
        match collection.clone_with_type::<Document>().insert_many(documents).ordered(false).await {
            Err(error) if !is_duplicate(&error) => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}
