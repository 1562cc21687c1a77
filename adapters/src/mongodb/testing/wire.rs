//! A way to the server on which a test holds each call of an adapter: it decides when the call goes on, whether it does,
//! and whether its sender hears of it. So a process can end between any two of its writes, or sleep there while others
//! work, and a write can arrive that its sender has long given up.
//!
//! A command with many statements is held once for each of them: each is atomic by itself, and nothing else is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mongodb::Database;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Place;
use crate::url::StoreUrl;

const READS: [&str; 4] = ["find", "aggregate", "count", "getMore"];
const WRITES: [&str; 4] = ["insert", "update", "delete", "findAndModify"];
/// What holds the statements of a command that can have many.
const STATEMENTS: [&str; 3] = ["documents", "updates", "deletes"];
/// Calls have one kind of message.
const MESSAGE: i32 = 2013;

/// The way of one process. Whoever opens a store by [`Wire::database`] is held at every call.
pub(crate) struct Wire {
    url: StoreUrl,
    calls: mpsc::UnboundedReceiver<Held>,
    runs_backwards: Arc<AtomicBool>,
    listener: JoinHandle<()>,
}

/// A call that has not reached the server. Dropping it ends the connection: nothing ever comes of it.
pub(crate) struct Held {
    command: Document,
    verdict: oneshot::Sender<(Verdict, oneshot::Sender<()>)>,
}

/// A call whose sender takes it for lost, and that may still arrive.
pub(crate) struct Late {
    command: Document,
}

enum Verdict {
    GoesOn,
    GoesUnheard,
    IsLost,
}

impl Wire {
    pub(crate) async fn to(place: &Place) -> Self {
        let server = place.url();
        let [host] = server.hosts() else { panic!("tests hold calls to a single server") };
        let host = host.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // One call after the other, each once, to this address and no other.
        let options = "directConnection=true&retryReads=false&retryWrites=false&serverMonitoringMode=poll";
        let url = format!("mongodb://{}/{}?{options}", listener.local_addr().unwrap(), server.name());
        let (held, calls) = mpsc::unbounded_channel();
        let runs_backwards = Arc::new(AtomicBool::new(false));
        let backwards = Arc::clone(&runs_backwards);
        let listener = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (host, held, backwards) = (host.clone(), held.clone(), Arc::clone(&backwards));
                // It ends with either side.
                tokio::spawn(async move { serve(client, &host, &held, &backwards).await });
            }
        });
        Self { url: StoreUrl::parse(&url).unwrap(), calls, runs_backwards, listener }
    }

    pub(crate) async fn database(&self) -> Database {
        crate::mongodb::database(&self.url).await.unwrap()
    }

    /// From now on, whether statements of a command that is not ordered run from the last to the first.
    pub(crate) fn run_backwards(&self, backwards: bool) {
        self.runs_backwards.store(backwards, Ordering::SeqCst);
    }

    /// The next call that is held, or what the operation came to.
    pub(crate) async fn settled<T>(&mut self, operation: &mut JoinHandle<T>) -> Result<Held, T> {
        tokio::select! {
            biased;
            held = self.calls.recv() => Ok(held.unwrap()),
            outcome = operation => Err(outcome.unwrap()),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Held {
    pub(crate) fn is_write(&self) -> bool {
        name(&self.command).is_some_and(|name| WRITES.contains(&name))
    }

    pub(crate) fn is_of(&self, name_of_command: &str) -> bool {
        name(&self.command) == Some(name_of_command)
    }

    /// It is done, and its sender hears of it.
    pub(crate) async fn goes_on(self) {
        self.decide(Verdict::GoesOn).await;
    }

    /// It is done, and its sender hears that it failed.
    pub(crate) async fn goes_unheard(self) {
        self.decide(Verdict::GoesUnheard).await;
    }

    /// Its sender hears that it failed.
    pub(crate) async fn gets_lost(self) -> Late {
        let command = self.command.clone();
        self.decide(Verdict::IsLost).await;
        Late { command }
    }

    async fn decide(self, verdict: Verdict) {
        let (done, is_done) = oneshot::channel();
        assert!(self.verdict.send((verdict, done)).is_ok(), "nobody waits for what comes of a call");
        is_done.await.unwrap();
    }
}

impl Late {
    pub(crate) async fn arrives(self, database: &Database) {
        let mut command = self.command;
        for of_the_connection in ["$db", "lsid", "$clusterTime", "$readPreference"] {
            command.remove(of_the_connection);
        }
        database.run_command(command).await.unwrap();
    }
}

async fn serve(
    mut client: TcpStream,
    host: &str,
    calls: &mpsc::UnboundedSender<Held>,
    runs_backwards: &AtomicBool,
) -> io::Result<()> {
    let mut server = TcpStream::connect(host).await?;
    for connection in [&client, &server] {
        connection.set_nodelay(true)?;
    }
    loop {
        let message = receive(&mut client).await?;
        let Some(command) = command_of(&message).filter(is_held) else {
            server.write_all(&message).await?;
            client.write_all(&receive(&mut server).await?).await?;
            continue;
        };
        let mut parts: Vec<(i32, Document)> = (0..).zip(statements_of(command)).collect();
        let is_ordered = |(_, part): &(i32, Document)| part.get_bool("ordered").unwrap_or(true);
        if runs_backwards.load(Ordering::SeqCst) && !parts.iter().any(is_ordered) {
            parts.reverse();
        }
        let mut answer: Option<Document> = None;
        for (index, command) in parts {
            let (verdict, decided) = oneshot::channel();
            if calls.send(Held { command: command.clone(), verdict }).is_err() {
                return Ok(());
            }
            let Ok((verdict, done)) = decided.await else { return Ok(()) };
            if !matches!(verdict, Verdict::IsLost) {
                server.write_all(&framed(0, &command)).await?;
                let part = command_of(&receive(&mut server).await?).unwrap();
                answer = Some(together(answer, part, index));
            }
            let _ = done.send(());
            if !matches!(verdict, Verdict::GoesOn) {
                answer = Some(doc! { "ok": 0.0, "code": 262, "codeName": "ExceededTimeLimit", "errmsg": "no answer" });
                break;
            }
        }
        client.write_all(&framed(number(&message, 4), &answer.unwrap())).await?;
    }
}

fn is_held(command: &Document) -> bool {
    name(command).is_some_and(|name| READS.contains(&name) || WRITES.contains(&name))
}

fn name(command: &Document) -> Option<&str> {
    command.keys().next().map(String::as_str)
}

/// The command with each of its statements alone.
fn statements_of(command: Document) -> Vec<Document> {
    let many = STATEMENTS.into_iter().find_map(|field| Some((field, command.get_array(field).ok()?.clone())));
    let Some((field, statements)) = many else { return vec![command] };
    let alone = |statement: &Bson| {
        let mut command = command.clone();
        command.insert(field, [statement.clone()].as_slice());
        command
    };
    statements.iter().map(alone).collect()
}

/// The answer to a command that was answered in parts.
fn together(before: Option<Document>, mut part: Document, index: i32) -> Document {
    let mut errors: Vec<Bson> = Vec::new();
    for error in part.get_array("writeErrors").into_iter().flatten() {
        let mut error = error.as_document().unwrap().clone();
        error.insert("index", index);
        errors.push(error.into());
    }
    let before = before.unwrap_or_default();
    for count in ["n", "nModified"] {
        if let Ok(counted) = part.get_i32(count) {
            part.insert(count, counted + before.get_i32(count).unwrap_or(0));
        }
    }
    errors.extend(before.get_array("writeErrors").into_iter().flatten().cloned());
    if !errors.is_empty() {
        part.insert("writeErrors", errors);
    }
    part
}

async fn receive(connection: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = connection.read_i32_le().await?;
    let mut message = length.to_le_bytes().to_vec();
    message.resize(usize::try_from(length).unwrap(), 0);
    connection.read_exact(&mut message[4..]).await?;
    Ok(message)
}

fn number(message: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(message[at..at + 4].try_into().unwrap())
}

/// What a message says, if it is a call or an answer: a document, and after it, maybe, lists that belong into it.
fn command_of(message: &[u8]) -> Option<Document> {
    let document = |at: usize| {
        let end = at + usize::try_from(number(message, at)).unwrap();
        let raw = RawDocumentBuf::from_bytes(message[at..end].to_vec()).unwrap();
        (Document::try_from(raw).unwrap(), end)
    };
    if number(message, 12) != MESSAGE {
        return None;
    }
    let (mut command, mut at) = (Document::new(), 20);
    while at < message.len() {
        if message[at] == 0 {
            let (body, end) = document(at + 1);
            command.extend(body);
            at = end;
            continue;
        }
        let end = at + 1 + usize::try_from(number(message, at + 1)).unwrap();
        let field: Vec<u8> = message[at + 5..end].iter().copied().take_while(|byte| *byte != 0).collect();
        at += 6 + field.len();
        let mut listed = Vec::new();
        while at < end {
            let (one, next) = document(at);
            listed.push(one);
            at = next;
        }
        command.insert(String::from_utf8(field).unwrap(), listed);
    }
    Some(command)
}

/// `answers` is the number of the message that this answers.
fn framed(answers: i32, document: &Document) -> Vec<u8> {
    let document = RawDocumentBuf::try_from(document).unwrap();
    let length = i32::try_from(21 + document.as_bytes().len()).unwrap();
    let mut message = Vec::new();
    for number in [length, 1, answers, MESSAGE, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(document.as_bytes());
    message
}
