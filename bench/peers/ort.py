"""ONNX Runtime on the CPU, as the scripts here use it."""
import numpy as np
import onnxruntime as ort


def load(model, threads):
    """A session, and a feed of seeded random numbers; dimensions that are not given are 1."""
    opt = ort.SessionOptions()
    opt.intra_op_num_threads = threads
    opt.inter_op_num_threads = 1
    session = ort.InferenceSession(model, opt, providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in port.shape]
    return session, {port.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
