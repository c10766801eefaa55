#!/usr/bin/env python3
"""Writes decoded.json: small JPEG and WebP files and the pixels that Pillow reads from them.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install pillow==11.3.0 numpy==2.2.6
    /tmp/venv/bin/python data/testdata/make_decoded.py
"""
import base64, io, json, os
import numpy as np
import PIL
from PIL import Image

assert PIL.__version__ == "11.3.0", PIL.__version__
h, w = 19, 23  # odd: the last line and column have half a colour sample
y, x = np.mgrid[0:h, 0:w]
pic = np.stack([128 + 120 * np.sin(x / 3.0), 128 + 120 * np.cos(y / 4.0 + x / 9.0), 11 * ((x // 6 + y // 5) % 2) * 20 + x], -1)
img = Image.fromarray(pic.clip(0, 255).astype(np.uint8))
out = []
for name, form, kw in [("jpeg 444", "jpeg", dict(quality=90, subsampling=0)), ("jpeg 422", "jpeg", dict(quality=90, subsampling=1)),
                       ("jpeg 420", "jpeg", dict(quality=90, subsampling=2)), ("jpeg 420 progressive", "jpeg", dict(quality=75, subsampling=2, progressive=True)),
                       ("jpeg gray", "jpeg", dict(quality=90)), ("webp", "webp", dict(quality=90)), ("webp lossless", "webp", dict(lossless=True))]:
    b = io.BytesIO()
    (img.convert("L") if "gray" in name else img).save(b, form, **kw)
    px = np.asarray(Image.open(b).convert("RGB"))
    out.append({"name": name, "file": base64.b64encode(b.getvalue()).decode(), "height": h, "width": w, "rgb": base64.b64encode(px.tobytes()).decode()})
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoded.json")
with open(path, "w") as f:
    f.write(json.dumps(out).replace('{"name"', '\n{"name"') + "\n")
print(os.path.getsize(path), "bytes")
