package pass

import (
	"math"
	"slices"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// maxTable bounds the elements that making a table may compute.
const maxTable = 1 << 22

// elementwise lists the inputs of n that are data if every element of its output is a function of those at its place, and of
// constants that vary at most along axis 1; nil for other nodes.
func elementwise(n *graph.Node) []*graph.Value {
	if n.Domain != "" || len(n.Out) != 1 || n.Out[0] == nil || n.Out[0].Type.DType != tensor.Float32 {
		return nil
	}
	switch n.Op {
	case "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign",
		"Gelu", "Mish", "Swish", "Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Floor", "Ceil", "Round", "Reciprocal", "Sign", "Sin", "Cos", "Atan",
		"Clip", "PRelu", "Add", "Sub", "Mul", "Div", "Min", "Max", "Pow":
	default:
		return nil
	}
	var data []*graph.Value
	shape := n.Out[0].Type.Shape
	for _, v := range n.In {
		switch {
		case v == nil:
		case v.Type.DType != tensor.Float32:
			return nil
		case !isConstant(v):
			if !v.Type.Shape.Equal(shape) {
				return nil
			}
			data = append(data, v)
		default:
			for a, d := range v.Type.Shape {
				if d != 1 && len(shape)-len(v.Type.Shape)+a != 1 {
					return nil
				}
			}
		}
	}
	return data
}

// isConstant reports a constant, or a DequantizeLinear of constants.
func isConstant(v *graph.Value) bool {
	return v.IsConst() || v.Producer != nil && isConstDequantize(v.Producer)
}

// cone is what a value is computed from, element by element, down to quantised values.
type cone struct {
	nodes []*graph.Node  // in order
	from  []*graph.Value // the quantised values
	open  []*graph.Value // the results of tables that the cone goes through
	seen  map[*graph.Value]bool
}

// add puts what v, of floats or in open, is computed from into the cone. It reports whether that is all element by element.
func (c *cone) add(v *graph.Value) bool {
	if c.seen[v] {
		return true
	}
	c.seen[v] = true
	p := v.Producer
	if p == nil {
		return false
	}
	if _, ok := grainOf(p); ok && p.Op == "DequantizeLinear" || slices.Contains(c.open, v) {
		if x := p.In[0]; slices.Contains(c.open, x) {
			c.add(x)
		} else if !slices.Contains(c.from, x) {
			c.from = append(c.from, x)
		}
	} else {
		data := elementwise(p)
		if data == nil {
			return false
		}
		for _, v := range data {
			if !c.add(v) {
				return false
			}
		}
	}
	c.nodes = append(c.nodes, p)
	return true
}

// cone is that of v from one quantised value, through as few tables as that takes, and through those that nothing else
// reads; nil if there is none.
func (q *quantizer) cone(v *graph.Value) *cone {
	var open []*graph.Value
	for {
		c := &cone{open: open, seen: map[*graph.Value]bool{}}
		if !c.add(v) {
			return nil
		}
		var last *graph.Value // the table behind most others
		most := 0
		for _, x := range c.from {
			if d := tables(x); d > most {
				last, most = x, d
			}
		}
		if len(c.from) == 1 && (last == nil || len(last.Producer.In[1].Type.Shape) > 1 || len(q.uses[last]) != 1 || len(q.uses[c.nodes[0].Out[0]]) != 1) {
			return c
		}
		if last == nil {
			return nil
		}
		open = append(open, last)
	}
}

// tables is the number of whit.QTable nodes that x has gone through last.
func tables(x *graph.Value) (n int) {
	for ; x.Producer != nil && x.Producer.Domain == graph.Domain && x.Producer.Op == "QTable"; n++ {
		x = x.Producer.In[0]
	}
	return n
}

// ordinary reports a positive float32 of full precision.
func ordinary(f float32) bool { return f >= 0x1p-126 && f <= math.MaxFloat32 }

// table is the lookup that the functions between DequantizeLinears of one value and qn are,
// nothing if it is the identity; nil if there are none.
func (q *quantizer) table(qn *graph.Node) []*graph.Node {
	c := q.cone(qn.In[0])
	if c == nil {
		return nil
	}
	root := c.from[0]
	rank, channels := len(root.Type.Shape), 1
	nodes := append(c.nodes, qn)
	for _, n := range nodes {
		for _, v := range n.In {
			if n.Op == "QTable" && v == n.In[1] && len(v.Type.Shape) == 2 || n.Op != "QTable" && v != nil && isConstant(v) && v.Type.Shape.NumElements() > 1 {
				channels = root.Type.Shape[1]
			}
		}
	}
	if rank == 0 || channels*256*len(nodes) > maxTable || channels < 1 {
		return nil
	}
	if dq := nodes[0]; len(nodes) == 2 {
		gx, _ := grainOf(dq)
		if gy, ok := grainOf(qn); ok && gy == gx && ordinary(255*gx.scale) && ordinary(gx.scale) && !slices.Contains(q.g.Outputs, qn.Out[0]) {
			q.sub[qn.Out[0]] = root // a product that is divided again is off by less than a half
			return []*graph.Node{}
		}
	}
	// Axis 0 runs over the integers, axis 1 over the channels.
	s := make(tensor.Shape, rank)
	for i := range s {
		s[i] = 1
	}
	s[0] = 256
	if channels > 1 {
		s[1] = channels
	}
	x := tensor.New(root.Type.DType, s...)
	for i := range x.Bytes() {
		x.Bytes()[i] = byte(i / channels)
	}
	at := map[*graph.Value]*tensor.Tensor{root: x}
	for _, n := range nodes {
		m := &graph.Node{Name: n.Name, Domain: n.Domain, Op: n.Op, Attrs: n.Attrs}
		in := make([]*tensor.Tensor, len(n.In))
		for i, v := range n.In {
			if v == nil {
				m.In = append(m.In, nil)
				continue
			}
			w := v
			switch {
			case at[v] != nil:
				in[i] = at[v]
				w = &graph.Value{Name: "x", Kind: graph.Input, Type: in[i].Type}
			case v.IsConst():
				in[i] = v.Tensor()
			default: // a DequantizeLinear of constants
				cs, err := foldNode(q.g, v.Producer)
				if err != nil || cs == nil {
					return nil
				}
				w, in[i] = cs[0], cs[0].Tensor()
			}
			m.In = append(m.In, w)
		}
		y := tensor.New(n.Out[0].Type.DType, s...)
		m.Out = []*graph.Value{{Name: "y", Type: y.Type, Producer: m}}
		if ts, err := op.Infer(m); err != nil || !ts[0].Equal(y.Type) {
			return nil
		}
		if err := op.Of(m).Ref(m, in, []*tensor.Tensor{y}); err != nil {
			return nil
		}
		at[n.Out[0]] = y
	}
	out := qn.Out[0]
	t := tensor.New(out.Type.DType, 256)
	if channels > 1 {
		t = tensor.New(out.Type.DType, channels, 256)
	}
	x = at[out]
	same := root.Type.DType == out.Type.DType
	for k := range 256 {
		for c := range channels {
			b := x.Bytes()[k*channels+c]
			t.Bytes()[c*256+k] = b
			same = same && b == byte(k)
		}
	}
	if same && !slices.Contains(q.g.Outputs, out) {
		q.sub[out] = root
		return []*graph.Node{}
	}
	last := nodes[max(len(nodes)-2, 0)]
	if last.Op == "DequantizeLinear" {
		last = qn
	}
	n := &graph.Node{Name: last.Name, Domain: graph.Domain, Op: "QTable", In: []*graph.Value{root, q.g.NewConst("", t)}, Out: []*graph.Value{out}}
	out.Producer = n
	return []*graph.Node{n}
}
