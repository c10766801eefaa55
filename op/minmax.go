package op

import (
	"whit/graph"
	"whit/tensor"
)

// The elementwise operators of any number of inputs, broadcast: Min and Max (NaN
// where any input is NaN), Sum and Mean (floats, accumulated in float64).
func init() {
	extreme := func(name string, f forms) {
		Register(Op{
			Name: name, Infer: inferVariadic(Numbers), Channels: broadcastChannels,
			Ref: func(n *graph.Node, in, out []*tensor.Tensor) error { return folded(f, n, in, out) },
			// The gradient goes to the first input that has the extreme value.
			VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
				if len(n.In) == 1 {
					return grads, nil
				}
				ds, zero := make([]*graph.Value, len(n.In)), scalar(g, 0, grads[0])
				var taken *graph.Value
				for i, v := range n.In {
					hit := g.Add("", "Equal", nil, v, n.Out[0])
					free := hit
					if taken == nil {
						taken = hit
					} else {
						free = g.Add("", "And", nil, hit, g.Add("", "Not", nil, taken))
						taken = g.Add("", "Or", nil, taken, hit)
					}
					if wantsGrad(v) {
						ds[i] = sumTo(g, g.Add("", "Where", nil, free, grads[0], zero), v, n.Out[0])
					}
				}
				return ds, nil
			},
		})
	}
	extreme("Max", forms{
		f32: func(a, b float32) float32 { return max(a, b) }, f64: func(a, b float64) float64 { return max(a, b) },
		i64: func(a, b int64) int64 { return max(a, b) }, u64: func(a, b uint64) uint64 { return max(a, b) },
	})
	extreme("Min", forms{
		f32: func(a, b float32) float32 { return min(a, b) }, f64: func(a, b float64) float64 { return min(a, b) },
		i64: func(a, b int64) int64 { return min(a, b) }, u64: func(a, b uint64) uint64 { return min(a, b) },
	})

	total := func(name string, mean bool) {
		Register(Op{
			Name: name, Infer: inferVariadic(Floats), Channels: broadcastChannels,
			Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
				acc := make([]float64, out[0].Len())
				s := out[0].Shape
				for _, t := range in {
					v := wide(t)
					walk(s, [][]int{broadcastStrides(t.Shape, s)}, func(pos int, off []int, n int, step []int) {
						o := off[0]
						for i := pos; i < pos+n; i++ {
							acc[i] += v[o]
							o += step[0]
						}
					})
				}
				if mean {
					for i := range acc {
						acc[i] /= float64(len(in))
					}
				}
				narrow(out[0], acc)
				return nil
			},
			VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
				d := grads[0]
				if mean {
					d = g.Add("", "Mul", nil, d, scalar(g, 1/float64(len(n.In)), d))
				}
				return eachWanted(n, func(i int) *graph.Value { return sumTo(g, d, n.In[i], n.Out[0]) }), nil
			},
		})
	}
	total("Sum", false)
	total("Mean", true)
}

func inferVariadic(allowed []tensor.DType) func(*graph.Node) ([]tensor.Type, error) {
	return func(n *graph.Node) ([]tensor.Type, error) {
		if len(n.In) == 0 {
			return nil, Errorf(n, "no inputs")
		}
		return inferBroadcast(len(n.In), len(n.In), allowed, tensor.Invalid)(n)
	}
}

// folded computes f(f(in0, in1), in2)...
func folded(f forms, n *graph.Node, in, out []*tensor.Tensor) error {
	if len(in) == 1 {
		copy(out[0].Bytes(), in[0].Bytes()[:in[0].NumBytes()])
		return nil
	}
	a := in[0]
	for i, b := range in[1:] {
		y := out[0]
		if i < len(in)-2 {
			y = tensor.New(out[0].DType, out[0].Shape...)
		}
		if err := f.ref(n, []*tensor.Tensor{a, b}, []*tensor.Tensor{y}); err != nil {
			return err
		}
		a = y
	}
	return nil
}
