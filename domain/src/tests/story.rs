//! Given what happened, when somebody wants something, then this happens, or it is refused.

use std::fmt::Debug;

use super::later;
use crate::aggregate::{Aggregate, Rejection};

/// A stream so far.
pub(super) struct Given<A> {
    state: A,
    events: usize,
}

/// A stream with a command that was decided.
pub(super) struct When<A: Aggregate> {
    before: Given<A>,
    decision: Result<Vec<A::Event>, Rejection>,
}

/// A stream to which nothing has happened.
pub(super) fn nothing<A: Aggregate>() -> Given<A> {
    given([])
}

/// A stream to which these have happened: the first at `later(1)`, the second at `later(2)` …
pub(super) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut given = Given { state: A::default(), events: 0 };
    for event in events {
        given.happened(&event);
    }
    given
}

impl<A: Aggregate> Given<A> {
    fn happened(&mut self, event: &A::Event) {
        self.events += 1;
        self.state.evolve(event, later(self.events as i64));
    }

    pub(super) fn when(self, command: A::Command) -> When<A> {
        let decision = self.state.decide(&command);
        When { before: self, decision }
    }

    /// What folding has come to.
    pub(super) fn is(self, expected: A) -> Self
    where
        A: PartialEq + Debug,
    {
        assert_eq!(self.state, expected);
        self
    }
}

impl<A: Aggregate> When<A>
where
    A::Event: PartialEq + Debug,
{
    /// Exactly these events, in this order. They are folded, so that the story can go on.
    pub(super) fn then(self, expected: impl IntoIterator<Item = A::Event>) -> Given<A> {
        let expected: Vec<A::Event> = expected.into_iter().collect();
        assert_eq!(self.decision, Ok(expected.clone()));
        let mut after = self.before;
        for event in &expected {
            after.happened(event);
        }
        after
    }

    /// No event.
    pub(super) fn then_nothing(self) -> Given<A> {
        self.then([])
    }

    /// This refusal, and nothing is changed by it.
    pub(super) fn refused(self, expected: Rejection) -> Given<A> {
        assert_eq!(self.decision, Err(expected));
        self.before
    }
}

/// Runs commands as the write path does and checks what holds for every aggregate, and the aggregate's own
/// `invariant` after every single event, since projections see the events one by one. Answers the events.
///
/// A command after which `repeats` says true must do nothing when it is given again.
pub(super) fn run<A>(
    commands: &[A::Command],
    repeats: impl Fn(&A::Command) -> bool,
    invariant: impl Fn(&A, &A, &A::Event),
) -> Vec<A::Event>
where
    A: Aggregate + PartialEq + Debug,
    A::Event: PartialEq + Debug,
    A::Command: Debug,
{
    let mut state = A::default();
    let mut log: Vec<A::Event> = Vec::new();
    for command in commands {
        let before = state.clone();
        let Ok(events) = state.decide(command) else {
            assert_eq!(state.decide(command), state.decide(command), "a refusal is the same each time");
            assert_eq!(state, before, "a refused command changes nothing");
            continue;
        };
        for event in events {
            let before = state.clone();
            state.evolve(&event, later(log.len() as i64));
            assert_ne!(state, before, "{event:?} says that something changed");
            invariant(&before, &state, &event);
            log.push(event);
        }
        if repeats(command) {
            assert_eq!(state.decide(command), Ok(Vec::new()), "a repeat of {command:?} does nothing");
        }
    }

    let mut folded = A::default();
    for (number, event) in log.iter().enumerate() {
        folded.evolve(event, later(number as i64));
    }
    assert_eq!(folded, state, "folding the events gives the decided state");

    let json = serde_json::to_string(&state).expect("a state serialises");
    assert_eq!(serde_json::from_str::<A>(&json).expect("a state is read back"), state);
    log
}
