"""Time from opening a model to the end of its first inference, whit against ONNX Runtime.

Every measurement is a fresh process, the two in turn, with the file in the page cache;
the peer's imports are not counted. whit says its own: bench --json, load_ms + first_ms.
Models are of floats or quantised; --ours DIR has whit read DIR/NAME.whit instead of NAME.onnx.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time


def first(model, threads):
    import ort

    t = time.perf_counter()
    session, feed = ort.load(model, threads)
    session.run(None, feed)
    print((time.perf_counter() - t) * 1e3)


def main():
    if sys.argv[1:2] == ["--first"]:
        return first(sys.argv[2], int(sys.argv[3]))
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--whit", default="./whit")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--ours")
    ap.add_argument("models", nargs="+")
    a = ap.parse_args()
    print(f"{'model':28}{'ONNX Runtime':>14}{'whit':>10}{'ratio':>8}{'load':>9}{'first':>9}")
    for model in a.models:
        own = model
        if a.ours:
            own = os.path.join(a.ours, os.path.splitext(os.path.basename(model))[0] + ".whit")
        for file in {model, own}:
            with open(file, "rb") as f:
                f.read()
        peer, ours, parts = [], [], []
        for _ in range(a.rounds):
            out = subprocess.run([sys.executable, __file__, "--first", model, str(a.threads)], check=True, capture_output=True, text=True).stdout
            peer.append(float(out))
            out = subprocess.run([a.whit, "bench", own, "--iters", "1", "--threads", str(a.threads), "--json"], check=True, capture_output=True, text=True).stdout
            j = json.loads(out)
            ours.append(j["load_ms"] + j["first_ms"])
            parts.append((j["load_ms"], j["first_ms"]))
        p, w = statistics.median(peer), statistics.median(ours)
        load, run = (statistics.median(x) for x in zip(*parts))
        print(f"{os.path.basename(own):28}{p:14.1f}{w:10.1f}{p / w:8.2f}{load:9.1f}{run:9.1f}", flush=True)


if __name__ == "__main__":
    main()
