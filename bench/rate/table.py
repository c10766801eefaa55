"""table.py PEER.csv OURS.csv: our points beside the peer's bytes at the same divergence, on the lower hull of all of its settings (linear in the
logarithm of the divergence between neighbours)."""
import math, sys


def load(name):
    rows = []
    for line in open(name):
        b, k, e, setting = line.strip().split(",", 3)
        rows.append((float(k), int(b), float(e), setting))
    return sorted(rows)


front = []
for p in load(sys.argv[1]):
    if not front or p[1] < front[-1][1]:
        front.append(p)


def at(k):
    for a, b in zip(front, front[1:]):
        if a[0] <= k <= b[0]:
            return a[1] + (b[1] - a[1]) * math.log(k / a[0]) / math.log(b[0] / a[0])
    return math.nan


print("%8s %10s %7s %8s %7s  setting" % ("bytes", "KL, nats", "error", "peer", "ratio"))
for k, b, e, setting in load(sys.argv[2]):
    print("%8d %10.3g %6.2f%% %8.0f %6.1f%%  %s" % (b, k, 100 * e, at(k), 100 * b / at(k), setting))
