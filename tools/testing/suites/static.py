# SPDX-License-Identifier: GPL-2.0
"""Stages without a machine: form, layering, host tests, builds."""

import contextlib
import re
import subprocess
from pathlib import Path

from lab import module as lab_module

from .base import REPO, build_tool

# Where unsafe code may be.
UNSAFE = re.compile(r"rust/(sys\.rs|sys/|md/|block/|lib/)")
# What the host compiles, too.
PURE = ("rust/raid/", "rust/journal/", "rust/lib/parse.rs")
MAX_FUNCTION = 70
MAX_FILE = 700


def _command(ctx, verdicts, name, argv, cwd=REPO):
    """Run a command as a case; its output is a log."""
    log = ctx.logs / f"{name.replace(' ', '-')}.log"
    with open(log, "wb") as out:
        rc = subprocess.run([str(a) for a in argv], cwd=cwd, stdout=out,
                            stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL).returncode
    text = log.read_text(errors="replace")
    if rc:
        verdicts.add("FAIL", name, f"status {rc}; see {log}")
    else:
        verdicts.add("ok", name)
    return text


def fmt(ctx, verdicts):
    """The sources are as the kernel's rustfmt leaves them."""
    _command(ctx, verdicts, "rustfmt",
             [ctx.source / "tools/lab/lab", "fmt", "--check"])


def clippy(ctx, verdicts):
    """Clippy with the kernel's flags has nothing to say."""
    _command(ctx, verdicts, "clippy", [ctx.source / "tools/lab/lab", "clippy"])


def _sources(source):
    """The crate's sources, generated ones aside."""
    return sorted(p for p in (source / "rust").rglob("*.rs")
                  if not p.name.endswith("_generated.rs"))


def code_of(line):
    """Return a line without its comment and its string literals."""
    line = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
    return line.split("//")[0]


def unsafe_outside(path, lines):
    """unsafe where no unsafe may be."""
    if UNSAFE.match(path):
        return
    for number, line in enumerate(lines, 1):
        code = code_of(line)
        if re.search(r"\bunsafe\b", code) and "unsafe_code" not in code:
            yield number, f"unsafe outside the wrappers: {line.strip()}"


def _argued(lines, index):
    """Whether a SAFETY comment stands right above (attributes between)."""
    for line in reversed(lines[max(0, index - 25):index]):
        text = line.strip()
        if re.match(r"//.*(SAFETY:|# Safety)", text) or "SAFETY:" in text:
            return True
        # The comment may stand above the statement that the block is in.
        if text.startswith(("//", "#[", ".")) or not text.endswith(
                (";", "}", "{")) and text:
            continue
        if re.search(r"(=|\(|,|&&|\|\||\?|\|)$|(=>|\|) \{$", text):
            continue
        return False
    return False


def unsafe_unargued(path, lines):
    """unsafe blocks and impls without a SAFETY comment; TODO in one."""
    for i, line in enumerate(lines):
        if "SAFETY: TODO" in line:
            yield i + 1, "a safety argument is still owed"
        code = code_of(line)
        if not re.search(r"\bunsafe\s*(\{|impl\b)", code):
            continue
        if "SAFETY:" in line or _argued(lines, i):
            continue
        yield i + 1, f"unsafe without a SAFETY comment: {line.strip()}"


def impure(path, lines):
    """Pure layers that reach outside themselves."""
    if not path.startswith(PURE):
        return
    for number, line in enumerate(lines, 1):
        if re.search(r"\bkernel::|crate::(md|block|lib|sys|engine)\b",
                     code_of(line)):
            yield number, f"a pure layer reaches outside: {line.strip()}"


def layering(path, lines):
    """Wrappers that know the engine, or engines that know bindings."""
    if re.match(r"rust/(md|block|lib)/", path):
        for number, line in enumerate(lines, 1):
            if re.search(r"crate::engine\b", code_of(line)):
                yield number, f"a wrapper names the engine: {line.strip()}"
    if path.startswith("rust/engine/"):
        for number, line in enumerate(lines, 1):
            if re.search(r"crate::sys\b", code_of(line)):
                yield number, f"the engine names bindings: {line.strip()}"


def long_functions(path, lines):
    """Functions that do not fit a screen."""
    start = None
    for i, line in enumerate(lines):
        match = re.match(r'(\s*)(pub(\([a-z: ]+\))? )?(const )?(unsafe )?'
                         r'(extern "C" )?fn (\w+)', line)
        if match and start is None:
            start = (i, len(match[1]), match[7])
            if line.rstrip().endswith(("}", ";")):
                start = None
        elif start and re.match(r"\s*}", line) and \
                len(line) - len(line.lstrip()) == start[1]:
            if i - start[0] > MAX_FUNCTION:
                yield start[0] + 1, (f"fn {start[2]} has {i - start[0]} "
                                     f"lines, more than {MAX_FUNCTION}")
            start = None


def long_files(path, lines):
    """Files that may hold more than one noun."""
    if len(lines) > MAX_FILE:
        yield 1, f"{len(lines)} lines, more than {MAX_FILE}"


def no_licence(path, lines):
    """Files that do not say their licence."""
    if not any("SPDX-License-Identifier: GPL-2.0" in line
               for line in lines[:3]):
        yield 1, "no SPDX licence line"


def panics(path, lines):
    """What can stop the kernel, outside tests."""
    if path.endswith(("/tests.rs", "/test.rs")):
        return
    for number, line in enumerate(lines, 1):
        if re.search(r"#\[cfg\(test\)\]\s*$", line):
            following = lines[number] if number < len(lines) else ""
            if not re.match(r"\s*(pub(\(\w+\))? )?(use |mod \w+;|fn )",
                            following):
                return
        if re.search(r"todo!\(|unimplemented!\(|\.unwrap\(\)|\.expect\(\"|"
                     r"\bpanic!\(", code_of(line)):
            yield number, f"may panic: {line.strip()}"


RULES = {
    "unsafe only in the wrappers": unsafe_outside,
    "every unsafe block is argued": unsafe_unargued,
    "pure layers are pure": impure,
    "layers depend downwards": layering,
    f"functions of at most {MAX_FUNCTION} lines": long_functions,
    f"files of at most {MAX_FILE} lines": long_files,
    "licences": no_licence,
    "no panics": panics,
}


def layers(ctx, verdicts):
    """The design's rules: unsafe, layering, sizes, no panics."""
    found = {name: [] for name in RULES}
    for path in _sources(ctx.source):
        relative = str(path.relative_to(ctx.source))
        lines = path.read_text().splitlines()
        for name, rule in RULES.items():
            found[name] += [f"{relative}:{number}: {what}"
                            for number, what in rule(relative, lines) or ()]
    (ctx.logs / "layers.log").write_text(
        "".join(f"{line}\n" for lines in found.values() for line in lines))
    for name, lines in found.items():
        if lines:
            verdicts.add("FAIL", name, f"{len(lines)}, the first: {lines[0]}")
        else:
            verdicts.add("ok", name)
    for name, rule, path, text in BROKEN:
        caught = list(rule(path, text.splitlines()) or ())
        verdicts.add("ok" if caught else "FAIL", f"catches {name}")


# The rules must be able to fail.
BROKEN = (
    ("unsafe in the engine", unsafe_outside, "rust/engine/x.rs",
     "fn f() {\n    let x = unsafe { g() };\n}"),
    ("an unargued block", unsafe_unargued, "rust/md/x.rs",
     "fn f() {\n    g();\n    unsafe { h() };\n}"),
    ("an owed argument", unsafe_unargued, "rust/md/x.rs",
     "// SAFETY: TODO\nunsafe { h() };"),
    ("an impure layer", impure, "rust/raid/x.rs", "use kernel::prelude::*;"),
    ("a long function", long_functions, "rust/md/x.rs",
     "fn f() {\n" + "    g();\n" * 71 + "}\n"),
    ("an unwrap", panics, "rust/md/x.rs", "    x.unwrap();"),
)


def _cargo_test(ctx, verdicts, name, package):
    """Run a package's tests; each is a case."""
    text = _command(ctx, verdicts, name,
                    ["cargo", "test", "--locked", "--release"],
                    ctx.source / package)
    for match in re.finditer(r"^test (\S+).* \.\.\. (ok|FAILED|ignored)",
                             text, re.MULTILINE):
        verdict = {"ok": "ok", "FAILED": "FAIL"}.get(match[2])
        if verdict:
            verdicts.add(verdict, match[1])


def host(ctx, verdicts):
    """Unit tests, properties and simulations of the pure layers."""
    _cargo_test(ctx, verdicts, "cargo-test", "tools/testing/host")


def sim(ctx, verdicts):
    """The simulator finds planted bugs, and nothing else in a short run."""
    _cargo_test(ctx, verdicts, "sim-test", "tools/testing/sim")
    text = _command(ctx, verdicts, "sim",
                    ["cargo", "run", "--locked", "--release", "--",
                     "--seconds", ctx.pick(45, 600),
                     "--seed", ctx.seed * 1_000_000_000],
                    ctx.source / "tools/testing/sim")
    for line in text.splitlines():
        if " violations" in line:
            print(f"    sim: {line}", flush=True)


def build(ctx, verdicts):
    """The module builds for both kernels, without a warning."""
    for kind in ("qemu", "um"):
        log = ctx.logs / f"build-{kind}.log"
        ko = ctx.module(kind)
        argv = [ctx.source / "tools/lab/lab", "build",
                *(["--um"] if kind == "um" else [])]
        text = _command(ctx, verdicts, f"build {kind}", argv)
        logs = sorted(lab_module.log_file("x").parent.glob(
            f"module-{kind}-{Path(ko).parent.name[-12:]}.log"))
        text += "".join(path.read_text(errors="replace") for path in logs)
        log.write_text(text)
        bad = [line for line in text.splitlines() if "warning" in line]
        if bad:
            verdicts.add("FAIL", f"warnings {kind}", bad[0])
        else:
            verdicts.add("ok", f"warnings {kind}")


def demo(ctx, verdicts):
    """The story of make demo comes to its good end."""
    text = _command(ctx, verdicts, "make demo",
                    [ctx.source / "tools/testing/demo", "--seed", ctx.seed])
    print("    " + (text.strip().splitlines() or [""])[-1], flush=True)


def _ack(program, *args):
    """Run ackwriter on the host; return (status, output)."""
    proc = subprocess.run([str(program), *map(str, args)], text=True,
                          capture_output=True, timeout=60)
    return proc.returncode, proc.stdout


def ackwriter(ctx, verdicts):
    """The checker of the power cuts finds what it should, and no more."""
    program = build_tool("ackwriter")
    dev, log = ctx.scratch / "ack.dev", ctx.scratch / "ack.log"
    common = ("--dev", dev, "--log", log, "--buffered")

    def empty(*paths):
        for path in paths:
            path.write_bytes(b"")
            with open(path, "r+b") as handle:
                handle.truncate(8 << 20)

    def fresh():
        empty(dev, log)
        rc, out = _ack(program, "write", *common, "--seed", 5, "--ops", 8000,
                       "--read", 10)
        return rc == 0, out

    def check(name, want, phrase, damage=None):
        good, out = fresh()
        if good and damage:
            with open(dev, "r+b") as handle:
                damage(handle)
        rc, out = _ack(program, "check", *common) if good else (99, out)
        if rc == want and phrase in out:
            verdicts.add("ok", name)
        else:
            verdicts.add("FAIL", name, f"status {rc}: {out[:200]}")

    def put(handle, at, data):
        handle.seek(at)
        handle.write(data)

    def old(handle):
        with open(dev, "rb") as source:
            before = source.read()
        rc, _ = _ack(program, "write", *common, "--resume", "--ops", 1500)
        assert rc == 0
        after = dev.read_bytes()
        # Only a sector that both runs wrote can hold the older write: which
        # ones those are depends on how the threads were scheduled.
        at = next(at for at in range(0, len(before), 512)
                  if any(before[at:at + 512])
                  and before[at:at + 512] != after[at:at + 512])
        put(handle, at, before[at:at + 512])

    check("accepts what was written", 0, "0 WRONG")
    check("finds a lost sector", 1, "is lost: the sector is all zeroes",
          lambda h: put(h, 512 * 1000, bytes(512)))
    check("finds a lost write", 1, "the sector holds the older write", old)
    check("finds a torn sector", 1, "torn: the checksum is wrong",
          lambda h: put(h, 512 * 1000 + 256, b"torn" * 8))
    check("finds garbage", 1, "garbage",
          lambda h: put(h, 512 * 1000, b"\xa5" * 512))

    def misplaced(handle):
        handle.seek(512 * 1000)
        data = handle.read(4096)
        put(handle, 512 * 2000, data)

    check("finds misplaced data", 1, "holds data of another place",
          misplaced)

    def durable(*args):
        return _ack(program, "write", *common, "--durable", "--ops", 200,
                    "--threads", 1, *args)[0] == 0

    # What the last flush did not cover may be gone, and no more.
    empty(dev, log)
    good = durable("--fsync", 50)
    out = _ack(program, "check", *common)[1]
    count = re.search(r"(\d+) acknowledged writes, (\d+) in flight", out)
    acked, left = map(int, count.groups()) if count else (0, 0)
    verdicts.add("ok" if good and acked + left == 200 and acked > 180
                 else "FAIL", "a flush covers what came before", out[:200])
    empty(dev)
    rc, out = _ack(program, "check", *common)
    verdicts.add("ok" if rc == 1 and "is lost" in out else "FAIL",
                 "finds a flushed write that is lost", out[:200])
    empty(dev, log)
    good = durable("--fsync", 0)
    empty(dev)
    good &= durable("--resume", "--fsync", 100)
    rc, out = _ack(program, "check", *common)
    verdicts.add("ok" if good and rc == 0 else "FAIL",
                 "a flush covers nothing of an earlier life", out[:200])
    for path in (dev, log):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
