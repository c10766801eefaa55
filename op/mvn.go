package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// MeanVarianceNormalization is (x - mean)/(sqrt(var) + 1e-9), the mean and the
// population variance being over axes (default 0, 2, 3).
func init() {
	Register(Op{
		Name: "MeanVarianceNormalization",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, Floats...); err != nil {
				return nil, err
			}
			_, err := mvnAxes(n, len(n.In[0].Type.Shape))
			return []tensor.Type{n.In[0].Type}, err
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			s := in[0].Shape
			reduced, err := mvnAxes(n, len(s))
			if err != nil {
				return err
			}
			// stride is that of the statistics: 0 along the reduced axes.
			stride, sets := make([]int, len(s)), 1
			for a := len(s) - 1; a >= 0; a-- {
				if !reduced[a] {
					stride[a] = sets
					sets *= s[a]
				}
			}
			x, y := wide(in[0]), make([]float64, in[0].Len())
			mean, variance := make([]float64, sets), make([]float64, sets)
			count := float64(len(x)) / float64(sets)
			each := func(f func(i, set int)) {
				at := make([]int, len(s))
				for i := range x {
					set := 0
					for a, k := range at {
						set += k * stride[a]
					}
					f(i, set)
					step(at, s)
				}
			}
			each(func(i, k int) { mean[k] += x[i] / count })
			each(func(i, k int) { variance[k] += (x[i] - mean[k]) * (x[i] - mean[k]) / count })
			each(func(i, k int) { y[i] = (x[i] - mean[k]) / (math.Sqrt(variance[k]) + 1e-9) })
			narrow(out[0], y)
			return nil
		},
	})
}

// mvnAxes says of each axis whether it is reduced.
func mvnAxes(n *graph.Node, rank int) ([]bool, error) {
	axes, given := n.Attrs["axes"].([]int64)
	if !given {
		axes = []int64{0, 2, 3}
	}
	reduced := make([]bool, rank)
	for _, a := range axes {
		if a < -int64(rank) || a >= int64(rank) {
			return nil, Errorf(n, "axis %d is out of range for rank %d", a, rank)
		}
		if a < 0 {
			a += int64(rank)
		}
		reduced[a] = true
	}
	return reduced, nil
}
