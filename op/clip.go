package op

import (
	"whit/graph"
	"whit/tensor"
)

// Clip is min(max(x, lo), hi): inputs x, lo and hi, the bounds scalars that may be
// absent. Where lo > hi every element is hi. NaN stays NaN.
func init() {
	nums := numbers{f32: clip[float32], f64: clip[float64], i8: clip[int8], i16: clip[int16], i32: clip[int32], i64: clip[int64],
		u8: clip[uint8], u16: clip[uint16], u32: clip[uint32], u64: clip[uint64]}
	Register(Op{
		Name: "Clip",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 3, Numbers...); err != nil {
				return nil, err
			}
			for i, v := range n.In[1:] {
				if v != nil && (v.Type.DType != n.In[0].Type.DType || v.Type.Shape.NumElements() != 1) {
					return nil, Errorf(n, "bound %d is %v, want a scalar %v", i+1, v.Type, n.In[0].Type.DType)
				}
			}
			return []tensor.Type{n.In[0].Type}, nil
		},
		Ref: nums.ref,
		// The gradient passes where lo <= x <= hi. The bounds get none.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, len(n.In))
			if wantsGrad(n.In[0]) {
				ds[0] = g.Add(graph.Domain, "ClipGrad", nil, append([]*graph.Value{grads[0]}, n.In...)...)
			}
			return ds, nil
		},
		Channels: passChannels,
	})
	// ClipGrad is dx = dy where lo <= x <= hi, else 0: inputs dy, x, lo, hi (both may be absent).
	Register(Op{
		Domain: graph.Domain, Name: "ClipGrad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 4, Floats...); err != nil {
				return nil, err
			}
			if !n.In[0].Type.Equal(n.In[1].Type) {
				return nil, Errorf(n, "gradient is %v, input %v", n.In[0].Type, n.In[1].Type)
			}
			for i, v := range n.In[2:] {
				if v != nil && (v.Type.DType != n.In[0].Type.DType || v.Type.Shape.NumElements() != 1) {
					return nil, Errorf(n, "bound %d is %v, want a scalar %v", i+1, v.Type, n.In[0].Type.DType)
				}
			}
			return []tensor.Type{n.In[0].Type}, nil
		},
		Ref: float(clipGrad[float32], clipGrad[float64]),
	})
}

// bound is the scalar of input i, if it is there.
func bound[T Number](in []*tensor.Tensor, i int) (v T, ok bool) {
	if i < len(in) && in[i] != nil {
		return vals[T](in[i])[0], true
	}
	return v, false
}

func clip[T Number](_ *graph.Node, in, out []*tensor.Tensor) error {
	lo, hasLo := bound[T](in, 1)
	hi, hasHi := bound[T](in, 2)
	y := vals[T](out[0])
	for i, v := range vals[T](in[0]) {
		if hasLo && v < lo {
			v = lo
		}
		if hasHi && v > hi {
			v = hi
		}
		y[i] = v
	}
	return nil
}

func clipGrad[T Float](_ *graph.Node, in, out []*tensor.Tensor) error {
	lo, hasLo := bound[T](in, 2)
	hi, hasHi := bound[T](in, 3)
	x, dx := vals[T](in[1]), vals[T](out[0])
	for i, g := range vals[T](in[0]) {
		if hasLo && x[i] < lo || hasHi && x[i] > hi {
			g = 0
		}
		dx[i] = g
	}
	return nil
}
