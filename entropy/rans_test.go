package entropy

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// zeroOrder is the bytes that the counts of a block's symbols stand for.
func zeroOrder(syms []int32) (bytes float64) {
	count := map[int32]float64{}
	for _, s := range syms {
		count[s]++
	}
	for _, n := range count {
		bytes -= n * math.Log2(n/float64(len(syms))) / 8
	}
	return bytes
}

// TestRANSIsNearEntropy holds the fast coder to 1.01 of what the counts say, and 64 bytes
// for states and frequencies; where many symbols are rare too.
func TestRANSIsNearEntropy(t *testing.T) {
	rare := random(4, Dims{500, 800, 1, 1}, .02, 2)
	r := rand.New(rand.NewPCG(4, 2))
	for i := range rare.Syms {
		if r.Float64() < .06 {
			rare.Syms[i] = 3 + int32(r.ExpFloat64()*12)
		}
	}
	for _, b := range []Block{random(1, Dims{500, 800, 1, 1}, .08, 3), random(2, Dims{500, 800, 1, 1}, 1, 30), random(3, Dims{500, 800, 1, 1}, .01, 1), rare} {
		entropy := zeroOrder(b.Syms)
		if n, err := roundTrip(RANS{}, []Block{b}); err != nil || float64(n) > 1.01*entropy+64 {
			t.Errorf("%d bytes for an entropy of %.0f (%v)", n, entropy, err)
		}
	}
}

// TestRANSForms codes blocks whose frequencies are best fixed or learned, with all that places may be.
func TestRANSForms(t *testing.T) {
	drift := Block{Dims: Dims{200, 1000, 1, 1}, Syms: make([]int32, 200_000)}
	r := rand.New(rand.NewPCG(1, 3))
	for i := range drift.Syms { // every hundred rows other symbols are frequent
		if r.Float64() < .3 {
			drift.Syms[i] = int32(math.Round(r.NormFloat64()*2)) + int32(i/50_000*10)
		}
	}
	bytes := Block{Dims: Dims{100, 256, 1, 1}, Syms: make([]int32, 25_600)}
	for i := range bytes.Syms {
		bytes.Syms[i] = int32(i * 167 & 255)
	}
	short := random(5, Dims{1, 60, 1, 1}, .9, 3)
	wide := random(6, Dims{100, 300, 1, 1}, .5, 20)
	for i := 0; i < len(wide.Syms); i += 100 {
		wide.Syms[i] = []int32{math.MinInt32, math.MaxInt32, 40_000, -70_000}[i/100%4]
	}
	many := random(7, Dims{100, 300, 1, 1}, .9, 45) // more than 256 symbols
	for i := 0; i < len(many.Syms); i += 90 {
		many.Syms[i] = 300 + int32(i)/90
	}
	twice := drift
	twice.Syms = append([]int32(nil), drift.Syms...)
	for i := 0; i < len(twice.Syms); i += 999 {
		twice.Syms[i] = int32(i) << 8
	}
	for _, c := range []struct {
		name            string
		block           Block
		learns, escapes bool
		most            float64 // of the zero-order entropy; 0: any
	}{
		{"one symbol", Block{Dims: Dims{100, 100, 1, 1}, Syms: make([]int32, 10_000)}, false, false, 0},
		{"stationary", random(1, Dims{500, 800, 1, 1}, .08, 3), false, false, 1.01},
		{"drifting", drift, true, false, .8},
		{"256 symbols", bytes, false, false, 1.01},
		{"short", short, true, false, 0},
		{"beyond", wide, false, true, 0},
		{"many", many, false, true, 0},
		{"drifting and beyond", twice, true, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, places := newRANSModel(c.block.Syms)
			if m == nil {
				t.Fatal("unsuited")
			}
			if (m.learner != nil) != c.learns || (len(m.escaped) > 0) != c.escapes {
				t.Errorf("learns %v, %d escape", m.learner != nil, len(m.escaped))
			}
			n, err := roundTrip(RANS{}, []Block{c.block, c.block})
			if err != nil {
				t.Fatal(err)
			}
			if e := zeroOrder(c.block.Syms); c.most > 0 && float64(n) > 2*c.most*e+100 {
				t.Errorf("%d bytes, the entropy is %.0f", n, 2*e)
			}
			// The estimate is what the choice goes by.
			var w bitWriter
			m.write(&w)
			hist := histogram(places)
			cost := uint64(0)
			if m.learner != nil {
				cost = m.learner.cost(m, newRANSCounts(places, m.places()), len(places))
			} else {
				cost = ransCost(m.scaled(), &hist)
			}
			if got := float64(n-8*ransWays)/2 - float64(len(w.out)); math.Abs(got-float64(cost)/8/65536) > 24+got/1000 {
				t.Errorf("%.0f bytes, estimated %.0f", got, float64(cost)/8/65536)
			}
			// All ways to learn come back.
			for prior := range uint(8) {
				for _, window := range []uint{0, prior % 4} {
					m.learner = &ransLearner{prior: prior, window: window}
					e := ransEncoder{x: [ransWays]uint64{ransLow, ransLow, ransLow, ransLow}}
					parts := m.parts(places)
					for k := len(parts) - 1; k >= 0; k-- {
						e.part(&parts[k])
					}
					code := e.code(nil)
					d := &ransDecoder{in: code}
					d.states()
					out := make([]int32, len(places))
					if err := d.block(m, out); err != nil {
						t.Fatalf("prior %d, window %d: %v", prior, window, err)
					}
					for i, s := range c.block.Syms {
						if out[i] != s {
							t.Fatalf("prior %d, window %d: symbol %d is %d, want %d", prior, window, i, out[i], s)
						}
					}
				}
			}
		})
	}
}

// TestRANSRefuses what escapes too often to be fast or small.
func TestRANSRefuses(t *testing.T) {
	for name, b := range map[string]Block{
		"16 bits": random(7, Dims{300, 64, 1, 1}, 1, 5000),
		"far":     {Dims: Dims{1, 2, 1, 1}, Syms: []int32{1 << 20, 1 << 30}},
	} {
		if _, err := (RANS{}).Append(nil, []Block{b}); !errors.Is(err, ErrUnsuited) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRANSLog(t *testing.T) {
	for n, got := range ransLog() {
		if n > 0 && math.Abs(float64(got)/65536-math.Log2(float64(n))) > 2./65536 {
			t.Fatalf("%d: %v", n, float64(got)/65536)
		}
	}
}

func TestProportional(t *testing.T) {
	hists := [][]uint32{{1}, {0, 5}, {1, 1 << 30}, make([]uint32, 256), make([]uint32, 256)}
	for i := range 256 {
		hists[3][i] = 1 // all round down to 1
		hists[4][i] = 9
		if i < 28 {
			hists[4][i] = 1
		}
	}
	for _, h := range hists {
		n := 0
		for _, k := range h {
			n += int(k)
		}
		for bits := uint(8); bits <= ransBits; bits += 2 {
			sum := 0
			for i, f := range proportional(h, n, bits) {
				if f < 1 {
					t.Errorf("%d places, %d bits: place %d has none", len(h), bits, i)
				}
				sum += int(f)
			}
			if sum != 1<<bits {
				t.Errorf("%d places, %d bits: they add up to %d", len(h), bits, sum)
			}
		}
	}
}
