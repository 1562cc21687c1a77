//! A post's list of comments: additions are told, whatever else happens to a comment drops the list.

use domain::stream::BEFORE_FIRST;
use stateright::{Model, Property};

use super::super::cell::{self, Cell, Comments, Filled, Item, ListCell, Token};
use super::rows::Event::{self, Add, Delete, Edit};
use super::rows::{KEPT, Log, Rows, all};
use super::{Break, FILLED, LEASE, MASTERS, ONWARD, PRESENT, TOLD};

mod tests;

/// The bounds.
#[derive(Clone, Debug)]
struct Bounds {
    /// Each is a beginning.
    logs: Logs,
    readers: usize,
    late: usize,
    epochs: usize,
    /// See the values'.
    lives: Option<(u8, u8)>,
    broken: Option<Break>,
}

#[derive(Clone, Copy, Debug)]
enum Logs {
    These(&'static [&'static [Event]]),
    /// All that are this long, of so many comments.
    All(usize, u8),
}

/// What a projector that tells the cache of a batch has done of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Telling {
    from: i64,
    to: i64,
    /// The rows that it has seen: up to here.
    rows: i64,
    room: Option<usize>,
    /// Has told the additions: only where that comes first.
    added: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Idle,
    /// Has written rows, and not yet how far.
    Wrote {
        to: i64,
    },
    Telling(Telling),
    Told {
        to: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Reader {
    room: usize,
    token: Token,
    /// How far the rows are said to be.
    version: Option<i64>,
    /// How far they were when they were read.
    rows: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Room {
    cell: Option<ListCell>,
    newest: i64,
    seen: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    log: Log,
    /// How far rows are written, and how far that is said.
    rows: i64,
    listed: i64,
    checkpoint: i64,
    epoch: usize,
    owner: Owner,
    late: Vec<Telling>,
    readers: Vec<Reader>,
    rooms: Vec<Room>,
    robbed: bool,
    expiries: u8,
    deaths: u8,
    loads: i8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Begin(i64),
    Tell,
    TellLate(usize),
    GiveUp,
    Save,
    Kill,
    Overtake,
    RaiseElsewhere,
    LookUp(usize),
    /// The version or the items, whichever comes first.
    Load(usize),
    Fill(usize),
    Leave(usize),
    Expire(usize),
    Restart,
}

const ENDED: Token = Token(u64::MAX);

impl Bounds {
    fn is(&self, fault: Break) -> bool {
        self.broken == Some(fault)
    }
}

impl State {
    fn end(&self) -> i64 {
        self.log.len() as i64
    }

    fn put(&mut self, room: usize, cell: Option<ListCell>) {
        if let Some(Cell::Holds(list)) = &cell {
            self.rooms[room].newest = self.rooms[room].newest.max(list.version);
        }
        self.rooms[room].cell = cell;
    }

    fn has_lease(&self, room: usize, token: Token) -> bool {
        matches!(&self.rooms[room].cell, Some(Cell::Leased { token: own, .. }) if *own == token)
    }

    fn look_up(&mut self, bounds: &Bounds, room: usize) -> Option<Token> {
        let token = Token(room as u64);
        let cell = cell::look_up(self.rooms[room].cell.as_ref(), token)?;
        self.put(room, Some(cell));
        self.loads -= i8::from(bounds.lives.is_some());
        Some(token)
    }

    fn fill(&mut self, bounds: &Bounds, room: usize, token: Token, list: Comments) {
        let mut cell = self.rooms[room].cell.clone();
        if let (Some(Cell::Leased { pending, .. }), true) = (&mut cell, bounds.is(Break::OverflowForgotten)) {
            pending.dropped = BEFORE_FIRST;
        }
        let filled = match &cell {
            Some(Cell::Holds(held)) if bounds.is(Break::NoLease) && held.version > list.version => None,
            _ if bounds.is(Break::NoLease) => Some(Filled::Holds(list)),
            Some(Cell::Leased { token: own, pending }) if bounds.is(Break::NoDuplicateCheck) && *own == token => {
                let mut list = list;
                list.items.extend(pending.items.iter().filter(|item| item.position > list.version).cloned());
                list.items.sort_by_key(|item| std::cmp::Reverse(item.comment));
                list.items.truncate(KEPT);
                Some(Filled::Holds(list))
            }
            _ => cell::fill_comments(cell.as_ref(), token, list, KEPT),
        };
        match filled {
            None => {}
            Some(Filled::Holds(list)) => self.put(room, Some(Cell::Holds(list))),
            Some(Filled::Nothing) => {
                // Of additions in the order of their ids there are never too many.
                self.robbed |= self.log.is_sorted_by_key(|event| event.comment());
                self.loads += i8::from(bounds.lives.is_some());
                self.put(room, None);
            }
        }
    }

    fn add(&mut self, bounds: &Bounds, room: usize, items: &[Item]) {
        let cell = self.rooms[room].cell.as_ref();
        let leased = matches!(cell, Some(Cell::Leased { .. }));
        if leased && bounds.is(Break::UpdateForgotten) {
            return;
        }
        if leased && bounds.is(Break::UpdateEndsLease) {
            self.robbed = true;
            return self.put(room, None);
        }
        let added = match cell {
            Some(Cell::Holds(list)) if bounds.is(Break::NoVersions) => {
                // As if none of it were there yet.
                let older = Cell::Holds(Comments { version: BEFORE_FIRST, items: list.items.clone() });
                cell::add(Some(&older), items, KEPT)
            }
            _ => cell::add(cell, items, KEPT),
        };
        if let Some(added) = added {
            self.put(room, Some(added));
        }
    }

    fn drop_list(&mut self, bounds: &Bounds, room: usize) {
        let leased = matches!(self.rooms[room].cell, Some(Cell::Leased { .. }));
        if self.rooms[room].cell.is_some() && !(leased && bounds.is(Break::DropKeepsLease)) {
            self.loads += i8::from(bounds.lives.is_some());
            self.put(room, None);
        }
    }

    /// One step of somebody who tells; what is left to do.
    ///
    /// A batch that drops the list says nothing of its additions: whoever loads from now on finds them.
    fn tell(&mut self, bounds: &Bounds, mut telling: Telling) -> Option<Telling> {
        let Some(room) = telling.room else {
            telling.room = Some(self.epoch);
            return Some(telling);
        };
        let rows = Rows(&self.log);
        let batch = &self.log[telling.from as usize..telling.to as usize];
        let mut items: Vec<Item> = Vec::new();
        let mut drops = false;
        for event in batch {
            match event {
                // What is gone by now cannot be shown; its deletion drops the list.
                Add(comment) => items.extend(rows.item(*comment, telling.rows)),
                Edit(comment) | Delete(comment) => {
                    let later = &self.log[telling.to as usize..telling.rows as usize];
                    let overtaken = later.iter().any(|event| event.comment() == *comment);
                    drops |= !(overtaken && bounds.is(Break::OvertakenNotTold));
                }
            }
        }
        if drops && bounds.is(Break::AddedBeforeDropped) && !telling.added {
            self.add(bounds, room, &items);
            telling.added = true;
            return Some(telling);
        }
        if drops {
            self.drop_list(bounds, room);
        } else {
            self.add(bounds, room, &items);
        }
        None
    }

    fn raise(&mut self) {
        self.epoch = (self.epoch + 1).min(self.rooms.len() - 1);
        self.see();
    }

    fn see(&mut self) {
        let room = &mut self.rooms[self.epoch];
        room.seen = room.seen.max(self.checkpoint);
    }

    /// One form for states that differ only in who is who.
    fn settle(&mut self) {
        let leased: Vec<bool> = (0..self.rooms.len()).map(|room| self.has_lease(room, Token(room as u64))).collect();
        for reader in self.readers.iter_mut().filter(|reader| !leased[reader.room]) {
            reader.token = ENDED;
        }
        self.late.sort();
        self.readers.sort();
    }

    fn orphaned(&self, room: usize) -> bool {
        let token = Token(room as u64);
        self.has_lease(room, token) && !self.readers.iter().any(|reader| reader.room == room && reader.token == token)
    }
}

impl Model for Bounds {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let (expiries, deaths) = self.lives.unwrap_or_default();
        let logs = match self.logs {
            Logs::These(logs) => logs.iter().map(|log| log.to_vec()).collect(),
            Logs::All(length, comments) => all(length, comments),
        };
        let begin = |log| State {
            log,
            rows: 0,
            listed: 0,
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
        };
        logs.into_iter().map(begin).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let may_die = self.lives.is_none() || state.deaths > 0;
        let may_raise = state.epoch + 1 < self.epochs;
        match &state.owner {
            Owner::Idle => {
                let last = state.end().min(state.checkpoint + 2);
                actions.extend((state.checkpoint + 1..=last).map(Action::Begin));
            }
            Owner::Wrote { .. } => actions.push(Action::Tell),
            Owner::Telling(_) => {
                actions.push(Action::Tell);
                if may_raise || self.is(Break::EpochNotRaised) {
                    actions.push(Action::GiveUp);
                }
                if may_die && state.late.len() < self.late {
                    actions.push(Action::Overtake);
                }
            }
            Owner::Told { .. } => actions.push(Action::Save),
        }
        if may_die && state.owner != Owner::Idle {
            actions.push(Action::Kill);
        }
        if may_raise {
            actions.push(Action::RaiseElsewhere);
        }
        actions.extend((0..state.late.len()).map(Action::TellLate));
        let first = if self.lives.is_some() { state.epoch } else { 0 };
        for room in first..=state.epoch {
            if state.rooms[room].cell.is_none() && state.readers.len() < self.readers {
                actions.push(Action::LookUp(room));
            }
        }
        for (index, reader) in state.readers.iter().enumerate() {
            let loaded = reader.version.is_some() && reader.rows.is_some();
            actions.push(if loaded { Action::Fill(index) } else { Action::Load(index) });
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
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(to) => {
                let known = state.rows >= to && self.is(Break::NotToldAgain);
                state.rows = state.rows.max(to);
                state.owner = if known { Owner::Told { to } } else { Owner::Wrote { to } };
            }
            Action::Tell => {
                state.owner = match last.owner.clone() {
                    Owner::Wrote { to } => {
                        state.listed = state.listed.max(to);
                        let (from, rows) = (state.checkpoint, state.rows);
                        Owner::Telling(Telling { from, to, rows, room: None, added: false })
                    }
                    Owner::Telling(telling) => {
                        let to = telling.to;
                        state.tell(self, telling).map_or(Owner::Told { to }, Owner::Telling)
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
                let Owner::Telling(Telling { to, .. }) = last.owner else { return None };
                if !self.is(Break::EpochNotRaised) {
                    state.raise();
                }
                state.owner = Owner::Told { to };
            }
            Action::Save => {
                let Owner::Told { to } = last.owner else { return None };
                state.owner = Owner::Idle;
                state.checkpoint = to;
                state.see();
            }
            Action::Kill | Action::Overtake => {
                state.deaths = state.deaths.saturating_sub(1);
                let owner = std::mem::replace(&mut state.owner, Owner::Idle);
                if let (Action::Overtake, Owner::Telling(telling)) = (action, owner) {
                    state.late.push(telling);
                }
            }
            Action::RaiseElsewhere => state.raise(),
            Action::LookUp(room) => {
                let token = state.look_up(self, room)?;
                state.readers.push(Reader { room, token, version: None, rows: None });
            }
            Action::Load(index) => {
                let (listed, rows) = (state.listed, state.rows);
                let reader = &mut state.readers[index];
                let items_first = self.is(Break::VersionAfterItems) && reader.rows.is_none();
                if items_first || reader.version.is_some() {
                    reader.rows = Some(rows);
                } else {
                    reader.version = Some(listed);
                }
            }
            Action::Fill(index) => {
                let Reader { room, token, version, rows } = state.readers.remove(index);
                let list = Comments { version: version?, items: Rows(&state.log).newest(rows?) };
                state.fill(self, room, token, list);
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
            }
        }
        state.settle();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(MASTERS, |_, state: &State| {
                found(state).all(|(_, list)| {
                    list.version <= state.rows && Rows(&state.log).is_as_of(list, list.version..=state.rows)
                })
            }),
            Property::always(ONWARD, |_, state: &State| found(state).all(|(room, list)| list.version >= room.newest)),
            Property::always(TOLD, |_, state: &State| {
                found(state).all(|(room, list)| Rows(&state.log).is_as_of(list, room.seen..=state.rows))
            }),
            Property::always(PRESENT, |_, state: &State| {
                let told = state.checkpoint == state.end() && state.owner == Owner::Idle && state.late.is_empty();
                !told
                    || match &state.rooms[state.epoch].cell {
                        Some(Cell::Holds(list)) => list.items == Rows(&state.log).newest(state.end()),
                        Some(Cell::Leased { .. }) | None => true,
                    }
            }),
            Property::always(LEASE, |_, state: &State| !state.robbed),
            Property::always(FILLED, |bounds: &Bounds, state: &State| state.loads >= 0 && !bounds.ends_empty(state)),
            Property::sometimes("what waits is newer than what was loaded", |_, state: &State| {
                state.readers.iter().any(|reader| {
                    let Some(Cell::Leased { token, pending }) = &state.rooms[reader.room].cell else { return false };
                    *token == reader.token
                        && reader.rows.is_some_and(|rows| pending.items.iter().any(|item| item.position > rows))
                })
            }),
            Property::sometimes("a reader has lost its lease", |_, state: &State| {
                state.readers.iter().any(|reader| reader.token == ENDED)
            }),
        ]
    }
}

impl Bounds {
    /// Whether nothing can happen any more and there is no list.
    fn ends_empty(&self, state: &State) -> bool {
        if self.lives.is_none() || matches!(state.rooms[state.epoch].cell, Some(Cell::Holds(_))) {
            return false;
        }
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        actions.is_empty()
    }
}

/// What can be found.
fn found(state: &State) -> impl Iterator<Item = (&Room, &Comments)> {
    state.rooms.iter().filter_map(|room| match &room.cell {
        Some(Cell::Holds(list)) => Some((room, list)),
        Some(Cell::Leased { .. }) | None => None,
    })
}
