//! What is counted of the cache: a few additions per call, however many keys it has.
//!
//! | metric | labels |
//! | --- | --- |
//! | `hybrid_live_cache_lookups_total` | `data`: `preview`, `counts`, `comments`; `outcome`: `hit`, `miss` (without a lease), `lease` (a miss that loads), `taken` (a miss that another loads for) |
//! | `hybrid_live_cache_fills_total` | `data`; `outcome`: `filled`, `rejected` (the lease was not there any more) |

use super::cell::Comments;
use super::{Key, Lookup, Value};

/// Of one call, for one kind of data.
#[derive(Default)]
struct Lookups {
    hits: u64,
    misses: u64,
    leases: u64,
    taken: u64,
}

impl Lookups {
    fn add<V>(&mut self, answer: &Lookup<V>) {
        match answer {
            Lookup::Found(_) => self.hits += 1,
            Lookup::Granted(_) => self.leases += 1,
            Lookup::Taken => self.taken += 1,
        }
    }

    fn add_value<V>(&mut self, answer: Option<&V>) {
        if answer.is_some() { self.hits += 1 } else { self.misses += 1 }
    }

    fn count(&self, data: &'static str) {
        for (outcome, number) in
            [("hit", self.hits), ("miss", self.misses), ("lease", self.leases), ("taken", self.taken)]
        {
            if number > 0 {
                metrics::counter!("hybrid_live_cache_lookups_total", "data" => data, "outcome" => outcome)
                    .increment(number);
            }
        }
    }
}

const PREVIEW: &str = "preview";
const COUNTS: &str = "counts";
const COMMENTS: &str = "comments";

fn data(key: &Key) -> usize {
    match key {
        Key::Preview(_) => 0,
        Key::Counts(..) => 1,
    }
}

pub(super) fn values(keys: &[Key], answers: &[Option<Value>]) {
    let mut both = [Lookups::default(), Lookups::default()];
    for (key, answer) in keys.iter().zip(answers) {
        both[data(key)].add_value(answer.as_ref());
    }
    both[0].count(PREVIEW);
    both[1].count(COUNTS);
}

pub(super) fn look_up(keys: &[Key], answers: &[Lookup<Value>]) {
    let mut both = [Lookups::default(), Lookups::default()];
    for (key, answer) in keys.iter().zip(answers) {
        both[data(key)].add(answer);
    }
    both[0].count(PREVIEW);
    both[1].count(COUNTS);
}

pub(super) fn comments(answer: Option<&Comments>) {
    let mut lookups = Lookups::default();
    lookups.add_value(answer);
    lookups.count(COMMENTS);
}

pub(super) fn look_up_comments(answer: &Lookup<Comments>) {
    let mut lookups = Lookups::default();
    lookups.add(answer);
    lookups.count(COMMENTS);
}

pub(super) fn fill(fills: impl Iterator<Item = (Key, bool)>) {
    // Previews and counts, rejected and filled.
    let mut numbers = [[0; 2]; 2];
    for (key, is_filled) in fills {
        numbers[data(&key)][usize::from(is_filled)] += 1;
    }
    for (data, numbers) in [PREVIEW, COUNTS].into_iter().zip(numbers) {
        filled(data, numbers);
    }
}

pub(super) fn fill_comments(is_filled: bool) {
    filled(COMMENTS, if is_filled { [0, 1] } else { [1, 0] });
}

fn filled(data: &'static str, numbers: [u64; 2]) {
    for (outcome, number) in ["rejected", "filled"].into_iter().zip(numbers) {
        if number > 0 {
            metrics::counter!("hybrid_live_cache_fills_total", "data" => data, "outcome" => outcome).increment(number);
        }
    }
}
