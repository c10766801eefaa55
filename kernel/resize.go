package kernel

import (
	"slices"

	"whit/graph"
	"whit/op"
)

// Resize of float32 NHWC images that copies pixels (mode nearest), a row of the output a unit.
func init() {
	Register(Kernel{
		Op: "Resize", Name: "f32_resize", Priority: 10, Parts: true,
		Match: func(n *graph.Node, _ *Env) bool {
			return len(n.In) > 0 && n.In[0].Type.DType == n.Out[0].Type.DType && f32Node(&graph.Node{In: n.In[:1]}) && resizeFrom(n) != nil
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{nhwc([4]int{})}}
			l.In[0] = nhwc([4]int{})
			return l
		},
		Prepare: prepareResize,
	})
}

// resizeFrom is op.ResizeFrom's rows and columns of an image whose other axes stay.
func resizeFrom(n *graph.Node) [][]int {
	x, y := n.In[0].Type.Shape, n.Out[0].Type.Shape
	if len(x) != 4 || x[0] != y[0] || x[1] != y[1] || y.NumElements() == 0 {
		return nil
	}
	from := op.ResizeFrom(n)
	if from == nil {
		return nil
	}
	for _, a := range from[:2] {
		if !slices.IsSorted(a) || a[len(a)-1] != len(a)-1 || a[0] != 0 {
			return nil
		}
	}
	return from[2:]
}

func prepareResize(n *graph.Node, _ *Env) (*Prepared, error) {
	from, x, y := resizeFrom(n), viewOf(n.In[0]), viewOf(n.Out[0])
	p := &Prepared{}
	for i := 1; i < len(n.In); i++ {
		p.Packed = append(p.Packed, i)
	}
	tiles, _ := split(y.n*y.h, 1, 8*y.w*y.c)
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		r0, r1 := part(tile, tiles, y.n*y.h)
		for r := r0; r < r1; r++ {
			img, oy := r/y.h, r%y.h
			y.clearHalo(out, img, oy, oy+1)
			src, dst := in[x.at+img*x.sn+from[0][oy]*x.sh:], out[y.at+img*y.sn+oy*y.sh:]
			for ox, ix := range from[1] {
				copy(dst[ox*y.sw:][:y.c], src[ix*x.sw:])
			}
		}
	}}}
	return p, nil
}
