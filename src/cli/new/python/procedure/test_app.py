"""The plugin in Python itself: `python3 -m unittest`."""

import unittest

from app import MyPlugin
from sochdb_guest import Error, testing


class MyPluginTest(unittest.TestCase):
    def test_rows_are_counted(self):
        db = testing.Database()
        db.table("notes")
        db.procedures(MyPlugin, "my-plugin")
        for key in (b"a", b"b"):
            db.put("notes", key, b"x")
        self.assertEqual(db.call("my-plugin", "count", {"table": "notes"}), {"rows": 2})
        with self.assertRaises(Error):
            db.call("my-plugin", "count", {})


if __name__ == "__main__":
    unittest.main()
