//! A master, and around it readers that fill, projectors that tell (one of them late, again and again), and evictions, all
//! at once. Whatever is found is the master's at its version and never goes back for a reader (K1, K3); once everything
//! has been told, what is there is the master's present.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const KEPT: usize = 4;
const READERS: u64 = 6;

/// What happened to a post, in order; its place is its position.
#[derive(Clone, Debug)]
enum Happened {
    /// The preview and the counts changed.
    Changed,
    /// A comment of this id was added.
    Added(u8),
    /// The comment of this id was deleted.
    Deleted(u8),
}

/// The master of one post.
#[derive(Default)]
struct Master {
    events: Mutex<Vec<Happened>>,
    /// How many of them one projector has told the cache of, all of them in order.
    told: AtomicUsize,
}

fn at(position: usize) -> i64 {
    i64::try_from(position).unwrap()
}

/// Values are functions of their version, so that each can be told.
fn content(version: i64) -> Value {
    value(version, &format!("as of {version}"))
}

impl Master {
    fn events(&self) -> Vec<Happened> {
        self.events.lock().unwrap().clone()
    }

    /// The version of everything: the last position.
    fn version(&self) -> i64 {
        at(self.events.lock().unwrap().len()) - 1
    }

    fn happens(&self, random: &mut StdRng) {
        let mut events = self.events.lock().unwrap();
        let there = comments_of(&events);
        let id = random.random_range(1..250);
        let was_added = events.iter().any(|event| matches!(event, Happened::Added(added) if *added == id));
        let event = match random.random_range(0..10) {
            0..5 if !was_added => Happened::Added(id),
            5 if !there.is_empty() => {
                let place = random.random_range(0..there.len());
                Happened::Deleted(*there.keys().nth(place).unwrap())
            }
            _ => Happened::Changed,
        };
        events.push(event);
    }
}

/// Comments that are there, with the positions that added them.
fn comments_of(events: &[Happened]) -> BTreeMap<u8, i64> {
    let mut there = BTreeMap::new();
    for (position, event) in events.iter().enumerate() {
        match event {
            Happened::Added(id) => drop(there.insert(*id, at(position))),
            Happened::Deleted(id) => drop(there.remove(id)),
            Happened::Changed => {}
        }
    }
    there
}

/// As a reader loads them: the newest.
fn newest(events: &[Happened]) -> Vec<(u8, i64)> {
    comments_of(events).into_iter().rev().take(KEPT).collect()
}

/// One event after another, as a projector does after the master is written.
async fn tell(cache: &dyn Tested, space: Space, number: u32, position: usize, event: &Happened) {
    let news = content(at(position));
    match event {
        Happened::Changed => {}
        Happened::Added(id) => {
            let items = vec![item(*id, at(position))];
            cache.add_comments(space, vec![(list(number), items)]).await.unwrap();
        }
        Happened::Deleted(_) => cache.drop_comments(space, vec![list(number)]).await.unwrap(),
    }
    cache.update(space, vec![(preview(number), news.clone()), (counts(number), news)]).await.unwrap();
}

/// Some time, in which others do something.
async fn while_others_work(random: &mut StdRng) {
    for _ in 0..random.random_range(0..4) {
        tokio::task::yield_now().await;
    }
}

struct World {
    cache: Arc<dyn Tested>,
    space: Space,
    posts: Vec<Master>,
    /// Projectors that are not done.
    working: AtomicUsize,
}

impl World {
    async fn project(&self, mut random: StdRng, steps: usize) {
        for _ in 0..steps {
            let number = random.random_range(0..self.posts.len());
            let post = &self.posts[number];
            post.happens(&mut random);
            while_others_work(&mut random).await;
            if random.random_bool(0.3) {
                // Told together, later.
                continue;
            }
            self.tell_all(number).await;
        }
        for number in 0..self.posts.len() {
            self.tell_all(number).await;
        }
        self.working.fetch_sub(1, Ordering::SeqCst);
    }

    async fn tell_all(&self, number: usize) {
        let post = &self.posts[number];
        let events = post.events();
        for (position, event) in events.iter().enumerate().skip(post.told.load(Ordering::SeqCst)) {
            tell(&*self.cache, self.space, u32::try_from(number).unwrap(), position, event).await;
            post.told.store(position + 1, Ordering::SeqCst);
        }
    }

    fn is_changing(&self) -> bool {
        self.working.load(Ordering::SeqCst) > 0
    }

    /// One that has been overtaken and does not know it: tells again, in order, from somewhere on.
    async fn tell_late(&self, mut random: StdRng) {
        while self.is_changing() {
            let number = random.random_range(0..self.posts.len());
            // What nobody has told yet it does not tell first: whoever tells anything has told what was before it.
            let told = self.posts[number].told.load(Ordering::SeqCst);
            // Afterwards, so that all that was told is among them.
            let events = self.posts[number].events();
            let from = random.random_range(0..told.max(1));
            for position in (from..told).take(random.random_range(1..6)) {
                tell(&*self.cache, self.space, u32::try_from(number).unwrap(), position, &events[position]).await;
                while_others_work(&mut random).await;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn evict(&self, mut random: StdRng) {
        while self.is_changing() {
            let number = random.random_range(0..u32::try_from(self.posts.len()).unwrap());
            match random.random_range(0..3) {
                0 => self.cache.forget(self.space, preview(number)).await,
                1 => self.cache.forget(self.space, counts(number)).await,
                _ => self.cache.drop_comments(self.space, vec![list(number)]).await.unwrap(),
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads, and fills what it may fill, sometimes late. Answers how much it has found.
    async fn read(&self, mut random: StdRng) -> usize {
        let mut seen = BTreeMap::new();
        let mut found = 0;
        while self.is_changing() {
            let number = random.random_range(0..self.posts.len());
            if random.random_bool(0.5) {
                found += self.read_values(number, &mut random, &mut seen).await;
            } else {
                found += self.read_list(number, &mut random, &mut seen).await;
            }
            tokio::task::yield_now().await;
        }
        found
    }

    async fn read_values(&self, number: usize, random: &mut StdRng, seen: &mut BTreeMap<(usize, usize), i64>) -> usize {
        let post = u32::try_from(number).unwrap();
        let keys = [preview(post), counts(post)];
        let mut found = 0;
        for (place, lookup) in self.cache.look_up(self.space, &keys).await.unwrap().into_iter().enumerate() {
            match lookup {
                Lookup::Found(value) => {
                    assert_eq!(value, content(value.version), "K1: the master's at its version");
                    let last = seen.insert((number, place), value.version).unwrap_or(-1);
                    assert!(value.version >= last, "K1: {} after {last}", value.version);
                    found += 1;
                }
                Lookup::Granted(token) => {
                    let loaded = content(self.posts[number].version());
                    while_others_work(random).await;
                    self.cache.fill(self.space, vec![(keys[place], token, loaded)]).await.unwrap();
                }
                Lookup::Taken => {}
            }
        }
        found
    }

    async fn read_list(&self, number: usize, random: &mut StdRng, seen: &mut BTreeMap<(usize, usize), i64>) -> usize {
        let key = list(u32::try_from(number).unwrap());
        match self.cache.look_up_comments(self.space, key).await.unwrap() {
            Lookup::Found(list) => {
                self.check_list(number, &list);
                let last = seen.insert((number, 2), list.version).unwrap_or(-1);
                assert!(list.version >= last, "K1: a list of {} after {last}", list.version);
                1
            }
            Lookup::Granted(token) => {
                // The version before the items, as readers of views do.
                let version = self.posts[number].version();
                while_others_work(random).await;
                let items = newest(&self.posts[number].events());
                while_others_work(random).await;
                self.cache.fill_comments(self.space, key, token, comments(version, items)).await.unwrap();
                0
            }
            Lookup::Taken => 0,
        }
    }

    /// Everything up to its version is in it, or older than all that is; what is in it is the master's.
    fn check_list(&self, number: usize, list: &Comments) {
        let events = self.posts[number].events();
        assert!(list.items.len() <= KEPT && list.items.is_sorted_by(|one, other| one.comment > other.comment));
        for held in &list.items {
            let position = usize::try_from(held.position).unwrap();
            let Happened::Added(id) = events[position] else { panic!("{held:?} was never added") };
            assert_eq!(*held, item(id, held.position));
        }
        let version = usize::try_from(list.version + 1).unwrap();
        let missing = |id: &u8| {
            let comment = item(*id, 0).comment;
            let is_older_than_all = list.items.len() == KEPT && list.items.iter().all(|held| held.comment > comment);
            !is_older_than_all && list.items.iter().all(|held| held.comment != comment)
        };
        // What was deleted after the version may be gone already.
        let there_since = comments_of(&events[..version]).into_keys();
        let gone = events[version..].iter().filter_map(|event| match event {
            Happened::Deleted(id) => Some(*id),
            _ => None,
        });
        let gone: Vec<u8> = gone.collect();
        let missing: Vec<u8> = there_since.filter(|id| !gone.contains(id)).filter(missing).collect();
        assert!(missing.is_empty(), "{missing:?} are not in {list:?}");
    }

    /// Everything has been told.
    async fn check_end(&self) {
        for (number, post) in (0..).zip(&self.posts) {
            let present = content(post.version());
            for found in self.cache.values(self.space, &[preview(number), counts(number)]).await.unwrap() {
                assert!(found.as_ref().is_none_or(|found| *found == present), "{found:?} for {present:?}");
            }
            if let Some(found) = self.cache.comments(self.space, list(number)).await.unwrap() {
                let held: Vec<Item> = found.items;
                assert_eq!(held, comments(0, newest(&post.events())).items);
            }
        }
    }
}

pub(crate) async fn what_is_found_is_the_masters<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(Limits { kept: KEPT, ..long() }).await;
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("PROPTEST_RNG_SEED={seed}");
    let mut found = 0;
    for round in 0..u64::from(cases(20)) {
        let world = Arc::new(World {
            cache: Arc::clone(&cache),
            space: space(),
            posts: (0..3).map(|_| Master::default()).collect(),
            working: AtomicUsize::new(1),
        });
        let random = |actor: u64| StdRng::seed_from_u64(seed ^ (round << 32) ^ (actor << 16));
        let mut readers = Vec::new();
        let mut others = Vec::new();
        for reader in 0..READERS {
            let (world, random) = (Arc::clone(&world), random(reader));
            readers.push(tokio::spawn(async move { world.read(random).await }));
        }
        {
            let (world, random) = (Arc::clone(&world), random(100));
            others.push(tokio::spawn(async move { world.project(random, 200).await }));
        }
        {
            let (world, random) = (Arc::clone(&world), random(101));
            others.push(tokio::spawn(async move { world.tell_late(random).await }));
        }
        {
            let (world, random) = (Arc::clone(&world), random(102));
            others.push(tokio::spawn(async move { world.evict(random).await }));
        }
        for other in others {
            other.await.unwrap();
        }
        for reader in readers {
            found += reader.await.unwrap();
        }
        world.check_end().await;
    }
    assert!(found > 100, "only {found} were found: nothing was tested");
}
