package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// BitCast reads the bits of its input as elements of the type of attribute to, which
// is as wide.
func init() {
	Register(Op{
		Name: "BitCast",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1); err != nil {
				return nil, err
			}
			x, to := n.In[0].Type, tensor.FromONNX(n.Int("to", 0))
			if to == tensor.Invalid || to.Bits() != x.DType.Bits() {
				return nil, Errorf(n, "%v as %v: want equally many bits", x.DType, to)
			}
			return []tensor.Type{{DType: to, Shape: x.Shape}}, nil
		},
		Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
			copy(out[0].Bytes(), in[0].Bytes()[:in[0].NumBytes()])
			if out[0].DType == tensor.Bool { // a bool is 0 or 1
				for i, b := range out[0].Bytes()[:out[0].Len()] {
					out[0].Bytes()[i] = min(b, 1)
				}
			}
			return nil
		},
	})
	// HannWindow, HammingWindow and BlackmanWindow give size (a scalar input) samples
	// of a0 - a1·cos(2πi/N) + a2·cos(4πi/N); N is size, less one with periodic 0.
	for _, w := range []struct {
		name string
		a    [3]float64
	}{{"HannWindow", [3]float64{.5, .5, 0}}, {"HammingWindow", [3]float64{25. / 46, 21. / 46, 0}}, {"BlackmanWindow", [3]float64{.42, .5, .08}}} {
		Register(Op{
			Name: w.name,
			Infer: func(n *graph.Node) ([]tensor.Type, error) {
				if err := Want(n, 1, 1, indexTypes...); err != nil {
					return nil, err
				}
				size, err := Ints(n, 0)
				if err != nil {
					return nil, err
				}
				to := tensor.FromONNX(n.Int("output_datatype", 1))
				if len(size) != 1 || size[0] < 0 || size[0] > math.MaxInt32 {
					return nil, Errorf(n, "size %v", size)
				}
				if !isFullFloat(to) {
					return nil, Unsupported(n, "output is %v", to)
				}
				return []tensor.Type{{DType: to, Shape: tensor.Shape{int(size[0])}}}, nil
			},
			Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
				y := make([]float64, out[0].Len())
				d := len(y)
				if n.Int("periodic", 1) == 0 {
					d--
				}
				for i := range y {
					t := 2 * math.Pi * float64(i) / float64(max(1, d))
					y[i] = w.a[0] - w.a[1]*math.Cos(t) + w.a[2]*math.Cos(2*t)
				}
				narrow(out[0], y)
				return nil
			},
		})
	}
}
