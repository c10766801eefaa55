package kern

import (
	"math"

	"whit/internal/cpu"
)

// Pool is one call of a pooling kernel: a row of Pixels output pixels of N channels.
//
//	Y[p*LDY+c] = max or mean over i of X[p*RSX+Off[i]+c]
//
// NaN wins a maximum; a mean is the sum of the taps in order over Div. Without taps
// the maximum is -Inf and the mean 0/Div. Y and X do not overlap.
type Pool struct {
	X      []float32
	Off    []int
	RSX    int
	Y      []float32
	LDY    int
	Pixels int
	N      int
	Div    float32
}

// Pooler is the pooling kernels of a processor.
type Pooler struct{ asm bool }

// PoolerOf is the kernels for a processor with features f.
func PoolerOf(f cpu.Features) Pooler { return Pooler{haveAsm && f.AVX2FMA} }

// Max pools by the largest. It panics where a slice is too short.
func (u Pooler) Max(t *Pool) {
	if t.ends() && u.asm && t.N >= 8 {
		maxPool(t)
		return
	}
	for p := range t.Pixels {
		y := t.Y[p*t.LDY:][:t.N]
		for c := range y {
			y[c] = float32(math.Inf(-1))
		}
		for _, off := range t.Off {
			for c, v := range t.X[p*t.RSX+off:][:len(y)] {
				if v > y[c] || v != v {
					y[c] = v
				}
			}
		}
	}
}

// Mean pools by the mean. It panics where a slice is too short.
func (u Pooler) Mean(t *Pool) {
	if t.ends() && u.asm && t.N >= 8 {
		avgPool(t)
		return
	}
	for p := range t.Pixels {
		y := t.Y[p*t.LDY:][:t.N]
		clear(y)
		for _, off := range t.Off {
			for c, v := range t.X[p*t.RSX+off:][:len(y)] {
				y[c] += v
			}
		}
		for c := range y {
			y[c] /= t.Div
		}
	}
}

// ends looks at what a kernel touches last, and reports whether there is anything to pool.
func (t *Pool) ends() bool {
	if t.Pixels < 1 || t.N < 1 || len(t.Off) == 0 {
		return false
	}
	_ = t.X[(t.Pixels-1)*t.RSX+t.Off[len(t.Off)-1]+t.N-1]
	_ = t.Y[(t.Pixels-1)*t.LDY+t.N-1]
	return true
}

// Sum adds pixels, stride floats apart, to one sum a channel:
// sums[c] += x[p*stride+c] for p < pixels, in order, and c < len(sums).
func (u Pooler) Sum(sums []float64, x []float32, pixels, stride int) {
	n := 0
	if u.asm && len(sums) >= 8 && pixels > 0 {
		n = len(sums) &^ 7
		_ = x[(pixels-1)*stride+n-1]
		sumPixels(sums, x, n, pixels, stride)
	}
	for p := range pixels {
		for c, v := range x[p*stride:][n:len(sums)] {
			sums[n+c] += float64(v)
		}
	}
}
