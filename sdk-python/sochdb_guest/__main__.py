"""The command `python -m sochdb_guest`: makes a component of a plugin's module.

    python -m sochdb_guest build hooks app.py --out app.wasm

It calls componentize-py, which has to be installed in the same Python: `pip install componentize-py==0.25.1`. The
contract's WIT is looked for in `wit/` of the module's folder, beside this package, and where `--wit` says.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

#: The version of componentize-py that this was tested with.
COMPONENTIZE_PY = "0.25.1"
CONTRACT_VERSION = "0.1.0"

_WORLDS = {"hooks": "hooks-plugin", "procedure": "procedure-plugin"}
_GLUE = {"hooks": "Hooks", "procedure": "Procedure"}
_ENTRY = "sochdb_plugin_entry"
#: The command of componentize-py, wherever its script was put.
_COMPONENTIZE = "import componentize_py, sys; sys.exit(componentize_py.script())"

# Sections of a component, and what is looked for and put into them: one export with the plain name `exports` that is
# an instance; one instance of no exports.
_INSTANCES = 5
_EXPORTS = 11
_OWN_EXPORT = b"\x01\x00\x07exports\x05"
_EMPTY_INSTANCE = b"\x01\x01\x00"


def main(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sochdb_guest", description="Plugins of SochDB in Python.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make a component of a plugin's module")
    build.add_argument("kind", choices=sorted(_WORLDS), help="the plugin's kind, as its manifest says")
    build.add_argument("module", type=Path, help="the module, such as app.py")
    build.add_argument("--out", type=Path, help="the component; by default beside the module, with .wasm")
    build.add_argument("--wit", type=Path, help="the folder with the contract's WIT")
    given = parser.parse_args(args)
    try:
        out = given.out or given.module.with_suffix(".wasm")
        make(given.kind, given.module, out, given.wit)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    print(f"built {out}, {out.stat().st_size:,} bytes")
    return 0


class Failure(Exception):
    """Why no component was made, and the way out."""


def make(kind: str, module: Path, out: Path, wit: "Path | None" = None) -> None:
    """Makes the component `out` of a plugin's module."""
    if not module.is_file() or module.suffix != ".py":
        raise Failure(f"{module} is no Python module; name the file with the plugin's class, such as app.py")
    if not module.stem.isidentifier():
        raise Failure(f"'{module.stem}' is no name of a module; rename {module} to letters, digits and '_'")
    if importlib.util.find_spec("componentize_py") is None:
        raise Failure(
            f"componentize-py is not installed in {sys.executable}; "
            f"run: {sys.executable} -m pip install componentize-py=={COMPONENTIZE_PY}"
        )
    package = Path(__file__).resolve().parent
    wit = _wit(module, package, wit)
    with tempfile.TemporaryDirectory() as folder:
        entry = Path(folder) / f"{_ENTRY}.py"
        entry.write_text(
            "from sochdb_guest._glue import glue, plugin_of\n"
            f"import {module.stem} as _module\n\n"
            f"Lifecycle, {_GLUE[kind]} = glue(plugin_of(_module, {kind!r}))\n"
        )
        made = Path(folder) / "plugin.wasm"
        command = [sys.executable, "-c", _COMPONENTIZE, "--quiet", "-d", str(wit), "-w", _WORLDS[kind]]
        command += ["componentize", _ENTRY, "-o", str(made)]
        for path in (folder, module.resolve().parent, package.parent, *_site_packages(module)):
            command += ["-p", str(path)]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode != 0 or not made.is_file():
            raise Failure(f"componentize-py made no component of {module}:\n{ended.stderr or ended.stdout}")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(only_the_contract(made.read_bytes()))


def only_the_contract(component: bytes) -> bytes:
    """The component without the export `exports`, which componentize-py adds for the time of building.

    A plugin exports what its manifest says and nothing else. Exports are counted together with instances, so an
    empty instance takes the place of this one.
    """
    made, at = bytearray(component[:8]), 8
    while at < len(component):
        kind = component[at]
        size, start = _number(component, at + 1)
        payload = component[start : start + size]
        if kind == _EXPORTS and payload.startswith(_OWN_EXPORT):
            made += bytes([_INSTANCES, len(_EMPTY_INSTANCE)]) + _EMPTY_INSTANCE
        else:
            made += component[at : start + size]
        at = start + size
    return bytes(made)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number as WebAssembly writes it, and where it ends."""
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return number, at


def _wit(module: Path, package: Path, wit: "Path | None") -> Path:
    beside = [module.resolve().parent / "wit", package / "wit", package.parent / "wit", package.parent.parent / "wit"]
    for folder in [wit] if wit else beside:
        for candidate in (folder / CONTRACT_VERSION, folder):
            if (candidate / "worlds.wit").is_file():
                return candidate
    looked = ", ".join(map(str, [wit] if wit else beside))
    raise Failure(f"there is no WIT of sochdb:plugin {CONTRACT_VERSION} in {looked}; say where it is with --wit")


def _site_packages(module: Path) -> "list[Path]":
    """Pure Python packages that the plugin brings along: `vendor/` beside its module."""
    vendor = module.resolve().parent / "vendor"
    return [vendor] if vendor.is_dir() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
