package op

import (
	"whit/graph"
	"whit/tensor"
)

// AffineGrid gives the places at which GridSample reads an image through the
// affine maps theta [N,r,r+1], r 2 or 3: grid [N,out...,r], where size (input 1) is
// [N,C,out...]. An output position is its coordinates in -1..1, the last axis first,
// then 1; with align_corners -1 and 1 are the centres of the outermost elements, not
// their edges. An axis of one element is at 0.
func init() {
	Register(Op{
		Name: "AffineGrid",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			if err := floatInput(n, 0); err != nil {
				return nil, err
			}
			t := n.In[0].Type
			if len(t.Shape) != 3 || t.Shape[1] != 2 && t.Shape[1] != 3 || t.Shape[2] != t.Shape[1]+1 {
				return nil, Errorf(n, "theta has shape %v, want [N,2,3] or [N,3,4]", t.Shape)
			}
			r := t.Shape[1]
			size, err := shapeInput(n, 1)
			if err != nil {
				return nil, err
			}
			if len(size) != r+2 || size[0] != t.Shape[0] {
				return nil, Errorf(n, "size %v for theta %v", size, t.Shape)
			}
			y := append(append(tensor.Shape{size[0]}, size[2:]...), r)
			return []tensor.Type{{DType: t.DType, Shape: y}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			s := out[0].Shape
			r := s[len(s)-1]
			dims, align := s[1:1+r], n.Int("align_corners", 0) != 0
			theta, y := wide(in[0]), make([]float64, out[0].Len())
			at, points := make([]int, r), dims.NumElements()
			for img := range s[0] {
				m := theta[img*r*(r+1):]
				for p := range points {
					for i := range r {
						v := m[i*(r+1)+r]
						for j := range r {
							a := r - 1 - j // coordinate j runs along the last axis but j
							v += m[i*(r+1)+j] * gridPlace(at[a], dims[a], align)
						}
						y[(img*points+p)*r+i] = v
					}
					step(at, dims)
				}
			}
			narrow(out[0], y)
			return nil
		},
	})
}

// gridPlace is element i of d as a coordinate in -1..1.
func gridPlace(i, d int, align bool) float64 {
	if !align {
		return float64(2*i+1)/float64(d) - 1
	}
	if d == 1 {
		return 0
	}
	return 2*float64(i)/float64(d-1) - 1
}
