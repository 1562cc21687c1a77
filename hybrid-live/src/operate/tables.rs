//! Answers as people read them: columns, and a line that says what to do.

use command_api::auth::roles::Holder;

use crate::operations::{DeadLetter, DeadLetterDetail, PartitionReport, ProjectionReport, Retried};

/// Rows under their headings; the last column is as wide as it likes.
fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> Vec<String> {
    let mut all = vec![headings.map(str::to_owned)];
    all.extend(rows);
    let widths: [usize; N] =
        std::array::from_fn(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

fn seconds(value: f64) -> String {
    if value < 60.0 { format!("{value:.1} s") } else { format!("{:.0} min", value / 60.0) }
}

/// `projections list`.
pub(super) fn projections(reports: &[ProjectionReport]) -> Vec<String> {
    let row = |report: &ProjectionReport| {
        [
            report.name.to_owned(),
            report.state.to_owned(),
            report.lag_events.to_string(),
            seconds(report.lag_seconds),
            report.catches_up_in_seconds.map_or_else(|| "-".to_owned(), seconds),
            report.parked_lanes.to_string(),
            report.dropped_events.to_string(),
        ]
    };
    let headings = ["PROJECTION", "STATE", "LAG", "OLDEST", "CATCHES UP IN", "PARKED LANES", "DROPPED"];
    table(headings, reports.iter().map(row).collect())
}

/// `projections show`.
pub(super) fn projection(report: &ProjectionReport) -> Vec<String> {
    let mut lines = projections(std::slice::from_ref(report));
    if let Some(since) = report.paused_since {
        lines.push(format!("Paused since {since}; `hybrid-live projections resume {}` lets it go on.", report.name));
    }
    lines.push(String::new());
    let row = |one: &PartitionReport| {
        [
            format!("{}/{}", one.topic, one.partition),
            one.state.to_owned(),
            one.since.map_or_else(|| "-".to_owned(), |since| since.to_string()),
            one.position.to_string(),
            one.lag_events.to_string(),
            seconds(one.lag_seconds),
            one.parked_lanes.to_string(),
        ]
    };
    let headings = ["PARTITION", "STATE", "SINCE", "POSITION", "LAG", "OLDEST", "PARKED LANES"];
    lines.extend(table(headings, report.partitions.iter().map(row).collect()));
    for one in &report.partitions {
        if let Some(error) = &one.last_error {
            let event = error.event.map_or_else(String::new, |event| format!(", event {event}"));
            lines.push(format!("{}/{}: last error at {}{event}: {}", one.topic, one.partition, error.at, error.reason));
        }
    }
    lines
}

/// `dead-letters list`.
pub(super) fn dead_letters(letters: &[DeadLetter]) -> Vec<String> {
    if letters.is_empty() {
        return vec!["no lane is parked".to_owned()];
    }
    let row = |letter: &DeadLetter| {
        let DeadLetter { projection, lane, first, waiting, reason, .. } = letter;
        [(*projection).to_owned(), lane.to_string(), first.to_string(), waiting.to_string(), reason.clone()]
    };
    table(["PROJECTION", "LANE", "FIRST", "WAITING", "REASON"], letters.iter().map(row).collect())
}

/// `dead-letters show`.
pub(super) fn dead_letter(detail: &DeadLetterDetail) -> Vec<String> {
    let mut lines = dead_letters(std::slice::from_ref(&detail.letter));
    lines.push(String::new());
    lines.extend(detail.events.iter().map(super::json));
    let more = detail.letter.waiting.saturating_sub(detail.events.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// `dead-letters retry` and `drop`.
pub(super) fn retried(retried: &Retried) -> Vec<String> {
    let Retried { projection, lane, dropped, parked, outcome } = retried;
    let mut lines = Vec::new();
    if let Some(dropped) = dropped {
        lines.push(format!("{projection}: events left out: {dropped}"));
    }
    lines.push(match parked {
        None => format!("{projection}: lane {lane} is drained"),
        Some(DeadLetter { first, waiting, reason, .. }) => {
            let ended = if *outcome == "interrupted" { "the process ended while it was at it; " } else { "" };
            format!("{projection}: {ended}lane {lane} is still parked from {first} on, {waiting} waiting: {reason}")
        }
    });
    lines
}

/// `roles list`.
pub(super) fn holders(holders: &[Holder]) -> Vec<String> {
    if holders.is_empty() {
        return vec!["nobody has a role".to_owned()];
    }
    let row = |holder: &Holder| {
        let roles: Vec<&str> = holder.roles.iter().map(|role| role.name()).collect();
        [holder.username.to_string(), holder.user.to_string(), roles.join(", ")]
    };
    table(["USER", "ID", "ROLES"], holders.iter().map(row).collect())
}
