//go:build !noasm

package entropy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestLayout holds the offsets that internal/kern/_gen knows.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"mixing.w", unsafe.Offsetof(mixing{}.w), 0},
		{"mixing.fix", unsafe.Offsetof(mixing{}.fix), 32},
		{"rangeCoder.rng", unsafe.Offsetof(rangeCoder{}.rng), 0},
		{"rangeCoder.at", unsafe.Offsetof(rangeCoder{}.at), 8},
		{"rangeCoder.dec", unsafe.Offsetof(rangeCoder{}.dec), 16},
		{"kin.energy", unsafe.Offsetof(kin{}.energy), 0},
		{"kin.groups", unsafe.Offsetof(kin{}.groups), 8},
		{"kin.stride", unsafe.Offsetof(kin{}.stride), 16},
		{"kin.atWhole", unsafe.Offsetof(kin{}.atWhole), 24},
		{"kin.atColumn", unsafe.Offsetof(kin{}.atColumn), 32},
		{"kin.atCount", unsafe.Offsetof(kin{}.atCount), 40},
		{"kin.scale.inv", unsafe.Offsetof(kin{}.scale) + unsafe.Offsetof(scale{}.inv), 56},
		{"kin.alike", unsafe.Offsetof(kin{}.alike), 64},
		{"kinColumn.value", unsafe.Offsetof(kinColumn{}.value), 64},
		{"front.atAbove", unsafe.Offsetof(front{}.atAbove), 3 * 8},
		{"front.kin", unsafe.Offsetof(front{}.kin), 10 * 8},
		{"front.c", unsafe.Offsetof(front{}.c), 11 * 8},
		{"front.stop", unsafe.Offsetof(front{}.stop), 13 * 8},
		{"front.left", unsafe.Offsetof(front{}.left), 16 * 8},
		{"front.kq", unsafe.Offsetof(front{}.kq), 19 * 8},
		{"front.row", unsafe.Offsetof(front{}.row), 20 * 8},
		{"front.early", unsafe.Offsetof(front{}.early), 20*8 + 12},
		{"front.rowMag", unsafe.Offsetof(front{}.rowMag), 20*8 + 16},
		{"front.atPrev", unsafe.Offsetof(front{}.atPrev), 23 * 8},
		{"front.atEighth", unsafe.Offsetof(front{}.atEighth), 28 * 8},
		{"front.lin", unsafe.Offsetof(front{}.lin), 32 * 8},
		{"front.signSet1", unsafe.Offsetof(front{}.signSet1), 35 * 8},
		{"front.value.hq", unsafe.Offsetof(front{}.value) + unsafe.Offsetof(value{}.hq), 37 * 8},
		{"front.value.pairFar", unsafe.Offsetof(front{}.value) + unsafe.Offsetof(value{}.pairFar), 43 * 8},
		{"front.lengthScale", unsafe.Offsetof(front{}.lengthScale), 47 * 8},
		{"cell.mark", unsafe.Offsetof(cell{}.mark), 4},
		{"linear.w", unsafe.Offsetof(linear{}.w), 32},
		{"linear.x0", unsafe.Offsetof(linear{}.x0), 64},
		{"linear.energy", unsafe.Offsetof(linear{}.energy), 80},
		{"linear.scale.inv", unsafe.Offsetof(linear{}.scale) + unsafe.Offsetof(scale{}.inv), 96},
		{"signTables.linear", unsafe.Offsetof(signTables{}.linear), 4 * (75 + 225 + 625)},
		{"signTables.row", unsafe.Offsetof(signTables{}.row), 4 * (75 + 225 + 625 + 25 + 81 + 27)},
		{"lengthTables.near", unsafe.Offsetof(lengthTables{}.near), 4 * 2 * lengthSteps * (2 + 176 + 64)},
		{"lengthTables.column", unsafe.Offsetof(lengthTables{}.column), 4 * lengthSteps * (2*(2+176+64) + 512)},
		{"lengthTables.kin", unsafe.Offsetof(lengthTables{}.kin), 4 * lengthSteps * (2*(2+176+64) + 768 + 400)},
		{"zeros.kernel", unsafe.Offsetof(zeroTables{}.kernel), 4 * 512},
		{"zeros.density", unsafe.Offsetof(zeroTables{}.density), 4 * (256 + 256 + 512 + 1<<14 + 1<<10 + 512)},
		{"above", unsafe.Sizeof(above{}), 4},
		{"above.density", unsafe.Offsetof(above{}.density), 2},
		{"mixing", unsafe.Sizeof(mixing{}), 256},
		{"a row of mixVec", unsafe.Sizeof(mixVec[0]), 32},
	} {
		if c.got != c.want {
			t.Errorf("%s at %d, want %d", c.name, c.got, c.want)
		}
	}
}

// portable runs f without assembly.
func portable(f func()) {
	was := simd
	simd = false
	defer func() { simd = was }()
	f()
}

// TestVariants codes with and without assembly: the same bytes and symbols, from whole
// codes and from damaged ones.
func TestVariants(t *testing.T) {
	if !simd {
		t.Skip("this CPU has no AVX2")
	}
	all := samples()
	// More non-zeros of a column than kin keeps, in whole columns and in others.
	all["deep"] = []Block{random(12, Dims{120, 64, 1, 1}, .4, 9), random(15, Dims{140, 32, 1, 1}, .5, 20000)}
	all["kernels"] = []Block{random(16, Dims{6, 5, 3, 1}, .5, 9), random(17, Dims{20, 3, 5, 5}, .5, 1e5), random(18, Dims{3, 2, 12, 12}, .4, 2)}
	for name, blocks := range all {
		t.Run(name, func(t *testing.T) {
			code, err := Context{}.Append(nil, blocks)
			if err != nil {
				t.Fatal(err)
			}
			portable(func() {
				if plain, _ := (Context{}).Append(nil, blocks); string(plain) != string(code) {
					t.Error("other bytes without assembly")
				}
			})
			r := rand.New(rand.NewPCG(1, 1))
			for i := range 20 {
				if i > 0 && len(code) > 0 {
					code[r.IntN(len(code))] = byte(r.Uint32())
				}
				decode := func() string {
					back := make([]Block, len(blocks))
					for i := range back {
						back[i].Dims = blocks[i].Dims
					}
					err := Context{}.Decode(back, code)
					return fmt.Sprint(back, err)
				}
				got, want := decode(), ""
				portable(func() { want = decode() })
				if got != want {
					t.Fatalf("decoded otherwise without assembly, damage %d", i)
				}
			}
		})
	}
	in := elementSamples()
	code, err := AppendElements(nil, in, false)
	portable(func() {
		plain, err2 := AppendElements(nil, in, false)
		if err != nil || err2 != nil || string(plain) != string(code) {
			t.Errorf("elements: other bytes without assembly (%v, %v)", err, err2)
		}
	})
}

// TestDecisionVariants compares single decisions on random states, weights and counters
// beyond what a model reaches included.
func TestDecisionVariants(t *testing.T) {
	if !simd {
		t.Skip("this CPU has no AVX2")
	}
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 2000 {
		n := 4 + 4*(i%2)
		var m [2]mixing
		counters := make([]counter, 8)
		for k := range counters {
			counters[k] = counter(r.Uint32())&^1023 | counter(r.IntN(256))
			for j := range m {
				m[j].w[k] = int32(r.Uint32()) >> r.IntN(32)
			}
		}
		for k := range m[1].fix {
			m[1].fix[k] = r.Int32N(65537)
		}
		rc := rangeCoder{rng: 1<<32 | r.Uint64(), at: r.Uint64(), dec: -int64(i / 2 % 2), out: []byte{1, 2, 3}, in: []byte("abcdefgh")}
		y := 0
		if rc.dec == 0 {
			y = r.IntN(2)
		}
		run := func() string {
			c, m, rc := append([]counter(nil), counters...), m, rc
			rc.out = append([]byte(nil), rc.out...)
			s := site{n: n, sets: [2][]mixing{m[:1], m[1:]}}
			var in [maxInputs]*counter
			for k := range in {
				in[k] = &c[k]
			}
			return fmt.Sprint(s.code(&rc, &in, y, 0, 0), c, m, rc)
		}
		got, want := run(), ""
		portable(func() { want = run() })
		if got != want {
			t.Fatalf("decision %d:\n%s\nwant\n%s", i, got, want)
		}
	}
}

func TestKinVariants(t *testing.T) {
	if !simd {
		t.Skip("this CPU has no AVX2")
	}
	for _, rows := range []int{2, 16, 40, 128, 129, 1200} {
		for _, density := range []float64{.05, .5, 1} {
			const cols = 4
			run := func() (all []int32) {
				r := rand.New(rand.NewPCG(3, 3))
				k := newKin(rows, cols)
				for i := range rows {
					k.row(i)
					for c := range cols {
						p := k.predict(c)
						all = append(all, p)
						if r.Float64() < density {
							k.learn(i, c, int64(p), int32(r.Uint32())>>r.IntN(32)|1)
						}
						all = append(all, int32(k.scale.mean))
					}
				}
				return all
			}
			got := run()
			portable(func() {
				for i, want := range run() {
					if got[i] != want {
						t.Fatalf("%d rows of density %v: number %d is %d, want %d", rows, density, i, got[i], want)
					}
				}
			})
		}
	}
}

func TestLinearVariants(t *testing.T) {
	if !simd {
		t.Skip("this CPU has no AVX2")
	}
	r := rand.New(rand.NewPCG(4, 4))
	for range 2000 {
		l := linear{scale: newScale(64)}
		for i := range l.x {
			l.x[i], l.w[i] = int32(r.Uint32())>>(10+r.IntN(22)), r.Int32N(1<<21+1)-1<<20
		}
		got, want := l, l
		hat, mag, sym := got.predict(0), int32(256+r.IntN(1<<r.IntN(16))), int32(r.Uint32())>>(15+r.IntN(17))
		got.learn(hat, sym, mag)
		portable(func() { want.predict(0); want.learn(hat, sym, mag) })
		if got != want {
			t.Fatalf("%+v: %+v, want %+v", l, got, want)
		}
	}
}
