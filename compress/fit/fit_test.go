package fit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// gram is Σ x xᵀ of random rows whose columns depend on each other.
func gram(seed uint64, k, rows int) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	h := make([]float64, k*k)
	x := make([]float64, k)
	for range rows {
		common := r.NormFloat64()
		for i := range x {
			x[i] = common + r.NormFloat64()*(0.2+float64(i%5))
		}
		for i, a := range x {
			axpy(h[i*k:(i+1)*k], a, x)
		}
	}
	return h
}

func TestSolve(t *testing.T) {
	for _, k := range []int{1, 2, 7, 64, 65, 200} {
		h := gram(uint64(k), k, 3*k)
		l := slices.Clone(h)
		if err := Cholesky(l, k, 2); err != nil {
			t.Fatal(err)
		}
		b, x := make([]float64, k), make([]float64, k)
		for i := range b {
			b[i] = float64(i%3) - 1
			x[i] = b[i]
		}
		Solve(l, k, x)
		for i := range k {
			if got := Dot(h[i*k:(i+1)*k], x); math.Abs(got-b[i]) > 1e-8 {
				t.Fatalf("k %d: row %d of H x is %v, want %v", k, i, got, b[i])
			}
		}
		inv, u := slices.Clone(h), slices.Clone(h)
		if err := Inverse(inv, k, 2); err != nil {
			t.Fatal(err)
		}
		if err := InverseRoot(u, k, 2); err != nil {
			t.Fatal(err)
		}
		for i := range k {
			for j := range k {
				want := 0.0
				if i == j {
					want = 1
				}
				if got := Dot(h[i*k:(i+1)*k], inv[j*k:(j+1)*k]); math.Abs(got-want) > 1e-8 {
					t.Fatalf("k %d: H H⁻¹ [%d,%d] is %v", k, i, j, got)
				}
				uu := 0.0
				for r := range k {
					uu += u[r*k+i] * u[r*k+j]
				}
				if math.Abs(uu-inv[i*k+j]) > 1e-8 || j < i && u[i*k+j] != 0 {
					t.Fatalf("k %d: Uᵀ U [%d,%d] is %v, want %v", k, i, j, uu, inv[i*k+j])
				}
			}
		}
		for _, threads := range []int{1, 4} {
			a, b := slices.Clone(h), slices.Clone(h)
			if Inverse(a, k, threads); !slices.Equal(a, inv) {
				t.Errorf("k %d, %d workers: other bits of the inverse", k, threads)
			}
			if InverseRoot(b, k, threads); !slices.Equal(b, u) {
				t.Errorf("k %d, %d workers: other bits of its root", k, threads)
			}
		}
	}
	if err := Cholesky([]float64{1, 2, 2, 1}, 2, 1); !errors.Is(err, ErrSingular) {
		t.Errorf("indefinite: %v", err)
	}
	h := []float64{0, 0, 0, 4}
	if Damp(h, 2, 0.5); !slices.Equal(h, []float64{3, 0, 0, 5}) {
		t.Errorf("damped: %v", h)
	}
}

// still is a dataset of fixed random images.
type still struct {
	n     int
	shape []int
}

func (d still) Len() int            { return d.n }
func (d still) Shape() []int        { return d.shape }
func (d still) Labels() []string    { return nil }
func (d still) Hash(i int) [32]byte { return [32]byte{byte(i)} }
func (d still) Read(_ context.Context, idx []int, x []float32, _ []int32) error {
	size := tensor.Shape(d.shape).NumElements()
	for k, i := range idx {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for e := range size {
			x[k*size+e] = float32(r.NormFloat64())
		}
	}
	return nil
}

func random(seed uint64, shape ...int) *tensor.Tensor {
	w := tensor.New(tensor.Float32, shape...)
	r := rand.New(rand.NewPCG(seed, 3))
	for i := range tensor.Of[float32](w) {
		tensor.Of[float32](w)[i] = float32(r.NormFloat64() / 4)
	}
	return w
}

// network is a small one of every kind of layer.
func network() *graph.Graph {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 3, 8, 8)
	y := g.Add("", "Conv", map[string]any{"pads": []int64{1, 1, 1, 1}}, x, g.NewConst("a.weight", random(1, 6, 3, 3, 3)), g.NewConst("a.bias", random(2, 6)))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Conv", map[string]any{"group": int64(2), "strides": []int64{2, 2}}, y, g.NewConst("b.weight", random(3, 4, 3, 2, 2)))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Flatten", nil, y)
	y = g.Add("", "MatMul", nil, y, g.NewConst("c.weight", random(4, 64, 10)))
	y = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, y, g.NewConst("d.weight", random(5, 5, 10)), g.NewConst("d.bias", random(6, 5)))
	g.Outputs = []*graph.Value{y}
	return g
}

func state(threads int) *method.State {
	g := network()
	f, _ := g.Clone()
	ds := still{40, []int{3, 8, 8}}
	return &method.State{Graph: g, Float: f, Layers: method.FindLayers(g, ""), Train: ds, Choice: ds, Threads: threads}
}

// Where nothing was changed the float model's outputs are w x + b: the cross-moments say so.
func TestAgainst(t *testing.T) {
	s := state(2)
	n := 0
	err := Inputs(context.Background(), s, s.Layers, Options{Rows: 400}, func(l *method.Layer, in *stat.Patches) error {
		n++
		p, err := Against(context.Background(), s, l, Options{Rows: 400})
		if err != nil {
			return err
		}
		r, err := RowsOf(l)
		if err != nil {
			return err
		}
		if p.Columns() != r.K || p.Outs != r.N || p.Rows < 40 || p.Rows > 440 {
			return fmt.Errorf("%s: %d columns, %d outputs, %d rows for %+v", l.Name, p.Columns(), p.Outs, p.Rows, r)
		}
		w, each := make([]float64, r.K), r.N/r.Groups
		for o := range r.N {
			m, b := p.Parts[o/each], 0.0
			if l.Bias != nil {
				b = float64(l.Bias.Data()[o])
			}
			if !slices.Equal(m.G, in.Parts[o/each].G) {
				return fmt.Errorf("%s: Inputs and Against disagree", l.Name)
			}
			r.Get(w, l.Weight.Data(), o)
			for i := range r.K {
				want := Dot(m.G[i*r.K:(i+1)*r.K], w) + b*m.Sum[i]
				if got := m.Cross[o%each*r.K+i]; math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
					return fmt.Errorf("%s: Σ y x [%d,%d] is %v, want %v", l.Name, o, i, got, want)
				}
			}
		}
		return nil
	})
	if err != nil || n != 4 {
		t.Errorf("%d layers: %v", n, err)
	}
}

func ExampleInverse() {
	h := []float64{4, 0, 0, 16}
	fmt.Println(Inverse(h, 2, 1), h)
	// Output: <nil> [0.25 0 0 0.0625]
}
