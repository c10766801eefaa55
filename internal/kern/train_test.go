package kern

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/internal/cpu"
)

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
		if r.IntN(7) == 0 {
			x[i] = 0
		}
	}
	return x
}

// TestVec wants the same bits of assembly and portable Go, at every length, and
// nothing written beyond it.
func TestVec(t *testing.T) {
	fast := VecOf(cpu.Detect())
	for n := range 40 {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		a, b, c, d, e := normal(r, n+3), normal(r, n+3), normal(r, n+3), normal(r, n+3), normal(r, n+3)
		for i := range d {
			d[i] *= d[i]
		}
		if n > 2 {
			a[1], b[1], b[2] = float32(math.NaN()), float32(math.Inf(1)), 1e-20
		}
		check := func(name string, f func(k Vec, out [][]float32)) {
			got, want := [][]float32{slices.Clone(a), slices.Clone(c), slices.Clone(d), slices.Clone(e)}, [][]float32{slices.Clone(a), slices.Clone(c), slices.Clone(d), slices.Clone(e)}
			f(fast, got)
			f(Vec{}, want)
			for i := range got {
				for j := range got[i] {
					if math.Float32bits(got[i][j]) != math.Float32bits(want[i][j]) && !(got[i][j] != got[i][j] && want[i][j] != want[i][j]) {
						t.Fatalf("%s of %d: array %d element %d: %v, in portable Go %v", name, n, i, j, got[i][j], want[i][j])
					}
				}
			}
		}
		check("add", func(k Vec, o [][]float32) { k.Add(o[0], b[:n]) })
		check("relugrad", func(k Vec, o [][]float32) { k.ReluGrad(o[0][:n], b, c) })
		check("ema", func(k Vec, o [][]float32) { k.EMA(o[0][:n], b, 0.3) })
		s := Adam{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, LR: 0.1, C1: 1.5, C2: 2.5, EMA: 0.1, Decay: 0.01, L2: 0.1}
		check("adamw", func(k Vec, o [][]float32) { k.AdamW(&s, o[0][:n], b, o[1], o[2], o[3][:n]) })
	}
	for _, c := range []int{1, 3, 8, 20, 33} {
		for _, px := range []int{c, c + 5} {
			const n = 3
			r := rand.New(rand.NewPCG(uint64(c), uint64(px)))
			a, b, dy := normal(r, 2*n*px), normal(r, 2*n*px), normal(r, n*px)
			for _, k := range []Vec{fast, {}} {
				y := make([]float32, n*px)
				k.Max2x2(y, a, b, n, c, px, px)
				da, db := make([]float32, 2*n*px), make([]float32, 2*n*px)
				k.Max2x2Grad(da, db, dy, a, b, n, c, px, px, px)
				for i := range n {
					for j := range c {
						w := []float32{a[2*i*px+j], a[(2*i+1)*px+j], b[2*i*px+j], b[(2*i+1)*px+j]}
						g := []float32{da[2*i*px+j], da[(2*i+1)*px+j], db[2*i*px+j], db[(2*i+1)*px+j]}
						m := slices.Max(w)
						if y[i*px+j] != m {
							t.Fatalf("max of %v: %v", w, y[i*px+j])
						}
						want := make([]float32, 4)
						want[slices.Index(w, m)] = dy[i*px+j]
						if !slices.Equal(g, want) {
							t.Fatalf("gradient at %v: %v, want %v", w, g, want)
						}
					}
				}
			}
		}
	}
	nan := float32(math.NaN())
	for _, k := range []Vec{fast, {}} {
		for i := range 4 {
			x := []float32{1, 2, 3, 4}
			x[i] = nan
			y := make([]float32, 1)
			if k.Max2x2(y, x[:2], x[2:], 1, 1, 1, 1); y[0] == y[0] {
				t.Errorf("NaN at %d does not win: %v", i, y[0])
			}
		}
	}
}

func TestSoftmax(t *testing.T) {
	for x := 0.0; x > -750; x -= 0.37 {
		if got, want := exp64(x), math.Exp(x); math.Abs(got-want) > 1e-14*want && want > 1e-300 {
			t.Fatalf("exp64(%v) = %v, want %v", x, got, want)
		}
	}
	for x := 1.0; x < 1e5; x *= 1.01 {
		if got, want := log64(x), math.Log(x); math.Abs(got-want) > 1e-14*max(1, want) {
			t.Fatalf("log64(%v) = %v, want %v", x, got, want)
		}
	}
	p := make([]float64, 4)
	if ls := Softmax(p, []float32{1, 2, 3, -1e30}); math.Abs(ls-3.4076059644443806) > 1e-14 || math.Abs(p[2]-0.6652409557748219) > 1e-14 || p[3] != 0 {
		t.Errorf("softmax %v, log of the sum %v", p, ls)
	}
	if ls := Softmax(p, []float32{float32(math.NaN()), 1, 2, 3}); ls == ls {
		t.Error("NaN is lost")
	}
}
