package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Det is the determinant of each square matrix of x [...,M,M], by elimination with
// pivots from the column.
func init() {
	Register(Op{
		Name: "Det",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, Floats...); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			r := len(x.Shape)
			if r < 2 || x.Shape[r-1] != x.Shape[r-2] {
				return nil, Errorf(n, "x has shape %v, want square matrices", x.Shape)
			}
			return []tensor.Type{{DType: x.DType, Shape: x.Shape[:r-2].Clone()}}, nil
		},
		Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
			m := in[0].Shape[len(in[0].Shape)-1]
			x, y := wide(in[0]), make([]float64, out[0].Len())
			a := make([]float64, m*m)
			for i := range y {
				copy(a, x[i*m*m:])
				y[i] = determinant(a, m)
			}
			narrow(out[0], y)
			return nil
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			s := n.In[0].Type.Shape
			return int64(s.NumElements()) * int64(s[len(s)-1]), IOBytes(n)
		},
	})
}

// determinant of the m by m matrix a, which it overwrites.
func determinant(a []float64, m int) float64 {
	d := 1.0
	for c := range m {
		p := c
		for r := c + 1; r < m; r++ {
			if math.Abs(a[r*m+c]) > math.Abs(a[p*m+c]) {
				p = r
			}
		}
		pivot := a[p*m+c]
		if p != c {
			for k := c; k < m; k++ {
				a[p*m+k], a[c*m+k] = a[c*m+k], a[p*m+k]
			}
			d = -d
		}
		if d *= pivot; pivot == 0 {
			return 0
		}
		for r := c + 1; r < m; r++ {
			f := a[r*m+c] / pivot
			for k := c; k < m; k++ {
				a[r*m+k] -= f * a[c*m+k]
			}
		}
	}
	return d
}
