#!/usr/bin/env python3
"""Cuts the demo's data set out of the full set `wordnet-20k-384`. Plain Python 3, no packages.

    python3 make_demo_set.py FOLDER_OF_THE_FULL_SET     # writes beside this script
    python3 make_demo_set.py --check                    # only reads and checks what is here

The full set's formats, and ours, are in README.md beside this file. The result depends on the input
alone, byte for byte: texts are copied, vectors are rounded from f32 to f16 (ties to even).
"""
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FULL = "wordnet-20k-384"
OURS = "wordnet-4k"
MAGIC = b"SOCHF16\n"
VERSION = 1
# (name, first row, rows): the queries are the last 50 glosses and the first 50 example sentences.
PARTS = (("base", 0, 4000), ("query", 200, 100))


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc32c_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283, "the check value of CRC-32C"


def pack(count, dim, rows):
    head = MAGIC + struct.pack("<III", VERSION, count, dim)
    return head + struct.pack("<I", crc32c(rows, crc32c(head))) + rows


def cut(source, name, first, count):
    with open(f"{source}/{FULL}.{name}.f32bin", "rb") as f:
        total, dim = struct.unpack("<II", f.read(8))
        assert first + count <= total, f"{name}: rows {first}+{count} of {total}"
        f.seek(8 + first * dim * 4)
        floats = struct.unpack(f"<{count * dim}f", f.read(count * dim * 4))
    with open(f"{HERE}/{OURS}.{name}.f16bin", "wb") as f:
        f.write(pack(count, dim, struct.pack(f"<{count * dim}e", *floats)))
    with open(f"{source}/{FULL}.{name}.jsonl", encoding="utf-8") as f:
        lines = f.readlines()[first : first + count]
    with open(f"{HERE}/{OURS}.{name}.jsonl", "w", encoding="utf-8") as f:
        f.writelines(lines)


def check(name, first, count):
    with open(f"{HERE}/{OURS}.{name}.f16bin", "rb") as f:
        data = f.read()
    version, rows, dim, crc = struct.unpack("<IIII", data[8:24])
    assert data[:8] == MAGIC and version == VERSION, f"{name}: magic and version"
    assert rows == count and len(data) == 24 + rows * dim * 2, f"{name}: length"
    assert crc == crc32c(data[24:], crc32c(data[:20])), f"{name}: checksum"
    for row in range(rows):
        vector = struct.unpack_from(f"<{dim}e", data, 24 + row * dim * 2)
        norm = sum(x * x for x in vector) ** 0.5
        assert abs(norm - 1) < 1e-3, f"{name}: row {row} has the length {norm}"
    with open(f"{HERE}/{OURS}.{name}.jsonl", encoding="utf-8") as f:
        ids = [json.loads(line)["id"] for line in f]
    assert ids == list(range(first, first + count)), f"{name}: ids"
    print(f"{OURS}.{name}: {rows} rows of {dim} values, {len(data)} bytes, crc32c {crc:#010x}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, first, count in PARTS:
        if sys.argv[1] != "--check":
            cut(sys.argv[1], name, first, count)
        check(name, first, count)


if __name__ == "__main__":
    main()
