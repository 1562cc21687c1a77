//! Reading through the cache: what it has comes from there, and what it has not is loaded once, for everybody.
//!
//! Of all readers of a cold key, in all processes, the one with the lease loads (K4). In this process others wait until it
//! has landed, and then ask the cache; in other processes they ask again and again until the value is there or the lease
//! must have run out. Whoever waits never takes a value over that was loaded before they asked: it may lack what their
//! consistency token names (W7). It is the cache that they ask, where whatever was told of meanwhile is included.
//!
//! Without a cache everybody loads for themselves, as many at a time as the masters are to bear.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapters::StoreError;
use adapters::cache::{Lookup, Space, Token};
use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep};

mod shelves;
#[cfg(test)]
mod tests;

pub(crate) use shelves::{Cached, NewestComments};

/// Loads from masters at a time, in this process.
const LOADS: usize = 32;
/// How often somebody waits for others to load before they load for themselves.
const ROUNDS: usize = 3;
/// Between two looks at a lease that another process has; each time longer.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A kind of values: where they are cached, and where they come from.
#[async_trait]
trait Shelf: Send + Sync + 'static {
    /// What a value is found by.
    type Key: Copy + Eq + Hash + Send + Sync;
    /// What is found.
    type Found: Clone + Send + Sync;

    /// What is cached.
    async fn get(&self, space: Space, keys: &[Self::Key]) -> Result<Vec<Option<Self::Found>>, StoreError>;

    /// What is cached, or a lease.
    async fn look_up(&self, space: Space, keys: &[Self::Key]) -> Result<Vec<Lookup<Self::Found>>, StoreError>;

    /// What the masters have, in the order of the keys.
    async fn load(&self, keys: &[Self::Key]) -> Result<Vec<Self::Found>, StoreError>;

    /// Fills in what was loaded under leases.
    async fn fill(&self, space: Space, fills: Vec<(Self::Key, Token, Self::Found)>) -> Result<(), StoreError>;

    /// How long leases last.
    fn lease(&self) -> Duration;
}

/// What is being loaded here. Whoever has a receiver is told that it has landed, by the end of its sender.
type Flights<K> = HashMap<(Space, K), watch::Receiver<()>>;

/// Reads one kind of values.
struct Reader<S: Shelf> {
    shelf: S,
    loads: Semaphore,
    flights: Mutex<Flights<S::Key>>,
}

impl<S: Shelf> Reader<S> {
    fn new(shelf: S) -> Arc<Self> {
        Arc::new(Self { shelf, loads: Semaphore::new(LOADS), flights: Mutex::default() })
    }

    /// The values of `keys`, which are distinct, in their order.
    async fn read(self: &Arc<Self>, space: Space, keys: &[S::Key]) -> Result<Vec<S::Found>, StoreError> {
        let Ok(mut found) = self.shelf.get(space, keys).await else { return self.load(keys).await };
        for _ in 0..ROUNDS {
            let lacking = lacking(keys, &found);
            if lacking.is_empty() {
                break;
            }
            let (mine, theirs) = self.board(space, &lacking);
            if !mine.is_empty() {
                put(keys, &mut found, self.clone().depart(space, mine).await?);
            }
            for mut flight in theirs {
                // Nothing is ever sent: this is the sender's end.
                while flight.changed().await.is_ok() {}
            }
            let lacking = self::lacking(keys, &found);
            if !lacking.is_empty() {
                let Ok(again) = self.shelf.get(space, &lacking).await else { break };
                let again = lacking.into_iter().zip(again);
                put(keys, &mut found, again.filter_map(|(key, value)| Some((key, value?))));
            }
        }
        // Whoever always comes too late, or finds the cache gone, loads alone.
        let lacking = lacking(keys, &found);
        let loaded = self.load(&lacking).await?;
        put(keys, &mut found, lacking.into_iter().zip(loaded));
        Ok(found.into_iter().flatten().collect())
    }

    /// Loads past the cache.
    async fn load(&self, keys: &[S::Key]) -> Result<Vec<S::Found>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let _one_of_some =
            self.loads.acquire().await.map_err(|_| StoreError::Unavailable("nothing is loaded any more".to_owned()))?;
        metrics::counter!("hybrid_live_cache_loaded_total").increment(keys.len() as u64);
        self.shelf.load(keys).await
    }

    /// What of `keys` the caller is to load, and the landings of what others load already.
    fn board(self: &Arc<Self>, space: Space, keys: &[S::Key]) -> (Vec<Flight<S>>, Vec<watch::Receiver<()>>) {
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            match flights.entry((space, *key)) {
                Entry::Occupied(flight) => theirs.push(flight.get().clone()),
                Entry::Vacant(place) => {
                    let (landed, landing) = watch::channel(());
                    place.insert(landing);
                    mine.push(Flight { reader: Arc::clone(self), space, key: *key, _landed: landed });
                }
            }
        }
        (mine, theirs)
    }

    /// Loads on its own, so that others get what they wait for, whatever becomes of the caller.
    async fn depart(
        self: Arc<Self>,
        space: Space,
        flights: Vec<Flight<S>>,
    ) -> Result<Vec<(S::Key, S::Found)>, StoreError> {
        let (arrival, arrived) = oneshot::channel();
        tokio::spawn(async move {
            // If nobody waits any more, the fill was worth it all the same.
            let _ = arrival.send(self.fly(space, flights).await);
        });
        arrived.await.map_err(|_| StoreError::Unavailable("loading was broken off".to_owned()))?
    }

    /// Gets each value from the cache or, under a lease, from the masters.
    async fn fly(&self, space: Space, mut flights: Vec<Flight<S>>) -> Result<Vec<(S::Key, S::Found)>, StoreError> {
        let mut landed = Vec::with_capacity(flights.len());
        let deadline = Instant::now() + self.shelf.lease();
        let mut pause = FIRST_PAUSE;
        while !flights.is_empty() {
            let Ok(looked_up) = self.shelf.look_up(space, &keys(&flights)).await else { break };
            let (mut granted, mut tokens, mut taken) = (Vec::new(), Vec::new(), Vec::new());
            for (flight, looked_up) in flights.into_iter().zip(looked_up) {
                match looked_up {
                    Lookup::Found(value) => landed.push((flight.key, value)),
                    Lookup::Granted(token) => {
                        granted.push(flight);
                        tokens.push(token);
                    }
                    Lookup::Taken => taken.push(flight),
                }
            }
            flights = taken;
            if !granted.is_empty() {
                let keys = keys(&granted);
                let values = self.load(&keys).await?;
                let fills = keys.iter().zip(tokens).zip(&values);
                let fills = fills.map(|((key, token), value)| (*key, token, value.clone())).collect();
                // What could not be filled in is good for this reader, and the next one tries.
                let _ = self.shelf.fill(space, fills).await;
                landed.extend(keys.into_iter().zip(values));
                // Only now, so that those who waited find it.
                drop(granted);
            }
            if flights.is_empty() || Instant::now() >= deadline {
                break;
            }
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let keys = keys(&flights);
        let loaded = self.load(&keys).await?;
        landed.extend(keys.into_iter().zip(loaded));
        Ok(landed)
    }
}

/// A value that is being loaded here. When it is dropped, it has landed: there is another way to it by now, or none.
struct Flight<S: Shelf> {
    reader: Arc<Reader<S>>,
    space: Space,
    key: S::Key,
    /// Ends after the entry in `flights` is gone: whoever is told finds no old flight there.
    _landed: watch::Sender<()>,
}

impl<S: Shelf> Drop for Flight<S> {
    fn drop(&mut self) {
        let mut flights = self.reader.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&(self.space, self.key));
    }
}

fn keys<S: Shelf>(flights: &[Flight<S>]) -> Vec<S::Key> {
    flights.iter().map(|flight| flight.key).collect()
}

/// Which of `keys` have nothing yet.
fn lacking<K: Copy, V>(keys: &[K], found: &[Option<V>]) -> Vec<K> {
    keys.iter().zip(found).filter(|(_, found)| found.is_none()).map(|(key, _)| *key).collect()
}

/// Puts values in the places of their keys.
fn put<K: Copy + Eq, V>(keys: &[K], found: &mut [Option<V>], values: impl IntoIterator<Item = (K, V)>) {
    for (key, value) in values {
        if let Some(place) = keys.iter().position(|other| *other == key) {
            found[place] = Some(value);
        }
    }
}
