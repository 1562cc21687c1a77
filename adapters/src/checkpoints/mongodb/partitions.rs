//! The document of a build's partition: who owns it, how far it is, and which lanes wait.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Lane, LogId, Position, Topic};
use futures::TryStreamExt as _;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::{BUILDS, PARTITIONS, Raw, Store, TRIES};
use crate::StoreError;
use crate::checkpoints::{Build, Generation, OwnerEpoch, ParkedLane, Partition, Suspicion, Taken, Trial};
use crate::mongodb::{failed, int, is_duplicate, read};

/// A build's partition, and how its document is called.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) build: Build,
    pub(super) partition: Partition,
    pub(super) id: String,
}

impl Place {
    pub(super) fn of(build: Build, partition: Partition) -> Self {
        let Build { projection, generation } = build;
        let id = format!("{projection}/{}/{}/{}", generation.0, partition.topic.name(), partition.number);
        Self { build, partition, id }
    }

    /// Others of the same owner were faster every time.
    pub(super) fn is_busy(&self) -> StoreError {
        StoreError::Unavailable(format!("{} changes all the time", self.id))
    }

    /// Fields that every document about a partition has, to be found by.
    pub(super) fn fields(&self) -> Document {
        let mut fields = of_build(self.build);
        fields.insert("topic", self.partition.topic.name());
        fields.insert("partition", i32::from(self.partition.number));
        fields
    }
}

/// What documents of a build are found by.
pub(super) fn of_build(build: Build) -> Document {
    doc! { "projection": build.projection, "generation": i64::from(build.generation.0) }
}

/// The order in which partitions are answered.
pub(super) fn by_partition() -> Document {
    doc! { "topic": 1, "partition": 1 }
}

/// A partition's document.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Stored {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) projection: String,
    pub(super) generation: u32,
    topic: String,
    partition: u16,
    /// By chance, when the document was made: versions of one that was removed and made again do not compare.
    pub(super) born: String,
    /// Counts writes.
    pub(super) version: i64,
    pub(super) epoch: u64,
    starts: u32,
    careful_until: Option<i64>,
    trial: Option<StoredTrial>,
    log: Option<String>,
    pub(super) offset: Option<i64>,
    pub(super) drains: u64,
    #[serde(default)]
    pub(super) lanes: BTreeMap<String, StoredLane>,
    #[serde(default)]
    pub(super) drops: Vec<StoredDrop>,
}

#[derive(Clone, Debug, Deserialize)]
struct StoredTrial {
    until: i64,
    starts: u32,
    /// The epoch that began it last, unless it was taken back.
    by: Option<u64>,
}

/// A lane that is parked. What waits is between `first` and `last`, both of which do.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StoredLane {
    pub(super) lane: Lane,
    pub(super) incarnation: i64,
    pub(super) reason: String,
    pub(super) first: i64,
    pub(super) last: i64,
    waiting: u64,
    unfinished_drains: u32,
}

/// Events that have left a queue to be remembered as dropped.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StoredDrop {
    pub(super) lane: Lane,
    pub(super) incarnation: i64,
    pub(super) reason: String,
    pub(super) first: i64,
    pub(super) up_to: i64,
    pub(super) at: i64,
}

impl Stored {
    pub(super) fn place(&self) -> Result<Partition, StoreError> {
        let topic: Result<Topic, _> = self.topic.parse();
        let topic = topic.map_err(|_| StoreError::Damaged(format!("{} is of no topic", self.id)))?;
        Ok(Partition { topic, number: self.partition })
    }

    pub(super) fn position(&self) -> Result<Option<Position>, StoreError> {
        let Some((log, offset)) = self.log.as_ref().zip(self.offset) else { return Ok(None) };
        let log = log.parse().map_err(|_| StoreError::Damaged(format!("{} is of no log", self.id)))?;
        let Partition { topic, number } = self.place()?;
        Ok(Some(Position { log, topic, partition: number, offset }))
    }

    pub(super) fn is_parked(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(&key_of(lane))
    }

    /// What a write is guarded by that shall not arrive late: not after any other.
    pub(super) fn unchanged(&self) -> Document {
        doc! { "version": self.version }
    }

    pub(super) fn parked_lanes(&self) -> Vec<ParkedLane> {
        let mut lanes: Vec<_> = self.lanes.values().map(StoredLane::shown).collect();
        lanes.sort_by(|one, other| one.lane.cmp(&other.lane));
        lanes
    }

    pub(super) fn taken(&self) -> Result<Taken, StoreError> {
        // Once the checkpoint has reached it, it is over.
        let is_ahead = |until: &i64| self.offset.is_none_or(|offset| *until > offset);
        let trial = self.trial.as_ref().map(|trial| Trial { until: trial.until, starts: trial.starts });
        Ok(Taken {
            epoch: OwnerEpoch(self.epoch),
            position: self.position()?,
            parked: self.parked_lanes(),
            suspicion: Suspicion { starts: self.starts, careful_until: self.careful_until.filter(is_ahead), trial },
        })
    }

    pub(super) fn generation(&self) -> Generation {
        Generation(self.generation)
    }
}

impl StoredLane {
    fn shown(&self) -> ParkedLane {
        ParkedLane {
            lane: self.lane.clone(),
            first: self.first,
            reason: self.reason.clone(),
            waiting: self.waiting,
            unfinished_drains: self.unfinished_drains,
        }
    }
}

/// A lane as the name of a field: any text may be a lane, and not any text a name.
pub(super) fn key_of(lane: &Lane) -> String {
    format!("l{}", URL_SAFE_NO_PAD.encode(lane.as_str()))
}

/// What an owner's write does.
#[derive(Clone, Debug, Default)]
pub(super) struct Write {
    /// What must be so besides.
    pub(super) guard: Document,
    pub(super) set: Document,
    pub(super) unset: Document,
    pub(super) inc: Document,
    pub(super) push: Document,
}

impl Store {
    pub(super) fn partitions(&self) -> Raw {
        self.collection(PARTITIONS)
    }

    /// All partitions of a build, in their order.
    pub(super) async fn partitions_of(&self, build: Build) -> Result<Vec<Stored>, StoreError> {
        let found = self.partitions().find(of_build(build)).sort(by_partition()).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        found.iter().map(read).collect()
    }

    pub(super) async fn partition(&self, place: &Place) -> Result<Option<Stored>, StoreError> {
        let found = self.partitions().find_one(doc! { "_id": &place.id }).await.map_err(failed)?;
        found.as_ref().map(read).transpose()
    }

    /// The document as its owner finds it, with nothing left to be remembered.
    pub(super) async fn owned(&self, place: &Place, epoch: OwnerEpoch) -> Result<Stored, StoreError> {
        match self.partition(place).await? {
            Some(stored) if stored.epoch == epoch.0 => self.with_drops_remembered(place, stored).await,
            _ => Err(StoreError::Overtaken(format!("epoch {} of {}", epoch.0, place.id))),
        }
    }

    /// The one way to write the document: only while the epoch is the partition's (P2). `None` if it is no longer, or if
    /// the guard does not hold.
    pub(super) async fn write(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        write: Write,
    ) -> Result<Option<Stored>, StoreError> {
        self.write_showing(place, epoch, write, doc! {}).await
    }

    async fn write_showing(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        write: Write,
        projection: Document,
    ) -> Result<Option<Stored>, StoreError> {
        let mut filter = doc! { "_id": &place.id, "epoch": int(epoch.0) };
        filter.extend(write.guard);
        let mut inc = write.inc;
        inc.insert("version", 1_i64);
        let mut update = doc! { "$inc": inc };
        for (operator, fields) in [("$set", write.set), ("$unset", write.unset), ("$push", write.push)] {
            if !fields.is_empty() {
                update.insert(operator, fields);
            }
        }
        let written = self
            .partitions()
            .find_one_and_update(filter, update)
            .projection(projection)
            .return_document(ReturnDocument::After)
            .await
            .map_err(failed)?;
        written.as_ref().map(read).transpose()
    }

    pub(super) async fn take(&self, place: &Place) -> Result<Stored, StoreError> {
        let stored = loop {
            let raised = self
                .partitions()
                .find_one_and_update(
                    doc! { "_id": &place.id },
                    doc! { "$inc": { "epoch": 1_i64, "starts": 1_i64, "version": 1_i64 } },
                )
                .return_document(ReturnDocument::After)
                .await
                .map_err(failed)?;
            match raised {
                Some(raised) => break read::<Stored>(&raised)?,
                None => self.begin(place, OwnerEpoch::before_the_first()).await?,
            }
        };
        let stored = self.with_drops_remembered(place, stored).await?;
        self.remove_dead_entries(place, &stored).await;
        Ok(stored)
    }

    /// Makes the document of a partition that nobody has taken, unless somebody else does at this moment. Its first owner
    /// has the epoch after this one.
    pub(super) async fn begin(&self, place: &Place, epoch: OwnerEpoch) -> Result<(), StoreError> {
        let mut first = place.fields();
        first.insert("born", format!("{:016x}", rand::random::<u64>()));
        first.insert("drains", 0_i64);
        first.insert("epoch", int(epoch.0));
        first.insert("starts", 0_i64);
        first.insert("version", 0_i64);
        let make = doc! { "$setOnInsert": first };
        match self.partitions().update_one(doc! { "_id": &place.id }, make).upsert(true).await {
            Ok(_) => Ok(()),
            Err(error) if is_duplicate(&error) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Answers the document, without its lanes where it was written.
    pub(super) async fn save(&self, place: &Place, epoch: OwnerEpoch, position: Position) -> Result<Saved, StoreError> {
        self.check_log(place, epoch, position.log).await?;
        // P1: never backwards.
        let is_lower = doc! {
            "$or": [{ "offset": { "$lt": position.offset } }, { "offset": { "$exists": false } }],
        };
        let write = Write {
            guard: is_lower,
            set: doc! { "log": position.log.to_string(), "offset": position.offset, "starts": 1_i64 },
            unset: doc! { "trial": "" },
            ..Write::default()
        };
        match self.write_showing(place, epoch, write, doc! { "lanes": 0, "drops": 0 }).await? {
            Some(written) => Ok(Saved::Written(written)),
            None => Ok(Saved::Was(self.owned(place, epoch).await?)),
        }
    }

    /// Offsets of two logs do not compare, so a build is of one: the first that any of its partitions is saved with.
    async fn check_log(&self, place: &Place, epoch: OwnerEpoch, log: LogId) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Made {
            log: String,
        }
        let build = place.build;
        let known = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&build).copied();
        if known == Some(log) {
            return Ok(());
        }
        // Whoever owns nothing any more does not decide it.
        self.owned(place, epoch).await?;
        let id = format!("{}/{}", build.projection, build.generation.0);
        let made = loop {
            let made = self
                .collection(BUILDS)
                .find_one_and_update(doc! { "_id": &id }, doc! { "$setOnInsert": { "log": log.to_string() } })
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await;
            match made {
                Ok(Some(made)) => break read::<Made>(&made)?.log,
                Ok(None) => return Err(StoreError::Damaged(format!("the log of {id} was not stored"))),
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        };
        if made != log.to_string() {
            return Err(StoreError::Damaged(format!("{id} was built from log {made}, and {log} is another")));
        }
        self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(build, log);
        Ok(())
    }

    pub(super) async fn settle(&self, place: &Place, epoch: OwnerEpoch, starts: u32) -> Result<(), StoreError> {
        let set = doc! { "starts": i64::from(starts) };
        if starts > 0 {
            return self.write_or_overtaken(place, epoch, Write { set, ..Write::default() }).await;
        }
        let end = |stored: &Stored| {
            let mut write = Write { set: set.clone(), ..Write::default() };
            if stored.trial.as_ref().is_some_and(|trial| trial.by == Some(epoch.0)) {
                // Taken back once: that it was this owner's is taken away with it.
                write.unset = doc! { "trial.by": "" };
                write.inc = doc! { "trial.starts": -1_i64 };
            }
            Some(write)
        };
        self.decide(place, epoch, end).await
    }

    pub(super) async fn begin_trial(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        until: i64,
        careful_until: i64,
    ) -> Result<(), StoreError> {
        let begin = |stored: &Stored| {
            let starts = match &stored.trial {
                // By this owner already: the answer was lost.
                Some(trial) if trial.until == until && trial.by == Some(epoch.0) => trial.starts,
                Some(trial) if trial.until == until => trial.starts + 1,
                _ => 1,
            };
            let trial = doc! { "until": until, "starts": i64::from(starts), "by": int(epoch.0) };
            let set = doc! { "careful_until": careful_until, "trial": trial };
            Some(Write { set, ..Write::default() })
        };
        self.decide(place, epoch, begin).await
    }

    pub(super) async fn note_drains(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        lane: &Lane,
        unfinished: u32,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let field = format!("lanes.{}", key_of(lane));
        let mut set = doc! { format!("{field}.unfinished_drains"): i64::from(unfinished) };
        if let Some(reason) = reason {
            set.insert(format!("{field}.reason"), reason);
        }
        let note = |stored: &Stored| stored.is_parked(lane).then(|| Write { set: set.clone(), ..Write::default() });
        self.decide(place, epoch, note).await
    }

    /// Writes what `decision` makes of the document, while it is as it was decided on: before any other write, or not at
    /// all. `None` writes nothing.
    async fn decide(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        decision: impl Fn(&Stored) -> Option<Write>,
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let stored = self.owned(place, epoch).await?;
            let Some(write) = decision(&stored) else { return Ok(()) };
            let write = Write { guard: stored.unchanged(), ..write };
            if self.write(place, epoch, write).await?.is_some() {
                return Ok(());
            }
        }
        Err(place.is_busy())
    }

    async fn write_or_overtaken(&self, place: &Place, epoch: OwnerEpoch, write: Write) -> Result<(), StoreError> {
        match self.write(place, epoch, write).await? {
            Some(_) => Ok(()),
            None => Err(StoreError::Overtaken(format!("epoch {} of {}", epoch.0, place.id))),
        }
    }
}

/// What came of saving a position.
pub(super) enum Saved {
    /// The document after it, without its lanes.
    Written(Stored),
    /// The document, which was further on: all of it.
    Was(Stored),
}
