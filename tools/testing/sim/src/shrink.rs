// SPDX-License-Identifier: GPL-2.0

//! Making a failing run short: steps are cut out of its tape while the same promise stays broken.

use crate::tape::Decisions;
use std::time::{Duration, Instant};

/// Returns the shortest tape that was found in `limit` for which `fails` holds.
pub(crate) fn shrink(
    mut tape: Decisions,
    limit: Duration,
    mut fails: impl FnMut(&Decisions) -> bool,
) -> Decisions {
    let end = Instant::now() + limit;
    loop {
        let before = size(&tape);
        cut_steps(&mut tape, end, &mut fails);
        simplify(&mut tape, end, &mut fails);
        if size(&tape) == before || Instant::now() >= end {
            return tape;
        }
    }
}

fn size(tape: &Decisions) -> (usize, u64) {
    let sum = tape.iter().flatten().map(|v| u64::from(*v)).sum();
    (tape.len(), sum)
}

/// Cuts out runs of steps, long ones first; the first entry is about the array and stays.
fn cut_steps(tape: &mut Decisions, end: Instant, fails: &mut impl FnMut(&Decisions) -> bool) {
    let mut n = tape.len() / 2;
    while n > 0 {
        // From the end: what happened last is needed least, but for the very last.
        let mut at = tape.len().saturating_sub(n);
        while at >= 1 && Instant::now() < end {
            let mut shorter = tape.clone();
            shorter.drain(at..(at + n).min(tape.len()));
            if fails(&shorter) {
                *tape = shorter;
            }
            if at == 1 {
                break;
            }
            at = at.saturating_sub(n).max(1);
        }
        n /= 2;
    }
}

/// Makes decisions zero, or smaller.
fn simplify(tape: &mut Decisions, end: Instant, fails: &mut impl FnMut(&Decisions) -> bool) {
    for step in 0..tape.len() {
        for at in 0..tape[step].len() {
            let value = tape[step][at];
            for smaller in [0, value / 2, value.saturating_sub(1)] {
                if smaller >= value || Instant::now() >= end {
                    continue;
                }
                let mut simpler = tape.clone();
                simpler[step][at] = smaller;
                if fails(&simpler) {
                    *tape = simpler;
                    break;
                }
            }
        }
    }
}
