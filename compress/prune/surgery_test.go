package prune

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"whit/compress/method"
	"whit/graph"
	"whit/plan"
	"whit/tensor"
	"whit/zoo"
)

// small are the zoo's networks, shrunk.
func small(t testing.TB, name string) *graph.Graph {
	if name == "tiny" {
		return tiny()
	}
	a, err := zoo.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	o := zoo.Options{Classes: 7}
	if a.Input[1] > 64 {
		o.Input = []int{3, 64, 64}
		if a.Width != 0 {
			o.Width = 0.25
		}
	}
	if a, err = a.With(o); err != nil {
		t.Fatal(err)
	}
	g, err := a.Build(3)
	if err != nil {
		t.Fatal(err)
	}
	randomise(g)
	return g
}

// tiny has two residual blocks of 16 channels, and their names as resnet18.
func tiny() *graph.Graph {
	g := graph.New("tiny")
	r := rand.New(rand.NewPCG(11, 1))
	fill := func(name string, by float64, shape ...int) *graph.Value {
		x := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](x) {
			tensor.Of[float32](x)[i] = float32(by * r.NormFloat64())
		}
		return g.NewConst(name, x)
	}
	conv := func(name string, x *graph.Value, in, out int) *graph.Value {
		y := g.Add("", "Conv", map[string]any{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}, x, fill(name+".weight", math.Sqrt(2/float64(9*in)), out, in, 3, 3), fill(name+".bias", 0.1, out))
		y.Name, y.Producer.Name = name, name
		return y
	}
	relu := func(x *graph.Value) *graph.Value { return g.Add("", "Relu", nil, x) }
	x := relu(conv("conv1.conv", g.AddInput("input", tensor.Float32, -1, 3, 12, 12), 3, 16))
	for _, b := range []string{"stage1.1", "stage1.2"} {
		x = relu(g.Add("", "Add", nil, x, conv(b+".b.conv", relu(conv(b+".a.conv", x, 16, 8)), 8, 16)))
	}
	x = g.Add("", "Flatten", nil, g.Add("", "GlobalAveragePool", nil, x))
	x = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, x, fill("fc.weight", 0.5, 7, 16), fill("fc.bias", 0.1, 7))
	x.Name = "logits"
	x.Decl = graph.Decl{DType: tensor.Float32, Ranked: true, Dims: []graph.Dim{{Size: -1}, {Size: 7}}}
	g.Outputs = []*graph.Value{x}
	return g
}

// randomise gives statistics and biases values that are not 0 and 1.
func randomise(g *graph.Graph) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range g.Values() {
		if v.Kind != graph.Const || v.Type.DType != tensor.Float32 || len(v.Type.Shape) != 1 {
			continue
		}
		x := tensor.New(tensor.Float32, v.Type.Shape...)
		for i := range tensor.Of[float32](x) {
			tensor.Of[float32](x)[i] = float32(0.5 + r.Float64())
		}
		if strings.HasSuffix(v.Name, ".bias") || strings.HasSuffix(v.Name, ".mean") {
			for i := range tensor.Of[float32](x) {
				tensor.Of[float32](x)[i] -= 1
			}
		}
		v.Data = x
	}
}

// sample is the shape of one sample of g's input.
func sample(g *graph.Graph) (s []int) {
	for _, d := range g.Inputs[0].Decl.Dims[1:] {
		s = append(s, d.Size)
	}
	return s
}

func input(g *graph.Graph, n int) *tensor.Tensor {
	x := tensor.New(tensor.Float32, append([]int{n}, sample(g)...)...)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(r.NormFloat64())
	}
	return x
}

// run gives the first output.
func run(t testing.TB, g *graph.Graph, x *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	prog, err := plan.NewProgram(g, plan.Options{Threads: 1, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := prog.Plan(map[string]tensor.Type{g.Inputs[0].Name: x.Type})
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	copy(s.Input(g.Inputs[0].Name).Bytes(), x.Bytes())
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s.Output(g.Outputs[0].Name).Clone()
}

// far is the largest difference, relative to the largest value.
func far(a, b *tensor.Tensor) float64 {
	if !a.Type.Equal(b.Type) {
		return math.Inf(1)
	}
	d, top := 0.0, 1e-6
	for i, v := range tensor.Of[float32](a) {
		d = max(d, math.Abs(float64(v-tensor.Of[float32](b)[i])))
		top = max(top, math.Abs(float64(v)))
		if v != v {
			return math.Inf(1)
		}
	}
	return d / top
}

// masked is g with zeros where the atoms are: in all constants, or (producers) in the filters
// and vectors that make the channels only.
func masked(g *graph.Graph, y *Surgery, atoms []int, producers bool) *graph.Graph {
	c, m := g.Clone()
	out := map[*graph.Value]int{}
	for _, l := range method.FindLayers(g, "") {
		out[l.Weight.Value] = l.OutAxis
	}
	for p, b := range y.gone(atoms) {
		v := m[p.Value]
		if v.Kind != graph.Const {
			continue
		}
		if axis, ok := out[p.Value]; ok && producers && axis != p.Axis {
			continue
		}
		x := v.Tensor().Clone()
		st := x.Shape.Strides()[p.Axis]
		for i := range tensor.Of[float32](x) {
			if b[i/st%x.Shape[p.Axis]] {
				tensor.Of[float32](x)[i] = 0
			}
		}
		v.Data = x
	}
	return c
}

// check cuts atoms and compares with the masked graph.
func check(t testing.TB, g *graph.Graph, atoms func(*Surgery) []int, producers bool) {
	t.Helper()
	y, err := NewSurgery(g, sample(g))
	if err != nil {
		t.Fatal(err)
	}
	ks := atoms(y)
	want := run(t, masked(g, y, ks, producers), input(g, 3))
	c, _ := g.Clone()
	y, err = NewSurgery(c, sample(g))
	if err != nil {
		t.Fatal(err)
	}
	if err := y.Cut(ks); err != nil {
		t.Fatal(err)
	}
	if d := far(run(t, c, input(g, 3)), want); !(d < 2e-4) {
		t.Errorf("without atoms %v: differs by %g", ks, d)
	}
}

// third takes every third atom that leaves something everywhere.
func third(y *Surgery) (ks []int) {
	left := map[Place]int{}
	for k, a := range y.Atoms {
		ok := k%3 == 0
		for _, s := range a {
			n, seen := left[s.Place]
			if !seen {
				n = y.size(s.Place)
				left[s.Place] = n
			}
			ok = ok && n > len(s.Index)
		}
		if !ok {
			continue
		}
		for _, s := range a {
			left[s.Place] -= len(s.Index)
		}
		ks = append(ks, k)
	}
	return ks
}

// Removing channels answers what zeroing them answers, in every network of the zoo.
func TestCutZoo(t *testing.T) {
	for _, a := range zoo.All() {
		t.Run(a.Name, func(t *testing.T) {
			if a.Name == "vgg16" || a.Name == "resnet50" {
				t.Skip("too large for a test; vggs and resnet18 have the same parts")
			}
			g := small(t, a.Name)
			check(t, g, third, false)
			check(t, g, third, true)
		})
	}
}

// tie lists which layers' output channels an atom has: "conv1:2 conv2:1".
func tie(y *Surgery, a Atom) string {
	var s []string
	for _, l := range method.FindLayers(y.Graph, "") {
		if ix := a.In(Place{l.Weight.Value, l.OutAxis}); ix != nil {
			s = append(s, fmt.Sprintf("%s:%d", l.Name, len(ix)))
		}
	}
	return strings.Join(s, " ")
}

// The atoms of known structures are what one expects.
func TestAtoms(t *testing.T) {
	for _, tc := range []struct {
		net, layer string
		atoms      int    // that have channels of the layer
		tied       string // of the first of them
		why        string
	}{
		{"resnet18", "stage1.1.a.conv", 64, "stage1.1.a.conv:1", ""},
		{"resnet18", "conv1.conv", 64, "conv1.conv:1 stage1.1.b.conv:1 stage1.2.b.conv:1", ""},
		{"resnet18", "stage3.2.b.conv", 256, "stage3.1.b.conv:1 stage3.1.shortcut.conv:1 stage3.2.b.conv:1", ""},
		{"resnet18", "fc", 0, "", "they are the model's output logits"},
		{"mobilenet2", "block2.expand.conv", 48, "block2.expand.conv:1 block2.dw.conv:1", ""},
		{"mobilenet2", "conv1.conv", 8, "conv1.conv:1 block1.dw.conv:1 block1.project.conv:1", ""},
		{"squeezenet1.1", "fire2.squeeze", 16, "fire2.squeeze:1", ""},
		{"squeezenet1.1", "fire2.expand3x3", 64, "fire2.expand3x3:1", ""},
		{"squeezenet1.1", "conv10", 0, "", "they are the model's output logits"},
		{"shufflenet2", "stage2.2.a.conv", 15, "stage2.2.a.conv:1 stage2.2.dw.conv:1", ""},
		{"resnet20", "conv1.conv", 16, "conv1.conv:1 stage1.1.b.conv:1 stage1.2.b.conv:1 stage1.3.b.conv:1 stage2.1.b.conv:1 stage2.2.b.conv:1 stage2.3.b.conv:1 stage3.1.b.conv:1 stage3.2.b.conv:1 stage3.3.b.conv:1", ""},
		{"resnet20", "stage3.1.b.conv", 64, "conv1.conv:1 stage1.1.b.conv:1 stage1.2.b.conv:1 stage1.3.b.conv:1 stage2.1.b.conv:1 stage2.2.b.conv:1 stage2.3.b.conv:1 stage3.1.b.conv:1 stage3.2.b.conv:1 stage3.3.b.conv:1", ""},
		{"lenet5", "conv2", 50, "conv2:1", ""},
	} {
		t.Run(tc.net+"/"+tc.layer, func(t *testing.T) {
			y, err := NewSurgery(small(t, tc.net), sample(small(t, tc.net)))
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range method.FindLayers(y.Graph, "") {
				if l.Name != tc.layer {
					continue
				}
				p := Place{l.Weight.Value, l.OutAxis}
				n, first := 0, ""
				for _, a := range y.Atoms {
					if a.In(p) != nil {
						if n++; n == 1 {
							first = tie(y, a)
						}
					}
				}
				if n != tc.atoms || first != tc.tied || y.Why(p) != tc.why {
					t.Errorf("%d atoms, the first %q, why %q", n, first, y.Why(p))
				}
				return
			}
			t.Fatal("no such layer")
		})
	}
}

// Random graphs of convolutions, additions, joins, splits, shuffles and gates.
func TestCutRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := randomNet(t)
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
		pick := func(y *Surgery) []int {
			if len(y.Atoms) == 0 {
				return nil
			}
			ks := third(y)
			return ks[:rapid.IntRange(0, len(ks)).Draw(t, "cuts")]
		}
		y, err := NewSurgery(g, sample(g))
		if err != nil {
			t.Fatal(err)
		}
		ks := pick(y)
		want := runRapid(t, masked(g, y, ks, false), input(g, 2))
		c, _ := g.Clone()
		if y, err = NewSurgery(c, sample(g)); err != nil {
			t.Fatal(err)
		}
		if err := y.Cut(ks); err != nil {
			t.Fatalf("%v\n%v", err, g)
		}
		if d := far(runRapid(t, c, input(g, 2)), want); !(d < 2e-4) {
			t.Fatalf("without %v: differs by %g\n%v", ks, d, g)
		}
	})
}

func runRapid(t *rapid.T, g *graph.Graph, x *tensor.Tensor) *tensor.Tensor {
	prog, err := plan.NewProgram(g, plan.Options{Threads: 1, Direct: true})
	if err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	p, err := prog.Plan(map[string]tensor.Type{g.Inputs[0].Name: x.Type})
	if err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	s, err := p.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	copy(s.Input(g.Inputs[0].Name).Bytes(), x.Bytes())
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s.Output(g.Outputs[0].Name).Clone()
}

// randomNet stacks random parts on an input [N,4,8,8]; all activations have f(0) = 0 or are gates.
func randomNet(t *rapid.T) *graph.Graph {
	g := graph.New("random")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	fill := func(shape ...int) *graph.Value {
		x := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](x) {
			tensor.Of[float32](x)[i] = float32(0.6 * r.NormFloat64())
		}
		return g.NewConst("", x)
	}
	conv := func(x *graph.Value, in, out, k, group int) *graph.Value {
		return g.Add("", "Conv", map[string]any{"kernel_shape": []int64{int64(k), int64(k)}, "pads": []int64{int64(k / 2), int64(k / 2), int64(k / 2), int64(k / 2)}, "group": int64(group)},
			x, fill(out, in/group, k, k), fill(out))
	}
	ints := func(v ...int64) *graph.Value { return g.NewConst("", tensor.Ints(v...)) }
	x := g.AddInput("x", tensor.Float32, -1, 4, 8, 8)
	c := 8
	x = conv(x, 4, c, 3, 1)
	for range rapid.IntRange(1, 6).Draw(t, "parts") {
		switch rapid.SampledFrom([]string{"conv", "relu", "bn", "residual", "dw", "group", "concat", "split", "shuffle", "se", "prelu", "pool", "multiplier", "slice", "view", "pad"}).Draw(t, "part") {
		case "conv":
			o := rapid.SampledFrom([]int{4, 8, 12}).Draw(t, "out")
			x, c = conv(x, c, o, 3, 1), o
		case "relu":
			x = g.Add("", "Relu", nil, x)
		case "bn":
			v := fill(c)
			for i := range tensor.Of[float32](v.Data) {
				tensor.Of[float32](v.Data)[i] = 0.5 + tensor.Of[float32](v.Data)[i]*tensor.Of[float32](v.Data)[i]
			}
			x = g.Add("", "BatchNormalization", nil, x, fill(c), fill(c), fill(c), v)
		case "residual":
			y := conv(g.Add("", "Relu", nil, conv(x, c, 6, 3, 1)), 6, c, 1, 1)
			x = g.Add("", "Add", nil, x, y)
		case "dw":
			x = conv(x, c, c, 3, c)
		case "multiplier":
			x, c = conv(x, c, 2*c, 3, c), 2*c
		case "group":
			x = conv(x, c, 2*c, 1, 2)
			c *= 2
		case "concat":
			y := g.Add("", "Relu", nil, conv(x, c, 4, 1, 1))
			x = g.Add("", "Concat", map[string]any{"axis": int64(1)}, x, y, y)
			c += 8
		case "split":
			s := g.AddN("", "Split", map[string]any{"axis": int64(1)}, 2, x, ints(int64(c/4), int64(c-c/4)))
			x = g.Add("", "Concat", map[string]any{"axis": int64(1)}, conv(s[1], c-c/4, 4, 3, 1), s[0])
			c = 4 + c/4
			if c%2 != 0 {
				x, c = conv(x, c, 6, 1, 1), 6
			}
		case "shuffle":
			s := g.Add("", "Reshape", nil, x, ints(0, 2, int64(c/2), 8, 8))
			s = g.Add("", "Transpose", map[string]any{"perm": []int64{0, 2, 1, 3, 4}}, s)
			x = g.Add("", "Reshape", nil, s, ints(0, -1, 8, 8))
		case "se":
			s := g.Add("", "GlobalAveragePool", nil, x)
			s = conv(g.Add("", "Relu", nil, conv(s, c, 5, 1, 1)), 5, c, 1, 1)
			x = g.Add("", "Mul", nil, x, g.Add("", "Sigmoid", nil, s))
		case "prelu":
			x = g.Add("", "PRelu", nil, x, fill(c, 1, 1))
		case "pool":
			x = g.Add("", "MaxPool", map[string]any{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}, x)
		case "slice":
			a := g.Add("", "Slice", nil, x, ints(0), ints(int64(c/2)), ints(1))
			b := g.Add("", "Slice", nil, x, ints(int64(c/2)), ints(math.MaxInt64), ints(1))
			x = g.Add("", "Add", nil, a, g.Add("", "Relu", nil, b))
			if c /= 2; c%2 != 0 || c < 4 {
				x, c = conv(x, c, 6, 1, 1), 6
			}
		case "pad": // as shortcuts without parameters
			x = g.Add("", "Pad", nil, x, ints(0, 1, 0, 0, 0, 3, 0, 0))
			x = g.Add("", "Add", nil, x, conv(x, c+4, c+4, 1, 1))
			c += 4
		case "view": // as x.view(x.size(0), x.size(1), -1) is exported
			size := g.Add("", "Shape", nil, x)
			at := func(i int64) *graph.Value {
				return g.Add("", "Gather", map[string]any{"axis": int64(0)}, size, ints(i))
			}
			flat := g.Add("", "Reshape", nil, x, g.Add("", "Concat", map[string]any{"axis": int64(0)}, at(0), at(1), ints(-1)))
			x = g.Add("", "Reshape", nil, g.Add("", "Relu", nil, flat), g.Add("", "Concat", map[string]any{"axis": int64(0)}, at(0), at(1), ints(8, 8)))
		}
	}
	if rapid.Bool().Draw(t, "flat") {
		x = g.Add("", "Flatten", nil, x)
		x = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, x, fill(6, c*64), fill(6))
		x = g.Add("", "MatMul", nil, g.Add("", "Relu", nil, x), fill(6, 3))
	} else {
		x = g.Add("", "ReduceMean", map[string]any{"keepdims": int64(0)}, conv(x, c, 3, 1, 1), ints(2, 3))
	}
	g.Outputs = []*graph.Value{x}
	return g
}

// Masks and codebooks are cut with their constants.
func TestCutHeld(t *testing.T) {
	g := small(t, "lenet5")
	s := &method.State{Graph: g, Layers: method.FindLayers(g, "")}
	h := &s.Layers[1].Weight // conv2 [50,20,5,5]
	index := make([]uint16, h.Len())
	for i := range index {
		index[i] = uint16(i * 7 % 5)
	}
	h.Share([]float32{0.5, 1, 1.5, -1, -2}, index)
	h.Prune(Smallest(h.Data(), 0.3, nil))
	old := slices.Clone(h.Data())
	y, err := NewSurgery(g, sample(g))
	if err != nil {
		t.Fatal(err)
	}
	var ks []int
	for k, a := range y.Atoms {
		for _, p := range []Place{{s.Layers[0].Weight.Value, 0}, {h.Value, 0}} {
			if ix := a.In(p); ix != nil && ix[0] == 3 {
				ks = append(ks, k)
			}
		}
	}
	if err := cut(s, y, ks); err != nil {
		t.Fatal(err)
	}
	h = &s.Layers[1].Weight
	if got := fmt.Sprint(h.Value.Type.Shape); got != "[49,19,5,5]" {
		t.Fatalf("shape %v", got)
	}
	n := 0
	for i, v := range old {
		if i/500 == 3 || i/25%20 == 3 {
			continue
		}
		stored := h.Mask[n/64]>>(n%64)&1 == 1
		if h.Data()[n] != v || stored != (v != 0) || stored && h.Centroids[h.Index[n]] != v {
			t.Fatalf("element %d: %v of %v, stored %v", n, h.Data()[n], v, stored)
		}
		n++
	}
	if n != h.Len() || n != len(h.Index) {
		t.Errorf("%d elements, %d, %d indices", n, h.Len(), len(h.Index))
	}
	if _, err := s.Freeze(); err != nil {
		t.Error(err)
	}
}
