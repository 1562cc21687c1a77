//! What people show of themselves, and their numbers. C1.

use std::sync::Arc;

use adapters::StoreError;
use adapters::checkpoints::Generation;
use adapters::views::{ProfileNames, ProfileRow, Views};
use domain::UserId;
use domain::text::{Bio, DisplayName, Username};

use super::PAGE;
use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Profiles {
    pub(super) views: Arc<dyn Views>,
    pub(super) generation: Generation,
}

impl Rows for Profiles {
    type Key = UserId;
    type Row = ProfileRow;
    const NAME: &'static str = "profiles";
    const SCANNED: bool = true;

    fn expected(&self, model: &Model) -> Vec<UserId> {
        model.reference.profiles().map(|profile| profile.user).collect()
    }

    async fn page(&self, after: Option<UserId>) -> Result<Vec<(UserId, ProfileRow)>, StoreError> {
        let rows = self.views.scan_profiles(self.generation, after, PAGE).await?;
        Ok(rows.into_iter().map(|row| (row.user, row)).collect())
    }

    async fn find(&self, _: &Model, user: UserId) -> Result<Option<ProfileRow>, StoreError> {
        Ok(self.views.profiles(self.generation, &[user]).await?.into_iter().next().flatten())
    }

    fn difference(&self, model: &Model, user: UserId, row: Option<&ProfileRow>) -> Option<Difference> {
        let answer = model.reference.profile(user);
        let expected = describe(answer.names, answer.sequence, [answer.followers, answer.following, answer.posts]);
        let found = row.map(|row| {
            let names = row.names.as_ref();
            let names = names.map(|ProfileNames { username, display_name, bio }| (username, display_name, bio));
            describe(names, row.sequence, [row.followers, row.following, row.posts])
        });
        // Who was named once and did nothing since needs no row.
        let nothing = describe(None, 0, [0, 0, 0]);
        Difference::between(Some(expected), Some(found.unwrap_or(nothing)))
    }

    fn show(user: UserId) -> String {
        format!("user {user}")
    }
}

fn describe(
    names: Option<(&Username, &DisplayName, &Bio)>,
    sequence: u64,
    [followers, following, posts]: [u64; 3],
) -> String {
    let names = match names {
        Some((username, display_name, bio)) => format!("@{username}, {display_name:?}, bio {bio:?}"),
        None => "no names".to_owned(),
    };
    format!("{names}, sequence {sequence}, followers {followers}, following {following}, posts {posts}")
}
