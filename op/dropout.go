package op

import (
	"maps"

	"whit/graph"
	"whit/tensor"
)

func init() {
	// Dropout passes x on, and all true as the mask. With training_mode true it
	// keeps an element with the probability 1 - ratio (default 0.5), then multiplied by
	// 1/(1 - ratio), and gives 0 for the rest; the mask says which were kept. The choice
	// is DropoutBits of the attribute seed (default 0) at step 0 and node 0: every run
	// drops the same elements. Training uses whit.Dropout.
	Register(Op{
		Name: "Dropout", Infer: inferDropout, Channels: channelsDropout,
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			ratio, train := 0.5, false
			if len(in) > 1 && in[1] != nil {
				ratio = wide(in[1])[0]
			}
			if len(in) > 2 && in[2] != nil {
				train = in[2].Bytes()[0] != 0
			}
			if !train {
				ratio = 0
			}
			if !(ratio >= 0 && ratio < 1) {
				return Errorf(n, "ratio is %g, want 0 <= ratio < 1", ratio)
			}
			dropout(in[0], out, ratio, uint64(n.Int("seed", 0)), 0, 0)
			return nil
		},
		// For a given mask Dropout is linear, so its gradient is itself on dy.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			d := make([]*graph.Value, len(n.In))
			if grads[0] != nil {
				in := append([]*graph.Value{grads[0]}, n.In[1:]...)
				d[0] = g.Add("", "Dropout", maps.Clone(n.Attrs), in...)
			}
			return d, nil
		},
	})
	// whit.Dropout is Dropout in training: inputs x and the int64 scalar step,
	// attributes ratio (float, default 0.5), seed and node (integers, default 0), the
	// outputs y and, if wanted, the mask. The choice is DropoutBits of (seed, step,
	// node, index), so that it does not depend on how the work is split.
	Register(Op{
		Domain: graph.Domain, Name: "Dropout", Channels: channelsDropout,
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2, append([]tensor.DType{tensor.Int64}, Floats...)...); err != nil {
				return nil, err
			}
			x, s := n.In[0].Type, n.In[1].Type
			if !x.DType.IsFloat() || s.DType != tensor.Int64 || s.Shape.NumElements() != 1 {
				return nil, Errorf(n, "x is %v and step %v, want a float and one int64", x, s)
			}
			if r := n.Float("ratio", .5); !(r >= 0 && r < 1) {
				return nil, Errorf(n, "ratio is %g, want 0 <= ratio < 1", r)
			}
			return []tensor.Type{x, {DType: tensor.Bool, Shape: x.Shape}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			dropout(in[0], out, float64(n.Float("ratio", .5)), uint64(n.Int("seed", 0)), uint64(tensor.Of[int64](in[1])[0]), uint64(n.Int("node", 0)))
			return nil
		},
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			if grads[0] == nil {
				return []*graph.Value{nil, nil}, nil
			}
			return []*graph.Value{g.Add(graph.Domain, "Dropout", maps.Clone(n.Attrs), grads[0], n.In[1]), nil}, nil
		},
	})
}

// channelsDropout: every axis of x is y's and the mask's.
func channelsDropout(n *graph.Node) []Coupling {
	cs := passChannels(n)
	if len(n.Out) > 1 && n.Out[1] != nil {
		for a := range n.In[0].Type.Shape {
			cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Out: true, Index: 1, Axis: a}})
		}
	}
	return cs
}

func inferDropout(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 1, 3); err != nil {
		return nil, err
	}
	x := n.In[0].Type
	if err := Want(&graph.Node{Name: n.Name, Op: n.Op, In: n.In[:min(2, len(n.In))]}, 1, 2, Floats...); err != nil {
		return nil, err
	}
	if r := n.Input(1); r != nil && r.Type.Shape.NumElements() != 1 {
		return nil, Errorf(n, "ratio has shape %v, want a scalar", r.Type.Shape)
	}
	if t := n.Input(2); t != nil && (t.Type.DType != tensor.Bool || t.Type.Shape.NumElements() != 1) {
		return nil, Errorf(n, "training_mode is %v, want a bool", t.Type)
	}
	return []tensor.Type{x, {DType: tensor.Bool, Shape: x.Shape}}, nil
}

func dropout(in *tensor.Tensor, out []*tensor.Tensor, ratio float64, seed, step, node uint64) {
	scale := 1 / (1 - ratio)
	if in.DType != tensor.Float64 {
		scale = float64(float32(scale))
	}
	x, y := wide(in), make([]float64, in.Len())
	var mask []byte
	if len(out) > 1 && out[1] != nil {
		mask = out[1].Bytes()
	}
	key, limit := DropoutKey(seed, step, node), DropoutLimit(ratio)
	for i, v := range x {
		keep := DropoutBits(key, uint64(i)) >= limit
		if keep {
			y[i] = v * scale
		}
		if mask != nil {
			mask[i] = 0
			if keep {
				mask[i] = 1
			}
		}
	}
	narrow(out[0], y)
}

// DropoutKey is the key of one dropout node at one training step.
func DropoutKey(seed, step, node uint64) uint64 {
	return mix64(mix64(mix64(seed+golden)+step+golden) + node + golden)
}

// DropoutBits is the random number, uniform in 0..2^53-1, of element index under a
// key: SplitMix64 addressed by index (Steele, Lea, Flood: Fast Splittable Pseudorandom
// Number Generators, 2014, figure 17). An element is kept where it is at least
// DropoutLimit of the ratio.
func DropoutBits(key, index uint64) uint64 { return mix64(key+(index+1)*golden) >> 11 }

// DropoutLimit is ratio, 0 <= ratio < 1, on the scale of DropoutBits.
func DropoutLimit(ratio float64) uint64 { return uint64(ratio * (1 << 53)) }

const golden = 0x9e3779b97f4a7c15

func mix64(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
