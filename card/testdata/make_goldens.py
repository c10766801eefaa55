#!/usr/bin/env python3
"""Writes goldens.json: resizes of small pictures by Pillow and OpenCV.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install pillow==11.3.0 opencv-python-headless==4.12.0.88 numpy==2.2.6
    /tmp/venv/bin/python card/testdata/make_goldens.py

The source pictures are made here and in card/golden_test.go by the same formula, so
that only the results are stored: base64 of height x width x channels bytes.
"""
import base64, json, os
import cv2
import numpy as np
import PIL
from PIL import Image

assert PIL.__version__ == "11.3.0" and cv2.__version__ == "4.12.0", (PIL.__version__, cv2.__version__)

# Intel's closed library, which x86 wheels use for INTER_CUBIC, differs from OpenCV's own
# code by one grey level in one pixel of 20; the goldens are of OpenCV's own.
cv2.ipp.setUseIPP(False)


def source(h, w, c):
    """A pseudo-random picture: a 32-bit linear congruential generator (Numerical Recipes)."""
    out, s = np.zeros(h * w * c, np.uint8), h * 1000003 + w * 1009 + c
    for i in range(out.size):
        s = (s * 1664525 + 1013904223) % 2**32
        out[i] = s >> 24
    if h % 2:  # smooth along x: the other half of the cases
        out = out.reshape(h, w, c) // 4 + (np.arange(w) * 190 // w).astype(np.uint8)[None, :, None]
    return out.reshape(h, w, c)


PIL_FILTERS = {"pil-nearest": Image.Resampling.NEAREST, "pil-box": Image.Resampling.BOX, "pil-bilinear": Image.Resampling.BILINEAR,
               "pil-hamming": Image.Resampling.HAMMING, "pil-bicubic": Image.Resampling.BICUBIC, "pil-lanczos": Image.Resampling.LANCZOS}
CV_FILTERS = {"cv-nearest": cv2.INTER_NEAREST, "cv-linear": cv2.INTER_LINEAR, "cv-cubic": cv2.INTER_CUBIC, "cv-area": cv2.INTER_AREA}

# source height, width, channels; target height, width
SIZES = [
    (16, 16, 3, 8, 8), (17, 23, 3, 7, 9), (10, 12, 1, 21, 17), (9, 40, 3, 12, 12), (30, 6, 1, 10, 13),
    (33, 31, 1, 11, 29), (24, 36, 3, 8, 12), (5, 7, 3, 15, 11), (1, 1, 3, 4, 3), (64, 48, 1, 15, 11), (13, 8, 1, 13, 5), (8, 20, 3, 19, 20),
]

cases = []
for h, w, c, oh, ow in SIZES:
    src = source(h, w, c)
    for name, f in PIL_FILTERS.items():
        img = Image.fromarray(src[:, :, 0] if c == 1 else src)
        cases.append((name, h, w, c, oh, ow, np.asarray(img.resize((ow, oh), f))))
    for name, f in CV_FILTERS.items():
        cases.append((name, h, w, c, oh, ow, cv2.resize(src, (ow, oh), interpolation=f)))

rgb = source(16, 16, 3)
out = {
    "pillow": PIL.__version__, "opencv": cv2.__version__,
    "gray": base64.b64encode(np.asarray(Image.fromarray(rgb).convert("L")).tobytes()).decode(),
    "cases": [{"filter": n, "from": [h, w, c], "to": [oh, ow], "pixels": base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()}
              for n, h, w, c, oh, ow, a in cases],
}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "goldens.json")
with open(path, "w") as f:
    f.write(json.dumps(out).replace('{"filter"', '\n{"filter"').replace("}]}", "}\n]}") + "\n")
print(os.path.getsize(path), "bytes")
