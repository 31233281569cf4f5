"""Log lines and metrics of a plugin.

What one call may say is bounded; a line or a metric beyond the bound is dropped.
"""

from sochdb_guest._contract import Err, telemetry, types
from sochdb_guest.errors import asked

#: Characters of one line: what the host takes, if each of them has four bytes.
_LINE_CHARS_MAX = 1024


def log(level: str, message: str) -> None:
    """Writes a line to the database's log. `level` is `trace`, `debug`, `info`, `warn` or `error`."""
    try:
        telemetry.log_message(types.LogLevel[level.upper()], message[:_LINE_CHARS_MAX])
    except Err:
        pass


def debug(message: str) -> None:
    """Writes a line for those who look for a mistake."""
    log("debug", message)


def info(message: str) -> None:
    """Writes a line for those who want to know what happens."""
    log("info", message)


def warn(message: str) -> None:
    """Writes a line about something that should not be."""
    log("warn", message)


def error(message: str) -> None:
    """Writes a line about something that failed."""
    log("error", message)


def count(name: str, step: float = 1, **labels: str) -> None:
    """Adds `step` to the counter `name`: `count("orders_total", table="orders")`.

    Raises an `Error` for a bad name or label, a negative step, or a gauge of this name.
    """
    _emit(telemetry.MetricKind.COUNTER, name, labels, step)


def gauge(name: str, value: float, **labels: str) -> None:
    """Sets the gauge `name` to `value`. Raises as `count`."""
    _emit(telemetry.MetricKind.GAUGE, name, labels, value)


def _emit(kind: telemetry.MetricKind, name: str, labels: dict[str, str], value: float) -> None:
    pairs = [types.Label(label, str(text)) for label, text in labels.items()]
    asked(telemetry.emit_metric, kind, name, pairs, float(value))
