//! `GET /v1/feed/explain`: why a post is, or is not, in one's feed: which event put it there, which rule keeps it out.
//!
//! The rules are asked one by one, from where pages read, too: a property test holds the two against each other. Nobody
//! learns more than what they may see: a post that is not for them is, to them, unknown.

use adapters::StoreError;
use adapters::checkpoints::{Generation, Partition, TIMELINES};
use adapters::event_log::partition_of;
use adapters::http::auth::Actor;
use adapters::http::extract::Params;
use adapters::http::openapi::{CONSISTENT, ConsistencyToken, OF_SOMEBODY, Refused};
use adapters::http::problem::Problem;
use adapters::timelines::{AuthorEntry, Order, Span};
use adapters::views::RelationView;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use domain::{Lane, Position, PostId, StreamId, Topic, UserId};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Ports;
use crate::access::{Found, find_post, relation};
use crate::api::{Api, Reads, TIMELINES_WHOLE};
use crate::feed::is_read;

/// Homes follow from posts and relations.
const READS: Reads = &[TIMELINES_WHOLE];

/// The query string.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// The post in question.
    post: PostId,
}

/// Why a post is, or is not, in the feed of whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The post in question.
    pub post: PostId,
    /// Who wrote it; null where that is not for the viewer to know.
    pub author: Option<UserId>,
    /// Whether the feed shows it: whether all rules are passed.
    pub in_feed: bool,
    /// What was asked, in order, as far as it goes.
    pub rules: Vec<Rule>,
}

/// One of the things that must be so for a post to be in a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Which.
    pub rule: RuleName,
    /// Whether it is so.
    pub passed: bool,
    /// How it is, for people.
    pub detail: String,
    /// Where the event behind it is in the log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub position: Option<String>,
    /// The stream of the event behind it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub stream: Option<StreamId>,
    /// The event's number in its stream.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub sequence: Option<u64>,
}

/// The rules by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleName {
    /// There is such a post, and the viewer may see it.
    Visible,
    /// The viewer wrote it, or reads whoever did.
    Followed,
    /// The viewer has not muted whoever wrote it.
    NotMuted,
    /// The projection has come to it.
    Projected,
    /// It is in the stored home, or is merged into it when the feed is read.
    Listed,
}

/// Why a post is in the feed, or is not
///
/// What must be so for a post to be in one's own feed, rule by rule, with the events behind it.
#[utoipa::path(
    get,
    path = "/v1/feed/explain",
    operation_id = "explain_feed",
    tag = "feed",
    params(Asked, ConsistencyToken),
    responses(
        (status = 200, body = Explanation, description = "Why.", headers(("Consistency"))),
        Refused<{ OF_SOMEBODY | CONSISTENT }>,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub(crate) async fn explain(
    State(api): State<Api>,
    actor: Actor,
    headers: HeaderMap,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    let consistency = api.wait(&headers, READS).await?;
    let explanation = explanation(&api.ports, actor.user, asked.post).await?;
    Ok(api.uncached(axum::Json(explanation).into_response(), consistency))
}

/// Why `post` is, or is not, in `viewer`'s feed.
pub(crate) async fn explanation(ports: &Ports, viewer: UserId, post: PostId) -> Result<Explanation, StoreError> {
    let generation = ports.checkpoints.serving(TIMELINES).await?;
    let question = Question { ports, generation, viewer, post };
    let (author, rules) = question.rules().await?;
    let in_feed = rules.iter().all(|rule| rule.passed);
    Ok(Explanation { post, author, in_feed, rules })
}

struct Question<'a> {
    ports: &'a Ports,
    generation: Generation,
    viewer: UserId,
    post: PostId,
}

impl Rule {
    fn new(rule: RuleName, passed: bool, detail: impl Into<String>) -> Self {
        Self { rule, passed, detail: detail.into(), position: None, stream: None, sequence: None }
    }
}

impl Question<'_> {
    async fn rules(&self) -> Result<(Option<UserId>, Vec<Rule>), StoreError> {
        let Self { ports, generation, viewer, post } = *self;
        let (content, views) = (ports.content.as_ref(), ports.views.as_ref());
        let unseen = |detail| vec![Rule::new(RuleName::Visible, false, detail)];
        let author = match find_post(content, views, generation, Some(viewer), post).await? {
            Found::Post(found) => found.author,
            Found::Deleted { author } => {
                // Only whoever could see it, whatever its visibility was, is told that there was a post.
                let could_see = author == viewer || relation(views, generation, Some(viewer), author).await?.following;
                return Ok(match could_see {
                    true => (Some(author), unseen("the post was deleted")),
                    false => (None, unseen(UNKNOWN)),
                });
            }
            Found::Nothing => return Ok((None, unseen(UNKNOWN))),
        };
        let row = self.author_row(author).await?;
        let mut published = Rule::new(RuleName::Visible, true, "the post is there, and you may see it");
        published.stream = Some(StreamId::Post(post));
        published.sequence = Some(1);
        published.position = row.map(|row| self.position(row.offset).to_string());
        let mut rules = vec![published];
        let belongs = if author == viewer {
            rules.push(Rule::new(RuleName::Followed, true, "you wrote it"));
            true
        } else {
            let related = self.related(author).await?;
            let follows = related[0].passed;
            rules.extend(related);
            follows
        };
        rules.push(self.projected(row).await?);
        if row.is_some() {
            rules.push(self.listed(author, belongs).await?);
        }
        Ok((Some(author), rules))
    }

    /// What the viewer is to the author: together the rules are what [`is_read`] says.
    async fn related(&self, author: UserId) -> Result<[Rule; 2], StoreError> {
        let Self { ports, generation, viewer, .. } = *self;
        let relation = relation(ports.views.as_ref(), generation, Some(viewer), author).await?;
        let follows = is_read(&RelationView { muting: false, ..relation });
        let detail = if follows { "you follow its author" } else { "you do not follow its author" };
        let mut followed = Rule::new(RuleName::Followed, follows, detail);
        let edges = ports.views.scan_edges(generation, Some((viewer, author.just_below())), 1).await?;
        if let Some(edge) = edges.first().filter(|edge| edge.from == viewer && edge.to == author) {
            followed.stream = Some(StreamId::relation(viewer, author));
            followed.sequence = Some(edge.sequence);
        }
        let detail = if relation.muting { "you have muted its author" } else { "you have not muted its author" };
        Ok([followed, Rule::new(RuleName::NotMuted, !relation.muting, detail)])
    }

    async fn projected(&self, row: Option<AuthorEntry>) -> Result<Rule, StoreError> {
        if row.is_some() {
            return Ok(Rule::new(RuleName::Projected, true, "the projection has come to it"));
        }
        let lane = Lane::post(self.post);
        let Position { topic, partition, .. } = self.position(0);
        let place = Partition { topic, number: partition };
        let (is_parked, done) = {
            let progress = self.ports.checkpoints.progress();
            let progress = progress.borrow();
            let done = progress.offsets(TIMELINES, topic, self.ports.event_log.partitions());
            (progress.is_parked(TIMELINES, place, &lane), done[usize::from(partition)])
        };
        let published = self.ports.content.published(StreamId::Post(self.post)).await?;
        let detail = match published {
            _ if is_parked => "an event of the post could not be applied: the post waits for an operator".to_owned(),
            None => "the log does not have it yet".to_owned(),
            Some(_) => format!("the projection has not come to it yet: it is at {}", self.position(done)),
        };
        let mut rule = Rule::new(RuleName::Projected, false, detail);
        // Later events of the post are further on.
        rule.position =
            published.filter(|published| published.sequence == 1).map(|published| published.position.to_string());
        Ok(rule)
    }

    /// The home before the hot authors, as pages read them (T4). `belongs`: the viewer wrote it, or follows its author.
    async fn listed(&self, author: UserId, belongs: bool) -> Result<Rule, StoreError> {
        let Self { ports, generation, viewer, post } = *self;
        let span = Span { above: post.just_below(), below: PostId::MAX, order: Order::OldestFirst };
        let home = ports.timelines.home(generation, viewer, span, 1).await?;
        let is_stored = home.entries.first().is_some_and(|entry| entry.post == post);
        let (passed, detail) = if is_stored {
            (true, "it is stored in your feed")
        } else if post <= home.mark {
            (true, "it is older than what is stored of your feed, and merged from its author's posts")
        } else if !ports.views.hot(generation, &[author]).await?.is_empty() {
            (true, "its author has many followers: it is merged from their posts")
        } else if belongs {
            (false, "it is on its way into your feed")
        } else {
            (false, "it was not put into your feed")
        };
        Ok(Rule::new(RuleName::Listed, passed, detail))
    }

    /// The post in its author's timeline, if the projection has come to it.
    async fn author_row(&self, author: UserId) -> Result<Option<AuthorEntry>, StoreError> {
        let after = (author, self.post.just_below());
        let rows = self.ports.timelines.scan_authors(self.generation, Some(after), 1).await?;
        Ok(rows.into_iter().find(|row| row.author == author && row.post == self.post && !row.deleted))
    }

    fn position(&self, offset: i64) -> Position {
        let log = &self.ports.event_log;
        let partition = partition_of(&Lane::post(self.post), log.partitions());
        Position { log: log.id(), topic: Topic::Posts, partition, offset }
    }
}

const UNKNOWN: &str = "there is no such post, or none for you to see";
