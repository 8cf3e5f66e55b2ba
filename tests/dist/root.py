"""root - a throw-away root of the file system: an overlay over the machine's own, in name spaces that end with the test.

A test runs itself again by inside(); there it makes a Root or several. Nothing that happens in them reaches the machine.
"""
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import unittest
from pathlib import Path

import dist


def run(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, **{"timeout": dist.DEADLINE_S, **more})


def check(*argv, **more):
    result = run(*argv, **more)
    if result.returncode != 0:
        raise AssertionError(f"{argv}: {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def inside(script, *argv, has_network=False, timeout_s=dist.DEADLINE_S):
    """Runs the script with --inside and the arguments in name spaces; skips where there can be none."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can make an overlay")
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if has_network else ["--net"])]
    if run(*spaces, "true").returncode != 0:
        raise unittest.SkipTest("name spaces are refused here")
    result = run(*spaces, sys.executable, script, "--inside", *argv, timeout=timeout_s)
    if result.returncode != 0:
        raise AssertionError(result.stdout + result.stderr)


def enter(folder):
    """Called once inside: mounts go no further, and there is a loopback."""
    check("mount", "--make-rprivate", "/")
    check("mount", "-t", "tmpfs", "tmpfs", folder)
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING


class Root:
    """What was changed in it is under .upper. folder is the one that was entered."""

    def __init__(self, folder, name, lower="/"):
        space = Path(folder) / name
        self.upper, work, self.path = space / "upper", space / "work", space / "root"
        for path in (self.upper, work, self.path):
            path.mkdir(parents=True)
        check("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={self.upper},workdir={work}", self.path)
        check("mount", "-t", "proc", "proc", self.path / "proc")
        check("mount", "--rbind", "/dev", self.path / "dev")
        for place in ("run", "tmp"):
            check("mount", "-t", "tmpfs", "tmpfs", self.path / place)

    def run(self, *argv, **more):
        return run("chroot", self.path, *argv, **more)

    def check(self, *argv, **more):
        return check("chroot", self.path, *argv, **more)

    def __truediv__(self, name):
        return self.path / str(name).lstrip("/")


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise unittest.SkipTest(tool + " is not installed")
