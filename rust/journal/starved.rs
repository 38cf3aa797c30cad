// SPDX-License-Identifier: GPL-2.0

//! Whether rows of a stripe wait for room in the log, and whom a feeding has to look at.
//!
//! Whenever there may be room, all stripes are *fed*: their waiting rows are tried again. Feedings have
//! numbers. What is left without room takes the number of the feeding under way, which then does not
//! come back to it.

/// Whether rows of a stripe wait, and since which feeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Starved {
    /// The first feeding that the row that waits longest has seen; none: no row waits.
    since: Option<u64>,
}

impl Starved {
    /// No row waits.
    pub(crate) const fn new() -> Self {
        Self { since: None }
    }

    /// Rows wait. `feeding` was the number when they were tried, or earlier.
    ///
    /// Others may wait since an earlier one: the feeding under way has yet to come to those.
    pub(crate) fn leave(&mut self, feeding: u64) {
        self.since.get_or_insert(feeding);
    }

    /// Whether rows wait.
    pub(crate) fn is_any(&self) -> bool {
        self.since.is_some()
    }

    /// The feeding of that number comes by: whether the stripe's rows are to be tried again. They do
    /// not count as waiting then.
    pub(crate) fn feed(&mut self, feeding: u64) -> bool {
        let due = self.since.is_some_and(|since| since < feeding);
        if due {
            self.since = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feeding_comes_once() {
        let mut starved = Starved::new();
        assert!(!starved.feed(1));
        starved.leave(1);
        assert!(starved.is_any());
        assert!(!starved.feed(1), "it was tried since");
        assert!(starved.feed(2) && !starved.is_any());
        starved.leave(2);
        assert!(!starved.feed(2), "still no room");
        assert!(starved.feed(3));
    }

    /// A row waits; the tail moves, and before feeding 2 comes to the stripe another row of it is
    /// appended. That the first one still waits is no reason to pass the stripe by.
    #[test]
    fn who_waits_longest_is_not_forgotten() {
        let mut starved = Starved::new();
        starved.leave(1);
        starved.leave(2);
        assert!(starved.feed(2));
    }
}
