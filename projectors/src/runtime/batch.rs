//! A batch in lanes: what can be applied, and what must wait because its lane is parked.

use std::collections::HashMap;

use adapters::event_log::partition_of;
use domain::Lane;

use crate::projection::Recorded;

/// Events of one lane that go to its queue instead of being applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parking {
    pub(super) offsets: Vec<i64>,
    pub(super) reason: String,
}

/// Lanes of a batch, in the order of their first events.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    places: HashMap<Lane, usize>,
    lanes: Vec<(Lane, Vec<Recorded>)>,
    parking: HashMap<Lane, Parking>,
}

impl Lanes {
    /// Adds an event that can be applied, unless its lane is parked: then it waits behind the others.
    pub(super) fn add(&mut self, lane: &Lane, event: Recorded) {
        if let Some(parking) = self.parking.get_mut(lane) {
            parking.offsets.push(event.position.offset);
            return;
        }
        match self.places.get(lane) {
            Some(place) => self.lanes[*place].1.push(event),
            None => {
                self.places.insert(lane.clone(), self.lanes.len());
                self.lanes.push((lane.clone(), vec![event]));
            }
        }
    }

    /// Parks a lane from `offset` on; events of it that were added before are still applied.
    pub(super) fn park(&mut self, lane: &Lane, offset: i64, reason: String) {
        self.parking
            .entry(lane.clone())
            .or_insert_with(|| Parking { offsets: Vec::new(), reason })
            .offsets
            .push(offset);
    }

    /// At most `most` groups of whole lanes, and what is parked. A lane is always in one group: groups may be
    /// applied at the same time (P3).
    pub(super) fn into_groups(self, most: usize) -> (Vec<Vec<Recorded>>, HashMap<Lane, Parking>) {
        let most = u16::try_from(most.clamp(1, self.lanes.len().max(1))).unwrap_or(u16::MAX);
        let mut groups: Vec<Vec<Recorded>> = (0..most).map(|_| Vec::new()).collect();
        for (lane, events) in self.lanes {
            groups[usize::from(partition_of(&lane, most))].extend(events);
        }
        groups.retain(|group| !group.is_empty());
        (groups, self.parking)
    }
}
