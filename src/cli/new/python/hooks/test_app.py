"""The plugin in Python itself: `python3 -m unittest`."""

import unittest

from app import MyPlugin
from sochdb_guest import testing


class MyPluginTest(unittest.TestCase):
    def test_empty_values_are_refused(self):
        db = testing.Database()
        db.table("notes")
        db.hooks(MyPlugin, "notes")
        self.assertTrue(db.put("notes", b"a", b"one"))
        with self.assertRaisesRegex(testing.Aborted, "no empty values"):
            db.put("notes", b"b", b"")
        self.assertEqual(len(db.rows("notes")), 1)


if __name__ == "__main__":
    unittest.main()
