package format

import (
	"whit/graph"
	"whit/tensor"
)

// shapes is what the graph chunk knows of values' shapes while it is written or read:
// enough to expect those of most constants, which then need not be told. The rules are
// the format's own (docs/format.md, "Expected shapes"): they never change, and a wrong
// expectation costs bytes and nothing else.
type shapes map[*graph.Value][]int

// unknown is a size that is not known; a value without an entry has an unknown rank.
const unknown = -1

// maxKnown bounds the sizes that are reckoned with.
const maxKnown = 1 << 31

func (s shapes) input(v *graph.Value) {
	if !v.Decl.Ranked {
		return
	}
	d := make([]int, len(v.Decl.Dims))
	for i, x := range v.Decl.Dims {
		d[i] = known(x.Size)
	}
	s[v] = d
}

func (s shapes) constant(v *graph.Value, shape tensor.Shape) {
	d := make([]int, len(shape))
	for i, x := range shape {
		d[i] = known(x)
	}
	s[v] = d
}

func known(n int) int {
	if n < 0 || n > maxKnown {
		return unknown
	}
	return n
}

// product is that of sizes, unknown where one is.
func product(d []int) int {
	n := 1
	for _, x := range d {
		if x == unknown || n > maxKnown {
			return unknown
		}
		n *= x
	}
	return known(n)
}

// attrInt and attrInts are attributes of a node, or what they are when absent.
func attrOf(n *graph.Node, name string, absent int64) int64 {
	if x, ok := n.Attrs[name].(int64); ok {
		return x
	}
	return absent
}

// sameShape are operators whose output has the shape of their first input.
var sameShape = map[string]bool{
	"Relu": true, "LeakyRelu": true, "PRelu": true, "Sigmoid": true, "Tanh": true, "Clip": true, "HardSwish": true, "HardSigmoid": true,
	"Elu": true, "Selu": true, "Identity": true, "Dropout": true, "BatchNormalization": true, "LRN": true, "Add": true, "Mul": true,
}

// expect is the shape that a constant at the node's next input, which is not in n.In
// yet, should have; one size of it may be unknown. nil: none is expected.
func (s shapes) expect(n *graph.Node) []int {
	i := len(n.In)
	if n.Domain != "" || i == 0 || i > 4 || n.In[0] == nil {
		return nil
	}
	x, ok := s[n.In[0]]
	if !ok || len(x) == 0 {
		return nil
	}
	last := x[len(x)-1]
	var want []int
	switch {
	case n.Op == "BatchNormalization" && len(x) > 1:
		want = []int{x[1]}
	case (n.Op == "Conv" || n.Op == "Gemm") && i == 2:
		w := s[n.In[1]]
		if len(w) < 2 {
			return nil
		}
		if want = w[:1]; n.Op == "Gemm" && attrOf(n, "transB", 0) == 0 {
			want = w[1:2]
		}
	case n.Op == "Conv" && i == 1:
		k, _ := n.Attrs["kernel_shape"].([]int64)
		group := attrOf(n, "group", 1)
		if len(x) < 3 || len(x) > tensor.MaxRank || len(k) != len(x)-2 || group < 1 || x[1] == unknown || int64(x[1])%group != 0 {
			return nil
		}
		want = []int{unknown, x[1] / int(group)}
		for _, d := range k {
			if d < 0 || d > maxKnown {
				return nil
			}
			want = append(want, int(d))
		}
	case n.Op == "Gemm" && i == 1 && attrOf(n, "transB", 0) != 0:
		want = []int{unknown, last}
	case (n.Op == "Gemm" || n.Op == "MatMul") && i == 1:
		want = []int{last, unknown}
	case n.Op == "Add" && i == 1, n.Op == "DequantizeLinear" && i == 1 && len(x) == 1:
		want = []int{last}
	}
	free := 0
	for _, d := range want {
		if d == unknown {
			free++
		}
	}
	if free > 1 {
		return nil
	}
	return want
}

// node notes the shape of the node's first output.
func (s shapes) node(n *graph.Node) {
	if n.Domain != "" || len(n.In) == 0 || len(n.Out) == 0 || n.In[0] == nil || n.Out[0] == nil {
		return
	}
	x, ok := s[n.In[0]]
	if !ok {
		return
	}
	var w []int
	if len(n.In) > 1 && n.In[1] != nil {
		w = s[n.In[1]]
	}
	out := n.Out[0]
	switch {
	case sameShape[n.Op]:
		s[out] = x
	case n.Op == "Conv" && len(x) > 2 && len(w) == len(x):
		s[out] = append([]int{x[0], w[0]}, windows(n, x[2:], w[2:])...)
	case (n.Op == "MaxPool" || n.Op == "AveragePool") && len(x) > 2:
		k, _ := n.Attrs["kernel_shape"].([]int64)
		d := make([]int, len(x)-2)
		for i := range d {
			d[i] = unknown
			if len(k) == len(d) && k[i] >= 0 && k[i] <= maxKnown && attrOf(n, "ceil_mode", 0) == 0 {
				d[i] = int(k[i])
			}
		}
		s[out] = append([]int{x[0], x[1]}, windows(n, x[2:], d)...)
	case n.Op == "GlobalAveragePool" && len(x) > 2:
		d := []int{x[0], x[1]}
		for range x[2:] {
			d = append(d, 1)
		}
		s[out] = d
	case n.Op == "Flatten" && len(x) > 0 && attrOf(n, "axis", 1) == 1:
		s[out] = []int{x[0], product(x[1:])}
	case n.Op == "Gemm" && len(x) == 2 && len(w) == 2 && attrOf(n, "transA", 0) == 0:
		if attrOf(n, "transB", 0) != 0 {
			s[out] = []int{x[0], w[0]}
		} else {
			s[out] = []int{x[0], w[1]}
		}
	case n.Op == "MatMul" && len(x) > 0 && len(w) == 2:
		s[out] = append(append([]int{}, x[:len(x)-1]...), w[1])
	}
}

// windows is how many windows of sizes k lie along each of x.
func windows(n *graph.Node, x, k []int) []int {
	ints := func(name string, of int) []int64 {
		a, _ := n.Attrs[name].([]int64)
		if len(a) != of {
			return nil
		}
		for _, v := range a {
			if v < 0 || v > maxKnown {
				return nil
			}
		}
		return a
	}
	_, auto := n.Attrs["auto_pad"]
	strides, dilations, pads := ints("strides", len(x)), ints("dilations", len(x)), ints("pads", 2*len(x))
	for name, a := range map[string][]int64{"strides": strides, "dilations": dilations, "pads": pads} {
		if _, there := n.Attrs[name]; there && a == nil {
			auto = true
		}
	}
	d := make([]int, len(x))
	for i := range x {
		d[i] = unknown
		if auto || x[i] == unknown || k[i] == unknown || k[i] == 0 {
			continue
		}
		size, stride, dilation := int64(x[i]), int64(1), int64(1)
		if pads != nil {
			size += pads[i] + pads[i+len(x)]
		}
		if strides != nil {
			stride = strides[i]
		}
		if dilations != nil {
			dilation = dilations[i]
		}
		// All are at most 2^31 here: the product is below 2^62.
		if room := size - (int64(k[i]-1)*dilation + 1); room >= 0 && stride > 0 {
			d[i] = known(int(room/stride) + 1)
		}
	}
	return d
}

// shapeExpected stands for a rank: the shape is the expected one, and the size that
// is unknown in it follows, if there is one.
const shapeExpected = tensor.MaxRank + 1

// shape writes a constant's shape.
func (w *wbuf) shapeLike(shape tensor.Shape, want []int) {
	if want == nil || len(want) != len(shape) {
		w.shape(shape)
		return
	}
	for i, d := range want {
		if d != unknown && d != shape[i] {
			w.shape(shape)
			return
		}
	}
	w.uint(shapeExpected)
	for i, d := range want {
		if d == unknown {
			w.uint(uint64(shape[i]))
		}
	}
}

// shapeLike reads it.
func (r *rbuf) shapeLike(want []int) tensor.Shape {
	if want == nil || len(r.b) == 0 || r.b[0] != shapeExpected {
		return r.shape()
	}
	r.b = r.b[1:]
	s := make(tensor.Shape, len(want))
	for i, d := range want {
		if s[i] = d; d == unknown {
			s[i] = r.below(1<<62, "dimension")
		}
	}
	return r.checkShape(s)
}
