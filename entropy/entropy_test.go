package entropy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// roundTrip codes blocks and compares what comes back.
func roundTrip(c Coder, blocks []Block) (size int, err error) {
	prefix := []byte("before")
	code, err := c.Append(prefix, blocks)
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(code, prefix) {
		return 0, errors.New("Append changed dst")
	}
	code = code[len(prefix):]
	back := make([]Block, len(blocks))
	for i := range blocks {
		back[i].Dims, back[i].Dependent = blocks[i].Dims, blocks[i].Dependent
	}
	if err := c.Decode(back, code); err != nil {
		return 0, fmt.Errorf("decode: %w", err)
	}
	for i, b := range blocks {
		for k, s := range b.Syms {
			if back[i].Syms[k] != s {
				return 0, fmt.Errorf("block %d symbol %d is %d, want %d", i, k, back[i].Syms[k], s)
			}
		}
	}
	return len(code), nil
}

// random makes a block of the given density whose magnitudes have mean about scale.
func random(seed uint64, d Dims, density, scale float64) Block {
	r := rand.New(rand.NewPCG(seed, 1))
	b := Block{Dims: d, Syms: make([]int32, d.Len())}
	for i := range b.Syms {
		if r.Float64() < density {
			b.Syms[i] = int32(math.Round(r.NormFloat64() * scale))
		}
	}
	return b
}

// dependent makes a block of the levels that a dependent quantiser gives normal values, each the nearest
// of its scale.
func dependent(seed uint64, d Dims, scale float64) Block {
	r := rand.New(rand.NewPCG(seed, 1))
	b := Block{Dims: d, Syms: make([]int32, d.Len()), Dependent: true}
	state := 0
	for i := range b.Syms {
		if i%(d.Len()/d.Rows) == 0 {
			state = 0
		}
		x := 2 * scale * r.NormFloat64()
		off := math.MaxFloat64
		for k := int32(-20); k <= 20; k++ {
			if e := math.Abs(float64(LevelValue(state, k)) - x); e < off {
				b.Syms[i], off = k, e
			}
		}
		state = NextState(state, b.Syms[i])
	}
	return b
}

var extremes = []int32{math.MinInt32, math.MaxInt32, 0, -1, 1, math.MinInt32 + 1, 1 << 15, -1 << 15, 65536}

// samples are blocks of all kinds, small.
func samples() map[string][]Block {
	m := map[string][]Block{
		"none":       nil,
		"empty":      {{Dims: Dims{0, 3, 1, 1}}, {Dims: Dims{1 << 40, 0, 1, 1}}},
		"one":        {{Dims: Dims{1, 1, 1, 1}, Syms: []int32{-7}}},
		"extremes":   {{Dims: Dims{3, 3, 1, 1}, Syms: extremes}},
		"zeros":      {{Dims: Dims{50, 200, 1, 1}, Syms: make([]int32, 10000)}},
		"constant":   {{Dims: Dims{1, 5, 1, 1}, Syms: []int32{9, 9, 9, 9, 9}}},
		"sparse":     {random(1, Dims{40, 300, 1, 1}, .05, 3)},
		"kernel 3x3": {random(2, Dims{8, 16, 3, 3}, .3, 2), random(3, Dims{8, 1, 1, 1}, 1, 9)},
		"kernel 1x7": {random(4, Dims{4, 5, 1, 7}, .5, 100)},
		"large map":  {random(5, Dims{2, 1, 300, 300}, .01, 2)},
		"8 bits":     {random(6, Dims{30, 64, 1, 1}, 1, 40)},
		"16 bits":    {random(7, Dims{30, 64, 1, 1}, 1, 5000)},
		"dependent":  {dependent(12, Dims{40, 50, 1, 1}, 1.5), random(13, Dims{40, 1, 1, 1}, 1, 9), dependent(14, Dims{8, 12, 3, 3}, 0.7)},
		"chain":      {random(8, Dims{20, 30, 1, 1}, .1, 2), random(9, Dims{20, 1, 1, 1}, .5, 2), random(10, Dims{10, 20, 1, 1}, .2, 2)},
	}
	image := Block{Dims: Dims{20, 144, 1, 1}, Syms: make([]int32, 20*144)} // 12 x 12 pixels, dark borders
	r := rand.New(rand.NewPCG(11, 1))
	for i := range image.Syms {
		if x, y := i%12, i%144/12; x > 3 && x < 8 && y > 3 && y < 8 {
			image.Syms[i] = r.Int32N(5) - 2
		}
	}
	m["image"] = []Block{image}
	return m
}

func TestRoundTrip(t *testing.T) {
	for _, c := range Coders() {
		for name, blocks := range samples() {
			t.Run(c.Name()+"/"+name, func(t *testing.T) {
				if _, err := roundTrip(c, blocks); err != nil && !errors.Is(err, ErrUnsuited) {
					t.Error(err)
				}
			})
		}
	}
}

func TestRoundTripProperty(t *testing.T) {
	for _, c := range Coders() {
		t.Run(c.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var blocks []Block
				for range rapid.IntRange(0, 3).Draw(t, "blocks") {
					d := Dims{rapid.IntRange(0, 6).Draw(t, "rows"), rapid.IntRange(0, 20).Draw(t, "c"), rapid.IntRange(1, 3).Draw(t, "h"), rapid.IntRange(1, 3).Draw(t, "w")}
					sym := rapid.OneOf(rapid.Just(int32(0)), rapid.Int32Range(-3, 3), rapid.Int32())
					blocks = append(blocks, Block{Dims: d, Syms: rapid.SliceOfN(sym, d.Len(), d.Len()).Draw(t, "syms"), Dependent: rapid.Bool().Draw(t, "dependent")})
				}
				if _, err := roundTrip(c, blocks); err != nil && !(errors.Is(err, ErrUnsuited) && c == (RANS{})) {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestCodesAreFixed holds the bytes of the codes: a change of any is a change of the
// format.
func TestCodesAreFixed(t *testing.T) {
	blocks := append(samples()["chain"], samples()["image"]...)
	blocks = append(blocks, samples()["kernel 3x3"]...)
	blocks = append(blocks, samples()["extremes"]...)
	got := ""
	for _, c := range Coders() {
		blocks := blocks
		if c == (RANS{}) {
			blocks = blocks[:len(blocks)-1]
		}
		code, err := c.Append(nil, blocks)
		if err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintf("%s %d %08x\n", c.Name(), len(code), crc32.ChecksumIEEE(code))
	}
	code, err := Context{}.Append(nil, samples()["dependent"])
	if err != nil {
		t.Fatal(err)
	}
	got += fmt.Sprintf("dependent %d %08x\n", len(code), crc32.ChecksumIEEE(code))
	for _, fast := range []bool{true, false} {
		code, err := AppendElements(nil, elementSamples(), fast)
		if err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintf("elements %v %d %08x\n", fast, len(code), crc32.ChecksumIEEE(code))
	}
	const want = `raw 2113 719af411
huffman 906 f89c7fa5
relative 610 c8476be4
rans 590 7992950e
context 486 b40edec7
dependent 969 bf79ceb2
elements true 20225 93d79478
elements false 20098 1c0abaef
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTables(t *testing.T) {
	for i := -logitMax; i <= logitMax; i++ {
		x := float64(i) / 256
		if want := 65536 / (1 + math.Exp(-x)); math.Abs(float64(squashTab[i+zeroLogit])-want) > 1 {
			t.Fatalf("squash(%v) is %d, want %v", x, squashTab[i+zeroLogit], want)
		}
	}
	for i := range stretchTab {
		p := (16*float64(i) + 8) / 65536
		// One step of squash may cover several logits where it is flat.
		if want := 256 * math.Log(p/(1-p)); math.Abs(float64(stretchTab[i])-want) > 40 {
			t.Fatalf("stretch(%v) is %d, want %v", p, stretchTab[i], want)
		}
	}
}

func TestContextIsSmallest(t *testing.T) {
	for _, name := range []string{"sparse", "image", "kernel 3x3", "8 bits"} {
		blocks := samples()[name]
		best := math.MaxInt
		for _, c := range []Coder{Raw{}, Huffman{}, Relative{}} {
			n, err := roundTrip(c, blocks)
			if err != nil {
				t.Fatal(err)
			}
			best = min(best, n)
		}
		n, err := roundTrip(Context{}, blocks)
		if err != nil || n > best {
			t.Errorf("%s: %d bytes against %d (%v)", name, n, best, err)
		}
	}
}

// TestNothingExpands holds what no model can code, and little of it, to the bytes that
// it fills and a few; and what is all the same to a few.
func TestNothingExpands(t *testing.T) {
	r := rand.New(rand.NewPCG(30, 1))
	for n := 1; n <= 200; n += 1 + n/4 {
		fill := func(f func() int32) []Block {
			b := Block{Dims: Dims{n, 1, 1, 1}, Syms: make([]int32, n)}
			for i := range b.Syms {
				b.Syms[i] = f()
			}
			return []Block{b}
		}
		seven := r.Int32N(256) - 128
		for _, c := range []struct {
			name string
			f    func() int32
			most int
		}{
			{"int8", func() int32 { return int32(int8(r.Uint32())) }, n + 2},
			{"uint8", func() int32 { return int32(uint8(r.Uint32())) }, n + 3},
			{"int16", func() int32 { return int32(int16(r.Uint32())) }, 2*n + 3},
			{"int32", func() int32 { return int32(r.Uint32()) }, 4*n + 6},
			{"4 bits", func() int32 { return r.Int32N(16) - 8 }, n/2 + 3},
			{"equal", func() int32 { return seven }, 3},
		} {
			blocks, least := fill(c.f), math.MaxInt
			for _, coder := range Coders() {
				k, err := roundTrip(coder, blocks)
				if errors.Is(err, ErrUnsuited) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				least = min(least, k)
			}
			if least > c.most {
				t.Errorf("%d symbols, %s: %d bytes", n, c.name, least)
			}
		}
		for _, size := range []int{1, 4, 8} {
			e := Elements{Size: size, Cols: 1, N: n, Data: make([]byte, n*size)}
			for i := range e.Data {
				e.Data[i] = byte(r.Uint32())
			}
			code, err := AppendElements(nil, []Elements{e}, false)
			if err != nil || len(code) > n*size+6 {
				t.Errorf("%d elements of %d bytes: %d bytes (%v)", n, size, len(code), err)
			}
		}
	}
}

// TestDeadUnits: columns that read dead rows of the matrix before cost less than others
// that are as dead.
func TestDeadUnits(t *testing.T) {
	size := func(shift int) int {
		first, second := random(20, Dims{200, 40, 1, 1}, .1, 3), random(21, Dims{30, 200 * 4, 1, 1}, .1, 3)
		for i := range first.Syms {
			if i/40*7%13 < 6 {
				first.Syms[i] = 0
			}
		}
		for i := range second.Syms {
			if (i%800/4+shift)*7%13 < 6 {
				second.Syms[i] = 0
			}
		}
		n, err := roundTrip(Context{}, []Block{first, second})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if same, other := size(0), size(3); same > other*98/100 {
		t.Errorf("%d bytes, %d where other columns are dead", same, other)
	}
}

// TestLengths codes blocks of which each begins its lengths elsewhere.
func TestLengths(t *testing.T) {
	for bits := range 31 {
		b := random(uint64(bits), Dims{9, 16, 1, 1}, .9, float64(int64(1)<<bits)/3)
		b.Syms[7] = math.MinInt32
		if _, err := roundTrip(Context{}, []Block{b, random(1, Dims{9, 9, 1, 1}, .5, 2), b}); err != nil {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

func TestFindLags(t *testing.T) {
	if first, _ := findLags(samples()["image"][0], 144); first != 12 {
		t.Errorf("distance %d in images of 12 columns", first)
	}
	if first, second := findLags(random(1, Dims{100, 200, 1, 1}, .1, 3), 200); first != 0 || second != 0 {
		t.Errorf("distances %d and %d in noise", first, second)
	}
}

func TestLongCodesAreLimited(t *testing.T) {
	freq := make([]uint64, 60) // Fibonacci numbers give the deepest tree
	freq[0], freq[1] = 1, 1
	for i := 2; i < len(freq); i++ {
		freq[i] = freq[i-1] + freq[i-2]
	}
	kraft := 0.0
	for _, l := range codeLengths(freq) {
		if l > maxCode {
			t.Fatalf("length %d", l)
		}
		kraft += math.Ldexp(1, -int(l))
	}
	if kraft != 1 {
		t.Errorf("Kraft sum %v", kraft)
	}
}

func TestTooManySymbolsForHuffman(t *testing.T) {
	b := Block{Dims: Dims{1, 70000, 1, 1}, Syms: make([]int32, 70000)}
	for i := range b.Syms {
		b.Syms[i] = int32(i) * 1000
	}
	for _, c := range []Coder{Huffman{}, Relative{}, RANS{}} {
		if _, err := c.Append(nil, []Block{b}); !errors.Is(err, ErrUnsuited) {
			t.Errorf("%s: %v", c.Name(), err)
		}
	}
}

func TestAppendChecksBlocks(t *testing.T) {
	for _, c := range Coders() {
		if _, err := c.Append(nil, []Block{{Dims: Dims{2, 2, 1, 1}, Syms: make([]int32, 3)}}); err == nil {
			t.Errorf("%s takes 3 symbols for 2 x 2", c.Name())
		}
	}
}

func TestDecodeBoundsAllocation(t *testing.T) {
	for _, c := range Coders() {
		for _, d := range []Dims{{1 << 30, 1, 1, 1}, {1 << 40, 1 << 40, 1, 1}, {-1, 1, 1, 1}, {1 << 20, 1 << 20, 1 << 20, 1 << 20}} {
			if err := c.Decode([]Block{{Dims: d}}, make([]byte, 100)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %+v from 100 bytes: %v", c.Name(), d, err)
			}
		}
	}
	for _, fast := range []bool{true, false} {
		if err := DecodeElements([]Elements{{Size: 4, Cols: 1, N: 1 << 40}}, make([]byte, 100), fast); !errors.Is(err, ErrCorrupt) {
			t.Errorf("elements: %v", err)
		}
	}
}

// TestDamage decodes every cut and many flips: an error or symbols, never a panic.
func TestDamage(t *testing.T) {
	for _, c := range Coders() {
		t.Run(c.Name(), func(t *testing.T) {
			blocks := samples()["chain"]
			code, err := c.Append(nil, blocks)
			if err != nil {
				t.Fatal(err)
			}
			try := func(b []byte) {
				back := make([]Block, len(blocks))
				for i := range back {
					back[i].Dims, back[i].Dependent = blocks[i].Dims, blocks[i].Dependent
				}
				if err := c.Decode(back, b); err != nil && !errors.Is(err, ErrCorrupt) {
					t.Fatalf("error is %v", err)
				}
			}
			for n := range code {
				try(code[:n])
			}
			for i := range 8 * len(code) {
				b := bytes.Clone(code)
				b[i/8] ^= 1 << (i % 8)
				try(b)
			}
		})
	}
}

func elementSamples() []Elements {
	r := rand.New(rand.NewPCG(5, 5))
	var f32, f64, i64 []byte
	for range 6000 {
		f32 = binary.LittleEndian.AppendUint32(f32, math.Float32bits(float32(r.NormFloat64())))
	}
	for _, x := range []float64{0, math.Copysign(0, -1), math.Inf(-1), math.NaN(), 1e-310, 3} {
		f64 = binary.LittleEndian.AppendUint64(f64, math.Float64bits(x))
		i64 = binary.LittleEndian.AppendUint64(i64, uint64(int64(x*7)))
	}
	return []Elements{
		{Size: 4, Float: true, Cols: 100, N: 6000, Data: f32},
		{Size: 8, Float: true, Cols: 1, N: 6, Data: f64},
		{Size: 8, Cols: 3, N: 3, Data: []byte("a b c d e f g h i j k l ")},
		{Size: 2, Float: true, Cols: 4, N: 4, Data: []byte{0, 0x3c, 1, 0xbc, 0, 0x80, 0xff, 0xff}},
		{Size: 1, Cols: 10, N: 3, Data: []byte{1, 2, 3}},
		{Size: 4, Cols: 1},
		{Size: 1, Cols: 9, N: 200000, Data: make([]byte, 200000)},
	}
}

func TestElements(t *testing.T) {
	in := elementSamples()
	for _, fast := range []bool{true, false} {
		code, err := AppendElements([]byte("x"), in, fast)
		if err != nil {
			t.Fatal(err)
		}
		code = code[1:]
		back := make([]Elements, len(in))
		blank := func() {
			copy(back, in)
			for i := range back {
				back[i].Data = nil
			}
		}
		blank()
		if err := DecodeElements(back, code, fast); err != nil {
			t.Fatal(err)
		}
		for i := range in {
			if !bytes.Equal(in[i].Data, back[i].Data) {
				t.Errorf("fast %v: array %d differs", fast, i)
			}
		}
		for n := 0; n < len(code); n += 97 {
			blank()
			if err := DecodeElements(back, code[:n], fast); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
	}
	if _, err := AppendElements(nil, []Elements{{Size: 3, Cols: 1}}, true); err == nil {
		t.Error("elements of 3 bytes")
	}
}

func TestElementsShrink(t *testing.T) {
	e := elementSamples()[:1]
	small, err := AppendElements(nil, e, false)
	if err != nil {
		t.Fatal(err)
	}
	fast, err := AppendElements(nil, e, true)
	if err != nil || len(small) > len(fast) || len(fast) > len(e[0].Data)*95/100 {
		t.Errorf("%d bytes of normal floats take %d and %d (%v)", len(e[0].Data), len(small), len(fast), err)
	}
}

// fuzzBlocks reads two blocks' dimensions from the first bytes of data; the rest is code.
func fuzzBlocks(data []byte) ([]Block, []byte) {
	if len(data) < 6 {
		return nil, data
	}
	return []Block{
		{Dims: Dims{int(data[0]), int(data[1]), 1 + int(data[2]%4), 1 + int(data[3]%4)}, Dependent: data[2]&4 != 0},
		{Dims: Dims{int(data[4]), int(data[5]), 1, 1}},
	}, data[6:]
}

func fuzzDecode(f *testing.F, c Coder) {
	for _, name := range []string{"chain", "one", "extremes", "zeros", "dependent", "8 bits"} {
		blocks := samples()[name]
		code, _ := c.Append(nil, blocks[:1])
		dependent := byte(0)
		if blocks[0].Dependent {
			dependent = 4
		}
		f.Add(append([]byte{byte(blocks[0].Rows), byte(blocks[0].C), dependent, 0, 0, 0}, code...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks, code := fuzzBlocks(data)
		if err := c.Decode(blocks, code); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if _, err := roundTrip(c, blocks); err != nil && !errors.Is(err, ErrUnsuited) {
			t.Fatal(err)
		}
	})
}

func FuzzRaw(f *testing.F)      { fuzzDecode(f, Raw{}) }
func FuzzHuffman(f *testing.F)  { fuzzDecode(f, Huffman{}) }
func FuzzRelative(f *testing.F) { fuzzDecode(f, Relative{}) }
func FuzzRANS(f *testing.F)     { fuzzDecode(f, RANS{}) }
func FuzzContext(f *testing.F)  { fuzzDecode(f, Context{}) }

func FuzzElements(f *testing.F) {
	code, _ := AppendElements(nil, elementSamples()[1:5], false)
	f.Add(byte(3), uint16(6), false, code)
	f.Add(byte(2), uint16(100), true, []byte("xyz"))
	f.Fuzz(func(t *testing.T, size byte, n uint16, fast bool, code []byte) {
		e := []Elements{{Size: 1 << (size % 4), Float: size%8 > 3, Cols: 1 + int(n)%7, N: int(n)}}
		if err := DecodeElements(e, code, fast); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := AppendElements(nil, e, fast)
		if err != nil {
			t.Fatal(err)
		}
		data := e[0].Data
		if err := DecodeElements(e, again, fast); err != nil || !bytes.Equal(data, e[0].Data) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}

func Benchmark(b *testing.B) {
	blocks := []Block{random(1, Dims{500, 800, 1, 1}, .1, 3)}
	for _, c := range Coders() {
		code, err := c.Append(nil, blocks)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.Name()+"/encode", func(b *testing.B) {
			b.SetBytes(int64(len(blocks[0].Syms)))
			for b.Loop() {
				c.Append(code[:0], blocks)
			}
		})
		b.Run(c.Name()+"/decode", func(b *testing.B) {
			b.SetBytes(int64(len(blocks[0].Syms)))
			for b.Loop() {
				if err := c.Decode([]Block{{Dims: blocks[0].Dims}}, code); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A sparse matrix of small levels.
func ExampleContext() {
	b := Block{Dims: Dims{2, 8, 1, 1}, Syms: []int32{0, 0, 1, 0, 0, 0, -2, 0, 0, 0, 1, 0, 0, 0, -1, 0}}
	code, _ := Context{}.Append(nil, []Block{b})
	back := []Block{{Dims: b.Dims}}
	err := Context{}.Decode(back, code)
	fmt.Println(len(code), "bytes:", back[0].Syms, err)
	// Output: 4 bytes: [0 0 1 0 0 0 -2 0 0 0 1 0 0 0 -1 0] <nil>
}
