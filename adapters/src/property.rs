//! Property tests of stores: one store serves all cases, each of which has a generation of its own.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use crate::checkpoints::Generation;

/// Runs an async check on many generated values, from within an async test (of a multi-threaded runtime).
pub(crate) fn for_all<S: Strategy>(strategy: S, check: impl AsyncFn(Generation, S::Value)) {
    for_some(96, strategy, check);
}

/// The same, on as many values as are wanted: for checks that take long.
pub(crate) fn for_some<S: Strategy>(cases: u32, strategy: S, check: impl AsyncFn(Generation, S::Value)) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let case = std::cell::Cell::new(0);
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&strategy, |value| {
            case.set(case.get() + 1);
            Handle::current().block_on(check(Generation(case.get()), value));
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
