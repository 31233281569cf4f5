"""The shapes for tests are those that componentize-py generates; looked at where it is installed."""

import dataclasses
import enum
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

from sochdb_guest import __main__ as builder
from sochdb_guest import _shapes

WIT = Path(__file__).parents[2] / "wit" / builder.CONTRACT_VERSION


@unittest.skipUnless(importlib.util.find_spec("componentize_py"), "componentize-py is not installed")
class ContractTest(unittest.TestCase):
    def test_shapes_are_those_of_the_contract(self):
        with tempfile.TemporaryDirectory() as folder:
            for kind, world in builder._WORLDS.items():
                command = [sys.executable, "-c", builder._COMPONENTIZE, "-d", str(WIT), "-w", world]
                command += ["--world-module", f"wit_{kind}", "bindings", f"{folder}/{kind}"]
                subprocess.run(command, check=True, capture_output=True)
                sys.path.insert(0, f"{folder}/{kind}")
                for interface in ("types", "rows", "config", "telemetry", "search"):
                    generated = importlib.import_module(f"wit_{kind}.imports.{interface}")
                    self.compare(getattr(_shapes, interface), generated)
                self.compare(getattr(_shapes, kind), importlib.import_module(f"wit_{kind}.exports.{kind}"))

    def compare(self, ours: SimpleNamespace, generated):
        for name, shape in vars(ours).items():
            theirs = getattr(generated, name)
            if dataclasses.is_dataclass(shape):
                fields = [[field.name for field in dataclasses.fields(each)] for each in (shape, theirs)]
                self.assertEqual(*fields, name)
            elif isinstance(shape, type) and issubclass(shape, enum.Enum):
                members = [[(each.name, each.value) for each in kind] for kind in (shape, theirs)]
                self.assertEqual(*members, name)
            else:
                self.assertTrue(callable(theirs), name)


if __name__ == "__main__":
    unittest.main()
