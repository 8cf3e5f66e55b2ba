"""load - what a crash session sends: notifications into the queue, and subscriptions that come and go."""
import json
import struct
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import sp  # noqa: E402

LEASE_S = 365 * 86400  # longer than any jump of the clock
BATCH = 20  # notifications a submit
REQUEST_LIMIT_S = 5


class Plan:
    """Who must be called for notification number n: computed, so that nothing about it can be lost."""

    KINDS = 15
    LARGE = 15  # one in 200 has 300 callbacks

    def kind(self, number):
        return self.LARGE if number % 200 == 199 else number % self.KINDS

    def is_bad(self, number):
        return number % 250 == 100

    def own(self, kind):
        return range(1000 * (kind + 1), 1000 * (kind + 1) + (300 if kind == self.LARGE else kind))

    def callbacks(self, number):
        return {1, 2} | set(self.own(self.kind(number)))

    def body(self, number):
        predicate = 'null' if self.is_bad(number) else f'"UN.CRASH.K{self.kind(number)}.created"'
        return f'{{"predicate":{predicate},"n":{number},"pad":"{"x" * (number * 37 % 200)}"}}'

    def subscriptions(self):
        """Callback 1 is found in every layer: still one job."""
        for callback in (1, 2):
            yield "UN.CRASH", callback
        for kind in range(self.KINDS + 1):
            yield f"UN.CRASH.K{kind}", 1
            for callback in self.own(kind):
                yield f"UN.CRASH.K{kind}", callback


class Requester:
    """A REQ peer that dials again whenever something is wrong. ask() gives None then."""

    def __init__(self, url):
        self.url, self.connection, self.n = url, None, 0

    def ask(self, text):
        self.n += 1
        request = struct.pack(">I", 0x80000000 | self.n)
        try:
            if self.connection is None:
                self.connection = sp.Connection.dial(self.url, sp.REQ, REQUEST_LIMIT_S)
            self.connection.send(request + text.encode())
            while (reply := self.connection.receive())[:4] != request:
                pass
            return json.loads(reply[4:])
        except (OSError, EOFError, ValueError):
            self.close()
            return None

    def close(self):
        if self.connection is not None:
            self.connection.sock.close()
            self.connection = None


class Worker(threading.Thread):
    """A thread that does one thing again and again until it is told to finish."""

    def __init__(self):
        super().__init__(daemon=True)
        self.finishing = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.finishing.is_set():
                self.step()
            self.last_step()
        except Exception as error:  # a thread's end must not pass for the end of its work
            self.error = error

    def last_step(self):
        pass

    def finish(self):
        self.finishing.set()
        self.join()
        if self.error is not None:
            raise self.error


class Producer(Worker):
    """Submits at `rate` a second until the queue says ok to each: a notification that was submitted is accepted in the end."""

    def __init__(self, url, plan, rate, may_send):
        super().__init__()
        self.requester, self.plan, self.rate, self.may_send = Requester(url), plan, rate, may_send
        self.next, self.accepted, self.waiting = 0, [], []
        self.resubmitted = 0
        self.began = time.monotonic()

    def step(self):
        if not self.waiting:
            self.finishing.wait(max(0.0, self.began + self.next / self.rate - time.monotonic()))
            if not self.may_send():
                self.began += 0.1
                self.finishing.wait(0.1)
                return
            self.waiting = list(range(self.next, self.next + BATCH))
            self.next += BATCH
        self.submit()

    def submit(self):
        text = "\n".join(f'{{"id":"n{n}","body":{self.plan.body(n)}}}' for n in self.waiting)
        reply = self.requester.ask(text)
        if reply is not None and reply.get("ok") is True:
            if reply["ids"] != [f"n{n}" for n in self.waiting]:
                raise AssertionError(f"ids of a submit: {reply}")
            self.accepted += self.waiting
            self.waiting = []
        else:
            self.resubmitted += 1
            threading.Event().wait(0.05)

    def last_step(self):
        end = time.monotonic() + 60
        while self.waiting and time.monotonic() < end:
            self.submit()
        if self.waiting:
            raise AssertionError("the queue takes nothing any more, after all faults were taken back")


class Churn(Worker):
    """Subscriptions that come and go at one daemon. A lost reply leaves its one in doubt for good."""

    def __init__(self, url, rng):
        super().__init__()
        self.requester, self.rng = Requester(url), rng
        self.present, self.absent, self.changes = set(), set(), 0
        self.in_doubt = set()

    def step(self):
        number = self.rng.randrange(500 + len(self.in_doubt))
        key = (f"CHURN.P{number % 50}", f"http://c/{number}")
        if key in self.in_doubt:  # its request may still be under way, behind any later one
            return
        op = "unsubscribe" if key in self.present and self.rng.random() < 0.5 else "subscribe"
        request = {"op": op, "pattern": key[0], "callback": key[1]}
        if op == "subscribe":
            request["lease_seconds"] = LEASE_S
        self.present.discard(key)
        self.absent.discard(key)
        reply = self.requester.ask(json.dumps(request))
        if reply is not None and reply.get("ok") is True:
            (self.present if op == "subscribe" else self.absent).add(key)
            self.changes += 1
        else:
            self.in_doubt.add(key)
        self.finishing.wait(0.02)


def must_ask(requester, request, what, limit_s=60):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        reply = requester.ask(json.dumps(request))
        if reply is not None and reply.get("ok") is True:
            return reply
        threading.Event().wait(0.1)
    raise AssertionError(f"no answer: {what}")


def import_plan(url, plan):
    rows = [{"pattern": p, "callback": f"http://w/{c}", "lease_seconds": LEASE_S} for p, c in plan.subscriptions()]
    must_ask(Requester(url), {"op": "import", "subscriptions": rows}, "import")
    return {(row["pattern"], row["callback"]) for row in rows}


def list_all(url):
    requester, listed, after = Requester(url), set(), None
    while True:
        request = {"op": "list", "limit": 1000} | ({"after": after} if after else {})
        reply = must_ask(requester, request, "list")
        listed |= {(row["pattern"], row["callback"]) for row in reply["subscriptions"]}
        if not (after := reply.get("next")):
            return listed


def list_dead(url):
    """number -> reason"""
    requester, dead, after = Requester(url), {}, 0
    while True:
        page = must_ask(requester, {"op": "dead_list", "limit": 1000, "after": after}, "dead_list")
        dead.update((int(row["id"].removeprefix("n")), row["reason"]) for row in page["dead"])
        if "next" not in page or not page["dead"]:
            return dead
        after = page["next"]
