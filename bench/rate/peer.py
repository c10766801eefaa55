"""peer.py WEIGHTS.npz OUT: NNCodec's dependent quantisation of float32 arrays, swept over its parameters.

For every setting it writes OUT/NNN.npz, the arrays as its decoder reconstructs them, and a line in OUT/points.csv: file, bytes of the whole
bitstream, setting. Run it in the environment that run.sh makes."""
import itertools, os, sys, types

import numpy as np

# The codec alone, without its bindings to training frameworks.
fw = types.ModuleType("nncodec.framework")
fw.__path__ = []
sys.modules["nncodec.framework"] = fw
for n in ("tensorflow_model", "pytorch_model", "use_case_init"):
    m = types.ModuleType("nncodec.framework." + n)
    m.is_tef_model = m.is_pyt_model = lambda *a: False
    setattr(fw, n, m)
    sys.modules[m.__name__] = m
from nncodec.nnc import compression

src, out = sys.argv[1:3]
z = np.load(src)
params = {k: np.ascontiguousarray(z[k], np.float32) for k in z.files}
os.makedirs(out, exist_ok=True)
k = 0
with open(os.path.join(out, "points.csv"), "w") as f:
    # qp: -38 is the default, 4 steps halve the step size. nonweight_qp is that of the biases: 4 steps below the weights' was best of 4, 8, 14 and the default.
    # lambda_scale weighs the rate in the choice of levels.
    for qp, scale, unary, opt in itertools.product(range(-27, -8), (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0), (10, 1), (False, True)):
        if opt and scale not in (0.0, 1.0, 2.0):
            continue
        o = dict(qp=qp, use_dq=True, lambda_scale=scale, nonweight_qp=qp - 4, cabac_unary_length_minus1=unary, opt_qp=opt, row_skipping=True)
        bits = compression.compress(params, return_bitstream=True, bitstream_path=None, **o)
        rec = compression.decompress(bits)
        name = "%04d.npz" % k
        k += 1
        np.savez(os.path.join(out, name), **{n: np.asarray(rec[n], np.float32).reshape(params[n].shape) for n in params})
        f.write("%s,%d,qp %d lambda %g unary %d opt_qp %s\n" % (name, len(bits), qp, scale, unary, opt))
