//! The nodes that hold the cache (one, or those of a cluster), how keys are named on each, and how commands get there.

use std::sync::Arc;

use domain::PostId;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value as Answer};

use super::scripts;
use crate::StoreError;
use crate::cache::{Key, ListKey, Space};
use crate::redis::{Connection, Link, Server};

/// Commands that are sent as one pipeline, at most.
const BATCH: usize = 1_024;
/// Digits of a server's run id, and of a log's, in keys. Two lives that follow each other are told apart.
const DIGITS: usize = 8;

/// A connection to all of them.
#[derive(Clone)]
pub(super) struct Nodes {
    link: Link,
    prefix: Arc<str>,
    /// Which life of its server each is.
    runs: Arc<[String]>,
}

/// Where a key is, and what it is called there.
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) name: String,
}

/// A command and the node that it is for.
pub(super) struct Order {
    node: usize,
    command: Cmd,
}

impl Place {
    /// A command for this place's node.
    pub(super) fn order(&self, command: Cmd) -> Order {
        Order { node: self.node, command }
    }
}

impl Connection for Nodes {
    const PURPOSE: &'static str = "the cache";

    async fn open(server: &Server) -> Result<Self, RedisError> {
        let unknown = |error: StoreError| RedisError::from((ErrorKind::Io, "unknown mode", error.to_string()));
        server.learn_mode().await.map_err(unknown)?;
        let link = Link::open(server, |_| true).await?;
        let mut runs = Vec::with_capacity(link.nodes().len());
        for node in link.nodes() {
            let mut node = node.clone();
            let info: String = redis::cmd("INFO").arg("server").query_async(&mut node).await?;
            runs.push(run(&info)?);
            load_scripts(&mut node).await?;
        }
        Ok(Self { link, prefix: Arc::from(server.prefix()), runs: runs.into() })
    }

    fn link(&self) -> &Link {
        &self.link
    }
}

fn run(info: &str) -> Result<String, RedisError> {
    let id = info.lines().find_map(|line| line.strip_prefix("run_id:")).map(str::trim);
    let run = id.and_then(|id| id.get(..DIGITS)).filter(|run| run.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let missing = || RedisError::from((ErrorKind::InvalidClientConfig, "INFO server names no run_id"));
    run.map(str::to_owned).ok_or_else(missing)
}

impl Nodes {
    pub(super) fn place(&self, space: Space, key: Key) -> Place {
        match key {
            Key::Preview(post) => self.named(space, post, format_args!("preview")),
            Key::Counts(generation, post) => self.named(space, post, format_args!("{}:counts", generation.0)),
        }
    }

    pub(super) fn list_place(&self, space: Space, ListKey(generation, post): ListKey) -> Place {
        self.named(space, post, format_args!("{}:comments", generation.0))
    }

    fn named(&self, space: Space, post: PostId, what: std::fmt::Arguments<'_>) -> Place {
        let tag = format!("{{post:{post}}}");
        let node = self.link.node_of(&tag);
        let Space { log, epoch } = space;
        // The prefix holds no braces, so the tag decides the slot.
        let name = format!("{}:{:.DIGITS$}:{epoch}:{}:{tag}:{what}", self.prefix, log.to_string(), self.runs[node]);
        Place { node, name }
    }

    /// Sends commands to their nodes, a pipeline to each; answers in order. Answers may be errors.
    pub(super) async fn ask(&self, orders: Vec<Order>) -> Result<Vec<Answer>, RedisError> {
        let mut answers = Vec::with_capacity(orders.len());
        let mut orders = orders.into_iter().enumerate().peekable();
        while orders.peek().is_some() {
            let batch = orders.by_ref().take(BATCH);
            let by_node = self.link.by_node(batch, |(_, order)| order.node);
            let asked = by_node.into_iter().map(|(node, orders)| ask_node(node, orders));
            answers.extend(futures::future::try_join_all(asked).await?.into_iter().flatten());
        }
        answers.sort_unstable_by_key(|(place, _)| *place);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

async fn ask_node(
    mut node: MultiplexedConnection,
    orders: Vec<(usize, Order)>,
) -> Result<Vec<(usize, Answer)>, RedisError> {
    let mut pipeline = Pipeline::with_capacity(orders.len());
    let mut places = Vec::with_capacity(orders.len());
    for (place, order) in orders {
        places.push(place);
        pipeline.add_command(order.command);
    }
    let mut answers = ask_pipeline(&mut node, &pipeline).await?;

    // A script that the server has forgotten (SCRIPT FLUSH) has done nothing.
    let forgotten: Vec<usize> = (0..answers.len()).filter(|index| is(&answers[*index], "NOSCRIPT")).collect();
    if !forgotten.is_empty() {
        load_scripts(&mut node).await?;
        let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
        let mut again = Pipeline::with_capacity(forgotten.len());
        for index in &forgotten {
            again.add_command(commands[*index].clone());
        }
        for (index, answer) in forgotten.into_iter().zip(ask_pipeline(&mut node, &again).await?) {
            answers[index] = answer;
        }
    }
    Ok(places.into_iter().zip(answers).collect())
}

async fn ask_pipeline(node: &mut MultiplexedConnection, pipeline: &Pipeline) -> Result<Vec<Answer>, RedisError> {
    let answers = node.send_packed_commands(pipeline, 0, pipeline.len()).await?;
    let missing = || RedisError::from((ErrorKind::UnexpectedReturnType, "not an answer to each command"));
    if answers.len() == pipeline.len() { Ok(answers) } else { Err(missing()) }
}

async fn load_scripts(node: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut pipeline = redis::pipe();
    for command in scripts::load_all() {
        pipeline.add_command(command);
    }
    pipeline.exec_async(node).await
}

/// Whether an answer is this error.
fn is(answer: &Answer, code: &str) -> bool {
    matches!(answer, Answer::ServerError(error) if error.code() == code)
}

/// Errors that are answers become errors; a key that holds something else than what was asked for holds nothing of ours.
pub(super) fn checked(answer: Answer) -> Result<Answer, RedisError> {
    match answer {
        answer if is(&answer, "WRONGTYPE") => Ok(Answer::Nil),
        Answer::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}
