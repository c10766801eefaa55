"""Latency of whit, ONNX Runtime and OpenVINO on the same models, interleaved.

Every engine gets a process of its own that loads the model once and then answers
"run N" with N timed inferences; rounds go over the engines in turn, so that all of
them see the same noise. whit is started anew in every round by its command line.
The table gives medians in milliseconds and the ratio of the better peer to whit.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time


def serve(engine, model, threads):
    if engine == "onnxruntime":
        import ort

        session, feed = ort.load(model, threads)
        infer = lambda: session.run(None, feed)
    else:
        import numpy as np
        import openvino as ov

        core = ov.Core()
        net = core.read_model(model)
        shape = [d.get_length() if d.is_static else 1 for d in net.input(0).partial_shape]
        net.reshape(shape)
        compiled = core.compile_model(net, "CPU", {
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})
        request = compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32)))
        infer = request.infer
    infer()
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            t = time.perf_counter()
            infer()
            times.append((time.perf_counter() - t) * 1e3)
        print(json.dumps(times), flush=True)


class Peer:
    def __init__(self, engine, model, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.p = subprocess.Popen([sys.executable, __file__, "--serve", engine, model, str(threads)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        if self.p.stdout.readline().strip() != "ready":
            raise SystemExit(f"{engine} cannot run {model}")

    def run(self, n):
        self.p.stdin.write(f"{n}\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def close(self):
        self.p.stdin.close()
        self.p.wait(10)


def main():
    if sys.argv[1:2] == ["--serve"]:
        return serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--whit", default="./whit")
    ap.add_argument("--threads", default="1,2")
    ap.add_argument("--rounds", type=int, default=7)
    ap.add_argument("--seconds", type=float, default=0.25, help="length of one burst")
    ap.add_argument("--json")
    ap.add_argument("--svg", help="plot of the ratios")
    ap.add_argument("models", nargs="+", help="an .onnx for all engines; NAME.whit is timed beside NAME.onnx by whit alone")
    a = ap.parse_args()
    rows = []
    for model in a.models:
        for threads in map(int, a.threads.split(",")):
            peers = {} if model.endswith(".whit") else {e: Peer(e, model, threads) for e in ("onnxruntime", "openvino")}
            times = {e: [] for e in [*peers, "whit"]}
            burst = 3
            for _ in range(a.rounds):
                for e, p in peers.items():
                    t = p.run(burst)
                    times[e].append(statistics.median(t))
                    burst = max(3, min(5000, int(a.seconds * 1e3 / max(1e-3, statistics.median(t)))))
                out = subprocess.run([a.whit, "bench", model, "--threads", str(threads), "--iters", str(burst), "--plain"],
                                     capture_output=True, text=True, check=True).stdout
                times["whit"].append(float(out))
            for p in peers.values():
                p.close()
            row = {"model": "/".join(model.split(os.sep)[-2:]), "threads": threads, **{e: statistics.median(t) for e, t in times.items()}}
            if peers:
                row["ratio"] = min(row[e] for e in peers) / row["whit"]
            rows.append(row)
    print(f"{'model':<40}{'threads':>8}{'ONNX Runtime':>14}{'OpenVINO':>10}{'whit':>10}{'ratio':>8}")
    for r in rows:
        f = lambda k: f"{r[k]:.4f}" if k in r else "-"
        print(f"{r['model']:<40}{r['threads']:>8}{f('onnxruntime'):>14}{f('openvino'):>10}{f('whit'):>10}{r.get('ratio', float('nan')):>8.2f}")
    for kind in ("float32", "int8"):
        for threads in map(int, a.threads.split(",")):
            ratios = [r["ratio"] for r in rows if "ratio" in r and r["threads"] == threads and (".int8." in r["model"]) == (kind == "int8")]
            if len(ratios) > 1:
                print(f"{kind}, {threads} threads: geometric mean of {len(ratios)} ratios {statistics.geometric_mean(ratios):.2f}, least {min(ratios):.2f}")
    if a.json:
        with open(a.json, "w") as fp:
            json.dump(rows, fp, indent=1)
    if a.svg:
        with open(a.svg, "w") as fp:
            fp.write(plot([r for r in rows if "ratio" in r]))


def plot(rows):
    """Bars of the better peer's time over whit's, with a line at 1."""
    height, left, scale = 22, 260, 150
    wide = left + scale * max(2.0, *(r["ratio"] for r in rows)) + 60
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{height * (len(rows) + 2)}" font-family="sans-serif" font-size="12">',
           "<style>text{fill:#333}rect{fill:#2a7f9e}line{stroke:#b33}"
           "@media (prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#5bb3d0}line{stroke:#e66}}</style>",
           f'<text x="4" y="16">time of the better of ONNX Runtime and OpenVINO over whit\'s (longer is faster)</text>']
    for i, r in enumerate(rows):
        y = height * (i + 1)
        name = os.path.splitext(os.path.basename(r["model"]))[0]
        out.append(f'<text x="4" y="{y + 15}">{name}, {r["threads"]} thread{"s" if r["threads"] > 1 else ""}</text>'
                   f'<rect x="{left}" y="{y + 3}" width="{scale * r["ratio"]:.1f}" height="{height - 6}"/>'
                   f'<text x="{left + scale * r["ratio"] + 6:.1f}" y="{y + 15}">{r["ratio"]:.2f}</text>')
    out.append(f'<line x1="{left + scale}" x2="{left + scale}" y1="{height}" y2="{height * (len(rows) + 1)}"/></svg>')
    return "\n".join(out)


if __name__ == "__main__":
    main()
