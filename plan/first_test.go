package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/optest"
	"whit/tensor"
)

// firstGraph has one of each kernel whose first run goes without packed weights:
// pointwise, strided and Winograd convolutions, with a residual and an odd number of
// channels, and a matrix product. All outputs are at least four panels of 32 channels.
func firstGraph(weight func(shape ...int) *tensor.Tensor) (*graph.Graph, map[string]*tensor.Tensor) {
	g := graph.New("first")
	x := g.AddInput("x", tensor.Float32, 1, 96, 10, 9)
	conv := func(in *graph.Value, cout, k int, stride int64, add *graph.Value) *graph.Value {
		cin := in.Type.Shape[1]
		w, b := weight(cout, cin, k, k), weight(cout)
		p := int64(k / 2)
		y := g.Add("", "Conv", map[string]any{"pads": []int64{p, p, p, p}, "strides": []int64{stride, stride}}, in, g.NewConst("", w), g.NewConst("", b))
		y.Type = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{1, cout}}
		if add != nil {
			y = g.Add("", "Add", nil, y, add)
		}
		y = g.Add("", "Relu", nil, y)
		y.Type = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{1, cout}}
		return y
	}
	x.Type = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{1, 96, 10, 9}}
	a := conv(x, 136, 1, 1, nil)
	b := conv(a, 136, 3, 1, a)
	c := conv(b, 109, 3, 2, nil)
	d := conv(c, 144, 3, 1, nil) // 109 channels are no eights: direct
	e := conv(d, 144, 3, 1, d)
	f := g.Add("", "Flatten", nil, g.Add("", "GlobalAveragePool", nil, e))
	y := g.Add("", "Gemm", map[string]any{"transB": int64(1)}, f, g.NewConst("", weight(133, 144)), g.NewConst("", weight(133)))
	x.Type = tensor.Type{}
	for _, n := range g.Nodes {
		n.Out[0].Type = tensor.Type{}
	}
	g.Outputs = []*graph.Value{y, e}
	return g, map[string]*tensor.Tensor{"x": optest.Rand(1, tensor.Float32, 1, 96, 10, 9)}
}

func randomWeight() func(shape ...int) *tensor.Tensor {
	seed := uint64(1)
	return func(shape ...int) *tensor.Tensor {
		seed++
		return optest.Rand(seed, tensor.Float32, shape...)
	}
}

// stored leaves the bytes of large weights behind a reader.
func storedWeight(r func(b []byte) readerAt) func(shape ...int) *tensor.Tensor {
	random := randomWeight()
	return func(shape ...int) *tensor.Tensor {
		t := random(shape...)
		if len(shape) == 1 {
			return t
		}
		s, err := tensor.Stored(t.Type, r(append(make([]byte, 7), t.Bytes()...)), 7)
		if err != nil {
			panic(err)
		}
		return s
	}
}

type readerAt func(b []byte, off int64) (int, error)

func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return r(b, off) }

// TestFirstRun: the first run, which packs no weights, the second, which packs them, and
// the third give the same bits, whether weights are in memory or not.
func TestFirstRun(t *testing.T) {
	plain := func(b []byte) readerAt { return bytes.NewReader(b).ReadAt }
	for _, f := range cpu.Detect().Variants() {
		var want [][]byte
		for _, threads := range []int{1, 3} {
			for name, w := range map[string]func(...int) *tensor.Tensor{"memory": randomWeight(), "stored": storedWeight(plain)} {
				t.Run(fmt.Sprintf("%v/%d/%s", f, threads, name), func(t *testing.T) {
					g, in := firstGraph(w)
					p, err := NewProgram(g, Options{CPU: &f, Threads: threads})
					if err != nil {
						t.Fatal(err)
					}
					pl, err := p.Plan(map[string]tensor.Type{"x": in["x"].Type})
					if err != nil {
						t.Fatal(err)
					}
					s, err := pl.NewSession()
					if err != nil {
						t.Fatal(err)
					}
					copy(s.Input("x").Bytes(), in["x"].Bytes())
					for range 3 {
						if err := s.Run(context.Background()); err != nil {
							t.Fatal(err)
						}
						for i, v := range p.Outputs() {
							b := bytes.Clone(s.Output(v.Name).Bytes())
							if len(want) <= i {
								want = append(want, b)
							}
							if !bytes.Equal(b, want[i]) {
								t.Fatalf("output %d differs", i)
							}
						}
					}
				})
			}
		}
	}
}

// firstRuns counts the steps that run without packed weights.
func firstRuns(pl *Plan) (n int) {
	for _, s := range pl.steps {
		if s.prep != nil && len(s.prep.First) > 0 {
			n++
		}
	}
	return n
}

// TestFirstRunPlanned: the graph of TestFirstRun has its five first runs on every processor of amd64. Planning runs
// nothing beyond AVX2, so that this machine need not have the rest.
func TestFirstRunPlanned(t *testing.T) {
	if !cpu.Detect().AVX2FMA {
		t.Skip("NOT RUN: this CPU or build lacks AVX2")
	}
	for _, f := range (cpu.Features{AVX2FMA: true, AVX512: true, VNNI: true}).Variants() {
		g, in := firstGraph(randomWeight())
		pl, err := tunedPlan(g, map[string]tensor.Type{"x": in["x"].Type}, Options{CPU: &f, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if n := firstRuns(pl); n < 5 {
			t.Errorf("%v: %d steps run without packed weights, want at least 5", f, n)
		}
	}
}

// TestUnreadable: a weight that cannot be read is an error of every step that needs it.
func TestUnreadable(t *testing.T) {
	broken := errors.New("broken")
	for _, limit := range []int64{0, 100, 1 << 14, 1 << 16, 1 << 18} {
		g, in := firstGraph(storedWeight(func(b []byte) readerAt {
			return func(p []byte, off int64) (int, error) {
				if off+int64(len(p)) > limit {
					return 0, broken
				}
				return copy(p, b[off:]), nil
			}
		}))
		err := func() error {
			p, err := NewProgram(g, Options{Threads: 2})
			if err != nil {
				return err
			}
			pl, err := p.Plan(map[string]tensor.Type{"x": in["x"].Type})
			if err != nil {
				return err
			}
			s, err := pl.NewSession()
			if err != nil {
				return err
			}
			for range 2 {
				if e := s.Run(context.Background()); e == nil {
					return nil
				} else {
					err = e
				}
			}
			return err
		}()
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "constant") {
			t.Errorf("limit %d: %v, want one that says which constant", limit, err)
		}
	}
}

// integersGraph has a quantised convolution of each kind, and a product.
func integersGraph(weight func(shape ...int) *tensor.Tensor) *graph.Graph {
	g := graph.New("first")
	scalar := func(s float32) *graph.Value { return g.NewConst("", tensor.Scalar(s)) }
	quant := func(x *graph.Value, scale float32) *graph.Value {
		s, z := scalar(scale), g.NewConst("", tensor.Scalar[uint8](3))
		return g.Add("", "DequantizeLinear", nil, g.Add("", "QuantizeLinear", nil, x, s, z), s, z)
	}
	conv := func(x *graph.Value, cin, cout, k int, stride, group int64, scale float32) *graph.Value {
		w := g.Add("", "DequantizeLinear", nil, g.NewConst("", weight(cout, cin/int(group), k, k)), scalar(0.01), g.NewConst("", tensor.New(tensor.Int8)))
		p := int64(k / 2)
		y := g.Add("", "Conv", map[string]any{"pads": []int64{p, p, p, p}, "strides": []int64{stride, stride}, "group": group}, x, w)
		return quant(g.Add("", "Relu", nil, y), scale)
	}
	x := quant(g.AddInput("x", tensor.Float32, 1, 96, 12, 11), 0.02)
	a := conv(x, 96, 144, 3, 1, 1, 0.5) // Winograd
	b := conv(a, 144, 512, 1, 1, 1, 2)  // pairs
	c := conv(b, 512, 136, 3, 2, 1, 8)  // direct
	d := conv(c, 136, 512, 3, 1, 8, 32) // groups
	v := g.Add("", "DequantizeLinear", nil, g.NewConst("", weight(75, 512*6*6)), scalar(0.01), g.NewConst("", tensor.New(tensor.Int8)))
	f := quant(g.Add("", "Gemm", map[string]any{"transB": int64(1)}, g.Add("", "Flatten", nil, d), v), 512)
	g.Outputs = []*graph.Value{b, d, f}
	return g
}

// TestFirstRunIntegers: the first run of quantised convolutions, which packs panels of them in scratch, and the
// next ones, which run on packed weights, give the same integers, on every CPU, whether weights are in
// memory or in a file, of which no tensor is read as a whole.
func TestFirstRunIntegers(t *testing.T) {
	types := map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{1, 96, 12, 11}}}
	in := optest.Rand(1, tensor.Float32, 1, 96, 12, 11)
	var want []byte
	wholes := 0
	weights := func(stored bool) func(shape ...int) *tensor.Tensor {
		seed := uint64(10)
		return func(shape ...int) *tensor.Tensor {
			seed++
			w := optest.Rand(seed, tensor.Int8, shape...)
			if !stored {
				return w
			}
			s, err := tensor.Stored(w.Type, readerAt(func(b []byte, off int64) (int, error) {
				if len(b) == w.NumBytes() {
					wholes++
				}
				return copy(b, w.Bytes()[off:]), nil
			}), 0)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	options := []Options{{Threads: 2}, {Threads: 1, Direct: true}}
	for _, f := range cpu.Detect().Variants() {
		options = append(options, Options{Threads: 1, CPU: &f})
	}
	for _, o := range options {
		g := integersGraph(weights(o.Threads == 1))
		wholes = 0
		pl, err := tunedPlan(g, types, o)
		if err != nil {
			t.Fatal(err)
		}
		firsts := firstRuns(pl)
		if firsts < 5 {
			t.Errorf("%+v: %d nodes have a first run, want 5", o, firsts)
		}
		s, err := pl.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		for run := range 3 {
			copy(s.Input("x").Bytes(), in.Bytes())
			if err := s.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, v := range g.Outputs {
				got = append(got, s.Output(v.Name).Bytes()...)
			}
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%+v: run %d gives other integers", o, run+1)
			}
		}
		if wholes > 0 {
			t.Errorf("%+v: %d tensors were read as a whole", o, wholes)
		}
	}
}
