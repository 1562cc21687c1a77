//! The HTTP commands. Handlers parse, call and map; what may be done is decided in `commands` and the domain.

use std::ops::Deref;
use std::sync::Arc;

use adapters::http::auth::AccessTokens;
use adapters::http::problem::{Code, Problem};
use adapters::http::rate_limits::RateLimits;
use adapters::secrets::Secrets;
use axum::Router;
use axum::extract::{FromRef, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::passwords::{PasswordError, Passwords};
use crate::auth::sessions::{SessionError, Sessions};
use crate::commands::Commands;
use crate::write_path::{WriteError, WritePath};

mod accounts;
mod answers;
mod comments;
mod headers;
mod posts;
mod reactions;
mod relations;
mod sessions;

/// What all commands share.
pub struct CommandState {
    commands: Commands,
    sessions: Sessions,
    passwords: Passwords,
    tokens: Arc<AccessTokens>,
    secrets: Secrets,
    limits: Arc<RateLimits>,
}

impl CommandState {
    /// Over a write path, with what verifies and issues tokens, and what hashes passwords.
    pub fn new(write_path: WritePath, tokens: Arc<AccessTokens>, secrets: Secrets, passwords: Passwords) -> Self {
        let sessions = Sessions::new(write_path.clone(), passwords.clone(), secrets.clone());
        let limits = Arc::new(RateLimits::off());
        Self { commands: Commands::new(write_path), sessions, passwords, tokens, secrets, limits }
    }

    /// With a limit on how often somebody may try to log in with one name; what goes by account and address stands in
    /// front of the router.
    #[must_use]
    pub fn with_rate_limits(self, limits: Arc<RateLimits>) -> Self {
        Self { limits, ..self }
    }
}

impl std::fmt::Debug for CommandState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandState(…)")
    }
}

/// The same, shared by all requests.
#[derive(Clone)]
struct Api(Arc<CommandState>);

impl Deref for Api {
    type Target = CommandState;

    fn deref(&self) -> &CommandState {
        &self.0
    }
}

impl FromRef<Api> for Arc<AccessTokens> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.tokens)
    }
}

/// All commands. Paths that it does not know are for whoever merges it with other routers to answer, as are limits.
pub fn router(state: CommandState) -> Router {
    Router::from(calls()).route_layer(from_fn(without_query_string)).with_state(Api(Arc::new(state)))
}

/// What the commands are, for the OpenAPI document.
pub fn document() -> OpenApi {
    calls().into_openapi()
}

/// Every call with its description.
///
/// How a handler is documented: `#[utoipa::path(…)]` on it names method, path, `operation_id` and tag; its doc comment
/// becomes summary and description; `params` lists what is in the path (`("id" = PostId, Path, description = …)`) and
/// the extractors that are parameters; `responses` lists the successes with their headers, then everything that it
/// refuses, as `Refused<{ COMMAND | BODY | these(&[Code::NotFound]) }>`; `security` is `(())` for anybody. Bodies derive
/// `ToSchema`. Then the handler goes into `routes!` here, those of one path together, and
/// `hybrid-live openapi > schemas/openapi/hybrid-live.json` renews the document that is kept. `tests/it/openapi.rs` asks
/// how the new call is made well, and meets every refusal that it promises.
fn calls() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::edit))
        .routes(routes!(sessions::log_in))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::log_out))
        .routes(routes!(relations::follow, relations::unfollow))
        .routes(routes!(relations::block, relations::unblock))
        .routes(routes!(relations::mute, relations::unmute))
        .routes(routes!(posts::publish))
        .routes(routes!(posts::edit, posts::delete))
        .routes(routes!(comments::add))
        .routes(routes!(comments::edit, comments::delete))
        .routes(routes!(reactions::like, reactions::unlike))
}

/// No command has query parameters: who sends one means something that does not happen.
async fn without_query_string(request: Request, next: Next) -> Result<Response, Problem> {
    let is_command = !request.method().is_safe();
    match request.uri().query() {
        Some(query) if is_command && !query.is_empty() => {
            let name = query.split(['=', '&']).next().unwrap_or_default();
            Err(Problem::invalid(name, "commands have no query parameters"))
        }
        Some(_) | None => Ok(next.run(request).await),
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(rejection) => rejection.into(),
            WriteError::Store(error) => error.into(),
            WriteError::UsernameTaken => Self { field: Some("username".to_owned()), ..Self::from(Code::UsernameTaken) },
            WriteError::NoSuchParent => {
                Self { field: Some("parent_id".to_owned()), ..Self::new(Code::NotFound, error.to_string()) }
            }
            WriteError::Conflict => Self::from(Code::Conflict),
            WriteError::KeyReused => {
                Self { field: Some("Idempotency-Key".to_owned()), ..Self::from(Code::IdempotencyKeyReused) }
            }
        }
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Overloaded => Self::from(Code::Overloaded),
            PasswordError::Failed(cause) => Self::internal(&cause),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::InvalidCredentials => Self::from(Code::InvalidCredentials),
            SessionError::InvalidRefreshToken => Self::from(Code::InvalidRefreshToken),
            SessionError::Reused => Self::from(Code::RefreshTokenReused),
            SessionError::Password(error) => error.into(),
            SessionError::Write(error) => error.into(),
        }
    }
}
