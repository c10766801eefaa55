package plan

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/optest"
	"whit/kernel"
	"whit/tensor"
)

// tuneGraph has a convolution for Winograd, one of which few weights are not zero, and one with a
// depthwise one behind it; and, quantised, a convolution on integers.
func tuneGraph(odd bool) *graph.Graph {
	g := graph.New("tune")
	conv := func(name string, in *graph.Value, group int64, seed uint64, zeros bool, shape ...int) *graph.Value {
		w := optest.Rand(seed, tensor.Float32, shape...)
		if zeros {
			for i, s := 0, tensor.Of[float32](w); i < len(s); i++ {
				if i%10 != 0 {
					s[i] = 0
				}
			}
		}
		if odd {
			tensor.Of[float32](w)[0] = float32(math.NaN())
		}
		p := int64(shape[2] / 2)
		n := g.NewNode("", "Conv", map[string]any{"pads": []int64{p, p, p, p}, "group": group}, 1, in, g.NewConst("", w))
		n.Name = name
		g.Nodes = append(g.Nodes, n)
		return n.Out[0]
	}
	x := g.AddInput("x", tensor.Float32, 1, 32, 10, 10)
	y := conv("wino", x, 1, 1, false, 64, 32, 3, 3)
	y = conv("sparse", y, 1, 2, true, 64, 64, 1, 1)
	y = g.Add("", "Relu", nil, conv("pair", y, 1, 3, false, 48, 64, 1, 1))
	y = conv("dw", y, 48, 4, false, 48, 1, 3, 3)
	scale := func(s float32) *graph.Value { return g.NewConst("", tensor.Scalar(s)) }
	zero := func() *graph.Value { return g.NewConst("", tensor.New(tensor.Int8)) }
	s, z := scale(0.5), zero()
	y = g.Add("", "DequantizeLinear", nil, g.Add("", "QuantizeLinear", nil, y, s, z), s, z)
	w := g.Add("", "DequantizeLinear", nil, g.NewConst("", optest.Rand(5, tensor.Int8, 32, 48, 3, 3)), scale(0.01), zero())
	n := g.NewNode("", "Conv", map[string]any{"pads": []int64{1, 1, 1, 1}}, 1, y, w)
	n.Name = "ints"
	g.Nodes = append(g.Nodes, n)
	s, z = scale(8), zero()
	g.Outputs = []*graph.Value{g.Add("", "DequantizeLinear", nil, g.Add("", "QuantizeLinear", nil, n.Out[0], s, z), s, z)}
	return g
}

var tuneTypes = map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{1, 32, 10, 10}}}

// faked is a Timer whose nodes take as long as of says of node and kernel.
func faked(of func(node, kernel string) int) Timer {
	return func(_ context.Context, plans []*Plan) (all [][]time.Duration, _ error) {
		for _, pl := range plans {
			var times []time.Duration
			for _, n := range pl.Nodes() {
				times = append(times, time.Duration(of(n.Node, n.Kernel)))
			}
			all = append(all, times)
		}
		return all, nil
	}
}

// kernels are the plan's kernels by node, those of the nodes that the tests look at.
func kernelsOf(pl *Plan) map[string]string {
	m := map[string]string{}
	for _, n := range pl.Nodes() {
		switch n.Node {
		case "wino", "sparse", "pair", "dw", "ints":
			m[n.Node] = n.Kernel
		}
	}
	return m
}

func TestTune(t *testing.T) {
	o := Options{Threads: 1, CPU: &cpu.Features{}}
	ctx := context.Background()
	in := optest.Rand(9, tensor.Float32, 1, 32, 10, 10)
	output := func(pl *Plan) []byte {
		s, err := pl.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		copy(s.Input("x").Bytes(), in.Bytes())
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(s.Output(pl.g.Outputs[0].Name).Bytes())
	}
	planOf := func(odd bool, c *kernel.Choices) *Plan {
		o := o
		o.Choices = c
		pl, err := tunedPlan(tuneGraph(odd), tuneTypes, o)
		if err != nil {
			t.Fatal(err)
		}
		return pl
	}
	table := planOf(false, nil)
	for _, tt := range []struct {
		name       string
		node, fast string // kernels of that node whose name contains fast take half the time
		slow       bool   // taken together it is slower
		want       string // in the kernel's name then
	}{
		{name: "nothing is faster", node: "wino", fast: "no kernel"},
		{"direct", "wino", "_go_conv", false, "_conv"},
		{"winograd2", "wino", "winograd2", false, "winograd2"},
		{"winograd4", "wino", "winograd4", false, "winograd4"},
		{"sparse in twos", "sparse", "2x", false, "2x"},
		{"dense", "sparse", "_conv", false, "_conv"},
		{"apart", "pair", "_conv", false, "_conv"},
		{"integers direct", "ints", "i8_conv", false, "i8_conv"},
		{"integers by Winograd", "ints", "i8_winograd", false, "i8_winograd"},
		{"floats", "ints", "f32", false, "f32"},
		{name: "the whole is slower", node: "wino", fast: "winograd2", slow: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			timer := faked(func(node, k string) int {
				switch {
				case node == tt.node && strings.Contains(k, tt.fast):
					return 400
				case strings.Contains(node, tt.node):
					return 1000
				}
				return 10
			})
			calls := 0
			wrapped := func(ctx context.Context, plans []*Plan) ([][]time.Duration, error) {
				all, err := timer(ctx, plans)
				if calls++; calls == 2 && tt.slow {
					all[1][0] += 1e6
				}
				return all, err
			}
			c, err := Tune(ctx, tuneGraph(false), tuneTypes, o, wrapped)
			if err != nil {
				t.Fatal(err)
			}
			again, err := kernel.ParseChoices(c.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			a, b := planOf(false, c), planOf(false, again)
			got, want := kernelsOf(a), kernelsOf(table)
			if !strings.Contains(got[tt.node], tt.want) {
				t.Errorf("%s runs on %q, want %q", tt.node, got[tt.node], tt.want)
			}
			for node, k := range want {
				if node != tt.node && got[node] != k && got[node] != "" && want["pair"] == got["pair"] {
					t.Errorf("%s runs on %q, want %q as without choices", node, got[node], k)
				}
			}
			if fmt.Sprint(kernelsOf(b)) != fmt.Sprint(got) {
				t.Errorf("replayed: %v, want %v", kernelsOf(b), got)
			}
			if tt.want == "" && fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v, want those of the tables: %v", got, want)
			}
			if !bytes.Equal(output(a), output(b)) {
				t.Error("replayed choices give other bits")
			}
			if tt.want != "" && !slices.ContainsFunc(a.Nodes(), func(n NodeInfo) bool { return n.Node == tt.node && strings.HasPrefix(n.Why, "tuned") }) {
				t.Errorf("%s does not say that it is tuned: %v", tt.node, a.Nodes())
			}
		})
	}
}

// TestChoicesElsewhere: choices of another processor keep the algorithm and nothing more; what is not
// exact, or unknown, is not taken.
func TestChoicesElsewhere(t *testing.T) {
	o := Options{Threads: 1, CPU: &cpu.Features{}}
	table, err := tunedPlan(tuneGraph(false), tuneTypes, o)
	if err != nil {
		t.Fatal(err)
	}
	own := table.env.CPU.String()
	want := kernelsOf(table)
	for _, tt := range []struct {
		name, cpu, choice string
		odd               bool
		node, want        string
	}{
		{"winograd2 stays", "other", "winograd2", false, "wino", "winograd2"},
		{"direct stays", "other", "direct", false, "wino", "_conv"},
		{"sparse is the table's", "other", "sparse4", false, "sparse", want["sparse"]},
		{"a joined pair is the table's", "other", "apart", false, "pair", want["pair"]},
		{"integers are the table's", "other", "i8_conv", false, "ints", want["ints"]},
		{"floats stay", "other", "float", false, "ints", "f32"},
		{"here they count", own, "i8_conv", false, "ints", "i8_conv"},
		{"unknown", own, "quantum", false, "wino", want["wino"]},
		{"not for the node", own, "sparse4", false, "wino", want["wino"]},
		{"not exact", own, "winograd4", true, "wino", "winograd2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &kernel.Choices{CPU: tt.cpu, Of: map[string]string{}}
			for _, u := range table.units() {
				c.Of[u.sig] = tt.choice
			}
			o := o
			o.Choices = c
			pl, err := tunedPlan(tuneGraph(tt.odd), tuneTypes, o)
			if err != nil {
				t.Fatal(err)
			}
			if got := kernelsOf(pl)[tt.node]; !strings.Contains(got, tt.want) {
				t.Errorf("%s runs on %q, want %q", tt.node, got, tt.want)
			}
		})
	}
}

func TestMeasure(t *testing.T) {
	pl, err := tunedPlan(tuneGraph(false), tuneTypes, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	times, err := Measure(context.Background(), []*Plan{pl})
	if err != nil {
		t.Fatal(err)
	}
	if len(times) != 1 || len(times[0]) != len(pl.Nodes()) {
		t.Errorf("%d plans, want one with %d nodes", len(times), len(pl.Nodes()))
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Measure(ctx, []*Plan{pl}); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}
