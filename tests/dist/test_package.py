#!/usr/bin/env python3
"""The Debian package: what is in it, what it needs, and that it installs, runs as its user and goes without a trace.

The machine's own root is the lower layer of an overlay, so that dpkg meets real dependencies and real maintainer scripts
while nothing of it reaches the machine. Processes, network and mounts have name spaces of their own, which end with the test.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import dist
from root import Root, enter, expect, inside, need, run

LIBRARIES = {"libc6", "libcjson1", "libck0", "libgnutls30", "libmicrohttpd12", "libnng1", "libsqlite3-0", "libxxhash0"}
FILES = """
etc/spreader/spreader.json lib/systemd/system/spreaderd.service lib/systemd/system/spreader-queue.service
lib/sysusers.d/spreader.conf lib/tmpfiles.d/spreader.conf
bin/spreader-bench bin/spreader-queue bin/spreaderctl sbin/spreaderd share/doc/spreader/changelog.gz
share/man/man1/spreader-bench.1.gz share/man/man1/spreader-queue.1.gz share/man/man1/spreaderctl.1.gz share/man/man5/spreader.json.5.gz share/man/man8/spreaderd.8.gz
""".split()
# What nobody has decided yet: whose it is, and under which licence.
LINTIAN_SUPPRESSED = "bogus-mail-host,bogus-mail-host-in-debian-changelog,no-copyright-file"


def make_packages(folder):
    made = run("cpack", "-G", "DEB", "--config", dist.BUILD / "CPackConfig.cmake", "-B", folder)
    if made.returncode != 0:
        raise AssertionError(made.stdout + made.stderr)
    return {path.name.split("_")[0]: path for path in Path(folder).glob("*.deb")}


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("cpack", "dpkg-deb", "dpkg-shlibdeps")
        if os.environ.get("SPR_SANITIZE", "none") != "none":
            raise unittest.SkipTest("a sanitized build is not packed")
        cls.folder = tempfile.TemporaryDirectory(prefix="spr-package-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.packages = make_packages(cls.folder.name)

    def test_files(self):
        self.assertEqual(set(self.packages), {"spreader", "spreader-dev"})
        listed = [line.split()[-1] for line in run("dpkg-deb", "-c", self.packages["spreader"]).stdout.splitlines()]
        for name in FILES:
            self.assertIn("./" + name if name.startswith("etc/") else "./usr/" + name, listed)
        for name in dist.PROGRAMS:
            for path in (f"bash-completion/completions/{name}", f"zsh/vendor-completions/_{name}", f"fish/vendor_completions.d/{name}.fish"):
                self.assertIn("./usr/share/" + path, listed)
        strange = [name for name in listed if not name.startswith(("./usr/", "./etc/")) and name not in ("./", "./etc/", "./usr/")]
        self.assertEqual(strange, [])
        self.assertIn("./usr/include/spreader/wire.h", run("dpkg-deb", "-c", self.packages["spreader-dev"]).stdout)

    def test_dependencies(self):
        depends = run("dpkg-deb", "-f", self.packages["spreader"], "Depends").stdout
        with_version = set(re.findall(r"([a-z0-9.+-]+) \(>=", depends))
        self.assertTrue(LIBRARIES <= with_version, depends)
        self.assertIn("systemd | systemd-standalone-sysusers", depends)

    @unittest.skipUnless(shutil.which("lintian"), "lintian is not installed")
    def test_lintian(self):
        for path in self.packages.values():
            found = run("lintian", "--suppress-tags", LINTIAN_SUPPRESSED, "--fail-on", "error,warning", path)
            self.assertEqual((found.returncode, found.stdout), (0, ""))

    def test_install_run_remove(self):
        need("systemd-sysusers", "systemd-tmpfiles")
        inside(__file__, self.folder.name, self.packages["spreader"])


# --- inside the name spaces


def left(root):
    """Files with our name in theirs, and lists of users that name us."""
    names = [path for path in root.upper.rglob("*") if "spreader" in path.name and "/var/cache/" not in str(path)]
    lists = [root / "etc" / name for name in ("passwd", "shadow", "group", "gshadow")]
    return names + [path for path in lists if path.exists() and "spreader" in path.read_text()]


UNITS = ("spreaderd", "spreader-queue")


def values_of(unit, key):
    return [line.split("=", 1)[1] for line in unit.splitlines() if line.startswith(key + "=")]


def protection_of(unit):
    return unit[unit.index("CapabilityBoundingSet=") : unit.index("[Install]")]


def check_units(root):
    for name in UNITS:
        verified = root.run("systemd-analyze", "verify", "--man=no", f"{name}.service")
        ours = [line for line in verified.stderr.splitlines() if name in line]
        expect(not ours, ours)
        # 10 is a service without any protection
        root.check("systemd-analyze", "security", "--offline=true", "--threshold=20", f"{name}.service")
    first, second = (protection_of((root / f"usr/lib/systemd/system/{name}.service").read_text()) for name in UNITS)
    expect(first == second, "one is protected otherwise than the other")


def notified(root, name, what_it_does):
    """Runs the unit's commands as its user, with a service manager that listens; and does something once it is ready."""
    unit = (root / f"usr/lib/systemd/system/{name}.service").read_text()
    user = ["setpriv", "--reuid=spreader", "--regid=spreader", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    environment = ["env", *values_of(unit, "Environment"), f"NOTIFY_SOCKET=/run/{name}.notify", "WATCHDOG_USEC=200000"]
    for command in values_of(unit, "ExecStartPre"):
        root.check(*user, *command.split())
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(dist.DEADLINE_S)
    manager.bind(str(root / f"run/{name}.notify"))
    os.chmod(root / f"run/{name}.notify", 0o666)
    (start,) = values_of(unit, "ExecStart")
    process = subprocess.Popen(["chroot", root.path, *environment, *user, *start.split()], stderr=subprocess.PIPE, text=True)
    try:
        expect(manager.recv(4096) == b"READY=1", "not told to be ready")
        what_it_does(root)
        while not manager.recv(4096).startswith(b"WATCHDOG=1\n"):
            pass
        process.send_signal(signal.SIGTERM)
        while not manager.recv(4096).startswith(b"STOPPING=1"):
            pass
        _, log = process.communicate(timeout=dist.DEADLINE_S)
        expect(process.returncode == 0, f"exit {process.returncode}: {log}")
    finally:
        process.kill()
        manager.close()


def expect_owner(root, path):
    owner = (root / path).stat().st_uid
    expect(str(owner) == root.check("id", "-u", "spreader").strip() and owner != 0, f"{path} is not the user's")


def subscribe_and_look(root):
    root.check("spreaderctl", "subscribe", "UN.CEFACT.*", "http://example.org/hook")
    expect("http://example.org/hook" in root.check("spreaderctl", "lookup", "UN.CEFACT.TRADE"), "not subscribed")
    expect_owner(root, "var/lib/spreader/spreader.db")


def submit_and_look(root):
    root.check("spreader-queue", "submit", input='{"id":"7","body":{"predicate":"UN.A"}}')
    expect(re.search(r"submitted_total\s+1\b", root.check("spreader-queue", "stats")), "not submitted")
    expect_owner(root, "var/lib/spreader-queue/queue.db")


def install_run_remove(folder, package):
    space = Path(folder) / "space"
    space.mkdir()
    enter(space)
    root = Root(space, "root")
    shutil.copy(package, root / "tmp/p.deb")
    expect(not left(root), f"the machine has it already: {left(root)}")
    root.check("dpkg", "-i", "/tmp/p.deb")
    expect((root / "etc/systemd/system/multi-user.target.wants/spreaderd.service").is_symlink(), "not enabled")
    expect((root / "var/lib/spreader").stat().st_mode & 0o777 == 0o750, "the store's folder is open to others")
    expect(not (root / "etc/systemd/system/multi-user.target.wants/spreader-queue.service").exists(), "the queue is enabled")
    check_units(root)
    notified(root, "spreaderd", subscribe_and_look)
    notified(root, "spreader-queue", submit_and_look)
    root.check("dpkg", "-r", "spreader")
    expect((root / "var/lib/spreader/spreader.db").exists(), "subscriptions are gone before a purge")
    expect((root / "var/lib/spreader-queue/queue.db").exists(), "notifications are gone before a purge")
    expect((root / "etc/spreader/spreader.json").exists(), "the configuration is gone before a purge")
    expect(not (root / "usr/sbin/spreaderd").exists(), "the program is still there")
    root.check("dpkg", "-P", "spreader")
    expect(not left(root), f"left behind: {left(root)}")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--inside":
        install_run_remove(*sys.argv[2:])
    else:
        dist.main()
