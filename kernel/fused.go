package kernel

import (
	"math"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// activation is what may follow a product in the same pass: limits, which are
// infinite where there are none, or the slopes below zero, one for all or for each channel.
type activation struct {
	lo, hi float32
	slope  []float32
}

var noActivation = activation{lo: float32(math.Inf(-1)), hi: float32(math.Inf(1))}

// flags is the part of kern's flags that the activation asks for.
func (a activation) flags() int {
	switch {
	case a.slope != nil:
		return kern.FlagPRelu
	case a.lo == noActivation.lo && a.hi == noActivation.hi:
		return 0
	}
	return kern.FlagClamp
}

// slopes are those of c channels and more zeros, nil if there are none.
func (a activation) slopes(c, more int) []float32 {
	if a.slope == nil {
		return nil
	}
	s := make([]float32, c+more)
	for i := range c {
		s[i] = a.slope[i%len(a.slope)]
	}
	return s
}

// unfuseSum looks at a node of operator name, alone or as the first node of a
// whit.Fused that ends in an activation. It returns the operator's node as if it
// stood alone, with n's inputs and outputs, and the activation. Before that an input of n
// may be added to the result: add is the input's index, -1 if there is none. nil: n is
// something else.
func unfuseSum(n *graph.Node, name string) (m *graph.Node, act activation, add int) {
	if m, act, add, cv := unfuseCurve(n, name); cv == nil {
		return m, act, add
	}
	return nil, activation{}, -1
}

// unfuseCurve is unfuseSum for kernels that also know curves in the activation's place; cv is
// nil where there is none.
func unfuseCurve(n *graph.Node, name string) (m *graph.Node, act activation, add int, cv *curve) {
	if n.Domain == "" && n.Op == name {
		return n, noActivation, -1, nil
	}
	b := n.Graph("body")
	if n.Domain != graph.Domain || n.Op != "Fused" || b == nil || len(b.Nodes) < 2 || len(b.Outputs) != 1 || len(b.Inputs) != len(n.In) {
		return nil, activation{}, -1, nil
	}
	first := b.Nodes[0]
	inputs := len(first.In)
	if first.Domain != "" || first.Op != name || inputs > len(n.In) {
		return nil, activation{}, -1, nil
	}
	for i, v := range first.In {
		if v != b.Inputs[i] {
			return nil, activation{}, -1, nil
		}
	}
	y, rest := first.Out[0], b.Nodes[1:]
	add = -1
	if a := rest[0]; a.Domain == "" && a.Op == "Add" {
		if inputs >= len(b.Inputs) || (a.In[0] != y || a.In[1] != b.Inputs[inputs]) && (a.In[1] != y || a.In[0] != b.Inputs[inputs]) {
			return nil, activation{}, -1, nil
		}
		add, inputs = inputs, inputs+1
		y, rest = a.Out[0], rest[1:]
	}
	act = noActivation
	if len(rest) > 0 {
		a, ok := limits(rest[0])
		if !ok {
			a, ok = slopesOf(rest[0])
		}
		if ok && rest[0].Input(0) == y && len(rest) == 1 {
			act = a
			y, rest = rest[0].Out[0], nil
		} else if cv = newCurve(rest, y); cv != nil {
			y, rest = rest[len(rest)-1].Out[0], nil
		}
	}
	if len(rest) > 0 || inputs != len(n.In) || b.Outputs[0] != y {
		return nil, activation{}, -1, nil
	}
	return &graph.Node{Name: n.Name, Op: name, Attrs: first.Attrs, In: n.In[:len(first.In)], Out: n.Out}, act, add, cv
}

// Fuses reports whether a whit.Fused node has a kernel, and one that is no worse than
// what its first node would have alone.
func Fuses(n *graph.Node, e *Env) bool {
	k := Select(n, e)
	if k == nil {
		return false
	}
	m, _, _, _ := unfuseCurve(n, "Conv")
	if m == nil {
		m, _, _, _ = unfuseCurve(n, "Gemm")
	}
	if m == nil {
		return true
	}
	alone := Select(m, e)
	return alone == nil || alone.Priority <= k.Priority
}

// limits is a float32 Relu or Clip of constant bounds as limits. A NaN bound limits nothing.
func limits(n *graph.Node) (activation, bool) {
	a := noActivation
	if n.Domain != "" {
		return a, false
	}
	switch n.Op {
	case "Relu":
		a.lo = 0
		return a, true
	case "Clip":
		for i, p := range []*float32{&a.lo, &a.hi} {
			v := n.Input(1 + i)
			if v == nil {
				continue
			}
			t := (*tensor.Tensor)(nil)
			if v.IsConst() {
				t = v.Tensor()
			}
			if t == nil || t.DType != tensor.Float32 || t.Len() != 1 {
				return a, false
			}
			if f := tensor.Of[float32](t)[0]; f == f {
				*p = f
			}
		}
		return a, true
	}
	return a, false
}

// slopesOf is LeakyRelu, or a PRelu whose constant slopes are one or one a channel.
func slopesOf(n *graph.Node) (activation, bool) {
	a := noActivation
	switch {
	case n.Domain != "":
		return a, false
	case n.Op == "LeakyRelu":
		a.slope = []float32{n.Float("alpha", 0.01)}
		return a, true
	case n.Op != "PRelu" || !n.In[1].IsConst() || n.In[1].Type.DType != tensor.Float32:
		return a, false
	}
	s, x := n.In[1].Type.Shape, n.In[0].Type.Shape
	if k := s.NumElements(); k != 1 && (len(x) < 2 || k != x[1] || len(s) < len(x)-1 || s[len(s)-len(x)+1] != k) {
		return a, false
	}
	a.slope = f32s(n.In[1].Tensor())
	return a, true
}

// f32Node reports whether every input and output of n that is present is float32.
func f32Node(n *graph.Node) bool {
	for _, vs := range [][]*graph.Value{n.In, n.Out} {
		for _, v := range vs {
			if v != nil && v.Type.DType != tensor.Float32 {
				return false
			}
		}
	}
	return true
}

// f32s is the data of a float32 tensor, nil for nil.
func f32s(t *tensor.Tensor) []float32 {
	if t == nil {
		return nil
	}
	return tensor.Of[float32](t)
}
