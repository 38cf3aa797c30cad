// SPDX-License-Identifier: GPL-2.0

//! What happened, in words, and what was wrong with it.

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// What kind; a shrunk run must show the same.
    pub(crate) kind: &'static str,
    /// The details.
    pub(crate) text: String,
}

/// The story of a run, if somebody wants to hear it.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) on: bool,
    pub(crate) step: u64,
    pub(crate) lines: Vec<String>,
}

impl Story {
    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.on {
            self.lines.push(format!("{:5}  {}", self.step, text()));
        }
    }
}

/// Tells a line of the story.
macro_rules! tell {
    ($world:expr, $($text:tt)*) => {
        $world.story.tell(|| format!($($text)*))
    };
}

/// Ends the run if a promise was broken.
macro_rules! judge {
    ($world:expr, $cond:expr, $kind:literal, $($text:tt)*) => {
        if !$cond && $world.fault.is_none() {
            $world.fault = Some($crate::story::Fault { kind: $kind, text: format!($($text)*) });
        }
    };
}

pub(crate) use {judge, tell};
