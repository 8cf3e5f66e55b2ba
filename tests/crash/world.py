"""world - the processes of a crash session: how they are started, found, stopped, killed and started again.

Every process listens where the kernel likes and tells it in a ready file; the proxy's front ports stay, so peers find whoever
was started last.
"""
import contextlib
import ctypes
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PR_SET_PDEATHSIG = 1
READY_LIMIT_S = 60
libc = ctypes.CDLL(None)


class FaultPage:
    """The page that faults.c looks into. Each field is written whole."""

    WALL, DISK, ALLOCATIONS, STOP = 0, 8, 16, 24
    POINT, HELD, SIZE = 32, 96, 104

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(self.SIZE))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), self.SIZE)

    def set(self, field, value):
        struct.pack_into("<q", self.map, field, value)

    def get(self, field):
        return struct.unpack_from("<q", self.map, field)[0]

    def stop_at(self, point, n_pass):
        self.set(self.STOP, 0)
        struct.pack_into("64s", self.map, self.POINT, point.encode())
        self.set(self.STOP, n_pass)

    def hold_at(self, point):
        """The first thread that comes there waits until HELD is 0 again; the rest goes on."""
        self.set(self.HELD, 1)
        self.stop_at(point, 1)

    def is_short(self):
        return self.get(self.DISK) != 0 or self.get(self.ALLOCATIONS) != 0

    def heal(self):
        for field in (self.DISK, self.ALLOCATIONS, self.STOP, self.HELD):
            self.set(field, 0)


class SmallDisk:
    """A file system of its own, to be mounted by who may (crash has gone to a mount namespace of its own for that)."""

    SIZE = 1 << 30

    def __init__(self, path):
        self.path, self.is_filled = path, False
        path.mkdir()
        self.mount(self.SIZE)

    def mount(self, size, *options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "tmpfs", self.path]
        return subprocess.run(command, check=size == self.SIZE, capture_output=True).returncode == 0

    def fill(self, left):
        """It shrinks to what is used and a little: nothing needs to lie in the memory. Refused when too little by now."""
        self.is_filled = True
        for more in (0, 1 << 16, 1 << 20):
            now = os.statvfs(self.path)
            if self.mount((now.f_blocks - now.f_bfree) * now.f_frsize + left + more, "remount"):
                break

    def heal(self):
        self.mount(self.SIZE, "remount")
        self.is_filled = False

    def end(self):
        """What is on it stays, for who looks at it."""
        self.heal()
        shutil.copytree(self.path, self.path.with_suffix(".files"))
        subprocess.run(["umount", self.path], check=True)
        self.path.rmdir()


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One place for a process; what runs there changes. UP, or DOWN until restart_at."""

    # what a program may say when its memory or disk fails while it starts; once it is ready, it stays
    EXCUSABLE = {1, 71, 73, 75}

    def __init__(self, world, name):
        self.world, self.name, self.kind = world, name, name.rstrip("0123456789")
        self.page = FaultPage(world.folder / f"{name}.faults")
        self.disk = None  # where its store is, if that is a small one
        self.process, self.lives, self.restart_at, self.ready_at = None, 0, 0.0, None
        self.stopped = False  # by a SIGSTOP of ours
        self.excused = False  # this life began with failing memory or a full disk, or met it before it was ready
        self.log = open(world.folder / f"{name}.log", "ab")

    # to be overridden
    def command(self):
        raise NotImplementedError

    def on_ready(self, listening):
        pass

    def lead_nowhere(self):
        """Its ports may be another's from now on."""

    def use_small_disk(self):
        self.disk = SmallDisk(self.world.folder / f"{self.name}.disk")

    def file(self, name):
        return str((self.disk.path if self.disk else self.world.folder) / name)

    def ready_file(self):
        return self.world.folder / f"{self.name}.ready"

    def start(self):
        self.ready_file().unlink(missing_ok=True)
        self.lives += 1
        self.excused = self.page.is_short() or (self.disk is not None and self.disk.is_filled)
        self.stopped, self.ready_at = False, None
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.world.folder,
            env=os.environ | {"SPR_FAULTS": str(self.page.path)}, preexec_fn=die_with_parent,
        )
        self.started_at = time.monotonic()

    @property
    def is_up(self):
        return self.process is not None

    @property
    def is_ready(self):
        return self.is_up and self.ready_at is not None

    def poll(self, now):
        """Notices an end, readiness, and that it is time to start again."""
        if self.process is None:
            if now >= self.restart_at:
                self.start()
            return
        code = self.process.poll()
        if code is not None:
            self.process = None
            self.restart_at = now + 0.1
            self.lead_nowhere()
            self.world.on_exit(self, code)
        elif self.ready_at is None:
            self.look_for_ready(now)

    def look_for_ready(self, now):
        try:
            listening = json.loads(self.ready_file().read_text())["listening"]
        except (FileNotFoundError, ValueError):
            if now > self.started_at + READY_LIMIT_S * self.world.patience:
                raise AssertionError(f"{self.name} does not get ready, see its log")
            return
        self.ready_at = now
        self.on_ready({kind: int(urls[0].rsplit(":", 1)[1]) for kind, urls in listening.items() if urls})

    def signal(self, number):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self, restart_at):
        """A death of ours: expected."""
        if self.process is None:
            return
        self.process.kill()
        code = self.process.wait()
        self.process, self.restart_at = None, restart_at
        self.lead_nowhere()
        self.page.set(FaultPage.STOP, 0)
        if code != -signal.SIGKILL:
            self.world.on_exit(self, code)

    def is_halted(self):
        """By a signal of anybody."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        except (FileNotFoundError, AttributeError):
            return False
        return stat.rsplit(")", 1)[1].split()[0] == "T"


class Daemon(Process):
    POINTS = ("received", "between-pushes", "last-push", "before-ack", "ack-sent", "before-commit", "in-commit", "committed")
    LINKS = ("intake", "outbox", "receipts", "control")

    def __init__(self, world, number, flags):
        super().__init__(world, f"daemon{number}")
        self.flags = flags
        self.answer_port = world.proxy.link(f"{self.name}.answers", world.folder / f"{self.name}.answers")
        self.ports = {link: world.proxy.link(f"{self.name}.{link}") for link in self.LINKS}

    def command(self):
        flags = ["--store", self.file(f"{self.name}.db"), "--ready-file", str(self.ready_file())]
        flags += ["--dead-letter", self.file(f"{self.name}.dead")]
        for kind in ("intake", "outbox", "control"):
            flags += [f"--{kind}-listen", "tcp://127.0.0.1:0"]
        flags += ["--ack-dial", f"tcp://127.0.0.1:{self.answer_port}", "--log-level", "info", "--log-format", "text"]
        flags += ["--http-listen", "none", "--ack-timeout", "2s", "--drain-timeout", "6s"]
        if self.world.confirms:
            flags += ["--confirm", "receipt", "--receipts-listen", "tcp://127.0.0.1:0"]
            flags += ["--receipt-timeout", "3s", "--receipt-grace", "500ms"]
        return [str(self.world.build / "tests/crash_spreaderd"), *flags, *self.flags]

    def on_ready(self, listening):
        for link in self.LINKS:
            if link in listening:
                self.world.proxy.lead(f"{self.name}.{link}", listening[link])

    def lead_nowhere(self):
        for link in self.LINKS:
            self.world.proxy.lead(f"{self.name}.{link}", 0)

    def url(self, link):
        return f"tcp://127.0.0.1:{self.ports[link]}"


class Queue(Process):
    POINTS = ("submitted", "before-commit", "in-commit", "committed", "pushed", "answered")
    LINKS = ("submit", "control")

    def __init__(self, world):
        super().__init__(world, "queue")
        self.ports = {link: world.proxy.link(f"queue.{link}") for link in self.LINKS}

    def command(self):
        flags = ["--store", self.file("queue.db"), "--ready-file", str(self.ready_file())]
        flags += ["--visibility-timeout", "5s", "--log-format", "text"]
        for kind in ("submit", "answer", "control"):
            flags += [f"--{kind}-listen", "tcp://127.0.0.1:0"]
        for daemon in self.world.daemons:
            flags += ["--to", daemon.url("intake")]
        return [str(self.world.build / "tests/crash_queue"), *flags]

    def on_ready(self, listening):
        for link in self.LINKS:
            self.world.proxy.lead(f"queue.{link}", listening[link])
        for daemon in self.world.daemons:
            self.world.proxy.lead(f"{daemon.name}.answers", listening["answer"])

    def lead_nowhere(self):
        for link in (*(f"queue.{link}" for link in self.LINKS), *(f"{daemon.name}.answers" for daemon in self.world.daemons)):
            self.world.proxy.lead(link, 0)

    def url(self, link):
        return f"tcp://127.0.0.1:{self.ports[link]}"


class DeliveryWorker(Process):
    """Serves every daemon. A mute life reads jobs and tells nobody."""

    def __init__(self, world, number):
        super().__init__(world, f"worker{number}")
        self.next_is_mute, self.hold_ms = False, 0

    def command(self):
        mode = "mute" if self.next_is_mute else "receipt" if self.world.confirms else "push"
        self.next_is_mute = False
        notes = self.world.folder / f"{self.name}-{self.lives}.notes"
        links = [",".join(d.url(link) for link in ("outbox", "receipts")[: 2 if self.world.confirms else 1])
                 for d in self.world.daemons]
        return [str(self.world.build / "tests/crash_worker"), str(notes), mode, str(self.hold_ms), *links]

    def look_for_ready(self, now):
        self.ready_at = now


class Proxy:
    def __init__(self):
        self.process = subprocess.Popen(
            ["python3", str(HERE / "proxy.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent,
        )
        self.links = []

    def tell(self, *command):
        with contextlib.suppress(BrokenPipeError):  # World.poll() sees that it ended
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()

    def link(self, name, path=None):
        self.tell("link", name, str(path) if path else None)
        self.links.append(name)
        return int(self.process.stdout.readline())

    def lead(self, name, port):
        self.tell("backend", name, port)

    def end(self):
        self.process.kill()
        self.process.wait()


class World:
    def __init__(self, build, folder, confirms, n_daemons, n_workers, flags):
        self.build, self.folder, self.confirms = Path(build).resolve(), folder, confirms
        self.patience = int(os.environ.get("SPR_TEST_DEADLINE_MS", 30000)) / 30000
        self.surprises = []  # ends that no fault explains
        self.excused_exits = 0
        self.proxy = Proxy()
        self.daemons = [Daemon(self, i, flags[i]) for i in range(n_daemons)]
        self.workers = [DeliveryWorker(self, i) for i in range(n_workers)]
        self.queue = Queue(self)
        self.processes = [*self.daemons, self.queue, *self.workers]
        self.draining = set()

    def on_exit(self, process, code):
        if process in self.draining and code in (0, 75):
            self.draining.discard(process)
        elif process.excused and process.ready_at is None and code in process.EXCUSABLE:
            self.excused_exits += 1
        else:
            self.surprises.append(f"{process.name} ended by itself: {code}")
            process.restart_at = float("inf")

    def poll(self):
        now = time.monotonic()
        for process in self.processes:
            process.poll(now)
        if self.proxy.process.poll() is not None:
            raise AssertionError("the proxy ended")
        if self.surprises:
            raise AssertionError("; ".join(self.surprises))

    def heal(self):
        for process in self.processes:
            process.page.heal()
            if process.disk:
                process.disk.heal()
            process.signal(signal.SIGCONT)
            process.stopped = False

    def end(self):
        for process in self.processes:
            process.kill(float("inf"))
            if process.disk:
                process.disk.end()
                process.disk = None
        self.proxy.end()
