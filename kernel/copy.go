package kernel

import (
	"whit/graph"
	"whit/tensor"
)

// Concat of elements of 4 bytes or one: along the channels of NHWC images pixel by pixel,
// else row-major.
func init() {
	registerConcat("x32_concat", 32, tensor.Words)
	registerConcat("x8_concat", 8, (*tensor.Tensor).Bytes)
}

func registerConcat[T element](name string, bits int, of func(*tensor.Tensor) []T) {
	Register(Kernel{
		Op: "Concat", Name: name, Priority: 10, Parts: true,
		Match: func(n *graph.Node, _ *Env) bool {
			return n.Out[0].Type.DType.Bits() == bits && len(n.Out[0].Type.Shape) > 0 && n.Out[0].Type.Shape.NumElements() > 0
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, 1)}
			if len(n.Out[0].Type.Shape) != 4 || PartsAxis(n) != 1 {
				return l
			}
			images, ok := 0, true
			for i, v := range n.In {
				if in[i].Order == graph.NHWC {
					images++
				}
				ok = ok && !v.IsConst()
			}
			if ok && images > 0 {
				for i := range in {
					l.In[i] = nhwc([4]int{})
				}
				l.Out[0] = nhwc([4]int{})
			}
			return l
		},
		Prepare: func(n *graph.Node, _ *Env) (*Prepared, error) { return prepareConcat(n, of) },
	})
}

// PartsAxis is the axis, from 0 on, along which a Concat joins or a Split splits.
func PartsAxis(n *graph.Node) int {
	a := int(n.Int("axis", 0))
	if a < 0 {
		a += len(n.Out[0].Type.Shape)
	}
	return a
}

func prepareConcat[T element](n *graph.Node, of func(*tensor.Tensor) []T) (*Prepared, error) {
	p := &Prepared{}
	out := n.Out[0]
	if out.Layout.Order == graph.NHWC {
		y := viewOf(out)
		xs, there := make([]view, len(n.In)), make([]bool, len(n.In))
		for i, v := range n.In {
			xs[i] = viewOf(v)
			there[i] = v.Within == out
		}
		units := y.n * y.h
		tiles, _ := split(units, 1, y.w*y.c*4)
		p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
			dst := of(c.Out[0])
			u0, u1 := part(tile, tiles, units)
			for u := u0; u < u1; u++ {
				img, oy := u/y.h, u%y.h
				clearHalo4(&y, dst, img, oy, oy+1)
				at := y.at + img*y.sn + oy*y.sh
				for i := range xs {
					x := &xs[i]
					if there[i] { // its producer wrote it there
						at += x.c
						continue
					}
					src := of(c.In[i])[x.at+img*x.sn+oy*x.sh:]
					for px := range y.w {
						copy(dst[at+px*y.sw:][:x.c], src[px*x.sw:])
					}
					at += x.c
				}
			}
		}}}
		return p, nil
	}
	axis, s := PartsAxis(n), out.Type.Shape
	outer, row := s[:axis].NumElements(), s[axis:].NumElements()
	runs := make([]int, len(n.In))
	for i, v := range n.In {
		runs[i] = v.Type.Shape[axis:].NumElements()
	}
	tiles, _ := split(outer, 1, row*4)
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		dst := of(c.Out[0])
		u0, u1 := part(tile, tiles, outer)
		at := 0
		for i, k := range runs {
			src := of(c.In[i])
			for u := u0; u < u1; u++ {
				copy(dst[u*row+at:][:k], src[u*k:])
			}
			at += k
		}
	}}}
	return p, nil
}
