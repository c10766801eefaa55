package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
)

// Gemm and MatMul of float32 on kern's products. A constant B is packed once; a B
// that changes is packed panel by panel in scratch, which every tile does for
// its own columns.
func init() {
	for _, on := range [][2]string{{"", "Gemm"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_gemm", Priority: 10,
			Match: func(n *graph.Node, _ *Env) bool {
				m, _, _ := unfuseGemm(n)
				return m != nil && f32Node(m)
			},
			Prepare: prepareGemm,
		})
	}
	Register(Kernel{
		Op: "MatMul", Name: "f32_matmul", Priority: 10,
		Match:   func(n *graph.Node, _ *Env) bool { return f32Node(n) },
		Prepare: prepareMatMul,
	})
}

// piece is how many floats of a constant are taken together: a quarter of a second-level cache.
const piece = 32 << 10

// packingB packs the constant matrix B[k,n] (trans: held [n,k]) in the panels of u.
func packingB(u *kern.Micro, v *graph.Value, trans bool, k, n int) Packing {
	w := floats(v)
	if !trans { // a part is some rows of all panels
		some := max(1, min(k, piece/max(1, n)))
		return Packing{Bytes: 4 * u.PackedLen(k, n), Parts: (k + some - 1) / some, Scratch: pieceScratch(v, some*n),
			Fill: func(b []byte, part int, scratch []byte) {
				dst, k0 := kern.Floats(b), part*some
				kk := min(some, k-k0)
				src := w(scratch, k0*n, kk*n)
				for n0 := 0; n0 < n; n0 += u.NR {
					u.PackB(dst[n0*k+k0*u.NR:], src[n0:], false, n, kk, min(u.NR, n-n0))
				}
			}}
	}
	r := newPanelReader(u, v, k, n)
	return Packing{Bytes: 4 * u.PackedLen(k, n), Parts: (n + u.NR - 1) / u.NR, Scratch: r.scratch,
		At: func(part int) (from, to int) { return 4 * part * k * u.NR, 4 * (part + 1) * k * u.NR },
		Fill: func(b []byte, part int, scratch []byte) {
			for k0 := 0; k0 < k; k0 += r.some {
				kk := min(r.some, k-k0)
				src, ld := r.read(scratch, part, k0, kk)
				u.PackB(kern.Floats(b)[k0*u.NR:], src, true, ld, kk, min(u.NR, n-part*u.NR))
			}
		}}
}

// panelReader reads the columns of a panel of B held [n,k]: rows of what is held, in
// pieces of some k.
type panelReader struct {
	u       *kern.Micro
	w       func([]byte, int, int) []float32
	k, n    int
	some    int
	stored  bool
	scratch int
}

func newPanelReader(u *kern.Micro, v *graph.Value, k, n int) *panelReader {
	r := &panelReader{u: u, w: floats(v), k: k, n: n, some: max(1, min(k, piece/u.NR))}
	r.scratch = pieceScratch(v, u.NR*r.ld(r.some))
	r.stored = r.scratch > 0
	return r
}

// ld is the distance of rows in scratch: 64-byte aligned.
func (r *panelReader) ld(k int) int { return (k + 15) &^ 15 }

// read gives rows k0 to k0+k of panel p as columns that are ld apart.
func (r *panelReader) read(scratch []byte, p, k0, k int) (src []float32, ld int) {
	n0 := p * r.u.NR
	cols := min(r.u.NR, r.n-n0)
	switch {
	case !r.stored:
		return r.w(nil, n0*r.k+k0, (cols-1)*r.k+k), r.k
	case k == r.k: // they follow each other
		return r.w(scratch, n0*k, cols*k), k
	}
	ld = r.ld(k)
	for c := range cols {
		r.w(scratch[4*c*ld:], (n0+c)*r.k+k0, k)
	}
	return kern.Floats(scratch), ld
}

// packB is the constant matrix B[k,n] in panels, and how it is packed.
func packB(e *Env, u *kern.Micro, v *graph.Value, trans bool, k, n int) (*Packed, Packing) {
	pk := packingB(u, v, trans, k, n)
	return e.packParts(v, fmt.Sprintf("f32_panels/%d/%d/%d/%v", u.NR, k, n, trans), pk), pk
}

// directRows is how many rows of A a first run may have without packing B: with more,
// tiles would share panels.
const directRows = 24

// finish is what kern's epilogue cannot do: y = clamp(y + beta·C) where C is a
// scalar or a whole matrix, or beta is not 1.
type finish struct {
	rs, cs int
	beta   float32
	act    activation
}

func (f *finish) run(y, c []float32, ldc, m0, m1, n0, n1 int) {
	for i := m0; i < m1; i++ {
		row := y[i*ldc:]
		for j := n0; j < n1; j++ {
			v := row[j] + float32(f.beta*c[i*f.rs+j*f.cs])
			if v < f.act.lo {
				v = f.act.lo
			}
			if v > f.act.hi {
				v = f.act.hi
			}
			row[j] = v
		}
	}
}

// unfuseGemm is a Gemm, alone or with limits or a curve (nil where there is none), as if it stood alone.
func unfuseGemm(n *graph.Node) (m *graph.Node, act activation, cv *curve) {
	m, act, add, cv := unfuseCurve(n, "Gemm")
	if add >= 0 || act.slope != nil {
		return nil, activation{}, nil
	}
	return m, act, cv
}

func prepareGemm(fn *graph.Node, e *Env) (*Prepared, error) {
	n, act, cv := unfuseGemm(fn)
	u, flat := kern.F32(e.CPU), kern.FlatOf(e.CPU)
	y := n.Out[0].Type.Shape
	g := &kern.GEMM{M: y[0], N: y[1], TransA: n.Int("transA", 0) != 0, TransB: n.Int("transB", 0) != 0,
		Alpha: n.Float("alpha", 1), Lo: act.lo, Hi: act.hi, Flags: act.flags()}
	g.K = n.In[0].Type.Shape[1]
	if g.TransA {
		g.K = n.In[0].Type.Shape[0]
	}
	if g.Alpha != 1 {
		g.Flags |= kern.FlagAlpha
	}
	p := &Prepared{Kernel: u.Name}
	var fin *finish
	col, row := false, false
	if c := n.Input(2); c != nil {
		f := &finish{beta: n.Float("beta", 1), act: act}
		if s := c.Type.Shape; len(s) >= 1 && s[len(s)-1] != 1 {
			f.cs = 1
		}
		if s := c.Type.Shape; len(s) == 2 && s[0] != 1 {
			f.rs = s[1]
		}
		switch {
		case f.beta == 1 && f.rs == 0 && (f.cs == 1 || g.N == 1):
			col = true
			g.Flags |= kern.FlagCol
		case f.beta == 1 && f.rs == 1 && f.cs == 0:
			row = true
			g.Flags |= kern.FlagRow
		default:
			fin = f
			g.Flags &^= kern.FlagClamp
		}
	}
	var packed *Packed
	var pk Packing
	if b := n.In[1]; b.IsConst() {
		g.PackedB = true
		packed, pk = packB(e, u, b, g.TransB, g.K, g.N)
		p.Packed = []int{1}
	}
	g.Init(u)
	curveFloats := 0
	if cv != nil {
		curveFloats = cv.floats() + curveChunk
		p.Kernel += "_curve"
	}
	p.Scratch = 4 * (g.Scratch() + curveFloats)
	// run computes a tile with B as it is, or by its panels; scratch is g's and then the curve's.
	run := func(c *Call, tile int, b []float32, panel func(p, k0, k int) []float32, scratch []byte) {
		var bias, rv, cc []float32
		if len(c.In) > 2 {
			cc = f32s(c.In[2])
		}
		if col {
			bias = cc
		}
		if row {
			rv = cc
		}
		out := f32s(c.Out[0])
		if panel != nil {
			g.RunPanels(tile, f32s(c.In[0]), panel, out, bias, rv)
		} else {
			g.Run(tile, f32s(c.In[0]), b, out, bias, rv, kern.Floats(scratch))
		}
		if fin != nil {
			m0, m1, n0, n1 := g.Region(tile)
			fin.run(out, cc, g.LDC, m0, m1, n0, n1)
		}
		if cv != nil {
			m0, m1, n0, n1 := g.Region(tile)
			if m1 > m0 && n1 > n0 {
				cv.pixels(flat, out[m0*g.LDC+n0:], m1-m0, n1-n0, g.LDC, kern.Floats(scratch[len(scratch)-4*curveFloats:]))
			}
		}
	}
	p.Phases = []Phase{{Tiles: g.Tiles(), Run: func(c *Call, tile int, scratch []byte) {
		b := packed.floats()
		if !g.PackedB {
			b = f32s(c.In[1])
		}
		run(c, tile, b, nil, scratch[:4*(g.Scratch()+curveFloats)])
	}}}
	if g.PackedB && g.TransB && pk.worthFirst() && g.M <= directRows {
		r := newPanelReader(u, n.In[1], g.K, g.N)
		own := 4*piece + r.scratch
		p.Scratch = own + 4*curveFloats
		p.First = []Phase{{Tiles: g.Tiles(), Run: func(c *Call, tile int, scratch []byte) {
			packed, raw := kern.Floats(scratch[:4*piece]), scratch[4*piece:own]
			at, from, to := -1, 0, 0 // what packed holds
			run(c, tile, nil, func(p, k0, k int) []float32 {
				if p != at || k0 < from || k0+k > to {
					at, from, to = p, k0, min(g.K, k0+r.some)
					src, ld := r.read(raw, p, from, to-from)
					u.PackB(packed, src, true, ld, to-from, min(u.NR, g.N-p*u.NR))
				}
				return packed[(k0-from)*u.NR:]
			}, scratch[own:][:4*curveFloats])
		}}}
	}
	return p, nil
}

func prepareMatMul(n *graph.Node, e *Env) (*Prepared, error) {
	u := kern.F32(e.CPU)
	a, b := n.In[0].Type.Shape.Clone(), n.In[1].Type.Shape.Clone()
	if len(a) == 1 {
		a = append([]int{1}, a...)
	}
	if len(b) == 1 {
		b = append(b, 1)
	}
	g := &kern.GEMM{M: a[len(a)-2], K: a[len(a)-1], N: b[len(b)-1]}
	ab, bb := a[:len(a)-2], b[:len(b)-2]
	if bb.NumElements() == 1 {
		// One B: all rows of all batches are one matrix.
		g.M *= ab.NumElements()
		ab, bb = nil, nil
	}
	// Offsets of the matrices of every product of the broadcast batch.
	batch := max(len(ab), len(bb))
	dims, as, bs := make([]int, batch), make([]int, batch), make([]int, batch)
	sa, sb, count := g.M*g.K, g.K*g.N, 1
	for i := 1; i <= batch; i++ {
		da, db := 1, 1
		if i <= len(ab) {
			da = ab[len(ab)-i]
		}
		if i <= len(bb) {
			db = bb[len(bb)-i]
		}
		d := da
		if da == 1 {
			d = db
		}
		dims[batch-i] = d
		if da != 1 {
			as[batch-i] = sa
		}
		if db != 1 {
			bs[batch-i] = sb
		}
		sa, sb, count = sa*da, sb*db, count*d
	}
	offs := make([][2]int, count)
	for i := range offs {
		r := i
		for j := batch - 1; j >= 0; j-- {
			at := r % dims[j]
			r /= dims[j]
			offs[i][0] += at * as[j]
			offs[i][1] += at * bs[j]
		}
	}
	p := &Prepared{Kernel: u.Name}
	var packed *Packed
	if v := n.In[1]; v.IsConst() && count == 1 {
		g.PackedB = true
		packed, _ = packB(e, u, v, false, g.K, g.N)
		p.Packed = []int{1}
	}
	g.Init(u)
	tiles, size := g.Tiles(), g.M*g.N
	p.Scratch = 4 * g.Scratch()
	p.Phases = []Phase{{Tiles: tiles * count, Run: func(c *Call, tile int, scratch []byte) {
		i := tile / tiles
		w := packed.floats()
		if !g.PackedB {
			w = f32s(c.In[1])[offs[i][1]:]
		}
		g.Run(tile%tiles, f32s(c.In[0])[offs[i][0]:], w, f32s(c.Out[0])[i*size:], nil, nil, kern.Floats(scratch))
	}}}
	return p, nil
}
