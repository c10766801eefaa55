package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"

	"whit/graph"
	"whit/internal/kern"
)

// Convolution 3x3 of stride 1 by Winograd's F(4x4) or F(2x2), float32, NHWC, channels
// in eights, constant weights, with a residual and limits in the same pass. The image
// is taken strip by strip: one phase transforms the strip's input tiles, the next
// multiplies blocks of them by panels of the transformed filters, one product for
// each of the 36 or 16 places, and transforms the products back.
func init() {
	for _, on := range [][2]string{{"", "Conv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_winograd", Priority: 15, Parts: true,
			Match: func(n *graph.Node, e *Env) bool {
				m, _, _ := unfuseSum(n, "Conv")
				return m != nil && winogradTile(m, e) > 0
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				m, _, add := unfuseSum(n, "Conv")
				w, _ := convWindow(m)
				halo := w.halo()
				// Tiles may hang over the image, whichever size is chosen.
				halo[2] = max(halo[2], (w.oh+3)/4*4+2-w.ph-w.h)
				halo[3] = max(halo[3], (w.ow+3)/4*4+2-w.pw-w.w)
				return convLayouts(halo, add)
			},
			Prepare: prepareWinograd,
		})
	}
}

const (
	winogradRows  = 24        // input tiles of a block: what a panel of filters is used for
	winogradStrip = 512 << 10 // bytes of a strip's transformed input: a second-level cache
)

// winogradTile is the tile size for a convolution, 4 or 2; 0: it is not faster, not
// exact enough, or not possible. It depends on shapes and weights only.
func winogradTile(n *graph.Node, e *Env) int {
	if e.Training || e.Direct || !f32Node(n) || !n.In[1].IsConst() {
		return 0
	}
	w, ok := convWindow(n)
	s := n.In[1].Type.Shape
	if !ok || n.Int("group", 1) != 1 || w.kh != 3 || w.kw != 3 || w.sh != 1 || w.sw != 1 || w.dh != 1 || w.dw != 1 ||
		s[0]%8 != 0 || s[1]%8 != 0 || s[0] == 0 || s[1] == 0 || n.In[0].Type.Shape[0]*w.oh*w.ow == 0 {
		return 0
	}
	images, cin, cout := n.In[0].Type.Shape[0], s[1], s[0]
	best, tile := directCost(images*w.oh*w.ow, 9*cin, cout), 0
	for _, m := range []int{4, 2} {
		tiles := images * ((w.oh + m - 1) / m) * ((w.ow + m - 1) / m)
		if c := winogradCost(m, tiles, cin, cout); c < best && (m == 2 || winogradExact(n, e)) {
			best, tile = c, m
		}
	}
	return tile
}

// Costs in cycles of a core with two FMA units of eight floats, fitted to measurements
// (AVX2, Zen 3): products reach 85% of the peak, rows of products are taken by sixes.
func directCost(pixels, k, cout int) float64 {
	return float64(pixels) * float64(k) * float64(cout) / 16 / 0.8
}

func winogradCost(m, tiles, cin, cout int) float64 {
	places := (m + 2) * (m + 2)
	rows := float64(tiles)
	if tiles < 6 {
		rows = 6
	}
	products := rows * float64(places*cin*cout) / 16 / 0.85
	transforms := float64(tiles) * float64(places*3*(cin+cout)) / 8
	filters := float64(places*cin*cout) * 4 / 8 // read from memory, hidden in part
	return products + transforms + filters
}

// winogradExact reports whether F(4x4) keeps the rule: on one seeded tile and 16
// output channels, no error beyond 5e-5 of the largest magnitude, against a direct
// convolution in float64.
func winogradExact(n *graph.Node, e *Env) bool {
	check := func() []byte {
		if winogradError(n) <= 5e-5 {
			return []byte{1}
		}
		return []byte{0}
	}
	if e.Pack == nil {
		return check()[0] == 1
	}
	return e.Pack(n.In[1], "f32_winograd_exact", check)[0] == 1
}

func winogradError(n *graph.Node) float64 {
	s := n.In[1].Type.Shape
	cout, cin := s[0], s[1]
	w, wino := f32s(n.In[1].Tensor()), kern.WinogradGo(4)
	rnd := rand.New(rand.NewPCG(1, 36))
	x := make([]float32, 36*cin)
	for i := range x {
		x[i] = float32(rnd.NormFloat64())
	}
	in := &kern.WinogradIn{X: x, SH: 6 * cin, SW: cin, V: make([]float32, 36*cin), LDP: cin, N: cin, Tmp: make([]float32, kern.WinogradTmp)}
	wino.In(in)
	const channels = 16 // spread over all; some twice where there are fewer
	m, exact := make([]float32, 36*channels), make([]float64, 16*channels)
	g, f := make([]float32, 9*channels), make([]float32, 36*channels)
	for c := range cin {
		for o := range channels {
			for k, v := range w[(o*cout/channels*cin+c)*9:][:9] {
				g[k*channels+o] = v
			}
		}
		wino.Filters(f, g, channels, channels, channels)
		for p := range 36 {
			v := in.V[p*cin+c]
			for o, u := range f[p*channels:][:channels] {
				m[p*channels+o] += float32(v * u)
			}
		}
		for i := range 16 {
			e := exact[i*channels:][:channels]
			for k := range 9 {
				v := float64(x[((i/4+k/3)*6+i%4+k%3)*cin+c])
				for o, u := range g[k*channels:][:len(e)] {
					e[o] += v * float64(u)
				}
			}
		}
	}
	y := make([]float32, 16*16)
	wino.Out(&kern.WinogradOut{M: m, LDP: 16, Y: y, SH: 64, SW: 16, N: 16, NY: 4, NX: 4, Tmp: in.Tmp})
	largest, worst := 0.0, 0.0
	for i, v := range exact {
		largest = max(largest, math.Abs(v))
		worst = max(worst, math.Abs(v-float64(y[i])))
	}
	if largest == 0 {
		return 0
	}
	return worst / largest // NaN where weights are not finite: refused
}

// packWinograd transforms W[cout][cin][3][3] into [place][panel][cin][NR].
func packWinograd(e *Env, u *kern.Micro, wino kern.Winograd, v *graph.Value) []float32 {
	s := v.Type.Shape
	cout, cin, places := s[0], s[1], (wino.M+2)*(wino.M+2)
	return kern.Floats(e.Pack(v, fmt.Sprintf("f32_winograd%d/%d", wino.M, u.NR), func() []byte {
		size := u.PackedLen(cin, cout)
		dst, w := kern.AlignedFloats(size*places), f32s(v.Tensor())
		// Channels are taken a few at a time, so that places are written in runs.
		const some = 16
		g, t := make([]float32, 9*u.NR), make([]float32, places*some*u.NR)
		for o0 := 0; o0 < cout; o0 += u.NR {
			clear(g) // beyond the last channel
			for c0 := 0; c0 < cin; c0 += some {
				n := min(some, cin-c0)
				for c := range n {
					for o := range min(cout-o0, u.NR) {
						s := (*[9]float32)(w[((o0+o)*cin+c0+c)*9:])
						for k, x := range s {
							g[k*u.NR+o] = x
						}
					}
					wino.Filters(t[c*u.NR:], g, some*u.NR, u.NR, u.NR)
				}
				for p := range places {
					copy(dst[p*size+(o0*cin+c0*u.NR):][:n*u.NR], t[p*some*u.NR:])
				}
			}
		}
		return kern.Bytes(dst)
	}))
}

func prepareWinograd(fn *graph.Node, e *Env) (*Prepared, error) {
	n, act, add := unfuseSum(fn, "Conv")
	w, _ := convWindow(n)
	u, wino := kern.F32(e.CPU), kern.WinogradOf(e.CPU, winogradTile(n, e))
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	m, cin, cout := wino.M, x.c, y.c
	places := (m + 2) * (m + 2)
	filters, size := packWinograd(e, u, wino, n.In[1]), u.PackedLen(cin, cout)
	p := &Prepared{Kernel: fmt.Sprintf("%s_winograd%d", u.Name, m), Packed: []int{1}}

	flags, slopes := act.flags(), act.slopes(cout, 0)
	bias := n.Input(2) != nil
	if bias {
		flags |= kern.FlagCol
	}
	var r view
	if add >= 0 {
		r = viewOf(fn.In[add])
		flags |= kern.FlagAdd
		p.InPlace = []int{add}
	}

	ty, tx := (w.oh+m-1)/m, (w.ow+m-1)/m
	tiles := x.n * ty * tx
	// Blocks of rows of the products, strips of whole blocks. A place's rows are not
	// a power of two apart, which would share cache lines' sets.
	blocks := (tiles + winogradRows - 1) / winogradRows
	blockRows := (tiles + blocks - 1) / blocks
	ldv := blockRows*cin + 16
	ldm := blockRows*u.NR + 16
	perStrip := max(1, min(blocks, winogradStrip/(4*places*ldv)))
	strips := (blocks + perStrip - 1) / perStrip
	perStrip = (blocks + strips - 1) / strips
	p.Temp = 4 * perStrip * places * ldv
	tmp := places * ldm
	p.Scratch = 4 * (tmp + kern.WinogradTmp)
	panels := (cout + u.NR - 1) / u.NR

	// at is where tile i of the image begins.
	at := func(i int) (img, row, col int) { return i / (ty * tx), i / tx % ty * m, i % tx * m }
	for s := range strips {
		b0, b1 := part(s, strips, blocks)
		first, last := b0*blockRows, min(tiles, b1*blockRows)
		ni, _ := split(last-first, 1, cin*places*8)
		p.Phases = append(p.Phases, Phase{Tiles: ni, Run: func(c *Call, tile int, scratch []byte) {
			from, to := part(tile, ni, last-first)
			v, src := kern.Floats(c.Temp), f32s(c.In[0])
			t := kern.WinogradIn{SH: x.sh, SW: x.sw, LDP: ldv, N: cin, Tmp: kern.Floats(scratch)[tmp:]}
			for i := from; i < to; i++ {
				img, row, col := at(first + i)
				t.X = src[x.at+img*x.sn+(row-w.ph)*x.sh+(col-w.pw)*x.sw:]
				t.V = v[i/blockRows*places*ldv+i%blockRows*cin:]
				wino.In(&t)
			}
		}})
		nb, np := split(b1-b0, panels, blockRows*places*cin*u.NR)
		p.Phases = append(p.Phases, Phase{Tiles: nb * np, Run: func(c *Call, tile int, scratch []byte) {
			blk0, blk1 := part(tile%nb, nb, b1-b0)
			pan0, pan1 := part(tile/nb, np, panels)
			v, mm := kern.Floats(c.Temp), kern.Floats(scratch)
			dst := f32s(c.Out[0])
			t := kern.Tile{K: cin, Off: kern.Zero, RSA: cin, CSA: 1, LDB: u.NR, LDC: u.NR, N: u.NR, Ahead: size}
			o := kern.WinogradOut{M: mm, LDP: ldm, SH: y.sh, SW: y.sw, Flags: flags, RSH: r.sh, RSW: r.sw, Tmp: mm[tmp:], Lo: act.lo, Hi: act.hi}
			for b := blk0; b < blk1; b++ {
				start := (b0 + b) * blockRows
				rows := min(blockRows, tiles-start)
				for pn := pan0; pn < pan1; pn++ {
					for q := range places {
						t.B = filters[q*size+pn*cin*u.NR:]
						t.A, t.C = v[(b*places+q)*ldv:], mm[q*ldm:]
						u.Rows(&t, rows)
					}
					ch := pn * u.NR
					o.N = min(u.NR, cout-ch)
					if bias {
						o.Bias = f32s(c.In[2])[ch:]
					}
					if slopes != nil {
						o.Slope = slopes[ch:]
					}
					for i := range rows {
						img, row, col := at(start + i)
						if ch == 0 && col == 0 {
							y.clearHalo(dst, img, row, min(w.oh, row+m))
						}
						o.M = mm[i*u.NR:]
						o.NY, o.NX = min(m, w.oh-row), min(m, w.ow-col)
						o.Y = dst[y.at+img*y.sn+row*y.sh+col*y.sw+ch:]
						if add >= 0 {
							o.R = f32s(c.In[add])[r.at+img*r.sn+row*r.sh+col*r.sw+ch:]
						}
						wino.Out(&o)
					}
				}
			}
		}})
	}
	return p, nil
}
