"""rig - starts daemons, baselines and nats-server on free loopback ports, loads them, and ends them; for tools/bench and sweep.

Everything that is started is in a process group of its own, dies with its parent, and has its files in one folder. A subject is
something that can be loaded: its load() takes what spreader-bench takes and gives what it prints.
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

PATIENCE_S = 120


class Skip(Exception):
    """A measurement that cannot be made here, and why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def wait_until(condition, what, seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Skip(f"{what} does not come up")
        time.sleep(0.002)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Rig:
    def __init__(self, build, seconds):
        self.build, self.seconds = os.path.abspath(build), seconds
        self.folder = tempfile.mkdtemp(prefix="spreader-bench.")
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = []

    def program(self, name):
        for path in (f"{self.build}/{name}", f"{self.build}/bench/{name}", shutil.which(name) or ""):
            if os.access(path, os.X_OK):
                return path
        raise Skip(f"{name} is not there")

    def start(self, name, *args):
        log = open(f"{self.folder}/{name}.log", "ab")
        process = subprocess.Popen([self.program(name), *map(str, args)], stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.running.append(process)
        return process

    def run(self, name, *args, seconds=PATIENCE_S):
        """What the program prints; its complaint is a reason to skip."""
        try:
            done = subprocess.run([self.program(name), *map(str, args)], capture_output=True, text=True, timeout=seconds,
                                  preexec_fn=die_with_parent)
        except subprocess.TimeoutExpired:
            raise Skip(f"{name} did not end in {seconds} s") from None
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise Skip(f"{name} ended with {done.returncode}: {lines[-1] if lines else 'no word'}")
        return done.stdout

    def load(self, *args):
        """One run of spreader-bench, which has seen every job and every ack exactly once, or is no result. cpu: the target's
        processor us a job."""
        result = json.loads(self.run("spreader-bench", "--json", *args))
        latency, target = result["job_latency_us"], result["target"]
        return {"rate": result["notifications_per_second"], "jobs": result["jobs_per_second"],
                "p50": latency["p50"], "p99": latency["p99"], "p999": latency["p99.9"],
                "cpu": target["cpu_seconds"] / max(1, result["jobs"]) * 1e6}


def usage(pid):
    """Processor seconds, and how often its threads have gone to sleep: each is a wake-up."""
    nanoseconds = switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        nanoseconds += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
        for line in open(f"/proc/{pid}/task/{task}/status"):
            if line.startswith("voluntary"):
                switches += int(line.split()[1])
    return nanoseconds / 1e9, switches


def to_flags(options):
    """window=5, fan_out=10 -> --window=5 --fan-out=10"""
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]


class Daemon:
    """spreaderd; it stays up from one load to the next."""

    def __init__(self, rig, *flags, acks=False, store=":memory:", http="none"):
        self.rig, self.store = rig, store
        self.ack = f"tcp://127.0.0.1:{free_port()}" if acks else None
        ready = f"{rig.folder}/ready-{time.monotonic_ns()}"
        args = ["--store", store, "--ready-file", ready, "--log-level", "error", "--http-listen", http]
        for kind in ("intake", "outbox", "control"):
            args += [f"--{kind}-listen", "tcp://127.0.0.1:0"]
        if "receipt" in flags:
            args += ["--receipts-listen", "tcp://127.0.0.1:0"]
        args += (["--ack-dial", self.ack] if acks else []) + list(flags)
        check = subprocess.run([rig.program("spreaderd"), "--check-config", *args], capture_output=True, text=True)
        if check.returncode != 0:
            raise Skip(check.stderr.strip().splitlines()[-1])
        began = time.monotonic()
        self.process = rig.start("spreaderd", *args)
        wait_until(lambda: os.path.exists(ready) or self.process.poll() is not None, "spreaderd")
        self.start_seconds = time.monotonic() - began
        if self.process.poll() is not None:
            raise Skip("spreaderd ended at once")
        self.urls = {kind: urls[0] for kind, urls in json.load(open(ready))["listening"].items() if urls}
        self.pid = self.process.pid

    def port(self, kind):
        return int(self.urls[kind].rsplit(":", 1)[1])

    def load(self, **options):
        flags = to_flags(options)
        if self.ack and "--ack" not in flags:
            flags += ["--ack", self.ack]
        if "receipts" in self.urls:
            flags += ["--confirm=receipt", "--receipts", self.urls["receipts"]]
        return self.rig.load("--in", self.urls["intake"], "--out", self.urls["outbox"], "--control-url", self.urls["control"],
                             "--pid", self.pid, *flags)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.rig.running.remove(self.process)

    def status(self, field):
        """Bytes, of VmRSS or VmHWM."""
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise Skip(f"/proc has no {field}")

    def usage(self):
        return usage(self.pid)


class Relay:
    """One of the baselines: it copies what it gets, and knows nothing of fan-out but the number."""

    def __init__(self, rig, name, *args):
        self.rig, self.ports = rig, (free_port(), free_port())
        process = rig.start(name, *self.ports, *args)
        self.pid = process.pid
        wait_until(lambda: process.poll() is None and listens(self.ports[1]), name)

    def load(self, **options):
        options.pop("background", None)
        options["control"] = "false"
        return self.rig.load("--in", f"tcp://127.0.0.1:{self.ports[0]}", "--out", f"tcp://127.0.0.1:{self.ports[1]}",
                             "--pid", self.pid, *to_flags(options))


class Nats:
    """nats-server with the load of our own, whose duration is in ms; documents= does not matter to it, since its client joins what it writes anyway."""

    def __init__(self, rig):
        self.rig, self.port, self.guess = rig, free_port(), {}
        process = rig.start("nats-server", "-a", "127.0.0.1", "-p", self.port)
        self.pid = process.pid
        wait_until(lambda: process.poll() is None and listens(self.port), "nats-server")

    def ask(self, mode, **options):
        return json.loads(self.rig.run("nats_load", mode, self.port, *[f"{k}={v}" for k, v in options.items()]))

    def load(self, fan_out=1, size=256, window=10000, rate=0, duration=None, background=0, **_):
        seconds = int(duration[:-2]) / 1000 if duration else self.rig.seconds
        common = {"fan": fan_out, "size": size, "background": background}
        # it counts messages, not seconds: of a closed loop as many as the last time says
        n = int(seconds * (rate or (15000 if window == 1 else self.guess.get(fan_out, 100000 / fan_out)))) + 100
        before = usage(self.pid)[0]
        if rate:
            result = self.ask("open", n=n, rate=rate, **common)
        elif window == 1:
            result = self.ask("lat", n=n, **common)
        else:
            result = self.ask("thr", n=n, window=window * fan_out, **common)
            self.guess[fan_out] = result["notifications_per_s"]
        return {"cpu": (usage(self.pid)[0] - before) / (n * fan_out) * 1e6, "rate": result.get("notifications_per_s"), "jobs": result.get("jobs_per_s"), "p50": result.get("p50_us"),
                "p99": result.get("p99_us"), "p999": result.get("p999_us")}


class Control:
    """A connection to the daemon's control socket, by the wire protocol."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b"\0SP\0\0\x30\0\0")
        self.file = self.socket.makefile("rb", 1 << 20)
        self.file.read(8)

    def ask_bytes(self, request):
        self.socket.sendall(struct.pack(">QI", len(request) + 4, 0x80000001) + request)
        length, = struct.unpack(">Q", self.file.read(8))
        reply = self.file.read(length)[4:]
        if b'"ok":true' not in reply:
            raise Skip(f"control says {reply[:200].decode(errors='replace')}")
        return reply

    def ask(self, **request):
        return json.loads(self.ask_bytes(json.dumps(request, separators=(",", ":")).encode()))

    def close(self):
        self.file.close()
        self.socket.close()


def import_request(subscriptions):
    entries = [{"pattern": pattern, "callback": callback} for pattern, callback in subscriptions]
    return json.dumps({"op": "import", "subscriptions": entries}, separators=(",", ":")).encode()


def alternate(subjects, rounds, options):
    """A list of results for each subject: in turn, every other round the other way round, so that what drifts hits all alike.

    The first, which warms up, is not counted. A subject is (what has load(), options of its own).
    """
    seen = {name: [] for name in subjects}
    for i in range(-1, rounds):
        order = list(subjects) if i % 2 == 0 else list(reversed(subjects))
        for name in order:
            subject, own = subjects[name]
            result = subject.load(**{**options, **own})
            if i >= 0:
                seen[name].append(result)
    return seen


def ratios(seen, name, base, figure):
    return [a[figure] / b[figure] for a, b in zip(seen[name], seen[base])]
