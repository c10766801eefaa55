package kern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

func TestI8PairsOffsets(t *testing.T) {
	var a I8Pairs
	var p I8Pack
	var u I8Unpack
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(a.W), 24}, {unsafe.Offsetof(a.Bias), 48}, {unsafe.Offsetof(a.Mul), 72}, {unsafe.Offsetof(a.Y), 96},
		{unsafe.Offsetof(a.Pairs), 120}, {unsafe.Offsetof(a.Vecs), 128}, {unsafe.Offsetof(a.Zero), 136}, {unsafe.Offsetof(a.Lo), 140},
		{unsafe.Offsetof(a.Hi), 144}, {unsafe.Offsetof(a.Flip), 148}, {unsafe.Offsetof(a.order), 152}, {unsafe.Offsetof(a.Acc), 168},
		{unsafe.Offsetof(a.Load), 192}, {unsafe.Offsetof(a.Keep), 200},
		{unsafe.Offsetof(p.Rows), 24}, {unsafe.Offsetof(p.Off), 48}, {unsafe.Offsetof(p.Chunks), 72}, {unsafe.Offsetof(p.Dst), 80}, {unsafe.Offsetof(p.Flip), 104},
		{unsafe.Offsetof(u.Rows), 24}, {unsafe.Offsetof(u.Dst), 48},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// randomPairs are weights of k inputs, spread as a trained layer's are, or extreme.
func randomPairs(r *rand.Rand, k int, extreme bool) []PairWeight {
	ws := make([]PairWeight, (k+3)/4)
	for i := range ws {
		ws[i].At = int32(i * PairBlock)
		for ch := range 2 {
			for j := range min(4, k-4*i) {
				w := int8(max(-127, min(127, r.NormFloat64()*127/3)))
				if extreme {
					w = []int8{-128, -127, 127, 0, 64, -64, 1, -1}[r.IntN(8)]
				}
				ws[i].W[ch][j] = w
			}
		}
	}
	return ws
}

// TestI8Pairs compares portable Go and assembly with plain sums, where every int16 is at its limit and elsewhere.
func TestI8Pairs(t *testing.T) {
	variants := []Ints{{}}
	if asm := IntsOf(cpu.Detect()); asm.asm {
		variants = append(variants, asm)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, k := range []int{1, 4, 9, 16, 40, 147} {
		for _, extreme := range []bool{false, true} {
			for vecs := 1; vecs <= 4; vecs++ {
				const pairs = 3
				blocks := (k + 3) / 4
				x := make([]byte, blocks*PairBlock)
				for i := range x {
					if x[i] = byte(r.Uint32()); extreme {
						x[i] = byte(255 * r.IntN(2))
					}
				}
				c := I8Pairs{X: x, Pairs: pairs, Vecs: vecs, Zero: 7, Lo: 3, Hi: 250, Flip: 0x80}
				var tmp PairScratch
				var w, w1, w2 []byte // the whole, and in two parts
				var ws [pairs][]PairWeight
				for i := range ws {
					ws[i] = randomPairs(r, k, extreme)
					if i == 1 {
						ws[i] = make([]PairWeight, blocks) // nothing at all
					}
					w = AppendPair(w, ws[i], &tmp)
					w1 = AppendPair(w1, ws[i][:blocks/2], &tmp)
					w2 = AppendPair(w2, ws[i][blocks/2:], &tmp)
					for range 2 {
						c.Bias, c.Mul = append(c.Bias, r.Int32N(2000)-1000), append(c.Mul, float32(r.Float64()*1e-3))
					}
				}
				want := make([]byte, 64*pairs)
				for i := range pairs {
					for ch := range 2 {
						for p := range 8 * vecs {
							acc := c.Bias[2*i+ch]
							for b, w := range ws[i] {
								for j, w := range w.W[ch] {
									acc += int32(x[b*PairBlock+4*p+j]) * int32(w)
								}
							}
							want[64*i+2*p+ch] = Quantise(acc, c.Mul[2*i+ch], float32(c.Lo-c.Zero), float32(c.Hi-c.Zero), c.Zero) ^ 0x80
						}
					}
				}
				for _, v := range variants {
					c := c
					c.W, c.Y = w, make([]byte, 64*pairs)
					v.Pairs(&c)
					parts := c
					parts.Y, parts.Acc = make([]byte, 64*pairs), make([]int32, 64*pairs)
					parts.W, parts.Keep = w1, 1
					v.Pairs(&parts)
					parts.W, parts.Load, parts.Keep = w2, 1, 0
					v.Pairs(&parts)
					for i := range pairs {
						for _, y := range [][]byte{c.Y, parts.Y} {
							if !bytes.Equal(y[64*i:][:16*vecs], want[64*i:][:16*vecs]) {
								t.Fatalf("%s: k %d, extreme %v, %d vectors: pair %d differs", v.Name(), k, extreme, vecs, i)
							}
						}
					}
				}
			}
		}
	}
}

func TestI8PackUnpack(t *testing.T) {
	asm := IntsOf(cpu.Detect())
	if !asm.asm {
		t.Skip("NOT RUN: this CPU or build has portable Go only")
	}
	r := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 6000)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for _, n := range []int{8, 16, 24, 32} {
		rows := make([]int, n)
		for i := range rows {
			rows[i] = 37 * i
		}
		var got [2][]byte
		for i, v := range []Ints{{}, asm} {
			got[i] = slices.Clone(b)
			v.Pack(&I8Pack{X: b, Rows: rows, Off: []int{0, 5, 1500}, Chunks: 3, Dst: got[i], Flip: 0x80})
		}
		if !bytes.Equal(got[0], got[1]) {
			t.Errorf("pack of %d: assembly differs from portable Go", n)
		}
	}
	for n := 1; n <= 32; n++ {
		rows := make([]int, (n+15)/16*16)
		for i := range rows {
			rows[i] = 29 * i
			if i >= n {
				rows[i] = rows[n/16*16]
			}
		}
		var got [2][]byte
		for i, v := range []Ints{{}, asm} {
			got[i] = make([]byte, 1000)
			v.Unpack(&I8Unpack{T: b, Rows: rows, Dst: got[i], N: n})
		}
		if !bytes.Equal(got[0], got[1]) {
			t.Errorf("unpack of %d: assembly differs from portable Go", n)
		}
		for p := range n {
			for i := range 16 {
				if got[0][29*p+i] != b[64*(i/2)+2*p+i%2] {
					t.Fatalf("unpack of %d: pixel %d is wrong", n, p)
				}
			}
		}
	}
}

func BenchmarkI8Pairs(b *testing.B) {
	v := IntsOf(cpu.Detect())
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{64, 256, 1024} {
		for _, vecs := range []int{4, 3} {
			var tmp PairScratch
			t := I8Pairs{X: make([]byte, k/4*PairBlock), Bias: make([]int32, 16), Mul: make([]float32, 16), Y: make([]byte, 512), Pairs: 8, Vecs: vecs, Hi: 255}
			for i := range t.X { // memory that was never written is one page, and slower
				t.X[i] = byte(r.Uint32())
			}
			for range 8 {
				t.W = AppendPair(t.W, randomPairs(r, k, false), &tmp)
			}
			b.Run(fmt.Sprintf("%d/%d", k, vecs), func(b *testing.B) {
				for range b.N {
					v.Pairs(&t)
				}
				b.ReportMetric(float64(b.N)*2*16*8*float64(vecs*k)/b.Elapsed().Seconds()/1e9, "GOP/s")
			})
		}
	}
}

func BenchmarkAppendPair(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	ws := randomPairs(r, 512, false)
	var tmp PairScratch
	var w []byte
	b.SetBytes(2 * 512)
	for range b.N {
		w = AppendPair(w[:0], ws, &tmp)
	}
}
