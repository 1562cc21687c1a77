//! Commands with an `Idempotency-Key`: one effect and one answer, however often they come and wherever a former
//! attempt ended (W4).
//!
//! The claim comes before the first write and fixes the stream, so that every attempt decides on the same one. The key
//! and the answer are committed with the effect: who finds them there answers the same. Only then the claim gets the
//! answer. A rejection leaves the claim unanswered, and the command is decided again when it comes again.

use adapters::content::{Answer, ClaimOutcome, CommandClaim, RecentCommand};
use adapters::http::clock;
use domain::StreamId;

use super::{WriteError, WritePath};

/// One use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Whose key: keys of different actors have nothing to do with each other.
    pub actor: String,
    /// The key.
    pub key: String,
    /// Keyed digest of method, path and body.
    pub digest: [u8; 32],
}

/// How a command with a key goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Decide, on this stream.
    Decide(StreamId),
    /// It is done: it wrote this stream and answered this.
    Done(StreamId, Answer),
}

impl Once {
    /// What was answered, if the command is among those that a document remembers.
    pub(super) fn answer_in(&self, recent: &[RecentCommand]) -> Option<Answer> {
        let mut ours = recent.iter().filter(|command| command.actor == self.actor && command.key == self.key);
        ours.next().map(|command| command.answer.clone())
    }
}

impl WritePath {
    /// Claims a command before its first write. `proposed` is the stream that it shall write if nobody has tried yet.
    ///
    /// # Errors
    /// [`WriteError::KeyReused`], or the store's.
    pub async fn begin(&self, once: &Once, proposed: StreamId) -> Result<Begun, WriteError> {
        let Once { actor, key, digest } = once.clone();
        let claim = CommandClaim { actor, key, digest, stream: proposed, at: clock::now() };
        match self.content().claim_command(claim).await? {
            ClaimOutcome::New => Ok(Begun::Decide(proposed)),
            ClaimOutcome::Existing(claim, _) if claim.digest != once.digest => Err(WriteError::KeyReused),
            ClaimOutcome::Existing(claim, Some(answer)) => Ok(Begun::Done(claim.stream, answer)),
            // Interrupted, rejected, or under way at this moment: whoever commits first is the one.
            ClaimOutcome::Existing(claim, None) => Ok(Begun::Decide(claim.stream)),
        }
    }

    /// Gives the claim its answer, after the commit. A failure costs nothing but a look into the document next time.
    pub async fn finish(&self, once: &Once, answer: &Answer) {
        if let Err(error) = self.content().answer_command(&once.actor, &once.key, answer).await {
            tracing::warn!(%error, "a claim did not get its answer");
        }
    }
}
