package kernel

import (
	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// The reorder kernel converts between row-major [N,C,H,W] and NHWC with channel
// stride and halo, both ways, for elements of 4 bytes; tiles are image rows.
func init() {
	Register(Kernel{
		Domain: graph.Domain, Op: "Reorder", Name: "x32_reorder", Match: reorders(32), Layout: reorderLayout,
		Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
			s, from, to, z := n.In[0].Type.Shape, n.In[0].Layout, n.Out[0].Layout, kern.ZipperOf(e.CPU)
			run := func(c *Call, tile int, _ []byte) {
				reorderRow(tensor.Words(c.In[0]), tensor.Words(c.Out[0]), s, from, to, z, tile)
			}
			return &Prepared{Phases: []Phase{{Tiles: s[0] * rows(s[2], to), Run: run}}}, nil
		},
	})
}

func reorders(bits int) func(*graph.Node, *Env) bool {
	return func(n *graph.Node, _ *Env) bool {
		return n.In[0].Type.DType.Bits() == bits && len(n.In[0].Type.Shape) == 4
	}
}

func reorderLayout(n *graph.Node, in []graph.Layout) Layouts {
	return Layouts{In: in[:1], Out: []graph.Layout{n.Out[0].Layout}}
}

// element is what kernels that only move hold an element as.
type element interface{ uint8 | uint32 }

// Stride gives the physical strides in elements of a logical [N,C,H,W] value: of
// an image, a channel, a row and a column, and the offset of element [0,0,0,0].
func Stride(s tensor.Shape, l graph.Layout) (n, c, h, w, off int) {
	if l.Order == graph.RowMajor {
		return s[1] * s[2] * s[3], s[2] * s[3], s[3], 1, 0
	}
	w = l.CStride
	h = (s[3] + l.Halo[1] + l.Halo[3]) * w
	n = (s[2] + l.Halo[0] + l.Halo[2]) * h
	return n, 1, h, w, l.Halo[0]*h + l.Halo[1]*w
}

// PhysicalLen is the number of elements that a value takes under its layout.
func PhysicalLen(s tensor.Shape, l graph.Layout) int {
	if l.Order == graph.RowMajor {
		return s.NumElements()
	}
	return s[0] * (s[2] + l.Halo[0] + l.Halo[2]) * (s[3] + l.Halo[1] + l.Halo[3]) * l.CStride
}

func rows(h int, l graph.Layout) int {
	if l.Order == graph.RowMajor {
		return h
	}
	return h + l.Halo[0] + l.Halo[2]
}

// reorderRow writes one row of the output, halo rows and columns and the
// channels beyond C as zero.
func reorderRow[T element](src, dst []T, s tensor.Shape, from, to graph.Layout, z kern.Zipper, tile int) {
	fn, fc, fh, fw, fo := Stride(s, from)
	tn, tc, th, tw, to0 := Stride(s, to)
	r := rows(s[2], to)
	img, y := tile/r, tile%r
	if to.Order == graph.NHWC {
		y -= to.Halo[0]
		line := dst[to0+img*tn+y*th-to.Halo[1]*tw:][:th]
		if y < 0 || y >= s[2] || to.Halo[1]+to.Halo[3] > 0 || to.CStride != s[1] {
			clear(line)
		}
		if y < 0 || y >= s[2] {
			return
		}
	}
	a, b := fo+img*fn+y*fh, to0+img*tn+y*th
	// Pixels of an image are written whole, three channels at a time.
	ch := 0
	if fw == 1 && tc == 1 {
		for ; ch+3 <= s[1] && s[1] <= 12; ch += 3 {
			p, q, r := src[a+ch*fc:][:s[3]], src[a+(ch+1)*fc:][:s[3]], src[a+(ch+2)*fc:][:s[3]]
			o := b + ch
			if d, ok := any(dst).([]uint32); ok && tw == 3 {
				z.Zip3(d[o:], any(p).([]uint32), any(q).([]uint32), any(r).([]uint32))
				continue
			}
			for x, v := range p {
				d := (*[3]T)(dst[o:])
				d[0], d[1], d[2] = v, q[x], r[x]
				o += tw
			}
		}
	}
	for ; ch < s[1]; ch++ {
		moveLine(dst[b+ch*tc:], tw, src[a+ch*fc:], fw, s[3])
	}
}
