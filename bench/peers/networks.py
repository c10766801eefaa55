"""Writes the networks that the table of latencies times, as NAME.onnx and, quantised by
ONNX Runtime's own tool, NAME.int8.onnx (QDQ: uint8 activations, int8 weights by channel).

    python networks.py DIR [NAME ...]
    python networks.py --more DIR [NAME ...]
    python networks.py --prune DIR [NAME ...]

--more writes others of the same kinds instead. --prune writes NAME.pruned.onnx instead: 90% of the weights of every dense layer and
ungrouped convolution are zero, in blocks of 4 output channels, least magnitude first.

Batch 1, opset 17, BatchNormalization folded, He-initialised seeded weights: the
architectures count here, what the networks would say does not.
"""
import math
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Appends nodes to a graph; values are (name, shape)."""

    def __init__(self, name, shape):
        self.name, self.shape = name, shape
        self.nodes, self.consts, self.macs = [], [], 0
        self.rng = np.random.default_rng(1)
        self.input = ("input", tuple(shape))

    def const(self, array):
        name = f"c{len(self.consts)}"
        self.consts.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind, inputs, shape, outputs=1, **attrs):
        names = [f"{kind.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=names[0], **attrs))
        values = [(n, tuple(shape)) for n in names]
        return values[0] if outputs == 1 else values

    def conv(self, x, out, kernel, stride=1, pad=0, group=1, gain=1.0, act=None):
        n, c, h, w = x[1]
        size = lambda v: (v + 2 * pad - kernel) // stride + 1
        fan = c // group * kernel * kernel
        weight = (self.rng.standard_normal((out, c // group, kernel, kernel)) * gain * math.sqrt(2 / fan)).astype(np.float32)
        bias = (self.rng.standard_normal(out) * 0.05).astype(np.float32)
        shape = (n, out, size(h), size(w))
        self.macs += math.prod(shape) * fan
        y = self.op("Conv", [x[0], self.const(weight), self.const(bias)], shape, group=group,
                    kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        if act == "relu":
            return self.op("Relu", [y[0]], shape)
        if act == "relu6":
            return self.op("Clip", [y[0], self.const(np.float32(0)), self.const(np.float32(6))], shape)
        if act == "silu":
            return self.op("Mul", [y[0], self.op("Sigmoid", [y[0]], shape)[0]], shape)
        if act == "hardswish":
            return self.op("HardSwish", [y[0]], shape)
        if act == "prelu":
            return self.op("PRelu", [y[0], self.const(np.full((out, 1, 1), 0.25, np.float32))], shape)
        return y

    def gate(self, x, width):
        """Squeeze and excite: channels times a function of their means."""
        c = x[1][1]
        means = self.op("GlobalAveragePool", [x[0]], (x[1][0], c, 1, 1))
        y = self.conv(self.conv(means, width, 1, act="relu"), c, 1)
        y = self.op("HardSigmoid", [y[0]], y[1], alpha=1 / 6, beta=0.5)
        return self.op("Mul", [x[0], y[0]], x[1])

    def dense(self, x, out, relu=False):
        n, k = x[1]
        weight = (self.rng.standard_normal((out, k)) * math.sqrt(2 / k)).astype(np.float32)
        self.macs += n * k * out
        y = self.op("Gemm", [x[0], self.const(weight), self.const(np.zeros(out, np.float32))], (n, out), transB=1)
        return self.op("Relu", [y[0]], y[1]) if relu else y

    def add(self, a, b, relu=False):
        y = self.op("Add", [a[0], b[0]], a[1])
        return self.op("Relu", [y[0]], y[1]) if relu else y

    def maxpool(self, x, kernel, stride, pad=0, ceil=False):
        n, c, h, w = x[1]
        up = math.ceil if ceil else math.floor
        size = lambda v: up((v + 2 * pad - kernel) / stride) + 1
        return self.op("MaxPool", [x[0]], (n, c, size(h), size(w)), kernel_shape=[kernel] * 2, strides=[stride] * 2,
                       pads=[pad] * 4, ceil_mode=int(ceil))

    def flat(self, x):
        return self.op("Flatten", [x[0]], (x[1][0], math.prod(x[1][1:])))

    def pooled(self, x):
        return self.flat(self.op("GlobalAveragePool", [x[0]], (*x[1][:2], 1, 1)))

    def concat(self, xs):
        n, _, h, w = xs[0][1]
        return self.op("Concat", [x[0] for x in xs], (n, sum(x[1][1] for x in xs), h, w), axis=1)

    def model(self, *outputs):
        info = lambda v: helper.make_tensor_value_info(v[0], TensorProto.FLOAT, list(v[1]))
        graph = helper.make_graph(self.nodes, self.name, [info(self.input)], [info(o) for o in outputs], self.consts)
        m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        m.ir_version = 8
        m.metadata_props.add(key="macs", value=str(self.macs))
        onnx.checker.check_model(m)
        return m


def lenet5(b):
    x = b.maxpool(b.conv(b.input, 20, 5), 2, 2)
    x = b.maxpool(b.conv(x, 50, 5), 2, 2)
    return [b.dense(b.dense(b.flat(x), 500, relu=True), 10)]


def squeezenet(width, kernel, pools):
    def build(b):
        x = b.maxpool(b.conv(b.input, width, kernel, 2, act="relu"), 3, 2, ceil=True)
        for i, (squeeze, expand) in enumerate([(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]):
            if i in pools:
                x = b.maxpool(x, 3, 2, ceil=True)
            s = b.conv(x, squeeze, 1, act="relu")
            x = b.concat([b.conv(s, expand, 1, act="relu"), b.conv(s, expand, 3, pad=1, act="relu")])
        return [b.pooled(b.conv(x, 1000, 1, act="relu"))]
    return build


def mobilenetv2(b):
    x = b.conv(b.input, 32, 3, 2, 1, act="relu6")
    for widen, out, blocks, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(blocks):
            c, s = x[1][1], stride if i == 0 else 1
            y = b.conv(x, c * widen, 1, act="relu6") if widen > 1 else x
            y = b.conv(y, c * widen, 3, s, 1, group=c * widen, act="relu6")
            y = b.conv(y, out, 1, gain=0.5)
            x = b.add(x, y) if s == 1 and c == out else y
    return [b.dense(b.pooled(b.conv(x, 1280, 1, act="relu6")), 1000)]


def shufflenetv2(b):
    x = b.maxpool(b.conv(b.input, 24, 3, 2, 1, act="relu"), 3, 2, 1)
    for out, blocks in [(116, 4), (232, 8), (464, 4)]:
        half = out // 2
        for i in range(blocks):
            n, c, h, w = x[1]
            stride = 2 if i == 0 else 1
            if i == 0:
                left = b.conv(b.conv(x, c, 3, 2, 1, group=c), half, 1, act="relu")
                right = x
            else:
                sizes = b.const(np.array([half, half], np.int64))
                left, right = b.op("Split", [x[0], sizes], (n, half, h, w), outputs=2, axis=1)
            right = b.conv(right, half, 1, act="relu")
            right = b.conv(right, half, 3, stride, 1, group=half)
            x = b.concat([left, b.conv(right, half, 1, act="relu")])
            n, c, h, w = x[1]
            apart = b.op("Reshape", [x[0], b.const(np.array([n, 2, half, h, w], np.int64))], (n, 2, half, h, w))
            mixed = b.op("Transpose", [apart[0]], (n, half, 2, h, w), perm=[0, 2, 1, 3, 4])
            x = b.op("Reshape", [mixed[0], b.const(np.array([n, c, h, w], np.int64))], (n, c, h, w))
    return [b.dense(b.pooled(b.conv(x, 1024, 1, act="relu")), 1000)]


def resnet(depths, bottleneck):
    def build(b):
        x = b.maxpool(b.conv(b.input, 64, 7, 2, 3, act="relu"), 3, 2, 1)
        for stage, blocks in enumerate(depths):
            width = 64 << stage
            out = width * 4 if bottleneck else width
            for i in range(blocks):
                stride = 2 if stage and i == 0 else 1
                if bottleneck:
                    y = b.conv(b.conv(x, width, 1, act="relu"), width, 3, stride, 1, act="relu")
                    y = b.conv(y, out, 1, gain=0.3)
                else:
                    y = b.conv(b.conv(x, width, 3, stride, 1, act="relu"), out, 3, 1, 1, gain=0.3)
                if stride > 1 or x[1][1] != out:
                    x = b.conv(x, out, 1, stride, gain=0.7)
                x = b.add(y, x, relu=True)
        return [b.dense(b.pooled(x), 1000)]
    return build


def vgg(*convs):
    def build(b):
        x = b.input
        for width, n in zip([64, 128, 256, 512, 512], convs):
            for _ in range(n):
                x = b.conv(x, width, 3, pad=1, act="relu")
            x = b.maxpool(x, 2, 2)
        return [b.dense(b.dense(b.dense(b.flat(x), 4096, relu=True), 4096, relu=True), 1000)]
    return build


def mobilenetv1(b):
    x = b.conv(b.input, 32, 3, 2, 1, act="relu")
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]:
        x = b.conv(b.conv(x, x[1][1], 3, stride, 1, group=x[1][1], act="relu"), out, 1, act="relu")
    return [b.dense(b.pooled(x), 1000)]


def mobilenetv3(b):
    x = b.conv(b.input, 16, 3, 2, 1, act="hardswish")
    for k, wide, out, gated, act, stride in [
            (3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1), (5, 72, 40, 1, "relu", 2), (5, 120, 40, 1, "relu", 1),
            (5, 120, 40, 1, "relu", 1), (3, 240, 80, 0, "hardswish", 2), (3, 200, 80, 0, "hardswish", 1), (3, 184, 80, 0, "hardswish", 1),
            (3, 184, 80, 0, "hardswish", 1), (3, 480, 112, 1, "hardswish", 1), (3, 672, 112, 1, "hardswish", 1), (5, 672, 160, 1, "hardswish", 2),
            (5, 960, 160, 1, "hardswish", 1), (5, 960, 160, 1, "hardswish", 1)]:
        c = x[1][1]
        y = b.conv(x, wide, 1, act=act) if wide != c else x
        y = b.conv(y, wide, k, stride, k // 2, group=wide, act=act)
        y = b.conv(b.gate(y, max(8, wide // 4 // 8 * 8)) if gated else y, out, 1, gain=0.5)
        x = b.add(x, y) if stride == 1 and c == out else y
    return [b.dense(b.pooled(b.conv(x, 960, 1, act="hardswish")), 1000)]


def efficientnet(b):
    x = b.conv(b.input, 32, 3, 2, 1, act="silu")
    for widen, out, blocks, first, k in [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]:
        for i in range(blocks):
            c, stride = x[1][1], first if i == 0 else 1
            y = b.conv(x, c * widen, 1, act="silu") if widen > 1 else x
            y = b.conv(y, c * widen, k, stride, k // 2, group=c * widen, act="silu")
            y = b.conv(b.gate(y, max(4, c // 4)), out, 1, gain=0.5)
            x = b.add(x, y) if stride == 1 and c == out else y
    return [b.dense(b.pooled(b.conv(x, 1280, 1, act="silu")), 1000)]


def densenet121(b):
    x = b.maxpool(b.conv(b.input, 64, 7, 2, 3, act="relu"), 3, 2, 1)
    for stage, layers in enumerate([6, 12, 24, 16]):
        for _ in range(layers):
            x = b.concat([x, b.conv(b.conv(x, 128, 1, act="relu"), 32, 3, pad=1, act="relu")])
        if stage < 3:
            n, c, h, w = (x := b.conv(x, x[1][1] // 2, 1, act="relu"))[1]
            x = b.op("AveragePool", [x[0]], (n, c, h // 2, w // 2), kernel_shape=[2, 2], strides=[2, 2])
    return [b.dense(b.pooled(x), 1000)]


def resnet20(b):
    x = b.conv(b.input, 16, 3, 1, 1, act="relu")
    for width in [16, 32, 64]:
        for i in range(3):
            stride = 2 if width > 16 and i == 0 else 1
            y = b.conv(b.conv(x, width, 3, stride, 1, act="relu"), width, 3, 1, 1, gain=0.3)
            x = b.add(y, b.conv(x, width, 1, stride) if stride > 1 else x, relu=True)
    return [b.dense(b.pooled(x), 10)]


def espcn(b):
    x = b.conv(b.conv(b.conv(b.input, 64, 5, pad=2, act="relu"), 32, 3, pad=1, act="relu"), 12, 3, pad=1)
    n, c, h, w = x[1]
    return [b.op("DepthToSpace", [x[0]], (n, 3, 2 * h, 2 * w), blocksize=2, mode="CRD")]


def srcnn(b):
    return [b.conv(b.conv(b.conv(b.input, 64, 9, pad=4, act="relu"), 32, 1, act="relu"), 1, 5, pad=2)]


def rnet(b):
    x = b.maxpool(b.conv(b.input, 28, 3, act="prelu"), 3, 2, ceil=True)
    x = b.conv(b.maxpool(b.conv(x, 48, 3, act="prelu"), 3, 2, ceil=True), 64, 2, act="prelu")
    x = b.dense(b.flat(x), 128)
    return [b.dense(x, 2), b.dense(x, 4)]


def onet(b):
    x = b.maxpool(b.conv(b.input, 32, 3, act="prelu"), 3, 2, ceil=True)
    x = b.maxpool(b.conv(x, 64, 3, act="prelu"), 3, 2, ceil=True)
    x = b.conv(b.maxpool(b.conv(x, 64, 3, act="prelu"), 2, 2, ceil=True), 128, 2, act="prelu")
    x = b.dense(b.flat(x), 256)
    return [b.dense(x, 2), b.dense(x, 4), b.dense(x, 10)]


def edsr(b):
    head = x = b.conv(b.conv(b.input, 3, 1), 64, 3, pad=1)
    for _ in range(16):
        x = b.add(b.conv(b.conv(x, 64, 3, pad=1, act="relu"), 64, 3, pad=1, gain=0.2), x)
    x = b.add(b.conv(x, 64, 3, pad=1, gain=0.5), head)
    x = b.conv(x, 256, 3, pad=1)
    n, c, h, w = x[1]
    x = b.op("DepthToSpace", [x[0]], (n, c // 4, 2 * h, 2 * w), blocksize=2, mode="CRD")
    return [b.conv(b.conv(x, 3, 3, pad=1), 3, 1)]


def pnet(b):
    x = b.maxpool(b.conv(b.input, 10, 3, act="prelu"), 2, 2, ceil=True)
    x = b.conv(b.conv(x, 16, 3, act="prelu"), 32, 3, act="prelu")
    scores = b.conv(x, 2, 1)
    return [b.op("Softmax", [scores[0]], scores[1], axis=1), b.conv(x, 4, 1)]


NETWORKS = {
    "lenet5": (lenet5, (1, 1, 28, 28)),
    "squeezenet1_1": (squeezenet(64, 3, (2, 4)), (1, 3, 224, 224)),
    "mobilenetv2": (mobilenetv2, (1, 3, 224, 224)),
    "shufflenetv2": (shufflenetv2, (1, 3, 224, 224)),
    "resnet18": (resnet([2, 2, 2, 2], False), (1, 3, 224, 224)),
    "resnet50": (resnet([3, 4, 6, 3], True), (1, 3, 224, 224)),
    "vgg16": (vgg(2, 2, 3, 3, 3), (1, 3, 224, 224)),
    "edsr": (edsr, (1, 3, 128, 128)),
    "pnet": (pnet, (1, 3, 360, 640)),
}

MORE = {
    "squeezenet1_0": (squeezenet(96, 7, (3, 7)), (1, 3, 224, 224)),
    "mobilenetv1": (mobilenetv1, (1, 3, 224, 224)),
    "mobilenetv3": (mobilenetv3, (1, 3, 224, 224)),
    "efficientnetb0": (efficientnet, (1, 3, 224, 224)),
    "resnet34": (resnet([3, 4, 6, 3], False), (1, 3, 224, 224)),
    "resnet20": (resnet20, (1, 3, 32, 32)),
    "vgg11": (vgg(1, 1, 2, 2, 2), (1, 3, 224, 224)),
    "densenet121": (densenet121, (1, 3, 224, 224)),
    "rnet": (rnet, (16, 3, 24, 24)),
    "onet": (onet, (4, 3, 48, 48)),
    "espcn": (espcn, (1, 3, 180, 320)),
    "srcnn": (srcnn, (1, 1, 256, 256)),
}


def quantise(source, target, shape):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(7)
            self.batches = iter([{"input": rng.standard_normal(shape).astype(np.float32)} for _ in range(4)])

        def get_next(self):
            return next(self.batches, None)

    ready = target + ".pre"
    quant_pre_process(source, ready, skip_symbolic_shape=True)
    quantize_static(ready, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    os.remove(ready)


def prune(source, target, rows=4, sparsity=0.9):
    model = onnx.load(source)
    weights = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        grouped = any(a.name == "group" and a.i != 1 for a in node.attribute)
        if node.op_type not in ("Conv", "Gemm") or grouped:
            continue
        t = weights[node.input[1]]
        w = numpy_helper.to_array(t)
        flat = w.reshape(w.shape[0], -1)
        blocks = np.array([np.abs(flat[i:i + rows]).sum(0) for i in range(0, len(flat), rows)])
        keep = blocks > np.quantile(blocks, sparsity)
        flat = flat * np.repeat(keep, rows, 0)[:len(flat)]
        t.CopyFrom(numpy_helper.from_array(flat.reshape(w.shape).astype(np.float32), t.name))
    onnx.save(model, target)


def main():
    pruned, more = sys.argv[1] == "--prune", sys.argv[1] == "--more"
    if pruned or more:
        del sys.argv[1]
    networks = MORE if more else NETWORKS
    folder, names = sys.argv[1], sys.argv[2:] or list(networks)
    os.makedirs(folder, exist_ok=True)
    for name in names:
        build, shape = networks[name]
        path = os.path.join(folder, name + ".onnx")
        if not os.path.exists(path):
            b = Builder(name, shape)
            onnx.save(b.model(*build(b)), path)
            print(f"{path}: {b.macs / 1e6:.1f} million multiply-adds", file=sys.stderr)
        if pruned:
            prune(path, path[:-5] + ".pruned.onnx")
        elif not os.path.exists(path[:-5] + ".int8.onnx"):
            quantise(path, path[:-5] + ".int8.onnx", shape)


if __name__ == "__main__":
    main()
