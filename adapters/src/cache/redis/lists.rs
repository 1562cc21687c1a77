//! Comments: a Redis list per key, whose last element says what it is.

use redis::{RedisError, Value as Answer};

use super::form::{self, Seen};
use super::nodes::{Nodes, Place, checked};
use super::{millis, scripts};
use crate::cache::{Comments, Item, Limits, ListKey, Lookup, Space, Token};

impl Nodes {
    pub(super) async fn comments(&self, space: Space, key: ListKey) -> Result<Option<Comments>, RedisError> {
        match self.look_at_list(&self.list_place(space, key)).await? {
            Some(Seen::Holds(list)) => Ok(Some(list)),
            Some(Seen::Leased) | None => Ok(None),
        }
    }

    pub(super) async fn look_up_comments(
        &self,
        limits: &Limits,
        space: Space,
        key: ListKey,
    ) -> Result<Lookup<Comments>, RedisError> {
        let place = self.list_place(space, key);
        if let Some(cell) = self.look_at_list(&place).await? {
            return Ok(seen(Some(cell)));
        }
        let token = Token(rand::random());
        let mut lease = scripts::call(&scripts::LEASE_LIST, &place.name);
        lease.arg(form::list_lease(token)).arg(millis(limits.of_lease()));
        Ok(match self.ask_one(&place, lease).await? {
            Answer::Nil => Lookup::Granted(token),
            // Somebody came between.
            answer => seen(form::read_list(answer)),
        })
    }

    pub(super) async fn fill_comments(
        &self,
        limits: &Limits,
        space: Space,
        key: ListKey,
        token: Token,
        list: &Comments,
    ) -> Result<bool, RedisError> {
        let place = self.list_place(space, key);
        let mut fill = scripts::call(&scripts::FILL_LIST, &place.name);
        fill.arg(form::token(token)).arg(limits.kept).arg(millis(limits.of_list())).arg(form::version(list.version));
        for item in list.items.iter().take(limits.kept) {
            fill.arg(form::item(item));
        }
        Ok(self.ask_one(&place, fill).await? == Answer::Int(1))
    }

    pub(super) async fn add_comments(
        &self,
        limits: &Limits,
        space: Space,
        additions: &[(ListKey, Vec<Item>)],
    ) -> Result<(), RedisError> {
        let additions = additions.iter().filter(|(_, items)| !items.is_empty()).map(|(key, items)| {
            let place = self.list_place(space, *key);
            let mut add = scripts::call(&scripts::ADD, &place.name);
            add.arg(limits.kept).arg(millis(limits.of_list()));
            for item in items {
                add.arg(form::item(item));
            }
            place.order(add)
        });
        for answer in self.ask(additions.collect()).await? {
            checked(answer)?;
        }
        Ok(())
    }

    pub(super) async fn drop_comments(&self, space: Space, keys: &[ListKey]) -> Result<(), RedisError> {
        let drops = keys.iter().map(|key| {
            let place = self.list_place(space, *key);
            let mut drop = redis::cmd("DEL");
            drop.arg(&place.name);
            place.order(drop)
        });
        for answer in self.ask(drops.collect()).await? {
            checked(answer)?;
        }
        Ok(())
    }

    async fn look_at_list(&self, place: &Place) -> Result<Option<Seen<Comments>>, RedisError> {
        let mut all = redis::cmd("LRANGE");
        all.arg(&place.name).arg(0).arg(-1);
        Ok(form::read_list(self.ask_one(place, all).await?))
    }

    async fn ask_one(&self, place: &Place, command: redis::Cmd) -> Result<Answer, RedisError> {
        let answer = self.ask(vec![place.order(command)]).await?.pop();
        checked(answer.unwrap_or(Answer::Nil))
    }
}

fn seen(cell: Option<Seen<Comments>>) -> Lookup<Comments> {
    match cell {
        Some(Seen::Holds(list)) => Lookup::Found(list),
        Some(Seen::Leased) | None => Lookup::Taken,
    }
}
