package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"whit/tensor"
)

// bound is what reading n bytes may allocate, all together, freed or not.
func bound(n int) uint64 { return 256*uint64(n) + 32<<20 }

// allocated is what f allocates in bytes.
func allocated(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

// FuzzRead wants a graph that verifies or an error, and bounded memory. What reads
// must be written, and read again.
func FuzzRead(f *testing.F) {
	f.Add(ifModel())
	x, y := pIn("x", f32, "N", 4, 6, 6), pOut("y", f32)
	f.Add(pModel(7, x, y, pNode("Clip", ss("x"), ss("a"), pAttr("min", float32(0))), pNode("Softmax", ss("a"), ss("y"))))
	f.Add(pModel(9, x, y, pInit("s", tensor.From([]float32{1, 1, 2, 2}, 4)), pNode("Upsample", ss("x", "s"), ss("y"), pAttr("mode", "linear"))))
	f.Add(pModelWith(18, []field{fMsg(25, fStr(1, "f"), fStr(4, "p"), fStr(5, "o"), fMsg(7, fStr(1, "p"), fStr(2, "o"), fStr(4, "Relu")), fMsg(9, fInt(2, 18)))},
		x, y, pNode("f", ss("x"), ss("y"))))
	f.Add(pModel(17, y, external("w", "w.bin", 0, 8), pNode("Relu", ss("w"), ss("y"))))
	files, _ := filepath.Glob("testdata/*.onnx")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ReadBytes(b, Options{})
		if err != nil {
			if s := err.Error(); len(s) > 4096 || strings.Contains(s, "\n") {
				t.Errorf("error is not one line: %q", s)
			}
			return
		}
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
		var w bytes.Buffer
		if err := Write(&w, g); err != nil {
			return // whit's own domain, for one
		}
		h, err := ReadBytes(w.Bytes(), Options{})
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, g)
		}
		var v bytes.Buffer
		if err := Write(&v, h); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(w.Bytes(), v.Bytes()) {
			t.Fatalf("writing is not stable:\n%s\n%s", g, h)
		}
	})
}

// TestBoundedAllocation reads models made of as many of one small thing as fit.
func TestBoundedAllocation(t *testing.T) {
	many := func(n int, one func(i int, r *rope)) []byte {
		r := &rope{}
		for i := range n {
			one(i, r)
		}
		return flat(build1(fInt(1, 8), fMsg(8, fInt(2, 17)), func(m *rope) { m.msg(7, r) }))
	}
	name := func(i int) string { return string([]byte{byte('!' + i%90), byte('!' + i/90%90), byte('!' + i/8100)}) }
	const n = 30_000
	nested := &rope{}
	nested.msg(1, build1(fStr(1, "c"), fStr(4, "If"), pBody("then_branch", pNode("A", ss("a", "b", "d"), ss("e")), pOut("e", f32)), pBody("else_branch", pNode("A", ss("a", "b", "d"), ss("e")), pOut("e", f32))))
	chain := func(fan, depth int) []byte {
		var fs []field
		for i := range depth {
			var body []field
			for k := range fan {
				body = append(body, fMsg(7, fStr(1, "p"), fStr(2, name(k)), fStr(4, name(i+1))))
			}
			fs = append(fs, fMsg(25, append(body, fStr(1, name(i)), fStr(4, "p"), fStr(5, name(0)), fMsg(9, fInt(2, 17)))...))
		}
		return pModelWith(17, fs, pIn("x", f32, 2), pOut("y", f32), pNode(name(0), ss("x"), ss("y")))
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"empty nodes", many(n, func(_ int, r *rope) { r.header(1, 0) })},
		{"small nodes", many(n, func(_ int, r *rope) { r.add([]byte{0x0a, 3, 0x22, 1, 'A'}) })},
		{"nodes with outputs", many(n, func(i int, r *rope) { r.msg(1, build1(fStr(2, name(i)), fStr(4, "A"))) })},
		{"initialisers", many(n, func(i int, r *rope) { r.msg(5, build1(fStr(8, name(i)))) })},
		{"inputs", many(n, func(i int, r *rope) { r.msg(11, build1(fStr(1, name(i)), fMsg(2, fMsg(1, fInt(1, 1))))) })},
		{"dimensions", many(n, func(i int, r *rope) { r.msg(13, build1(fMsg(2, fMsg(1, fMsg(2, fMsg(1)))))) })},
		{"attributes", many(1, func(_ int, r *rope) {
			node := build1(fStr(4, "A"))
			for i := range n {
				node.msg(5, build1(fStr(1, name(i)), fInt(20, 2)))
			}
			r.msg(1, node)
		})},
		{"one attribute of integers", many(1, func(_ int, r *rope) {
			r.msg(1, build1(fStr(4, "A"), fMsg(5, fStr(1, "a"), fInt(20, 7), func(m *rope) { m.header(8, n); m.add(make([]byte, n)) })))
		})},
		{"strings", many(1, func(_ int, r *rope) {
			a := build1(fStr(1, "a"), fInt(20, 8))
			for range n {
				a.header(9, 0)
			}
			node := build1(fStr(4, "A"))
			node.msg(5, a)
			r.msg(1, node)
		})},
		{"absent inputs", many(1, func(_ int, r *rope) {
			node := build1(fStr(4, "A"))
			for range n {
				node.header(1, 0)
			}
			r.msg(1, node)
		})},
		{"wide tensors", many(n/10, func(i int, r *rope) { r.msg(5, build1(fInt(1, 1<<40), fInt(2, 1), fStr(8, name(i)))) })},
		{"bodies", many(n/100, func(i int, r *rope) {
			if i == 0 {
				for _, s := range ss("a", "b", "c", "d") {
					pIn(s, f32)(r)
				}
			}
			r.add(flat(nested))
		})},
		{"functions", chain(8, 10)},
		{"upgrades", many(n/10, func(i int, r *rope) {
			if i == 0 {
				pIn("x", f32, 1, 2, 3)(r)
			}
			pNode("GroupNormalization", ss("x", "x", "x"), ss(name(i)), pAttr("num_groups", int64(1)))(r)
		})},
		{"unknown fields", many(n, func(_ int, r *rope) {
			r.add(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, read := range map[string]func(){
				"memory": func() { ReadBytes(c.b, Options{}) },
				"file":   func() { Read(bytes.NewReader(c.b), int64(len(c.b)), Options{}) },
			} {
				if got := allocated(read); got > bound(len(c.b)) {
					t.Errorf("%s: %d bytes allocated %d, %d a byte", how, len(c.b), got, got/uint64(len(c.b)))
				} else {
					t.Logf("%s: %d bytes allocated %d, %d a byte", how, len(c.b), got, got/uint64(len(c.b)))
				}
			}
		})
	}
}
