#!/usr/bin/env python3
"""The Dockerfile: its form, and its steps carried out without a container engine.

A stage is a throw-away root. By default its lower layer is this machine's own, the build stage is what has been built
already, and packages are not fetched again. With SPR_TEST_DEBOOTSTRAP=1 both stages are carried out as they are written,
in roots over a fresh debootstrap of Debian 12: that takes minutes, and a mirror.
"""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import dist
from root import Root, check, enter, expect, inside, need, run

DOCKERFILE = dist.DIST / "container" / "Dockerfile"
IS_WHOLE = os.environ.get("SPR_TEST_DEBOOTSTRAP") == "1"
STAGE_TIMEOUT_S = 3600


def steps_of(path):
    """(instruction, rest) pairs; a HEALTHCHECK's options are left out of its rest."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def stages_of(path):
    stages = []
    for word, rest in steps_of(path):
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest))
    return stages


def last(stage, word):
    found = [rest for each, rest in stage if each == word]
    return found[-1] if found else None


def command_of(stage, word):
    """The exec form; a shell form is no JSON and fails."""
    return json.loads(re.sub(r"^(--\S+ )*(CMD )?", "", last(stage, word)))


class Form(unittest.TestCase):
    def setUp(self):
        self.stages = stages_of(DOCKERFILE)
        self.final = self.stages[-1]

    def test_stages(self):
        self.assertEqual([s[0][1].split()[0] for s in self.stages], ["debian:bookworm-slim"] * 2)
        self.assertFalse({"ADD", "ARG"} & {word for stage in self.stages for word, _ in stage})

    def test_the_user_is_a_number_and_not_root(self):
        uid, gid = map(int, last(self.final, "USER").split(":"))
        self.assertGreater(min(uid, gid), 0)
        words = [word for word, _ in self.final]
        self.assertGreater(words.index("USER"), max(i for i, word in enumerate(words) if word in ("RUN", "COPY")))

    def test_packages(self):
        for stage in self.stages:
            for word, rest in stage:
                if word == "RUN" and "apt-get" in rest:
                    self.assertRegex(rest, r"apt-get update .*apt-get install -y --no-install-recommends .*rm -rf /var/lib/apt/lists/\*$")
        if os.environ.get("SPR_SANITIZE", "none") != "none":
            self.skipTest("a sanitized build needs other libraries")
        need("cpack", "dpkg-deb", "dpkg-shlibdeps")
        with tempfile.TemporaryDirectory(prefix="spr-container-") as folder:
            check("cpack", "-G", "DEB", "--config", dist.BUILD / "CPackConfig.cmake", "-B", folder)
            depends = check("dpkg-deb", "-f", *Path(folder).glob("spreader_*.deb"), "Depends")
        libraries = set(re.findall(r"(lib\S+) \(>=", depends)) - {"libc6"}
        installed = next(rest for word, rest in self.final if word == "RUN" and "apt-get" in rest)
        self.assertEqual(set(re.findall(r" (lib\w\S*)", installed)), libraries)

    def test_commands(self):
        start = command_of(self.final, "ENTRYPOINT") + command_of(self.final, "CMD")
        self.assertEqual(start[0], "/usr/sbin/spreaderd")
        check(dist.BUILD / "spreaderd", "--check-config", *start[1:])
        self.assertEqual(command_of(self.final, "HEALTHCHECK"), ["spreaderctl", "health"])
        self.assertEqual(last(self.final, "VOLUME"), str(Path(start[start.index("--store") + 1]).parent))
        exposed = set(last(self.final, "EXPOSE").split())
        self.assertTrue(set(re.findall(r"0\.0\.0\.0:(\d+)", " ".join(start))) <= exposed)

    @unittest.skipUnless(shutil.which("hadolint"), "hadolint is not installed")
    def test_hadolint(self):
        # versions are not pinned: the distribution's release is
        found = run("hadolint", "--ignore", "DL3008", DOCKERFILE)
        self.assertEqual((found.returncode, found.stdout), (0, ""))


class Steps(unittest.TestCase):
    def test_build_and_run(self):
        if os.environ.get("SPR_SANITIZE", "none") != "none" and not IS_WHOLE:
            self.skipTest("a sanitized build is not packed")
        with tempfile.TemporaryDirectory(prefix="spr-container-") as folder:
            inside(__file__, folder, has_network=IS_WHOLE, timeout_s=STAGE_TIMEOUT_S if IS_WHOLE else dist.DEADLINE_S)


# --- inside the name spaces


def copy(source_root, target_root, rest):
    *sources, target = [word for word in shlex.split(rest) if not word.startswith("--")]
    for source in sources:
        into = target_root / target
        if source == ".":
            names = check("git", "-C", dist.TOP, "ls-files", "-co", "--exclude-standard").splitlines()
            for name in names:
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                if (dist.TOP / name).exists():
                    shutil.copy(dist.TOP / name, into / name)
            continue
        if target.endswith("/"):
            into = into / Path(source).name
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source_root / source if source_root else dist.TOP / source, into)


def carry_out(stage, root, before):
    """The steps that make the stage's files."""
    for word, rest in stage:
        if word == "COPY":
            copy(before if rest.startswith("--from=") else None, root, rest)
        elif word == "RUN" and ("apt-get" not in rest or IS_WHOLE):
            root.check("sh", "-c", rest, timeout=STAGE_TIMEOUT_S if IS_WHOLE else dist.DEADLINE_S)


def make_base(folder):
    base = Path(folder) / "base"
    mirror = [os.environ["SPR_TEST_MIRROR"]] if "SPR_TEST_MIRROR" in os.environ else []
    check("debootstrap", "--variant=minbase", "bookworm", base, *mirror, timeout=STAGE_TIMEOUT_S)
    for name in ("apt.conf.d", "sources.list", "sources.list.d"):  # how this machine reaches its mirror
        source = Path("/etc/apt") / name
        if source.is_dir():
            shutil.copytree(source, base / "etc/apt" / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, base / "etc/apt" / name)
    return base


def run_final(stage, root):
    uid, gid = last(stage, "USER").split(":")
    user = ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    start = command_of(stage, "ENTRYPOINT") + command_of(stage, "CMD")
    cwd = last(stage, "WORKDIR")
    daemon = subprocess.Popen(["chroot", root.path, "env", "-C", cwd, *user, *start], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + dist.DEADLINE_S
        while (health := root.run(*user, *command_of(stage, "HEALTHCHECK"))).returncode != 0:
            expect(time.monotonic() < deadline and daemon.poll() is None, f"never healthy: {health.stdout}{health.stderr}")
        expect((root / cwd / "spreader.db").stat().st_uid == int(uid), "the store is not the user's")
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=dist.DEADLINE_S)
        expect(daemon.returncode == 0, f"exit {daemon.returncode}: {log}")
        expect(root.run(*user, *command_of(stage, "HEALTHCHECK")).returncode != 0, "healthy without a daemon")
    finally:
        daemon.kill()


def build_and_run(folder):
    build, final = stages_of(DOCKERFILE)
    lower = make_base(folder) if IS_WHOLE else "/"
    space = Path(folder) / "space"
    space.mkdir()
    enter(space)
    first, second = Root(space, "build", lower), Root(space, "final", lower)
    if IS_WHOLE:
        carry_out(build, first, None)
    else:
        environment = {**os.environ, "DESTDIR": str(first / "out")}
        check("cmake", "--install", dist.BUILD, "--prefix", "/usr", "--component", "spreader", "--strip", env=environment)
    carry_out(final, second, first)
    run_final(final, second)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--inside":
        build_and_run(sys.argv[2])
    else:
        dist.main()
