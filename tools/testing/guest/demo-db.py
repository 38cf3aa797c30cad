#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A database with a writer that acknowledges to the host, and its check.

    demo-db.py write DATABASE ACKS    until somebody ends it
    demo-db.py check DATABASE ACKS
"""

import hashlib
import os
import sqlite3
import sys


def payload(number):
    """What transaction `number` stores: 100 to 5000 bytes."""
    seed = hashlib.sha256(str(number).encode()).digest()
    return (seed * 160)[:100 + number * 37 % 4900]


def write(path, acks):
    """Commit transactions; name each one in ACKS once it is durable."""
    database = sqlite3.connect(path, isolation_level=None)
    mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    assert mode == "wal", mode
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE demo (id INTEGER PRIMARY KEY, data BLOB)")
    out = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    while True:
        number += 1
        database.execute("BEGIN")
        database.execute("INSERT INTO demo VALUES (?, ?)",
                         (number, payload(number)))
        database.execute("COMMIT")
        os.write(out, b"%d\n" % number)


def check(path, acks):
    """Return what is wrong; print what is there."""
    database = sqlite3.connect(path)
    verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        return f"integrity_check: {verdict}"
    there = dict(database.execute("SELECT id, data FROM demo"))
    with open(acks, encoding="ascii") as handle:
        lines = handle.read().split("\n")[:-1]
    missing = [n for n in map(int, lines) if n not in there]
    if missing:
        return f"acknowledged transaction {missing[0]} is lost"
    wrong = [n for n, data in there.items() if data != payload(n)]
    if wrong:
        return f"transaction {wrong[0]} holds wrong data"
    print(f"integrity_check: ok; {len(lines)} transactions were "
          f"acknowledged, {len(there)} are there")
    return ""


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    sys.exit(check(*sys.argv[2:]) or 0)
