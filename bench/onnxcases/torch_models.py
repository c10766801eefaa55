#!/usr/bin/env python3
"""Exports small networks from PyTorch, for every opset that it can write.

    torch_models.py OUT            (torch 2.0 or newer, CPU)
    runtime.py write CASES OUT/*.onnx
    go run ./bench/onnxcases CASES

The cases under testdata are some of these.
"""
import pathlib
import sys
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.onnx._internal import onnx_proto_utils

# Only models with onnxscript functions need the onnx package here; these have none.
onnx_proto_utils._add_onnxscript_fn = lambda model_bytes, custom_opsets: model_bytes


class Net(nn.Module):
    """What small vision networks are made of."""

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.b1 = nn.BatchNorm2d(8)
        self.c2 = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.p = nn.PReLU(8)
        self.c3 = nn.Conv2d(8, 16, 1)
        self.fc = nn.Linear(16, 10)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        x = F.relu6(self.b1(self.c1(x)))
        x = F.max_pool2d(self.p(self.c2(x)), 2)
        x = F.leaky_relu(self.c3(F.pad(x, (1, 1, 1, 1), value=0.5)))
        y = F.interpolate(x, scale_factor=2.0, mode="nearest")
        z = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = torch.cat([y[:, :, 1:-1, :], z[:, :, :-2, :]], 1)
        a, b = torch.split(x, 16, 1)
        x = self.drop((a * torch.sigmoid(b) + torch.tanh(a)).mean((2, 3)))
        x = x.view(x.size(0), -1).unsqueeze(1).squeeze(1)
        return F.log_softmax(self.fc(x), 1), torch.clamp(x, min=0.0).sum(1, keepdim=True)


class Shuffle(nn.Module):
    """Shapes computed in the graph."""

    def forward(self, x):
        n, c, h, w = x.size()
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        pooled = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return F.softmax(F.pixel_shuffle(x, 2), 1), x.max(dim=1)[0], pooled


@torch.jit.script
def choose(x, w):
    if bool(x.sum() > 0):
        return x * w
    else:
        return x - w


class Branch(nn.Module):
    """An If whose branches share an initializer with the graph around it."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return choose(x + self.w, self.w) * self.w


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    models = {
        "net": (Net().eval(), (2, 3, 16, 16)),
        "shuffle": (Shuffle().eval(), (1, 8, 6, 6)),
        "branch": (torch.jit.script(Branch()), (3, 4)),
    }
    for opset in range(7, 18):
        for name, (model, shape) in models.items():
            for kind, axes in (("fixed", None), ("symbolic", {"x": {0: "N"}})):
                path = out / f"{name}_{opset}_{kind}.onnx"
                try:
                    torch.onnx.export(model, torch.randn(*shape), str(path), opset_version=opset,
                                      input_names=["x"], dynamic_axes=axes)
                except Exception as e:
                    print("not exported:", path.name, str(e).split("\n")[0][:100])


if __name__ == "__main__":
    main()
