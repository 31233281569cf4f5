"""The triggers in Python itself: `python -m unittest`, with the SDK's folder in `PYTHONPATH`."""

import unittest

from sochdb_guest import Schema, testing

from triggers import RECORD, Triggers

PEOPLE = Schema.of(
    "id:int64", "name:string", "email:string?", "age:int64?", "role:string?", key="id"
)
CHANGES = Schema.of("id:int64", "seq:int64", "what:string", "columns:string", key=["id", "seq"])
ADA = {"id": 1, "name": "Ada Lovelace", "email": "ada@example.org", "age": 36, "role": "owner"}


class TriggersTest(unittest.TestCase):
    def setUp(self):
        self.db = testing.Database({"rows_at_once_max": 3, "youngest": 16})
        self.db.table("people", PEOPLE)
        self.db.table(RECORD, CHANGES)
        self.db.hooks(Triggers, "people")

    def test_rows_are_tidied(self):
        self.db.put("people", {**ADA, "name": "  Ada   Lovelace ", "email": " ADA@Example.org"})
        self.assertEqual(self.db.get("people", 1), ADA)

    def test_children_are_refused(self):
        with self.assertRaisesRegex(testing.Aborted, "younger than 16"):
            self.db.put("people", {"id": 2, "name": "Tim", "age": 8})
        self.assertEqual(self.db.rows("people"), [])

    def test_an_update_that_changes_nothing_does_not_happen(self):
        self.db.put("people", ADA)
        self.assertFalse(self.db.put("people", {**ADA, "name": "Ada  Lovelace"}))
        self.assertTrue(self.db.put("people", {**ADA, "age": 37}))
        self.assertEqual(len(self.db.rows(RECORD)), 2)

    def test_an_owner_stays(self):
        self.db.put("people", ADA)
        with self.assertRaisesRegex(testing.Aborted, "an owner"):
            self.db.delete("people", 1)
        self.db.put("people", {**ADA, "role": "user"})
        self.assertTrue(self.db.delete("people", 1))

    def test_changes_are_recorded_and_counted(self):
        self.db.put("people", {**ADA, "role": None})
        self.db.put("people", {**ADA, "age": 37, "role": None})
        self.db.delete("people", 1)
        record = [(row["seq"], row["what"]) for row in self.db.rows(RECORD)]
        self.assertEqual(record, [(1, "insert"), (2, "update"), (3, "delete")])
        self.assertEqual(self.db.rows(RECORD)[1]["columns"], "age")
        self.assertEqual(self.db.metrics["people_changes_total", (("table", "people"),)], 3)

    def test_a_batch_is_one_decision_or_many(self):
        rows = [{**ADA, "id": number} for number in range(4)]
        with self.assertRaisesRegex(testing.Aborted, "4 changes at once"):
            self.db.write("people", rows)
        self.assertEqual(self.db.write("people", rows[:3]), 3)


if __name__ == "__main__":
    unittest.main()
