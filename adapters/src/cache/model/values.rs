//! One value: a post's counts, written by the projector, or its preview, which commands write before the log has the event.

use bytes::Bytes;
use stateright::{Model, Property};

use super::super::cell::{self, Cell, Token, Value, ValueCell};
use super::{Break, FILLED, LEASE, MASTERS, ONWARD, PRESENT, TOLD};

mod tests;

/// Whose value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The projector writes them and tells them as written; their version is the position.
    Counts,
    /// Commands write it; the projector asks for a lease, loads, and fills or tells. Its version is the sequence, and the
    /// last one deletes the post.
    Preview,
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    kind: Kind,
    /// The sequence of each event in the log, the first at position 1. One that is not above all before it is a repeat.
    log: &'static [i64],
    /// How many readers load at one time.
    readers: usize,
    /// How many of those who were overtaken are still under way.
    late: usize,
    /// How many epochs there are.
    epochs: usize,
    /// Of each life: how many expiries, and how many projectors that die. Without: any number.
    lives: Option<(u8, u8)>,
    broken: Option<Break>,
}

/// What a projector that tells the cache of something has done of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Telling {
    /// The epoch, once it has looked.
    room: Option<usize>,
    /// What it was answered, of previews.
    asked: Option<Option<Token>>,
    /// What it tells: of counts, what it has written; of previews, what it has loaded.
    version: Option<i64>,
}

/// The partition's owner. `to` is the position that its batch ends at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Idle,
    /// Knows an epoch before it writes: only where that is the fault.
    Begun {
        to: i64,
        room: usize,
    },
    Telling {
        to: i64,
        telling: Telling,
    },
    Told {
        to: i64,
    },
    /// Only where the epoch is raised late.
    Owes,
}

/// A reader with a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Reader {
    room: usize,
    token: Token,
    loaded: Option<i64>,
}

/// The key in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Room {
    cell: Option<ValueCell>,
    /// The newest version that was ever found here.
    newest: i64,
    /// The newest checkpoint that was seen with this epoch.
    seen: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// Counts: the position of the row. Preview: the sequence of the document.
    master: i64,
    checkpoint: i64,
    epoch: usize,
    owner: Owner,
    late: Vec<Telling>,
    readers: Vec<Reader>,
    rooms: Vec<Room>,
    /// Somebody lost a lease to another.
    robbed: bool,
    /// Where runs must end: how much of each is left, and how many loads the key may still need.
    expiries: u8,
    deaths: u8,
    loads: i8,
    /// What a server can come back with: only where that is the fault.
    saved: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// A command writes the preview's master.
    Command,
    /// The owner takes the events up to here and writes the master, if that is its own.
    Begin(i64),
    /// The owner's next step towards telling.
    Tell,
    /// A late one's.
    TellLate(usize),
    /// The owner cannot reach the cache.
    GiveUp,
    Save,
    /// Another owner; the old one is dead.
    Kill,
    /// Another owner; the old one sleeps.
    Overtake,
    /// Another partition's owner could not reach the cache.
    RaiseElsewhere,
    LookUp(usize),
    Load(usize),
    Fill(usize),
    /// A reader is gone and leaves its lease.
    Leave(usize),
    Expire(usize),
    Restart,
    SaveData,
}

/// The token of one whose lease has ended: no cell has it, and none will.
const ENDED: Token = Token(u64::MAX);

impl Bounds {
    fn end(&self) -> i64 {
        self.log.len() as i64
    }

    /// The greatest sequence up to a position.
    fn sequence(&self, position: i64) -> i64 {
        self.log[..position as usize].iter().copied().max().unwrap_or(0)
    }

    /// The version that contains the event at a position.
    fn version(&self, position: i64) -> i64 {
        match self.kind {
            Kind::Counts => position,
            Kind::Preview => self.sequence(position),
        }
    }

    /// What the master shows at a version.
    fn value(&self, version: i64) -> Value {
        let text = match self.kind {
            // A repeat is not counted.
            Kind::Counts => self.sequence(version).to_string(),
            Kind::Preview if version == self.sequence(self.end()) => String::new(),
            Kind::Preview => version.to_string(),
        };
        Value { version, bytes: Bytes::from(text) }
    }

    /// The log's end: of a preview, an event is in the log only after the master has it.
    fn head(&self, state: &State) -> i64 {
        match self.kind {
            Kind::Counts => self.end(),
            Kind::Preview => self.log.iter().take_while(|sequence| **sequence <= state.master).count() as i64,
        }
    }

    fn is(&self, fault: Break) -> bool {
        self.broken == Some(fault)
    }
}

impl State {
    /// Puts what a call came to under the key. `own` is whether the caller has the lease that is there.
    fn put(&mut self, room: usize, cell: Option<ValueCell>, own: bool) {
        let before = &self.rooms[room].cell;
        let is_lease = |cell: &Option<ValueCell>| matches!(cell, Some(Cell::Leased { .. }));
        self.robbed |= match own {
            true => is_lease(before) && !matches!(cell, Some(Cell::Holds(_))),
            false => is_lease(before) && !is_lease(&cell),
        };
        if let Some(Cell::Holds(value)) = &cell {
            self.rooms[room].newest = self.rooms[room].newest.max(value.version);
        }
        self.rooms[room].cell = cell;
    }

    fn has_lease(&self, room: usize, token: Token) -> bool {
        matches!(&self.rooms[room].cell, Some(Cell::Leased { token: own, .. }) if *own == token)
    }

    fn look_up(&mut self, bounds: &Bounds, room: usize) -> Option<Token> {
        if bounds.is(Break::LeaseForAll) && matches!(self.rooms[room].cell, Some(Cell::Leased { .. })) {
            self.rooms[room].cell = None;
            self.robbed = true;
            self.settle();
        }
        // Nobody has this one: those who had are settled.
        let token = Token(room as u64);
        let cell = cell::look_up(self.rooms[room].cell.as_ref(), token)?;
        self.put(room, Some(cell), false);
        self.loads -= i8::from(bounds.lives.is_some());
        Some(token)
    }

    fn fill(&mut self, bounds: &Bounds, room: usize, token: Token, value: Value) {
        let cell = self.rooms[room].cell.as_ref();
        let filled = match cell {
            Some(Cell::Holds(held)) if bounds.is(Break::NoLease) && held.version > value.version => None,
            _ if bounds.is(Break::NoLease) => Some(Cell::Holds(value)),
            _ => cell::fill(cell, token, value),
        };
        if let Some(filled) = filled {
            let own = self.has_lease(room, token);
            self.put(room, Some(filled), own);
        }
    }

    fn update(&mut self, bounds: &Bounds, room: usize, value: Value) {
        let cell = self.rooms[room].cell.as_ref();
        let updated = match (bounds.broken, cell) {
            (Some(Break::NoVersions), Some(Cell::Holds(_))) => Some(Some(Cell::Holds(value))),
            (Some(Break::NoVersions), Some(Cell::Leased { token, .. })) => {
                Some(Some(Cell::Leased { token: *token, pending: Some(value) }))
            }
            (Some(Break::UpdateReplacesLease), Some(Cell::Leased { .. })) => Some(Some(Cell::Holds(value))),
            (Some(Break::UpdateForgotten), Some(Cell::Leased { .. })) => None,
            (Some(Break::UpdateEndsLease), Some(Cell::Leased { .. })) => Some(None),
            _ => cell::update(cell, value).map(Some),
        };
        if let Some(updated) = updated {
            self.put(room, updated, false);
        }
    }

    /// One step of somebody who tells; what is left to do.
    fn tell(&mut self, bounds: &Bounds, mut telling: Telling) -> Option<Telling> {
        let Some(room) = telling.room else {
            telling.room = Some(self.epoch);
            return Some(telling);
        };
        let Some(version) = telling.version else {
            match telling.asked {
                None => telling.asked = Some(self.look_up(bounds, room)),
                Some(_) => telling.version = Some(self.master),
            }
            return Some(telling);
        };
        match telling.asked {
            Some(Some(token)) => self.fill(bounds, room, token, bounds.value(version)),
            Some(None) | None => self.update(bounds, room, bounds.value(version)),
        }
        None
    }

    fn raise(&mut self) {
        self.epoch = (self.epoch + 1).min(self.rooms.len() - 1);
        self.see();
    }

    fn save(&mut self, to: i64) {
        self.checkpoint = to;
        self.see();
    }

    /// Somebody sees the checkpoint and the epoch.
    fn see(&mut self) {
        let room = &mut self.rooms[self.epoch];
        room.seen = room.seen.max(self.checkpoint);
    }

    /// One form for states that differ only in who is who: those who have no lease any more have one token, and all are
    /// in order.
    fn settle(&mut self) {
        let leased: Vec<bool> = (0..self.rooms.len()).map(|room| self.has_lease(room, Token(room as u64))).collect();
        for reader in &mut self.readers {
            if !leased[reader.room] {
                reader.token = ENDED;
            }
        }
        let owner = match &mut self.owner {
            Owner::Telling { telling, .. } => Some(telling),
            Owner::Idle | Owner::Begun { .. } | Owner::Told { .. } | Owner::Owes => None,
        };
        for telling in self.late.iter_mut().chain(owner) {
            if let Telling { room: Some(room), asked: Some(Some(token)), .. } = telling
                && !leased[*room]
            {
                *token = ENDED;
            }
        }
        self.late.sort();
        self.readers.sort();
    }

    /// Whether nobody is left who would fill under the lease that is there.
    fn orphaned(&self, room: usize) -> bool {
        let token = Token(room as u64);
        let owner = match &self.owner {
            Owner::Telling { telling, .. } => Some(telling),
            Owner::Idle | Owner::Begun { .. } | Owner::Told { .. } | Owner::Owes => None,
        };
        let mut telling = self.late.iter().chain(owner);
        self.has_lease(room, token)
            && !self.readers.iter().any(|reader| reader.room == room && reader.token == token)
            && !telling.any(|telling| telling.room == Some(room) && telling.asked == Some(Some(token)))
    }
}

impl Model for Bounds {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let (expiries, deaths) = self.lives.unwrap_or_default();
        vec![State {
            master: 0,
            checkpoint: 0,
            epoch: 0,
            owner: Owner::Idle,
            late: Vec::new(),
            readers: Vec::new(),
            rooms: vec![Room::default(); self.epochs],
            robbed: false,
            expiries,
            deaths,
            loads: 1,
            saved: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if self.kind == Kind::Preview && state.master < self.sequence(self.end()) {
            actions.push(Action::Command);
        }
        let may_die = self.lives.is_none() || state.deaths > 0;
        let may_raise = state.epoch + 1 < self.epochs;
        match &state.owner {
            Owner::Idle => {
                let last = self.head(state).min(state.checkpoint + 2);
                actions.extend((state.checkpoint + 1..=last).map(Action::Begin));
            }
            Owner::Telling { .. } => {
                actions.push(Action::Tell);
                if may_raise || self.is(Break::EpochNotRaised) {
                    actions.push(Action::GiveUp);
                }
                if may_die && state.late.len() < self.late {
                    actions.push(Action::Overtake);
                }
            }
            Owner::Begun { .. } | Owner::Owes => actions.push(Action::Tell),
            Owner::Told { .. } => actions.push(Action::Save),
        }
        if may_die && state.owner != Owner::Idle {
            actions.push(Action::Kill);
        }
        if may_raise {
            actions.push(Action::RaiseElsewhere);
        }
        actions.extend((0..state.late.len()).map(Action::TellLate));
        // Some still read in an epoch that has ended. Where runs must end, nobody begins to.
        let first = if self.lives.is_some() { state.epoch } else { 0 };
        for room in first..=state.epoch {
            let takes = match &state.rooms[room].cell {
                None => true,
                Some(Cell::Leased { .. }) => self.is(Break::LeaseForAll),
                Some(Cell::Holds(_)) => false,
            };
            if takes && state.readers.len() < self.readers {
                actions.push(Action::LookUp(room));
            }
        }
        for (index, reader) in state.readers.iter().enumerate() {
            actions.push(if reader.loaded.is_none() { Action::Load(index) } else { Action::Fill(index) });
            if self.lives.is_none() {
                actions.push(Action::Leave(index));
            }
        }
        for room in 0..=state.epoch {
            let may_expire = self.lives.is_none() || state.expiries > 0 || state.orphaned(room);
            if state.rooms[room].cell.is_some() && may_expire {
                actions.push(Action::Expire(room));
            }
        }
        if self.lives.is_none() && state.rooms.iter().any(|room| room.cell.is_some()) {
            actions.push(Action::Restart);
        }
        if self.is(Break::OldDataBelieved) {
            actions.push(Action::SaveData);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Command => state.master += 1,
            Action::Begin(to) => state.owner = self.begin(&mut state, to),
            Action::Tell => {
                state.owner = match last.owner.clone() {
                    Owner::Telling { to, telling } => match state.tell(self, telling) {
                        Some(telling) => Owner::Telling { to, telling },
                        None => Owner::Told { to },
                    },
                    Owner::Begun { to, room } => self.write(&mut state, to, Some(room)),
                    Owner::Owes => {
                        state.raise();
                        Owner::Idle
                    }
                    owner @ (Owner::Idle | Owner::Told { .. }) => owner,
                };
            }
            Action::TellLate(index) => {
                let telling = state.late.remove(index);
                let left = state.tell(self, telling);
                state.late.extend(left);
            }
            Action::GiveUp => {
                let Owner::Telling { to, .. } = last.owner else { return None };
                state.owner = Owner::Told { to };
                match self.broken {
                    Some(Break::EpochNotRaised) => {}
                    Some(Break::EpochRaisedLate) => {
                        state.owner = Owner::Owes;
                        state.save(to);
                    }
                    _ => state.raise(),
                }
            }
            Action::Save => {
                let Owner::Told { to } = last.owner else { return None };
                state.owner = Owner::Idle;
                state.save(to);
            }
            Action::Kill | Action::Overtake => {
                state.deaths = state.deaths.saturating_sub(1);
                let owner = std::mem::replace(&mut state.owner, Owner::Idle);
                if let (Action::Overtake, Owner::Telling { telling, .. }) = (action, owner) {
                    state.late.push(telling);
                }
            }
            Action::RaiseElsewhere => state.raise(),
            Action::LookUp(room) => {
                let token = state.look_up(self, room)?;
                state.readers.push(Reader { room, token, loaded: None });
            }
            Action::Load(index) => state.readers[index].loaded = Some(state.master),
            Action::Fill(index) => {
                let Reader { room, token, loaded } = state.readers.remove(index);
                state.fill(self, room, token, self.value(loaded?));
            }
            Action::Leave(index) => {
                state.readers.remove(index);
            }
            Action::Expire(room) => {
                if !last.orphaned(room) {
                    state.expiries = state.expiries.saturating_sub(1);
                }
                state.loads += i8::from(self.lives.is_some());
                state.rooms[room].cell = None;
            }
            Action::Restart => {
                for room in &mut state.rooms {
                    room.cell = None;
                }
                let saved = state.saved.clone();
                state.rooms[0].cell = saved.map(Cell::Holds);
            }
            Action::SaveData => {
                let Some(Cell::Holds(value)) = &last.rooms[0].cell else { return None };
                state.saved = Some(value.clone());
            }
        }
        state.settle();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(MASTERS, |bounds: &Bounds, state: &State| {
                found(state).all(|(_, value)| value.version <= state.master && *value == bounds.value(value.version))
            }),
            Property::always(ONWARD, |_, state: &State| found(state).all(|(room, value)| value.version >= room.newest)),
            Property::always(TOLD, |bounds: &Bounds, state: &State| {
                found(state).all(|(room, value)| {
                    let seen = if bounds.is(Break::EpochSeenEarly) { state.checkpoint } else { room.seen };
                    value.version >= bounds.version(seen)
                })
            }),
            Property::always(PRESENT, |bounds: &Bounds, state: &State| {
                let told = state.checkpoint == bounds.end() && state.owner == Owner::Idle && state.late.is_empty();
                !told
                    || match &state.rooms[state.epoch].cell {
                        Some(Cell::Holds(value)) => *value == bounds.value(bounds.version(bounds.end())),
                        Some(Cell::Leased { .. }) | None => true,
                    }
            }),
            Property::always(LEASE, |_, state: &State| !state.robbed),
            Property::always(FILLED, |bounds: &Bounds, state: &State| state.loads >= 0 && !bounds.ends_empty(state)),
            // What would make the rest say little if it never came about.
            Property::sometimes("what waits is newer than what was loaded", |_, state: &State| {
                waiting(state).any(|(pending, loaded)| pending > loaded)
            }),
            Property::sometimes("what waits is older than what was loaded", |_, state: &State| {
                waiting(state).any(|(pending, loaded)| pending < loaded)
            }),
            Property::sometimes("a reader has lost its lease", |_, state: &State| {
                state.readers.iter().any(|reader| reader.token == ENDED)
            }),
        ]
    }
}

impl Bounds {
    /// Whether nothing can happen any more and there is no value.
    fn ends_empty(&self, state: &State) -> bool {
        if self.lives.is_none() || matches!(state.rooms[state.epoch].cell, Some(Cell::Holds(_))) {
            return false;
        }
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        actions.is_empty()
    }

    fn begin(&self, state: &mut State, to: i64) -> Owner {
        if self.is(Break::EpochReadEarly) {
            return Owner::Begun { to, room: state.epoch };
        }
        self.write(state, to, None)
    }

    /// The master has the batch, or has it already.
    fn write(&self, state: &mut State, to: i64, room: Option<usize>) -> Owner {
        let version = match self.kind {
            Kind::Counts if self.is(Break::NotToldAgain) && state.master >= to => return Owner::Told { to },
            Kind::Counts => {
                state.master = state.master.max(to);
                Some(state.master)
            }
            Kind::Preview => None,
        };
        Owner::Telling { to, telling: Telling { room, asked: None, version } }
    }
}

/// What can be found.
fn found(state: &State) -> impl Iterator<Item = (&Room, &Value)> {
    state.rooms.iter().filter_map(|room| match &room.cell {
        Some(Cell::Holds(value)) => Some((room, value)),
        Some(Cell::Leased { .. }) | None => None,
    })
}

/// What waits with a lease, and what its holder has loaded.
fn waiting(state: &State) -> impl Iterator<Item = (i64, i64)> {
    state.readers.iter().filter_map(|reader| match &state.rooms[reader.room].cell {
        Some(Cell::Leased { token, pending: Some(pending) }) if *token == reader.token => {
            Some((pending.version, reader.loaded?))
        }
        Some(_) | None => None,
    })
}
