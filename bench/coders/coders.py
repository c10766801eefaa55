"""Bytes and speeds of coders of quantised weights on the integer arrays of .npz files.

whit codes by its command line, one thread; its bytes are those of the whole file, and
beside them the payload alone. The others' are payload alone: no names, shapes, types.

  paper    gaps of w bits and symbols, each under a Huffman code of its own (Han, Mao,
           Dally: Deep Compression, 2016); the best w for each array; no tables counted
  zstd     level 19, the bytes of all arrays
  xz       preset 9, likewise
  NNCodec  ISO/IEC 15938-17, default options (--best: the smallest of 36)

Speeds are millions of weights a second, the fastest of some rounds. whit's are without
what it takes to start and to code an empty file, but with the .npz read and written,
and of the arrays many times over where they are small.
"""
import argparse
import collections
import glob
import heapq
import json
import lzma
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import zstandard


def huffman_bits(symbols):
    """Bits of a Huffman code for the symbols, without its table."""
    heap = list(collections.Counter(symbols).values())
    if len(heap) == 1:
        return heap[0]
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        n = heapq.heappop(heap) + heapq.heappop(heap)
        bits += n
        heapq.heappush(heap, n)
    return bits


def paper(arrays):
    total = 0
    for a in arrays:
        flat = a.ravel()
        at = np.flatnonzero(flat)
        if len(at) == 0:
            continue
        gaps = np.diff(at, prepend=-1) - 1
        values = flat[at].tolist()
        best = math.inf
        for w in range(1, 17):
            full = 1 << w  # a gap of 2^w - 1 and a zero stand for 2^w zeros
            fillers = gaps // full
            g = (gaps % full).tolist() + [full - 1] * int(fillers.sum())
            best = min(best, huffman_bits(g) + huffman_bits(values + [0] * int(fillers.sum())))
        total += best
    return (total + 7) // 8


def fastest(rounds, f):
    best, out = math.inf, None
    for _ in range(rounds):
        t = time.perf_counter()
        out = f()
        best = min(best, time.perf_counter() - t)
    return best, out


class Whit:
    def __init__(self, binary, folder, rounds):
        self.binary, self.folder, self.rounds = binary, folder, rounds
        empty = os.path.join(folder, "empty.npz")
        np.savez(empty, x=np.zeros(1, np.int8))
        self.start = {}
        for level in ("small", "fast"):
            self.start[level] = self.times(empty, level)[:2]

    def times(self, npz, level):
        code, back = os.path.join(self.folder, "code.bin"), os.path.join(self.folder, "back.npz")
        run = lambda *a: subprocess.run([self.binary, *a], check=True, capture_output=True, text=True).stdout
        enc, out = fastest(self.rounds, lambda: run("encode", npz, code, "--level", level, "--threads", "1", "--json"))
        dec, _ = fastest(self.rounds, lambda: run("decode", code, back, "--threads", "1"))
        return enc, dec, json.loads(out), back

    def code(self, npz, arrays, level):
        _, _, out, back = self.times(npz, level)
        # For the speed, the arrays many times over.
        times = max(1, (8_000_000 if level == "fast" else 1_000_000) // sum(a.size for a in arrays.values()))
        many = os.path.join(self.folder, "many.npz")
        np.savez(many, **{f"{k}.{i}": a for i in range(times) for k, a in arrays.items()})
        enc, dec, _, _ = self.times(many, level)
        self.times(npz, level)  # back is compared below
        z = np.load(back)
        for k, a in arrays.items():
            if not (z[k].dtype == a.dtype and np.array_equal(z[k], a)):
                raise SystemExit(f"whit changes {k} of {npz}")
        least = 1e-4
        return {"bytes": out["bytes"], "payload": sum(a["bytes"] for a in out["arrays"]),
                "enc": max(least, enc - self.start[level][0]) / times, "dec": max(least, dec - self.start[level][1]) / times}


def general(name, blob, rounds):
    if name == "zstd":
        enc, code = fastest(rounds, lambda: zstandard.ZstdCompressor(level=19).compress(blob))
        dec, back = fastest(rounds, lambda: zstandard.ZstdDecompressor().decompress(code))
    else:
        enc, code = fastest(rounds, lambda: lzma.compress(blob, preset=9))
        dec, back = fastest(rounds, lambda: lzma.decompress(code))
    assert back == blob
    return {"bytes": len(code), "enc": enc, "dec": dec}


def nncodec():
    """The codec core of NNCodec, without its bindings to frameworks."""
    import types

    f = types.ModuleType("nncodec.framework")
    f.__path__ = []
    sys.modules["nncodec.framework"] = f
    for n in ("tensorflow_model", "pytorch_model", "use_case_init"):
        m = types.ModuleType("nncodec.framework." + n)
        m.is_tef_model = m.is_pyt_model = lambda *a: False
        setattr(f, n, m)
        sys.modules[m.__name__] = m
    from nncodec.nnc import compression

    return compression


def nncodec_code(c, arrays, rounds, best):
    import itertools

    q = {k: np.ascontiguousarray(a, np.int32) for k, a in arrays.items()}
    opt = dict(return_bitstream=True, bitstream_path=None)
    enc, code = fastest(rounds, lambda: c.compress(q, **opt))
    dec, back = fastest(rounds, lambda: c.decompress(code))
    for k, a in q.items():
        assert np.array_equal(back[k].reshape(a.shape), a)
    size = len(code)
    if best:
        for scan, skip, tune, unary in itertools.product((0, 1, 4), (False, True), (True, False), (10, 3, 1)):
            try:
                size = min(size, len(c.compress(q, **opt, scan_order=scan, row_skipping=skip, param_opt=tune, cabac_unary_length_minus1=unary)))
            except Exception:  # not every combination suits every tensor
                pass
    return {"bytes": size, "enc": enc, "dec": dec}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--whit", default="./whit")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--nncodec", action="store_true")
    ap.add_argument("--best", action="store_true", help="NNCodec at the best of its settings")
    ap.add_argument("--json")
    ap.add_argument("files", nargs="+", help=".npz files, or folders of them")
    a = ap.parse_args()
    files = [f for x in a.files for f in (sorted(glob.glob(os.path.join(x, "*.npz"))) if os.path.isdir(x) else [x])]
    if not files:
        raise SystemExit("no .npz file")
    nnc = nncodec() if a.nncodec else None
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        whit = Whit(a.whit, folder, a.rounds)
        for path in files:
            z = np.load(path)
            arrays = {k: z[k] for k in z.files if z[k].dtype.kind in "iu"}
            npz = os.path.join(folder, "in.npz")
            np.savez(npz, **arrays)
            blob = b"".join(np.ascontiguousarray(x).tobytes() for x in arrays.values())
            row = {"file": os.path.basename(path), "weights": sum(x.size for x in arrays.values()),
                   "nonzero": int(sum(np.count_nonzero(x) for x in arrays.values())),
                   "small": whit.code(npz, arrays, "small"), "fast": whit.code(npz, arrays, "fast"),
                   "paper": {"bytes": paper(list(arrays.values()))},
                   "zstd": general("zstd", blob, a.rounds), "xz": general("xz", blob, a.rounds)}
            if nnc:
                row["NNCodec"] = nncodec_code(nnc, arrays, a.rounds, a.best)
            rows.append(row)
            print(f"{path} done", file=sys.stderr, flush=True)
    peers = ["paper", "zstd", "xz"] + (["NNCodec"] if nnc else [])
    coders = ["small", "fast", *peers]
    width = max(len(r["file"]) for r in rows) + 2
    print(f"bytes{'':<{width - 5}}{'weights':>9}{'not zero':>9}{'whit small':>11}{'(payload)':>10}{'whit fast':>10}" + "".join(f"{p:>9}" for p in peers))
    for r in rows:
        print(f"{r['file']:<{width}}{r['weights']:>9}{r['nonzero']:>9}{r['small']['bytes']:>11}{r['small']['payload']:>10}{r['fast']['bytes']:>10}" +
              "".join(f"{r[p]['bytes']:>9}" for p in peers))
    for ours in ("small", "fast"):
        print(f"\na peer's bytes over those of whit {ours} (file), geometric mean of {len(rows)}, least")
        for p in peers:
            q = [r[p]["bytes"] / r[ours]["bytes"] for r in rows]
            print(f"  {p:<9}{statistics.geometric_mean(q):>7.3f}{min(q):>8.3f}")
    print("\nmillions of weights a second, geometric means    encoding  decoding")
    for c in coders:
        if "enc" in rows[0][c]:
            e, d = (statistics.geometric_mean(r["weights"] / r[c][k] / 1e6 for r in rows) for k in ("enc", "dec"))
            print(f"  {('whit ' if c in ('small', 'fast') else '') + c:<46}{e:>9.2f}{d:>10.2f}")
    if a.json:
        with open(a.json, "w") as fp:
            json.dump(rows, fp, indent=1)


if __name__ == "__main__":
    main()
