//! What a run says.

use std::fmt;

use serde_json::json;

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
    /// Processor time of the server for one of what is counted, in microseconds; and of the limit, where it is known.
    pub(crate) processor_micros: (f64, Option<f64>),
    /// The ratio to reach.
    pub(crate) target: Target,
    /// What else there is to know.
    pub(crate) notes: Vec<String>,
}

/// What a ratio is to come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Of medians of rates, at least.
    Rate(f64),
    /// Of the 99th percentiles of times, at most.
    #[cfg_attr(not(feature = "cluster"), expect(dead_code, reason = "no other figure is a time"))]
    Time(f64),
}

impl Target {
    fn number(self) -> f64 {
        match self {
            Self::Rate(number) | Self::Time(number) => number,
        }
    }

    fn of(self, values: &[f64]) -> f64 {
        match self {
            Self::Rate(_) => median(values),
            Self::Time(_) => percentile(values, 0.99),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(number) => write!(f, "≥ {number:.2}"),
            Self::Time(number) => write!(f, "≤ {number:.2}"),
        }
    }
}

impl Figure {
    fn value(&self) -> f64 {
        self.target.of(&self.values)
    }

    fn limit(&self) -> f64 {
        self.target.of(&self.limits)
    }

    fn ratio(&self) -> f64 {
        match self.target {
            // Of each round and its neighbour, which met the same noise.
            Target::Rate(_) => {
                let pairs = self.values.iter().zip(&self.limits);
                median(&pairs.map(|(value, limit)| value / limit).collect::<Vec<_>>())
            }
            Target::Time(_) => self.value() / self.limit(),
        }
    }
}

/// The value that so great a part of them is not above.
pub(crate) fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// Processors of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// A line of JSON per figure, a table, and `how` it was measured.
#[expect(clippy::print_stdout, reason = "the figures are what the program is run for")]
pub(crate) fn print(figures: &[Figure], how: &str) {
    for figure in figures {
        let line = json!({
            "name": figure.name,
            "value": figure.value().round(),
            "limit": figure.limit().round(),
            "ratio": (figure.ratio() * 1000.0).round() / 1000.0,
            "unit": figure.unit,
            "target": figure.target.number(),
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
            "| {} | {:.0} {unit} | {:.0} {unit} | {:.2} | {} | {of_server:.0} µs{of_limit} |",
            figure.name,
            figure.value(),
            figure.limit(),
            figure.ratio(),
            figure.target,
            unit = figure.unit,
        );
    }
    println!("\n{how}");
    for figure in figures {
        println!("- {}: the limit is {}. {}", figure.name, figure.limit_is, figure.notes.join(" "));
    }
}
