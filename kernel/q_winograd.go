package kernel

import (
	"fmt"
	"math"

	"whit/graph"
	"whit/internal/kern"
	"whit/op"
	"whit/tensor"
)

// Convolution of 8-bit integers by Winograd's F(2x2,3x3), which gives the same integers as the
// direct one: the weights' transform times 4 and everything after it are whole numbers that
// fit, so that nothing is rounded. A block of tiles of 2x2 output pixels is transformed into
// 16 matrices; panels of 16 output channels run over each, and come back together.
//
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, section 4.1.
func init() {
	for _, on := range [][2]string{{"", "QLinearConv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "i8_winograd", Priority: 15,
			Match: func(n *graph.Node, e *Env) bool {
				m, _, _ := qunfuse(n, "", "QLinearConv")
				if m == nil || e.Direct || dots(e) || !qconvMatch(m) || !narrowWeights(m) || m.Int("group", 1) != 1 {
					return false
				}
				s := m.In[3].Type.Shape
				w, _ := window2D(m, m.In[0].Type.Shape, m.Out[0].Type.Shape, s[2:])
				if w.kh != 3 || w.kw != 3 || w.sh != 1 || w.sw != 1 || w.dh != 1 || w.dw != 1 {
					return false
				}
				// Transforms cost too much below; and above, weights grow fourfold and come from memory.
				if s[1] < 8 || w.oh*w.ow*m.Out[0].Type.Shape[0] < 64 {
					return false
				}
				return quarterFits(m)
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{qnhwc(n.Out[0].Type.Shape[1])}}
				l.In[0] = nhwc([4]int{})
				return l
			},
			Prepare: prepareQWinograd,
		})
	}
}

// quarterFits reports whether four times the sums fit int32, the bias aside.
func quarterFits(n *graph.Node) bool {
	w := n.In[3].Tensor()
	k := w.Len() / w.Shape[0]
	if k <= math.MaxInt32/4/255/128 {
		return true
	}
	// A bias of three quarters leaves the last one.
	b := tensor.New(tensor.Int32, w.Shape[0])
	for i := range b.Len() {
		tensor.Of[int32](b)[i] = math.MaxInt32 / 4 * 3
	}
	return op.FitsInt32(w, zeros(n.In[5]), b, zeroOf(n.In[2]), n.In[0].Type.DType)
}

// packQWinograd is 4·G g G' of every filter, as 16 matrices in panels of pairs of input
// channels: [panel][position][cin/2][lane][2]. A part is a panel.
func packQWinograd(n *graph.Node, first, count []int, kpad int) Packing {
	cin := n.In[3].Type.Shape[1]
	raw, flip := rawWeights(n)
	size := 2 * 16 * 16 * kpad
	return Packing{Bytes: size * len(first), Parts: len(first),
		At: func(part int) (from, to int) { return part * size, (part + 1) * size },
		Fill: func(b []byte, p int, _ []byte) {
			dst := kern.Int16s(b)
			if count[p] < 16 || kpad != cin {
				clear(dst)
			}
			const near = 16 // channels whose transforms stay near
			for c0 := 0; c0 < cin; c0 += near {
				for l, j := range kern.I8Lanes {
					if j < count[p] {
						quarterFilters(dst[2*l:], kpad*16, raw[(first[p]+j)*9*cin:], flip, c0, min(cin, c0+near))
					}
				}
			}
		}}
}

// quarterFilters transforms the filters of input channels c0 to c1 of w for a lane of dst, whose matrices are ld apart.
func quarterFilters(dst []int16, ld int, w []byte, flip byte, c0, c1 int) {
	for c := c0; c < c1; c++ {
		f := (*[9]byte)(w[9*c:])
		var g [9]int16
		for i, v := range f {
			g[i] = int16(int8(v ^ flip))
		}
		d := dst[c&^1*16+c%2:]
		// A row of G g, times 2, and the rest of it.
		row := func(at int, a, m, z int16) {
			d[at], d[at+ld], d[at+2*ld], d[at+3*ld] = 2*a, a+m+z, a-m+z, 2*z
		}
		row(0, 2*g[0], 2*g[1], 2*g[2])
		row(4*ld, g[0]+g[3]+g[6], g[1]+g[4]+g[7], g[2]+g[5]+g[8])
		row(8*ld, g[0]-g[3]+g[6], g[1]-g[4]+g[7], g[2]-g[5]+g[8])
		row(12*ld, 2*g[6], 2*g[7], 2*g[8])
	}
}

func prepareQWinograd(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[3].Type.Shape
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, ws[2:])
	w := &qwindow{window: win, x: x, ints: kern.IntsOf(e.CPU), signed: n.In[0].Type.DType == tensor.Int8, zero: zeroOf(n.In[2])}
	// In units of tiles: windows of 4x4 two apart, of which the last may hang over.
	w.oh, w.ow = (win.oh+1)/2, (win.ow+1)/2
	w.kh, w.kw, w.sh, w.sw = 4, 4, 2, 2
	cin, step := ws[1], round16(ws[1])
	kpad := (cin + 3) / 4 * 4
	// The transformed block and the sums of a panel stay in the second-level cache.
	const most = 80 << 10 // numbers of int16 of the transform
	rowsOf := func(tiles int) int { return max(1, most/16/step/max(1, tiles)) }
	w.fit(64<<10, rowsOf(w.ow))
	tiles := w.bh * w.bw

	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	var first, count []int
	for c := 0; c < ws[0]; c += 16 {
		first, count = append(first, c), append(count, min(16, ws[0]-c))
	}
	packed := e.packParts(n.In[3], fmt.Sprintf("i8_winograd/%v", zeros(n.In[5])), packQWinograd(n, first, count, kpad))
	bias, mul := lanes16(n, first, count)
	blocks := y.n * w.nh * w.nw
	nb, np := split(blocks, len(first), tiles*16*cin*16/2)
	p := &Prepared{Kernel: "i8_winograd_" + w.ints.Name(), Packed: packedInputs(n),
		Scratch: 2*w.scratch() + 2*16*tiles*step + 4*16*16*tiles + 8*tiles + 64 + 128}
	p.Phases = []Phase{{Tiles: nb * np, Run: func(c *Call, tile int, scratch []byte) {
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		a, scratch := kern.CutInt16(scratch, w.scratch())
		clear(a[len(a)-slack:])
		v, scratch := kern.CutInt16(scratch, 16*tiles*step)
		rows, scratch := kern.CutInts(scratch, tiles)
		sums, edge := kern.CutInt32(scratch, 16*16*tiles)
		b0, b1 := part(tile%nb, nb, blocks)
		p0, p1 := part(tile/nb, np, len(first))
		packed := kern.Int16s(packed.Bytes)
		for i := range rows {
			rows[i] = i * step
		}
		for b := b0; b < b1; b++ {
			img := b / (w.nh * w.nw)
			y0, x0, h, wd := w.block(a, in, img, b%(w.nh*w.nw))
			if p0 == 0 && x0 == 0 {
				haloBytes(&y, out, img, 2*y0, min(y.h, 2*(y0+h)))
			}
			count := h * wd
			for r := range h {
				w.ints.WinoIn(&kern.I8WinoIn{X: a[2*r*w.iw*x.sw:], Row: w.iw * x.sw, Pixel: x.sw, V: v[r*wd*step:], Pos: tiles * step, Step: step, Blocks: step / 16, Tiles: wd})
			}
			for p := p0; p < p1; p++ {
				t := kern.I8Tile{Rows: rows[:count], Off: kern.Zero, K: kpad}
				for i := range 16 {
					t.A, t.B, t.Sums = v[i*tiles*step:], packed[(p*16+i)*kpad*16:][:kpad*16], sums[i*tiles*16:]
					w.ints.Sum16(&t)
				}
				o := kern.I8WinoOut{Pos: tiles * 16, Bias: bias[16*p:][:16], Mul: mul[16*p:][:16], Pixel: y.sw, Lo: rq.lo, Hi: rq.hi, Zero: rq.zero}
				for r := range h {
					oy, ox := 2*(y0+r), 2*x0
					at := y.at + img*y.sn + oy*y.sh + ox*y.sw + first[p]
					o.M, o.Y, o.Row = sums[r*wd*16:], out[at:], y.sh
					whole := wd
					if ox+2*wd > y.w {
						whole--
					}
					if oy+1 == y.h {
						whole = 0
					}
					o.Tiles = whole
					w.ints.WinoOut(&o)
					// What hangs over the edge goes through scratch.
					for i := whole; i < wd; i++ {
						o.M, o.Y, o.Row, o.Pixel, o.Tiles = sums[(r*wd+i)*16:], edge, 32, 16, 1
						w.ints.WinoOut(&o)
						o.Pixel = y.sw
						for k := range 4 {
							if py, px := oy+k/2, ox+2*i+k%2; py < y.h && px < y.w {
								copy(out[at+k/2*y.sh+(2*i+k%2)*y.sw:][:16], edge[16*k:])
							}
						}
					}
				}
			}
		}
	}}}
	firstQConv(p, fn, e)
	return p, nil
}
