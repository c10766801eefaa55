package prune

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// flat is a network of one layer, of n outputs, whose weight has the rank given.
func flat(kind string, n, rank int, bias bool) *graph.Graph {
	g := graph.New("flat")
	random := func(seed uint64, shape ...int) []float32 {
		x := make([]float32, tensor.Shape(shape).NumElements())
		for i := range x {
			seed = seed*6364136223846793005 + 1442695040888963407
			x[i] = float32(int32(seed>>32)) / (1 << 31)
		}
		return x
	}
	k := 3 * 4 * 4
	if kind == "Conv" {
		k = 3 * 3 * 3
	}
	a, b := random(1, n, rank), random(2, rank, k)
	w := make([]float32, n*k)
	for o := range n {
		for i := range k {
			for r := range rank {
				w[o*k+i] += a[o*rank+r] * b[r*k+i]
			}
		}
	}
	x := g.AddInput("x", tensor.Float32, -1, 3, 4, 4)
	var in []*graph.Value
	attrs := map[string]any{}
	op, shape := kind, []int{n, k}
	switch kind {
	case "Conv":
		in, shape = []*graph.Value{x}, []int{n, 3, 3, 3}
		attrs["pads"] = []int64{1, 1, 1, 1}
		attrs["strides"] = []int64{2, 1}
	case "Gemm, transposed":
		op, in = "Gemm", []*graph.Value{g.Add("", "Flatten", nil, x)}
		attrs["transB"] = int64(1)
	default:
		in, shape = []*graph.Value{g.Add("", "Flatten", nil, x)}, []int{k, n}
		t := make([]float32, len(w))
		for o := range n {
			for i := range k {
				t[i*n+o] = w[o*k+i]
			}
		}
		w = t
	}
	in = append(in, g.NewConst("fc.weight", tensor.From(w, shape...)))
	if bias {
		in = append(in, g.NewConst("fc.bias", tensor.From(random(3, n), n)))
	}
	y := g.Add("", op, attrs, in...)
	if kind == "Conv" {
		y = g.Add("", "Flatten", nil, y)
	}
	y.Name, g.Outputs = "y", []*graph.Value{y}
	return g
}

// uneven is noise of which some pixels vary more.
type uneven struct{ noise }

func (d uneven) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	err := d.noise.Read(ctx, idx, x, y)
	for i := range x {
		x[i] /= float32(1 + i%4)
	}
	return err
}

// A layer whose weight has few dimensions loses nothing by being split into as many, whatever is kept beyond.
func TestLowRankExact(t *testing.T) {
	for _, c := range []struct {
		kind   string
		bias   bool
		images int
	}{
		{"Conv", true, 24}, {"Conv", false, 24}, {"Conv", true, 0}, {"Gemm", true, 24}, {"Gemm", false, 0}, {"Gemm, transposed", true, 24}, {"MatMul", false, 24}, {"MatMul", false, 0},
	} {
		t.Run(fmt.Sprintf("%s, bias %v, %d images", c.kind, c.bias, c.images), func(t *testing.T) {
			s := state(t, flat(c.kind, 24, 3, c.bias), 24)
			want := run(t, s.Graph, images(t, s))
			do(t, s, LowRank, map[string]any{"images": c.images, "keep": 0.25, "by": "weights"})
			if len(s.Layers) != 2 || s.Layers[0].Name != "fc.0" || s.Layers[1].Name != "fc.1" {
				t.Fatalf("layers %v", s.Layers)
			}
			got := run(t, s.Graph, images(t, s))
			for i, v := range tensor.Of[float32](want) {
				if d := math.Abs(float64(v - tensor.Of[float32](got)[i])); d > 1e-4 {
					t.Fatalf("output %d is %v off", i, d)
				}
			}
		})
	}
}

// What is lost is the least that any subspace of so many dimensions loses: the covariance's eigenvalues that go.
func TestLowRankLeast(t *testing.T) {
	miss := func(n, seen int) (sum float64, s *method.State) {
		s = state(t, flat("Gemm", 24, 20, true), 200)
		s.Train = uneven{noise{s.Train.Shape(), 200, make([]int32, 200)}}
		x := images(t, s)
		want := run(t, s.Graph, x)
		do(t, s, LowRank, map[string]any{"images": seen, "keep": float64(n*(24+48)) / (24 * 48), "by": "weights"})
		got := run(t, s.Graph, x)
		for i, v := range tensor.Of[float32](want) {
			d := float64(v - tensor.Of[float32](got)[i])
			sum += d * d
		}
		if r := s.Layers[0].Weight.Value.Type.Shape[1]; r != n {
			t.Fatalf("rank %d, want %d", r, n)
		}
		return sum / 200, s
	}
	for _, n := range []int{1, 4, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			by, s := miss(n, 200)
			plain, _ := miss(n, 0)
			d, err := newSubspace(method.FindLayers(s.Float, "")[0], 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			// The covariance by itself.
			x := tensor.Of[float32](images(t, s))
			const k = 48
			g, mean := make([]float64, k*k), make([]float64, k)
			for r := range 200 {
				for i := range k {
					mean[i] += float64(x[r*k+i])
					for j := range k {
						g[i*k+j] += float64(x[r*k+i]) * float64(x[r*k+j])
					}
				}
			}
			if err := d.solve(&stat.Patches{Rows: 200, Parts: []stat.Moments{{K: k, G: g, Sum: mean}}}, 1); err != nil {
				t.Fatal(err)
			}
			gone := 0.0
			for _, v := range d.values[:24-n] {
				gone += v
			}
			if math.Abs(by-gone) > 1e-3*gone {
				t.Errorf("%v is lost, the eigenvalues that go are %v", by, gone)
			}
			if by > plain {
				t.Errorf("%v is lost, %v by the weights alone", by, plain)
			}
		})
	}
}

// Layers of a network are split where it pays, together take the share that is asked for, and give the same bytes whatever the number of workers.
func TestLowRankNetwork(t *testing.T) {
	work := func(s *method.State) (sum float64) {
		of, err := workOf(s, "macs")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Layers {
			sum += of(l.Node) * float64(l.Weight.Len())
		}
		return sum
	}
	for _, c := range []struct {
		net, layers string
		keep        float64
	}{{"tiny", "*", 0.6}, {"resnet20", "*", 0.5}, {"lenet300", "fc1", 0.2}} {
		t.Run(c.net, func(t *testing.T) {
			var first []float32
			for _, threads := range []int{1, 2} {
				s := state(t, small(t, c.net), 24)
				s.Threads = threads
				before := work(s)
				rest := 0.0
				of, _ := workOf(s, "macs")
				for _, l := range s.Layers {
					if !method.Match(c.layers, l.Name) || l.Node.Int("group", 1) != 1 {
						rest += of(l.Node) * float64(l.Weight.Len())
					}
				}
				do(t, s, LowRank, map[string]any{"layers": c.layers, "keep": c.keep})
				if after := work(s); after-rest > c.keep*(before-rest)*(1+1e-9) || after < 0.7*c.keep*before {
					t.Errorf("%v of %v multiplications are left, %v of them not split", after, before, rest)
				}
				got := tensor.Of[float32](run(t, s.Graph, images(t, s)))
				if first == nil {
					first = got
				} else if !slices.Equal(first, got) {
					t.Error("two workers give another network")
				}
			}
		})
	}
}

func TestLowRankErrors(t *testing.T) {
	for _, c := range []struct {
		name, net string
		set       map[string]any
		change    func(s *method.State)
		want      string
	}{
		{"no images", "tiny", map[string]any{}, func(s *method.State) { s.Train = nil }, "no images"},
		{"none can be split", "shufflenet1", map[string]any{"layers": "*.dw.conv"}, nil, "none of the"},
		{"weights that are no numbers", "tiny", map[string]any{"images": 0}, func(s *method.State) {
			x := slices.Clone(s.Layers[0].Weight.Data())
			x[3] = float32(math.NaN())
			s.Layers[0].Weight.Set(x)
		}, "not found"},
		{"no such layer", "tiny", map[string]any{"layers": "nosuch"}, nil, "no layer matches"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := state(t, small(t, c.net), 8)
			if c.change != nil {
				c.change(s)
			}
			if err := try(s, LowRank, c.set); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
