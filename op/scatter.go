package op

import (
	"whit/graph"
	"whit/tensor"
)

// ScatterElements and ScatterND write updates into a copy of data; attribute
// reduction (none, add, mul, max, min) says what happens to what is there. Indices
// are taken in row-major order, so that with none the last one wins.
func init() {
	Register(Op{
		Name: "ScatterElements",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			x, ix, a, err := inferIndexed(n, 3)
			if err != nil {
				return nil, err
			}
			if err := fitsElements(n, x.Shape, ix.Shape, a); err != nil {
				return nil, err
			}
			if u := n.In[2].Type; u.DType != x.DType || !u.Shape.Equal(ix.Shape) {
				return nil, Errorf(n, "updates are %v for data %v and indices %v", u, x, ix.Shape)
			}
			if err := checkReduction(n); err != nil {
				return nil, err
			}
			return []tensor.Type{x}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			at := make([]int, in[1].Len())
			if err := elementOffsets(n, in[0].Shape, in[1], func(i, off int) { at[i] = off }); err != nil {
				return err
			}
			return scatter(n, in[0], in[2], out[0], at, 1)
		},
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 3)
			if n.Str("reduction", "none") != "add" {
				return nil, Unsupported(n, "gradient of reduction %s", n.Str("reduction", "none"))
			}
			ds[0] = grads[0]
			if wantsGrad(n.In[2]) {
				ds[2] = g.Add("", "GatherElements", map[string]any{"axis": n.Int("axis", 0)}, grads[0], n.In[1])
			}
			return ds, nil
		},
	})
	Register(Op{
		Name: "ScatterND",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 3); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			if err := inputType(n, 1, []tensor.DType{tensor.Int64}); err != nil {
				return nil, err
			}
			x, ix, u := n.In[0].Type, n.In[1].Type, n.In[2].Type
			q := len(ix.Shape)
			if len(x.Shape) < 1 || q < 1 || ix.Shape[q-1] > len(x.Shape) {
				return nil, Errorf(n, "indices %v for data %v", ix.Shape, x.Shape)
			}
			want := append(ix.Shape[:q-1].Clone(), x.Shape[ix.Shape[q-1]:]...)
			if u.DType != x.DType || !u.Shape.Equal(want) {
				return nil, Errorf(n, "updates are %v, want %v", u, tensor.Type{DType: x.DType, Shape: want})
			}
			if err := checkReduction(n); err != nil {
				return nil, err
			}
			return []tensor.Type{x}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			at, err := tuples(n, in[0].Shape, in[1], 0)
			if err != nil {
				return err
			}
			k := in[1].Shape[len(in[1].Shape)-1]
			return scatter(n, in[0], in[2], out[0], at, in[0].Shape[k:].NumElements())
		},
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 3)
			if n.Str("reduction", "none") != "add" {
				return nil, Unsupported(n, "gradient of reduction %s", n.Str("reduction", "none"))
			}
			ds[0] = grads[0]
			if wantsGrad(n.In[2]) {
				ds[2] = g.Add("", "GatherND", nil, grads[0], n.In[1])
			}
			return ds, nil
		},
	})
}

func checkReduction(n *graph.Node) error {
	switch r := n.Str("reduction", "none"); r {
	case "none":
	case "add", "mul", "max", "min":
		return inputType(n, 0, Numbers)
	default:
		return Errorf(n, "reduction %q, want none, add, mul, max or min", r)
	}
	return nil
}

// scatter copies x to y and puts run elements of u at each offset of at.
func scatter(n *graph.Node, x, u, y *tensor.Tensor, at []int, run int) error {
	copy(y.Bytes(), x.Bytes()[:x.NumBytes()])
	mode := n.Str("reduction", "none")
	if mode == "none" {
		w := run * x.DType.Bits() / 8
		for i, o := range at {
			copy(y.Bytes()[o*x.DType.Bits()/8:], u.Bytes()[i*w:(i+1)*w])
		}
		return nil
	}
	into := func(f ref) error { return f(n, []*tensor.Tensor{x, u}, []*tensor.Tensor{y}) }
	return into(numbers{f32: scattered[float32](mode, at, run), f64: scattered[float64](mode, at, run),
		i8: scattered[int8](mode, at, run), i16: scattered[int16](mode, at, run), i32: scattered[int32](mode, at, run), i64: scattered[int64](mode, at, run),
		u8: scattered[uint8](mode, at, run), u16: scattered[uint16](mode, at, run), u32: scattered[uint32](mode, at, run), u64: scattered[uint64](mode, at, run)}.ref)
}

func scattered[T Number](mode string, at []int, run int) ref {
	return func(_ *graph.Node, in, out []*tensor.Tensor) error {
		u, y := vals[T](in[1]), vals[T](out[0])
		copy(y, vals[T](in[0]))
		for i, o := range at {
			d, s := y[o:o+run], u[i*run:(i+1)*run]
			for j, v := range s {
				switch mode {
				case "add":
					d[j] += v
				case "mul":
					d[j] *= v
				case "max":
					d[j] = max(d[j], v)
				default:
					d[j] = min(d[j], v)
				}
			}
		}
		return nil
	}
}
