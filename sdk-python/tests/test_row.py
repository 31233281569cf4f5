"""Rows, keys and JSON: compared with the database's own, which `rows.jsonl` has."""

import json
import math
import unittest
from datetime import datetime, timezone
from pathlib import Path

from sochdb_guest import Column, Error, ErrorCode, Schema, Timestamp

CASES = [json.loads(line) for line in (Path(__file__).parent / "rows.jsonl").read_text().splitlines()]
SCHEMA = Schema.of("id:int64", "name:string?", "face:vector(2)?", "seen:timestamp?", key="id")


def schema_of(case):
    return Schema.of(*case["columns"], key=case["key"])


class RowTest(unittest.TestCase):
    def refused(self, word, function, *args, code=ErrorCode.INVALID):
        with self.assertRaises(Error) as refused:
            function(*args)
        self.assertEqual(refused.exception.code, code)
        self.assertIn(word, refused.exception.text)

    def test_bytes_are_the_databases(self):
        self.assertLess(10, len(CASES))
        for case in CASES:
            with self.subTest(case=case):
                schema, key, value = schema_of(case), bytes.fromhex(case["key_hex"]), bytes.fromhex(case["value_hex"])
                row = schema.decode(key, value)
                self.assertEqual((schema.encode_key(row), schema.encode_row(row)), (key, value))
                self.assertEqual(schema.to_json(row), case["row"])
                again = schema.from_json(case["row"])
                self.assertEqual((schema.encode_key(again), schema.encode_row(again)), (key, value))

    def test_damaged_bytes_are_corrupt_or_another_row(self):
        for case in CASES:
            schema, key, value = schema_of(case), bytes.fromhex(case["key_hex"]), bytes.fromhex(case["value_hex"])
            for cut in range(len(value)):
                self.refused("", schema.decode, key, value[:cut], code=ErrorCode.CORRUPT)
            for cut in range(len(key)):
                self.refused("", schema.decode, key[:cut], value, code=ErrorCode.CORRUPT)
            self.refused("", schema.decode, key, value + b"\0", code=ErrorCode.CORRUPT)
            self.refused("", schema.decode, key + b"\0", value, code=ErrorCode.CORRUPT)
            for at in range(len(value) * 8):
                flipped = bytearray(value)
                flipped[at // 8] ^= 1 << at % 8
                try:
                    schema.decode(key, bytes(flipped))
                except Error as error:
                    self.assertEqual(error.code, ErrorCode.CORRUPT)

    def test_a_row_written_before_a_column_was_added(self):
        old = Schema.of("id:int64", "name:string?", key="id")
        row = {"id": 1, "name": "Ada"}
        decoded = SCHEMA.decode(old.encode_key(row), old.encode_row(row))
        self.assertEqual(decoded, {**row, "face": None, "seen": None})

    def test_keys_are_in_the_order_of_their_values(self):
        for columns, values in [
            (["a:int64"], [-(1 << 63), -1, 0, 1, (1 << 63) - 1]),
            (["a:float64"], [-math.inf, -1.5, 0.0, 1e-300, 2.0, math.inf]),
            (["a:string"], ["", "\0", "\0\0", "a", "a\0", "ab", "b"]),
            (["a:bool"], [False, True]),
        ]:
            schema = Schema.of(*columns, key="a")
            keys = [schema.encode_key({"a": value}) for value in values]
            self.assertEqual(keys, sorted(keys))
        zero = Schema.of("a:float64", key="a")
        self.assertEqual(zero.encode_key({"a": -0.0}), zero.encode_key({"a": 0.0}))

    def test_values_that_a_column_does_not_hold_are_refused(self):
        for row, word in [
            ({"id": "1"}, "column 'id' holds int64, it was given str"),
            ({"id": True}, "was given bool"),
            ({"id": 1 << 63}, "out of its range"),
            ({"id": 1, "name": 7}, "holds string"),
            ({"id": 1, "face": [1.0]}, "1 values"),
            ({"id": 1, "face": ["a", "b"]}, "others than numbers"),
            ({"id": 1, "face": [1e300, 0]}, "holds vector(2)"),
            ({"id": 1, "seen": datetime(2026, 1, 1)}, "no time zone"),
            ({"id": 1, "size": 1}, "no column 'size'; there are id, name, face, seen"),
        ]:
            self.refused(word, SCHEMA.encode_row, row)
        self.refused("column 'id' is missing", SCHEMA.encode_key, {"name": "x"})
        self.refused("cannot be NaN", Schema.of("a:float64", key="a").encode_key, {"a": math.nan})
        self.refused("allows no null", SCHEMA.from_json, {"id": None})
        for text in ("a", "a:", ":int64", "a:vector", "a:vector(0)", "a:text"):
            self.refused("is no column", Column.parse, text)
        self.refused("in the key", lambda: Schema.of("a:int64?", key="a"))
        self.refused("each column once", lambda: Schema.of("a:int64", "a:int64", key="a"))

    def test_json_that_a_column_does_not_hold_is_refused(self):
        kinds = Schema.of("id:int64", "at:timestamp?", "raw:bytes?", "size:float64?", key="id")
        for json_row in ({"id": 1.0}, {"id": 1, "at": "today"}, {"id": 1, "raw": "abc"}, {"id": 1, "size": "1"}, [1]):
            self.refused("", kinds.from_json, json_row)

    def test_moments(self):
        moment = datetime(2026, 1, 31, 12, 0, 0, 500000, tzinfo=timezone.utc)
        self.assertEqual(Timestamp.of(moment).to_json(), "2026-01-31T12:00:00.5Z")
        self.assertEqual(Timestamp.parse("2026-01-31T13:00:00.5+01:00").datetime(), moment)
        self.assertEqual(Timestamp(1 << 62).to_json(), 1 << 62)
        self.assertEqual(Timestamp(0).to_json(), "1970-01-01T00:00:00Z")


if __name__ == "__main__":
    unittest.main()
