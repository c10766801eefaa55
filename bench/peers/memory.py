"""Peak of resident memory above the weights' own size, whit with --memory low against ONNX Runtime.

Every measurement is a fresh process that opens the model and runs it three times. Of the peer,
what Python and its imports take before the model is opened is not counted; of whit, everything is. The weights'
size is the file's. Numbers are MiB, the medians of the rounds.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys


def resident(field):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {field}")


def peak(model, threads):
    import ort

    before = resident("VmRSS")
    session, feed = ort.load(model, threads)
    for _ in range(3):
        session.run(None, feed)
    print(resident("VmHWM") - before)


def main():
    if sys.argv[1:2] == ["--peak"]:
        return peak(sys.argv[2], int(sys.argv[3]))
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--whit", default="./whit")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--memory", default="low")
    ap.add_argument("models", nargs="+")
    a = ap.parse_args()
    print(f"{'model':28}{'weights':>9}{'ONNX Runtime':>14}{'whit':>8}{'ratio':>8}{'load ms':>9}{'first ms':>10}")
    for model in a.models:
        weights = os.path.getsize(model) / 2**20
        peer, ours, load, first = [], [], [], []
        for _ in range(a.rounds):
            out = subprocess.run([sys.executable, __file__, "--peak", model, str(a.threads)], check=True, capture_output=True, text=True).stdout
            peer.append(float(out) - weights)
            out = subprocess.run([a.whit, "bench", model, "--memory", a.memory, "--iters", "1", "--threads", str(a.threads), "--json"],
                                 check=True, capture_output=True, text=True).stdout
            j = json.loads(out)
            ours.append(j["peak_rss_bytes"] / 2**20 - weights)
            load.append(j["load_ms"])
            first.append(j["first_ms"])
        p, w, t, f = (statistics.median(x) for x in (peer, ours, load, first))
        print(f"{os.path.basename(model):28}{weights:9.1f}{p:14.1f}{w:8.1f}{w / p:8.2f}{t:9.1f}{f:10.1f}", flush=True)


if __name__ == "__main__":
    main()
