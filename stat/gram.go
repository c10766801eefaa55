package stat

import (
	"fmt"

	"whit/tensor"
)

// MaxGram is the largest number of channels of a Gram matrix: 8192 take 512 MiB.
const MaxGram = 8192

// Gram sums x xᵀ and x over a value's rows: what least-squares repair and
// second-order pruning need of a layer's input (E. Frantar, D. Alistarh: Optimal
// Brain Compression, 2022). Rows of [N,K] are samples; of [N,C,...] they are all
// samples' pixels, each a vector of C channels. The zero value is ready to use; it is
// not safe for concurrent use.
type Gram struct {
	K    int       // channels; 0 before the first Observe
	Rows int64     // rows so far
	G    []float64 // [K,K], row-major, symmetric
	Sum  []float64 // [K]

	row []float64
}

// Observe implements Observer.
func (g *Gram) Observe(x *tensor.Tensor) error {
	if len(x.Shape) < 2 {
		return fmt.Errorf("gram: shape %v, want at least two axes", x.Shape)
	}
	k := x.Shape[1]
	if k < 1 || k > MaxGram {
		return fmt.Errorf("gram: %d channels, want 1 to %d", k, MaxGram)
	}
	if g.K == 0 {
		g.K, g.G, g.Sum, g.row = k, make([]float64, k*k), make([]float64, k), make([]float64, k)
	}
	if k != g.K {
		return fmt.Errorf("gram: %d channels after %d", k, g.K)
	}
	v := tensor.Of[float32](x)
	pixels := x.Shape[2:].NumElements()
	for n := range x.Shape[0] {
		img := v[n*k*pixels : (n+1)*k*pixels]
		for p := range pixels {
			for c := range k {
				g.row[c] = float64(img[c*pixels+p])
			}
			g.add(g.row)
		}
	}
	return nil
}

// add adds one row: the lower half, mirrored by Matrix.
func (g *Gram) add(r []float64) {
	g.Rows++
	for i, a := range r {
		if a == 0 {
			continue
		}
		g.Sum[i] += a
		out := g.G[i*g.K : i*g.K+i+1]
		for j := range out {
			out[j] += float64(a * r[j])
		}
	}
}

// Matrix mirrors the lower half into the upper one and returns G.
func (g *Gram) Matrix() []float64 {
	for i := range g.K {
		for j := range i {
			g.G[j*g.K+i] = g.G[i*g.K+j]
		}
	}
	return g.G
}
