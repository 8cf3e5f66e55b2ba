#!/usr/bin/env python3
"""The checker finds what is planted: it is believed when it finds nothing."""
import copy
import pathlib
import tempfile
import unittest

import check
from load import Plan


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.plan = Plan()
        numbers = [n for n in range(600)]
        notes, acks, job = [], [], 0
        for n in numbers:
            if self.plan.is_bad(n):
                continue
            for callback in self.plan.callbacks(n):
                job += 1
                notes.append((1000 + n, n, job, callback, len(self.plan.body(n))))
            acks.append((5000 + n, n))
        dead = {n: "no_predicate" for n in numbers if self.plan.is_bad(n)}
        self.good = check.Record(True, numbers, self.plan, notes, acks, dead)
        self.good.subscribed = {"a": {("P", "http://c")}}
        self.good.unsubscribed = {"a": {("Q", "http://c")}}
        self.good.listed = {"a": {("P", "http://c"), ("R", "http://c")}}

    def problems(self, change):
        record = copy.deepcopy(self.good)
        change(record)
        return {kind: n for kind, (n, _) in check.check(record).problems.items()}

    def test_nothing_wrong(self):
        verdict = check.check(self.good)
        self.assertEqual(verdict.problems, {})
        self.assertEqual(verdict.figures["duplicates"], 0)
        self.assertEqual(verdict.figures["jobs"], len(self.good.notes))
        self.assertGreater(len(self.good.dead), 0)

    def test_duplicates_are_counted(self):
        record = copy.deepcopy(self.good)
        record.notes += [(9999, *record.notes[7][1:])] * 3
        verdict = check.check(record)
        self.assertEqual((verdict.problems, verdict.figures["duplicates"]), ({}, 3))

    def test_loss(self):
        found = self.problems(lambda r: r.notes.pop(10))
        self.assertEqual(found, {"lost": 1, "acked before the last receipt": 1})

    def test_loss_without_ack(self):
        def change(record):
            number = record.notes.pop(10)[1]
            record.acks = [ack for ack in record.acks if ack[1] != number]

        self.assertEqual(self.problems(change), {"lost": 1})

    def test_loss_in_push_mode(self):
        def change(record):
            record.confirms = False
            record.notes.pop(10)

        self.assertEqual(self.problems(change), {"lost": 1})

    def test_early_ack(self):
        def change(record):
            record.acks[20] = (record.notes[0][0] - 1, record.acks[20][1])

        self.assertEqual(self.problems(change), {"acked before the last receipt": 1})

    def test_an_early_ack_is_not_excused_by_a_later_one(self):
        def change(record):
            record.acks.append((1, record.acks[20][1]))

        self.assertEqual(self.problems(change), {"acked before the last receipt": 1})

    def test_missing_subscription(self):
        found = self.problems(lambda r: r.listed["a"].discard(("P", "http://c")))
        self.assertEqual(found, {"subscription answered ok is gone": 1})

    def test_undone_unsubscription(self):
        found = self.problems(lambda r: r.listed["a"].add(("Q", "http://c")))
        self.assertEqual(found, {"unsubscription answered ok is undone": 1})

    def test_dead_letters(self):
        bad = next(iter(self.good.dead))
        self.assertEqual(self.problems(lambda r: r.dead.pop(bad)), {"not dead-lettered as no_predicate": 1})
        self.assertEqual(self.problems(lambda r: r.dead.update({bad: ""})), {"not dead-lettered as no_predicate": 1})
        self.assertEqual(self.problems(lambda r: r.dead.update({3: "attempts"})), {"dead-lettered, and was deliverable": 1})

    def test_dead_letters_of_daemons(self):
        number = self.good.notes[10][1]

        def give_up(record):
            record.notes.pop(10)
            record.acks = [ack for ack in record.acks if ack[1] != number]
            record.letters = [(number, "refused")]

        self.assertEqual(self.problems(give_up), {})
        self.assertEqual(self.problems(lambda r: r.letters.append((None, "not_json"))), {"dead letter of what nobody sent": 1})
        record = copy.deepcopy(self.good)
        give_up(record)
        figures = check.check(record).figures
        self.assertEqual((figures["lost"], figures["jobs only there"], figures["dead letters of daemons"]), (0, 1, 1))

    def test_a_dead_letter_does_not_excuse_an_ack(self):
        def change(record):
            record.letters = [(record.notes.pop(10)[1], "refused")]

        self.assertEqual(self.problems(change), {"acked before the last receipt": 1})

    def test_foreign_jobs_and_payloads(self):
        note = self.good.notes[0]
        self.assertEqual(
            self.problems(lambda r: r.notes.append((*note[:2], 10**9, 77, note[4]))), {"job that nobody subscribed to": 1}
        )
        self.assertEqual(self.problems(lambda r: r.notes.append((*note[:4], 1))), {"payload changed": 1})
        self.assertEqual(self.problems(lambda r: r.notes.append((*note[:2], 10**9, *note[3:]))), {"job id is not one to one": 1})

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "notes"
            path.write_bytes(check.NOTE.pack(1, 2, 3, 4, 5) + b"half a note")
            self.assertEqual(check.read_notes([path]), [(1, 2, 3, 4, 5)])
            path.write_bytes(b'7 {"ack":["n1","n2"]}\n9 {"nack":[{"id":"n3","reason":"overload"}]}\n')
            self.assertEqual(check.read_acks(path), ([(7, 1), (7, 2)], {"overload": 1}))
            path.write_bytes(b'{"reason":"refused","id":"n7"}\n{"reason":"ref\n{"reason":"no_id"}\n')
            self.assertEqual(check.read_letters([path]), [(7, "refused"), (None, "no_id")])


if __name__ == "__main__":
    unittest.main()
