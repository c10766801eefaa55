"""Trains VGG-S and ResNet-20 on CIFAR-10 as `whit train` does, in PyTorch on a GPU, aimed at larger networks.

    python dense.py --data cifar10 --out DIR

DIR gets wide-a.onnx, wide-b.onnx (ResNet-20 with four times the channels, 42 epochs), vgg4.onnx (VGG-S with four times
the channels, likewise), teacher.onnx (VGG-S with twice the channels, 65 epochs, aimed at those three), vgg-s.onnx and
resnet20.onnx (150 epochs, aimed at the teacher and the two wide ones). --data is a folder with train/CLASS/*.jpg; the
test images are not read. The optimiser, its rates and the augmentation are those of `whit train --arch vgg-s`, without
cutout where a teacher is aimed at. It takes a quarter of an hour on one H200, where each step is one CUDA graph; on a CPU, hours.
Names in the .onnx files are those of `whit train`, so that recipes fit. Needs torch, numpy, pillow and onnx.
"""
import argparse
import glob
import math
import multiprocessing
import os

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn
from torch.nn import functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLASSES = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
CARD = f"""card: 1
task: classify
input: {{name: input, color: rgb, orient: ignore, resize: {{mode: stretch, size: 32, filter: pil-bilinear}}, scale: 0.00392156862745098, mean: {MEAN}, std: {STD}}}
output: {{name: logits, activation: none}}
labels: [{CLASSES}]"""
BATCH = 128
PIXELS = [255 * torch.tensor(v, device=DEVICE).view(1, 3, 1, 1) for v in (MEAN, STD)]  # here, since a CUDA graph copies nothing from the host


class VGG(nn.Module):
    def __init__(self, width=1):
        super().__init__()
        layers, before = [], 3
        for i, n in enumerate([32, 32, 64, 64, 128, 128]):
            layers += [nn.Conv2d(before, n * width, 3, padding=1, bias=False), nn.BatchNorm2d(n * width), nn.ReLU()]
            before = n * width
            if i in (1, 3):
                layers.append(nn.MaxPool2d(2))
        self.features, self.fc = nn.Sequential(*layers), nn.Linear(before, 10)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))

    def write(self, out):
        x, conv, pool = "input", 0, 0
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                conv += 1
                x = out.conv(f"conv{conv}", x, layer)
            elif isinstance(layer, nn.BatchNorm2d):
                x = out.norm(f"conv{conv}", x, layer)
            elif isinstance(layer, nn.ReLU):
                x = out.node("Relu", [x], f"relu{conv}")
            else:
                pool += 1
                x = out.node("MaxPool", [x], f"pool{pool}", kernel_shape=[2, 2], strides=[2, 2])
        out.head(x, self.fc)


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut has no parameters (option A)."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.a, self.abn = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.b, self.bbn = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.stride, self.wider = stride, after - before

    def forward(self, x):
        y = self.bbn(self.b(F.relu(self.abn(self.a(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.wider))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self, width=1):
        super().__init__()
        widths = [16 * width, 32 * width, 64 * width]
        self.conv, self.bn = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        blocks, before = [], widths[0]
        for stage, n in enumerate(widths):
            for i in range(3):
                blocks.append(Block(before, n, 2 if stage and not i else 1))
                before = n
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(before, 10)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.bn(self.conv(x)))).mean((2, 3)))

    def write(self, out):
        x = out.node("Relu", [out.norm("conv1", out.conv("conv1", "input", self.conv), self.bn)], "relu1")
        for i, b in enumerate(self.blocks):
            name = f"stage{i // 3 + 1}.{i % 3 + 1}"
            y = out.norm(name + ".a", out.conv(name + ".a", x, b.a), b.abn)
            y = out.node("Relu", [y], name + ".a.relu")
            y = out.norm(name + ".b", out.conv(name + ".b", y, b.b), b.bbn)
            if b.stride > 1:
                far = np.iinfo(np.int64).max
                ints = [out.const(f"{name}.{k}", np.array(v, np.int64)) for k, v in
                        [("starts", [0, 0]), ("ends", [far, far]), ("axes", [2, 3]), ("steps", [2, 2])]]
                x = out.node("Slice", [x, *ints], name + ".every")
                x = out.node("Pad", [x, out.const(name + ".pads", np.array([0, 0, 0, 0, 0, b.wider, 0, 0], np.int64))], name + ".widen")
            x = out.node("Relu", [out.node("Add", [y, x], name + ".add")], name)
        out.head(x, self.fc)


class Writer:
    """Builds an ONNX graph with the names of whit's zoo."""

    def __init__(self):
        self.nodes, self.consts = [], []

    def const(self, name, a):
        self.consts.append(numpy_helper.from_array(np.ascontiguousarray(a), name))
        return name

    def param(self, name, t):
        return self.const(name, t.detach().float().cpu().numpy())

    def node(self, op, ins, name, **attrs):
        self.nodes.append(helper.make_node(op, ins, [name], name, **attrs))
        return name

    def conv(self, name, x, c):
        return self.node("Conv", [x, self.param(name + ".conv.weight", c.weight)], name + ".conv",
                         kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=list(c.stride))

    def norm(self, name, x, b):
        parts = [("scale", b.weight), ("bias", b.bias), ("mean", b.running_mean), ("var", b.running_var)]
        return self.node("BatchNormalization", [x] + [self.param(f"{name}.bn.{k}", v) for k, v in parts], name + ".bn", epsilon=b.eps)

    def head(self, x, fc):
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x], "pool")], "flatten")
        self.node("Gemm", [x, self.param("fc.weight", fc.weight), self.param("fc.bias", fc.bias)], "logits", transB=1)

    def save(self, path, arch):
        value = lambda name, *dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *dims])
        g = helper.make_graph(self.nodes, "model", [value("input", 3, 32, 32)], [value("logits", 10)], self.consts)
        m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(m, {"whit.card": CARD} | ({"whit.arch": arch} if arch else {}))
        onnx.checker.check_model(m)
        onnx.save(m, path)


def read(path):
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


def load(folder):
    """The images, with 4 pixels of their edge around them, and their classes."""
    names, labels = [], []
    for k, c in enumerate(CLASSES.split(", ")):
        files = sorted(glob.glob(os.path.join(folder, "train", c, "*.jpg")))
        names, labels = names + files, labels + [k] * len(files)
    with multiprocessing.Pool() as pool:
        x = torch.from_numpy(np.stack(pool.map(read, names, chunksize=500)))
    x = F.pad(x.float(), (4, 4, 4, 4), mode="replicate").to(torch.uint8)
    return x.to(DEVICE), torch.tensor(labels, device=DEVICE)


def batch(images, idx, cutout):
    """The images idx shifted by up to 4 pixels, half of them mirrored, with a square of their mean."""
    n, at = len(idx), torch.arange(32, device=DEVICE)
    dx, dy = (torch.randint(0, 9, (n, 1), device=DEVICE) for _ in range(2))
    col = torch.where(torch.rand(n, 1, device=DEVICE) < 0.5, 31 - at, at) + dx
    x = images[idx[:, None, None, None], torch.arange(3, device=DEVICE)[None, :, None, None], (at + dy)[:, None, :, None], col[:, None, None, :]]
    mean, std = PIXELS
    x = (x.float() - mean) / std
    if cutout:
        px, py = (torch.randint(0, 32, (n, 1), device=DEVICE) - cutout // 2 for _ in range(2))
        inside = ((at >= py) & (at < py + cutout))[:, :, None] & ((at >= px) & (at < px + cutout))[:, None, :]
        x = torch.where(inside[:, None], x.mean((2, 3), keepdim=True), x)
    return x.contiguous(memory_format=torch.channels_last)


def half():
    return torch.autocast(DEVICE, dtype=torch.bfloat16, cache_enabled=False)


class Trained:
    """A network with its optimiser: SGD with Nesterov's momentum 0.9, weight decay 5e-4 on weights."""

    def __init__(self, net):
        for c in net.modules():
            if isinstance(c, nn.Conv2d):
                nn.init.kaiming_normal_(c.weight)
        self.net = net.to(DEVICE, memory_format=torch.channels_last).train()
        self.params = list(net.parameters())
        self.moments = [torch.zeros_like(p) for p in self.params]
        self.rate = torch.zeros((), device=DEVICE)

    def step(self, x, y, aim):
        with half():
            out = self.net(x)
        loss = F.cross_entropy(out.float(), y)
        if aim is not None:  # nine tenths of the loss are against the teachers' decisions, at a temperature of 3
            loss = 0.1 * loss + 0.9 * 9 * F.kl_div(F.log_softmax(out.float() / 3, 1), F.softmax(aim / 3, 1), reduction="batchmean")
        grads = [g.float() for g in torch.autograd.grad(loss, self.params)]
        with torch.no_grad():
            weights = [i for i, p in enumerate(self.params) if p.dim() > 1]
            torch._foreach_add_([grads[i] for i in weights], [self.params[i] for i in weights], alpha=5e-4)
            torch._foreach_mul_(self.moments, 0.9)
            torch._foreach_add_(self.moments, grads)
            steps = torch._foreach_add(grads, self.moments, alpha=0.9)
            torch._foreach_mul_(steps, self.rate)
            torch._foreach_sub_(self.params, steps)


def train(images, labels, nets, epochs, seed, teachers=(), cutout=0):
    """Trains several networks on the same batches, side by side."""
    torch.manual_seed(seed)
    runs = [Trained(n()) for n in nets]
    for t in teachers:
        t.eval().requires_grad_(False)
    idx = torch.arange(BATCH, device=DEVICE)
    streams = [torch.cuda.Stream() for _ in runs] if DEVICE == "cuda" else []

    def step():
        x, y, aim = batch(images, idx, cutout), labels[idx], None
        if teachers:
            with torch.no_grad(), half():
                aim = sum(t(x).float() for t in teachers) / len(teachers)
        if not streams:
            for r in runs:
                r.step(x, y, aim)
            return
        main = torch.cuda.current_stream()
        for r, s in zip(runs, streams):
            s.wait_stream(main)
            with torch.cuda.stream(s):
                r.step(x, y, aim)
        for s in streams:
            main.wait_stream(s)

    replay = step
    if streams:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # at a rate of 0
            for _ in range(3):
                step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        for r in runs:
            for m in r.moments:
                m.zero_()
        replay = graph.replay
    steps = len(images) // BATCH
    total, done = steps * epochs, 0
    warm = int(0.05 * total)
    for epoch in range(epochs):
        order = torch.randperm(len(images), device=DEVICE)
        for i in range(steps):
            rate = 0.1 * ((done + 1) / warm if done < warm else 0.5 * (1 + math.cos(math.pi * (done - warm) / (total - warm))))
            for r in runs:
                r.rate.fill_(rate)
            idx.copy_(order[i * BATCH:(i + 1) * BATCH])
            replay()
            done += 1
        print(f"epoch {epoch + 1} of {epochs}", flush=True)
    return [r.net for r in runs]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--share", type=float, default=1, help="of the epochs, for a trial")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    images, labels = load(a.data)

    def keep(nets, *names):
        for net, name in zip(nets, names):
            w = Writer()
            net.eval().write(w)
            w.save(os.path.join(a.out, name + ".onnx"), name if name in ("vgg-s", "resnet20") else None)
        return nets

    run = lambda nets, epochs, seed, **more: train(images, labels, nets, max(1, round(epochs * a.share)), seed, **more)
    wide = keep(run([lambda: ResNet20(4), lambda: ResNet20(4), lambda: VGG(4)], 42, 1, cutout=8), "wide-a", "wide-b", "vgg4")
    teacher = keep(run([lambda: VGG(2)], 65, 2, teachers=wide), "teacher")
    keep(run([VGG, ResNet20], 150, 5, teachers=teacher + wide[:2]), "vgg-s", "resnet20")


if __name__ == "__main__":
    main()
