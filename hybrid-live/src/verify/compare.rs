//! One store beside the model: every row that either has, and again those that differ.

use std::collections::{BTreeMap, BTreeSet};

use adapters::StoreError;
use futures::future::LocalBoxFuture;

use super::model::Model;
use crate::progress::{Progress, Unit};

/// Rows that are found one after the other, or answers that are asked for one by one.
pub(super) trait Rows {
    /// What a row is found by.
    type Key: Copy + Ord;
    /// What is stored.
    type Row;
    /// What the store is called in reports.
    const NAME: &'static str;
    /// Whether the store can be walked through, so that rows which nobody expects are found.
    const SCANNED: bool;

    /// The keys that must be there, ascending.
    fn expected(&self, model: &Model) -> Vec<Self::Key>;

    /// The next rows behind `after`, in an order of the store's own; none at the end.
    async fn page(&self, after: Option<Self::Key>) -> Result<Vec<(Self::Key, Self::Row)>, StoreError>;

    /// One row, read now.
    async fn find(&self, model: &Model, key: Self::Key) -> Result<Option<Self::Row>, StoreError>;

    /// What is wrong with the row, or with its absence.
    fn difference(&self, model: &Model, key: Self::Key, row: Option<&Self::Row>) -> Option<Difference>;

    /// The key, for people.
    fn show(key: Self::Key) -> String;
}

/// What should be there and what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) expected: String,
    pub(super) found: String,
}

impl Difference {
    /// What should be there and what is.
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }

    /// None where the two are the same; both are described in full.
    pub(super) fn between(expected: Option<String>, found: Option<String>) -> Option<Self> {
        if expected == found {
            return None;
        }
        let nothing = || "nothing".to_owned();
        Some(Self { expected: expected.unwrap_or_else(nothing), found: found.unwrap_or_else(nothing) })
    }
}

/// A store's comparison as the others see it, whatever its rows are.
pub(super) trait Check {
    /// What the store is called.
    fn name(&self) -> &'static str;
    /// Compares everything.
    fn compare<'a>(&'a mut self, model: &'a Model) -> LocalBoxFuture<'a, Result<(), StoreError>>;
    /// Reads again what differs.
    fn recheck<'a>(&'a mut self, model: &'a Model) -> LocalBoxFuture<'a, Result<(), StoreError>>;
    /// How many rows were compared.
    fn compared(&self) -> u64;
    /// What differs: key and difference.
    fn differences(&self) -> Vec<(String, Difference)>;
    /// Whether all that differs was the same, and as wrong, when it was read again.
    fn is_settled(&self) -> bool;
}

/// The comparison of one store.
pub(super) struct Checked<R: Rows> {
    rows: R,
    compared: u64,
    differing: BTreeMap<R::Key, Seen>,
}

struct Seen {
    difference: Difference,
    /// It was read again and had not changed, nor had what is expected.
    settled: bool,
}

impl<R: Rows> Checked<R> {
    /// Nothing compared yet.
    pub(super) fn new(rows: R) -> Self {
        Self { rows, compared: 0, differing: BTreeMap::new() }
    }

    fn judge(&mut self, model: &Model, key: R::Key, row: Option<&R::Row>) {
        self.compared += 1;
        if let Some(difference) = self.rows.difference(model, key, row) {
            self.differing.insert(key, Seen { difference, settled: false });
        }
    }

    async fn scan(&mut self, model: &Model) -> Result<(), StoreError> {
        let expected = self.rows.expected(model);
        let progress = Progress::new(R::NAME, expected.len() as u64, Unit::Items);
        let mut missing: BTreeSet<R::Key> = expected.into_iter().collect();
        let mut after = None;
        loop {
            let page = match self.rows.page(after).await {
                Ok(page) => page,
                // One damaged row must not hide the rest, nor stay without a name: the rest is asked for one by one.
                Err(StoreError::Damaged(_)) => {
                    self.ask(model, missing.into_iter().collect(), &progress).await?;
                    break;
                }
                Err(error) => return Err(error),
            };
            let Some((last, _)) = page.last() else {
                for key in missing {
                    self.judge(model, key, None);
                }
                break;
            };
            after = Some(*last);
            for (key, row) in &page {
                missing.remove(key);
                self.judge(model, *key, Some(row));
            }
            progress.add(page.len() as u64);
        }
        progress.finish();
        Ok(())
    }

    async fn ask(&mut self, model: &Model, keys: Vec<R::Key>, progress: &Progress) -> Result<(), StoreError> {
        for key in keys {
            let found = self.found(model, key).await?;
            self.compared += 1;
            if let Some(difference) = found {
                self.differing.insert(key, Seen { difference, settled: false });
            }
            progress.add(1);
        }
        Ok(())
    }

    async fn found(&self, model: &Model, key: R::Key) -> Result<Option<Difference>, StoreError> {
        match self.rows.find(model, key).await {
            Ok(row) => Ok(self.rows.difference(model, key, row.as_ref())),
            Err(StoreError::Damaged(reason)) => Ok(Some(Difference::new("a readable row", reason))),
            Err(error) => Err(error),
        }
    }
}

impl<R: Rows> Check for Checked<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn compare<'a>(&'a mut self, model: &'a Model) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if R::SCANNED {
                return self.scan(model).await;
            }
            let keys = self.rows.expected(model);
            let progress = Progress::new(R::NAME, keys.len() as u64, Unit::Items);
            self.ask(model, keys, &progress).await?;
            progress.finish();
            Ok(())
        })
    }

    fn recheck<'a>(&'a mut self, model: &'a Model) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let before = std::mem::take(&mut self.differing);
            for (key, seen) in before {
                if let Some(difference) = self.found(model, key).await? {
                    let settled = difference == seen.difference;
                    self.differing.insert(key, Seen { difference, settled });
                }
            }
            Ok(())
        })
    }

    fn compared(&self) -> u64 {
        self.compared
    }

    fn differences(&self) -> Vec<(String, Difference)> {
        self.differing.iter().map(|(key, seen)| (R::show(*key), seen.difference.clone())).collect()
    }

    fn is_settled(&self) -> bool {
        self.differing.values().all(|seen| seen.settled)
    }
}
