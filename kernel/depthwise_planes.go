package kernel

import (
	"whit/graph"
	"whit/internal/kern"
)

// Depthwise float32 convolution of row-major images, where those around it are: a
// product of sparse rows, each of the taps of one channel. A tile copies the planes of a
// few channels with their padding.
func init() {
	for _, on := range [][2]string{{"", "Conv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_depthwise_planes", Priority: 21,
			Match:   func(n *graph.Node, e *Env) bool { return e.planes(n) && planarDepthwise(n) },
			Prepare: prepareDepthwisePlanes,
		})
	}
}

// planarDepthwise reports whether a node is a depthwise convolution of this file.
func planarDepthwise(n *graph.Node) bool {
	m, _, w, ok := depthwiseOf(n)
	return ok && !m.In[0].IsConst() && m.In[0].Type.Shape.NumElements() > 0 &&
		w.kh*w.kw <= 49 && w.sh <= 2 && w.sw <= 2 && (w.ow+w.kw)*(w.kh+1)*w.sh*w.sw <= depthwisePlane
}

const (
	depthwisePlane = 16 << 10 // floats of a channel's lines, at most
	depthwiseLines = 3 << 10  // what they should be
)

func prepareDepthwisePlanes(fn *graph.Node, e *Env) (*Prepared, error) {
	n, act, _, cv := unfuseCurve(fn, "Conv")
	p := depthwisePlanes(n, act, e)
	if cv != nil { // over what is one long row
		size, flat := n.Out[0].Type.Shape.NumElements(), kern.FlatOf(e.CPU)
		const chunk = 8 * curveChunk
		p.Scratch = max(p.Scratch, 4*cv.floats())
		p.Phases = append(p.Phases, Phase{Tiles: (size + chunk - 1) / chunk, Run: func(c *Call, tile int, scratch []byte) {
			y := f32s(c.Out[0])[tile*chunk : min(size, (tile+1)*chunk)]
			cv.run(flat, y, y, kern.Floats(scratch))
		}})
	}
	return p, nil
}

// depthwisePlanes is the convolution n and what limits it.
func depthwisePlanes(n *graph.Node, act activation, e *Env) *Prepared {
	w, _ := convWindow(n)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	u, rowsOf, nt := kern.SparseOf(e.CPU), kern.CopierOf(e.CPU), w.kh*w.kw
	if kern.HaveDWPlanes(e.CPU) && nt == 9 && w.kh == 3 && w.sh == w.sw && w.dh == 1 && w.dw == 1 && w.oh >= kern.DWPlanesRows && w.ph <= 1 && w.pw <= 1 &&
		w.halo()[2] <= 1 && w.halo()[3] <= 1 {
		return prepareDepthwise3x3(n, act, &w, rowsOf)
	}
	g := sparseTiling{nx: 1, cols: w.ow, rows: w.oh}
	var rh, rw int
	g.phasesH, rh = phases(w.kh, w.dh, w.sh)
	g.phasesW, rw = phases(w.kw, w.dw, w.sw)
	g.wq = w.ow + rw
	for ; ; g.rows = (g.rows + 1) / 2 {
		g.hq = g.rows + rh
		if g.l = (len(g.phasesH)*len(g.phasesW)*g.hq*g.wq + 7) &^ 7; g.l <= depthwiseLines || g.rows == 1 {
			break
		}
	}
	g.ny = (w.oh + g.rows - 1) / g.rows
	g.findTaps(&w)
	group := min(y.c, max(1, depthwiseLines/g.l))
	idx, cnt := make([]int32, 0, group*nt), make([]int32, group)
	for c := range group {
		for _, t := range g.taps {
			idx = append(idx, int32(4*(c*g.l+t)))
		}
		cnt[c] = int32(nt)
	}
	d := kern.Sparse{Rows: 1, Lo: act.lo, Hi: act.hi, Flags: act.flags()}
	bias, slopes := n.Input(2) != nil, act.slopes(y.c, 0)
	if bias {
		d.Flags |= kern.FlagCol
	}
	most := u.Vecs(1)
	run := ((g.rows-1)*g.wq + w.ow + 7) &^ 7
	groups := (y.c + group - 1) / group
	units := y.n * groups * g.ny
	tiles, _ := split(units, 1, group*g.rows*g.wq*nt*2)
	return &Prepared{Kernel: "f32_dwplanes_" + u.ISA, Scratch: 4 * (group*(g.l+run) + 8), Phases: []Phase{{Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
		d, f := d, kern.Floats(scratch)
		lines, dst := f[:group*g.l+8], f[group*g.l+8:]
		in, weights, out := f32s(c.In[0]), f32s(c.In[1]), f32s(c.Out[0])
		u0, u1 := part(tile, tiles, units)
		for i := u0; i < u1; i++ {
			c0 := i / g.ny % groups * group
			img, ch := i/(g.ny*groups), min(group, y.c-c0)
			r0, r1 := part(i%g.ny, g.ny, w.oh)
			g.fill(rowsOf, lines, in[img*x.sn+c0*x.sc:], &w, &x, ch, r0, 0)
			d.W, d.Idx, d.Cnt = weights[c0*nt:(c0+ch)*nt], idx[:ch*nt], cnt[:ch]
			if bias {
				d.Bias = f32s(c.In[2])[c0:]
			}
			if slopes != nil {
				d.Slope = slopes[c0:]
			}
			vecs := ((r1-r0-1)*g.wq + w.ow + 7) / 8
			d.LDY = 8 * vecs
			for at := 0; at < vecs; at += d.Vecs * d.Strips {
				d.Vecs, d.Strips = most, (vecs-at)/most
				if d.Strips == 0 {
					d.Vecs, d.Strips = vecs-at, 1
				}
				d.X, d.Y = lines[8*at:], dst[8*at:]
				u.Run(&d)
			}
			rowsOf.Copy(&kern.Rows{Dst: out[img*y.sn+c0*y.sc+r0*w.ow:], Src: dst, Planes: ch, Rows: r1 - r0, N: w.ow,
				DPlane: y.sc, DRow: w.ow, SPlane: d.LDY, SRow: g.wq, Step: 1})
		}
	}}}}
}

// prepareDepthwise3x3 is the case for which there is a kernel that needs no copies, but for
// planes at an end of the memory, and results of fewer columns than it writes.
func prepareDepthwise3x3(n *graph.Node, act activation, w *window, rowsOf kern.Copier) *Prepared {
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	d := kern.DWPlanes{SPlane: x.sc, DPlane: y.sc, DRow: y.sh, H: x.h, Width: x.w, Rows: y.h, Cols: y.w, PH: w.ph, PW: w.pw, Stride: w.sh,
		Lo: act.lo, Hi: act.hi, Flags: act.flags()}
	d.Init()
	bias, slopes := n.Input(2) != nil, act.slopes(y.c, 0)
	if bias {
		d.Flags |= kern.FlagCol
	}
	const slack, narrow = kern.DWPlanesSlack, 8
	units := y.n * y.c
	tiles, _ := split(units, 1, y.h*max(narrow, y.w)*9*2)
	size := x.h * x.w
	most, lines := max(1, depthwiseLines/(narrow*y.h)), 0 // planes that are narrow at a time
	if y.w < narrow {
		lines = most * narrow * y.h
	}
	return &Prepared{Kernel: "f32_dwplanes3x3_avx2", Scratch: 4 * (size + 2*slack + lines), Phases: []Phase{{Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
		in, weights, out := f32s(c.In[0]), f32s(c.In[1]), f32s(c.Out[0])
		d, f := d, kern.Floats(scratch)
		copied, dst := f[:size+2*slack], f[size+2*slack:]
		u0, u1 := part(tile, tiles, units)
		for i := u0; i < u1; i += d.Planes {
			ch := i % y.c
			d.X, d.At, d.Planes = in, i*size, min(u1-i, y.c-ch)
			if y.w < narrow {
				d.Planes = min(d.Planes, most)
			}
			switch before := (slack + size - 1) / size; {
			case i < before || (units-i)*size < size+slack:
				copy(copied[slack:], in[d.At:][:size])
				d.X, d.At, d.Planes = copied, slack, 1
			case units-before > i:
				d.Planes = min(d.Planes, units-before-i)
			}
			d.W, d.Y = weights[9*ch:], out[i*y.sc:]
			if bias {
				d.Bias = f32s(c.In[2])[ch:]
			}
			if slopes != nil {
				d.Slope = slopes[ch:]
			}
			if y.w >= narrow {
				d.Run()
				continue
			}
			d.Y, d.DRow, d.DPlane = dst, narrow, narrow*y.h
			d.Run()
			rowsOf.Copy(&kern.Rows{Dst: out[i*y.sc:], Src: dst, Planes: d.Planes, Rows: y.h, N: y.w, DPlane: y.sc, DRow: y.w,
				SPlane: d.DPlane, SRow: narrow, Step: 1})
		}
	}}}}
}
