//! Figures, each held against a limit that is taken in the same run: see `tests/bench/run`.
//!
//! Rounds of figure and limit alternate, so that whatever else the machine does hits both; the median counts.

use std::time::Duration;

#[cfg(feature = "cluster")]
mod cluster;
mod crowd;
mod feed;
mod growth;
mod like;
mod live;
mod load;
mod report;
mod town;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// People of the seeded community.
    pub(crate) users: u32,
    /// Its posts.
    pub(crate) posts: u32,
    /// Rounds of each figure and of its limit.
    pub(crate) rounds: usize,
    /// How long a round is.
    pub(crate) round: Duration,
}

const WHOLE: Scale = Scale { users: 500, posts: 5_000, rounds: 7, round: Duration::from_secs(4) };
const SMOKE: Scale = Scale { users: 100, posts: 400, rounds: 1, round: Duration::from_millis(300) };

/// Connections of closed-loop clients: each sends its next request when it has read the last answer.
pub(crate) const CLIENTS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => runtime.block_on(measure(WHOLE)),
        ["--smoke"] => runtime.block_on(async {
            measure(SMOKE).await;
            growth::measure(growth::SMOKE).await;
            live::measure(live::SMOKE).await;
        }),
        ["--growth"] => runtime.block_on(growth::measure(growth::WHOLE)),
        ["--live"] => runtime.block_on(live::measure(live::WHOLE)),
        #[cfg(feature = "cluster")]
        ["--cluster"] => runtime.block_on(cluster::measure(cluster::WHOLE)),
        #[cfg(feature = "cluster")]
        ["--cluster", "--smoke"] => runtime.block_on(cluster::measure(cluster::SMOKE)),
        #[cfg(not(feature = "cluster"))]
        ["--cluster", ..] => panic!("unsupported: built without the feature `cluster`"),
        // The limit of the feed, in a process of its own as the server is.
        ["--constant", bytes] => runtime.block_on(feed::serve_constant(bytes.parse().expect("a number of bytes"))),
        _ => panic!("the options are --growth, --live, --cluster, --smoke, and --cluster --smoke"),
    }
}

async fn measure(scale: Scale) {
    let town = town::Town::new(scale).await;
    let figures = [feed::measure(&town, scale).await, like::measure(&town, scale).await];
    town.judge().await;
    let how = format!(
        "{} rounds of {:.1} s each, figure and limit in turn, {CLIENTS} keep-alive connections from one thread of this \
         machine; medians; a community of {} people and {} posts; {} cores.",
        scale.rounds,
        scale.round.as_secs_f64(),
        scale.users,
        scale.posts,
        report::cores(),
    );
    report::print(&figures, &how);
}
