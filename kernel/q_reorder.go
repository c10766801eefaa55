package kernel

import (
	"whit/graph"
	"whit/internal/kern"
)

// Bytes go between planes, [N,C,H,W], and pixels, NHWC, in squares of 16 channels of 16 pixels.
func init() {
	Register(Kernel{
		Domain: graph.Domain, Op: "Reorder", Name: "x8_reorder", Match: reorders(8), Layout: reorderLayout,
		Prepare: prepareByteReorder,
	})
}

func prepareByteReorder(n *graph.Node, e *Env) (*Prepared, error) {
	v := kern.IntsOf(e.CPU)
	s, from, to := n.In[0].Type.Shape, n.In[0].Layout, n.Out[0].Layout
	if from.Order == to.Order || from.Halo != [4]int{} || to.Halo != [4]int{} {
		return &Prepared{Phases: []Phase{{Tiles: s[0] * rows(s[2], to), Run: func(c *Call, tile int, _ []byte) {
			reorderRow(c.In[0].Bytes(), c.Out[0].Bytes(), s, from, to, kern.Zipper{}, tile)
		}}}}, nil
	}
	channels, pixels := s[1], s[2]*s[3]
	stride := max(from.CStride, to.CStride) // of the one that has pixels
	squares := (pixels + 15) / 16
	ni, np := split(s[0], squares, 16*stride*4)
	return &Prepared{Phases: []Phase{{Tiles: ni * np, Run: func(c *Call, tile int, _ []byte) {
		i0, i1 := part(tile/np, ni, s[0])
		p0, p1 := part(tile%np, np, squares)
		p0, p1 = 16*p0, min(pixels, 16*p1)
		src, dst := c.In[0].Bytes(), c.Out[0].Bytes()
		for img := i0; img < i1; img++ {
			planes, image := img*channels*pixels, img*pixels*stride
			if to.Order == graph.NHWC {
				toPixels(v, dst[image+p0*stride:], stride, stride, src[planes+p0:], pixels, p1-p0, channels)
			} else {
				toPlanes(v, dst[planes+p0:], pixels, src[image+p0*stride:], stride, p1-p0, channels)
			}
		}
	}}}}, nil
}

// toPixels writes n pixels, stride bytes apart, from planes that are plane bytes apart, and zeros behind the channels of each up to width.
func toPixels(v kern.Ints, dst []byte, stride, width int, src []byte, plane, n, channels int) {
	if n == 1 && plane == 1 {
		clear(dst[copy(dst[:channels], src):width])
		return
	}
	if width < 8 {
		c := 0
		for ; c+2 <= channels; c += 2 {
			at, y := c, src[(c+1)*plane:][:n]
			for i, x := range src[c*plane:][:n] {
				d := (*[2]byte)(dst[at:])
				d[0], d[1] = x, y[i]
				at += stride
			}
		}
		for ; c < channels; c++ {
			at := c
			for _, x := range src[c*plane:][:n] {
				dst[at] = x
				at += stride
			}
		}
		for i := 0; i < n && channels < width; i++ {
			clear(dst[i*stride+channels : i*stride+width])
		}
		return
	}
	var a, b [256]byte
	for c := 0; c < width; c += 16 {
		m, wide := min(16, channels-c), min(16, width-c)
		p := 0
		if m == 16 {
			p = n &^ 15
			v.Transpose(dst[c:], src[c*plane:], stride, plane, p/16, 16*stride, 16)
		} else {
			clear(a[:])
		}
		for ; p < n; p += 16 {
			k := min(16, n-p)
			for i := range m {
				if x := src[(c+i)*plane+p:]; k == 16 {
					*(*[16]byte)(a[16*i:]) = [16]byte(x)
				} else {
					copy(a[16*i:16*i+k], x)
				}
			}
			v.Transpose(b[:], a[:], 16, 16, 1, 0, 0)
			for i := range k {
				if y := dst[(p+i)*stride+c:]; wide == 16 {
					*(*[16]byte)(y) = [16]byte(b[16*i:])
				} else {
					copy(y[:wide], b[16*i:])
				}
			}
		}
	}
}

// toPlanes is the inverse of toPixels.
func toPlanes(v kern.Ints, dst []byte, plane int, src []byte, stride, n, channels int) {
	if n == 1 && plane == 1 {
		copy(dst[:channels], src)
		return
	}
	const squares = 8
	var a [256]byte
	var b [squares * 256]byte
	for c := 0; c < channels; c += 16 {
		m := min(16, channels-c)
		p, full := 0, n&^15
		if m == 16 {
			v.Transpose(dst[c*plane:], src[c:], plane, stride, full/16, 16, 16*stride)
			p = full
		}
		for full > 0 && (full-1)*stride+c+16 > len(src) { // the last pixels of the last image
			full -= 16
		}
		for p < full {
			k := min(squares, (full-p)/16)
			v.Transpose(b[:], src[p*stride+c:], 16*squares, stride, k, 16, 16*stride)
			for i := range m {
				copy(dst[(c+i)*plane+p:][:16*k], b[16*squares*i:])
			}
			p += 16 * k
		}
		for ; p < n; p += 16 {
			k := min(16, n-p)
			for i := range k {
				copy(a[16*i:16*i+m], src[(p+i)*stride+c:])
			}
			v.Transpose(b[:], a[:], 16, 16, 1, 0, 0)
			for i := range m {
				copy(dst[(c+i)*plane+p:][:k], b[16*i:])
			}
		}
	}
}
