"""Blocks made smaller by another plugin. Which codecs, the manifest's `codecs` says."""

from sochdb_guest._contract import codecs
from sochdb_guest.errors import asked


class Codec:
    """A codec of the database, such as `lz4`."""

    def __init__(self, name: str) -> None:
        self._handle = asked(codecs.Codec.open, name)

    def compress(self, data: bytes) -> bytes:
        """Compresses at most 1 MiB. The answer may be longer."""
        return asked(self._handle.compress, data)

    def decompress(self, data: bytes, raw_bytes: int) -> bytes:
        """Restores exactly `raw_bytes` bytes, at most 1 MiB, from what `compress` made."""
        return asked(self._handle.decompress, data, raw_bytes)
