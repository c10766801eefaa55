package kernel

import (
	"whit/graph"
	"whit/internal/kern"
)

// Softmax of float32 along one axis: exp(x - max x) by kern.Exp, summed in float64
// in the order of the axis, one division an element.
func init() {
	Register(Kernel{
		Op: "Softmax", Name: "f32_softmax", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool {
			return f32Node(n) && len(n.In[0].Type.Shape) > 0 && n.In[0].Type.Shape.NumElements() > 0
		},
		Prepare: func(n *graph.Node, _ *Env) (*Prepared, error) {
			s := n.In[0].Type.Shape
			axis := int(n.Int("axis", -1))
			if axis < 0 {
				axis += len(s)
			}
			size, inner := s[axis], s[axis+1:].NumElements()
			lines := s.NumElements() / size
			tiles, _ := split(lines, 1, size*16)
			return &Prepared{InPlace: []int{0}, Phases: []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
				x, y := f32s(c.In[0]), f32s(c.Out[0])
				l0, l1 := part(tile, tiles, lines)
				for l := l0; l < l1; l++ {
					softmaxLine(x, y, l/inner*size*inner+l%inner, size, inner)
				}
			}}}}, nil
		},
	})
}

// softmaxLine computes the line of size elements that begins at at, step apart.
func softmaxLine(x, y []float32, at, size, step int) {
	top := x[at]
	for i := 1; i < size; i++ {
		if v := x[at+i*step]; v > top || v != v {
			top = v
		}
	}
	var sum float64
	for i := range size {
		e := kern.Exp(x[at+i*step] - top)
		y[at+i*step] = e
		sum += float64(e)
	}
	total := float32(sum)
	for i := range size {
		y[at+i*step] /= total
	}
}
