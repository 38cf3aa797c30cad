# SPDX-License-Identifier: GPL-2.0
"""The trace events of the write journal."""

import copy
import re
from collections import Counter, namedtuple

from .base import run_job

MODES = ("write-through", "write-back")

# What debugfs counts, and how the events tell the same.
COUNTED = {
    "journal_units": lambda s: len(s.all("unit_written")),
    "journal_blocks_written":
        lambda s: sum(e["blocks"] for e in s.all("unit_written")),
    "journal_tail_moves": lambda s: len(s.all("tail_move")),
    "rows_logged_whole": lambda s: s.rows("logged"),
    "rows_cached": lambda s: s.rows("cached"),
    "rows_cached_again": lambda s: s.rows("cached_again"),
    "rows_written_out": lambda s: s.rows("written_out"),
}

# What a row's kind says about its pages: whether data and parity are there.
PAGES = {"logged": (True, True), "cached": (True, False),
         "cached_again": (True, False), "written_out": (False, True)}

Event = namedtuple("Event", "name dev fields")


class Seen:
    """What the guest saw in one part of an array's life."""

    def __init__(self, lines):
        self.events, self.counters, self.recovery = [], {}, ""
        for line in lines:
            event = re.search(r" raid5c_(\w+): (\d+,\d+) (.*)$", line)
            if event:
                self.events.append(Event(event[1], event[2],
                                         _fields(event[3])))
            elif re.fullmatch(r"\w+ \d+", line):
                name, value = line.split()
                self.counters[name] = int(value)
            elif "journal recovery:" in line:
                self.recovery = line

    def all(self, name):
        """The fields of all events of a name, in their order."""
        return [e.fields for e in self.events if e.name == name]

    def rows(self, kind):
        """How many rows were appended as this kind."""
        return sum(1 for e in self.all("append") if e["kind"] == kind)


def _fields(text):
    """The fields of an event: numbers where they are numbers."""
    words = (word.split("=", 1) for word in text.split())
    return {name: int(value) if value.isdigit() else value
            for name, value in words}


def parse(text):
    """What was seen, by what the guest calls it."""
    return {match[1]: Seen(match[2].splitlines()) for match in re.finditer(
        r"^SEEN (.*)\n((?:.*\n)*?)END \1$", text, re.MULTILINE)}


def counters_agree(seen):
    """What the array counted is what the events tell."""
    for name, count in COUNTED.items():
        if seen.counters.get(name) != count(seen):
            yield f"{name} is {seen.counters.get(name)}, " \
                  f"the events tell {count(seen)}"
    why = Counter(e["why"] for e in seen.all("write_out"))
    for name, count in seen.counters.items():
        reason = name.removeprefix("write_outs_")
        if reason != name and count != why.pop(reason, 0):
            yield f"{name} is not what the events tell"
    if set(why) - {"emptied"}:
        yield f"reasons that nobody counts: {set(why)}"


def rows_make_sense(seen):
    """A row has the pages that its kind says, and lies on the members."""
    for event in seen.all("append"):
        pages = event["data"] > 0, event["parity"] > 0
        if pages != PAGES[event["kind"]] or event["data"] > 3 or \
                event["parity"] > 1 or event["sector"] % 8:
            yield f"odd row: {event}"
    if any(not e["stripes"] for e in seen.all("write_out")):
        yield "nothing was written out"
    if {e.dev for e in seen.events} != {"9,0"}:
        yield "not md0, or not it alone"


def units_live(seen):
    """Rows come, then the unit is written, then stable; in their order."""
    rows, pages, state, last = Counter(), Counter(), {}, 0
    for name, _, event in seen.events:
        seq = event.get("seq")
        if name == "append":
            rows[seq] += 1
            pages[seq] += event["data"] + event["parity"]
            if seq in state:
                yield f"a row comes to unit {seq}, which is {state[seq]}"
        elif name == "unit_written":
            if seq in state or not event["ok"] or \
                    event["blocks"] != pages[seq] + 1:
                yield f"unit with {pages[seq]} pages, {state.get(seq)}: {event}"
            state[seq] = "written"
        elif name == "unit_stable":
            if state.get(seq) != "written" or not event["ok"] or \
                    event["rows"] != rows[seq] or seq <= last:
                yield f"unit with {rows[seq]} rows, {state.get(seq)}, " \
                      f"after {last}: {event}"
            state[seq], last = "stable", seq
    if set(state.values()) - {"stable"} or set(rows) - set(state):
        yield "not all units became stable"
    # In the log's order: several are written at once, and end as they like.
    log = sorted(seen.all("unit_written"), key=lambda e: e["seq"])
    for one, two in zip(log, log[1:]):
        if two["start"] != (one["start"] + one["blocks"]) % \
                seen.counters["journal_blocks"]:
            yield f"not where the one before ends: {two}"


def tail_moves(seen):
    """The tail goes on where it was, to the beginning of a unit."""
    blocks, at, last = seen.counters["journal_blocks"], None, 0
    units = {e["seq"]: e["start"] for e in seen.all("unit_written")}
    for event in seen.all("tail_move"):
        freed = (event["to"] - event["from"]) % blocks
        if at not in (None, event["from"]) or event["freed"] != freed or \
                not freed or event["seq"] <= last or \
                event["to"] != units.get(event["seq"], event["to"]):
            yield f"the tail was at {at}, unit {last}: {event}"
        at, last = event["to"], event["seq"]


def _expect(live, units):
    """What replaying `units` comes to, by what was appended to them.

    Returns, by unit, pages of data, entries of parity and rows replayed; and the
    rows that have data only.
    """
    found, pending = {seq: [0, 0, 0] for seq in units}, set()
    for event in sorted(live.all("append"), key=lambda e: e["seq"]):
        seq, row = event["seq"], event["sector"]
        if seq not in found:
            continue
        if event["data"]:
            pending.add(row)
        found[seq][0] += event["data"]
        if event["parity"]:
            found[seq][1] += 1
            found[seq][2] += row in pending
            pending.discard(row)
    return found, pending


def replay_fits(live, replay):
    """Recovery found the units that were written, and did what they say."""
    units = replay.all("replay_unit")
    written = {e["seq"]: e for e in live.all("unit_written")}
    want, pending = _expect(live, [e["seq"] for e in units])
    same = 0
    for one, two in zip(units, units[1:]):
        if two["seq"] != one["seq"] + 1:
            yield f"unit {two['seq']} follows {one['seq']}"
    for event in units:
        unit = written.get(event["seq"])
        if unit and [unit["start"], unit["blocks"]] != \
                [event["start"], event["blocks"]]:
            yield f"written as {unit}, found as {event}"
        same += unit is not None
        got = [event["data"], event["parity"], event["replayed"]]
        if got != want[event["seq"]] or event["dropped"]:
            yield f"{want[event['seq']]} was appended: {event}"
    if same < 2 or same < len(units) - 1:
        yield f"{same} of {len(units)} units were seen when they were written"
    finished = [e["sector"] for e in replay.all("replay_finish")]
    if sorted(finished) != sorted(pending):
        yield f"finished {len(finished)} rows, had data only {len(pending)}"
    if not all(e["logged"] for e in replay.all("replay_finish")):
        yield "a row's parity found no room in the log"


def summary_fits(replay):
    """The summary is the sum, and what the kernel log says."""
    units, ends = replay.all("replay_unit"), replay.all("replay_scanned")
    if not units or len(ends) != 1:
        yield f"{len(units)} units, {len(ends)} summaries"
        return
    end, last = ends[0], units[-1]
    finished = len(replay.all("replay_finish"))
    sums = [len(units), sum(e["replayed"] for e in units), 0, finished,
            last["seq"] + 1, "end_of_log"]
    told = [end[name] for name in
            ("units", "replayed", "dropped", "pending", "seq", "end")]
    if sums != told:
        yield f"the sums are {sums}: {end}"
    said = (f"{end['units']} units with {sum(e['data'] for e in units)} data "
            f"pages and {sum(e['parity'] for e in units)} parity rows: "
            f"{end['replayed']} rows replayed, {end['dropped']} dropped as "
            f"flushed, {end['pending']} data-only; ended at block "
            f"{end['block']}, sequence {end['seq']}: end of log")
    if said not in replay.recovery:
        yield f"{said!r} is not what the kernel log has: {replay.recovery}"


def stop_is_clean(live, stopped, clean):
    """A stop leaves one unit without rows, where the tail went."""
    moves = (live.all("tail_move") + stopped.all("tail_move"))[-1:]
    units = clean.all("replay_unit")
    if stopped.all("append") or len(units) != 1 or not moves:
        yield f"{len(units)} units after {len(moves)} moves of the tail"
        return
    want = {"seq": moves[0]["seq"], "start": moves[0]["to"], "blocks": 1,
            "data": 0, "parity": 0, "replayed": 0, "dropped": 0}
    if units[0] != want:
        yield f"{units[0]} instead of {want}"


def mode_shows(live, replay, mode):
    """The mode can be told from the events."""
    cached, whole = live.rows("cached"), live.rows("logged")
    pending = len(replay.all("replay_finish"))
    replayed = sum(e["replayed"] for e in replay.all("replay_unit"))
    if not whole or not live.all("tail_move"):
        yield "no whole row, or no move of the tail"
    if mode == "write-through":
        if cached or pending or not replayed or live.all("write_out"):
            yield f"{cached} cached, {pending} pending, {replayed} replayed"
    elif not cached or not pending or cached != live.rows("written_out") or \
            not live.all("write_out"):
        yield f"{cached} cached, {live.rows('written_out')} written out, " \
              f"{pending} pending"


def rules(parts, mode):
    """What there is to say against what was seen of a mode, by rule."""
    live, stopped, clean, replay = (
        parts[f"{mode} {name}"]
        for name in ("live", "stopped", "clean", "replay"))
    return {
        "counters agree": list(counters_agree(live)),
        "rows make sense": list(rows_make_sense(live)),
        "units live": list(units_live(live)),
        "the tail moves": list(tail_moves(live)),
        "replay fits": list(replay_fits(live, replay)),
        "summaries fit": [*summary_fits(replay), *summary_fits(clean)],
        "a stop is clean": list(stop_is_clean(live, stopped, clean)),
        "the mode shows": list(mode_shows(live, replay, mode)),
    }


def _drop(part, name, which=lambda parts, mode, fields: True):
    """Forget an event in the middle, of those that `which` names."""
    def change(parts, mode):
        events = parts[f"{mode} {part}"].events
        places = [i for i, e in enumerate(events)
                  if e.name == name and which(parts, mode, e.fields)]
        for place in places[len(places) // 2:][:1]:
            del events[place]
    return change


def _replayed(parts, mode, fields):
    """Whether an event is of a unit that was replayed later."""
    return any(e["seq"] == fields["seq"]
               for e in parts[f"{mode} replay"].all("replay_unit"))


def _counted(_parts, _mode, fields):
    """Whether debugfs counts what was written out."""
    return fields["why"] != "emptied"


def _alter(part, name, field):
    """Tell one more in an event in the middle."""
    def change(parts, mode):
        events = parts[f"{mode} {part}"].all(name)
        events[len(events) // 2][field] += 1
    return change


def _swap(parts, mode):
    """Have two units stable in the wrong order."""
    events = parts[f"{mode} live"].all("unit_stable")
    for field in events[0]:
        events[0][field], events[1][field] = events[1][field], events[0][field]


# Changes that must be seen, and by which rule.
BROKEN = (
    ("counters agree", _drop("live", "unit_written")),
    ("counters agree", _drop("live", "append")),
    ("counters agree", _drop("live", "tail_move")),
    ("rows make sense", _alter("live", "append", "sector")),
    ("units live", _alter("live", "unit_written", "start")),
    ("units live", _alter("live", "unit_written", "blocks")),
    ("units live", _alter("live", "unit_stable", "rows")),
    ("units live", _drop("live", "unit_stable")),
    ("units live", _swap),
    ("the tail moves", _alter("live", "tail_move", "freed")),
    ("the tail moves", _alter("live", "tail_move", "to")),
    ("summaries fit", _drop("replay", "replay_unit")),
    ("replay fits", _alter("replay", "replay_unit", "data")),
    ("replay fits", _alter("replay", "replay_unit", "start")),
    ("replay fits", _drop("live", "append", _replayed)),
    ("summaries fit", _alter("replay", "replay_unit", "replayed")),
    ("summaries fit", _alter("replay", "replay_scanned", "block")),
    ("a stop is clean", _alter("clean", "replay_unit", "start")),
)

# The same, of what only a write-back cache does.
BROKEN_CACHED = (
    ("counters agree", _drop("live", "write_out", _counted)),
    ("replay fits", _drop("replay", "replay_finish")),
    ("replay fits", _alter("replay", "replay_finish", "sector")),
)


def judge(verdicts, text):
    """Hold the events of both modes to the rules, and the rules to changes."""
    parts = parse(text)
    for mode in MODES:
        if not {f"{mode} {name}" for name in
                ("live", "stopped", "clean", "replay")} <= set(parts):
            verdicts.add("FAIL", f"{mode}: events", "the guest came to no end")
            continue
        for name, found in rules(parts, mode).items():
            verdicts.add("FAIL" if found else "ok", f"{mode}: {name}",
                         found[0] if found else "")
        changes = BROKEN + (BROKEN_CACHED if mode == "write-back" else ())
        for i, (name, change) in enumerate(changes):
            changed = copy.deepcopy(parts)
            change(changed, mode)
            caught = rules(changed, mode)[name]
            verdicts.add("ok" if caught else "FAIL",
                         f"{mode}: change {i} is caught: {name}")
        live = parts[f"{mode} live"]
        print(f"    {mode}: " + ", ".join(
            f"{n} {name}" for name, n in
            Counter(e.name for e in live.events).items()), flush=True)


def trace_stock(ctx, verdicts):
    """Trace events agree with counters, recovery and each other."""
    run_job(ctx, verdicts, "qemu", "trace.sh", "trace-stock",
            [20] * 4 + [12, 64], timeout=900)
    judge(verdicts, (ctx.logs / "trace-stock.log").read_text(errors="replace"))
