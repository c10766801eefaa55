package whit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"whit/graph"
	"whit/internal/optest"
	"whit/onnx"
	"whit/op"
	"whit/plan"
	"whit/tensor"
)

// fuzzMemory is what a plan may need while fuzzing, in bytes, and fuzzMACs what is run.
const (
	fuzzMemory = 64 << 20
	fuzzMACs   = 1 << 25
)

// runBoth plans and runs g, on the references and on kernels, with its inputs of
// the types in (and data, where given), and returns the outputs of both, or an
// error. It fails the test on a panic, where a constant has been written, where it
// takes too long, and where the two ways disagree about types.
func runBoth(t testing.TB, g *graph.Graph, in map[string]tensor.Type, feeds map[string]*tensor.Tensor) (outs [2]map[string]*tensor.Tensor, err error) {
	start := time.Now()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("panic: %v\n%s\ninputs %v\n%s", r, g, in, debug.Stack())
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Fatalf("took %v\n%s\ninputs %v", d, g, in)
		}
	}()
	consts := map[*graph.Value][]byte{}
	for _, v := range g.Values() {
		if v.Kind == graph.Const && v.Data != nil && v.Data.Len() < 1<<16 {
			consts[v] = bytes.Clone(v.Data.Bytes())
		}
	}
	var errs [2]error
	for way, references := range []bool{true, false} {
		outs[way], errs[way] = runOne(g, plan.Options{Threads: 2, MaxMemory: fuzzMemory, References: references}, in, feeds)
		if errors.Is(errs[way], errSkip) {
			return outs, errSkip
		}
	}
	for v, was := range consts {
		if !bytes.Equal(was, v.Data.Bytes()) {
			t.Fatalf("constant %q has been written\n%s", v.Name, g)
		}
	}
	if (errs[0] == nil) != (errs[1] == nil) && !errors.Is(errs[0], plan.ErrTooLarge) && !errors.Is(errs[1], plan.ErrTooLarge) {
		t.Fatalf("references say %v, kernels say %v\n%s\ninputs %v", errs[0], errs[1], g, in)
	}
	if err := cmpErr(errs[0], errs[1]); err != nil {
		if strings.Contains(err.Error(), "stays unknown") {
			t.Errorf("%v\n%s", err, g)
		}
		return outs, err
	}
	for name, a := range outs[0] {
		if b := outs[1][name]; b == nil || a.DType != b.DType || !a.Shape.Equal(b.Shape) && !counted(g.Find(name)) {
			t.Fatalf("output %q: references give %v, kernels %v\n%s", name, a, b, g)
		}
	}
	return outs, nil
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

var errSkip = errors.New("too much work for a fuzz run")

func runOne(g *graph.Graph, o plan.Options, in map[string]tensor.Type, feeds map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	p, err := plan.NewProgram(g, o)
	if err != nil {
		return nil, err
	}
	pl, err := p.Plan(in)
	if err != nil {
		return nil, err
	}
	var work, moved int64
	for _, n := range pl.Nodes() {
		if n.MACs < 0 || n.Bytes < 0 {
			return nil, fmt.Errorf("node %q costs %d MACs, %d bytes", n.Node, n.MACs, n.Bytes)
		}
		work += n.MACs
		moved += n.Bytes
	}
	if work > fuzzMACs || moved > fuzzMemory {
		return nil, errSkip
	}
	s, err := pl.NewSession()
	if err != nil {
		return nil, err
	}
	for i, v := range p.Inputs() {
		x := s.Input(v.Name)
		if f := feeds[v.Name]; f != nil {
			copy(x.Bytes(), f.Bytes())
		} else {
			copy(x.Bytes(), optest.Rand(uint64(i), x.DType, x.Shape...).Bytes())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, errSkip
		}
		return nil, err
	}
	outs := map[string]*tensor.Tensor{}
	for _, v := range p.Outputs() {
		x := s.Output(v.Name)
		if x == nil {
			return nil, fmt.Errorf("output %q is missing", v.Name)
		}
		outs[v.Name] = x.Clone()
	}
	return outs, nil
}

// small binds symbolic dimensions to small sizes.
func small(g *graph.Graph, n int) map[string]tensor.Type {
	in := map[string]tensor.Type{}
	for _, v := range g.Inputs {
		t := tensor.Type{DType: v.Decl.DType, Shape: tensor.Shape{}}
		if t.DType == tensor.Invalid {
			t.DType = tensor.Float32
		}
		for _, d := range v.Decl.Dims {
			if d.Size < 0 {
				d.Size = n
			}
			t.Shape = append(t.Shape, d.Size)
		}
		in[v.Name] = t
	}
	return in
}

// FuzzModel takes the bytes of an ONNX file through reading, planning and running,
// on references and on kernels: an error or a result, no panic, no hang, bounded memory.
func FuzzModel(f *testing.F) {
	seen := map[string]bool{}
	for _, c := range optest.All() {
		g, _ := c.Build()
		var b bytes.Buffer
		if err := onnx.Write(&b, g); err != nil || b.Len() > 4096 || seen[c.Op+fmt.Sprint(c.Attrs)] {
			continue
		}
		seen[c.Op+fmt.Sprint(c.Attrs)] = true
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := onnx.ReadBytes(b, onnx.Options{})
		if err != nil {
			return
		}
		for _, n := range []int{1, 3, 0} {
			in := small(g, n)
			var total int
			for _, x := range in {
				if x.Shape.Check() != nil || x.NumBytes() < 0 || x.NumBytes() > fuzzMemory {
					return
				}
				total += x.NumBytes()
			}
			if total > fuzzMemory {
				return
			}
			runBoth(t, g, in, nil)
		}
	})
}

// mutant is a case of the operators' harness with one to three things changed.
func mutant(r *rand.Rand) (*optest.Case, *graph.Graph, map[string]*tensor.Tensor) {
	all := optest.All()
	c := all[r.IntN(len(all))]
	c.Attrs = maps.Clone(c.Attrs)
	if c.Attrs == nil {
		c.Attrs = map[string]any{}
	}
	c.In = slices.Clone(c.In)
	c.ConstIn = slices.Clone(c.ConstIn)
	for range 1 + r.IntN(3) {
		mutate(r, &c)
	}
	g, feeds := c.Build()
	// Sometimes a chain, so that folding, fusing, layouts and aliases meet the odd value.
	for k := r.IntN(4); k > 0 && len(g.Outputs) > 0; k-- {
		if r.IntN(2) == 0 {
			g.Outputs[0] = g.Add("", pick(r, []string{"Relu", "Clip", "Identity", "Flatten", "Sigmoid", "GlobalAveragePool"}), nil, g.Outputs[0])
			continue
		}
		d := pick(r, all)
		d.In, d.Attrs = slices.Clone(d.In), maps.Clone(d.Attrs)
		var in []*graph.Value
		for i, x := range d.In {
			switch {
			case i == 0:
				in = append(in, g.Outputs[0])
			case x == nil:
				in = append(in, nil)
			default:
				in = append(in, g.NewConst("", x))
			}
		}
		g.Outputs = append(g.AddN(d.Domain, d.Op, d.Attrs, max(1, d.Outs), in...), g.Outputs[r.IntN(len(g.Outputs)):]...)
	}
	return &c, g, feeds
}

var oddInts = []int64{0, 1, 2, 3, 5, 7, 8, 16, 100, -1, -2, -3, -100, 1 << 20, 1 << 31, 1<<31 - 1, 1 << 40, 1 << 62, math.MaxInt64, math.MinInt64}
var oddFloats = []float32{0, 1, -1, 0.5, 1e-30, 1e30, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
var oddStrings = []string{"", "x", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", "linear", "nearest", "cubic", "reflect", "edge", "constant", "wrap", "sum", "none", "mean", "asymmetric", "align_corners", "tf_crop_and_resize", "DCR", "CRD", "tanh"}
var oddTypes = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.Int64, tensor.Int32, tensor.Uint8, tensor.Int8, tensor.Bool, tensor.Int4, tensor.Uint64}
var attrNames = []string{"axis", "axes", "keepdims", "kernel_shape", "strides", "pads", "dilations", "group", "ceil_mode", "count_include_pad", "auto_pad", "output_padding", "output_shape", "alpha", "beta", "transA", "transB", "mode", "blocksize", "perm", "epsilon", "start", "end", "num_outputs", "allowzero", "to", "storage_order", "exclude_outside", "coordinate_transformation_mode", "k", "size", "noop_with_empty_axes", "batch_dims", "upper", "exclusive", "reverse", "ignore_index", "reduction", "select_last_index", "training_mode", "momentum"}

func pick[T any](r *rand.Rand, s []T) T { return s[r.IntN(len(s))] }

func oddShape(r *rand.Rand, s tensor.Shape) tensor.Shape {
	s = slices.Clone(s)
	switch k := r.IntN(5); {
	case k == 0 && len(s) > 0:
		return s[:len(s)-1]
	case k == 1 && len(s) < 8:
		return append(s, r.IntN(3))
	case k == 2:
		slices.Reverse(s)
		return s
	}
	if len(s) > 0 {
		s[r.IntN(len(s))] = pick(r, []int{0, 0, 1, 2, 3, 4, 7, 8, 9, 17, 33, 64})
	}
	return s
}

func mutate(r *rand.Rand, c *optest.Case) {
	keys := slices.Sorted(maps.Keys(c.Attrs))
	switch k := r.IntN(12); {
	case k < 5 && len(keys) > 0:
		name := pick(r, keys)
		switch a := c.Attrs[name].(type) {
		case int64:
			c.Attrs[name] = pick(r, oddInts)
		case float32:
			c.Attrs[name] = pick(r, oddFloats)
		case string:
			c.Attrs[name] = pick(r, oddStrings)
		case []int64:
			a = slices.Clone(a)
			switch j := r.IntN(6); {
			case j == 0 && len(a) > 0:
				a = a[:len(a)-1]
			case j == 1:
				a = append(a, pick(r, oddInts))
			case len(a) > 0:
				a[r.IntN(len(a))] = pick(r, oddInts)
			}
			c.Attrs[name] = a
		case []float32:
			a = slices.Clone(a)
			if len(a) > 0 {
				a[r.IntN(len(a))] = pick(r, oddFloats)
			}
			c.Attrs[name] = a[:r.IntN(len(a)+1)]
		}
		if r.IntN(8) == 0 {
			delete(c.Attrs, name)
		}
	case k == 5:
		name := pick(r, attrNames)
		switch r.IntN(4) {
		case 0:
			c.Attrs[name] = pick(r, oddInts)
		case 1:
			var a []int64
			for range r.IntN(5) {
				a = append(a, pick(r, oddInts))
			}
			c.Attrs[name] = a
		case 2:
			c.Attrs[name] = pick(r, oddStrings)
		case 3:
			c.Attrs[name] = pick(r, oddFloats)
		}
	case k == 6 && len(c.In) > 0:
		c.Outs = r.IntN(5)
	case len(c.In) == 0:
	default:
		i := r.IntN(len(c.In))
		x := c.In[i]
		switch j := r.IntN(12); {
		case j == 0:
			c.In[i] = nil
		case j == 1:
			c.In = c.In[:i]
		case j == 2:
			c.In = append(c.In, x)
		case x == nil:
		case j == 3:
			c.In[i] = optest.Rand(r.Uint64(), pick(r, oddTypes), x.Shape...)
		case j == 4:
			if k := slices.Index(c.ConstIn, i); k >= 0 {
				c.ConstIn = slices.Delete(c.ConstIn, k, k+1)
			} else {
				c.ConstIn = append(c.ConstIn, i)
			}
		case x.DType == tensor.Int64 && x.Len() > 0 && j < 10:
			y := x.Clone()
			tensor.Of[int64](y)[r.IntN(y.Len())] = pick(r, oddInts)
			c.In[i] = y
		case x.DType == tensor.Float32 && x.Len() > 0 && j == 5:
			y := x.Clone()
			tensor.Of[float32](y)[r.IntN(y.Len())] = pick(r, oddFloats)
			c.In[i] = y
		default:
			c.In[i] = optest.Rand(r.Uint64(), x.DType, oddShape(r, x.Shape)...)
		}
	}
}

// TestMutants runs operators with odd attributes, shapes, types and data.
// WHIT_LONG=1 takes a minute's worth; WHIT_SEED=N looks at one.
func TestMutants(t *testing.T) {
	n, from := 4000, 0
	if os.Getenv("WHIT_LONG") != "" {
		n = 300_000
	}
	if s := os.Getenv("WHIT_SEED"); s != "" {
		fmt.Sscan(s, &from)
		n = 1
	}
	ran := 0
	for seed := from; seed < from+n; seed++ {
		c, g, feeds := mutant(rand.New(rand.NewPCG(uint64(seed), 7)))
		in := map[string]tensor.Type{}
		for name, x := range feeds {
			in[name] = x.Type
		}
		// A failure names the seed.
		t.Run("", func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("WHIT_SEED=%d: %s", seed, c.Name)
				}
			}()
			outs, err := runBoth(t, g, in, feeds)
			if err != nil {
				if s := err.Error(); len(s) > 2000 || strings.Contains(s, "\n") {
					t.Errorf("not one line: %q", s)
				}
				return
			}
			ran++
			if o := op.Lookup(c.Domain, c.Op); o.Random {
				return
			}
			for name, a := range outs[0] {
				if exact(g.Find(name)) && !near(a, outs[1][name]) {
					t.Errorf("output %q: references and kernels disagree\n%s\ninputs %v", name, g, in)
				}
			}
		})
	}
	t.Logf("%d of %d ran", ran, n)
}

// jumps are operators of floats that are not continuous: a difference in the last place
// of what they read may be any difference of what they say.
var jumps = []string{"Shrink", "ThresholdedRelu", "Round", "Floor", "Ceil", "Sign", "Hardmax", "Mod", "QuantizeLinear", "Unique", "Tan"}

// counted reports whether v's shape depends on how many of some values are the same, where a difference
// in the last place counts.
func counted(v *graph.Value) bool {
	return v != nil && v.Producer != nil && (v.Producer.Op == "Unique" || slices.ContainsFunc(v.Producer.In, counted))
}

// exact reports whether kernels must agree with references on v: nothing that it is made
// from jumps, and no weight is infinite or NaN, which padding is multiplied by in kernels only.
func exact(v *graph.Value) bool {
	if v.IsConst() {
		t := v.Tensor()
		return t == nil || t.DType != tensor.Float32 || !slices.ContainsFunc(tensor.Of[float32](t), func(x float32) bool { return x-x != 0 })
	}
	if v.Producer == nil {
		return true
	}
	return !slices.Contains(jumps, v.Producer.Op) && !slices.ContainsFunc(v.Producer.In, func(x *graph.Value) bool { return x != nil && !exact(x) })
}

// near is a coarse comparison: 1e-3 of the largest finite magnitude, and infinities and NaN alike.
func near(a, b *tensor.Tensor) bool {
	if a.DType != tensor.Float32 {
		return true
	}
	x, y := tensor.Of[float32](a), tensor.Of[float32](b)
	var big float64 = 1
	for i := range x {
		if v := math.Abs(float64(x[i])); !math.IsInf(v, 0) {
			big = max(big, v)
		}
	}
	if big > 1e20 || math.IsNaN(big) { // sums of huge terms overflow at one order, not at another
		return true
	}
	for i := range x {
		p, q := float64(x[i]), float64(y[i])
		if math.IsNaN(p) || math.IsNaN(q) || math.IsInf(p, 0) || math.IsInf(q, 0) {
			if math.IsNaN(p) != math.IsNaN(q) || math.IsInf(p, 0) != math.IsInf(q, 0) {
				return false
			}
			continue
		}
		if math.Abs(p-q) > 1e-3*big {
			return false
		}
	}
	return true
}

// TestOddGraphs keeps what the mutants have found.
func TestOddGraphs(t *testing.T) {
	branch := func() *graph.Graph {
		b := graph.New("b")
		b.Outputs = []*graph.Value{b.NewConst("k", tensor.From([]float32{1}, 1))}
		return b
	}
	branches := func() map[string]any {
		return map[string]any{"then_branch": branch(), "else_branch": branch()}
	}
	vec := func(n int) *tensor.Tensor { return tensor.New(tensor.Float32, n) }
	for name, build := range map[string]func(g *graph.Graph) *graph.Value{
		"If without inputs": func(g *graph.Graph) *graph.Value { return g.Add("", "If", branches()) },
		"If without a condition": func(g *graph.Graph) *graph.Value {
			return g.Add("", "If", branches(), nil)
		},
		"If on floats": func(g *graph.Graph) *graph.Value {
			return g.Add("", "If", branches(), g.AddInput("x", tensor.Float32, 2))
		},
		"BatchNormalization without x": func(g *graph.Graph) *graph.Value {
			return g.Add("", "BatchNormalization", nil, nil, g.NewConst("", vec(2)), g.NewConst("", vec(2)), g.NewConst("", vec(2)), g.NewConst("", vec(2)))
		},
		"a constant that is written": func(g *graph.Graph) *graph.Value {
			c := g.NewConst("c", vec(2))
			g.AddN(graph.Domain, "Assign", nil, 0, c, g.AddInput("x", tensor.Float32, 2))
			return g.Add("", "Relu", nil, c)
		},
		"rows without elements, 2^40 of them": func(g *graph.Graph) *graph.Value {
			return g.Add("", "CumSum", nil, g.AddInput("x", tensor.Float32, 1<<40, 0), g.NewConst("", tensor.Ints(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph.New(name)
			g.Outputs = []*graph.Value{build(g)}
			if _, err := runBoth(t, g, small(g, 1), nil); err == nil {
				t.Error("no error")
			}
		})
	}
}
