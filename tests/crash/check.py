"""check - what must be true when a crash session is over. No processes here: records in, problems and figures out."""
import dataclasses
import json
import struct

NOTE = struct.Struct("<QQQII")  # as worker.c writes it
EXAMPLES = 5  # of each kind of problem are printed


@dataclasses.dataclass
class Record:
    """What a session leaves behind."""

    confirms: bool  # receipt mode: a note came before its receipt
    accepted: list  # numbers of the notifications that the queue said ok to
    plan: object  # .callbacks(number): what must be called; .body(number); .is_bad(number): has no predicate
    notes: list = dataclasses.field(default_factory=list)  # (noted_ns, number, job, callback, payload_bytes)
    acks: list = dataclasses.field(default_factory=list)  # (seen_ns, number)
    dead: dict = dataclasses.field(default_factory=dict)  # number -> reason
    letters: list = dataclasses.field(default_factory=list)  # (number or None, reason) out of the daemons' dead-letter files
    # per daemon: what was answered ok last, by (pattern, callback), and what it lists
    subscribed: dict = dataclasses.field(default_factory=dict)
    unsubscribed: dict = dataclasses.field(default_factory=dict)
    listed: dict = dataclasses.field(default_factory=dict)


class Verdict:
    def __init__(self):
        self.problems = {}  # kind -> [count, examples]
        self.figures = {}

    def add(self, kind, example):
        entry = self.problems.setdefault(kind, [0, []])
        entry[0] += 1
        if len(entry[1]) < EXAMPLES:
            entry[1].append(example)

    def lines(self):
        return [f"{kind}: {n}, such as {'; '.join(examples)}" for kind, (n, examples) in sorted(self.problems.items())]


def read_notes(paths):
    """A worker that was killed may leave half a note at the end of its file."""
    notes = []
    for path in paths:
        data = path.read_bytes()
        notes += NOTE.iter_unpack(data[: len(data) // NOTE.size * NOTE.size])
    return notes


def read_acks(path):
    """(acks, nacks by reason) out of the proxy's notes of answer requests."""
    acks, nacks = [], {}
    for line in path.read_bytes().splitlines():
        at, _, text = line.partition(b" ")
        request = json.loads(text)
        acks += [(int(at), number_of(id)) for id in request.get("ack", [])]
        for nack in request.get("nack", []):
            nacks[nack["reason"]] = nacks.get(nack["reason"], 0) + 1
    return acks, nacks


def read_letters(paths):
    """A daemon that was killed may leave half a letter, on a line of its own."""
    letters = []
    for path in paths:
        for line in path.read_bytes().splitlines():
            try:
                letter = json.loads(line)
            except ValueError:
                continue
            letters.append((number_of(letter["id"]) if "id" in letter else None, letter["reason"]))
    return letters


def number_of(id):
    return int(id.removeprefix("n"))


def check_notes(record, verdict):
    """Every note must be of a job that was wanted. Returns (number, callback) -> when it was first noted."""
    first, job_of, key_of, wanted = {}, {}, {}, {}
    for noted_ns, number, job, callback, payload_bytes in record.notes:
        key = (number, callback)
        if number not in wanted:
            wanted[number] = (record.plan.callbacks(number), len(record.plan.body(number)))
        callbacks, size = wanted[number]
        if callback not in callbacks or record.plan.is_bad(number):
            verdict.add("job that nobody subscribed to", f"n{number} to {callback}")
        if payload_bytes != size:
            verdict.add("payload changed", f"n{number}: {payload_bytes} bytes, not {size}")
        if record.confirms and (job_of.setdefault(key, job) != job or key_of.setdefault(job, key) != key):
            verdict.add("job id is not one to one", f"n{number} to {callback}")
        if key not in first or noted_ns < first[key]:
            first[key] = noted_ns
    return first


def check_letters(record, verdict):
    """Which notifications a daemon gave up for good, and said so; whatever has no id was never sent. Returns their numbers."""
    for number, reason in record.letters:
        if number is None:
            verdict.add("dead letter of what nobody sent", reason)
    return {number for number, _ in record.letters if number is not None}


def check_jobs(record, first, verdict):
    """Returns how many jobs were wanted, and how many of those a daemon gave up instead."""
    jobs, kept, given_up = 0, 0, check_letters(record, verdict)
    for number in record.accepted:
        if record.plan.is_bad(number):
            if not record.dead.get(number, "").startswith("no_predicate"):
                verdict.add("not dead-lettered as no_predicate", f"n{number}: {record.dead.get(number)}")
            continue
        if number in record.dead:
            verdict.add("dead-lettered, and was deliverable", f"n{number}: {record.dead[number]}")
            continue
        for callback in record.plan.callbacks(number):
            jobs += 1
            if (number, callback) in first:
                continue
            if number in given_up:
                kept += 1
            else:
                verdict.add("lost", f"n{number} to {callback}")
    return jobs, kept


def check_acks(record, first, verdict):
    """An ack is a claim that every receipt is there, whether it reaches upstream or not."""
    for seen_ns, number in record.acks:
        for callback in record.plan.callbacks(number):
            noted_ns = first.get((number, callback))
            if noted_ns is None or noted_ns > seen_ns:
                late = "never" if noted_ns is None else f"{(noted_ns - seen_ns) / 1e6:.1f} ms later"
                verdict.add("acked before the last receipt", f"n{number}: {callback} came {late}")
                break


def check_subscriptions(record, verdict):
    for daemon, listed in record.listed.items():
        for key in record.subscribed.get(daemon, set()) - listed:
            verdict.add("subscription answered ok is gone", f"{daemon}: {key}")
        for key in record.unsubscribed.get(daemon, set()) & listed:
            verdict.add("unsubscription answered ok is undone", f"{daemon}: {key}")


def check(record):
    verdict = Verdict()
    first = check_notes(record, verdict)
    jobs, kept = check_jobs(record, first, verdict)
    if record.confirms:
        check_acks(record, first, verdict)
    check_subscriptions(record, verdict)
    verdict.figures = {
        "notifications": len(record.accepted),
        "jobs": jobs,
        "dead-lettered": len(record.dead),
        "duplicates": len(record.notes) - len(first),
        "lost": verdict.problems.get("lost", [0])[0],
        "dead letters of daemons": len(record.letters),
        "jobs only there": kept,
    }
    return verdict
