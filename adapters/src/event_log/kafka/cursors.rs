//! Reading at random: a few clients, each with a cursor that goes on where it was if somebody wants that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::connection::{Connection, drop_elsewhere};
use super::cursor::{Cursor, Source, reader};
use crate::StoreError;
use crate::event_log::Logged;

/// Reads at once. Nobody waits for records in here, so a place is free again soon.
const CURSORS: usize = 8;
/// How long a client is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

pub(super) struct Cursors {
    connection: Arc<Connection>,
    places: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    cursor: Cursor,
    since: Instant,
}

impl Cursors {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, places: Semaphore::new(CURSORS), idle: Mutex::new(Vec::new()) }
    }

    /// At most `limit` records above `after`, which is below the partition's newest record.
    pub(super) async fn read(&self, source: Source, after: i64, limit: usize) -> Result<Vec<Logged>, StoreError> {
        let closed = |_| StoreError::Unavailable("kafka: closed".to_owned());
        let _place = self.places.acquire().await.map_err(closed)?;
        let mut lent = Lent { cursors: self, cursor: Some(self.take(source, after)?) };
        let Some(cursor) = &mut lent.cursor else { return Ok(Vec::new()) };
        let read = cursor.read(after, limit, Duration::ZERO).await;
        if read.is_ok() {
            lent.give_back();
        }
        read
    }

    /// Ends what nobody has used for a while.
    pub(super) fn tidy(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<Idle> = idle.extract_if(.., |idle| idle.since.elapsed() > IDLE).collect();
        drop(idle);
        if !old.is_empty() {
            drop_elsewhere(old);
        }
    }

    fn take(&self, source: Source, after: i64) -> Result<Cursor, StoreError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let place = idle.iter().position(|idle| idle.cursor.is_at(&source, after));
        let place = place.or_else(|| idle.iter().position(|idle| idle.cursor.source == source));
        if let Some(place) = place {
            return Ok(idle.swap_remove(place).cursor);
        }
        // All that are lent out count: with a place in hand, there is one more at most than there may be.
        let oldest = (0..idle.len()).min_by_key(|index| idle[*index].since);
        let spare = oldest.filter(|_| idle.len() >= CURSORS).map(|oldest| idle.swap_remove(oldest));
        drop(idle);
        if let Some(spare) = spare {
            drop_elsewhere(spare);
        }
        Ok(Cursor::new(reader(&self.connection)?, source, self.connection.timeout))
    }
}

impl Drop for Cursors {
    fn drop(&mut self) {
        drop_elsewhere(std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner)));
    }
}

/// A cursor that comes back, or, where the read failed or was given up, ends where that disturbs nobody.
struct Lent<'a> {
    cursors: &'a Cursors,
    cursor: Option<Cursor>,
}

impl Lent<'_> {
    fn give_back(&mut self) {
        let Some(cursor) = self.cursor.take() else { return };
        let mut idle = self.cursors.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle { cursor, since: Instant::now() });
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            drop_elsewhere(cursor);
        }
    }
}
