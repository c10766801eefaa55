package kernel

import (
	"slices"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Elementwise nodes on quantised values: sums and tables. Values of one layout are walked as
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

func prepareQTable(n *graph.Node, e *Env) (*Prepared, error) {
	v := kern.IntsOf(e.CPU)
	t := n.In[1].Tensor()
	table := slices.Clone(t.Bytes())
	channels := 1
	if len(t.Shape) == 2 {
		channels = t.Shape[0]
	}
	p := &Prepared{Kernel: "i8_table_" + v.Name(), Packed: []int{1}, InPlace: []int{0}}
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
