package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"whit/graph"
	"whit/tensor"
)

// roundTrip writes g and reads it back.
func roundTrip(t *testing.T, g *graph.Graph) *graph.Graph {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, g); err != nil {
		t.Fatal(err)
	}
	h := mustRead(t, b.Bytes())
	var c bytes.Buffer
	if err := Write(&c, h); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), c.Bytes()) {
		t.Error("writing what was read gives other bytes")
	}
	return h
}

// ifModel captures an input, a computed value and an initialiser, which it shares
// with a node outside; the branches use the same names.
func ifModel() []byte {
	w := tensor.From([]float32{1, 2}, 2)
	branch := func(op string, read ...string) []field {
		return []field{fStr(2, "branch"), pNode(op, read, ss("r")), pOut("r", f32)}
	}
	return pModel(17, pIn("c", tensor.Bool), pIn("x", f32, "N", 2), pInit("w", w), pOut("y", f32, "N", 2),
		pNode("Relu", ss("x"), ss("a")),
		pNode("Add", ss("a", "w"), ss("b")),
		pNode("If", ss("c"), ss("y"), pBody("else_branch", branch("Mul", "x", "w")...), pBody("then_branch", branch("Sub", "b", "w")...)))
}

func TestGolden(t *testing.T) {
	inner := []field{fStr(2, "inner"), pNode("Neg", ss("a"), ss("n")), pOut("n", f32)}
	direct := []field{fStr(2, "direct"), pOut("a", f32)}
	fn := fMsg(25, fStr(1, "F"), fStr(10, "mine"), fStr(4, "p"), fStr(4, "q"), fStr(5, "o"), fStr(5, "p2"), fStr(6, "alpha"),
		func(r *rope) {
			n := &rope{}
			n.str(1, "p")
			n.str(2, "t")
			n.str(4, "LeakyRelu")
			n.msg(5, build1(fStr(1, "alpha"), fStr(21, "alpha"), fInt(20, attrFloat)))
			r.msg(7, n)
		},
		fMsg(7, fStr(1, "t"), fStr(1, "q"), fStr(2, "o"), fStr(4, "Clip")),
		fMsg(7, fStr(1, "p"), fStr(2, "p2"), fStr(4, "Identity")),
		fMsg(9, fInt(2, 18)))
	for name, b := range map[string][]byte{
		"if": ifModel(),
		"nested": pModel(17, pIn("c", tensor.Bool), pIn("x", f32, 2), pOut("y", f32),
			pNode("Relu", ss("x"), ss("a")),
			pNode("If", ss("c"), ss("y"), pBody("else_branch", direct...),
				pBody("then_branch", fStr(2, "mid"), pNode("If", ss("c"), ss("m"), pBody("then_branch", inner...), pBody("else_branch", inner...)), pOut("m", f32)))),
		"loop": pModel(17, pIn("n", tensor.Int64), pIn("x", f32, 2), pInit("w", tensor.From([]float32{1, 2}, 2)), pOut("y", f32), pOut("s", f32),
			pNode("Loop", ss("n", "", "x"), ss("y", "s"), pBody("body", fStr(2, "b"),
				pIn("i", tensor.Int64), pIn("k", tensor.Bool), pIn("v", f32), pOut("k2", tensor.Bool), pOut("v2", f32), pOut("v2", f32),
				pNode("Identity", ss("k"), ss("k2")), pNode("Add", ss("v", "x"), ss("t")), pNode("Mul", ss("t", "w"), ss("v2"))))),
		"function": pModelWith(17, []field{fn, fMsg(8, fStr(1, "mine"), fInt(2, 1))},
			pIn("x", f32, 2), pOut("y", f32), pOut("x2", f32), pOut("z", f32),
			pNode("F", ss("x"), ss("y", "x2"), fStr(7, "mine"), pAttr("alpha", float32(0.5))),
			pNode("F", ss("y", "x"), ss("z"), fStr(7, "mine"))),
		"constants": pModel(17, pIn("x", f32, 2), pIn("w", f32, 2), pInit("w", tensor.From([]float32{1, 2}, 2)), pInit("unused", tensor.New(f32, 3)),
			pOut("y", f32), pOut("k", tensor.Int64), pOut("w", f32),
			pNode("Constant", nil, ss("k"), pAttr("value_ints", []int64{1, 2})),
			pNode("Constant", nil, ss("f"), pAttr("value_float", float32(3))),
			pNode("Add", ss("x", "w"), ss("a")), pNode("Mul", ss("a", "f"), ss("y"))),
		"unsorted": pModel(17, pIn("x", f32, 2), pOut("y", f32),
			pNode("Neg", ss("b"), ss("y")), pNode("Abs", ss("a"), ss("b")), pNode("Relu", ss("x"), ss("a"))),
	} {
		t.Run(name, func(t *testing.T) {
			g := mustRead(t, b)
			golden(t, name, g.String()+bodies(g))
			h := roundTrip(t, g)
			if d := cmp.Diff(shapeOf(g), shapeOf(h)); d != "" {
				t.Errorf("read back (-written +read):\n%s", d)
			}
		})
	}
}

// bodies is the text of all bodies.
func bodies(g *graph.Graph) string {
	var s strings.Builder
	for _, n := range g.Nodes {
		for _, b := range n.Bodies() {
			fmt.Fprintf(&s, "body of %s: %s%s", n.Name, b, bodies(b))
		}
	}
	return s.String()
}

// shapeOf is the structure without the names that reading makes for inner values.
func shapeOf(g *graph.Graph) (ops []string) {
	for _, n := range g.Nodes {
		if n.Op == "Identity" {
			continue // the writer puts some before outputs that are not computed
		}
		ops = append(ops, fmt.Sprintf("%s %d %d", n.OpName(), len(n.In), len(n.Out)))
		for _, b := range n.Bodies() {
			ops = append(ops, fmt.Sprintf("body %d %d", len(b.Inputs), len(b.Outputs)))
			ops = append(ops, shapeOf(b)...)
		}
	}
	return ops
}

func TestSharedInitialiser(t *testing.T) {
	g := mustRead(t, ifModel())
	n := g.Nodes[2]
	outer := g.Nodes[1].In[1]
	for _, b := range n.Bodies() {
		inner := b.Nodes[0].In[1]
		if inner == outer || !inner.IsConst() || inner.Data != outer.Data {
			t.Errorf("%s: the constant is not a copy that shares its data", b.Name)
		}
	}
	var buf bytes.Buffer
	if err := Write(&buf, g); err != nil {
		t.Fatal(err)
	}
	if k := bytes.Count(buf.Bytes(), outer.Data.Bytes()); k != 1 {
		t.Errorf("the data are written %d times", k)
	}
}

// TestTypedData reads every element type from raw bytes and from its typed field,
// packed and not.
func TestTypedData(t *testing.T) {
	packed := func(num protowire.Number, b []byte) field {
		return func(r *rope) { r.header(num, len(b)); r.add(b) }
	}
	varints := func(num protowire.Number, pack bool, v ...int64) field {
		return func(r *rope) {
			var b []byte
			for _, x := range v {
				if pack {
					b = protowire.AppendVarint(b, uint64(x))
				} else {
					r.int(num, x)
				}
			}
			if pack {
				packed(num, b)(r)
			}
		}
	}
	le := func(v any) []byte {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	fixed := func(num protowire.Number, size int, raw []byte) field {
		return func(r *rope) {
			for ; len(raw) > 0; raw = raw[size:] {
				if size == 4 {
					r.add(protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), binary.LittleEndian.Uint32(raw)))
				} else {
					r.add(protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), binary.LittleEndian.Uint64(raw)))
				}
			}
		}
	}
	f32s := le([]float32{1, float32(math.Inf(-1)), 3})
	f64s := le([]float64{1, math.Inf(1), 3})
	cases := []struct {
		name string
		d    tensor.DType
		n    int
		data field
		want []byte
	}{
		{"float packed", tensor.Float32, 3, packed(4, f32s), f32s},
		{"float one by one", tensor.Float32, 3, fixed(4, 4, f32s), f32s},
		{"double packed", tensor.Float64, 3, packed(10, f64s), f64s},
		{"double one by one", tensor.Float64, 3, fixed(10, 8, f64s), f64s},
		{"raw", tensor.Float64, 3, packed(9, f64s), f64s},
		{"int8", tensor.Int8, 3, varints(5, true, 1, -2, 127), []byte{1, 0xfe, 127}},
		{"uint8", tensor.Uint8, 2, varints(5, false, 1, 255), []byte{1, 255}},
		{"int16", tensor.Int16, 2, varints(5, true, -2, 300), le([]int16{-2, 300})},
		{"uint16", tensor.Uint16, 2, varints(5, true, 65535, 300), le([]uint16{65535, 300})},
		{"int32", tensor.Int32, 2, varints(5, false, -2, 1<<30), le([]int32{-2, 1 << 30})},
		{"int64", tensor.Int64, 2, varints(7, true, -2, 1<<40), le([]int64{-2, 1 << 40})},
		{"uint32", tensor.Uint32, 2, varints(11, true, 2, 1<<31), le([]uint32{2, 1 << 31})},
		{"uint64", tensor.Uint64, 2, varints(11, false, 2, -1), le([]uint64{2, math.MaxUint64})},
		{"float16", tensor.Float16, 2, varints(5, true, 0x3c00, 0xfc00), le([]uint16{0x3c00, 0xfc00})},
		{"bfloat16", tensor.BFloat16, 2, varints(5, true, 0x3f80, 0xff80), le([]uint16{0x3f80, 0xff80})},
		{"bool", tensor.Bool, 3, varints(5, true, 1, 0, 256), []byte{1, 0, 1}},
		{"bool raw", tensor.Bool, 3, packed(9, []byte{2, 0, 255}), []byte{1, 0, 1}},
		{"int4", tensor.Int4, 3, varints(5, true, 0x21, 0x03), []byte{0x21, 0x03}},
		{"uint2 raw", tensor.Uint2, 5, packed(9, []byte{0xe4, 1}), []byte{0xe4, 1}},
		{"float8", tensor.Float8E4M3FN, 2, varints(5, true, 0x38, 0xb8), []byte{0x38, 0xb8}},
		{"empty", tensor.Float32, 0, func(*rope) {}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tp := fMsg(5, fInt(1, int64(c.n)), fInt(2, c.d.ONNX()), fStr(8, "w"), c.data)
			b := pModel(Opset, pOut("y", c.d), tp, pNode("Identity", ss("w"), ss("y")))
			for how, read := range map[string]func() (*graph.Graph, error){
				"memory": func() (*graph.Graph, error) { return ReadBytes(b, Options{}) },
				"file":   func() (*graph.Graph, error) { return Read(bytes.NewReader(b), int64(len(b)), Options{}) },
			} {
				g, err := read()
				if err != nil {
					t.Fatal(how, err)
				}
				if got := g.Nodes[0].In[0].Data; got.DType != c.d || !bytes.Equal(got.Bytes(), c.want) {
					t.Errorf("%s: got %v % x, want % x", how, got.Type, got.Bytes(), c.want)
				}
			}
		})
	}
}

// TestAlignment reads a tensor at every alignment; what is not aligned is copied.
func TestAlignment(t *testing.T) {
	w := tensor.From([]float64{1, 2, 3}, 3)
	for pad := range 16 {
		b := pModel(17, fStr(10, strings.Repeat("d", pad+1)), pInit("w", w), pOut("y", tensor.Float64), pNode("Neg", ss("w"), ss("y")))
		g := mustRead(t, b)
		got := g.Nodes[0].In[0].Data
		if d := cmp.Diff(tensor.Of[float64](w), tensor.Of[float64](got)); d != "" {
			t.Error(d)
		}
	}
}

func TestMetaAndDims(t *testing.T) {
	meta := func(k, v string) field { return fMsg(14, fStr(1, k), fStr(2, v)) }
	b := pModelWith(17, []field{meta("whit.card", "card: 1\n"), meta("author", "me"), fStr(6, "what it is")},
		pIn("x", f32, "batch", 3, ""), pOut("y", f32, "batch", 3, ""), pNode("Relu", ss("x"), ss("y")))
	g := roundTrip(t, mustRead(t, b))
	if g.Meta["whit.card"] != "card: 1\n" || g.Meta["author"] != "me" || g.Doc != "what it is" {
		t.Errorf("got %v %q", g.Meta, g.Doc)
	}
	if s := g.Inputs[0].Decl.String(); s != "float32[batch,3,?]" {
		t.Errorf("input is %s", s)
	}
}

// TestErrors lists models that must be refused, each with what the error must say.
func TestErrors(t *testing.T) {
	x, y := pIn("x", f32, 2), pOut("y", f32)
	relu := pNode("Relu", ss("x"), ss("y"))
	str := fMsg(5, fInt(1, 1), fInt(2, 8), fStr(6, "text"), fStr(8, "w"))
	deep := []field{fStr(2, "leaf"), pNode("Neg", ss("x"), ss("n")), pOut("n", f32)}
	for range graph.MaxDepth {
		deep = []field{fStr(2, "b"), pNode("If", ss("c"), ss("n"), pBody("then_branch", deep...), pBody("else_branch", deep[:1]...)), pOut("n", f32)}
	}
	badRaw := func(n int64, raw string) field {
		return fMsg(5, fInt(1, n), fInt(2, 1), fStr(8, "w"), fStr(9, raw))
	}
	bomb := func() []field {
		var fs []field
		for i := range 30 {
			name := func(k int) string { return fmt.Sprint("f", k) }
			fs = append(fs, fMsg(25, fStr(1, name(i)), fStr(4, "p"), fStr(5, "o"), fMsg(9, fInt(2, 17)),
				fMsg(7, fStr(1, "p"), fStr(2, "t"), fStr(4, name(i+1))), fMsg(7, fStr(1, "t"), fStr(2, "o"), fStr(4, name(i+1)))))
		}
		return append(fs, fMsg(25, fStr(1, "f30"), fStr(4, "p"), fStr(5, "o"), fMsg(9, fInt(2, 17)), fMsg(7, fStr(1, "p"), fStr(2, "o"), fStr(4, "Relu"))))
	}
	for _, c := range []struct {
		name string
		want error
		say  string
		b    []byte
	}{
		{"empty", ErrCorrupt, "no graph", []byte{}},
		{"text", ErrCorrupt, "", []byte("this is not a model at all")},
		{"cycle", ErrCorrupt, "cycle", pModel(17, x, y, pNode("Add", ss("x", "b"), ss("y")), pNode("Relu", ss("y"), ss("b")))},
		{"self", ErrCorrupt, "cycle", pModel(17, x, y, pNode("Add", ss("x", "y"), ss("y")))},
		{"undefined input", ErrCorrupt, `input "w" is not defined`, pModel(17, x, y, pNode("Add", ss("x", "w"), ss("y")))},
		{"undefined output", ErrCorrupt, `"z"`, pModel(17, x, pOut("z", f32), relu)},
		{"two producers", ErrCorrupt, `"y" is defined twice`, pModel(17, x, y, relu, relu)},
		{"initialiser and node", ErrCorrupt, `"y" is defined twice`, pModel(17, x, y, pInit("y", tensor.New(f32, 2)), relu)},
		{"two inputs", ErrCorrupt, `"x" is defined twice`, pModel(17, x, x, y, relu)},
		{"two initialisers", ErrCorrupt, "defined twice", pModel(17, x, y, pInit("w", tensor.New(f32, 2)), pInit("w", tensor.New(f32, 2)), relu)},
		{"output twice", ErrCorrupt, "listed twice", pModel(17, x, y, y, relu)},
		{"no opset", ErrCorrupt, "no opset", flat(build1(fMsg(7, x, y, relu)))},
		{"input without type", ErrCorrupt, "no element type", pModel(17, fMsg(11, fStr(1, "x")), y, relu)},
		{"huge input", ErrCorrupt, "too many", pModel(17, pIn("x", f32, 1<<40, 1<<40), y, relu)},
		{"short raw data", ErrCorrupt, "needs 8 bytes, found 4", pModel(17, y, badRaw(2, "abcd"), pNode("Relu", ss("w"), ss("y")))},
		{"huge tensor", ErrCorrupt, "", pModel(17, y, badRaw(1<<61, "abcd"), pNode("Relu", ss("w"), ss("y")))},
		{"negative dimension", ErrCorrupt, "negative", pModel(17, y, badRaw(-1, "abcd"), pNode("Relu", ss("w"), ss("y")))},
		{"big tensor without data", ErrCorrupt, "", pModel(17, y, fMsg(5, fInt(1, 1<<33), fInt(2, 3), fStr(8, "w")), pNode("Relu", ss("w"), ss("y")))},
		{"string tensor", ErrUnsupported, `node "y" (Identity)`, pModel(17, y, str, pNode("Identity", ss("w"), ss("y")))},
		{"string input", ErrUnsupported, "string", pModel(17, fMsg(11, fStr(1, "x"), fMsg(2, fMsg(1, fInt(1, 8)))), y, relu)},
		{"sequence input", ErrUnsupported, "sequence", pModel(17, fMsg(11, fStr(1, "x"), fMsg(2, fMsg(4))), y, relu)},
		{"complex tensor", ErrUnsupported, "complex64", pModel(17, y, fMsg(5, fInt(1, 1), fInt(2, 14), fStr(8, "w")), pNode("Relu", ss("w"), ss("y")))},
		{"sparse initialiser", ErrUnsupported, "sparse", pModel(17, x, y, fMsg(15), relu)},
		{"reserved attribute", ErrCorrupt, "reserved", pModel(17, x, y, pNode("Relu", ss("x"), ss("y"), pAttr(graph.CapturesAttr, int64(1))))},
		{"attribute twice", ErrCorrupt, "twice", pModel(17, x, y, pNode("Relu", ss("x"), ss("y"), pAttr("a", int64(1)), pAttr("a", int64(1))))},
		{"nested too deep", ErrCorrupt, "deeper", pModel(17, x, pIn("c", tensor.Bool), pNode("If", ss("c"), ss("y"), pBody("then_branch", deep...), pBody("else_branch", deep...)), y)},
		{"functions that explode", ErrTooLarge, "expand", pModelWith(17, bomb(), x, y, pNode("f0", ss("x"), ss("y")))},
		{"function that calls itself", nil, "deeper", pModelWith(17, []field{fMsg(25, fStr(1, "f"), fStr(4, "p"), fStr(5, "o"), fMsg(7, fStr(1, "p"), fStr(2, "o"), fStr(4, "f")))}, x, y, pNode("f", ss("x"), ss("y")))},
		{"external without folder", ErrCorrupt, "external", pModel(17, y, external("w", "w.bin", 0, 8), pNode("Relu", ss("w"), ss("y")))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadBytes(c.b, Options{})
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want %v: %s", err, c.want, c.say)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %v", err)
			}
		})
	}
}

func TestUnsupportedListsAll(t *testing.T) {
	str := func(name string) field {
		return fMsg(5, fInt(1, 1), fInt(2, 8), fStr(6, "text"), fStr(8, name))
	}
	_, err := ReadBytes(pModel(17, str("v"), str("w"), pOut("y", f32), pOut("z", f32),
		pNode("Identity", ss("v"), ss("y")), pNode("Identity", ss("w"), ss("z"))), Options{})
	var all *UnsupportedError
	if !errors.As(err, &all) || len(all.Errs) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestStringAttribute(t *testing.T) {
	b := pModel(17, pIn("x", f32, 2), pOut("y", f32), pNode("Custom", ss("x"), ss("y"), fStr(7, "elsewhere"),
		fMsg(5, fStr(1, "words"), fInt(20, attrTensor), fMsg(5, fInt(1, 2), fInt(2, 8), fStr(6, "a"), fStr(6, "b"))),
		pAttr("names", []string{"p", "q"})))
	n := mustRead(t, b).Nodes[0]
	want := map[string]any{"words": []string{"a", "b"}, "names": []string{"p", "q"}}
	if d := cmp.Diff(want, n.Attrs); d != "" {
		t.Error(d)
	}
	if n.Domain != "elsewhere" {
		t.Errorf("domain %q", n.Domain)
	}
}

func TestDomainAlias(t *testing.T) {
	b := flat(build1(fMsg(8, fStr(1, "ai.onnx"), fInt(2, 9)), fMsg(7, pIn("x", f32, 2), pOut("y", f32),
		pNode("Clip", ss("x"), ss("y"), fStr(7, "ai.onnx"), pAttr("min", float32(0))))))
	if n := mustRead(t, b).Nodes[0]; n.Domain != "" || len(n.In) != 2 {
		t.Errorf("got %v in domain %q", n, n.Domain)
	}
}

func external(name, location string, offset, length int) field {
	kv := func(k, v string) field { return fMsg(13, fStr(1, k), fStr(2, v)) }
	return fMsg(5, fInt(1, 2), fInt(2, 1), fStr(8, name), fInt(14, 1), kv("location", location),
		kv("offset", fmt.Sprint(offset)), kv("length", fmt.Sprint(length)))
}

func TestExternalData(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "model")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	data := []byte("\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40")
	for _, f := range []string{filepath.Join(top, "secret.bin"), filepath.Join(dir, "w.bin"), filepath.Join(dir, "sub", "w.bin")} {
		if err := os.WriteFile(f, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out.bin": "../secret.bin", "in.bin": "sub/w.bin", "abs.bin": filepath.Join(top, "secret.bin")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	for _, c := range []struct {
		location    string
		offset, len int
		ok          bool
	}{
		{"w.bin", 4, 8, true},
		{"./sub/../w.bin", 4, 8, true},
		{"sub/w.bin", 4, 8, true},
		{"in.bin", 4, 8, true},
		{"w.bin", 5, 8, false},
		{"w.bin", 4, 4, false},
		{"w.bin", -1, 8, false},
		{"missing.bin", 0, 8, false},
		{"sub", 0, 8, false},
		{"", 0, 8, false},
		{"../secret.bin", 4, 8, false},
		{"sub/../../secret.bin", 4, 8, false},
		{filepath.Join(top, "secret.bin"), 4, 8, false},
		{"out.bin", 4, 8, false},
		{"abs.bin", 4, 8, false},
	} {
		t.Run(c.location+fmt.Sprint(c.offset, c.len), func(t *testing.T) {
			path := filepath.Join(dir, "m.onnx")
			b := pModel(17, pOut("y", f32), external("w", c.location, c.offset, c.len), pNode("Relu", ss("w"), ss("y")))
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			g, err := ReadFile(path)
			if (err == nil) != c.ok {
				t.Fatalf("got error %v", err)
			}
			if c.ok {
				if d := cmp.Diff([]float32{1, 2}, tensor.Of[float32](g.Nodes[0].In[0].Data)); d != "" {
					t.Error(d)
				}
			} else if !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
}

// TestCut cuts a model at every byte and flips every byte: an error or a graph that
// verifies, never a panic.
func TestCut(t *testing.T) {
	b := ifModel()
	for i := range b {
		if g, err := ReadBytes(b[:i], Options{}); err == nil && g.Verify() != nil {
			t.Errorf("cut at %d: %v", i, g.Verify())
		}
		for _, flip := range []byte{1, 0x80, 0xff} {
			c := bytes.Clone(b)
			c[i] ^= flip
			if g, err := ReadBytes(c, Options{}); err == nil && g.Verify() != nil {
				t.Errorf("flipped byte %d: %v", i, g.Verify())
			}
		}
	}
}

func TestReadLimit(t *testing.T) {
	b := pModel(17, pOut("y", f32), pInit("w", tensor.New(f32, 100)), pNode("Relu", ss("w"), ss("y")))
	if _, err := ReadBytes(b, Options{MaxBytes: 399}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := ReadBytes(b, Options{MaxBytes: 400}); err != nil {
		t.Error(err)
	}
}

type failing struct{ n int64 }

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.n {
		return 0, os.ErrPermission
	}
	clear(b)
	return len(b), nil
}

func TestReadError(t *testing.T) {
	if _, err := Read(failing{}, 100, Options{}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
	b := ifModel()
	if _, err := Read(bytes.NewReader(b), int64(len(b))+10, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a size beyond the end: got %v", err)
	}
}
