package optest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// Case is one use of an operator.
type Case struct {
	Name   string
	Domain string
	Op     string
	Attrs  map[string]any
	// In are the inputs, nil where absent. Floats of type float32 are also run as
	// float16, bfloat16 and float64 unless F32Only.
	In      []*tensor.Tensor
	F32Only bool
	// ConstIn lists inputs that are constants of the graph (shapes, axes, weights);
	// integer inputs whose data the type rule asks for are made constants by themselves.
	ConstIn []int
	// Outs is the number of outputs, 0 means 1, -1 none (operators that write variables).
	Outs int
	// Want, where given, is what the reference must answer (nil entries are not compared).
	Want []*tensor.Tensor
	// Tol is the tolerance of Want and of kernels against the reference, relative to
	// max(1, |want|); 0 means exact for integers and bools and 1e-5 for floats.
	Tol float64
	// Grad lists the inputs whose gradient is compared with finite differences.
	Grad []int
	// GradTol is the tolerance of that comparison, 0 means 1e-5 (float64).
	GradTol float64
	// Err: the type rule or the reference must fail.
	Err bool
}

var cases []Case

// Add appends cases to the list; it is called from init functions of this package.
func Add(c ...Case) { cases = append(cases, c...) }

// All is the list of cases.
func All() []Case { return cases }

// Rand makes a tensor of seeded normal values (floats, standard deviation 1) or
// small integers; bools are fair coins.
func Rand(seed uint64, d tensor.DType, shape ...int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 0x77686974))
	t := tensor.New(d, shape...)
	switch d {
	case tensor.Float32:
		for i, s := 0, tensor.Of[float32](t); i < len(s); i++ {
			s[i] = float32(r.NormFloat64())
		}
	case tensor.Float64:
		for i, s := 0, tensor.Of[float64](t); i < len(s); i++ {
			s[i] = r.NormFloat64()
		}
	case tensor.Float16, tensor.BFloat16:
		tensor.Convert(t, Rand(seed, tensor.Float32, shape...))
	case tensor.Int64:
		for i, s := 0, tensor.Of[int64](t); i < len(s); i++ {
			s[i] = r.Int64N(21) - 10
		}
	case tensor.Int32:
		for i, s := 0, tensor.Of[int32](t); i < len(s); i++ {
			s[i] = r.Int32N(21) - 10
		}
	case tensor.Bool:
		for i := range t.Bytes() {
			t.Bytes()[i] = byte(r.IntN(2))
		}
	default:
		for i := range t.Bytes() {
			t.Bytes()[i] = byte(r.Uint32())
		}
	}
	return t
}

// F32 makes a float32 tensor of literal values.
func F32(v []float32, shape ...int) *tensor.Tensor { return tensor.From(v, shape...) }

// Build makes the one-node graph of the case: the inputs in order, and their
// values by name.
func (c *Case) Build() (*graph.Graph, map[string]*tensor.Tensor) {
	g := graph.New(c.Name)
	feeds := map[string]*tensor.Tensor{}
	isConst := map[int]bool{}
	for _, i := range c.ConstIn {
		isConst[i] = true
	}
	var in []*graph.Value
	for i, t := range c.In {
		switch {
		case t == nil:
			in = append(in, nil)
		case isConst[i]:
			in = append(in, g.NewConst(fmt.Sprintf("c%d", i), t))
		default:
			v := g.AddInput(fmt.Sprintf("x%d", i), t.DType, t.Shape...)
			v.Type = t.Type
			feeds[v.Name] = t
			in = append(in, v)
		}
	}
	outs := c.Outs
	if outs == 0 {
		outs = 1
	}
	g.Outputs = g.AddN(c.Domain, c.Op, c.Attrs, max(0, outs), in...)
	return g, feeds
}

// Eval runs a graph on the references, node by node: the meaning of a graph.
// Inputs whose data a type rule needs are given to it as constants.
func Eval(g *graph.Graph, feeds map[string]*tensor.Tensor) ([]*tensor.Tensor, error) {
	vals := map[*graph.Value]*tensor.Tensor{}
	get := func(v *graph.Value) *tensor.Tensor {
		if v == nil {
			return nil
		}
		if t := vals[v]; t != nil {
			return t
		}
		return v.Tensor()
	}
	for _, v := range g.Inputs {
		t := feeds[v.Name]
		if t == nil {
			return nil, fmt.Errorf("no value for input %q", v.Name)
		}
		v.Type, vals[v] = t.Type, t
	}
	for _, n := range g.Nodes {
		in := make([]*tensor.Tensor, len(n.In))
		for i, v := range n.In {
			if v != nil {
				in[i] = get(v)
			}
		}
		out, err := op.Compute(n, in)
		if err != nil {
			return nil, err
		}
		for i, v := range n.Out {
			if v != nil {
				v.Type, vals[v] = out[i].Type, out[i]
			}
		}
	}
	var res []*tensor.Tensor
	for _, v := range g.Outputs {
		res = append(res, get(v))
	}
	return res, nil
}

// Diff is the largest difference between two tensors relative to max(1, |want|);
// infinite where types, NaNs or infinities do not match.
func Diff(got, want *tensor.Tensor) float64 {
	if !got.Type.Equal(want.Type) {
		return math.Inf(1)
	}
	a, b := f64s(got), f64s(want)
	var d float64
	for i := range a {
		switch {
		case a[i] == b[i] || math.IsNaN(a[i]) && math.IsNaN(b[i]):
		case math.IsNaN(a[i]) || math.IsNaN(b[i]) || math.IsInf(a[i], 0) || math.IsInf(b[i], 0):
			return math.Inf(1)
		default:
			d = max(d, math.Abs(a[i]-b[i])/max(1, math.Abs(b[i])))
		}
	}
	return d
}

func f64s(t *tensor.Tensor) []float64 {
	out := make([]float64, t.Len())
	switch t.DType {
	case tensor.Float16, tensor.BFloat16, tensor.Float32, tensor.Float64:
		w := tensor.New(tensor.Float64, t.Shape...)
		tensor.Convert(w, t)
		copy(out, tensor.Of[float64](w))
	case tensor.Int64:
		for i, v := range tensor.Of[int64](t) {
			out[i] = float64(v)
		}
	case tensor.Int32:
		for i, v := range tensor.Of[int32](t) {
			out[i] = float64(v)
		}
	case tensor.Int16:
		for i, v := range tensor.Of[int16](t) {
			out[i] = float64(v)
		}
	case tensor.Int8:
		for i, v := range tensor.Of[int8](t) {
			out[i] = float64(v)
		}
	case tensor.Uint64:
		for i, v := range tensor.Of[uint64](t) {
			out[i] = float64(v)
		}
	case tensor.Uint32:
		for i, v := range tensor.Of[uint32](t) {
			out[i] = float64(v)
		}
	case tensor.Uint16:
		for i, v := range tensor.Of[uint16](t) {
			out[i] = float64(v)
		}
	default:
		for i, v := range t.Bytes() {
			out[i] = float64(v)
		}
	}
	return out
}
