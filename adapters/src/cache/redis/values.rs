//! Previews and counts: a string per key.

use std::time::Duration;

use redis::{Cmd, RedisError, Value as Answer};

use super::form::{self, Seen};
use super::nodes::{Nodes, Order, Place, checked};
use super::{millis, scripts};
use crate::cache::{Key, Limits, Lookup, Space, Token, Value};

/// What a first look has seen.
struct Looked {
    places: Vec<Place>,
    cells: Vec<Option<Seen<Value>>>,
    /// Previews whose life is to be made longer, by their place among the keys.
    touched: Vec<usize>,
}

impl Nodes {
    pub(super) async fn values(
        &self,
        limits: &Limits,
        space: Space,
        keys: &[Key],
    ) -> Result<Vec<Option<Value>>, RedisError> {
        let looked = self.look(limits, space, keys).await?;
        let touches = looked.touched.iter().map(|index| touch(limits, keys[*index], &looked.places[*index]));
        checked_all(self.ask(touches.collect()).await?)?;
        let held = looked.cells.into_iter().map(|cell| match cell {
            Some(Seen::Holds(value)) => Some(value),
            Some(Seen::Leased) | None => None,
        });
        Ok(held.collect())
    }

    pub(super) async fn look_up(
        &self,
        limits: &Limits,
        space: Space,
        keys: &[Key],
    ) -> Result<Vec<Lookup<Value>>, RedisError> {
        let Looked { places, cells, touched } = self.look(limits, space, keys).await?;
        let mut orders = Vec::new();
        let mut asked = Vec::new();
        for (index, _) in cells.iter().enumerate().filter(|(_, cell)| cell.is_none()) {
            let token = Token(rand::random());
            let mut lease = scripts::call(&scripts::LEASE, &places[index].name);
            lease.arg(form::lease(token)).arg(millis(limits.of_lease()));
            orders.push(places[index].order(lease));
            asked.push((index, token));
        }
        orders.extend(touched.into_iter().map(|index| touch(limits, keys[index], &places[index])));
        let answers = checked_all(self.ask(orders).await?)?;

        let mut lookups: Vec<Lookup<Value>> = cells.into_iter().map(seen).collect();
        for ((index, token), answer) in asked.into_iter().zip(answers) {
            lookups[index] = match answer {
                Answer::Nil => Lookup::Granted(token),
                // Somebody came between.
                answer => seen(form::read(answer)),
            };
        }
        Ok(lookups)
    }

    pub(super) async fn fill(
        &self,
        limits: &Limits,
        space: Space,
        fills: &[(Key, Token, Value)],
    ) -> Result<Vec<bool>, RedisError> {
        let fills = fills.iter().map(|(key, token, value)| {
            let place = self.place(space, *key);
            let mut fill = scripts::call(&scripts::FILL, &place.name);
            fill.arg(form::token(*token)).arg(form::value(value)).arg(millis(limits.of(*key)));
            place.order(fill)
        });
        let answers = checked_all(self.ask(fills.collect()).await?)?;
        Ok(answers.into_iter().map(|answer| answer == Answer::Int(1)).collect())
    }

    pub(super) async fn update(
        &self,
        limits: &Limits,
        space: Space,
        updates: &[(Key, Value)],
    ) -> Result<(), RedisError> {
        let updates = updates.iter().map(|(key, value)| {
            let place = self.place(space, *key);
            let mut update = scripts::call(&scripts::UPDATE, &place.name);
            update.arg(form::value(value)).arg(millis(limits.of(*key)));
            place.order(update)
        });
        checked_all(self.ask(updates.collect()).await?).map(drop)
    }

    /// `GETEX` would make a lease live as long as a preview, and a script for each would make readers wait for each other.
    /// So a preview is asked for its age along with its value, and only if it has aged there is more to be done.
    async fn look(&self, limits: &Limits, space: Space, keys: &[Key]) -> Result<Looked, RedisError> {
        let places: Vec<Place> = keys.iter().map(|key| self.place(space, *key)).collect();
        let mut orders: Vec<Order> = Vec::with_capacity(keys.len() * 2);
        for (key, place) in keys.iter().zip(&places) {
            orders.push(place.order(on("GET", place)));
            if matches!(key, Key::Preview(_)) {
                orders.push(place.order(on("PTTL", place)));
            }
        }
        let mut answers = self.ask(orders).await?.into_iter();
        let mut cells = Vec::with_capacity(keys.len());
        let mut touched = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let cell = form::read(checked(answers.next().unwrap_or(Answer::Nil))?);
            if matches!(key, Key::Preview(_)) {
                let left = checked(answers.next().unwrap_or(Answer::Nil))?;
                if matches!(cell, Some(Seen::Holds(_))) && has_aged(limits.preview, &left) {
                    touched.push(index);
                }
            }
            cells.push(cell);
        }
        Ok(Looked { places, cells, touched })
    }
}

/// A quarter of its life is gone: what is read all the time is touched a few times in its life, and what is read at all
/// lives for three quarters of it from then on.
fn has_aged(life: Duration, left: &Answer) -> bool {
    let youngest = millis(life.mul_f64(0.75));
    matches!(left, Answer::Int(left) if u64::try_from(*left).is_ok_and(|left| left < youngest))
}

fn touch(limits: &Limits, key: Key, place: &Place) -> Order {
    let mut touch = scripts::call(&scripts::TOUCH, &place.name);
    touch.arg(millis(limits.of(key)));
    place.order(touch)
}

fn on(command: &str, place: &Place) -> Cmd {
    let mut command = redis::cmd(command);
    command.arg(&place.name);
    command
}

fn seen(cell: Option<Seen<Value>>) -> Lookup<Value> {
    match cell {
        Some(Seen::Holds(value)) => Lookup::Found(value),
        Some(Seen::Leased) | None => Lookup::Taken,
    }
}

fn checked_all(answers: Vec<Answer>) -> Result<Vec<Answer>, RedisError> {
    answers.into_iter().map(checked).collect()
}
