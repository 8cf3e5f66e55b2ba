"""dist - what the tests of tests/dist share: where things are, and an exit code that says "skipped" to ctest."""
import os
import subprocess
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
DIST = TOP / "tools" / "dist"
BUILD = Path(os.environ.get("SPR_TEST_BUILD_DIR", TOP / "build"))
PROGRAMS = ("spreaderd", "spreaderctl", "spreader-queue", "spreader-bench")
SKIPPED = 77
DEADLINE_S = int(os.environ.get("SPR_TEST_DEADLINE_MS", "60000")) / 1000


def options_of(program):
    """Rows of --help-table: name -> (type, placeholder, default, range, notes, help)."""
    text = subprocess.run([BUILD / program, "--help-table"], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    return {row[1]: row[2:] for row in rows if row[0] == "option"}


def main():
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if len(result.skipped) >= max(result.testsRun, 1) else 0)  # a class skipped as a whole counts no test
