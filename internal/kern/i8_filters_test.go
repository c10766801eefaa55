package kern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/internal/cpu"
)

func TestColumns(t *testing.T) {
	r, fast := rand.New(rand.NewPCG(1, 2)), IntsOf(cpu.Detect())
	for _, rows := range []int{0, 1, 7, 8, 15, 16} {
		for _, n := range []int{0, 1, 15, 16, 17, 47, 144} {
			ld := n + rows%3
			src := make([]byte, 16*ld+1)[:max(0, rows*ld-rows%3)]
			for i := range src {
				src[i] = byte(r.Uint32())
			}
			got, want := make([]byte, 16*n+1), make([]byte, 16*n+1)
			for i := range got {
				got[i], want[i] = 7, 7
			}
			fast.Columns(got, src, rows, ld, n, 0x80)
			Ints{}.Columns(want, src, rows, ld, n, 0x80)
			if !bytes.Equal(got, want) {
				t.Errorf("%d rows of %d: found %v, want %v", rows, n, got, want)
			}
			for i := range n {
				for k := range rows {
					if want[16*i+k] != src[k*ld+i]^0x80 {
						t.Fatalf("%d rows of %d: row %d, byte %d: found %d", rows, n, k, i, want[16*i+k])
					}
				}
			}
		}
	}
}

func TestZipRows(t *testing.T) {
	fast := IntsOf(cpu.Detect())
	for pairs := range 5 {
		for _, stride := range []int{16, 144} {
			src := make([]byte, max(0, (2*pairs-1)*stride+16))
			for i := range src {
				src[i] = byte(i ^ i>>8)
			}
			got, want := make([]byte, 32*pairs+1), make([]byte, 32*pairs+1)
			fast.ZipRows(got, src, pairs, stride)
			Ints{}.ZipRows(want, src, pairs, stride)
			if !bytes.Equal(got, want) {
				t.Errorf("%d pairs, stride %d: found %v, want %v", pairs, stride, got, want)
			}
		}
	}
}

func TestZipQuads(t *testing.T) {
	fast := IntsOf(cpu.Detect())
	for quads := range 4 {
		for _, stride := range []int{16, 144} {
			for _, ld := range []int{64, 192} {
				src := make([]byte, max(0, (4*quads-1)*stride+16))
				for i := range src {
					src[i] = byte(i ^ i>>8)
				}
				got, want := make([]byte, ld*quads+1), make([]byte, ld*quads+1)
				fast.ZipQuads(got, src, quads, ld, stride)
				Ints{}.ZipQuads(want, src, quads, ld, stride)
				if !bytes.Equal(got, want) {
					t.Errorf("%d quads, stride %d, ld %d: found %v, want %v", quads, stride, ld, got, want)
				}
				for i := range 4 * quads {
					for r := range 16 {
						if x := want[i/4*ld+4*r+i%4]; x != src[i*stride+r] {
							t.Fatalf("%d quads, stride %d, ld %d: row %d, column %d: found %d", quads, stride, ld, i, r, x)
						}
					}
				}
			}
		}
	}
}

func TestWinoFilters(t *testing.T) {
	r, fast := rand.New(rand.NewPCG(3, 4)), IntsOf(cpu.Detect())
	for _, m := range []int{2, 4} {
		for pairs := range 4 {
			places, ld := (m+2)*(m+2), 32*pairs+32
			src := make([]byte, 18*16*pairs)
			for i := range src {
				if src[i] = byte(r.Uint32()); i < 9*16 {
					src[i] = 0x80 // the largest
				}
			}
			got, want := make([]int16, places*ld), make([]int16, places*ld)
			fast.WinoFilters(got, ld, src, pairs, m)
			Ints{}.WinoFilters(want, ld, src, pairs, m)
			if !slices.Equal(got, want) {
				t.Errorf("tiles of %d, %d pairs: differ", m, pairs)
			}
		}
	}
}

// BenchmarkFilters is a panel of 3x3 filters of 128 channels, packed for the direct kernel or for Winograd's.
func BenchmarkFilters(b *testing.B) {
	const c = 128
	for _, m := range []int{0, 2, 4} {
		b.Run(fmt.Sprint(m), func(b *testing.B) {
			v, src, turned := IntsOf(cpu.Detect()), make([]byte, 16*9*c), make([]byte, 16*9*c)
			dst, wide := make([]byte, 16*9*c), make([]int16, 36*(16*c+32))
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				v.Columns(turned, src, 16, 9*c, 9*c, 0x80)
				if m > 0 {
					v.WinoFilters(wide, 16*c+32, turned, c/2, m)
					continue
				}
				for t := range 9 {
					v.ZipRows(dst[16*c*t:], turned[16*t:], c/2, 9*16)
				}
			}
		})
	}
}
