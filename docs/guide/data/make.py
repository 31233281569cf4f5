#!/usr/bin/env python3
"""Cuts `words.csv` out of the demo's data set, and checks it with `--check`.

Synsets of food and animals with their definitions. The 384 values of each sentence embedding become 8: its
coordinates along the 8 directions in which these rows differ most (principal components, by orthogonal iteration).
Nothing here is random, so that it comes out the same everywhere.
"""

import json
import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE / "../../../data"
KINDS = {"noun.food": "food", "noun.animal": "animal"}
DIM = 8
ROUNDS = 40


def rows():
    lines = (DATA / "wordnet-4k.base.jsonl").read_text().splitlines()
    raw = (DATA / "wordnet-4k.base.f16bin").read_bytes()
    dim = struct.unpack_from("<I", raw, 16)[0]
    for number, line in enumerate(lines):
        row = json.loads(line)
        if row["lex"] in KINDS:
            yield row, struct.unpack_from(f"<{dim}e", raw, 24 + number * dim * 2)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def coordinates(vectors):
    """Of each vector, its coordinates along the principal components of all."""
    mean = [sum(column) / len(vectors) for column in zip(*vectors)]
    vectors = [[x - m for x, m in zip(v, mean)] for v in vectors]
    gram = [[dot(a, b) for b in vectors] for a in vectors]
    # Begins with rows of a fixed pattern; orthogonal iteration turns them into the greatest eigenvectors.
    basis = [[float((i * (k + 3)) % 7 - 3) for i in range(len(gram))] for k in range(DIM)]
    for _ in range(ROUNDS):
        basis = orthonormal([[dot(line, b) for line in gram] for b in basis])
    scales = [dot(b, [dot(line, b) for line in gram]) ** 0.5 for b in basis]
    return [[b[i] * s for b, s in zip(basis, scales)] for i in range(len(gram))]


def orthonormal(basis):
    done = []
    for vector in basis:
        for other in done:
            along = dot(vector, other)
            vector = [x - along * y for x, y in zip(vector, other)]
        length = dot(vector, vector) ** 0.5
        done.append([x / length for x in vector])
    return done


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def csv():
    table = sorted(rows(), key=lambda pair: pair[0]["synset"])
    lines = ["id,kind,word,definition,meaning"]
    for (row, _), place in zip(table, coordinates([vector for _, vector in table])):
        word, definition = row["text"].split(": ", 1)
        meaning = "[" + ",".join(f"{x + 0:.3f}" for x in place) + "]"
        fields = [row["synset"], KINDS[row["lex"]], quoted(word), quoted(definition), quoted(meaning)]
        lines.append(",".join(fields))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    file = HERE / "words.csv"
    text = csv()
    if "--check" in sys.argv:
        if file.read_text() != text:
            sys.exit("words.csv is not what this makes")
    else:
        file.write_text(text)
