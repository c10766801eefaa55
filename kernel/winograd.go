package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
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
				m, _, _, _ := unfuseCurve(n, "Conv")
				return m != nil && winogradTile(m, e) > 0
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				m, _, add, _ := unfuseCurve(n, "Conv")
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
	filterRun     = 16        // channels whose filters are transformed together, so that places are written in runs
	firstChannels = 64        // channels whose filters a first run transforms together
)

// winogradFits reports whether the kernel could take the convolution.
func winogradFits(n *graph.Node, e *Env) bool {
	if e.Training || e.Direct || !f32Node(n) || !n.In[1].IsConst() {
		return false
	}
	w, ok := convWindow(n)
	s := n.In[1].Type.Shape
	return ok && n.Int("group", 1) == 1 && w.kh == 3 && w.kw == 3 && w.sh == 1 && w.sw == 1 && w.dh == 1 && w.dw == 1 &&
		s[0]%8 == 0 && s[1]%8 == 0 && s[1] > 0
}

// winogradTile is the tile size for a convolution, 4 or 2; 0: it is not faster, not
// exact enough, or not possible. It depends on shapes, weights and Env.Choices only.
func winogradTile(n *graph.Node, e *Env) int {
	if !winogradFits(n, e) {
		return 0
	}
	switch e.chosen(n) {
	case "":
	case wino + "2":
		return 2
	case wino + "4":
		return 4
	default:
		return 0
	}
	w, _ := convWindow(n)
	s := n.In[1].Type.Shape
	best, tile := directCost(n.In[0].Type.Shape[0]*w.oh*w.ow, 9*s[1], s[0]), 0
	for _, m := range []int{4, 2} {
		if c := winogradCostOf(n, m); c < best && (m == 2 || winogradExact(n, e)) {
			best, tile = c, m
		}
	}
	return tile
}

// winogradCostOf is winogradCost of a convolution.
func winogradCostOf(n *graph.Node, m int) float64 {
	w, _ := convWindow(n)
	s := n.In[1].Type.Shape
	return winogradCost(m, n.In[0].Type.Shape[0]*((w.oh+m-1)/m)*((w.ow+m-1)/m), s[1], s[0])
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
		if winogradError(n, e) <= 5e-5 {
			return []byte{1}
		}
		return []byte{0}
	}
	if e.Pack == nil {
		return check()[0] == 1
	}
	return e.Pack(n.In[1], "f32_winograd_exact", check)[0] == 1
}

// trialInput is the seeded tile of the trials for cin channels.
type trialInput struct {
	d [][36]float64 // by channel
	v [][36]float32 // transformed
}

// Trials keeps what trials of algorithms have in common. The zero value is empty.
type Trials struct {
	mu sync.Mutex
	in map[int]*trialInput
}

// input is the seeded tile for cin channels, a multiple of 8; t may be nil.
func (t *Trials) input(cin int) *trialInput {
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if in := t.in[cin]; in != nil {
			return in
		}
	}
	rnd := rand.New(rand.NewPCG(1, 36))
	x, v := make([]float32, 36*cin), make([]float32, 36*cin)
	for i := range x {
		x[i] = float32(rnd.NormFloat64())
	}
	kern.WinogradGo(4).In(&kern.WinogradIn{X: x, SH: 6 * cin, SW: cin, V: v, LDP: cin, N: cin, Tmp: make([]float32, kern.WinogradTmp)})
	in := &trialInput{make([][36]float64, cin), make([][36]float32, cin)}
	for c := range cin {
		for p := range 36 {
			in.d[c][p], in.v[c][p] = float64(x[p*cin+c]), v[p*cin+c]
		}
	}
	if t != nil {
		if t.in == nil {
			t.in = map[int]*trialInput{}
		}
		t.in[cin] = in
	}
	return in
}

// winogradError is the same on every processor: what is fast has the same bits.
func winogradError(n *graph.Node, e *Env) float64 {
	s := n.In[1].Type.Shape
	cout, cin := s[0], s[1]
	w, fast, in := floats(n.In[1]), kern.WinogradOf(e.CPU, 4), e.Trials.input(cin)
	const channels = 16 // spread over all; some twice where there are fewer
	m, exact := make([]float32, 36*channels), make([]float64, 16*channels)
	g, f := make([]float32, 9*channels), make([]float32, 36*channels)
	rows, buf := make([][]float32, channels), tensor.AlignedBytes(pieceScratch(n.In[1], channels*9*cin))
	for o := range rows {
		rows[o] = w(buf[min(len(buf), o*36*cin):], o*cout/channels*cin*9, cin*9)
	}
	for c := range cin {
		for o, r := range rows {
			for k, v := range (*[9]float32)(r[9*c:]) {
				g[k*channels+o] = v
			}
		}
		fast.Filters(f, g, channels, channels, channels)
		fast.Trial(m, exact, in.v[c][:], in.d[c][:], f, g)
	}
	y := make([]float32, 16*16)
	kern.WinogradGo(4).Out(&kern.WinogradOut{M: m, LDP: 16, Y: y, SH: 64, SW: 16, N: 16, NY: 4, NX: 4, Tmp: make([]float32, kern.WinogradTmp)})
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

// filterPanel transforms input channels c0 to c1 of a panel of W[cout][cin][3][3].
type filterPanel struct {
	u         *kern.Micro
	wino      kern.Winograd
	cout, cin int
	w         func([]byte, int, int) []float32
	raw       int // bytes of scratch for what is read
}

func newFilterPanel(u *kern.Micro, wino kern.Winograd, v *graph.Value) *filterPanel {
	s := v.Type.Shape
	return &filterPanel{u, wino, s[0], s[1], floats(v), pieceScratch(v, u.NR*s[1]*9)}
}

func (f *filterPanel) places() int { return (f.wino.M + 2) * (f.wino.M + 2) }

// tmp is the floats of temporary memory of transform.
func (f *filterPanel) tmp() int { return f.places() * filterRun * f.u.NR }

// read is the panel's filters as they are held.
func (f *filterPanel) read(scratch []byte, panel int) []float32 {
	o0 := panel * f.u.NR
	return f.w(scratch, o0*f.cin*9, min(f.cout-o0, f.u.NR)*f.cin*9)
}

// transform writes channels c0 to c1 of the panel w to dst[place*ld + (c-c0)*NR ...].
// With tmp places are written in runs, for an ld that is a multiple of a page.
func (f *filterPanel) transform(dst []float32, ld int, w []float32, c0, c1 int, tmp []float32) {
	nr, n := f.u.NR, len(w)/(9*f.cin)
	if tmp == nil {
		if n < nr {
			clear(dst)
		}
		for c := c0; c < c1; c++ {
			f.wino.FilterRows(dst[(c-c0)*nr:], w[c*9:], ld, 9*f.cin, n)
		}
		return
	}
	ldt := filterRun * nr
	if n < nr {
		clear(tmp) // beyond the last channel
	}
	for c := c0; c < c1; c += filterRun {
		run := min(filterRun, c1-c)
		for i := range run {
			f.wino.FilterRows(tmp[i*nr:], w[(c+i)*9:], ldt, 9*f.cin, n)
		}
		for p := range f.places() {
			copy(dst[p*ld+(c-c0)*nr:][:run*nr], tmp[p*ldt:])
		}
	}
}

// packing transforms W into [place][panel][cin][NR].
func (f *filterPanel) packing() Packing {
	size := f.u.PackedLen(f.cin, f.cout)
	tmp := 4 * f.tmp()
	return Packing{Bytes: 4 * size * f.places(), Parts: (f.cout + f.u.NR - 1) / f.u.NR, Scratch: tmp + f.raw,
		Fill: func(b []byte, part int, scratch []byte) {
			w := f.read(scratch[tmp:], part)
			f.transform(kern.Floats(b)[part*f.cin*f.u.NR:], size, w, 0, f.cin, kern.Floats(scratch[:tmp]))
		}}
}

// outputs turns products into an image's outputs.
type outputs struct {
	kern.WinogradOut
	wino      kern.Winograd
	nr, cout  int
	ty, tx    int // tiles of an image
	w         window
	y, r      view
	bias, add int // inputs of the node, -1: none
	slopes    []float32
}

// at is where tile i begins.
func (p *outputs) at(i int) (img, row, col int) {
	m := p.wino.M
	return i / (p.ty * p.tx), i / p.tx % p.ty * m, i % p.tx * m
}

// finish transforms the products of rows tiles from start on into outputs of a panel.
func (p *outputs) finish(c *Call, mm, tmp []float32, start, rows, panel int) {
	o, m := p.WinogradOut, p.wino.M
	dst, ch := f32s(c.Out[0]), panel*p.nr
	o.N, o.Tmp = min(p.nr, p.cout-ch), tmp
	if p.bias >= 0 {
		o.Bias = f32s(c.In[p.bias])[ch:]
	}
	if p.slopes != nil {
		o.Slope = p.slopes[ch:]
	}
	for i := range rows {
		img, row, col := p.at(start + i)
		if ch == 0 && col == 0 {
			p.y.clearHalo(dst, img, row, min(p.w.oh, row+m))
		}
		o.M = mm[i*p.nr:]
		o.NY, o.NX = min(m, p.w.oh-row), min(m, p.w.ow-col)
		o.Y = dst[p.y.at+img*p.y.sn+row*p.y.sh+col*p.y.sw+ch:]
		if p.add >= 0 {
			o.R = f32s(c.In[p.add])[p.r.at+img*p.r.sn+row*p.r.sh+col*p.r.sw+ch:]
		}
		p.wino.Out(&o)
	}
}

// curve runs over channels ch0 to ch1 of rows tiles from start on, which are finished.
func (p *outputs) curve(cv *curve, flat kern.Flat, c *Call, tmp []float32, start, rows, ch0, ch1 int) {
	dst, m := f32s(c.Out[0]), p.wino.M
	for i := start; i < start+rows; {
		img, row, col := p.at(i)
		n := min(start+rows-i, p.tx-col/m) // tiles side by side
		i += n
		for y := row; y < min(p.w.oh, row+m); y++ {
			cv.pixels(flat, dst[p.y.at+img*p.y.sn+y*p.y.sh+col*p.y.sw+ch0:], min(p.w.ow, col+n*m)-col, ch1-ch0, p.y.sw, tmp)
		}
	}
}

func prepareWinograd(fn *graph.Node, e *Env) (*Prepared, error) {
	n, act, add, cv := unfuseCurve(fn, "Conv")
	w, _ := convWindow(n)
	u, wino := kern.F32(e.CPU), kern.WinogradOf(e.CPU, winogradTile(n, e))
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	m, cin, cout := wino.M, x.c, y.c
	places := (m + 2) * (m + 2)
	fp := newFilterPanel(u, wino, n.In[1])
	pk := fp.packing()
	packed, size := e.packParts(n.In[1], fmt.Sprintf("f32_winograd%d/%d", m, u.NR), pk), u.PackedLen(cin, cout)
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
	// Blocks of rows of the products. A place's rows are not a power of two apart, which would share cache lines' sets.
	blocks := (tiles + winogradRows - 1) / winogradRows
	blockRows := (tiles + blocks - 1) / blocks
	ldv := blockRows*cin + 16
	perStrip := max(1, min(blocks, winogradStrip/(4*places*ldv)))
	strips := (blocks + perStrip - 1) / perStrip
	panels := (cout + u.NR - 1) / u.NR
	// A first run transforms filters once a strip.
	without := strips <= 4 && panels >= 4 && pk.worthFirst()
	// Where there are fewer filters than tiles, whoever multiplies a block transforms it before,
	// and no worker reads what another one has written. Else strips of whole blocks are
	// transformed together, and workers have filters of their own. With AVX-512 that costs more than
	// reading filters once a block, as long as they are few and blocks fill two tiles of the product.
	own := !without && tiles >= cout
	if u.MR >= 12 && tiles >= 4*u.MR && 3*tiles >= cout && 4*places*cin*cout <= 4<<20 {
		own, without = true, false
	}
	if own {
		if blocks < 16 { // shared evenly
			blocks = min(tiles, (blocks+1)&^1)
		}
		strips = blocks
	}
	perStrip = (blocks + strips - 1) / strips
	blockRows = (tiles + blocks - 1) / blocks
	ldv = blockRows*cin + 16
	ldm := blockRows*u.NR + 16
	tmp, vLen := places*ldm, perStrip*places*ldv
	after := tmp + kern.WinogradTmp
	curveFloats, flat := 0, kern.FlatOf(e.CPU)
	if cv != nil {
		curveFloats = cv.floats() + curveChunk
		p.Kernel += "_curve"
	}
	p.Scratch = 4 * (after + curveFloats)
	if own {
		p.Scratch += 4 * vLen
	} else {
		p.Temp = 4 * vLen
	}

	ldf := firstChannels*u.NR + 16
	firstScratch := 4*(perStrip*places*ldm+places*ldf+kern.WinogradTmp+curveFloats) + fp.raw
	if without {
		p.Scratch = max(p.Scratch, firstScratch)
	}

	out := &outputs{WinogradOut: kern.WinogradOut{LDP: ldm, SH: y.sh, SW: y.sw, Flags: flags, RSH: r.sh, RSW: r.sw, Lo: act.lo, Hi: act.hi},
		wino: wino, nr: u.NR, cout: cout, ty: ty, tx: tx, w: w, y: y, r: r, bias: -1, add: add, slopes: slopes}
	if bias {
		out.bias = 2
	}
	// first is the tile of the image with which a block begins.
	first := func(b int) int { f, _ := part(b, blocks, tiles); return f }
	// transform brings tiles from to to of the image into v, where block b0 is first.
	transform := func(c *Call, v, tmp []float32, b0, from, to int) {
		src := f32s(c.In[0])
		t := kern.WinogradIn{SH: x.sh, SW: x.sw, LDP: ldv, N: cin, Tmp: tmp}
		for b := b0; first(b) < to; b++ {
			for i := max(from, first(b)); i < min(to, first(b+1)); i++ {
				img, row, col := out.at(i)
				t.X = src[x.at+img*x.sn+(row-w.ph)*x.sh+(col-w.pw)*x.sw:]
				t.V = v[(b-b0)*places*ldv+(i-first(b))*cin:]
				wino.In(&t)
			}
		}
	}
	// multiply makes panels p0 to p1 of the outputs of block b, which v holds.
	multiply := func(c *Call, v []float32, b, p0, p1 int, scratch []float32) {
		filters := packed.floats()
		t := kern.Tile{K: cin, Off: kern.Zero, RSA: cin, CSA: 1, LDB: u.NR, LDC: u.NR, N: u.NR, Ahead: size}
		start, rows := first(b), first(b+1)-first(b)
		for pn := p0; pn < p1; pn++ {
			for q := range places {
				t.B = filters[q*size+pn*cin*u.NR:]
				t.A, t.C = v[q*ldv:], scratch[q*ldm:]
				u.Rows(&t, rows)
			}
			out.finish(c, scratch, scratch[tmp:], start, rows, pn)
		}
		if cv != nil {
			out.curve(cv, flat, c, scratch[after:], start, rows, p0*u.NR, min(cout, p1*u.NR))
		}
	}
	if own {
		p.Phases = []Phase{{Tiles: blocks, Run: func(c *Call, b int, scratch []byte) {
			mem := kern.Floats(scratch)
			v, mem := mem[:vLen], mem[vLen:]
			transform(c, v, mem[tmp:], b, first(b), first(b+1))
			multiply(c, v, b, 0, panels, mem)
		}}}
		return p, nil
	}
	for s := range strips {
		b0, b1 := part(s, strips, blocks)
		ni, _ := split(first(b1)-first(b0), 1, cin*places*8)
		p.Phases = append(p.Phases, Phase{Tiles: ni, Run: func(c *Call, tile int, scratch []byte) {
			from, to := part(tile, ni, first(b1)-first(b0))
			transform(c, kern.Floats(c.Temp), kern.Floats(scratch)[tmp:], b0, first(b0)+from, first(b0)+to)
		}})
		nb, np := split(b1-b0, panels, blockRows*places*cin*u.NR)
		parts := gridOf(nb, np, b1-b0, panels, 1, 0) // each worker has filters of its own
		p.Phases = append(p.Phases, Phase{Tiles: parts.tiles(), Run: func(c *Call, tile int, scratch []byte) {
			from, to, p0, p1 := parts.at(tile)
			for b := from; b < to; b++ {
				multiply(c, kern.Floats(c.Temp)[b*places*ldv:], b0+b, p0, p1, kern.Floats(scratch))
			}
		}})
		if !without {
			continue
		}
		// A panel at a time, its filters transformed for some channels at a time.
		p.First = append(p.First, p.Phases[len(p.Phases)-2], Phase{Tiles: panels, Run: func(c *Call, pn int, scratch []byte) {
			v, f := kern.Floats(c.Temp), kern.Floats(scratch[:firstScratch-fp.raw])
			w := fp.read(scratch[firstScratch-fp.raw:], pn)
			mm, f := f[:perStrip*places*ldm], f[perStrip*places*ldm:]
			panel, f := f[:places*ldf], f[places*ldf:]
			t := kern.Tile{Off: kern.Zero, RSA: cin, CSA: 1, LDB: u.NR, LDC: u.NR, N: u.NR}
			for c0 := 0; c0 < cin; c0 += firstChannels {
				c1 := min(cin, c0+firstChannels)
				fp.transform(panel, ldf, w, c0, c1, nil)
				t.K, t.Flags = c1-c0, 0
				if c0 > 0 {
					t.Flags = kern.FlagAcc
				}
				for q := range places {
					t.B = panel[q*ldf:]
					for b := range b1 - b0 {
						t.A, t.C = v[(b*places+q)*ldv+c0:], mm[(b*places+q)*ldm:]
						u.Rows(&t, first(b0+b+1)-first(b0+b))
					}
				}
			}
			for b := range b1 - b0 {
				start, rows := first(b0+b), first(b0+b+1)-first(b0+b)
				out.finish(c, mm[b*places*ldm:], f, start, rows, pn)
				if cv != nil {
					out.curve(cv, flat, c, f[kern.WinogradTmp:], start, rows, pn*u.NR, min(cout, (pn+1)*u.NR))
				}
			}
		}})
	}
	return p, nil
}
