package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Convolution of 8-bit integers on products of bytes that are added in int16 first, exact by how
// the weights are packed (kern.I8Pairs). A tile transposes its pixels' windows into blocks of four
// bytes; pairs of output channels run over it, and eight of them come back as 16 bytes a pixel. Windows
// that reach over the edge are read from a copy with the zero point around.
func init() {
	for _, on := range [][2]string{{"", "QLinearConv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "i8_pairs", Priority: 12, Parts: true,
			Match: func(n *graph.Node, e *Env) bool {
				m, _, _ := qunfuse(n, "", "QLinearConv")
				if m == nil || e.Direct || !qconvMatch(m, e) || m.Int("group", 1) != 1 {
					return false
				}
				if f := factsOf(m, e); !f.narrow || f.most > 0.5 { // a sum times it stays below 2^31
					return false
				}
				s, w := m.Out[0].Type.Shape, m.In[3].Type.Shape
				// Of few pixels the weights are what is moved; of short sums two do not often fit, and long ones
				// have too many parts.
				k := w[1] * w[2] * w[3]
				return s[0]*s[2]*s[3] >= 16 && 72 <= k && k <= 3072 && w[2]*w[3]*(round16(w[1])/4) <= kern.PairBlocks
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{qnhwc(n.Out[0].Type.Shape[1])}}
				l.In[0] = nhwc([4]int{})
				return l
			},
			Prepare: prepareQPairs,
		})
	}
}

// pairPart are the blocks of four bytes whose pixels stay in the first-level cache: longer sums are in parts.
const pairPart = 160

// packQPairs are the weights in panels of eight pairs of channels, of which each part of the blocks is for
// itself: where each part of a panel begins, in eight bytes, the sums of the channels' weights, and the parts.
// A part of the packing is a panel.
func packQPairs(n *graph.Node, panels, parts, kseg, chunks int) Packing {
	s, w := n.In[3].Type.Shape, qrowsOf(n)
	taps := s[2] * s[3]
	blocks := (s[1]*taps + kseg - 1) / kseg * chunks * 4
	scratch := sync.Pool{New: func() any {
		return &pairScratch{ws: make([]kern.PairWeight, 8*blocks), raw: make([]byte, w.scratch(16))}
	}}
	return Packing{Parts: panels, Make: func(p int) []byte {
		m := scratch.Get().(*pairScratch)
		defer scratch.Put(m)
		count := min(16, s[0]-16*p)
		raw := w.read(m.raw, 16*p, count)
		b, ws := append(m.b[:0], make([]byte, 8*parts+4*16)...), m.ws
		for i := range ws {
			ws[i] = kern.PairWeight{At: int32(i % blocks * kern.PairBlock)}
		}
		pairs := (count + 1) / 2
		for c := range count {
			row, sum := raw[c*w.k:][:w.k], int32(0)
			for t := range taps {
				seg, k := t*s[1]/kseg, t*s[1]%kseg // a tap is within a segment
				d := ws[c/2*blocks+seg*chunks*4:][:chunks*4]
				for i := t; i < len(row); i += taps {
					x := int8(row[i] ^ w.flip)
					d[k/4].W[c%2][k%4] = x
					sum += int32(x)
					k++
				}
			}
			binary.LittleEndian.PutUint32(b[8*parts+4*c:], uint32(sum))
		}
		for q := range parts {
			binary.LittleEndian.PutUint64(b[8*q:], uint64(len(b)))
			from, to := part(q, parts, blocks)
			for i := range pairs {
				b = kern.AppendPair(b, ws[i*blocks:][from:to], &m.tmp)
			}
		}
		m.b = b
		return bytes.Clone(b)
	}}
}

// pairScratch is what packing a panel works in.
type pairScratch struct {
	tmp kern.PairScratch
	ws  []kern.PairWeight
	b   []byte
	raw []byte // weights that lie in a file
}

// lanes2 are the bias and the multipliers of an even number of channels.
func lanes2(n *graph.Node, e *Env) (bias []int32, mul []float32) {
	cout := n.In[3].Type.Shape[0]
	bias, mul = make([]int32, (cout+1)/2*2), make([]float32, (cout+1)/2*2)
	copy(mul, factsOf(n, e).mul)
	if v := n.Input(8); v != nil {
		copy(bias, tensor.Of[int32](v.Tensor()))
	}
	return bias, mul
}

func prepareQPairs(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[3].Type.Shape
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, ws[2:])
	w := &qwindow{window: win, x: x, ints: kern.IntsOf(e.CPU)}
	zx, zy, flip := zeroOf(n.In[2]), zeroOf(n.In[7]), 0
	if n.In[0].Type.DType == tensor.Int8 {
		zx, flip = zx+128, 0x80
	}
	t := kern.I8Pairs{Zero: int32(zy), Lo: int32(lo), Hi: int32(hi)}
	if n.Out[0].Type.DType == tensor.Int8 {
		t.Zero, t.Lo, t.Hi, t.Flip = t.Zero+128, t.Lo+128, t.Hi+128, 0x80
	}
	cin, cout := ws[1], ws[0]
	// Windows of one pixel are read where they are.
	direct := w.kh == 1 && w.kw == 1 && w.ph == 0 && w.pw == 0 && (w.oh-1)*w.sh < w.h && (w.ow-1)*w.sw < w.w && x.sw >= round16(cin)
	const tile = 32
	sh, sw := x.sh, x.sw
	images, units := y.n, 0
	if direct {
		units = (y.n*y.h*y.w + tile - 1) / tile
		images = 1
	} else {
		w.fit(48<<10, max((y.n*w.oh+15)/16, (64+w.ow-1)/w.ow)) // sixteen blocks, but of whole tiles
		sh, sw = w.iw*x.sw, x.sw
		units = images * w.nh * w.nw
	}
	off, kseg := w.segments(sh, sw, cin, x.sw == cin)
	chunks := (kseg + 15) / 16
	pack := kern.I8Pack{Chunks: chunks, Flip: flip, Off: off}
	panels := (cout + 15) / 16
	blocks := len(pack.Off) * 4 * chunks
	parts := (blocks + pairPart - 1) / pairPart
	packed := e.packParts(n.In[3], fmt.Sprintf("i8_pairs/%d/%s", kseg, zeroKey(n)), packQPairs(n, panels, parts, kseg, chunks))
	// Panels whose weights stay in the second-level cache beside the pixels run over one tile after the other.
	together := max(1, (128<<10)/(blocks*8*14))
	bias, mul := lanes2(n, e)
	size := blocks * kern.PairBlock // of a tile's pixels
	// The tiles that are transposed at once stay in the second-level cache.
	group := max(1, min(8, (160<<10)/size))
	pixels := tile
	if !direct {
		pixels = w.bh * w.bw
		group = min(group, (pixels+tile-1)/tile)
	}
	span := 0 // bytes of a block's copy
	if !direct {
		span = (w.ih*w.iw*x.sw + slack + 63) &^ 63
	}
	p := &Prepared{Kernel: "i8_pairs_" + w.ints.Name(), Packed: packedInputs(n), Scratch: span + group*size + 16*group*tile + 64*8 + 16*tile + 4*64*8 + 4*16}
	nb, np := split(units, panels, pixels*len(pack.Off)*kseg*16/3)
	narrow := y.sw < 16*panels // the last panel may not store 16 bytes
	run := func(c *Call, b0, b1, p0, p1 int, scratch []byte) {
		t, pack := t, pack
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		copied, scratch := scratch[:span], scratch[span:]
		xs, scratch := scratch[:group*size], scratch[group*size:]
		rows, scratch := kern.CutInts(scratch, group*tile)
		outs, scratch := kern.CutInts(scratch, group*tile)
		t.Y, pack.X = scratch[:64*8], in
		edge := scratch[64*8:][:16*tile]
		t.Acc, scratch = kern.CutInt32(scratch[64*8+16*tile:], 64*8)
		t.Bias, _ = kern.CutInt32(scratch, 16)
		for b := b0; b < b1; {
			// The pixels of as many tiles as go together.
			img, y0, x0, h, wd := 0, 0, 0, 0, 0
			count := 0
			if direct {
				count = min(min(b1, b+group)*tile, y.n*y.h*y.w) - b*tile
			} else {
				img = b / (w.nh * w.nw)
				y0, x0, h, wd = w.bytes(copied, in, img, b%(w.nh*w.nw), 0, byte(zx^flip))
				pack.X, count = copied, h*wd
				if p0 == 0 && x0 == 0 {
					haloBytes(&y, out, img, y0, y0+h)
				}
			}
			for from := 0; from < count; from += group * tile {
				some := min(group*tile, count-from)
				oy, ox, im := 0, 0, img
				if direct {
					i := b*tile + from
					im, oy, ox = i/(y.h*y.w), i/y.w%y.h, i%y.w
				} else {
					oy, ox = from/wd, from%wd
				}
				for i := 0; i < some; {
					r, o, width := 0, 0, wd
					if direct {
						r, o, width = x.at+im*x.sn+oy*w.sh*x.sh, y.at+im*y.sn+oy*y.sh, y.w
						if p0 == 0 && ox == 0 {
							haloBytes(&y, out, im, oy, oy+1)
						}
					} else {
						r, o = oy*w.sh*sh, y.at+im*y.sn+(y0+oy)*y.sh+x0*y.sw
					}
					for end := min(some, i+width-ox); i < end; i++ {
						rows[i], outs[i] = r+ox*w.sw*sw, o+ox*y.sw
						ox++
					}
					if ox, oy = 0, oy+1; direct && oy == y.h {
						oy, im = 0, im+1
					}
				}
				// Tiles end in whole vectors: pixels behind the last are the last, and the first of their
				// sixteen once more where they go.
				for i := some; i < (some+15)/16*16; i++ {
					rows[i], outs[i] = rows[some-1], outs[some/16*16]
				}
				for i := 0; i < some; i += tile {
					pack.Rows, pack.Dst = rows[i:min(i+tile, (some+7)/8*8)], xs[i/tile*size:][:size]
					w.ints.Pack(&pack)
				}
				for q := p0; q < p1; q += together {
					for i := 0; i < some; i += tile {
						n := min(tile, some-i)
						t.X, t.Vecs = xs[i/tile*size:][:size], (n+7)/8
						for p := q; p < min(p1, q+together); p++ {
							t.Pairs = (min(16, cout-16*p) + 1) / 2
							t.Mul = mul[16*p:][:2*t.Pairs]
							for j, b := range bias[16*p:][:2*t.Pairs] {
								// Less what the zero point of the input adds to the sums.
								t.Bias[j] = b - int32(zx)*int32(binary.LittleEndian.Uint32(packed.Parts[p][8*parts+4*j:]))
							}
							for i := range parts {
								t.W = packed.Parts[p][binary.LittleEndian.Uint64(packed.Parts[p][8*i:]):]
								t.Load, t.Keep = i, parts-1-i
								w.ints.Pairs(&t)
							}
							u := kern.I8Unpack{T: t.Y, Rows: outs[i:][:(n+15)/16*16], Dst: out[16*p:], N: n}
							if narrow && p == panels-1 {
								u.Rows, u.Dst = ladder[:len(u.Rows)], edge
							}
							w.ints.Unpack(&u)
							if narrow && p == panels-1 {
								for j, at := range outs[i:][:n] {
									copy(out[at+16*p:][:cout-16*p], edge[16*j:])
								}
							}
						}
					}
				}
			}
			if b++; direct {
				b = min(b1, b-1+group)
			}
		}
	}
	tiles := gridOf(nb, np, units, panels, ws.NumElements(), x.size()+y.size())
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		b0, b1, p0, p1 := tiles.at(tile)
		run(c, b0, b1, p0, p1, scratch)
	}}}
	firstQConv(p, fn, e)
	return p, nil
}

// ladder are the rows of a tile of 32 pixels of 16 bytes.
var ladder = func() []int {
	r := make([]int, 32)
	for i := range r {
		r[i] = 16 * i
	}
	return r
}()
