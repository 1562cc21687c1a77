//! Any calls, in any order, by several actors, some of them late: after each, what there is to see is what [`cell`] says.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cache::cell::{self, Cell, Filled, ListCell, ValueCell};
use crate::property::for_some;

const KEPT: usize = 3;

/// What somebody does. Positions of keys are taken from [`keys`].
#[derive(Clone, Debug)]
enum Step {
    LookUp(usize),
    /// With the lease that was granted so many grants of this key ago; or with none that ever was.
    Fill(usize, usize, i64),
    Update(usize, i64),
    Forget(usize),
    LookUpList,
    FillList(usize, i64, Vec<(u8, i64)>),
    Add(Vec<(u8, i64)>),
    DropList,
    /// On all keys at once.
    LookUpAll,
    UpdateAll(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..keys().len();
    let version = || -1..7_i64;
    // Recent grants more often than old ones.
    let ago = || prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => 2..4_usize, 1 => Just(99)];
    let items = |most| vec((1..8_u8, 0..9_i64), 0..most);
    prop_oneof![
        4 => key().prop_map(Step::LookUp),
        4 => (key(), ago(), version()).prop_map(|(key, ago, version)| Step::Fill(key, ago, version)),
        4 => (key(), version()).prop_map(|(key, version)| Step::Update(key, version)),
        1 => key().prop_map(Step::Forget),
        3 => Just(Step::LookUpList),
        3 => (ago(), -1..9_i64, items(5)).prop_map(|(ago, version, items)| Step::FillList(ago, version, items)),
        5 => items(4).prop_map(Step::Add),
        1 => Just(Step::DropList),
        1 => Just(Step::LookUpAll),
        1 => version().prop_map(Step::UpdateAll),
    ]
}

fn keys() -> [Key; 2] {
    [preview(1), counts(1)]
}

/// A value's bytes say who wrote it, so that two of one version are told apart.
fn written(version: i64, by: &str) -> Value {
    value(version, &format!("{version} by {by}"))
}

/// Distinct by id, newest first, as a reader loads them.
fn loaded(version: i64, items: &[(u8, i64)]) -> Comments {
    let mut list = comments(version, items.iter().copied());
    list.items.sort_by_key(|item| std::cmp::Reverse(item.comment));
    list.items.dedup_by_key(|item| item.comment);
    list.items.truncate(KEPT);
    list
}

#[derive(Default)]
struct Model {
    values: [Option<ValueCell>; 2],
    list: Option<ListCell>,
    /// Grants so far, the last one first.
    tokens: [Vec<Token>; 2],
    list_tokens: Vec<Token>,
}

/// What the adapter must have answered, and the cell after it.
fn looked_up<V: Clone + PartialEq + std::fmt::Debug, P: Default>(
    held: &mut Option<Cell<V, P>>,
    tokens: &mut Vec<Token>,
    answer: Lookup<V>,
) {
    match (&held, answer) {
        (None, Lookup::Granted(token)) => {
            assert!(!tokens.contains(&token), "a token that was given before");
            *held = cell::look_up(held.as_ref(), token);
            tokens.insert(0, token);
        }
        (Some(Cell::Leased { .. }), answer) => assert_eq!(answer, Lookup::Taken),
        (Some(Cell::Holds(value)), answer) => assert_eq!(answer, Lookup::Found(value.clone())),
        (None, answer) => panic!("there is nothing, and the answer is {answer:?}"),
    }
}

fn kept<T>(held: &mut Option<T>, after: Option<T>) -> bool {
    let is_changed = after.is_some();
    if is_changed {
        *held = after;
    }
    is_changed
}

fn of(tokens: &[Token], ago: usize) -> Token {
    tokens.get(ago).copied().unwrap_or(Token(1))
}

impl Model {
    async fn apply(&mut self, cache: &dyn Tested, space: Space, number: usize, step: Step) {
        let by = number.to_string();
        match step {
            Step::LookUp(place) => {
                let answer = look_up(cache, space, keys()[place]).await;
                looked_up(&mut self.values[place], &mut self.tokens[place], answer);
            }
            Step::LookUpAll => {
                let answers = cache.look_up(space, &keys()).await.unwrap();
                for (place, answer) in answers.into_iter().enumerate() {
                    looked_up(&mut self.values[place], &mut self.tokens[place], answer);
                }
            }
            Step::Fill(place, ago, version) => {
                let (token, value) = (of(&self.tokens[place], ago), written(version, &by));
                let counts = fill(cache, space, keys()[place], token, value.clone()).await;
                let after = cell::fill(self.values[place].as_ref(), token, value);
                assert_eq!(counts, kept(&mut self.values[place], after));
            }
            Step::Update(place, version) => {
                let value = written(version, &by);
                cache.update(space, vec![(keys()[place], value.clone())]).await.unwrap();
                let after = cell::update(self.values[place].as_ref(), value);
                kept(&mut self.values[place], after);
            }
            Step::UpdateAll(version) => {
                let value = written(version, &by);
                cache.update(space, keys().map(|key| (key, value.clone())).to_vec()).await.unwrap();
                for held in &mut self.values {
                    let after = cell::update(held.as_ref(), value.clone());
                    kept(held, after);
                }
            }
            Step::Forget(place) => {
                cache.forget(space, keys()[place]).await;
                self.values[place] = None;
            }
            Step::LookUpList => {
                let answer = cache.look_up_comments(space, list(1)).await.unwrap();
                looked_up(&mut self.list, &mut self.list_tokens, answer);
            }
            Step::FillList(ago, version, items) => {
                let (token, loaded) = (of(&self.list_tokens, ago), loaded(version, &items));
                let counts = cache.fill_comments(space, list(1), token, loaded.clone()).await.unwrap();
                let after = cell::fill_comments(self.list.as_ref(), token, loaded, KEPT);
                assert_eq!(counts, matches!(after, Some(Filled::Holds(_))));
                match after {
                    Some(Filled::Holds(list)) => self.list = Some(Cell::Holds(list)),
                    Some(Filled::Nothing) => self.list = None,
                    None => {}
                }
            }
            Step::Add(items) => {
                let items: Vec<Item> = items.into_iter().map(|(id, position)| item(id, position)).collect();
                cache.add_comments(space, vec![(list(1), items.clone())]).await.unwrap();
                let after = cell::add(self.list.as_ref(), &items, KEPT);
                kept(&mut self.list, after);
            }
            Step::DropList => {
                cache.drop_comments(space, vec![list(1)]).await.unwrap();
                self.list = None;
            }
        }
    }

    /// What can be seen without a change.
    async fn check(&self, cache: &dyn Tested, space: Space) {
        let seen = cache.values(space, &keys()).await.unwrap();
        let held = self.values.each_ref().map(|held| match held {
            Some(Cell::Holds(value)) => Some(value.clone()),
            _ => None,
        });
        assert_eq!(seen, held);
        let held = match &self.list {
            Some(Cell::Holds(list)) => Some(list.clone()),
            _ => None,
        };
        assert_eq!(cache.comments(space, list(1)).await.unwrap(), held);
    }

    /// Whether there are leases is only seen by asking for them, and what waits with one only by filling.
    async fn check_leases(&mut self, cache: &dyn Tested, space: Space) {
        for number in 0..2 {
            self.apply(cache, space, number, Step::LookUpAll).await;
            self.apply(cache, space, number, Step::LookUpList).await;
            for place in 0..keys().len() {
                self.apply(cache, space, number, Step::Fill(place, 0, 2)).await;
            }
            self.apply(cache, space, number, Step::FillList(0, 3, vec![(4, 2)])).await;
            self.check(cache, space).await;
        }
    }
}

pub(crate) async fn every_call_does_what_the_model_says<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(Limits { kept: KEPT, ..long() }).await;
    let log = space().log;
    for_some(cases(2_000), vec(step(), 1..30), async |case, steps| {
        let space = Space { log, epoch: case.0.into() };
        let mut model = Model::default();
        for (number, step) in steps.into_iter().enumerate() {
            model.apply(&*cache, space, number, step).await;
            model.check(&*cache, space).await;
        }
        model.check_leases(&*cache, space).await;
    });
}
