"""Which arguments a schema allows."""

import unittest

from sochdb_guest.check import check

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 3},
        "age": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 200},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 1]}, "minItems": 1, "maxItems": 2},
        "inner": {"type": "object", "required": ["x"]},
        "yes": {"const": True},
    },
    "required": ["name"],
    "additionalProperties": False,
}


class CheckTest(unittest.TestCase):
    def test_what_is_allowed(self):
        for json in [
            {"name": "Ada"},
            {"name": "Ada", "age": None, "tags": ["a", 1], "inner": {"x": None, "y": 2}, "yes": True},
            {"name": "Ada", "age": 199.0},
        ]:
            self.assertIsNone(check(json, PERSON))
        for json in (None, [], {}, 1):
            self.assertIsNone(check(json, True))
            self.assertIsNone(check(json, {"format": "anything", "pattern": "x"}))

    def test_what_is_not(self):
        for more, word in [
            ({"name": ""}, "at least 1"),
            ({"name": "Adas"}, "at most 3"),
            ({"name": 1}, "'name' is no string"),
            ({"age": -1}, "at least 0"),
            ({"age": 200}, "less than 200"),
            ({"age": 1.5}, "is no integer or null"),
            ({"age": True}, "is no integer or null"),
            ({"tags": []}, "0 elements"),
            ({"tags": ["c"]}, "'tags'[0] is none of"),
            ({"tags": [True]}, "is none of"),
            ({"inner": {}}, "'inner' lacks 'x'"),
            ({"yes": 1}, "is not True"),
            ({"other": 1}, "has no 'other'; there are 'name'"),
        ]:
            self.assertIn(word, check({"name": "Ada", **more}, PERSON) or "allowed", more)
        self.assertEqual(check({}, PERSON), "the argument lacks 'name'")
        self.assertEqual(check(1, False), "the argument is not allowed")


if __name__ == "__main__":
    unittest.main()
