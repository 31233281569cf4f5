"""Hooks, procedures and what they can ask, in the database for tests."""

import dataclasses
import unittest

from sochdb_guest import (
    Abort,
    Batch,
    Codec,
    Continue,
    Error,
    ErrorCode,
    Hooks,
    Procedures,
    Schema,
    Skip,
    config,
    procedure,
    telemetry,
    testing,
    where,
)
from sochdb_guest._glue import plugin_of

PLACES = Schema.of("id:int64", "name:string", "at:vector(2)?", key="id")


class Answers(Hooks):
    """Does what the value says."""

    def before_insert(self, change):
        answers = {
            b"skip": Skip(),
            b"abort": Abort("it is not wanted"),
            b"other": Continue(b"another"),
            b"json": Continue({"a": [1, "ä"]}),
            b"wrong": "continue",
        }
        if change.new == b"raise":
            raise Error(ErrorCode.CONFLICT, "somebody else was first", retryable=True)
        if change.new == b"mistake":
            return 1 // 0
        return answers.get(change.new)

    def before_update(self, change):
        return Continue({**change.old_row, **change.new_row})

    def before_delete(self, change):
        return Continue({}) if change.old == b"wrong" else None

    def after_batch(self, changes):
        telemetry.info(" ".join(f"{each.kind} {each.key.decode()}" for each in changes))
        if changes[0].tx.is_read_only and changes[0].new == b"late":
            changes[0].table.put(b"late", b"x")


class HooksTest(unittest.TestCase):
    def setUp(self):
        self.db = testing.Database()
        self.db.table("t")
        self.db.hooks(Answers, "t")

    def test_each_answer_is_honoured(self):
        self.assertTrue(self.db.put("t", b"a", b"plain"))
        self.assertFalse(self.db.put("t", b"b", b"skip"))
        with self.assertRaisesRegex(testing.Aborted, "it is not wanted"):
            self.db.put("t", b"c", b"abort")
        self.db.put("t", b"d", b"other")
        self.db.put("t", b"e", b"json")
        self.assertEqual(self.db.rows("t"), [(b"a", b"plain"), (b"d", b"another"), (b"e", b'{"a":[1,"\xc3\xa4"]}')])

    def test_values_of_untyped_tables_are_json(self):
        self.db.put("t", b"a", b'{"x": 1}')
        self.db.put("t", b"a", b'{"y": 2}')
        self.assertEqual(self.db.get("t", b"a"), b'{"x":1,"y":2}')
        with self.assertRaisesRegex(Error, "no JSON"):
            self.db.put("t", b"a", b"plain")

    def test_errors_are_answered_and_mistakes_are_told_with_their_place(self):
        with self.assertRaises(Error) as raised:
            self.db.put("t", b"a", b"raise")
        self.assertEqual((raised.exception.code, raised.exception.retryable), (ErrorCode.CONFLICT, True))
        with self.assertRaises(Error) as raised:
            self.db.put("t", b"a", b"mistake")
        self.assertEqual(raised.exception.code, ErrorCode.INTERNAL)
        self.assertRegex(raised.exception.text, r"ZeroDivisionError: .*\(test_plugins.py, line \d+, in before_insert\)")
        self.assertIn(("error", "Traceback (most recent call last):"), self.db.logs)
        with self.assertRaisesRegex(Error, "answered str"):
            self.db.put("t", b"a", b"wrong")
        self.assertEqual(self.db.rows("t"), [])
        self.assertTrue(self.db.put("t", b"a", b"plain"), "it lives on")

    def test_a_delete_has_no_other_row(self):
        self.db._tables["t"][b"a"] = b"wrong"
        with self.assertRaisesRegex(Error, "a delete cannot continue"):
            self.db.delete("t", b"a")

    def test_what_was_committed_is_told_and_cannot_be_changed(self):
        self.db.write("t", [(b"a", b"1"), (b"b", b"skip"), (b"c", b"3")])
        self.assertEqual(self.db.logs, [("info", "insert a insert c")])
        self.db.put("t", b"l", b"late")
        self.assertIn(("error", "Answers: after: this call only reads"), self.db.logs)

    def test_a_batch_has_one_result_for_each_change(self):
        class Few(Hooks):
            def before_batch(self, changes):
                return Batch([None])

        class All(Hooks):
            def before_batch(self, changes):
                return Skip()

        self.db.table("few")
        self.db.table("all")
        self.db.hooks(Few, "few")
        self.db.hooks(All, "all")
        with self.assertRaisesRegex(Error, "1 results about 2 changes"):
            self.db.write("few", [(b"a", b"1"), (b"b", b"2")])
        self.assertEqual(self.db.write("all", [(b"a", b"1"), (b"b", b"2")]), 0)

    def test_a_hook_cannot_change_a_key(self):
        class Moves(Hooks):
            def before_insert(self, change):
                return Continue({**change.new_row, "id": 9})

        self.db.table("places", PLACES)
        self.db.hooks(Moves, "places")
        with self.assertRaisesRegex(Error, "cannot change a row's key, which is id"):
            self.db.put("places", {"id": 1, "name": "Ulm"})


class Clerk(Procedures):
    def __init__(self):
        self.limit = config.get("limit")

    @procedure(args={"type": "array", "items": {"type": "integer"}, "maxItems": 9})
    def put_all(self, tx, args):
        """Writes places.

        Not part of the description.
        """
        places = tx.open("places")
        for number in args:
            if self.limit < number:
                raise Error.limit(f"{number} is too many")
            places.put_row({"id": number, "name": f"place {number}", "at": [number, 0]})
        return len(args)

    @procedure(read_only=True)
    def read(self, tx, args):
        places = tx.open("places")
        by_key = places.get_many([places.schema.encode_key({"id": number}) for number in (1, 9)])
        found = places.index("near").near([2.2, 0], 2, where=[where("id", ">", 1)])
        return {
            "one": places.row(1)["name"],
            "none": places.row(7),
            "many": [value is not None for value in by_key],
            "rows": [row["id"] for row in places.rows(start=[2], end=[4])],
            "last": [row for row in places.rows(columns=["name"], reverse=True, limit=1)],
            "some": [row["id"] for row in places.rows(where=[where("name", "in", ["place 1", "place 3"])])],
            "keys": len(list(places.scan(prefix=b"\x02"))),
            "near": [places.schema.key_values(each.key)[0] for each in found],
            "named": len(places.index("names").lookup("name", start="place 2", end="place 3")),
        }

    @procedure(read_only=True)
    def tries_to_write(self, tx, args):
        tx.open("places").delete_row(1)

    @procedure(name="delegate")
    def asks_another(self, tx, args):
        try:
            return tx.call("other", "put-all", args)
        except Error as error:
            return error.text

    @procedure()
    def codec(self, tx, args):
        codec = Codec("identity")
        return codec.decompress(codec.compress(b"abc"), 3)

    @procedure()
    def nothing_of_json(self, tx, args):
        return object()


class ProceduresTest(unittest.TestCase):
    def setUp(self):
        self.db = testing.Database({"limit": 5})
        self.db.table("places", PLACES)
        self.db.index("places", "near", "at")
        self.db.index("places", "names", "name")
        self.db.procedures(Clerk, "clerk")
        self.db.procedures(Clerk, "other")

    def call(self, name, args=None):
        return self.db.call("clerk", name, args)

    def test_descriptions(self):
        infos = Clerk().describe()
        self.assertEqual(
            [info.name for info in infos],
            ["delegate", "codec", "nothing-of-json", "put-all", "read", "tries-to-write"],
        )
        self.assertEqual(
            (infos[3].description, infos[3].read_only, infos[4].read_only), ("Writes places.", False, True)
        )

    def test_rows_are_written_and_read(self):
        self.assertEqual(self.call("put-all", [1, 2, 3, 4]), 4)
        self.assertEqual(
            self.call("read"),
            {
                "one": "place 1",
                "none": None,
                "many": [True, False],
                "rows": [2, 3],
                "last": [{"name": "place 4"}],
                "some": [1, 3],
                "keys": 4,
                "near": [2, 3],
                "named": 2,
            },
        )

    def test_what_a_call_wrote_goes_when_it_fails(self):
        with self.assertRaisesRegex(Error, "6 is too many"):
            self.call("put-all", [1, 6])
        self.assertEqual(self.db.rows("places"), [])
        self.assertEqual(self.call("delegate", [1, 6]), "6 is too many")
        self.assertEqual(self.db.rows("places"), [])
        self.assertEqual(self.call("delegate", [1]), 1)
        self.assertEqual(len(self.db.rows("places")), 1)

    def test_denials_are_errors(self):
        with self.assertRaises(Error) as refused:
            self.call("tries-to-write")
        self.assertEqual(refused.exception.code, ErrorCode.DENIED)
        self.db.deny_write("places")
        with self.assertRaisesRegex(Error, "was not granted"):
            self.call("put-all", [1])

    def test_arguments_and_answers_are_json(self):
        with self.assertRaisesRegex(Error, r"put-all: the argument\[1\] is no integer"):
            self.call("put-all", [1, "2"])
        with self.assertRaisesRegex(Error, "there is no procedure 'nobody'"):
            self.call("nobody")
        self.assertEqual(self.call("codec"), "616263")
        with self.assertRaisesRegex(Error, "object is nothing that JSON has"):
            self.call("nothing-of-json")


class SettingsTest(unittest.TestCase):
    @dataclasses.dataclass
    class Settings:
        level: int
        name: str

    def test_settings_are_read_into_a_dataclass(self):
        testing.Database({"level": 3, "name": "x"})
        self.assertEqual(config.read(self.Settings), self.Settings(3, "x"))

    def test_settings_of_another_type_are_refused(self):
        for settings, word in [
            ({"level": 3}, "no setting 'name'"),
            ({"level": 3.0, "name": "x"}, "'level' is declared as float, not as integer"),
            ({"level": True, "name": "x"}, "declared as boolean"),
        ]:
            testing.Database(settings)
            with self.assertRaisesRegex(Error, word):
                config.read(self.Settings)


class TelemetryTest(unittest.TestCase):
    def test_lines_beyond_the_bound_are_dropped(self):
        db = testing.Database()
        for _ in range(200):
            telemetry.warn("again")
        telemetry.warn("x" * 100_000)
        self.assertEqual(len(db.logs), 100)

    def test_counters_grow_and_gauges_are_set(self):
        db = testing.Database()
        for value in (2, 3):
            telemetry.count("seen_total", value, table="t")
            telemetry.gauge("size", value)
        self.assertEqual(db.metrics, {("seen_total", (("table", "t"),)): 5, ("size", ()): 3})
        with self.assertRaises(Error):
            telemetry.count("seen_total", -1)


class ModuleTest(unittest.TestCase):
    def test_a_module_has_one_plugin(self):
        class Module:
            __name__ = "m"

        module = Module()
        with self.assertRaisesRegex(TypeError, "has none"):
            plugin_of(module, "hooks")
        module.base = type("Base", (Hooks,), {"__module__": "m"})
        module.whole = type("Whole", (module.base,), {"__module__": "m"})
        module.imported = Answers
        self.assertIs(plugin_of(module, "hooks"), module.whole)
        module.second = type("Second", (Hooks,), {"__module__": "m"})
        with self.assertRaisesRegex(TypeError, "has (Whole, Second|Second, Whole)"):
            plugin_of(module, "hooks")


if __name__ == "__main__":
    unittest.main()
