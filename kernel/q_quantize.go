package kernel

import (
	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// The ends of what runs on integers: QuantizeLinear of float32 and DequantizeLinear to it,
// of 8 bits with one constant scale and zero point. Images go between row-major or NHWC
// floats and NHWC bytes.
func init() {
	match := func(n *graph.Node, f, q *graph.Value) bool {
		if f.Type.DType != tensor.Float32 || !isByte(q) || scaleOf(n.In[1]) == 0 || n.Int("block_size", 0) != 0 || n.Int("precision", 0) > 1 ||
			f.Type.Shape.NumElements() == 0 || n.In[0].IsConst() {
			return false
		}
		return n.Input(2) == nil || isZero(n.In[2])
	}
	Register(Kernel{
		Op: "QuantizeLinear", Name: "f32_quantize", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool { return match(n, n.In[0], n.Out[0]) },
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, 1)}
			if s := n.In[0].Type.Shape; len(s) == 4 {
				if in[0].Order == graph.NHWC {
					l.In[0] = nhwc([4]int{})
				}
				if l.Out[0] = qnhwc(s[1]); s[1] < qBlock { // rows of the first convolution follow each other
					l.Out[0].CStride = s[1]
				}
			}
			return l
		},
		Prepare: prepareQuantize,
	})
	Register(Kernel{
		Op: "DequantizeLinear", Name: "i8_dequantize", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool { return match(n, n.Out[0], n.In[0]) },
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, 1)}
			// Pixels of few channels are cheaper to move as bytes.
			if in[0].Order == graph.NHWC && in[0].CStride == n.In[0].Type.Shape[1] && in[0].CStride%8 == 0 {
				l.In[0], l.Out[0] = nhwc([4]int{}), nhwc([4]int{})
			}
			return l
		},
		Prepare: prepareDequantize,
	})
}

func zeroPoint(n *graph.Node) int {
	if z := n.Input(2); z != nil {
		return zeroOf(z)
	}
	return 0
}

func prepareQuantize(n *graph.Node, e *Env) (*Prepared, error) {
	v := kern.IntsOf(e.CPU)
	lo, hi := 0, 255
	if n.Out[0].Type.DType == tensor.Int8 {
		lo, hi = -128, 127
	}
	rq, scale := requantOf(lo, hi, zeroPoint(n)), scaleOf(n.In[1])
	p := &Prepared{Kernel: "f32_quantize_" + v.Name(), Packed: packedInputs(n)}
	in, out := n.In[0], n.Out[0]
	if sameLayout(in, out) {
		size := span(out)
		tiles := chunks(size, 8)
		p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
			from, to := chunk(tile, tiles, size)
			v.Quantize(c.Out[0].Bytes()[from:to], f32s(c.In[0])[from:to], scale, rq.lo, rq.hi, rq.zero)
		}}}
		return p, nil
	}
	x, y := viewOf(in), viewOf(out)
	rows := y.n * y.h
	tiles, _ := split(rows, 1, y.w*y.c*16)
	// Planes whose rows follow each other, as the pixels do, are one row of each image.
	rgb := !x.nhwc && y.c == 3 && y.sw == 3
	whole := rgb && x.sh == y.w && y.sh == 3*y.w
	p.Scratch = y.w * min(16, y.c)
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
		src, dst := f32s(c.In[0]), c.Out[0].Bytes()
		r0, r1 := part(tile, tiles, rows)
		for next := r0; r0 < r1; r0 = next {
			img, row := r0/y.h, r0%y.h
			if next = r0 + 1; whole {
				next = min(r1, (img+1)*y.h)
			}
			haloBytes(&y, dst, img, row, row+next-r0)
			a, b := x.at+img*x.sn+row*x.sh, y.at+img*y.sn+row*y.sh
			switch {
			case rgb:
				v.QuantizeRGB(dst[b:][:3*y.w*(next-r0)], src[a:], x.sc, scale, rq.lo, rq.hi, rq.zero)
			case x.nhwc:
				for i := range y.w {
					v.Quantize(dst[b+i*y.sw:][:y.c], src[a+i*x.sw:][:y.c], scale, rq.lo, rq.hi, rq.zero)
				}
			case y.c == 1 && y.sw == 1:
				v.Quantize(dst[b:][:y.w], src[a:][:y.w], scale, rq.lo, rq.hi, rq.zero)
			default: // 16 planes at a time, so that what is turned round is near
				for ch := 0; ch < y.c; ch += 16 {
					m := min(16, y.c-ch)
					for i := range m {
						v.Quantize(scratch[i*y.w:][:y.w], src[a+(ch+i)*x.sc:][:y.w], scale, rq.lo, rq.hi, rq.zero)
					}
					toPixels(v, dst[b+ch:], y.sw, min(16, y.sw-ch), scratch, y.w, y.w, m)
				}
			}
		}
	}}}
	return p, nil
}

func prepareDequantize(n *graph.Node, e *Env) (*Prepared, error) {
	v := kern.IntsOf(e.CPU)
	scale, zero, signed := scaleOf(n.In[1]), zeroPoint(n), n.In[0].Type.DType == tensor.Int8
	p := &Prepared{Kernel: "i8_dequantize_" + v.Name(), Packed: packedInputs(n)}
	in, out := n.In[0], n.Out[0]
	if sameLayout(in, out) {
		size := span(out)
		tiles := chunks(size, 8)
		p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
			from, to := chunk(tile, tiles, size)
			v.Dequantize(f32s(c.Out[0])[from:to], c.In[0].Bytes()[from:to], signed, zero, scale)
		}}}
		return p, nil
	}
	x, y := viewOf(in), viewOf(out)
	rows := y.n * y.h
	tiles, _ := split(rows, 1, y.w*y.c*16)
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		src, dst := c.In[0].Bytes(), f32s(c.Out[0])
		r0, r1 := part(tile, tiles, rows)
		for r := r0; r < r1; r++ {
			img, row := r/y.h, r%y.h
			y.clearHalo(dst, img, row, row+1)
			a, b := x.at+img*x.sn+row*x.sh, y.at+img*y.sn+row*y.sh
			for i := range y.w {
				v.Dequantize(dst[b+i*y.sw:][:y.c], src[a+i*x.sw:][:y.c], signed, zero, scale)
			}
		}
	}}}
	return p, nil
}
