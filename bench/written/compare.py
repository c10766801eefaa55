"""Compares what whit made of the ONNX files that bench/written wrote with what ONNX Runtime makes of them.

    python compare.py DIR

Each file is checked, loaded and run twice: node by node as it is written (no optimisations), and as ONNX Runtime
runs it by default. A row is the largest difference, as a share of the largest output, and the cosine. Outputs count as
equal within 1e-4 for floats. Integers are quantised: as it is written, ONNX Runtime rounds float sums where whit has
exact ones, so that one may fall to the other side of a half, by a step of 1/255 of its range, which later layers
carry on; as it runs by default on processors without VNNI, ONNX Runtime's own 8-bit sums saturate at 16 bits. They count as
equal at a cosine of 0.999 as written. Exit 1 where any does not.
"""
import glob
import os
import sys

import numpy as np
import onnx
import onnxruntime as ort


def outputs(path, x, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x})))


def apart(got, want):
    if got.shape != want.shape:
        return float("inf"), -1.0
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    largest = np.abs(b).max() or 1.0
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return np.abs(a - b).max() / largest, (a @ b) / norm if norm else 1.0


def main(folder):
    failed = 0
    print(f"{'file':36} {'as written':>22} {'by default':>22}")
    for path in sorted(glob.glob(os.path.join(folder, "*.onnx"))):
        onnx.checker.check_model(path)
        data = np.load(path[: -len(".onnx")] + ".npz")
        row, ok = [], True
        for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
            worst, cosine = 0.0, 1.0
            for name, want in outputs(path, data["x"], level).items():
                d, c = apart(data["out_" + name], want)
                worst, cosine = max(worst, d), min(cosine, c)
            row.append(f"{worst:10.2e} {cosine:11.7f}")
            if level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL or not path.endswith(".int8.onnx"):
                ok = ok and (cosine >= 0.999 if path.endswith(".int8.onnx") else worst <= 1e-4)
        failed += not ok
        print(f"{os.path.basename(path):36} {row[0]} {row[1]}{'' if ok else '  DIFFERS'}", flush=True)
    print(f"{failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
