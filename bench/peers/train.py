"""Training throughput of whit and PyTorch on the CPU, in turn: samples a second at
batch 128, forward, cross-entropy, backward and AdamW step, no augmentation.

Run it with a Python that has torch (2.0.1 was used) and numpy. Both train on random
numbers of the networks' input shapes; whit by its command line, on an .npz, where
reading batches counts, PyTorch on one batch that stays in memory.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def lenet300():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))


class Residual(nn.Module):
    """Two 3x3 convolutions; the shortcut has no parameters (option A)."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.stride, self.wider = stride, after - before

    def forward(self, x):
        y = self.b(self.a(x))
        if self.wider:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.wider))
        return F.relu(x + y)


def resnet20():
    layers, before = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for width in (16, 32, 64):
        for i in range(3):
            layers.append(Residual(before, width, 2 if i == 0 and width > 16 else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def vgg_s():
    layers, before = [], 3
    for width in (32, 32, 0, 64, 64, 0, 128, 128):
        if width:
            layers += [nn.Conv2d(before, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


# Network, builder, shape of a sample, samples and epochs that whit trains for.
NETWORKS = {
    "lenet300": (lenet300, (1, 28, 28), 12800, 12),
    "lenet5": (lenet5, (1, 28, 28), 6400, 4),
    "resnet20": (resnet20, (3, 32, 32), 1024, 2),
    "vgg-s": (vgg_s, (3, 32, 32), 1024, 2),
}


def pytorch(build, shape, batch, seconds):
    torch.manual_seed(0)
    net, x, y = build(), torch.randn(batch, *shape), torch.randint(0, 10, (batch,))
    opt, loss, times = torch.optim.AdamW(net.parameters()), nn.CrossEntropyLoss(), []
    end = time.time() + seconds
    while time.time() < end or len(times) < 8:
        t = time.perf_counter()
        opt.zero_grad()
        loss(net(x), y).backward()
        opt.step()
        times.append(time.perf_counter() - t)
    return batch / statistics.median(times[3:])


def whit(binary, arch, shape, samples, epochs, batch, threads):
    with tempfile.TemporaryDirectory() as d:
        r, data = np.random.default_rng(0), os.path.join(d, "data.npz")
        np.savez(data, x=r.standard_normal((samples, *shape), dtype=np.float32), y=r.integers(0, 10, samples))
        out = subprocess.run([binary, "train", "--arch", arch, "--data", data, "--epochs", str(epochs), "--batch", str(batch), "--optimizer", "adamw",
                              "--augment", "none", "--ema", "0", "--threads", str(threads), "-o", os.path.join(d, "m.onnx"), "--json"],
                             capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])["samples_per_second"]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="network", help=", ".join(NETWORKS) + " (default: all)")
    ap.add_argument("--whit", default="./whit")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--batch", type=int, default=128)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=4)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    print(f"{'network':<10}{'PyTorch':>12}{'whit':>12}{'ratio':>8}   samples a second, {a.threads} threads, batch {a.batch}")
    for arch in a.networks:
        build, shape, samples, epochs = NETWORKS[arch]
        rows = [(pytorch(build, shape, a.batch, a.seconds), whit(a.whit, arch, shape, samples, epochs, a.batch, a.threads)) for _ in range(a.rounds)]
        p, w = (statistics.median(r[i] for r in rows) for i in (0, 1))
        print(f"{arch:<10}{p:>12.0f}{w:>12.0f}{statistics.median(r[1] / r[0] for r in rows):>8.2f}")


if __name__ == "__main__":
    main()
