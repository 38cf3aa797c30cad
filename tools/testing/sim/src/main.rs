// SPDX-License-Identifier: GPL-2.0

//! `sim`: looks for a power cut that raid5c does not survive; see Documentation/testing.rst.

use raid5c_sim::{campaign, exhaust, run_seed, tell_seed, Bug, Plan, Scope};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: sim [--seconds N] [--runs N] [--seed S] [--threads N] [--bug NAME]
       sim --story --seed S [--bug NAME]    one seed in words, shrunk if it fails
       sim --exhaustive [--small] [--writes N] [--threads N] [--bug NAME]
                                            small arrays, every power cut
       sim --list-bugs";

/// How often a failing run may be tried while it is made short: for about 20 seconds.
const SHRINK: u32 = 20_000;

struct Args {
    plan: Plan,
    story: bool,
    /// Everything in this scope, instead of seeds.
    scope: Option<Scope>,
}

fn number<T: std::str::FromStr>(
    args: &mut impl Iterator<Item = String>,
    name: &str,
) -> Result<T, String> {
    let text = args.next().ok_or_else(|| format!("{name} needs a value"))?;
    text.parse().map_err(|_| format!("{name} cannot be {text}"))
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut all = Args {
        plan: Plan {
            seed: 1,
            time: Duration::from_secs(60),
            runs: u64::MAX,
            threads: 2,
            bug: None,
        },
        story: false,
        scope: None,
    };
    while let Some(name) = args.next() {
        match name.as_str() {
            "--seconds" => all.plan.time = Duration::from_secs(number(&mut args, &name)?),
            "--runs" => all.plan.runs = number(&mut args, &name)?,
            "--seed" => all.plan.seed = number(&mut args, &name)?,
            "--threads" => all.plan.threads = number(&mut args, &name)?,
            "--bug" => {
                let text: String = number(&mut args, &name)?;
                all.plan.bug = Some(text.parse()?);
            }
            "--story" => all.story = true,
            "--exhaustive" => all.scope = all.scope.or_else(|| Some(Scope::full())),
            "--small" => all.scope = Some(Scope::small()),
            "--writes" => {
                let only: usize = number(&mut args, &name)?;
                let scope = all
                    .scope
                    .as_mut()
                    .ok_or("--writes goes with --exhaustive")?;
                for (_, tier) in (1..).zip(&mut scope.tiers).filter(|t| t.0 != only) {
                    tier.arrays = 0;
                }
            }
            "--list-bugs" => return Err(Bug::names().collect::<Vec<_>>().join("\n")),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(all)
}

fn tell(seed: u64, bug: Option<Bug>) -> bool {
    let outcome = tell_seed(seed, bug, SHRINK);
    for line in &outcome.story {
        println!("{line}");
    }
    outcome.fault.is_none()
}

/// Everything in a scope.
fn run_scope(scope: &Scope) -> bool {
    let start = Instant::now();
    let (counts, wrong) = exhaust(scope, |line| println!("{line}"));
    for (name, n) in counts.list() {
        println!("{name:20} {n:12}");
    }
    println!(
        "exhaustive: {} workloads, {} crash points, {} recoveries, {:.1} s, {} violations",
        counts.workloads,
        counts.points,
        counts.recoveries,
        start.elapsed().as_secs_f64(),
        u32::from(wrong.is_some())
    );
    if let Some(violation) = &wrong {
        println!("\n{}: {}\n", violation.kind, violation.text);
        for line in &violation.story {
            println!("{line}");
        }
    }
    wrong.is_none()
}

fn run(args: &Args) -> bool {
    if let Some(scope) = &args.scope {
        return run_scope(&Scope {
            threads: args.plan.threads,
            bug: args.plan.bug,
            ..scope.clone()
        });
    }
    if args.story {
        return tell(args.plan.seed, args.plan.bug);
    }
    let start = Instant::now();
    let total = campaign(&args.plan);
    let seconds = start.elapsed().as_secs_f64();
    for (name, n) in total.stats.list() {
        println!("{name:20} {n:12}");
    }
    println!(
        "{} runs from seed {}, {} events, {:.0} events/s, {} crashes tried, {:.1} s, {} violations",
        total.runs,
        args.plan.seed,
        total.stats.events,
        total.stats.events as f64 / seconds,
        total.stats.crashes,
        seconds,
        u32::from(total.failed.is_some())
    );
    let Some((seed, kind, text)) = total.failed else {
        return true;
    };
    println!("\nseed {seed}: {kind}: {text}\nthe shortest run found that shows it:\n");
    // The same seed fails again: a run depends on nothing else.
    if run_seed(seed, args.plan.bug).fault.is_none() {
        println!("(it does not fail a second time: the simulator is at fault)");
    }
    tell(seed, args.plan.bug);
    false
}

fn main() -> ExitCode {
    // Panics of the code on trial are reported with their story.
    std::panic::set_hook(Box::new(|_| {}));
    match parse(std::env::args().skip(1)) {
        Ok(args) if run(&args) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}
