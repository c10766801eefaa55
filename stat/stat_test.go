package stat

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"whit/graph"
	"whit/tensor"
)

func ExampleHistogram() {
	h := &Histogram{}
	h.Observe(tensor.From([]float32{-1, 0, 1, 2, 3}, 5))
	fmt.Printf("%d elements from %v to %v, mean %v, median %.3f\n", h.N, h.Min, h.Max, h.Mean(), h.Quantile(0.5))
	// Output: 5 elements from -1 to 3, mean 1, median 1.002
}

// Counts do not depend on the order, and quantiles are right to a bin.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float32Range(-1e6, 1e6), 1, 100).Draw(t, "x")
		a, b := &Histogram{}, &Histogram{}
		if err := a.Observe(tensor.From(x, len(x))); err != nil {
			t.Fatal(err)
		}
		for i := range x {
			b.Observe(tensor.From(x[len(x)-1-i:len(x)-i], 1))
		}
		if a.exp != b.exp || a.pos != b.pos || a.neg != b.neg || a.Min != b.Min || a.Max != b.Max {
			t.Fatal("the order of the elements shows")
		}
		s := slices.Clone(x)
		slices.Sort(s)
		for _, q := range []float64{0.01, 0.3, 0.5, 0.99, 1} {
			want := float64(s[max(0, int(math.Ceil(q*float64(len(s))))-1)])
			if got := a.Quantile(q); math.Abs(got-want) > a.Width() {
				t.Fatalf("quantile %v is %v, want %v within %v", q, got, want, a.Width())
			}
		}
		n := int64(0)
		a.Each(func(lo, hi float64, c int64) { n += c })
		if n != int64(len(x)) {
			t.Fatalf("%d elements in bins, want %d", n, len(x))
		}
	})
	h := &Histogram{}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		if err := h.Observe(tensor.From([]float32{1, bad}, 2)); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := h.Observe(tensor.From([]float32{math.MaxFloat32, -math.MaxFloat32, 1e-44}, 3)); err != nil || h.Quantile(1) != math.MaxFloat32 {
		t.Errorf("%v %v", err, h.Quantile(1))
	}
}

func TestGram(t *testing.T) {
	g := &Gram{}
	x := tensor.From([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2) // rows (1,3) (2,4) (5,7) (6,8)
	if err := g.Observe(x); err != nil {
		t.Fatal(err)
	}
	if want := []float64{66, 94, 94, 138}; !slices.Equal(g.Matrix(), want) || g.Rows != 4 || !slices.Equal(g.Sum, []float64{14, 22}) {
		t.Errorf("%v %v", g.G, g.Sum)
	}
	for _, bad := range []*tensor.Tensor{tensor.New(tensor.Float32, 3), tensor.New(tensor.Float32, 1, 3), tensor.New(tensor.Float32, 1, 0)} {
		if err := g.Observe(bad); err == nil {
			t.Errorf("%v: no error", bad.Shape)
		}
	}
}

type ramp struct{ n int }

func (r ramp) Len() int            { return r.n }
func (r ramp) Shape() []int        { return []int{3} }
func (r ramp) Labels() []string    { return nil }
func (r ramp) Hash(i int) [32]byte { return [32]byte{byte(i)} }
func (r ramp) Read(_ context.Context, idx []int, x []float32, _ []int32) error {
	for k, i := range idx {
		x[3*k], x[3*k+1], x[3*k+2] = float32(i), -float32(i), 1
	}
	return nil
}

func TestRun(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 3)
	y := g.Add("", "Relu", nil, x)
	y.Name = "y"
	z := g.Add("", "Neg", nil, y)
	z.Name = "z"
	g.Outputs = []*graph.Value{z}
	for _, batch := range []int{1, 4, 64} {
		in, relu, gram := &Histogram{}, &Histogram{}, &Gram{}
		ps := []Point{{"x", in}, {"y", relu}, {"y", gram}}
		if err := Run(context.Background(), g, ramp{10}, ps, Options{Batch: batch, Samples: 9}); err != nil {
			t.Fatal(err)
		}
		if in.N != 27 || in.Min != -8 || in.Max != 8 || relu.Min != 0 || relu.Sum != 45 || gram.Rows != 9 || gram.Matrix()[0] != 204 {
			t.Errorf("batch %d: %d %v..%v, %v, %v", batch, in.N, in.Min, in.Max, relu.Sum, gram.G)
		}
	}
	if err := Run(context.Background(), g, ramp{2}, []Point{{"nothing", &Histogram{}}}, Options{}); err == nil {
		t.Error("a value that is not there")
	}
}

// A model that declares a batch is run in other batches where it can be, else in its own.
func TestRunOfFixedBatch(t *testing.T) {
	for _, insists := range []bool{false, true} {
		g := graph.New("g")
		x := g.AddInput("x", tensor.Float32, 2, 3)
		y := g.Add("", "Relu", nil, x)
		if insists {
			y = g.Add("", "Reshape", nil, y, g.NewConst("shape", tensor.Ints(2, 3)))
		}
		y.Name = "y"
		g.Outputs = []*graph.Value{y}
		h := &Histogram{}
		if err := Run(context.Background(), g, ramp{9}, []Point{{"y", h}}, Options{Batch: 4}); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int64{false: 27, true: 24}[insists]; int64(h.N) != want { // whole batches only
			t.Errorf("%v: %d values", insists, h.N)
		}
		if g.Inputs[0].Decl.Dims[0].Size != 2 {
			t.Error("the graph was changed")
		}
		if err := Run(context.Background(), g, ramp{1}, []Point{{"y", h}}, Options{}); (err != nil) != insists {
			t.Error(err)
		}
	}
}
