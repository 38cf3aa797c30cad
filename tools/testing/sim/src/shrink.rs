// SPDX-License-Identifier: GPL-2.0

//! Making a failing run short: steps are cut out of its tape while the same promise stays broken.

use crate::tape::Decisions;

/// Returns the shortest tape that was found in so many `tries` for which `fails` holds: the same
/// one every time, however fast the machine is.
pub(crate) fn shrink(
    mut tape: Decisions,
    tries: u32,
    mut fails: impl FnMut(&Decisions) -> bool,
) -> Decisions {
    let mut left = tries;
    let mut fails = |tape: &Decisions| {
        left = left.saturating_sub(1);
        (left > 0).then(|| fails(tape))
    };
    loop {
        let before = size(&tape);
        let more = cut_steps(&mut tape, &mut fails).and_then(|()| simplify(&mut tape, &mut fails));
        if more.is_none() || size(&tape) == before {
            return tape;
        }
    }
}

fn size(tape: &Decisions) -> (usize, u64) {
    let sum = tape.iter().flatten().map(|v| u64::from(*v)).sum();
    (tape.len(), sum)
}

/// Cuts out runs of steps, long ones first; the first entry is about the array and stays. `None`
/// when there are no more tries.
fn cut_steps(
    tape: &mut Decisions,
    fails: &mut impl FnMut(&Decisions) -> Option<bool>,
) -> Option<()> {
    let mut n = tape.len() / 2;
    while n > 0 {
        // From the end: what happened last is needed least, but for the very last.
        let mut at = tape.len().saturating_sub(n);
        while at >= 1 {
            let mut shorter = tape.clone();
            shorter.drain(at..(at + n).min(tape.len()));
            if fails(&shorter)? {
                *tape = shorter;
            }
            if at == 1 {
                break;
            }
            at = at.saturating_sub(n).max(1);
        }
        n /= 2;
    }
    Some(())
}

/// Makes decisions zero, or smaller. `None` when there are no more tries.
fn simplify(
    tape: &mut Decisions,
    fails: &mut impl FnMut(&Decisions) -> Option<bool>,
) -> Option<()> {
    for step in 0..tape.len() {
        for at in 0..tape[step].len() {
            let value = tape[step][at];
            for smaller in [0, value / 2, value.saturating_sub(1)] {
                if smaller >= value {
                    continue;
                }
                let mut simpler = tape.clone();
                simpler[step][at] = smaller;
                if fails(&simpler)? {
                    *tape = simpler;
                    break;
                }
            }
        }
    }
    Some(())
}
