"""One peer of `bench vector`, as a process that takes turns.

The argument is a job, one object of JSON. The first line of output says who answers: `{"version": "0.8.0"}`, or
`{"missing": "..."}` when the peer cannot be imported. After that each line of input asks for one step, and one line
of output answers it, `{"error": "..."}` when it went wrong.

| step   | asks                               | answers                                                    |
|--------|------------------------------------|------------------------------------------------------------|
| build  | `threads`                          | `seconds`, `cpu_seconds`, `resident_bytes`, `file_bytes`   |
| batch  | `effort`, `threads`, `seconds_min` | `seconds` and `cpu_seconds` a pass over all queries, `ids` |
| single | `effort`                           | `micros` of each query, called one by one                  |
| open   | `effort`                           | `seconds` to the first answer, `resident_bytes`            |

A build replaces the index of the one before and saves it to the job's folder; `open` starts from that file, and is
asked of a process that did not build. Resident bytes are the growth of the process's anonymous memory.
"""

import gc
import json
import os
import sys
import time


class Hnswlib:
    """Inner product; a graph of f32 vectors."""

    def __init__(self, job):
        import hnswlib
        from importlib.metadata import version

        self.library, self.job, self.version = hnswlib, job, version("hnswlib")

    def build(self, base, threads):
        self.index = self.library.Index(space="ip", dim=base.shape[1])
        self.index.init_index(
            max_elements=len(base), ef_construction=self.job["ef_construction"], M=self.job["m"],
            random_seed=self.job["seed"],
        )
        self.index.add_items(base, num_threads=threads)

    def save(self, path):
        self.index.save_index(path)

    def load(self, path, dim):
        self.index = self.library.Index(space="ip", dim=dim)
        self.index.load_index(path)

    def prepare(self, effort, threads):
        self.index.set_ef(max(effort, self.job["k"]))
        self.threads = threads

    def search(self, queries):
        ids, _ = self.index.knn_query(queries, k=self.job["k"], num_threads=self.threads)
        return ids


class Usearch:
    """Cosine; the vectors are kept as the number type says."""

    def __init__(self, job, kept_as):
        import usearch
        import usearch.index

        self.library, self.job, self.kept_as = usearch.index, job, kept_as
        self.version = usearch.__version__

    def build(self, base, threads):
        import numpy

        self.index = self.library.Index(
            ndim=base.shape[1], metric="cos", dtype=self.kept_as, connectivity=self.job["m"],
            expansion_add=self.job["ef_construction"],
        )
        self.index.add(numpy.arange(len(base)), base, threads=threads)

    def save(self, path):
        self.index.save(path)

    def load(self, path, dim):
        self.index = self.library.Index.restore(path)

    def prepare(self, effort, threads):
        self.index.expansion_search = max(effort, self.job["k"])
        self.threads = threads

    def search(self, queries):
        keys = self.index.search(queries, self.job["k"], threads=self.threads).keys
        return keys.reshape(len(queries), -1)


class Faiss:
    """Inner product; `kind` is `flat`, `hnsw` or `hnsw-sq8`."""

    def __init__(self, job, kind):
        import faiss

        self.library, self.job, self.kind, self.version = faiss, job, kind, faiss.__version__

    def build(self, base, threads):
        faiss, m, metric = self.library, self.job["m"], self.library.METRIC_INNER_PRODUCT
        faiss.omp_set_num_threads(threads)
        if self.kind == "flat":
            self.index = faiss.IndexFlatIP(base.shape[1])
        elif self.kind == "hnsw":
            self.index = faiss.IndexHNSWFlat(base.shape[1], m, metric)
        else:
            self.index = faiss.IndexHNSWSQ(
                base.shape[1], faiss.ScalarQuantizer.QT_8bit, m, metric
            )
        if self.kind != "flat":
            self.index.hnsw.efConstruction = self.job["ef_construction"]
        if not self.index.is_trained:
            self.index.train(base)
        self.index.add(base)

    def save(self, path):
        self.library.write_index(self.index, path)

    def load(self, path, dim):
        self.index = self.library.read_index(path)

    def prepare(self, effort, threads):
        if self.kind != "flat":
            self.index.hnsw.efSearch = max(effort, self.job["k"])
        self.library.omp_set_num_threads(threads)

    def search(self, queries):
        _, ids = self.index.search(queries, self.job["k"])
        return ids


PEERS = {
    "hnswlib": Hnswlib,
    "usearch-f32": lambda job: Usearch(job, "f32"),
    "usearch-f16": lambda job: Usearch(job, "f16"),
    "usearch-i8": lambda job: Usearch(job, "i8"),
    "faiss-hnsw": lambda job: Faiss(job, "hnsw"),
    "faiss-hnsw-sq8": lambda job: Faiss(job, "hnsw-sq8"),
    "faiss-flat": lambda job: Faiss(job, "flat"),
}


def vectors(path):
    """A file of u32 count, u32 dim and count x dim f32, mapped, so that it is no memory of the peer's."""
    import numpy

    count, dim = (int(n) for n in numpy.fromfile(path, dtype="<u4", count=2))
    if os.path.getsize(path) != 8 + count * dim * 4:
        raise ValueError(f"{path}: not {count} vectors of {dim} values")
    return numpy.memmap(path, dtype="<f4", mode="r", offset=8, shape=(count, dim)).view(numpy.ndarray)


def anonymous_bytes():
    """Memory of this process that no file backs; 0 where the system does not tell."""
    gc.collect()
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Steps:
    """The steps of the table above."""

    def __init__(self, job, peer):
        import numpy

        self.job, self.peer = job, peer
        self.queries = numpy.array(vectors(job["queries"]))
        self.path = os.path.join(job["folder"], job["contender"] + ".index")

    def build(self, threads):
        base = vectors(self.job["base"])
        base.sum()  # Reads the file before the clock starts.
        self.peer.index = None
        before = anonymous_bytes()
        start, cpu = time.perf_counter(), time.process_time()
        self.peer.build(base, threads)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        resident = max(0, anonymous_bytes() - before)
        self.peer.save(self.path)
        file_bytes = os.path.getsize(self.path)
        return {
            "seconds": seconds, "cpu_seconds": cpu_seconds, "resident_bytes": resident,
            "file_bytes": file_bytes,
        }

    def batch(self, effort, threads, seconds_min):
        self.peer.prepare(effort, threads)
        ids = self.peer.search(self.queries)  # Warms up.
        passes, start, cpu = 0, time.perf_counter(), time.process_time()
        while passes == 0 or time.perf_counter() - start < seconds_min:
            self.peer.search(self.queries)
            passes += 1
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        return {
            "seconds": seconds / passes, "cpu_seconds": cpu_seconds / passes, "ids": ids.tolist()
        }

    def single(self, effort):
        self.peer.prepare(effort, 1)
        rows = [self.queries[i : i + 1] for i in range(len(self.queries))]
        micros = []
        for row in rows:
            start = time.perf_counter_ns()
            self.peer.search(row)
            micros.append((time.perf_counter_ns() - start) / 1e3)
        return {"micros": micros}

    def open(self, effort):
        before = anonymous_bytes()
        start = time.perf_counter()
        self.peer.load(self.path, self.queries.shape[1])
        self.peer.prepare(effort, 1)
        self.peer.search(self.queries[:1])
        seconds = time.perf_counter() - start
        self.peer.search(self.queries)
        return {"seconds": seconds, "resident_bytes": max(0, anonymous_bytes() - before)}


def main():
    job = json.loads(sys.argv[1])
    # A library that prints would break the protocol: whatever it says goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    say = lambda answer: print(json.dumps(answer), file=answers, flush=True)
    try:
        peer = PEERS[job["contender"]](job)
        steps = Steps(job, peer)
    except ImportError as error:
        return say({"missing": str(error)})
    say({"version": peer.version})
    known = {"build": steps.build, "batch": steps.batch, "single": steps.single, "open": steps.open}
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            say(known[asked.pop("step")](**asked))
        except Exception as error:  # The parent reports it and ends the run.
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
