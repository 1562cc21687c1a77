//! Time and chance, which `domain` takes as arguments.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// The present time.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// What makes a new id, of any kind, unique beside its time: `PostId::from_parts(now(), entropy())`.
pub fn entropy() -> [u8; 10] {
    rand::random()
}

/// Like [`entropy`], for ids that lists are sorted by: of two that this process makes with the same `at`, the later is
/// the greater. So who publishes twice within a millisecond finds the second above the first.
///
/// The twelve bits behind the milliseconds count (RFC 9562, section 6.2, method 1); the other 62 stay chance.
pub fn entropy_in_order(at: Timestamp) -> [u8; 10] {
    static ORDER: Mutex<Order> = Mutex::new(Order { at: Timestamp::from_millis(i64::MIN), counter: 0 });
    let mut bytes = entropy();
    let [high, low] = ORDER.lock().unwrap_or_else(PoisonError::into_inner).next(at, rand::random()).to_be_bytes();
    (bytes[0], bytes[1]) = (high, low);
    bytes
}

/// What was counted last.
struct Order {
    at: Timestamp,
    counter: u16,
}

impl Order {
    const MOST: u16 = 0x0fff;
    /// Counting begins below this, which leaves room to count.
    const FIRST: u16 = 0x0400;

    fn next(&mut self, at: Timestamp, chance: u16) -> u16 {
        if at < self.at {
            // A request that began earlier and comes later: above what was counted in its millisecond.
            return Self::MOST / 2 + 1 + chance % (Self::MOST / 2);
        }
        self.counter = if at == self.at { (self.counter + 1).min(Self::MOST) } else { chance % Self::FIRST };
        self.at = at;
        self.counter
    }
}

#[cfg(test)]
mod tests {
    use domain::PostId;

    use super::*;

    #[test]
    fn ids_of_one_millisecond_are_in_the_order_of_their_making() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let mut order = Order { at: Timestamp::from_millis(0), counter: 0 };
        let mut id = |at| {
            let mut bytes = entropy();
            let [high, low] = order.next(at, rand::random()).to_be_bytes();
            (bytes[0], bytes[1]) = (high, low);
            PostId::from_parts(at, bytes)
        };
        let ids: Vec<PostId> = (0..1000).map(|_| id(at)).collect();
        assert!(ids.is_sorted(), "the later is the greater");
        let next = id(at.plus_millis(1));
        let late = id(at);
        assert!(ids[999] < late && late < next, "a slow request's id is above those of its own millisecond");
        assert_ne!(entropy_in_order(at)[2..], entropy_in_order(at)[2..], "the rest is chance");
    }
}
