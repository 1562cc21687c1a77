//! Pieces of the OpenAPI document that both APIs have in common: refusals, headers, and who may call.
//!
//! What a handler does is described at the handler (`#[utoipa::path]`); what every request meets at the door (trace,
//! limits) is added by whoever puts the doors in front, with [`describe`].

use std::collections::BTreeMap;

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{AllOfBuilder, ArrayItems, Components, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, OpenApi, PathItem, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses};

use super::auth::ACCESS_COOKIE;
use super::problem::Code;

/// Name of the problem's schema.
const PROBLEM: &str = "Problem";
/// Name of the schema of [`Code`].
const PROBLEM_CODE: &str = "ProblemCode";

/// As `rate_limits` calls them, in the spelling that people read.
const RATE_LIMIT_HEADERS: [&str; 3] = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"];

/// A set of codes, to be a parameter of [`Refused`].
pub type Codes = u64;

/// Just these.
pub const fn these(codes: &[Code]) -> Codes {
    let mut set = 0;
    let mut index = 0;
    while index < codes.len() {
        set |= 1 << codes[index] as u32;
        index += 1;
    }
    set
}

/// What a call meets that somebody must make.
pub const OF_SOMEBODY: Codes = these(&[Code::Unauthenticated, Code::InvalidToken]);
/// What a query meets that anybody may make.
pub const OF_ANYBODY: Codes = these(&[Code::InvalidToken]);
/// What any command meets that somebody must make: by cookie it needs an origin, and it has no query parameters.
pub const COMMAND: Codes = OF_SOMEBODY | these(&[Code::OriginMismatch, Code::InvalidField, Code::Conflict]);
/// What a call with a body meets.
pub const BODY: Codes =
    these(&[Code::MalformedJson, Code::BodyTooLarge, Code::UnsupportedMediaType, Code::InvalidField]);
/// What a repeatable command meets.
pub const REPEATABLE: Codes = these(&[Code::InvalidField, Code::Conflict, Code::IdempotencyKeyReused]);
/// What an edit meets: it names the version that it changes, of something that is the actor's own.
pub const EDIT: Codes = these(&[Code::NotFound, Code::NotYours, Code::Stale, Code::PreconditionRequired]);
/// What a query meets that takes a consistency token.
pub const CONSISTENT: Codes = these(&[Code::InvalidField]);
/// What a query meets that takes a cursor.
pub const PAGED: Codes = these(&[Code::InvalidField, Code::InvalidCursor]);

/// Anything may meet these.
const ANYTHING: Codes = these(&[Code::Overloaded, Code::Unavailable, Code::Internal]);

/// The refusals of a call, for `responses(…)`: those in `CODES`, and those that any call may meet.
#[derive(Debug)]
pub struct Refused<const CODES: Codes>;

impl<const CODES: Codes> IntoResponses for Refused<CODES> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in Code::ALL.into_iter().filter(|code| (CODES | ANYTHING) & these(&[*code]) != 0) {
            by_status.entry(code.status().as_u16()).or_default().push(code);
        }
        by_status.into_iter().map(|(status, codes)| (status.to_string(), RefOr::T(refusal(&codes)))).collect()
    }
}

/// A refusal for any of `codes`, which share their status.
fn refusal(codes: &[Code]) -> Response {
    let description: Vec<String> = codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
    let names = codes.iter().map(|code| code.as_str());
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name(PROBLEM))
        .item(ObjectBuilder::new().schema_type(Type::Object).property("code", code));
    let mut response = ResponseBuilder::new()
        .description(description.join(" "))
        .content("application/problem+json", ContentBuilder::new().schema(Some(schema)).build());
    if codes.contains(&Code::Unauthenticated) || codes.contains(&Code::InvalidToken) {
        response = response.header("WWW-Authenticate", Header::default());
    }
    if codes.iter().any(|code| matches!(code, Code::RateLimited | Code::Overloaded | Code::Unavailable)) {
        response = response.header("Retry-After", Header::default());
    }
    response.build()
}

/// `Consistency-Token` as queries take it, for `params(…)`.
#[derive(Debug)]
pub struct ConsistencyToken;

impl IntoParams for ConsistencyToken {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header_parameter(
            "Consistency-Token",
            Required::False,
            "What commands have answered, several separated by commas: the answer contains all that they did, or says \
             `Consistency: behind` after two seconds.",
        )]
    }
}

/// A header that a call takes.
pub fn header_parameter(name: &str, required: Required, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// Completes a document that has been put together of the handlers' parts: the schema of problems, who may call, what
/// headers mean, and the trace id on every answer.
pub fn describe(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(PROBLEM.to_owned(), problem().into());
    components.schemas.insert(PROBLEM_CODE.to_owned(), problem_code().into());
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token, as programs send it."))
        .build();
    let cookie = ApiKeyValue::with_description(
        ACCESS_COOKIE,
        "The same in a cookie, as web pages send it. What changes something must then carry an `Origin` that is ours.",
    );
    components.security_schemes.insert("bearer".to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    components.security_schemes.insert("cookie".to_owned(), RefOr::T(SecurityScheme::ApiKey(ApiKey::Cookie(cookie))));
    name_items(components);
    for (path, item) in &mut document.paths.paths {
        // Health, metrics and this document are for everybody at any time.
        if path.starts_with("/v1/") {
            operations(item).for_each(limited);
        }
    }
    for response in document.paths.paths.values_mut().flat_map(operations).flat_map(responses) {
        response.headers.insert("X-Trace-Id".to_owned(), Header::default().into());
        for (name, header) in &mut response.headers {
            components.headers.entry(name.clone()).or_insert_with(|| described(name).into());
            *header = RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
        }
    }
}

/// What `rate_limits` adds to every call.
fn limited(operation: &mut Operation) {
    let too_many = RefOr::T(refusal(&[Code::RateLimited]));
    operation.responses.responses.insert(Code::RateLimited.status().as_u16().to_string(), too_many);
    for response in responses(operation) {
        for name in RATE_LIMIT_HEADERS {
            response.headers.insert(name.to_owned(), Header::default().into());
        }
    }
}

/// Pages of a list hold their items' whole schema, because they are generic: the schema's name says more.
fn name_items(components: &mut Components) {
    let named = components.schemas.clone();
    for schema in components.schemas.values_mut() {
        let RefOr::T(Schema::Object(object)) = schema else { continue };
        for property in object.properties.values_mut() {
            if let RefOr::T(Schema::Array(array)) = property
                && let ArrayItems::RefOrSchema(items) = &mut array.items
                && let Some((name, _)) = named.iter().find(|(_, named)| *named == &**items)
            {
                **items = Ref::from_schema_name(name).into();
            }
        }
    }
}

/// The operations of a path.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().filter_map(Option::as_mut)
}

/// The answers of an operation.
pub fn responses(operation: &mut Operation) -> impl Iterator<Item = &mut Response> {
    operation.responses.responses.values_mut().filter_map(|response| match response {
        RefOr::T(response) => Some(response),
        RefOr::Ref(_) => None,
    })
}

/// What a header of answers means.
fn described(name: &str) -> Header {
    let (kind, description) = match name {
        "Consistency" => (Type::String, "`current`, or `behind`, to a request with a `Consistency-Token`."),
        "Consistency-Token" => (
            Type::String,
            "Sent along with a query, makes its answer contain what was done. Absent where nothing ever was.",
        ),
        "ETag" => (Type::String, "The version, in double quotes: what `If-Match` takes."),
        "Location" => (Type::String, "Where what was made can be read."),
        "RateLimit-Limit" => (Type::Integer, "How many such calls may be made in a minute, where they are limited."),
        "RateLimit-Remaining" => (Type::Integer, "How many of them are left now."),
        "RateLimit-Reset" => (Type::Integer, "After how many seconds all of them are back."),
        "Retry-After" => (Type::Integer, "After how many seconds the same request may succeed."),
        "Set-Cookie" => (Type::String, "The tokens, where they travel as cookies."),
        "Stream-Position" => (Type::String, "Where to start the post's stream from, so that nothing falls between."),
        "WWW-Authenticate" => (Type::String, "`Bearer`."),
        "X-Trace-Id" => (Type::String, "The request's id, which the server's log repeats."),
        _ => (Type::String, ""),
    };
    let mut header = Header::new(ObjectBuilder::new().schema_type(kind));
    header.description = Some(description.to_owned());
    header
}

fn problem() -> Schema {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    let status = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(400))
        .maximum(Some(599))
        .description(Some("The HTTP status."));
    let trace_id = text("The request's id, which the server's log repeats.").pattern(Some("^[0-9a-f]{32}$"));
    ObjectBuilder::new()
        .description(Some("Why a request was refused (RFC 9457)."))
        .property("type", text("The code as a URI.").pattern(Some("^urn:hybrid-live:problem:[a-z_]+$")))
        .property("title", text("What the code means, in words that never change with the case."))
        .property("status", status)
        .property("code", Ref::from_schema_name(PROBLEM_CODE))
        .property("detail", text("What is wrong in this case."))
        .property("field", text("The field, query parameter or header at fault."))
        .property("trace_id", trace_id)
        .required("type")
        .required("title")
        .required("status")
        .required("code")
        .required("detail")
        .required("trace_id")
        .into()
}

fn problem_code() -> Schema {
    let meanings: Vec<String> =
        Code::ALL.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.title())).collect();
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(format!("A closed set, on which clients may rely.\n\n{}", meanings.join("\n"))))
        .enum_values(Some(Code::ALL.iter().map(|code| code.as_str())))
        .into()
}
