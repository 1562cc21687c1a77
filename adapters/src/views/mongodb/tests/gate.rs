//! Where each call of an adapter under test waits for its turn, so that a test decides which of several writers goes on,
//! which one ends for good, and which call reaches the server long after its sender has given it up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use mongodb::Database;
use mongodb::bson::RawDocumentBuf;
use tokio::sync::{Semaphore, mpsc};

use crate::StoreError;

pub(in crate::views::mongodb) struct Gate {
    arrived: mpsc::UnboundedSender<()>,
    turns: Semaphore,
    loses_next_write: AtomicBool,
    late: Mutex<Vec<RawDocumentBuf>>,
}

impl Gate {
    /// A gate, and who hears of each call that waits before it.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<()>) {
        let (arrived, hears) = mpsc::unbounded_channel();
        let (turns, late) = (Semaphore::new(0), Mutex::default());
        (Self { arrived, turns, loses_next_write: AtomicBool::new(false), late }, hears)
    }

    /// Lets one call through.
    pub(super) fn open_once(&self) {
        self.turns.add_permits(1);
    }

    /// The next write that is let through is under way for long, and fails for who sent it.
    pub(super) fn lose_next_write(&self) {
        self.loses_next_write.store(true, Ordering::SeqCst);
    }

    /// No call goes through any more: the process has ended.
    pub(super) fn close(&self) {
        self.turns.close();
    }

    /// Writes that are under way.
    pub(super) fn take_late(&self) -> Vec<RawDocumentBuf> {
        std::mem::take(&mut self.late.lock().unwrap())
    }

    pub(in crate::views::mongodb) async fn pass(
        &self,
        _: &Database,
        command: Option<&RawDocumentBuf>,
    ) -> Result<(), StoreError> {
        let _ = self.arrived.send(());
        let turn = self.turns.acquire().await;
        turn.map_err(|_| StoreError::Unavailable("this process has ended".to_owned()))?.forget();
        if let Some(command) = command
            && self.loses_next_write.swap(false, Ordering::SeqCst)
        {
            self.late.lock().unwrap().push(command.clone());
            return Err(StoreError::Unavailable("no answer".to_owned()));
        }
        Ok(())
    }
}
