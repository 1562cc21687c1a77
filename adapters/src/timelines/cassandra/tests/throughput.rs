//! How fast posts are fanned out, beside what the driver does with the same rows and nothing else. Figures, no rule:
//! `cargo test -p adapters --features cassandra fan_out_beside_bare_inserts -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use domain::Timestamp;
use futures::{StreamExt, TryStreamExt, stream};

use super::*;

const OWNERS: u32 = 10_000;
const ROUNDS: u32 = 5;

fn entry(number: u32) -> Entry {
    let at = Timestamp::from_millis(1_700_000_000_000 + i64::from(number));
    Entry { post: PostId::from_parts(at, [3; 10]), author: UserId::from_parts(at, [4; 10]), partition: 3, offset: 77 }
}

fn rate(elapsed: Duration) -> f64 {
    f64::from(OWNERS) / elapsed.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn fan_out_beside_bare_inserts() {
    let timelines = open_shared().await;
    let owners: Vec<UserId> =
        (0..OWNERS).map(|number| UserId::from_parts(Timestamp::from_millis(i64::from(number)), [5; 10])).collect();
    let generation = Generation(own_generations());
    // The widest marks below every post, as in a system that has run for a while.
    timelines.raise_mark(generation, owners[0], entry(0).post).await.unwrap();

    let mut plain = timelines.session.prepare(timelines.statements.insert_home.get_statement()).await.unwrap();
    plain.set_is_idempotent(true);
    let bare = async |number: u32, concurrency: usize| {
        let begin = Instant::now();
        let Entry { post, author, partition, offset } = entry(number);
        stream::iter(owners.clone())
            .map(|owner| {
                let guard = guards::home_row(offset);
                let key = (i64::from(generation.0), of_user(owner), of_post(post));
                let values = (key.0, key.1, key.2, of_user(author), i32::from(partition), offset, guard);
                statements::run(&timelines.session, &plain, values)
            })
            .buffer_unordered(concurrency)
            .try_collect::<()>()
            .await
            .unwrap();
        rate(begin.elapsed())
    };
    let fan_out = async |number: u32| {
        let begin = Instant::now();
        assert_eq!(timelines.write_homes(generation, &owners, entry(number)).await.unwrap(), []);
        rate(begin.elapsed())
    };
    let mut number = 1;
    let mut next = || {
        number += 1;
        number
    };
    for _ in 0..3 {
        bare(next(), 512).await;
        fan_out(next()).await;
    }
    const CONCURRENCIES: [usize; 4] = [128, 256, 512, 1_024];
    let mut bare_rates = CONCURRENCIES.map(|_| Vec::new());
    let mut fan_outs = Vec::new();
    for _ in 0..ROUNDS {
        for (rates, concurrency) in bare_rates.iter_mut().zip(CONCURRENCIES) {
            rates.push(bare(next(), concurrency).await);
        }
        fan_outs.push(fan_out(next()).await);
    }
    let bare_rates = bare_rates.map(median);
    let (best, fan_out) = (bare_rates.into_iter().fold(0.0, f64::max), median(fan_outs));
    println!("bare inserts at {CONCURRENCIES:?}: {bare_rates:.0?} rows/s");
    println!("write_homes of {OWNERS} owners: {fan_out:.0} rows/s, {:.2} of the best", fan_out / best);
}
