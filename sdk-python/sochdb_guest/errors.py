"""An error as a value: what the caller can do, and a sentence for people."""

import enum
from collections.abc import Callable
from typing import Any

from sochdb_guest._contract import Err, types


class ErrorCode(enum.IntEnum):
    """What the caller can do about an error. The numbers are those of the contract, and never change."""

    #: The callee broke; the caller did nothing wrong. Also every code that this SDK does not know.
    INTERNAL = 0
    #: The plugin was not granted this.
    DENIED = 1
    #: The named thing does not exist.
    NOT_FOUND = 2
    #: The call or its input makes no sense.
    INVALID = 3
    #: A bound was met; ask for less.
    LIMIT = 4
    #: Somebody else was first; run the transaction again.
    CONFLICT = 5
    #: Stored bytes are not what was written.
    CORRUPT = 6

    @classmethod
    def _missing_(cls, value: object) -> "ErrorCode":
        return cls.INTERNAL


class Error(Exception):
    """What a plugin raises to answer an error, and what the host's errors are raised as.

    `text` is one sentence for people: what happened to which thing, and the way out.
    """

    def __init__(self, code: ErrorCode, text: str, *, retryable: bool = False) -> None:
        super().__init__(text)
        self.code = ErrorCode(code)
        self.text = text
        self.retryable = retryable

    @classmethod
    def invalid(cls, text: str) -> "Error":
        """The call or its input makes no sense."""
        return cls(ErrorCode.INVALID, text)

    @classmethod
    def not_found(cls, text: str) -> "Error":
        """The named thing does not exist."""
        return cls(ErrorCode.NOT_FOUND, text)

    @classmethod
    def limit(cls, text: str) -> "Error":
        """A bound was met."""
        return cls(ErrorCode.LIMIT, text)

    @classmethod
    def corrupt(cls, text: str) -> "Error":
        """Stored bytes are not what was written."""
        return cls(ErrorCode.CORRUPT, text)

    @classmethod
    def internal(cls, text: str) -> "Error":
        """The plugin broke."""
        return cls(ErrorCode.INTERNAL, text)


def asked(function: Callable[..., Any], *args: Any) -> Any:
    """What the host answers; its errors are raised as `Error`."""
    try:
        return function(*args)
    except Err as refused:
        error = refused.value
    raise Error(ErrorCode(error.code), error.text, retryable=error.retryable)


def as_answer(error: Error) -> Err:
    """The error as the contract has it."""
    return Err(types.Error(int(error.code), error.retryable, error.text))
