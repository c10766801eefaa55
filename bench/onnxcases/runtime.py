#!/usr/bin/env python3
"""ONNX Runtime beside ./bench/onnxcases, on the same case folders.

    runtime.py write OUT MODEL.onnx...   one case a model: seeded inputs, the
                                         runtime's outputs, tolerance 1e-4
    runtime.py check DIR                 runs the folders' models in the runtime and
                                         compares with the stored outputs

`onnxcases OUT` then compares whit with the runtime; `onnxcases --rewrite DIR OUT`
followed by `runtime.py check DIR` compares what whit writes. Symbolic dimensions
are 1. Needs requirements.txt and onnxruntime.
"""
import argparse
import json
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper


def session(path):
    o = ort.SessionOptions()
    o.log_severity_level = 3
    return ort.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def seeded(port, rng):
    shape = [d if isinstance(d, int) else 1 for d in port.shape]
    if port.type == "tensor(bool)":
        return rng.integers(0, 2, shape).astype(bool)
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}.get(port.type)
    if dtype is None:
        return rng.integers(0, 10, shape).astype(np.dtype(port.type[len("tensor("):-1]))
    return rng.standard_normal(shape).astype(dtype)


def write(out, models):
    for model in models:
        try:
            s = session(model)
        except Exception as e:
            print("refused by the runtime:", model.stem, " ".join(str(e).split())[:120])
            continue
        folder = out / model.stem
        data = folder / "test_data_set_0"
        data.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model, folder / "model.onnx")
        for extra in model.parent.glob(model.stem + "*.data"):
            shutil.copyfile(extra, folder / extra.name)
        rng = np.random.default_rng(1)
        feeds = {p.name: seeded(p, rng) for p in s.get_inputs()}
        for prefix, names, values in (
            ("input", list(feeds), list(feeds.values())),
            ("output", [p.name for p in s.get_outputs()], s.run(None, feeds)),
        ):
            for i, (name, value) in enumerate(zip(names, values)):
                tensor = numpy_helper.from_array(np.asarray(value), name)
                (data / f"{prefix}_{i}.pb").write_bytes(tensor.SerializeToString())
        # Sums of thousands of products: errors are relative to the largest value.
        peak = max(float(np.abs(v).max(initial=0)) for v in s.run(None, feeds))
        (folder / "data.json").write_text(json.dumps({"rtol": 1e-4, "atol": 1e-4 * max(peak, 1e-3)}))
        print(model.stem)


def check(root):
    passed, failed = 0, 0
    for folder in sorted(p.parent for p in root.glob("*/model.onnx")):
        tol = json.loads((folder / "data.json").read_text()) if (folder / "data.json").exists() else {}
        try:
            onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
            s = session(folder / "model.onnx")
            for data in sorted(folder.glob("test_data_set_*")):
                load = lambda prefix, n: [
                    numpy_helper.to_array(onnx.load_tensor(str(data / f"{prefix}_{i}.pb"))) for i in range(n)
                ]
                ins, outs = s.get_inputs(), s.get_outputs()
                got = s.run(None, dict(zip([p.name for p in ins], load("input", len(ins)))))
                for g, w in zip(got, load("output", len(outs))):
                    np.testing.assert_allclose(
                        np.asarray(g, np.float64), np.asarray(w, np.float64),
                        rtol=tol.get("rtol", 1e-3), atol=tol.get("atol", 1e-7))
            passed += 1
        except Exception as e:
            failed += 1
            print("failed", folder.name, " ".join(str(e).split())[:200])
    print(f"{passed} passed, {failed} failed")
    return failed == 0


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = p.add_subparsers(dest="verb", required=True)
    w = sub.add_parser("write")
    w.add_argument("out", type=pathlib.Path)
    w.add_argument("models", type=pathlib.Path, nargs="+")
    c = sub.add_parser("check")
    c.add_argument("dir", type=pathlib.Path)
    a = p.parse_args()
    if a.verb == "write":
        write(a.out, a.models)
    elif not check(a.dir):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
