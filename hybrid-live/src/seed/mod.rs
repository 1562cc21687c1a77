//! `seed`: a plausible community, through the write path like everything else.
//!
//! [`plan`] says what there shall be; here it is carried out. Ids and times are the plan's, so a second run finds
//! everything there and adds nothing, and a run that was interrupted is completed by the next.

use std::collections::HashSet;
use std::time::Instant;

use command_api::auth::passwords::{NewPassword, Passwords};
use command_api::commands::{Commands, Publication, Registration};
use command_api::write_path::{Found, InLane, Origin, WriteError, WritePath};
use domain::comment;
use domain::reaction::{self, Reaction};
use domain::relation::{self, Relation};
use domain::text::{InvalidText, Username};
use domain::{CorrelationId, Rejection, StreamId, Timestamp, UserId};
use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use crate::cli::SeedArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::progress::{Progress, Unit};
use crate::terminal;
use crate::wiring::{self, Opened};
use plan::{Comment, Follow, Like, Plan, Post};

mod plan;
mod words;

#[cfg(test)]
mod tests;

/// Commands under way at one time: as many as share a commit.
const CONCURRENCY: usize = 256;
/// Names that somebody tries before giving up.
const NAMES: u32 = 100;

/// What there is and what of it is new.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    people: Count,
    follows: Count,
    posts: Count,
    comments: Count,
    likes: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    planned: u64,
    added: u64,
}

/// Makes the community, and says how to be one of it.
///
/// # Errors
/// A password that is not allowed, or a store.
pub(crate) async fn run(config: &Config, args: SeedArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let password = NewPassword::try_from(args.password.clone());
    let password = password.map_err(|reason| Failure::cannot_run(format!("--password {reason}")))?;
    let plan = Plan::new(args.seed, args.users, args.posts, args.until);
    if config.store_urls().use_files() {
        wiring::make_data_dir(config)?;
    }
    let opened = wiring::open(config).await?;
    let passwords = Passwords::new(config.password_settings()).map_err(|error| Failure::failed(error.to_string()))?;
    // One for all: hashing is meant to be slow, and there is one password.
    let hash = passwords.hash(&password).await.map_err(|error| Failure::failed(error.to_string()))?;

    let summary = Seeding::new(&opened, &plan).carry_out(&hash).await;
    opened.publish_what_waits().await;
    let summary = summary?;

    let rows = [
        ("people", summary.people),
        ("follows", summary.follows),
        ("posts", summary.posts),
        ("comments", summary.comments),
        ("likes", summary.likes),
    ];
    for (what, Count { planned, added }) in rows {
        terminal::say(&format!("{what:<10} {planned:>10}, {added} of them new"));
    }
    terminal::say(&format!("in {:.1} s", began.elapsed().as_secs_f64()));
    if let Some(username) = somebody(&opened, &plan).await? {
        terminal::say(&format!("\nEverybody's password is \"{}\". To log in as @{username}:", args.password));
        let body = serde_json::json!({ "username": username, "password": args.password });
        let json = "content-type: application/json";
        terminal::say(&format!("  curl http://{}/v1/sessions -H '{json}' -d '{body}'", config.listen));
    }
    Ok(())
}

/// The user name of the most popular person.
async fn somebody(opened: &Opened, plan: &Plan) -> Result<Option<String>, Failure> {
    let person = plan.person(plan.most_popular()).map_err(|error| unplanned(&error))?;
    let states = opened.stores.content.states(&[StreamId::User(person.id)]).await;
    let states = states.map_err(|error| Failure::failed(error.to_string()))?;
    let state = states.into_iter().next().flatten();
    let user = state.and_then(|state| serde_json::from_str(&state.state).ok());
    Ok(match user {
        Some(domain::user::User::Registered { username, .. }) => Some(username.to_string()),
        Some(domain::user::User::Absent) | None => None,
    })
}

/// The plan being carried out.
struct Seeding<'a> {
    plan: &'a Plan,
    commands: Commands,
    write_path: &'a WritePath,
}

impl<'a> Seeding<'a> {
    fn new(opened: &'a Opened, plan: &'a Plan) -> Self {
        Self { plan, commands: Commands::new(opened.write_path.clone()), write_path: &opened.write_path }
    }

    /// People first, then what they do: everybody is there before anybody is followed.
    async fn carry_out(&self, hash: &str) -> Result<Summary, Failure> {
        let plan = self.plan;
        let (people, posts) = (0..plan.users(), 0..plan.posts());
        let (likes, comments) = plan.totals();
        let follows = people.clone().map(|index| plan.followed(index).len() as u64).sum();
        let names = self.names()?;
        let names = people.clone().zip(&names).map(|(index, name)| self.register(index, name, hash));
        Ok(Summary {
            people: carried_out("people", u64::from(plan.users()), names).await?,
            follows: {
                let planned = people.flat_map(|index| each(plan.follows(index)));
                carried_out("follows", follows, planned.map(|follow| self.follow(follow))).await?
            },
            posts: {
                let planned = posts.clone().map(|index| self.publish(plan.post(index)));
                carried_out("posts", u64::from(plan.posts()), planned).await?
            },
            comments: {
                let planned = posts.clone().flat_map(|index| each(plan.comments(index)));
                carried_out("comments", comments, planned.map(|comment| self.comment(comment))).await?
            },
            likes: {
                let planned = posts.flat_map(|index| each(plan.likes(index)));
                carried_out("likes", likes, planned.map(|like| self.like(like))).await?
            },
        })
    }

    /// A name for everybody; those of the first do not depend on how many there are.
    fn names(&self) -> Result<Vec<Username>, Failure> {
        let mut given = HashSet::with_capacity(self.plan.users() as usize);
        let mut names = Vec::with_capacity(self.plan.users() as usize);
        for index in 0..self.plan.users() {
            for attempt in 0..NAMES {
                let name = self.plan.username(index, attempt).map_err(|error| unplanned(&error))?;
                if given.insert(name.clone()) {
                    names.push(name);
                    break;
                }
            }
        }
        if names.len() == self.plan.users() as usize {
            return Ok(names);
        }
        Err(Failure::failed("there are not enough names for so many people"))
    }

    /// Whether the person is new. A name that somebody else has is replaced by the next that nobody has.
    async fn register(&self, index: u32, name: &Username, hash: &str) -> Result<bool, Failure> {
        let person = self.plan.person(index).map_err(|error| unplanned(&error))?;
        let mut username = name.clone();
        for attempt in NAMES..2 * NAMES {
            let registration = Registration {
                username,
                display_name: person.display_name.clone(),
                password_hash: Some(hash.to_owned()),
            };
            let chance = Chance::of(StreamId::User(person.id));
            let event = || chance.event;
            let origin = chance.origin(person.id, person.joined, &event);
            match self.commands.register(&origin, registration).await {
                Err(WriteError::UsernameTaken) => {
                    username = self.plan.username(index, attempt).map_err(|error| unplanned(&error))?;
                }
                outcome => return is_new(outcome),
            }
        }
        Err(Failure::failed(format!("all names that person {index} tried are taken")))
    }

    async fn follow(&self, follow: Result<Follow, InvalidText>) -> Result<bool, Failure> {
        let Follow { from, to, at } = follow.map_err(|error| unplanned(&error))?;
        let command = relation::Command::Follow(relation::Pair { from, to });
        self.execute::<Relation>(StreamId::relation(from, to), from, at, &command).await
    }

    async fn publish(&self, post: Result<Post, InvalidText>) -> Result<bool, Failure> {
        let Post { id, author, at, visibility, text } = post.map_err(|error| unplanned(&error))?;
        let publication = Publication { post: id, visibility, text, imported: false };
        let chance = Chance::of(StreamId::Post(id));
        let event = || chance.event;
        is_new(self.commands.publish(&chance.origin(author, at, &event), publication, None).await)
    }

    async fn comment(&self, comment: Result<Comment, InvalidText>) -> Result<bool, Failure> {
        let Comment { id, post, author, parent, at, text } = comment.map_err(|error| unplanned(&error))?;
        let command = comment::Command::Add { comment: id, post, author, parent, text };
        self.execute::<comment::Comment>(StreamId::Comment(id), author, at, &command).await
    }

    async fn like(&self, like: Result<Like, InvalidText>) -> Result<bool, Failure> {
        let Like { post, user, at } = like.map_err(|error| unplanned(&error))?;
        let command = reaction::Command::Like(reaction::Subject { post, user });
        self.execute::<Reaction>(StreamId::Reaction(post, user), user, at, &command).await
    }

    /// Whether the command changed anything. Rules that span streams need no asking: what the plan comments on and
    /// likes is public, and whoever has deleted or blocked something since then is served when it is read.
    async fn execute<A: InLane>(
        &self,
        stream: StreamId,
        actor: UserId,
        at: Timestamp,
        command: &A::Command,
    ) -> Result<bool, Failure>
    where
        A::Command: Sync,
    {
        let chance = Chance::of(stream);
        let event = || chance.event;
        let origin = chance.origin(actor, at, &event);
        let mut events = 0;
        let decide = |found: &Found<A>| {
            // What was there and was taken back is not made again.
            if found.sequence > 0 && !matches!(stream, StreamId::Relation(..)) {
                return Ok(found.keep(None));
            }
            let change = found.decide(command, at)?;
            events = change.events.len();
            Ok::<_, WriteError>(change)
        };
        let outcome = self.write_path.change(stream, &origin, None, decide).await;
        is_new(outcome).map(|_| events > 0)
    }
}

/// Whether a command had an effect. That it was carried out before is no fault, nor that people have arranged
/// themselves otherwise since then.
fn is_new<T>(outcome: Result<T, WriteError>) -> Result<bool, Failure> {
    match outcome {
        Ok(_) => Ok(true),
        Err(WriteError::Rejected(Rejection::AlreadyExists(_) | Rejection::Blocked)) => Ok(false),
        Err(error) => Err(Failure::failed(format!("the community could not be completed: {error}; run it again"))),
    }
}

/// Carries out one kind of commands, many at a time.
async fn carried_out<F>(what: &str, planned: u64, commands: impl Iterator<Item = F>) -> Result<Count, Failure>
where
    F: Future<Output = Result<bool, Failure>>,
{
    let progress = Progress::new(what, planned, Unit::Items);
    let mut outcomes = stream::iter(commands).buffer_unordered(CONCURRENCY);
    let mut added = 0;
    while let Some(outcome) = outcomes.next().await {
        added += u64::from(outcome?);
        progress.add(1);
    }
    progress.finish();
    Ok(Count { planned, added })
}

fn each<T>(planned: Result<Vec<T>, InvalidText>) -> Vec<Result<T, InvalidText>> {
    match planned {
        Ok(items) => items.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }
}

fn unplanned(error: &InvalidText) -> Failure {
    Failure::failed(format!("a planned text is not allowed, a defect: {error}"))
}

/// What is chance in the ids of an event and of what it belongs to. It follows from the stream, so that these too are
/// the same every time.
#[derive(Clone, Copy)]
struct Chance {
    event: [u8; 10],
    correlation: [u8; 10],
}

impl Chance {
    fn of(stream: StreamId) -> Self {
        let digest: [u8; 32] = Sha256::digest(stream.to_string()).into();
        let (mut event, mut correlation) = ([0; 10], [0; 10]);
        event.copy_from_slice(&digest[..10]);
        correlation.copy_from_slice(&digest[10..20]);
        Self { event, correlation }
    }

    fn origin<'a>(&self, actor: UserId, at: Timestamp, event: &'a (dyn Fn() -> [u8; 10] + Send + Sync)) -> Origin<'a> {
        Origin { actor, at, correlation: CorrelationId::from_parts(at, self.correlation), entropy: event }
    }
}

/// A small community, for tests of what reads one.
#[cfg(test)]
pub(crate) async fn seed_for_tests(opened: &Opened, seed: u64, users: u32, posts: u32) {
    let plan = Plan::new(seed, users, posts, Timestamp::from_millis(1_767_225_600_000));
    Seeding::new(opened, &plan).carry_out("not a hash").await.expect("carries out");
}
