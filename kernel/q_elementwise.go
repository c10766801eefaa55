package kernel

import (
	"slices"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Elementwise nodes on quantised values: sums, products and tables. Values of one layout are walked as
// flat memory, whatever is behind the channels of a pixel with them.
func init() {
	for _, on := range [][2]string{{graph.Domain, "QLinearAdd"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "i8_add", Priority: 10,
			Match: func(n *graph.Node, _ *Env) bool {
				m, _, _ := qunfuse(n, graph.Domain, "QLinearAdd")
				if m == nil || m.In[0].IsConst() || m.In[3].IsConst() || m.Out[0].Type.Shape.NumElements() == 0 {
					return false
				}
				sa, sb, sy := scaleOf(m.In[1]), scaleOf(m.In[4]), scaleOf(m.In[6])
				return sa > 0 && sb > 0 && sy > 0 && isZero(m.In[2]) && isZero(m.In[5]) && isZero(m.In[7]) &&
					finite(float32(float64(sa)/float64(sy))) && finite(float32(float64(sb)/float64(sy)))
			},
			Layout:  func(n *graph.Node, in []graph.Layout) Layouts { return bytewise(n, in, 0, 3) },
			Prepare: prepareQAdd,
		})
	}
	for _, on := range [][2]string{{graph.Domain, "QLinearMul"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "i8_mul", Priority: 10,
			Match: func(n *graph.Node, _ *Env) bool {
				m, _, _ := qunfuse(n, graph.Domain, "QLinearMul")
				if m == nil || m.In[0].IsConst() || m.In[3].IsConst() || m.Out[0].Type.Shape.NumElements() == 0 {
					return false
				}
				sa, sb, sy := scaleOf(m.In[1]), scaleOf(m.In[4]), scaleOf(m.In[6])
				_, _, ok := qfactors(m)
				return ok && sa > 0 && sb > 0 && sy > 0 && isZero(m.In[2]) && isZero(m.In[5]) && isZero(m.In[7]) &&
					finite(float32(float64(sa)*float64(sb)/float64(sy)))
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				a, b, _ := qfactors(n)
				if n.In[b].Type.Shape.Equal(n.In[a].Type.Shape) {
					return bytewise(n, in, a, b)
				}
				l := bytewise(n, in, a)
				l.In[b] = graph.Layout{Order: in[b].Order, CStride: in[b].CStride} // numbers a channel are the same in both
				return l
			},
			Prepare: prepareQMul,
		})
	}
	Register(Kernel{
		Domain: graph.Domain, Op: "QTable", Name: "i8_table", Priority: 10, Parts: true,
		Match: func(n *graph.Node, _ *Env) bool {
			return n.In[1].IsConst() && !n.In[0].IsConst() && n.Out[0].Type.Shape.NumElements() > 0
		},
		Layout:  func(n *graph.Node, in []graph.Layout) Layouts { return bytewise(n, in, 0) },
		Prepare: prepareQTable,
	})
}

// chunks is how flat memory of size bytes is cut into tiles.
func chunks(size, work int) (tiles int) {
	const block = 4 << 10
	n := (size + block - 1) / block
	tiles, _ = split(n, 1, block*work)
	return tiles
}

// chunk is a tile's part of size bytes, in whole vectors.
func chunk(tile, tiles, size int) (from, to int) {
	const vector = 64
	from, to = part(tile, tiles, (size+vector-1)/vector)
	return from * vector, min(size, to*vector)
}

func prepareQAdd(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, graph.Domain, "QLinearAdd")
	v := kern.IntsOf(e.CPU)
	sa, sb, sy := float64(scaleOf(n.In[1])), float64(scaleOf(n.In[4])), float64(scaleOf(n.In[6]))
	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	s := kern.I8Sum{ZA: int32(zeroOf(n.In[2])), ZB: int32(zeroOf(n.In[5])), MA: float32(sa / sy), MB: float32(sb / sy), Lo: rq.lo, Hi: rq.hi, Zero: rq.zero}
	if n.In[0].Type.DType == tensor.Int8 {
		s.Flip, s.ZA = s.Flip|0x80, s.ZA+128
	}
	if n.In[3].Type.DType == tensor.Int8 {
		s.Flip, s.ZB = s.Flip|0x8000, s.ZB+128
	}
	p := &Prepared{Kernel: "i8_add_" + v.Name(), Packed: []int{1, 2, 4, 5, 6, 7}}
	if sameLayout(n.In[0], n.In[3], n.Out[0]) {
		size := span(n.Out[0])
		tiles := chunks(size, 4)
		p.InPlace = []int{0, 3}
		p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
			s := s
			from, to := chunk(tile, tiles, size)
			s.A, s.B, s.Y, s.N = c.In[0].Bytes()[from:], c.In[3].Bytes()[from:], c.Out[0].Bytes()[from:], to-from
			v.Sum(&s)
		}}}
		return p, nil
	}
	a, b, y := viewOf(n.In[0]), viewOf(n.In[3]), viewOf(n.Out[0])
	p.Phases = []Phase{{Tiles: y.n * y.h, Run: func(c *Call, tile int, _ []byte) {
		s := s
		img, r := tile/y.h, tile%y.h
		haloBytes(&y, c.Out[0].Bytes(), img, r, r+1)
		for i := range y.w {
			s.A = c.In[0].Bytes()[a.at+img*a.sn+r*a.sh+i*a.sw:]
			s.B = c.In[3].Bytes()[b.at+img*b.sn+r*b.sh+i*b.sw:]
			s.Y, s.N = c.Out[0].Bytes()[y.at+img*y.sn+r*y.sh+i*y.sw:], y.c
			v.Sum(&s)
		}
	}}}
	return p, nil
}

// qfactors are the inputs of a QLinearMul, as such or as whit.Fused: a with the output's shape, and b with the same, or one number, or
// one a channel of the images or of all of them; ok is false for others.
func qfactors(n *graph.Node) (a, b int, ok bool) {
	s := n.Out[0].Type.Shape
	if a, b = 0, 3; !n.In[a].Type.Shape.Equal(s) {
		a, b = b, a
	}
	t := n.In[b].Type.Shape
	if !n.In[a].Type.Shape.Equal(s) || len(t) > len(s) {
		return a, b, false
	}
	if t.NumElements() == 1 || t.Equal(s) {
		return a, b, true
	}
	if len(s)-len(t) > 1 || len(s) < 2 {
		return a, b, false
	}
	for i, d := range t {
		switch axis := len(s) - len(t) + i; {
		case axis == 0 && d != s[0] && d != 1, axis == 1 && d != s[1], axis > 1 && d != 1:
			return a, b, false
		}
	}
	return a, b, true
}

func prepareQMul(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, graph.Domain, "QLinearMul")
	v := kern.IntsOf(e.CPU)
	ia, ib, _ := qfactors(n)
	in, by, out := n.In[ia], n.In[ib], n.Out[0]
	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	m := kern.I8Product{Lo: rq.lo, Hi: rq.hi, Zero: rq.zero, ZA: int32(zeroOf(n.In[ia+2])), ZB: int32(zeroOf(n.In[ib+2])),
		Mul: float32(float64(scaleOf(n.In[1])) * float64(scaleOf(n.In[4])) / float64(scaleOf(n.In[6])))}
	if in.Type.DType == tensor.Int8 {
		m.Flip, m.ZA = m.Flip|0x80, m.ZA+128
	}
	if by.Type.DType == tensor.Int8 {
		m.Flip, m.ZB = m.Flip|0x8000, m.ZB+128
	}
	p := &Prepared{Kernel: "i8_mul_" + v.Name(), Packed: []int{1, 2, 4, 5, 6, 7}}
	if sameLayout(in, out) {
		p.InPlace = []int{ia}
	}
	s := out.Type.Shape
	same, channels := by.Type.Shape.Equal(s), 1
	if by.Type.Shape.NumElements() > 1 && !same {
		channels = s[1]
	}
	if same && sameLayout(in, by, out) {
		size := span(out)
		tiles := chunks(size, 4)
		p.InPlace = []int{ia, ib}
		p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
			m := m
			from, to := chunk(tile, tiles, size)
			m.A, m.B, m.Y, m.Pixels, m.N = c.In[ia].Bytes()[from:], c.In[ib].Bytes()[from:], c.Out[0].Bytes()[from:], 1, to-from
			v.Product(&m)
		}}}
		return p, nil
	}
	// Where image img's numbers are, in order of the channels.
	at, step := 0, 0
	if by.Layout.Order == graph.NHWC {
		w := viewOf(by)
		at, step = w.at, w.sn
	} else if channels > 1 {
		step = channels
	}
	if by.Type.Shape.NumElements() == channels { // of all images
		step = 0
	}
	if out.Layout.Order == graph.RowMajor { // planes with one number each; all of it, if there is but one
		planes, inner := 1, s.NumElements()
		if channels > 1 {
			planes, inner = s[0]*channels, s[2:].NumElements()
		}
		parts, _ := split(max(1, inner/64), 1, 64*8)
		p.Phases = []Phase{{Tiles: planes * parts, Run: func(c *Call, tile int, _ []byte) {
			m, plane := m, tile/parts
			var number [64]byte
			b := c.In[ib].Bytes()[at+plane/channels*step+plane%channels]
			for i := range number {
				number[i] = b
			}
			from, to := chunk(tile%parts, parts, inner)
			m.A, m.B, m.Y = c.In[ia].Bytes()[plane*inner+from:], number[:], c.Out[0].Bytes()[plane*inner+from:]
			m.StepA, m.StepY = 64, 64
			m.Pixels, m.N = (to-from)/64, 64
			v.Product(&m)
			whole := (to - from) &^ 63
			m.A, m.Y, m.Pixels, m.N = m.A[whole:], m.Y[whole:], 1, to-from-whole
			v.Product(&m)
		}}}
		return p, nil
	}
	x, y := viewOf(in), viewOf(out)
	rows, width := y.n*y.h, round16(y.c)
	var bv view
	if p.Scratch = width; same {
		bv, p.Scratch = viewOf(by), 0
		m.StepB = bv.sw
	}
	if x.sw < width || y.sw < width || same && bv.sw < width {
		width = y.c
	}
	tiles, _ := split(rows, 1, y.w*width*8)
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
		m, last := m, -1
		m.StepA, m.StepY, m.Pixels, m.N = x.sw, y.sw, y.w, width
		r0, r1 := part(tile, tiles, rows)
		for r := r0; r < r1; r++ {
			img, row := r/y.h, r%y.h
			haloBytes(&y, c.Out[0].Bytes(), img, row, row+1)
			m.A, m.Y = c.In[ia].Bytes()[x.at+img*x.sn+row*x.sh:], c.Out[0].Bytes()[y.at+img*y.sn+row*y.sh:]
			switch b := c.In[ib].Bytes(); {
			case same:
				m.B = b[bv.at+img*bv.sn+row*bv.sh:]
			case img != last:
				m.B, last = scratch[:width], img
				if b = b[at+img*step:]; channels > 1 {
					copy(m.B, b[:channels])
				} else {
					for i := range m.B {
						m.B[i] = b[0]
					}
				}
			}
			v.Product(&m)
		}
	}}}
	return p, nil
}

func prepareQTable(n *graph.Node, e *Env) (*Prepared, error) {
	v := kern.IntsOf(e.CPU)
	t := n.In[1].Tensor()
	table := slices.Clone(t.Bytes())
	channels := 1
	if len(t.Shape) == 2 {
		channels = t.Shape[0]
	}
	p := &Prepared{Kernel: "i8_table_" + v.LookupName(), Packed: []int{1}, InPlace: []int{0}}
	in, out := n.In[0], n.Out[0]
	var lookups []*kern.Lookup // of NHWC with a table a channel none: they stay tables
	if channels == 1 || in.Layout.Order == graph.RowMajor {
		for i := range channels {
			lookups = append(lookups, kern.LookupOf(table[256*i:][:256]))
		}
	}
	if channels == 1 && sameLayout(in, out) && (out.Layout.Order == graph.RowMajor || out.Layout.CStride <= round16(out.Type.Shape[1])) {
		size := span(out)
		tiles := chunks(size, 4)
		p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
			from, to := chunk(tile, tiles, size)
			v.Lookup(c.Out[0].Bytes()[from:to], c.In[0].Bytes()[from:to], lookups[0], 1, 0, 0, to-from)
		}}}
		return p, nil
	}
	if in.Layout.Order == graph.RowMajor { // a table a channel
		s := in.Type.Shape
		inner := s[2:].NumElements()
		p.Phases = []Phase{{Tiles: s[0] * s[1], Run: func(c *Call, tile int, _ []byte) {
			v.Lookup(c.Out[0].Bytes()[tile*inner:], c.In[0].Bytes()[tile*inner:], lookups[tile%s[1]%channels], 1, 0, 0, inner)
		}}}
		return p, nil
	}
	if !sameLayout(in, out) {
		p.InPlace = nil
	}
	x, y := viewOf(in), viewOf(out)
	rows := y.n * y.h
	tiles, _ := split(rows, 1, y.w*y.c*16)
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		r0, r1 := part(tile, tiles, rows)
		for r := r0; r < r1; r++ {
			img, row := r/y.h, r%y.h
			haloBytes(&y, c.Out[0].Bytes(), img, row, row+1)
			src, dst := c.In[0].Bytes()[x.at+img*x.sn+row*x.sh:], c.Out[0].Bytes()[y.at+img*y.sn+row*y.sh:]
			if channels > 1 {
				v.Tables(dst, src, table, y.w, y.sw, x.sw, y.c)
				continue
			}
			v.Lookup(dst, src, lookups[0], y.w, y.sw, x.sw, y.c)
		}
	}}}
	return p, nil
}
