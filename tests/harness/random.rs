//! Chance that can be repeated.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The environment variable that repeats a run.
const SEED: &str = "HYBRID_LIVE_TEST_SEED";

/// The run's seed: from `HYBRID_LIVE_TEST_SEED` if it is set, else drawn. Printed, so that a failure can be repeated.
///
/// # Panics
/// When the variable holds no number.
pub fn seed() -> u64 {
    static DRAWN: std::sync::LazyLock<u64> = std::sync::LazyLock::new(rand::random);
    let seed = match std::env::var(SEED) {
        Ok(text) => text.parse().expect("HYBRID_LIVE_TEST_SEED is a number"),
        Err(_) => *DRAWN,
    };
    println!("repeat with {SEED}={seed}");
    seed
}

/// A generator for one purpose: the same seed and purpose give the same numbers.
pub fn random(purpose: &str) -> ChaCha8Rng {
    let mut state = seed();
    for byte in purpose.bytes() {
        state = state.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte);
    }
    ChaCha8Rng::seed_from_u64(state)
}
