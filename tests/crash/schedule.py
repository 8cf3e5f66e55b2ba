"""schedule - which fault comes when, drawn from a seed.

The draw is repeatable; what it meets is not quite, as real processes run at their own pace.
"""
import collections
import heapq
import resource
import signal
import time

from world import FaultPage

DAY_S = 86400
MAX_OFFSET_S = 100 * DAY_S  # leases are longer
POINT_LIMIT_S = 3  # a point that is not passed by then is given up


class Schedule:
    # kind: weight
    KINDS = {
        "kill daemon": 3, "kill queue": 3, "kill worker": 4, "point": 7, "stop": 3, "drain": 1, "mute worker": 2, "slow worker": 1,
        "cut": 4, "stall": 2, "disk full": 2, "file limit": 1, "small disk": 2, "clock": 3, "memory": 3,
    }

    def __init__(self, world, rng, only=None):
        self.world, self.rng = world, rng
        self.kinds = {kind: weight for kind, weight in self.KINDS.items() if only is None or kind in only}
        self.counts = collections.Counter()
        self.later, self.n_later = [], 0  # heap of (when, order, what)
        self.armed = {}  # process -> (point, until)
        self.next_at = time.monotonic() + 1

    def at(self, seconds, action):
        self.n_later += 1
        heapq.heappush(self.later, (time.monotonic() + seconds, self.n_later, action))

    def tick(self):
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            heapq.heappop(self.later)[2]()
        self.look_at_points(now)
        if now >= self.next_at:
            self.next_at = now + self.rng.uniform(0.1, 0.9)
            kind = self.rng.choices(list(self.kinds), list(self.kinds.values()))[0]
            getattr(self, kind.replace(" ", "_"))()

    def end(self):
        """Everything is taken back, now."""
        while self.later:
            heapq.heappop(self.later)[2]()
        self.armed.clear()
        self.world.heal()

    def count(self, kind):
        self.counts[kind] += 1

    def pick(self, processes):
        """One that runs undisturbed, or None."""
        free = [p for p in processes if p.is_ready and not p.stopped and p not in self.armed and p not in self.world.draining]
        return self.rng.choice(free) if free else None

    def die(self, process, kind):
        self.count(kind)
        process.kill(time.monotonic() + self.rng.uniform(0, 0.5))

    # -- ends

    def kill_daemon(self):
        if process := self.pick(self.world.daemons):
            self.die(process, "kill daemon")

    def kill_queue(self):
        if process := self.pick([self.world.queue]):
            self.die(process, "kill queue")

    def kill_worker(self):
        if process := self.pick(self.world.workers):
            self.die(process, "kill worker")

    def drain(self):
        if process := self.pick([*self.world.daemons, self.world.queue]):
            self.count(f"drain {process.kind}")
            self.world.draining.add(process)
            process.signal(signal.SIGTERM)

    # -- named points

    def point(self):
        if process := self.pick([*self.world.daemons, self.world.queue]):
            point = self.rng.choice(process.POINTS)
            process.page.stop_at(point, self.rng.randint(1, 20 if "commit" in point else 200))
            self.armed[process] = (point, time.monotonic() + POINT_LIMIT_S)

    def look_at_points(self, now):
        for process, (point, until) in list(self.armed.items()):
            if not process.is_up:
                del self.armed[process]
            elif process.page.get(FaultPage.STOP) == 0 and process.is_halted():
                del self.armed[process]
                process.stopped = True
                self.count(f"point {process.kind}: {point}")
                self.at(self.rng.uniform(0, 0.3), lambda p=process: p.kill(time.monotonic() + self.rng.uniform(0, 0.5)))
            elif now > until and process.page.get(FaultPage.STOP) > 0:
                process.page.set(FaultPage.STOP, 0)
                del self.armed[process]

    # -- processes that stand, or do half their work

    def stop(self):
        if process := self.pick(self.world.processes):
            self.count(f"stop {process.kind}")
            process.stopped = True
            process.signal(signal.SIGSTOP)
            self.at(self.rng.uniform(0.3, 4), lambda: self.go_on(process, process.lives))

    def go_on(self, process, life):
        if process.lives == life:
            process.signal(signal.SIGCONT)
            process.stopped = False

    def mute_worker(self):
        if process := self.pick(self.world.workers):
            self.count("mute worker")
            process.next_is_mute = True
            process.kill(0)
            self.at(self.rng.uniform(1, 4), lambda: process.kill(0))

    def slow_worker(self):
        if process := self.pick(self.world.workers):
            self.count("slow worker")
            process.hold_ms = self.rng.choice((10, 50, 200))
            process.kill(0)
            self.at(self.rng.uniform(1, 4), lambda: self.quicken(process))

    def quicken(self, process):
        process.hold_ms = 0
        process.kill(0)

    # -- connections

    def cut(self):
        link = self.rng.choice(self.world.proxy.links)
        self.count("cut " + link.rsplit(".", 1)[1])
        self.world.proxy.tell("cut", link, self.rng.choice((0, 1, 7, self.rng.randrange(2000), self.rng.randrange(100000))))

    def stall(self):
        link = self.rng.choice(self.world.proxy.links)
        self.count("stall " + link.rsplit(".", 1)[1])
        self.world.proxy.tell("stall", link, self.rng.uniform(0.2, 3))

    # -- what a process lives on

    def disk_full(self):
        if process := self.pick([*self.world.daemons, self.world.queue]):
            self.count(f"disk full {process.kind}")
            process.page.set(FaultPage.DISK, 1)
            self.at(self.rng.uniform(0.3, 2), lambda: process.page.set(FaultPage.DISK, 0))

    def small_disk(self):
        """Really full, but for a page or two."""
        if process := self.pick([p for p in (*self.world.daemons, self.world.queue) if p.disk]):
            self.count(f"small disk {process.kind}")
            process.disk.fill(self.rng.choice((0, 8192, 100000)))
            self.at(self.rng.uniform(0.3, 2), process.disk.heal)

    def file_limit(self):
        if process := self.pick([*self.world.daemons, self.world.queue]):
            self.count(f"file limit {process.kind}")
            pid, life = process.process.pid, process.lives
            soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (self.rng.choice((0, 4096, 100000)), hard))
            self.at(self.rng.uniform(0.3, 2), lambda: self.unlimit(process, life, (soft, hard)))

    def unlimit(self, process, life, limits):
        if process.is_up and process.lives == life and process.process.poll() is None:
            resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, limits)

    def clock(self):
        """By up to ten days, either way."""
        process = self.rng.choice([*self.world.daemons, self.world.queue])
        self.count(f"clock {process.kind}")
        now_s = process.page.get(FaultPage.WALL)
        jump_s = self.rng.choice((3600, DAY_S, 10 * DAY_S, -3, -DAY_S, -10 * DAY_S))
        process.page.set(FaultPage.WALL, now_s + jump_s if abs(now_s + jump_s) < MAX_OFFSET_S else 0)

    def memory(self):
        if process := self.pick([*self.world.daemons, self.world.queue]):
            self.count(f"memory {process.kind}")
            process.page.set(FaultPage.ALLOCATIONS, self.rng.choice((1000, 20000, 300000, 1000000)))
            self.at(self.rng.uniform(0.05, 1), lambda: process.page.set(FaultPage.ALLOCATIONS, 0))
