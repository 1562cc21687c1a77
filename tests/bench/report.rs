//! What a run says.

use serde_json::json;

use crate::{CLIENTS, Scale};

/// A figure and its limit.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// As in the table of targets.
    pub(crate) name: &'static str,
    /// What both count.
    pub(crate) unit: &'static str,
    /// What the figure is held against.
    pub(crate) limit_is: String,
    /// One per round.
    pub(crate) values: Vec<f64>,
    /// One per round.
    pub(crate) limits: Vec<f64>,
    /// Processor time of the server for one of the unit, in microseconds; and of the limit, where it has a process.
    pub(crate) processor_micros: (f64, Option<f64>),
    /// The ratio to reach.
    pub(crate) target: f64,
    /// What else there is to know.
    pub(crate) notes: Vec<String>,
}

impl Figure {
    fn value(&self) -> f64 {
        median(&self.values)
    }

    fn limit(&self) -> f64 {
        median(&self.limits)
    }

    /// Of each round and its neighbour, which met the same noise.
    fn ratio(&self) -> f64 {
        let ratios: Vec<f64> = self.values.iter().zip(&self.limits).map(|(value, limit)| value / limit).collect();
        median(&ratios)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// A line of JSON per figure, a table, and what was measured.
#[expect(clippy::print_stdout, reason = "the figures are what the program is run for")]
pub(crate) fn print(figures: &[Figure], scale: Scale) {
    for figure in figures {
        let line = json!({
            "name": figure.name,
            "value": figure.value().round(),
            "limit": figure.limit().round(),
            "ratio": (figure.ratio() * 1000.0).round() / 1000.0,
            "unit": figure.unit,
            "target": figure.target,
            "values": figure.values.iter().map(|value| value.round()).collect::<Vec<_>>(),
            "limits": figure.limits.iter().map(|limit| limit.round()).collect::<Vec<_>>(),
            "processor_micros": figure.processor_micros.0.round(),
            "limit_processor_micros": figure.processor_micros.1.map(f64::round),
        });
        println!("{line}");
    }
    println!(
        "\n| figure | value | limit | ratio | target | processor time each |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    );
    for figure in figures {
        let (of_server, of_limit) = figure.processor_micros;
        let of_limit = of_limit.map_or_else(String::new, |micros| format!(" (limit {micros:.0} µs)"));
        println!(
            "| {} | {:.0} {unit} | {:.0} {unit} | {:.2} | ≥ {:.2} | {of_server:.0} µs{of_limit} |",
            figure.name,
            figure.value(),
            figure.limit(),
            figure.ratio(),
            figure.target,
            unit = figure.unit,
        );
    }
    println!(
        "\n{} rounds of {:.1} s each, figure and limit in turn, {CLIENTS} keep-alive connections from one thread of \
         this machine; medians; a community of {} people and {} posts; {} cores.",
        scale.rounds,
        scale.round.as_secs_f64(),
        scale.users,
        scale.posts,
        std::thread::available_parallelism().map_or(0, usize::from),
    );
    for figure in figures {
        println!("- {}: the limit is {}. {}", figure.name, figure.limit_is, figure.notes.join(" "));
    }
}
