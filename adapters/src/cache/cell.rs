//! What is under one key, and what each call does to it: pure, so that it can be checked exhaustively.
//!
//! A key holds nothing, a lease, or a value; never a lease beside a value. Expiry and eviction turn whatever it is into
//! nothing, at any moment. K1 and K3 rest on three rules:
//!
//! - Nothing becomes a value but by a fill under a lease that is still there. Whoever is late (a reader that slept, an
//!   updater that was overtaken) finds nothing, or another's lease, and makes nothing of it.
//! - An update that finds a lease is put by it and not in its place: it may be a late one, older than what the holder of the
//!   lease is about to load. The fill takes the newer of both.
//! - An update that finds a value replaces it only if it is newer.
//!
//! What was loaded under a lease contains everything that was told before the lease was given, because the master is written
//! before the cache is told; and what is told later is by the lease. So a fill is never older than the last that was told.

use bytes::Bytes;
use domain::CommentId;
use domain::stream::BEFORE_FIRST;

/// Tells one lease of a key from another. Drawn at random: a lease that has ended is not given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A value and the master's version that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    /// Which of two is the newer.
    pub version: i64,
    /// As the reader wrote it. Empty: the master has nothing to show.
    pub bytes: Bytes,
}

/// A comment in a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// The comment. Lists are in this order, the newest first.
    pub comment: CommentId,
    /// Offset of the event that added it.
    pub position: i64,
    /// As the reader wrote it.
    pub bytes: Bytes,
}

/// The newest comments of a post.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Comments {
    /// Everything up to this position is in it, or older than all that is.
    pub version: i64,
    /// Newest first by id.
    pub items: Vec<Item>,
}

/// What a key holds that has something: a value of `V`, or a lease with what was told of it meanwhile, `P`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell<V, P> {
    /// Somebody is loading.
    Leased {
        /// Who may fill.
        token: Token,
        /// What was told since.
        pending: P,
    },
    /// This.
    Holds(V),
}

/// Of a [`Key`](super::Key): the newest value that was told waits with the lease.
pub type ValueCell = Cell<Value, Option<Value>>;
/// Of a [`ListKey`](super::ListKey): the newest additions that were told wait with the lease.
pub type ListCell = Cell<Comments, Additions>;

/// Additions that wait with a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Additions {
    /// Newest first by id; of too many, the oldest go.
    pub items: Vec<Item>,
    /// The greatest position among those that went. All of them are older, by id, than any that are there.
    pub dropped: i64,
}

impl Default for Additions {
    fn default() -> Self {
        Self { items: Vec::new(), dropped: BEFORE_FIRST }
    }
}

/// Gives the lease to `token` where there is nothing; answers the cell to be stored, if it changes.
///
/// The caller sees from the cell as it was what it has come to: nothing (the lease is its own), another's lease, a value.
pub fn look_up<V, P: Default>(cell: Option<&Cell<V, P>>, token: Token) -> Option<Cell<V, P>> {
    match cell {
        None => Some(Cell::Leased { token, pending: P::default() }),
        Some(_) => None,
    }
}

/// The cell after a fill, if it counts.
pub fn fill(cell: Option<&ValueCell>, token: Token, value: Value) -> Option<ValueCell> {
    match cell {
        Some(Cell::Leased { token: own, pending }) if *own == token => Some(Cell::Holds(match pending {
            Some(pending) if pending.version > value.version => pending.clone(),
            Some(_) | None => value,
        })),
        Some(_) | None => None,
    }
}

/// The cell after an update, if that changes it.
pub fn update(cell: Option<&ValueCell>, value: Value) -> Option<ValueCell> {
    match cell {
        Some(Cell::Holds(held)) if value.version > held.version => Some(Cell::Holds(value)),
        Some(Cell::Leased { token, pending })
            if pending.as_ref().is_none_or(|pending| value.version > pending.version) =>
        {
            Some(Cell::Leased { token: *token, pending: Some(value) })
        }
        Some(_) | None => None,
    }
}

/// The cell after a fill with a list under the right lease; `None` if it does not count. `kept` is how many items a list has
/// at most.
///
/// What waits and is not newer than the list's own version is in the list, or gone again. If some that are newer went, the
/// list can be made only of those that are left, which are newer by id: are they too few, it would have a hole, and the next
/// reader may try.
pub fn fill_comments(cell: Option<&ListCell>, token: Token, mut list: Comments, kept: usize) -> Option<Filled> {
    let additions = match cell {
        Some(Cell::Leased { token: own, pending }) if *own == token => pending,
        Some(_) | None => return None,
    };
    let loaded = list.version;
    list.items.truncate(kept);
    let news: Vec<&Item> = additions.items.iter().filter(|item| item.position > loaded).collect();
    if additions.dropped > loaded && news.len() < kept {
        return Some(Filled::Nothing);
    }
    for item in news {
        list.version = list.version.max(item.position);
        insert(&mut list.items, item, kept);
    }
    Some(Filled::Holds(list))
}

/// What a list's lease ends in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The cell holds this.
    Holds(Comments),
    /// The cell is empty.
    Nothing,
}

/// The cell after additions, if they change it.
pub fn add(cell: Option<&ListCell>, items: &[Item], kept: usize) -> Option<ListCell> {
    match cell {
        Some(Cell::Holds(list)) => {
            let news = items.iter().filter(|item| item.position > list.version);
            let version = news.clone().map(|item| item.position).max()?;
            let mut list = Comments { version, items: list.items.clone() };
            for item in news {
                insert(&mut list.items, item, kept);
            }
            Some(Cell::Holds(list))
        }
        Some(Cell::Leased { token, pending }) if !items.is_empty() => {
            let mut pending = pending.clone();
            for item in items {
                if let Some(gone) = insert(&mut pending.items, item, kept) {
                    pending.dropped = pending.dropped.max(gone.position);
                }
            }
            Some(Cell::Leased { token: *token, pending })
        }
        Some(_) | None => None,
    }
}

/// Puts an item in its place, once; the oldest by id goes if there are too many. A list with fewer than `kept` is whole, so
/// that what comes late with an old id has its place in it.
fn insert(items: &mut Vec<Item>, item: &Item, kept: usize) -> Option<Item> {
    // Newest first: ascending, the other way round.
    if let Err(place) = items.binary_search_by(|held| item.comment.cmp(&held.comment)) {
        items.insert(place, item.clone());
    }
    (items.len() > kept).then(|| items.pop()).flatten()
}
