//! What `verify` found, and how it says so.

use super::compare::{Check, Difference};

/// Differences of a store that are shown; more are only counted.
const SHOWN: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Events read.
    pub(super) events: u64,
    /// Each store with how many rows were compared and what differs.
    pub(super) stores: Vec<Store>,
    /// What is wrong with the log and the projections.
    pub(super) faults: Vec<String>,
    /// How many faults there are, those not kept included.
    pub(super) fault_count: u64,
    /// What is worth knowing and no difference.
    pub(super) notes: Vec<String>,
}

/// A store's comparison.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) name: &'static str,
    pub(super) compared: u64,
    pub(super) differences: Vec<(String, Difference)>,
    /// Differing rows still changed whenever they were read again.
    pub(super) unsettled: bool,
}

impl Store {
    /// Of a finished comparison.
    pub(super) fn of(check: &dyn Check, is_final: bool) -> Self {
        let unsettled = !is_final && !check.is_settled();
        Self { name: check.name(), compared: check.compared(), differences: check.differences(), unsettled }
    }
}

impl Report {
    /// Whether all is as it must be.
    pub(super) fn is_clean(&self) -> bool {
        self.fault_count == 0 && self.stores.iter().all(|store| store.differences.is_empty())
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{:<18} {} events folded", "log", self.events)];
        for store in &self.stores {
            let Store { name, compared, differences, unsettled } = store;
            if differences.is_empty() {
                lines.push(format!("{name:<18} {compared} rows compared, no difference"));
                continue;
            }
            let changing = if *unsettled { " (some rows changed whenever they were read again)" } else { "" };
            lines.push(format!("{name:<18} {compared} rows compared, {} differ{changing}", differences.len()));
            for (key, Difference { expected, found }) in differences.iter().take(SHOWN) {
                lines.push(format!("  {name}: {key}"));
                lines.push(format!("    expected {expected}"));
                lines.push(format!("    found    {found}"));
            }
            if differences.len() > SHOWN {
                lines.push(format!("  … and {} more", differences.len() - SHOWN));
            }
        }
        lines.extend(self.faults.iter().map(|fault| format!("fault: {fault}")));
        let unnamed = self.fault_count - self.faults.len() as u64;
        if unnamed > 0 {
            lines.push(format!("fault: … and {unnamed} more"));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.push(self.verdict());
        lines
    }

    fn verdict(&self) -> String {
        let rows: u64 = self.stores.iter().map(|store| store.compared).sum();
        if self.is_clean() {
            return format!("no difference in {rows} rows");
        }
        let differing: usize = self.stores.iter().map(|store| store.differences.len()).sum();
        format!("{differing} of {rows} rows differ, {} faults", self.fault_count)
    }
}
