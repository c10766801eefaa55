package op

import (
	"whit/graph"
	"whit/tensor"
)

// RotaryEmbedding turns pairs of elements of each position's heads by the position's
// angles (Su et al.: RoFormer, 2021, section 3.2.2): x is [N,heads,length,size], or
// [N,length,heads·size] with num_heads; cos_cache and sin_cache hold half of
// rotary_embedding_dim (0: size) angles each, [positions,half], looked up by
// position_ids [N,length], or without them [N,length,half]. Pairs are an element of
// the first and of the second half, or with interleaved two neighbours. What is
// behind rotary_embedding_dim stays.
func init() {
	Register(Op{
		Name: "RotaryEmbedding",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 4); err != nil {
				return nil, err
			}
			for i := range 3 {
				if err := floatInput(n, i); err != nil {
					return nil, err
				}
			}
			if err := oneType(n, 0, 1, 2); err != nil {
				return nil, err
			}
			if _, err := newRotary(n); err != nil {
				return nil, err
			}
			return []tensor.Type{n.In[0].Type}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			r, err := newRotary(n)
			if err != nil {
				return err
			}
			x, cos, sin := wide(in[0]), wide(in[1]), wide(in[2])
			y := append([]float64(nil), x...)
			for b := range r.n {
				for p := range r.length {
					row := b*r.length + p
					if len(in) > 3 && in[3] != nil {
						id := vals[int64](in[3])[row]
						if id < 0 || id >= int64(in[1].Shape[0]) {
							return Errorf(n, "position %d of %d", id, in[1].Shape[0])
						}
						row = int(id)
					}
					for h := range r.heads {
						at := ((b*r.heads+h)*r.length + p) * r.size
						if len(in[0].Shape) == 3 {
							at = ((b*r.length+p)*r.heads + h) * r.size
						}
						for k := range r.half {
							i, j := at+k, at+k+r.half
							if n.Int("interleaved", 0) != 0 {
								i, j = at+2*k, at+2*k+1
							}
							c, s := cos[row*r.half+k], sin[row*r.half+k]
							y[i], y[j] = c*x[i]-s*x[j], s*x[i]+c*x[j]
						}
					}
				}
			}
			narrow(out[0], y)
			return nil
		},
		// The rotation back.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, len(n.In))
			if wantsGrad(n.In[1]) || wantsGrad(n.In[2]) {
				return nil, Unsupported(n, "gradient of the angles")
			}
			if wantsGrad(n.In[0]) {
				in := append([]*graph.Value{grads[0], n.In[1], g.Add("", "Neg", nil, n.In[2])}, n.In[3:]...)
				ds[0] = g.Add("", "RotaryEmbedding", n.Attrs, in...)
			}
			return ds, nil
		},
	})
}

type rotary struct{ n, heads, length, size, half int }

func newRotary(n *graph.Node) (*rotary, error) {
	x, c, s := n.In[0].Type.Shape, n.In[1].Type.Shape, n.In[2].Type.Shape
	r := &rotary{}
	switch heads := n.Int("num_heads", 0); {
	case len(x) == 4:
		*r = rotary{n: x[0], heads: x[1], length: x[2], size: x[3]}
	case len(x) == 3 && heads >= 1 && heads <= int64(max(1, x[2])) && x[2]%int(heads) == 0:
		*r = rotary{n: x[0], heads: int(heads), length: x[1], size: x[2] / int(heads)}
	default:
		return nil, Errorf(n, "x has shape %v and num_heads is %d", x, heads)
	}
	d := n.Int("rotary_embedding_dim", 0)
	if d == 0 {
		d = int64(r.size)
	}
	if d < 0 || d > int64(r.size) || d%2 != 0 {
		return nil, Errorf(n, "rotary_embedding_dim is %d of heads of %d", d, r.size)
	}
	r.half = int(d) / 2
	want := tensor.Shape{r.n, r.length, r.half}
	if p := n.Input(3); p != nil {
		if p.Type.DType != tensor.Int64 || !p.Type.Shape.Equal(want[:2]) {
			return nil, Errorf(n, "position_ids are %v, want int64%v", p.Type, want[:2])
		}
		if len(c) != 2 {
			return nil, Errorf(n, "cos_cache has shape %v, want a matrix", c)
		}
		want = tensor.Shape{c[0], r.half}
	}
	if !c.Equal(want) || !s.Equal(want) {
		return nil, Errorf(n, "cos_cache %v and sin_cache %v, want %v", c, s, want)
	}
	return r, nil
}
