"""What the command says where no component can be made."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from sochdb_guest import __main__ as builder


class BuildTest(unittest.TestCase):
    def failed(self, *args):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(builder.main(["build", *args]), 1)
        return said.getvalue()

    def test_refusals_name_the_way_out(self):
        with tempfile.TemporaryDirectory() as folder:
            module = Path(folder) / "app.py"
            self.assertIn("is no Python module", self.failed("hooks", str(module)))
            module.write_text("")
            other = Path(folder) / "my-app.py"
            other.write_text("")
            self.assertIn("rename", self.failed("hooks", str(other)))
            with mock.patch("importlib.util.find_spec", return_value=None):
                self.assertIn("pip install componentize-py", self.failed("hooks", str(module)))
            with mock.patch("importlib.util.find_spec", return_value=object()):
                self.assertIn("--wit", self.failed("hooks", str(module), "--wit", folder))

    def test_only_two_kinds_are_in_python(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            builder.main(["build", "codec", "app.py"])

    def test_only_the_contract_is_exported(self):
        header, custom = b"\0asm\x0d\0\x01\0", b"\0" + bytes([0x83, 0x01]) + b"\x01a" + bytes(129)
        own = b"\x0b\x0d\x01\0\x07exports\x05\x02\0"
        other = b"\x0b\x08\x01\0\x02ab\x05\x03\0"
        self.assertEqual(
            builder.only_the_contract(header + custom + own + other), header + custom + b"\x05\x03\x01\x01\0" + other
        )
        self.assertEqual(builder.only_the_contract(header + other), header + other)


if __name__ == "__main__":
    unittest.main()
