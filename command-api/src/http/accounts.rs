//! `POST /v1/accounts`, `PUT /v1/me`

use adapters::http::auth::Actor;
use adapters::http::clock::{entropy, now};
use adapters::http::extract::{Body, BodyWithBytes};
use adapters::http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use domain::UserId;
use domain::text::{Bio, DisplayName, Username};
use domain::user::Profile;
use serde::Deserialize;

use super::Api;
use super::answers::answered;
use super::headers::{IfMatch, Repeatable};
use crate::auth::passwords::NewPassword;
use crate::commands::{ProfileEdit, Registration};
use crate::write_path::Origin;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    username: Username,
    password: NewPassword,
    display_name: Option<DisplayName>,
}

/// Both values, whichever shall change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    display_name: DisplayName,
    bio: Bio,
}

pub(super) async fn register(
    State(api): State<Api>,
    repeatable: Repeatable,
    BodyWithBytes(request, body): BodyWithBytes<Request>,
) -> Result<Response, Problem> {
    let Request { username, password, display_name } = request;
    // Nobody has logged in, so whose key it is follows from the name that is wanted.
    let once = repeatable.once(&api.secrets, format!("anonymous:{username}"), &body);
    let proposed = UserId::from_parts(now(), entropy());
    let registering = match api.commands.begin_registration(once.as_ref(), proposed, &username).await? {
        Ok(registering) => registering,
        Err(repeated) => return answered(repeated),
    };
    let password_hash = Some(api.passwords.hash(&password).await?);
    // A user name is a display name: it has one line and is shorter.
    let display_name = match display_name {
        Some(display_name) => display_name,
        None => DisplayName::parse(username.as_str()).map_err(|wrong| Problem::invalid("display_name", wrong))?,
    };
    let registration = Registration { username, display_name, password_hash };
    let origin = Origin::now(registering.user);
    answered(api.commands.register_begun(registering, &origin, registration).await?)
}

pub(super) async fn edit(
    State(api): State<Api>,
    actor: Actor,
    IfMatch(seen): IfMatch,
    Body(Edited { display_name, bio }): Body<Edited>,
) -> Result<Response, Problem> {
    let edit = ProfileEdit { seen, profile: Profile { display_name, bio } };
    answered(api.commands.edit_profile(&Origin::now(actor.user), edit).await?)
}
