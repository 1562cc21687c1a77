//! `POST /v1/accounts`, `PUT /v1/me`

use adapters::http::auth::Actor;
use adapters::http::clock::{entropy, now};
use adapters::http::extract::{Body, BodyWithBytes};
use adapters::http::openapi::{BODY, COMMAND, REPEATABLE, Refused, these};
use adapters::http::problem::{Code, Problem};
use axum::extract::State;
use axum::response::Response;
use domain::UserId;
use domain::text::{Bio, DisplayName, Username};
use domain::user::Profile;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::answers::answered;
use super::headers::{IfMatch, Repeatable};
use crate::auth::passwords::NewPassword;
use crate::commands::{Account, ProfileEdit, Registration};
use crate::write_path::Origin;

/// Who wants an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Registration)]
pub(super) struct Request {
    username: Username,
    #[schema(value_type = String, format = "password", min_length = 8, max_length = 256)]
    password: NewPassword,
    /// The user name, where none is given.
    display_name: Option<DisplayName>,
}

/// Both values, whichever shall change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProfileEdit)]
pub(super) struct Edited {
    display_name: DisplayName,
    bio: Bio,
}

/// Make an account
///
/// A user name has one owner. Whoever registers then logs in.
#[utoipa::path(
    post,
    path = "/v1/accounts",
    operation_id = "register",
    tag = "accounts",
    params(Repeatable),
    request_body = Request,
    responses(
        (status = 201, body = Account, description = "The account.", headers(("Location"), ("Consistency-Token"))),
        Refused<{ BODY | REPEATABLE | these(&[Code::UsernameTaken]) }>,
    ),
    security(()),
)]
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

/// Change one's profile
///
/// Display name and bio, both at once. What it says afterwards is the answer.
#[utoipa::path(
    put,
    path = "/v1/me",
    operation_id = "edit_profile",
    tag = "users",
    params(IfMatch),
    request_body = Edited,
    responses(
        (status = 200, body = Account, description = "The account as it is now.", headers(("ETag"), ("Consistency-Token"))),
        Refused<{ COMMAND | BODY | these(&[Code::NotFound, Code::Stale, Code::PreconditionRequired]) }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn edit(
    State(api): State<Api>,
    actor: Actor,
    IfMatch(seen): IfMatch,
    Body(Edited { display_name, bio }): Body<Edited>,
) -> Result<Response, Problem> {
    let edit = ProfileEdit { seen, profile: Profile { display_name, bio } };
    answered(api.commands.edit_profile(&Origin::now(actor.user), edit).await?)
}
