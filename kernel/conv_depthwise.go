package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
)

// A float32 convolution and the depthwise convolution that alone reads it, in one
// pass: a panel of channels of a few lines at a time, which stay in a near cache.
// The bits are those of the two kernels one after the other.
func init() {
	Register(Kernel{
		Domain: graph.Domain, Op: "Fused", Name: "f32_conv_depthwise", Priority: 30, Parts: true,
		Match: func(n *graph.Node, e *Env) bool {
			p := convPairOf(n)
			if p == nil || !f32Node(n) || e.Training || e.Choices != nil && e.choice(pairSignature(p, e)) == apart {
				return false
			}
			if kern.F32(e.CPU).MR >= 12 && !onePassPays(p) {
				return false
			}
			a, b := Select(p.conv, e), Select(p.dw, e)
			return a != nil && a.Name == "f32_conv" && b != nil && b.Name == "f32_depthwise" && int(p.conv.Int("group", 1)) == 1
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			p := convPairOf(n)
			w, _ := convWindow(p.conv)
			return Layouts{In: []graph.Layout{nhwc(w.halo())}, Out: []graph.Layout{nhwc([4]int{})}}
		},
		Prepare: prepareConvDepthwise,
	})
}

// convPair is the body of a whit.Fused of Conv, activation, Conv, activation, each
// activation where there is one, as two nodes that stand alone.
type convPair struct {
	conv, dw       *graph.Node
	act, dwAct     activation
	weight, dwBias int // the inputs that are dw's weights and bias, the latter -1 if there is none
}

// convPairOf is nil where n is something else.
func convPairOf(n *graph.Node) *convPair {
	b := n.Graph("body")
	if n.Domain != graph.Domain || n.Op != "Fused" || b == nil || len(b.Outputs) != 1 || len(b.Inputs) != len(n.In) {
		return nil
	}
	used := 0
	rest := b.Nodes
	// next is the convolution that reads y, or the node's first input.
	next := func(y *graph.Value) (*graph.Node, activation) {
		if len(rest) == 0 || rest[0].Domain != "" || rest[0].Op != "Conv" {
			return nil, activation{}
		}
		m := rest[0]
		rest = rest[1:]
		alone := &graph.Node{Name: n.Name, Op: "Conv", Attrs: m.Attrs, Out: m.Out}
		for i, v := range m.In {
			if y != nil && i == 0 {
				if v != y {
					return nil, activation{}
				}
				alone.In = append(alone.In, v)
				continue
			}
			if used >= len(n.In) || v != b.Inputs[used] {
				return nil, activation{}
			}
			alone.In = append(alone.In, n.In[used])
			used++
		}
		act := noActivation
		if len(rest) > 0 && rest[0].Input(0) == m.Out[0] {
			a, ok := limits(rest[0])
			if !ok {
				a, ok = slopesOf(rest[0])
			}
			if ok {
				alone.Out = rest[0].Out
				act, rest = a, rest[1:]
			}
		}
		return alone, act
	}
	p := &convPair{dwBias: -1}
	if p.conv, p.act = next(nil); p.conv == nil {
		return nil
	}
	p.weight = used
	if p.dw, p.dwAct = next(p.conv.Out[0]); p.dw == nil || len(rest) > 0 || used != len(n.In) || p.dw.Out[0] != b.Outputs[0] {
		return nil
	}
	if len(p.dw.In) > 2 {
		p.dwBias = p.weight + 1
	}
	p.dw.Out = n.Out
	return p
}

// onePassPays reports whether one pass is worth it where products are so fast that what lies between the two can
// be read back from the second-level cache, 1 MiB with AVX-512: it is too large for that, sums are short, or the image is so
// small that no line is computed twice.
func onePassPays(p *convPair) bool {
	x, mid, w := p.conv.In[0].Type.Shape, p.conv.Out[0].Type.Shape, p.conv.In[1].Type.Shape
	return x.NumElements()/x[0]*4 <= splitBytes || mid.NumElements()/mid[0]*4 > 2<<20 || w.NumElements()/w[0] < 64
}

func prepareConvDepthwise(n *graph.Node, e *Env) (*Prepared, error) {
	pair := convPairOf(n)
	w, _ := convWindow(pair.conv)
	dw, _ := convWindow(pair.dw)
	u, du := kern.F32(e.CPU), kern.DW(e.CPU)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := pair.conv.In[1].Type.Shape
	cin, k := ws[1], ws[1]*w.kh*w.kw
	pk := convPacking(u, pair.conv.In[1], 1)
	packed := e.packParts(pair.conv.In[1], fmt.Sprintf("f32_conv_panels/%d/1", u.NR), pk)
	taps := dw.kh * dw.kw
	// Weights of the depthwise convolution: [block][tap][width], zeros beyond the channels.
	dwPacked := kern.Floats(e.Pack(pair.dw.In[1], fmt.Sprintf("f32_conv_depthwise/%d", du.Width), func() []byte {
		blocks := (y.c + du.Width - 1) / du.Width
		d, src := kern.AlignedFloats(blocks*taps*du.Width), f32s(pair.dw.In[1].Tensor())
		for c := range y.c {
			for t := range taps {
				d[(c/du.Width*taps+t)*du.Width+c%du.Width] = src[c*taps+t]
			}
		}
		return kern.Bytes(d)
	}))

	// Between the two lie lines of a panel's channels with the depthwise halo.
	halo := dw.halo()
	pitch := (halo[1] + w.ow + halo[3]) * u.NR
	step := max(1, (48<<10/(4*pitch)-dw.extentH())/dw.sh+1) // output lines at a time
	step = min(step, dw.oh)
	lines := (step-1)*dw.sh + dw.extentH()

	t := kern.Tile{RSA: w.sw * x.sw, CSA: 1, LDB: u.NR, LDC: u.NR, Lo: pair.act.lo, Hi: pair.act.hi, Flags: pair.act.flags(), Ahead: k * u.NR}
	off, segment := w.segments(x.sh, x.sw, cin, x.sw == cin)
	blocks := blockSegments(off, segment, u.NR)
	bias := pair.conv.Input(2) != nil
	if bias {
		t.Flags |= kern.FlagCol
	}
	flags, slopes := t.Flags, pair.act.slopes(y.c, 0)
	// Short lines that follow each other in the image are multiplied as one long line
	// and then spread; tiles of 12 rows and 32 columns lose less by 7 rows than by that.
	spread, short := 0, 4*u.MR
	if u.MR >= 12 {
		short = 7
	}
	if w.kh == 1 && w.kw == 1 && w.sh == 1 && w.sw == 1 && x.sh == x.w*x.sw && w.ow < short {
		spread = lines * w.ow * u.NR
	}

	d := kern.Depthwise{RSX: dw.sw * u.NR, LDY: y.sw, Pixels: dw.ow, Lo: pair.dwAct.lo, Hi: pair.dwAct.hi, Flags: pair.dwAct.flags()}
	for i := range dw.kh {
		for j := range dw.kw {
			d.Off = append(d.Off, i*dw.dh*pitch+j*dw.dw*u.NR)
		}
	}
	if pair.dwBias >= 0 {
		d.Flags |= kern.FlagCol
	}
	dwSlopes := pair.dwAct.slopes(y.c, u.NR)

	panels := (y.c + u.NR - 1) / u.NR
	units := y.n * dw.oh
	work := dw.ow * u.NR * (dw.sh*dw.sw*k + 2*taps)
	nu, np := splitImage(units, panels, work, 4*w.sh*dw.sh*w.ow*w.sw*x.sw)
	// Parts of an image both compute the lines between them: that is dearer than reading it from a farther cache.
	if again := (nu - y.n) * (dw.extentH() - dw.sh); 8*again > units*dw.sh {
		np, nu = split(panels, units, work)
	}
	tiles := gridOf(nu, np, units, panels, k*y.c, x.size()+y.size())
	own := (4*(lines*pitch+spread+u.NR) + 63) &^ 63 // of whole lines of memory
	p := &Prepared{Kernel: u.Name + "_conv_dw", Packed: []int{1, pair.weight}, Scratch: own}
	// run computes units u0 to u1 of panels p0 to p1, whose weights lie in packed from base on.
	run := func(c *Call, u0, u1, p0, p1 int, packed []float32, base int, scratch []byte) {
		t, d := t, d
		in, out, mem := f32s(c.In[0]), f32s(c.Out[0]), kern.Floats(scratch)
		mid, flat, dwBias := mem[:lines*pitch], mem[lines*pitch:][:spread], mem[lines*pitch+spread:][:u.NR]
		if p0 == 0 {
			for i := u0; i < u1; i++ {
				y.clearHalo(out, i/dw.oh, i%dw.oh, i%dw.oh+1)
			}
		}
		for i := range lines { // what no product writes
			clear(mid[i*pitch:][:halo[1]*u.NR])
			clear(mid[(i+1)*pitch-halo[3]*u.NR:][:halo[3]*u.NR])
		}
		for pn := p0; pn < p1; pn++ {
			ch := pn * u.NR
			t.N = min(u.NR, y.c-ch)
			if bias {
				t.Col = f32s(c.In[2])[ch:]
			}
			if slopes != nil {
				t.Slope = slopes[ch:]
			}
			if pair.dwBias >= 0 {
				clear(dwBias[copy(dwBias, f32s(c.In[pair.dwBias])[ch:]):])
			}
			for from := u0; from < u1; {
				// The lines of one image that the tile has.
				img, o0 := from/dw.oh, from%dw.oh
				o1 := min(dw.oh, o0+u1-from)
				from += o1 - o0
				first, have := 0, 0 // mid holds have lines of the padded image from first on
				for o := o0; o < o1; o += step {
					end := min(o1, o+step)
					keep := 0
					if have > 0 {
						if keep = max(0, first+have-o*dw.sh); keep > 0 {
							copy(mid[:keep*pitch], mid[(o*dw.sh-first)*pitch:])
						}
					}
					first, have = o*dw.sh, (end-1-o)*dw.sh+dw.extentH()
					r0, r1 := first+keep, first+have
					for ; r0 < min(r1, halo[0]); r0++ {
						clear(mid[(r0-first)*pitch:][:pitch])
					}
					for ; r1 > max(r0, halo[0]+w.oh); r1-- {
						clear(mid[(r1-1-first)*pitch:][:pitch])
					}
					if r0 < r1 {
						xa := x.at + img*x.sn + ((r0-halo[0])*w.sh-w.ph)*x.sh - w.pw*x.sw
						ma := (r0-first)*pitch + halo[1]*u.NR
						for j, kb := range blocks {
							kb.set(&t, flags, j == 0, j == len(blocks)-1)
							t.A, t.B, t.C = in[xa:], packed[ch*k-base+kb.at:], mid[ma:]
							if spread > 0 {
								t.C = flat
								u.Image(&t, (r1-r0)*w.ow, 1, 0, 0, 0)
							} else {
								u.Image(&t, w.ow, r1-r0, w.sh*x.sh, pitch, 0)
							}
						}
						if spread > 0 {
							for i := range r1 - r0 {
								copy(mid[ma+i*pitch:], flat[i*w.ow*u.NR:][:w.ow*u.NR])
							}
						}
					}
					for oy := o; oy < end; oy++ {
						xr, yr := (oy*dw.sh-first)*pitch, y.at+img*y.sn+oy*y.sh+ch
						for b := 0; b < t.N; b += d.N {
							d.N = t.N - b
							if d.N > du.Width {
								d.N -= d.N % du.Width
							}
							d.X, d.Y, d.W = mid[xr+b:], out[yr+b:], dwPacked[(ch+b)*taps:]
							if pair.dwBias >= 0 {
								d.Bias = dwBias[b:]
							}
							if dwSlopes != nil {
								d.Slope = dwSlopes[ch+b:]
							}
							du.Run(&d)
						}
					}
				}
			}
		}
	}
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		u0, u1, p0, p1 := tiles.at(tile)
		run(c, u0, u1, p0, p1, packed.floats(), 0, scratch)
	}}}
	if panels >= 4 && pk.worthFirst() {
		// Panel by panel, packed in scratch.
		p.Scratch = own + 4*k*u.NR + pk.Scratch
		p.First = []Phase{{Tiles: panels, Run: func(c *Call, tile int, scratch []byte) {
			panel := scratch[own:][:4*k*u.NR]
			pk.Fill(panel, tile, scratch[own+len(panel):])
			run(c, 0, units, tile, tile+1, kern.Floats(panel), tile*k*u.NR, scratch)
		}}}
	}
	return p, nil
}
