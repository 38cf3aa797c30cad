# SPDX-License-Identifier: GPL-2.0
"""Files with the numbers of a run, for Documentation/."""

import subprocess
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def last_commit(*paths, repo=REPO):
    """Return the commit that last changed any of `paths`; + if they differ."""
    def git(*words):
        return subprocess.run(["git", "-C", str(repo), *words], text=True,
                              capture_output=True, check=False).stdout.strip()
    commit = git("log", "-1", "--format=%h", "--", *paths)
    changed = git("status", "--porcelain", "--", *paths)
    return (commit or "unknown") + ("+" if changed else "")


def write(name, title, command, paths, lines):
    """Write Documentation/NAME: what was run, on what, and what it said."""
    path = REPO / "Documentation" / name
    head = [title, f"command: {command}",
            f"commit:  {last_commit(*paths)}, the last that changed "
            f"{', '.join(paths)}; +: with changes",
            f"date:    {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}",
            ""]
    path.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
