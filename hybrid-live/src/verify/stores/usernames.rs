//! Claims on user names. W5: each account owns its name.

use std::sync::Arc;

use adapters::StoreError;
use adapters::content::Content;
use domain::text::Username;
use domain::{StreamId, UserId};

use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Owners(pub(super) Arc<dyn Content>);

impl Rows for Owners {
    type Key = UserId;
    type Row = UserId;
    const NAME: &'static str = "user names";
    const SCANNED: bool = false;

    fn expected(&self, model: &Model) -> Vec<UserId> {
        model.reference.users().collect()
    }

    async fn page(&self, _: Option<UserId>) -> Result<Vec<(UserId, UserId)>, StoreError> {
        Ok(Vec::new())
    }

    async fn find(&self, model: &Model, user: UserId) -> Result<Option<UserId>, StoreError> {
        match name(model, user) {
            Some(name) => self.0.username_owner(&name).await,
            None => Ok(None),
        }
    }

    fn difference(&self, model: &Model, user: UserId, row: Option<&UserId>) -> Option<Difference> {
        let name = name(model, user)?;
        let describe = |owner: UserId| format!("@{name} belongs to {owner}");
        Difference::between(Some(describe(user)), row.map(|owner| describe(*owner)))
    }

    fn show(user: UserId) -> String {
        format!("user {user}")
    }
}

fn name(model: &Model, user: UserId) -> Option<Username> {
    let (_, state) = model.reference.state(StreamId::User(user))?;
    match serde_json::from_str(&state).ok()? {
        domain::user::User::Absent => None,
        domain::user::User::Registered { username, .. } => Some(username),
    }
}
