#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Commits to a database, one after the other, and how many a second.

    bench-db.py DATABASE SECONDS COMMITS RESULT

Ends after SECONDS, or after COMMITS if that is not 0. RESULT is what fio
would have written.
"""

import json
import os
import sqlite3
import sys
import time

# Before this many seconds nothing counts, unless COMMITS is given.
RAMP = 0.3
DATA = 200


def commits(path, seconds, most):
    """Return (number, seconds) of the transactions that were committed."""
    database = sqlite3.connect(path, isolation_level=None)
    mode = database.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    assert mode == "delete", mode
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS bench "
                     "(id INTEGER PRIMARY KEY, data BLOB)")
    begin = time.monotonic() + (0 if most else RAMP)
    now, number = time.monotonic(), 0
    while now < begin + seconds and not (most and number >= most):
        # Without BEGIN, every statement is a transaction.
        database.execute("INSERT INTO bench (data) VALUES (?)",
                         (os.urandom(DATA),))
        now = time.monotonic()
        number += now > begin
    return number, now - begin


def main():
    """Run, and leave the result."""
    path, seconds, most, result = sys.argv[1:]
    number, took = commits(path, float(seconds), int(most))
    side = {"total_ios": number, "iops": number / took,
            "bw_bytes": number * DATA / took}
    with open(result, "w", encoding="ascii") as out:
        json.dump({"jobs": [{"write": side}]}, out)


if __name__ == "__main__":
    main()
