"""The procedures in Python itself: `python -m unittest`, with the SDK's folder in `PYTHONPATH`."""

import unittest

from sochdb_guest import Error, ErrorCode, Schema, testing

from reports import Reports

SCHEMA = Schema.of("id:int64", "name:string?", "age:int64?", "town:string?", key="id")
PEOPLE = [
    {"id": 1, "name": "Ada", "age": 36, "town": "London"},
    {"id": 2, "name": "Alan", "age": 41, "town": "London"},
    {"id": 3, "name": " ADA ", "age": None, "town": "Ulm"},
    {"id": 4, "name": "Grace", "age": 85, "town": None},
]


class ReportsTest(unittest.TestCase):
    def setUp(self):
        self.db = testing.Database()
        self.db.table("people", SCHEMA)
        self.db.write("people", PEOPLE)
        self.db.procedures(Reports, "reports")

    def test_a_column_is_summed_up(self):
        told = self.db.call("reports", "summary", {"table": "people", "column": "age"})
        self.assertEqual((told["count"], told["mean"], told["median"]), (3, 54.0, 41))

    def test_groups_are_summed_up_one_by_one(self):
        told = self.db.call(
            "reports", "summary", {"table": "people", "column": "age", "by": "town"}
        )
        self.assertEqual(
            [(each["town"], each["count"]) for each in told], [("London", 2), (None, 1)]
        )

    def test_what_makes_no_sense_is_refused(self):
        for args, word in [
            ({"table": "people"}, "lacks 'column'"),
            ({"table": "people", "column": "name"}, "no numbers"),
            ({"table": "people", "column": "size"}, "no column 'size'"),
            ({"table": 1, "column": "age"}, "'table' is no string"),
            ({"table": "people", "column": "age", "rows": 1}, "no 'rows'"),
            ([], "is no object"),
        ]:
            with self.assertRaises(Error) as refused:
                self.db.call("reports", "summary", args)
            self.assertEqual(refused.exception.code, ErrorCode.INVALID)
            self.assertIn(word, refused.exception.text)

    def test_duplicates_are_found_and_removed(self):
        args = {"table": "people", "column": "name"}
        told = self.db.call("reports", "duplicates", args)
        self.assertEqual(told, {"duplicates": [{"key": [3], "same_as": [1]}], "deleted": 0})
        self.assertEqual(
            self.db.call("reports", "duplicates", {**args, "delete": True})["deleted"], 1
        )
        self.assertEqual([row["id"] for row in self.db.rows("people")], [1, 2, 4])


if __name__ == "__main__":
    unittest.main()
