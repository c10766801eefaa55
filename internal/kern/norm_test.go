package kern

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/internal/cpu"
)

// TestNorm wants the same bits of assembly and portable Go, and nothing written between
// the channels and beyond them.
func TestNorm(t *testing.T) {
	fast := NormOf(cpu.Detect())
	for _, c := range []int{1, 7, 8, 16, 19, 24, 40} {
		for _, pixels := range []int{0, 1, 5} {
			for _, gap := range []int{0, 3} {
				r := rand.New(rand.NewPCG(uint64(c), uint64(pixels+gap)))
				px, dpx := c+gap, c+2*gap
				x, dy := normal(r, pixels*px+c), normal(r, pixels*dpx+c)
				if pixels == 5 {
					x[c] = float32(math.Inf(1))
				}
				doubles := func() []float64 {
					d := make([]float64, c)
					for i := range d {
						d[i] = r.NormFloat64()
					}
					return d
				}
				a, b, d, e := doubles(), doubles(), doubles(), doubles()
				run := func(k Norm) ([]float64, []float32) {
					s := NormSums{Pivot: a, R: slices.Clone(b), RR: slices.Clone(d), DY: slices.Clone(e), DYR: slices.Clone(a)}
					k.Forward(&s, x, pixels, px)
					k.Backward(&s, dy, x, pixels, dpx, px)
					y, dx := slices.Clone(dy), slices.Clone(dy)
					k.Apply(y, x, a, b, d, pixels, dpx, px)
					k.Gradient(dx, dy, x, a, b, d, e, pixels, dpx, dpx, px)
					return slices.Concat(s.R, s.RR, s.DY, s.DYR), slices.Concat(y, dx)
				}
				sums, out := run(fast)
				wantSums, wantOut := run(Norm{})
				for i, w := range wantSums {
					if math.Float64bits(sums[i]) != math.Float64bits(w) && !(sums[i] != sums[i] && w != w) {
						t.Fatalf("%d pixels of %d channels: sum %d is %v, in portable Go %v", pixels, c, i, sums[i], w)
					}
				}
				for i, w := range wantOut {
					if math.Float32bits(out[i]) != math.Float32bits(w) && !(out[i] != out[i] && w != w) {
						t.Fatalf("%d pixels of %d channels: output %d is %v, in portable Go %v", pixels, c, i, out[i], w)
					}
					at := i % len(dy)
					if (at >= pixels*dpx || at%dpx >= c) && w != dy[at] {
						t.Fatalf("%d pixels of %d channels: wrote at %d", pixels, c, at)
					}
				}
			}
		}
	}
}
