"""Training throughput of whit and PyTorch on the CPU, in turn: samples a second at
batch 128, forward, cross-entropy, backward and AdamW step, no augmentation.

Run it with a Python that has torch (2.0.1 was used); whit trains on MNIST by its
command line, PyTorch on random tensors of the same shape that stay in memory.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import torch
from torch import nn


def lenet300():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))


def pytorch(build, batch, seconds):
    torch.manual_seed(0)
    net, x, y = build(), torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))
    opt, loss, times = torch.optim.AdamW(net.parameters()), nn.CrossEntropyLoss(), []
    end = time.time() + seconds
    while time.time() < end or len(times) < 8:
        t = time.perf_counter()
        opt.zero_grad()
        loss(net(x), y).backward()
        opt.step()
        times.append(time.perf_counter() - t)
    return batch / statistics.median(times[3:])


def whit(binary, arch, batch, threads, epochs):
    with tempfile.TemporaryDirectory() as d:
        out = subprocess.run([binary, "train", "--arch", arch, "--data", "mnist", "--epochs", str(epochs), "--batch", str(batch),
                              "--augment", "none", "--ema", "0", "--threads", str(threads), "-o", os.path.join(d, "m.onnx"), "--json"],
                             capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])["samples_per_second"]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--whit", default="./whit")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--batch", type=int, default=128)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=4)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    print(f"{'network':<10}{'PyTorch':>12}{'whit':>12}{'ratio':>8}   samples a second, {a.threads} threads, batch {a.batch}")
    for arch, build, epochs in (("lenet300", lenet300, 5), ("lenet5", lenet5, 1)):
        rows = [(pytorch(build, a.batch, a.seconds), whit(a.whit, arch, a.batch, a.threads, epochs)) for _ in range(a.rounds)]
        p, w = (statistics.median(r[i] for r in rows) for i in (0, 1))
        print(f"{arch:<10}{p:>12.0f}{w:>12.0f}{statistics.median(r[1] / r[0] for r in rows):>8.2f}")


if __name__ == "__main__":
    main()
