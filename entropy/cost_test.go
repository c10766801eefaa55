package entropy

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The prices of what is taken add up to the size of the code, and so, nearly, do those
// that it was offered for, block by block in one model; pricing candidates changes nothing.
func TestCost(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	fill := func(d Dims, density, scale float64) Block {
		b := Block{Dims: d, Syms: make([]int32, d.Len())}
		for i := range b.Syms {
			if r.Float64() < density {
				b.Syms[i] = int32(math.Round(r.NormFloat64() * scale * (1 + float64(i%7)/3)))
			}
		}
		return b
	}
	for _, tc := range []struct {
		name   string
		blocks []Block
	}{
		{"nothing", []Block{{Dims: Dims{0, 3, 1, 1}}}},
		{"one", []Block{{Dims: Dims{1, 1, 1, 1}, Syms: []int32{5}}}},
		{"matrix", []Block{fill(Dims{90, 110, 1, 1}, 0.1, 2)}},
		{"image rows", []Block{banded(60, 196, 14)}},
		{"convolution", []Block{fill(Dims{20, 12, 5, 5}, 0.3, 3)}},
		{"dense", []Block{fill(Dims{50, 60, 1, 1}, 1, 30)}},
		{"large", []Block{fill(Dims{9, 9, 3, 3}, 1, 1e8)}},
		{"bounds", []Block{{Dims: Dims{2, 2, 1, 1}, Syms: []int32{math.MinInt32, math.MaxInt32, -1, 0}}, fill(Dims{30, 20, 1, 1}, 0.5, 3)}},
		{"dependent", []Block{dependent(1, Dims{60, 90, 1, 1}, 1), dependent(2, Dims{9, 9, 3, 3}, 3)}},
		{"a model", []Block{fill(Dims{20, 1, 5, 5}, 0.6, 3), fill(Dims{20, 1, 1, 1}, 0.9, 20), fill(Dims{50, 20, 5, 5}, 0.12, 2), fill(Dims{100, 80, 1, 1}, 0.05, 2), fill(Dims{10, 1, 1, 1}, 1, 9)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, err := Context{}.Append(nil, tc.blocks)
			if err != nil {
				t.Fatal(err)
			}
			c := NewCost()
			sum, offered := 0.0, 0.0
			for _, b := range tc.blocks {
				head := c.Start(b)
				sum += head
				offered += head
				for i, s := range b.Syms {
					if i%3 == 0 {
						if n := min(i%5, len(b.Syms)-i, c.w.cols-c.w.c-1); n > 0 {
							c.Ahead(b.Syms[i:i+n], 1)
						}
						for _, x := range []int32{1, -1, 7, 0, -300} {
							if p := c.Bits(x); !(p > 0 && p < 700) {
								t.Fatalf("symbol %d: %v for %v bits", i, x, p)
							}
						}
					}
					if i%3 == 0 { // the same place: the same prices
						c.back()
						c.Ahead(nil, c.w.state)
					}
					want := c.Bits(s)
					got := c.Take(s)
					if math.Abs(got-want) > 0.1+0.02*want && s < 1<<16 && s > -1<<16 {
						t.Fatalf("symbol %d: taken for %v bits, offered for %v", i, got, want)
					}
					sum += got
					if s > 1<<30 || s < -1<<30 { // its first bits teach much about the rest
						want = got
					}
					offered += want
				}
			}
			if got := float64(8 * len(code)); math.Abs(got-sum) > 1e-4*sum+16 || math.Abs(got-offered) > 0.01*got+16 {
				t.Errorf("taken for %.1f bits, offered for %.1f; the code has %.0f", sum, offered, got)
			}
		})
	}
}

// The table of prices is that of the logarithm.
func TestBits(t *testing.T) {
	fillBits()
	for p := 1; p <= 65536; p++ {
		if want := 16 - math.Log2(float64(p)); math.Abs(bitsTab[p]-want) > 1e-6 {
			t.Fatalf("%d: %v, want %v", p, bitsTab[p], want)
		}
	}
}

// banded is a matrix whose rows are images of the given width.
func banded(rows, cols, width int) Block {
	r := rand.New(rand.NewPCG(5, 6))
	b := Block{Dims: Dims{rows, cols, 1, 1}, Syms: make([]int32, rows*cols)}
	for i := range b.Syms {
		if r.Float64() < 0.4*math.Exp(-math.Abs(float64(i%cols%width-width/2))/2) {
			b.Syms[i] = int32(r.IntN(5) - 2)
		}
	}
	return b
}

func BenchmarkCost(b *testing.B) {
	blk := banded(300, 784, 28)
	b.SetBytes(int64(len(blk.Syms)))
	for b.Loop() {
		c := NewCost()
		c.Start(blk)
		for _, s := range blk.Syms {
			c.Take(s)
		}
	}
}
