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

// unary lists the inputs of n that are constant if n is a function of its input 0 (Add,
// Mul and their like: of either input), element by element, that varies at most along axis 1;
// nil for other nodes.
func unary(n *graph.Node) []int {
	if n.Domain != "" || len(n.Out) != 1 || n.Out[0] == nil || n.Out[0].Type.DType != tensor.Float32 {
		return nil
	}
	consts := []int{}
	data := 0
	switch n.Op {
	case "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign",
		"Gelu", "Mish", "Swish", "Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Floor", "Ceil", "Round", "Reciprocal", "Sign", "Sin", "Cos", "Atan":
		if len(n.In) != 1 {
			return nil
		}
	case "Clip", "PRelu", "Add", "Sub", "Mul", "Div", "Min", "Max", "Pow":
		if n.Op != "Clip" && len(n.In) != 2 {
			return nil
		}
		if n.Op != "Clip" && n.Op != "PRelu" && n.Op != "Pow" && n.In[0] != nil && n.In[0].IsConst() {
			data = 1
		}
		for i, v := range n.In {
			if v != nil && i != data {
				consts = append(consts, i)
			}
		}
	default:
		return nil
	}
	x := n.In[data]
	if x == nil || x.IsConst() || !x.Type.Shape.Equal(n.Out[0].Type.Shape) {
		return nil
	}
	for _, i := range consts {
		v := n.In[i]
		if !v.IsConst() || v.Type.DType != tensor.Float32 {
			return nil
		}
		s, r := v.Type.Shape, len(x.Type.Shape)
		for a, d := range s {
			if d != 1 && r-len(s)+a != 1 {
				return nil
			}
		}
	}
	return consts
}

// ordinary reports a positive float32 of full precision.
func ordinary(f float32) bool { return f >= 0x1p-126 && f <= math.MaxFloat32 }

// table is the lookup that the chain of functions between a DequantizeLinear and qn is,
// nothing if it is the identity; nil if there is no such chain.
func (q *quantizer) table(qn *graph.Node) []*graph.Node {
	var chain []*graph.Node
	channels := 1
	v := qn.In[0]
	for {
		p := v.Producer
		if p == nil {
			return nil
		}
		if p.Op == "DequantizeLinear" {
			break
		}
		consts := unary(p)
		if consts == nil {
			return nil
		}
		v = p.In[0]
		if slices.Contains(consts, 0) {
			v = p.In[1]
		}
		for _, i := range consts {
			if p.In[i].Type.Shape.NumElements() > 1 {
				channels = v.Type.Shape[1]
			}
		}
		chain = append(chain, p)
	}
	dq, gx, ok := dequantized(v)
	rank := len(v.Type.Shape)
	if !ok || rank == 0 || channels*256*(len(chain)+1) > maxTable || channels < 1 {
		return nil
	}
	if gy, ok := grainOf(qn); ok && len(chain) == 0 && gy == gx && ordinary(255*gx.scale) && ordinary(gx.scale) && !slices.Contains(q.g.Outputs, qn.Out[0]) {
		q.sub[qn.Out[0]] = dq.In[0] // a product that is divided again is off by less than a half
		return []*graph.Node{}
	}
	slices.Reverse(chain)
	chain = append(chain, qn)
	// Axis 0 runs over the integers, axis 1 over the channels.
	s := make(tensor.Shape, rank)
	for i := range s {
		s[i] = 1
	}
	s[0] = 256
	if channels > 1 {
		s[1] = channels
	}
	x := tensor.New(tensor.Float32, s...)
	for i := range x.Len() {
		k := i / channels
		if gx.t == tensor.Int8 {
			k = int(int8(k))
		}
		tensor.Of[float32](x)[i] = float32(k-gx.zero) * gx.scale
	}
	at := v
	for _, n := range chain {
		m := &graph.Node{Name: n.Name, Op: n.Op, Attrs: n.Attrs}
		in := make([]*tensor.Tensor, len(n.In))
		for i, v := range n.In {
			switch {
			case v == nil:
				m.In = append(m.In, nil)
			case v == at:
				in[i] = x
				m.In = append(m.In, &graph.Value{Name: "x", Kind: graph.Input, Type: x.Type})
			default:
				in[i] = v.Tensor()
				m.In = append(m.In, v)
			}
		}
		y := tensor.New(n.Out[0].Type.DType, s...)
		m.Out = []*graph.Value{{Name: "y", Type: y.Type, Producer: m}}
		if ts, err := op.Infer(m); err != nil || !ts[0].Equal(y.Type) {
			return nil
		}
		if err := op.Of(m).Ref(m, in, []*tensor.Tensor{y}); err != nil {
			return nil
		}
		x, at = y, n.Out[0]
	}
	out := qn.Out[0]
	t := tensor.New(out.Type.DType, 256)
	if channels > 1 {
		t = tensor.New(out.Type.DType, channels, 256)
	}
	same := gx.t == out.Type.DType
	for k := range 256 {
		for c := range channels {
			b := x.Bytes()[k*channels+c]
			t.Bytes()[c*256+k] = b
			same = same && b == byte(k)
		}
	}
	if same && !slices.Contains(q.g.Outputs, out) {
		q.sub[out] = dq.In[0]
		return []*graph.Node{}
	}
	n := &graph.Node{Name: chain[0].Name, Domain: graph.Domain, Op: "QTable", In: []*graph.Value{dq.In[0], q.g.NewConst("", t)}, Out: []*graph.Value{out}}
	out.Producer = n
	return []*graph.Node{n}
}
