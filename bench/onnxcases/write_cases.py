#!/usr/bin/env python3
"""Writes the ONNX project's backend node cases for ./bench/onnxcases.

    python3 -m venv venv && venv/bin/pip install -r bench/onnxcases/requirements.txt
    venv/bin/python bench/onnxcases/write_cases.py OUT
    go run ./bench/onnxcases OUT

One folder a case: model.onnx, data.json (rtol, atol) and, for each data set k,
test_data_set_k/input_i.pb and output_i.pb (TensorProto). Cases whose inputs or
outputs are sequences, maps or optional values are left out: the folders have no
form for them that the runner reads.
"""
import argparse
import json
import pathlib
import warnings

import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_node_model_tests


def tensors_only(model):
    ports = list(model.graph.input) + list(model.graph.output)
    return all(p.type.WhichOneof("value") == "tensor_type" for p in ports)


def write_tensors(folder, prefix, ports, values):
    for i, (port, value) in enumerate(zip(ports, values, strict=True)):
        if not isinstance(value, onnx.TensorProto):
            value = numpy_helper.from_array(value, port.name)
        (folder / f"{prefix}_{i}.pb").write_bytes(value.SerializeToString(deterministic=True))


def write_case(out, case):
    folder = out / case.name
    folder.mkdir(parents=True, exist_ok=True)
    model = case.model
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    for k, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{k}"
        data.mkdir(exist_ok=True)
        # A case may leave trailing optional outputs of the model without a value.
        write_tensors(data, "input", list(model.graph.input)[: len(inputs)], inputs)
        write_tensors(data, "output", list(model.graph.output)[: len(outputs)], outputs)
    (folder / "data.json").write_text(json.dumps({"rtol": case.rtol, "atol": case.atol}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    warnings.simplefilter("ignore", RuntimeWarning)  # cases divide by zero on purpose
    written = 0
    for case in load_node_model_tests():
        if case.model is not None and tensors_only(case.model):
            write_case(out, case)
            written += 1
    print(f"{written} cases, onnx {onnx.__version__}, opset {onnx.defs.onnx_opset_version()}")


if __name__ == "__main__":
    main()
