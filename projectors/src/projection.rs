//! What a projection is to the runtime.

use adapters::StoreError;
use adapters::checkpoints::Owner;
use async_trait::async_trait;
use domain::{Envelope, Position, Topic};

/// An event and where the log has it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Where it is.
    pub position: Position,
    /// What happened. Sealed text is open if the projection [`opens_text`](Projection::opens_text); the text of
    /// erased people stays closed.
    pub envelope: Envelope,
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A store failed: the runtime tries the same batch again, for ever.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This event can never be applied: the runtime parks its lane from here on and applies the rest again.
    #[error("the event at offset {offset}: {reason}")]
    Permanent {
        /// Offset of the event.
        offset: i64,
        /// What it breaks.
        reason: String,
    },
}

/// A read model's writer.
///
/// The runtime calls [`apply`](Self::apply) with events of one partition, whole lanes in order (P3); at the same
/// time it may call it with other lanes. It may repeat any call, and the log may repeat any event: applying again
/// must change nothing (C2). Only when `apply` has returned is the checkpoint moved (P1), so all effects must be
/// done by then.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// The name under which checkpoints are kept; never changed.
    fn name(&self) -> &'static str;

    /// What it reads.
    fn topics(&self) -> &'static [Topic];

    /// Whether it needs people's text in the events of `topic`, so that sealed parts are opened for it. Only where it
    /// does: opening costs, and a part that cannot be opened parks the lane.
    fn opens_text(&self, topic: Topic) -> bool;

    /// Brings the read model of `owner`'s generation up to date with `events`.
    ///
    /// # Errors
    /// See [`ApplyError`]; any part of the effects may have happened.
    async fn apply(&self, owner: Owner, events: &[Recorded]) -> Result<(), ApplyError>;
}
