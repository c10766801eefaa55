package op

import (
	"whit/graph"
	"whit/tensor"
)

// ReverseSequence turns round the first sequence_lens[b] (input 1) slices along
// attribute time_axis (0 or 1) of each batch element b, which attribute batch_axis
// (the other one) counts; the slices behind them stay.
func init() {
	Register(Op{
		Name: "ReverseSequence",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			if err := inputType(n, 1, indexTypes); err != nil {
				return nil, err
			}
			x, l := n.In[0].Type, n.In[1].Type.Shape
			b, t := n.Int("batch_axis", 1), n.Int("time_axis", 0)
			if len(x.Shape) < 2 || b != 0 && b != 1 || t != 1-b {
				return nil, Errorf(n, "batch_axis %d and time_axis %d of %v, want 0 and 1 or 1 and 0", b, t, x.Shape)
			}
			if !l.Equal(tensor.Shape{x.Shape[b]}) {
				return nil, Errorf(n, "sequence_lens has shape %v, want [%d]", l, x.Shape[b])
			}
			return []tensor.Type{x}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			s := in[0].Shape
			b := int(n.Int("batch_axis", 1))
			w := s[2:].NumElements() * in[0].DType.Bits() / 8
			bs, ts := w, s[1]*w // bytes from one batch element, and one step, to the next
			if b == 0 {
				bs, ts = ts, bs
			}
			for i, l := range ints64(in[1]) {
				if l < 0 || l > int64(s[1-b]) {
					return Errorf(n, "sequence_lens[%d] is %d of %d steps", i, l, s[1-b])
				}
				for t := range s[1-b] {
					from := t
					if t < int(l) {
						from = int(l) - 1 - t
					}
					copy(out[0].Bytes()[i*bs+t*ts:][:w], in[0].Bytes()[i*bs+from*ts:][:w])
				}
			}
			return nil
		},
		// Turned round again the gradient is in its place.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			if wantsGrad(n.In[0]) {
				ds[0] = g.Add("", "ReverseSequence", n.Attrs, grads[0], n.In[1])
			}
			return ds, nil
		},
		Channels: func(n *graph.Node) []Coupling {
			cs := []Coupling{}
			for a := 2; a < len(n.In[0].Type.Shape); a++ {
				cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Out: true, Axis: a}})
			}
			return cs
		},
	})
}
