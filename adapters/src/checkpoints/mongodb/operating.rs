//! What operators want and what workers tell them.

use std::collections::{BTreeMap, HashMap};

use domain::{Lane, Timestamp};
use futures::TryStreamExt as _;
use mongodb::bson::{Bson, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::partitions::{Place, by_partition, of_build};
use super::{COUNTERS, DECISIONS, REQUESTS, Store, WORKERS};
use crate::StoreError;
use crate::checkpoints::{
    Activity, Build, Epoch, Epochs, Generation, LaneOrder, LaneRequest, Outcome, OwnerEpoch, Partition, RequestId,
    WorkerError, WorkerState,
};
use crate::mongodb::{failed, is_duplicate, read};

/// How long what came of a request is kept, in milliseconds.
const OUTCOME_LIFE_MILLIS: i64 = 60 * 60 * 1000;

/// The document of all epochs, in the collection of counters: one field each.
const EPOCHS: &str = "epochs";

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "_id")]
    id: i64,
    projection: String,
    generation: u32,
    topic: String,
    partition: u16,
    lane: Lane,
    drop_up_to: Option<i64>,
}

impl Request {
    fn read(raw: &RawDocumentBuf) -> Result<LaneRequest, StoreError> {
        let Self { id, projection, generation, topic, partition, lane, drop_up_to } = read(raw)?;
        let order = drop_up_to.map_or(LaneOrder::Retry, |up_to| LaneOrder::Drop { up_to });
        let partition = partition_of(&topic, partition)?;
        Ok(LaneRequest { id: RequestId(id), projection, generation: Generation(generation), partition, lane, order })
    }
}

fn read_epochs(raw: &RawDocumentBuf) -> Result<Epochs, StoreError> {
    #[derive(Deserialize)]
    struct Raised {
        #[serde(default)]
        cache: u64,
        #[serde(default)]
        live: u64,
    }
    let Raised { cache, live } = read(raw)?;
    Ok(Epochs { cache, live })
}

fn partition_of(topic: &str, number: u16) -> Result<Partition, StoreError> {
    let topic = topic.parse().map_err(|_| StoreError::Damaged(format!("`{topic}` is no topic")))?;
    Ok(Partition { topic, number })
}

impl Store {
    /// Which generations serve, and which projections are paused since when.
    pub(super) async fn decisions(
        &self,
    ) -> Result<(HashMap<String, Generation>, BTreeMap<String, Timestamp>), StoreError> {
        #[derive(Deserialize)]
        struct Decided {
            #[serde(rename = "_id")]
            projection: String,
            generation: Option<u32>,
            paused_since: Option<i64>,
        }
        let found = self.collection(DECISIONS).find(doc! {}).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        let (mut serving, mut paused) = (HashMap::new(), BTreeMap::new());
        for found in &found {
            let Decided { projection, generation, paused_since } = read(found)?;
            if let Some(since) = paused_since {
                paused.insert(projection.clone(), Timestamp::from_millis(since));
            }
            if let Some(generation) = generation {
                serving.insert(projection, Generation(generation));
            }
        }
        Ok((serving, paused))
    }

    pub(super) async fn set_paused(&self, projection: &str, paused: bool, at: Timestamp) -> Result<bool, StoreError> {
        let decisions = self.collection(DECISIONS);
        if !paused {
            let is_paused = doc! { "_id": projection, "paused_since": { "$ne": Bson::Null } };
            let resumed = decisions.update_one(is_paused, doc! { "$unset": { "paused_since": "" } }).await;
            return Ok(resumed.map_err(failed)?.matched_count > 0);
        }
        let runs = doc! { "_id": projection, "paused_since": Bson::Null };
        let pause = doc! { "$set": { "paused_since": at.as_millis() } };
        match decisions.update_one(runs, pause).upsert(true).await {
            Ok(_) => Ok(true),
            // There is a document, and it does not say that the projection runs.
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Answers the request as it is stored. Whether the lane is parked is another document: one that is closed in between
    /// leaves a request that its owner finds nothing to do for.
    pub(super) async fn request(
        &self,
        build: Build,
        partition: Partition,
        lane: &Lane,
        order: LaneOrder,
        at: Timestamp,
    ) -> Result<Option<LaneRequest>, StoreError> {
        let requests = self.collection(REQUESTS);
        let old = doc! {
            "outcome": { "$exists": true }, "at": { "$lt": at.as_millis() - OUTCOME_LIFE_MILLIS },
        };
        requests.delete_many(old).await.map_err(failed)?;
        let place = Place::of(build, partition);
        if !self.partition(&place).await?.is_some_and(|stored| stored.is_parked(lane)) {
            return Ok(None);
        }
        let id = self.next_request().await?;
        let mut document = doc! { "_id": id };
        document.extend(place.fields());
        document.extend(doc! { "lane": lane.as_str(), "at": at.as_millis(), "begun": false });
        if let LaneOrder::Drop { up_to } = order {
            document.insert("drop_up_to", up_to);
        }
        requests.clone_with_type().insert_one(document).await.map_err(failed)?;
        let (projection, generation) = (build.projection.to_owned(), build.generation);
        Ok(Some(LaneRequest { id: RequestId(id), projection, generation, partition, lane: lane.clone(), order }))
    }

    async fn next_request(&self) -> Result<i64, StoreError> {
        #[derive(Deserialize)]
        struct Counter {
            newest: i64,
        }
        Ok(read::<Counter>(&self.count("requests", "newest").await?)?.newest)
    }

    /// Adds one to a field of a document of counters; answers the document.
    async fn count(&self, id: &str, field: &str) -> Result<RawDocumentBuf, StoreError> {
        loop {
            let counted = self
                .collection(COUNTERS)
                .find_one_and_update(doc! { "_id": id }, doc! { "$inc": { field: 1_i64 } })
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await;
            match counted {
                Ok(Some(counted)) => return Ok(counted),
                Ok(None) => return Err(StoreError::Damaged(format!("{id} are not counted"))),
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Answers all epochs as they are afterwards.
    pub(super) async fn raise(&self, epoch: Epoch) -> Result<Epochs, StoreError> {
        read_epochs(&self.count(EPOCHS, epoch.name()).await?)
    }

    /// All epochs; 0 where none was ever raised.
    pub(super) async fn epochs(&self) -> Result<Epochs, StoreError> {
        let found = self.collection(COUNTERS).find_one(doc! { "_id": EPOCHS }).await.map_err(failed)?;
        found.as_ref().map_or(Ok(Epochs::default()), read_epochs)
    }

    /// Requests that are not done yet, oldest first.
    pub(super) async fn requests(&self) -> Result<Vec<LaneRequest>, StoreError> {
        let open = doc! { "outcome": { "$exists": false } };
        let found = self.collection(REQUESTS).find(open).sort(doc! { "_id": 1 }).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        found.iter().map(Request::read).collect()
    }

    pub(super) async fn begin_request(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        request: RequestId,
    ) -> Result<bool, StoreError> {
        // A worker that is overtaken after this look may begin it. Then its owner finds it begun, and ends it as
        // interrupted: it is done at most once.
        self.owned(place, epoch).await?;
        let not_begun = doc! { "_id": request.0, "begun": false };
        let begin = doc! { "$set": { "begun": true } };
        Ok(self.collection(REQUESTS).update_one(not_begun, begin).await.map_err(failed)?.matched_count > 0)
    }

    pub(super) async fn end_request(
        &self,
        place: &Place,
        epoch: OwnerEpoch,
        request: RequestId,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        self.owned(place, epoch).await?;
        let open = doc! { "_id": request.0, "outcome": { "$exists": false } };
        let end = doc! { "$set": { "outcome": outcome.name() } };
        self.collection(REQUESTS).update_one(open, end).await.map_err(failed)?;
        Ok(())
    }

    pub(super) async fn withdraw_request(&self, request: RequestId) -> Result<bool, StoreError> {
        let untouched = doc! { "_id": request.0, "begun": false, "outcome": { "$exists": false } };
        Ok(self.collection(REQUESTS).delete_one(untouched).await.map_err(failed)?.deleted_count > 0)
    }

    pub(super) async fn outcome(&self, request: RequestId) -> Result<Option<Outcome>, StoreError> {
        #[derive(Deserialize)]
        struct Ended {
            outcome: Option<String>,
        }
        let found = self.collection(REQUESTS).find_one(doc! { "_id": request.0 }).await.map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let Some(name) = read::<Ended>(&found)?.outcome else { return Ok(None) };
        let outcome = Outcome::from_name(&name);
        outcome.map(Some).ok_or_else(|| StoreError::Damaged(format!("request {} came to `{name}`", request.0)))
    }

    pub(super) async fn note_state(&self, place: &Place, state: &WorkerState) -> Result<(), StoreError> {
        let mut set = place.fields();
        set.extend(doc! { "activity": state.activity.name(), "since": state.since.as_millis() });
        if let Some(WorkerError { reason, offset, at }) = &state.error {
            set.insert("error", doc! { "reason": reason, "offset": offset, "at": at.as_millis() });
        }
        let workers = self.collection(WORKERS);
        loop {
            let noted = workers.update_one(doc! { "_id": &place.id }, doc! { "$set": set.clone() }).upsert(true);
            match noted.await {
                Ok(_) => return Ok(()),
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    pub(super) async fn states(&self, build: Build) -> Result<Vec<(Partition, WorkerState)>, StoreError> {
        #[derive(Deserialize)]
        struct Said {
            topic: String,
            partition: u16,
            activity: String,
            since: i64,
            error: Option<Failure>,
        }
        #[derive(Deserialize)]
        struct Failure {
            reason: String,
            offset: Option<i64>,
            at: i64,
        }
        let found = self.collection(WORKERS).find(of_build(build)).sort(by_partition()).await.map_err(failed)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(failed)?;
        let states = found.iter().map(|found| {
            let Said { topic, partition, activity, since, error } = read(found)?;
            let unknown = || StoreError::Damaged(format!("no worker is ever `{activity}`"));
            let activity = Activity::from_name(&activity).ok_or_else(unknown)?;
            let error = error.map(|Failure { reason, offset, at }| WorkerError {
                reason,
                offset,
                at: Timestamp::from_millis(at),
            });
            let state = WorkerState { activity, since: Timestamp::from_millis(since), error };
            Ok((partition_of(&topic, partition)?, state))
        });
        states.collect()
    }
}
