package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"whit/graph"
	"whit/internal/modelfile"
	"whit/internal/safefile"
	"whit/tensor"
)

// long reports whether the long tests are wanted.
var long = os.Getenv("WHIT_LONG") != ""

// TestMain lets the test binary stand for whit itself where a test needs a process.
func TestMain(m *testing.M) {
	if os.Getenv("WHIT_TEST_MAIN") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// child is whit as a process of its own.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, args...)
	c.Env = append(os.Environ(), "WHIT_TEST_MAIN=1")
	return c
}

// contract runs a command line in this process and holds it to the contract: it
// ends in time, does not panic, its exit code is 0, 1 or 2, and only a failure
// says something on stderr: one line.
func contract(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("whit %q panics: %v\n%s", args, r, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	if ctx.Err() != nil {
		t.Fatalf("whit %q takes more than a minute", args)
	}
	stdout, stderr = out.String(), errs.String()
	switch {
	case code == exitOK && stderr != "":
		t.Errorf("whit %q: exit 0, but stderr says %q", args, stderr)
	case code != exitOK && code != exitFailed && code != exitUsage:
		t.Errorf("whit %q: exit %d", args, code)
	case code != exitOK && (strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") || !strings.HasPrefix(stderr, "whit: ")):
		t.Errorf("whit %q: stderr is not one line: %q", args, stderr)
	case len(stderr) > 2000:
		t.Errorf("whit %q: a line of %d bytes on stderr: %.300q...", args, len(stderr), stderr)
	case strings.Contains(stderr, "runtime error"):
		t.Errorf("whit %q: %q", args, stderr)
	}
	return code, stdout, stderr
}

// smallGraph is a network of 2x6x6 pictures: conv, pool, gemm.
func smallGraph(seed uint64) *graph.Graph {
	r := rand.New(rand.NewPCG(seed, 1))
	floats := func(shape ...int) *tensor.Tensor {
		x := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](x) {
			tensor.Of[float32](x)[i] = float32(r.NormFloat64())
		}
		return x
	}
	g := graph.New("small")
	x := g.AddInput("x", tensor.Float32, -1, 2, 6, 6)
	v := g.Add("", "Conv", map[string]any{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}},
		x, g.NewConst("cw", floats(4, 2, 3, 3)), g.NewConst("cb", floats(4)))
	v = g.Add("", "Relu", nil, v)
	v = g.Add("", "MaxPool", map[string]any{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, v)
	v = g.Add("", "Flatten", nil, v)
	v = g.Add("", "Gemm", nil, v, g.NewConst("fw", floats(36, 5)), g.NewConst("fb", floats(5)))
	v.Name = "y"
	g.Outputs = []*graph.Value{v}
	return g
}

// save writes a model of g into dir.
func save(t *testing.T, g *graph.Graph, path string) {
	t.Helper()
	if _, err := modelfile.Save(path, g, nil); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// only fails where dir holds anything but the names.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	for _, e := range es {
		if !want[e.Name()] {
			t.Errorf("%s stands in the folder", e.Name())
		}
		delete(want, e.Name())
	}
	for n := range want {
		t.Errorf("%s is missing", n)
	}
}

// whitChunks is where a .whit file's chunks begin: after the magic and the version.
const whitChunks = 5

// whitCRCs recomputes the checksums of a .whit file's chunks (docs/format.md): type,
// length as a varint, payload, CRC-32C; the last
// one covers the whole file, as the only one of the small form does.
func whitCRCs(b []byte) []byte {
	b = bytes.Clone(b)
	table := crc32.MakeTable(crc32.Castagnoli)
	if len(b) > whitChunks+4 && b[whitChunks] == 6 { // the small form has one
		binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], table))
		return b
	}
	for at := whitChunks; at+1 < len(b); {
		n, k := binary.Uvarint(b[at+1:])
		if k <= 0 || n > uint64(len(b)) || at+1+k+int(n)+4 > len(b) {
			break
		}
		end := at + 1 + k + int(n)
		crc := crc32.Checksum(b[at:end], table)
		if end+4 == len(b) {
			crc = crc32.Checksum(b[:end], table)
		}
		binary.LittleEndian.PutUint32(b[end:], crc)
		at = end + 4
	}
	return b
}

// TestDamagedModels cuts and flips small models and hands them to the verbs.
func TestDamagedModels(t *testing.T) {
	dir := t.TempDir()
	src := t.TempDir()
	for _, ext := range []string{".onnx", ".whit"} {
		save(t, smallGraph(1), filepath.Join(src, "m"+ext))
		whole := get(t, filepath.Join(src, "m"+ext))
		path := filepath.Join(dir, "m"+ext)
		out := filepath.Join(dir, "out.onnx")
		step := 29
		if long {
			step = 1
		}
		verbs := [][]string{{"check", path}, {"inspect", path, "--json"}, {"run", path, "--seed-input", "--json"},
			{"convert", path, out}, {"bench", path, "--iters", "1", "--plain"}}
		try := func(b []byte, refuse bool) {
			t.Helper()
			put(t, path, b)
			for _, args := range verbs {
				code, _, errs := contract(t, args...)
				if refuse && code != exitFailed {
					t.Fatalf("%s: exit %d", args[0], code)
				}
				if code == exitFailed && !strings.Contains(errs, "m"+ext) {
					t.Errorf("%s: %q does not name the file", args[0], errs)
				}
				if code != exitOK && args[0] == "convert" {
					only(t, dir, "m"+ext)
				}
			}
			os.Remove(out)
		}
		r := rand.New(rand.NewPCG(3, 4))
		t.Run("cut"+ext, func(t *testing.T) {
			for n := 0; n < len(whole); n += 1 + r.IntN(2*step) {
				try(whole[:n], ext == ".whit" || n == 0)
			}
		})
		t.Run("flipped"+ext, func(t *testing.T) {
			for i := 0; i < len(whole); i += 1 + r.IntN(2*step) {
				b := bytes.Clone(whole)
				b[i] ^= 1 << r.IntN(8)
				try(b, ext == ".whit")
			}
		})
		if ext == ".whit" {
			t.Run("flipped and checksums recomputed", func(t *testing.T) {
				if !bytes.Equal(whitCRCs(whole), whole) {
					t.Fatal("the checksums of a whole file change")
				}
				fixed := 0
				for i := 0; i < len(whole); i += 1 + r.IntN(3*step) {
					b := bytes.Clone(whole)
					b[i] ^= 1 << r.IntN(8)
					c := whitCRCs(b)
					if !bytes.Equal(b, c) {
						fixed++
					}
					try(c, false)
				}
				if fixed == 0 {
					t.Error("no checksum was recomputed")
				}
			})
		}
		os.Remove(path)
	}
}

func list(s ...string) []string { return s }

// TestHostileModels runs verbs on ONNX files that lie. A child process measures memory.
func TestHostileModels(t *testing.T) {
	nest := func(depth int, leaf []byte) []byte {
		for range depth {
			leaf = pbNode("If", list("c"), list("o"), pbGraph("then_branch", leaf, pbPort(12, "o", 1)), pbGraph("else_branch", leaf, pbPort(12, "o", 1)))
			if len(leaf) > 1<<20 {
				break
			}
		}
		return leaf
	}
	deep := func(depth int) []byte { // one body a level: the file stays small
		leaf := pbNode("Relu", list("x"), list("o"))
		for range depth {
			leaf = pbNode("Loop", list("c"), list("o"), pbGraph("body", leaf))
		}
		return leaf
	}
	x, y := pbPort(11, "x", -1, 4), pbPort(12, "y")
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	shapeOf := func(v ...int64) []byte { return pbNode("Constant", nil, list("s"), pbInts("value_ints", v...)) }
	for _, c := range []struct {
		name  string
		b     []byte
		codes string // allowed exit codes of run, as digits
	}{
		{"empty", nil, "1"},
		{"not a model", []byte("Reads like a text, is a text.\n"), "1"},
		{"zeros", make([]byte, 4096), "1"},
		{"cycle", pbModel(x, y, pbNode("Add", list("x", "b"), list("a")), pbNode("Relu", list("a"), list("b")), pbNode("Relu", list("b"), list("y"))), "1"},
		{"self cycle", pbModel(x, y, pbNode("Add", list("x", "y"), list("y"))), "1"},
		{"two writers of a value", pbModel(x, y, pbNode("Relu", list("x"), list("y")), pbNode("Relu", list("x"), list("y"))), "1"},
		{"value of nobody", pbModel(x, y, pbNode("Relu", list("ghost"), list("y"))), "1"},
		{"no nodes", pbModel(x, pbPort(12, "x", -1, 4)), "01"},
		{"no outputs", pbModel(x, pbNode("Relu", list("x"), list("y"))), "01"},
		{"NaN and Inf weights", pbModel(x, y, pbFloats("w", []int64{4}, nan, inf, -inf, 0), pbNode("Mul", list("x", "w"), list("y"))), "0"},
		{"zero-size dimension", pbModel(pbPort(11, "x", 1, 0, 4), y, pbNode("Relu", list("x"), list("y"))), "0"},
		{"zero-size sums", pbModel(pbPort(11, "x", 1, 0, 4), y, pbNode("ReduceSum", list("x"), list("y"))), "01"},
		{"zero-size convolution", pbModel(pbPort(11, "x", 1, 0, 4, 4), y, pbFloats("w", []int64{2, 0, 3, 3}), pbNode("Conv", list("x", "w"), list("y"))), "01"},
		{"zero rows times huge", pbModel(pbPort(11, "x", 0, 1<<40), y, pbNode("CumSum", list("x", "s"), list("y")), pbNode("Constant", nil, list("s"), pbInt("value_int", 0))), "1"},
		{"huge input", pbModel(pbPort(11, "x", 1<<31, 1<<31), y, pbNode("Relu", list("x"), list("y"))), "12"},
		{"large input", pbModel(pbPort(11, "x", 1<<17, 1<<17), y, pbNode("Relu", list("x"), list("y"))), "1"},
		{"negative dimension", pbModel(pbPort(11, "x"), y, pb{}.msg(5, pb{}.num(1, -4).num(2, 1).str(8, "w").msg(9, make([]byte, 16))), pbNode("Add", list("x", "w"), list("y"))), "1"},
		{"huge initialiser without data", pbModel(x, y, pb{}.msg(5, pb{}.num(1, 1<<40).num(2, 1).str(8, "w").msg(9)), pbNode("Add", list("x", "w"), list("y"))), "1"},
		{"overflowing initialiser", pbModel(x, y, pb{}.msg(5, pb{}.num(1, 1<<33).num(1, 1<<33).num(2, 1).str(8, "w").msg(9)), pbNode("Add", list("x", "w"), list("y"))), "1"},
		{"constant of 1 TiB", pbModel(x, y, shapeOf(1<<20, 1<<20), pbNode("ConstantOfShape", list("s"), list("k")), pbNode("Add", list("x", "k"), list("y"))), "1"},
		{"expand to 1 TiB", pbModel(x, y, shapeOf(1<<20, 1<<18, 4), pbNode("Expand", list("x", "s"), list("y"))), "1"},
		{"expand overflows", pbModel(x, y, shapeOf(1<<40, 1<<40, 4), pbNode("Expand", list("x", "s"), list("y"))), "1"},
		{"pads of 2^62", pbModel(x, y, shapeOf(1<<62, 0, 1<<62, 0), pbNode("Pad", list("x", "s"), list("y"))), "1"},
		{"stride 0", pbModel(pbPort(11, "x", 1, 1, 8, 8), y, pbNode("MaxPool", list("x"), list("y"), pbInts("kernel_shape", 2, 2), pbInts("strides", 0, 0))), "1"},
		{"group 0", pbModel(pbPort(11, "x", 1, 1, 8, 8), y, pbFloats("w", []int64{1, 1, 1, 1}, 1), pbNode("Conv", list("x", "w"), list("y"), pbInt("group", 0))), "1"},
		{"kernel of 2^40", pbModel(pbPort(11, "x", 1, 1, 8, 8), y, pbNode("AveragePool", list("x"), list("y"), pbInts("kernel_shape", 1<<40, 1<<40), pbInts("pads", 1<<40, 1<<40, 1<<40, 1<<40))), "1"},
		{"Ifs in Ifs", pbModel(x, y, nest(14, pbNode("Relu", list("x"), list("o")))), "1"},
		{"2,000 loops deep", pbModel(x, y, deep(2_000)), "1"},
		{"unknown operator", pbModel(x, y, pbNode("Frobnicate", list("x"), list("y"))), "1"},
		{"20,000 unknown operators", pbModel(x, y, bytes.Repeat(pbNode("Frobnicate", list("x"), nil), 20_000)), "1"},
		{"newline in names", pbModel(x, y, pbNode("Frob\nnicate\x1b[31m", list("x"), list("y"))), "1"},
		{"a name of 1 MB", pbModel(x, y, pbNode(strings.Repeat("F", 1<<20), list("x"), list("y"))), "1"},
		{"names with path separators", pbModel(pbPort(11, "../../x", 1, 4), pbPort(12, "/etc/../../y"), pbNode("Relu", list("../../x"), list("/etc/../../y"))), "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "hostile.onnx")
			put(t, path, c.b)
			for _, args := range [][]string{{"check", path}, {"inspect", path, "--plan"},
				{"convert", path, filepath.Join(dir, "o.whit")}, {"run", path, "--seed-input", "--output", filepath.Join(dir, "y.npz")}} {
				code, _, errs := contract(t, args...)
				if code == exitFailed && !strings.Contains(errs, "hostile.onnx") {
					t.Errorf("%s: %q does not name the file", args[0], errs)
				}
				if regexp.MustCompile(`[\x00-\x08\x0b-\x1f]`).MatchString(errs) {
					t.Errorf("%s: control characters on stderr: %q", args[0], errs)
				}
				if args[0] == "run" && !strings.Contains(c.codes, fmt.Sprint(code)) {
					t.Errorf("exit %d (%q), want one of %s", code, errs, c.codes)
				}
			}
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if n := e.Name(); n != "hostile.onnx" && n != "o.whit" && n != "y.npz" {
					t.Errorf("%s stands in the folder", n)
				}
			}
			if long {
				cmd := child(t, "run", path, "--seed-input")
				cmd.Run()
				if rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; rss > 256<<20 {
					t.Errorf("run takes %d MB", rss>>20)
				}
			}
		})
	}
}

func TestExternalData(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "model")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 16)
	put(t, filepath.Join(top, "secret.bin"), data)
	put(t, filepath.Join(dir, "w.bin"), data)
	put(t, filepath.Join(dir, "short.bin"), data[:7])
	if err := os.Symlink("../secret.bin", filepath.Join(dir, "link.bin")); err != nil {
		t.Skip(err)
	}
	os.Symlink("..", filepath.Join(dir, "up"))
	for _, c := range []struct {
		location string
		code     int
	}{
		{"w.bin", exitOK}, {"./w.bin", exitOK}, {"short.bin", exitFailed}, {"none.bin", exitFailed},
		{"../secret.bin", exitFailed}, {"x/../../secret.bin", exitFailed}, {filepath.Join(top, "secret.bin"), exitFailed},
		{"link.bin", exitFailed}, {"up/secret.bin", exitFailed}, {".", exitFailed}, {"", exitFailed}, {"/dev/zero", exitFailed},
	} {
		t.Run(c.location, func(t *testing.T) {
			path := filepath.Join(dir, "m.onnx")
			put(t, path, pbModel(pbPort(11, "x", 1, 4), pbPort(12, "y"), pbExternal("w", c.location), pbNode("Add", list("x", "w"), list("y"))))
			code, _, errs := contract(t, "run", path, "--seed-input")
			if code != c.code {
				t.Errorf("exit %d, %q", code, errs)
			}
		})
	}
}

// bigPNG is a picture that claims w x h pixels and has none.
func bigPNG(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		c := append([]byte(kind), data...)
		b = append(b, c...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(c))
	}
	hdr := binary.BigEndian.AppendUint32(nil, w)
	hdr = binary.BigEndian.AppendUint32(hdr, h)
	chunk("IHDR", append(hdr, 8, 6, 0, 0, 0))
	chunk("IDAT", []byte{0x78, 0x9c, 3, 0, 0, 0, 0, 1})
	chunk("IEND", nil)
	return b
}

func TestHostileInputs(t *testing.T) {
	dir := t.TempDir()
	g := graph.New("p")
	x := g.AddInput("x", tensor.Float32, 1, 3, 8, 8)
	v := g.Add("", "Relu", nil, x)
	v.Name = "y"
	g.Outputs = []*graph.Value{v}
	model := filepath.Join(dir, "m.onnx")
	save(t, g, model)
	good := &bytes.Buffer{}
	img := image.NewRGBA(image.Rect(0, 0, 9, 7))
	img.Set(1, 1, color.White)
	if err := png.Encode(good, img); err != nil {
		t.Fatal(err)
	}
	npy := func(header string, data int) []byte {
		return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8)), append([]byte(header), make([]byte, data)...)...)
	}
	for _, c := range []struct {
		file string
		b    []byte
		code int
	}{
		{"good.png", good.Bytes(), exitOK},
		{"cut.png", good.Bytes()[:good.Len()/2], exitFailed},
		{"empty.png", nil, exitFailed},
		{"absurd.png", bigPNG(1<<31-1, 1<<31-1), exitFailed},
		{"large.png", bigPNG(100_000, 100_000), exitFailed},
		{"none.png", bigPNG(0, 0), exitFailed},
		{"absurd.gif", []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), exitFailed},
		{"absurd.bmp", append([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\x00\x18\x00"), make([]byte, 40)...), exitFailed},
		{"good.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,3,8,8), }\n", 768), exitOK},
		{"shape.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,3,8,9), }\n", 864), exitFailed},
		{"cut.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,3,8,8), }\n", 767), exitFailed},
		{"huge.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,1099511627776), }\n", 8), exitFailed},
		{"large.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }\n", 8), exitFailed},
		{"object.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,3,8,8), }\n", 768), exitFailed},
		{"nest.npy", npy(strings.Repeat("(", 60000), 0), exitFailed},
		{"cut.npz", []byte("PK\x03\x04"), exitFailed},
		{"empty.npz", nil, exitFailed},
	} {
		t.Run(c.file, func(t *testing.T) {
			path := filepath.Join(dir, c.file)
			put(t, path, c.b)
			code, _, errs := contract(t, "run", model, "--preprocess", "unit", "--input", path)
			if code != c.code {
				t.Errorf("exit %d, %q", code, errs)
			}
			if code == exitFailed && !strings.Contains(errs, c.file) && !strings.Contains(errs, "input") {
				t.Errorf("%q names neither the file nor the input", errs)
			}
			if strings.HasSuffix(c.file, ".npz") || strings.HasSuffix(c.file, ".npy") {
				code, _, _ := contract(t, "encode", path, filepath.Join(dir, "o.bin"))
				if code == exitOK {
					t.Error("encode takes it")
				}
				if _, err := os.Stat(filepath.Join(dir, "o.bin")); err == nil {
					t.Error("encode leaves a file")
				}
			}
			contract(t, "eval", model, "--preprocess", "unit", "--data", path)
			contract(t, "decode", path, filepath.Join(dir, "o.npz"))
		})
	}
	for name, text := range map[string]string{
		"nested":  "card: " + strings.Repeat("[", 100_000),
		"flow":    "card: 1\nlabels: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000),
		"deep":    "card: 1\ninput: " + strings.Repeat("{a: ", 5_000) + "1" + strings.Repeat("}", 5_000),
		"aliases": "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\nlabels: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\ncard: 1\n",
		"unknown": "card: 1\nfrobnicate: 2\n",
		"binary":  "\x00\xff\xfe",
		"labels":  "card: 1\nlabels: ../../../../etc/passwd\n",
	} {
		t.Run("card "+name, func(t *testing.T) {
			path := filepath.Join(dir, "c.yaml")
			put(t, path, []byte(text))
			if code, _, errs := contract(t, "run", model, "--card", path, "--seed-input"); code == exitOK {
				t.Errorf("exit %d, %q", code, errs)
			}
			if code, _, errs := contract(t, "train", "--recipe", path, "-o", filepath.Join(dir, "t.onnx")); code == exitOK {
				t.Errorf("recipe: exit %d, %q", code, errs)
			}
		})
	}
}

// dataset writes an .npz of n labelled pictures of 1x28x28.
func dataset(t *testing.T, path string, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	x, y := tensor.New(tensor.Float32, n, 1, 28, 28), tensor.New(tensor.Int64, n)
	xs := tensor.Of[float32](x)
	for i := range n {
		c := r.IntN(10)
		tensor.Of[int64](y)[i] = int64(c)
		for k := range 784 {
			xs[i*784+k] = float32(r.NormFloat64())
			if k/78 == c {
				xs[i*784+k] += 1
			}
		}
	}
	var b bytes.Buffer
	if err := tensor.WriteNPZ(&b, []tensor.Named{{Name: "x", T: x}, {Name: "y", T: y}}); err != nil {
		t.Fatal(err)
	}
	put(t, path, b.Bytes())
}

func TestThreadsGiveTheSameBytes(t *testing.T) {
	dir := t.TempDir()
	model, npz := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "d.npz")
	save(t, smallGraph(1), model)
	dataset(t, npz, 200)
	counts := []string{"1", "2", "16"}
	if long {
		counts = []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"}
	}
	var first [3]string
	for _, n := range counts {
		y := filepath.Join(dir, "y.npz")
		if code, _, errs := contract(t, "run", model, "--seed-input", "--shape", "x=64,2,6,6", "--threads", n, "--output", y); code != exitOK {
			t.Fatal(errs)
		}
		trained := filepath.Join(dir, "t.onnx")
		if code, _, errs := contract(t, "train", "--arch", "lenet5", "--data", npz, "--epochs", "1", "--batch", "50", "--threads", n, "-o", trained); code != exitOK {
			t.Fatal(errs)
		}
		_, out, _ := contract(t, "eval", trained, "--data", npz, "--threads", n, "--json")
		var e map[string]any
		if err := json.Unmarshal([]byte(out), &e); err != nil {
			t.Fatal(err)
		}
		delete(e, "samples_per_second")
		got := [3]string{fmt.Sprintf("%x", sha256.Sum256(get(t, y))), fmt.Sprintf("%x", sha256.Sum256(get(t, trained))), fmt.Sprint(e)}
		if n == counts[0] {
			first = got
		}
		if got != first {
			t.Errorf("%s threads: run, train, eval give %v, want %v", n, got, first)
		}
	}
	os.Remove(filepath.Join(dir, "y.npz"))
	only(t, dir, "m.onnx", "d.npz", "t.onnx")
}

func TestTwoWriters(t *testing.T) {
	dir := t.TempDir()
	model, npz := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "d.npz")
	save(t, smallGraph(1), model)
	dataset(t, npz, 20)
	digits := filepath.Join(dir, "digits.onnx")
	if code, _, errs := contract(t, "train", "--data", npz, "--epochs", "1", "-o", digits); code != exitOK {
		t.Fatal(errs)
	}
	out := filepath.Join(dir, "o.onnx")
	for _, args := range [][]string{
		{"convert", model, out},
		{"train", "--data", npz, "-o", out},
		{"compress", digits, "--data", npz, "-o", filepath.Join(dir, "o.whit")},
		{"encode", npz, out},
		{"decode", npz, out},
		{"run", model, "--seed-input", "--output", out},
	} {
		t.Run(args[0], func(t *testing.T) {
			name := out
			if args[0] == "compress" {
				name = args[len(args)-1]
			}
			unlock, err := safefile.Lock(name)
			if err != nil {
				t.Fatal(err)
			}
			code, _, errs := contract(t, args...)
			if code != exitFailed || !strings.Contains(errs, "in use") || !strings.Contains(errs, filepath.Base(name)) {
				t.Errorf("exit %d, %q", code, errs)
			}
			unlock()
			only(t, dir, "m.onnx", "d.npz", "digits.onnx")
		})
	}
}

func TestOutputOverInput(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "m.onnx")
	save(t, smallGraph(1), model)
	was := get(t, model)
	if code, _, errs := contract(t, "convert", model, model); code == exitOK {
		if !bytes.Equal(was, get(t, model)) {
			t.Error("the model has changed")
		}
	} else {
		t.Log(errs)
	}
	if code, _, _ := contract(t, "convert", model, dir); code == exitOK {
		t.Error("a folder is taken for an output")
	}
	if code, _, _ := contract(t, "convert", model, filepath.Join(dir, "none", "o.whit")); code != exitFailed {
		t.Error("a folder that does not exist is taken for an output's")
	}
	if code, _, _ := contract(t, "inspect", dir); code != exitFailed {
		t.Error("a folder is taken for a model")
	}
	only(t, dir, "m.onnx")
}

func TestOffline(t *testing.T) {
	t.Setenv("WHIT_OFFLINE", "1")
	t.Setenv("WHIT_CACHE", t.TempDir())
	t.Setenv("GOMODCACHE", t.TempDir()) // the Go tool's cache would do without a network
	t.Setenv("GOFLAGS", "-modcacherw")
	dir := t.TempDir()
	model := filepath.Join(dir, "m.onnx")
	save(t, smallGraph(1), model)
	for _, args := range [][]string{
		{"data", "pull", "mnist"},
		{"train", "--arch", "lenet300", "--data", "mnist", "-o", filepath.Join(dir, "o.onnx")},
	} {
		code, _, errs := contract(t, args...)
		if code != exitFailed || !strings.Contains(errs, "WHIT_OFFLINE") || !strings.Contains(errs, "mnist") {
			t.Errorf("%s: exit %d, %q", args[0], code, errs)
		}
	}
	only(t, dir, "m.onnx")
	if code, _, errs := contract(t, "data", "list", "--json"); code != exitOK {
		t.Errorf("list: exit %d, %q", code, errs)
	}
}

// TestJSON: --json is one object a line, with schema 1; --plain one number.
func TestJSON(t *testing.T) {
	t.Setenv("WHIT_CACHE", t.TempDir())
	dir := t.TempDir()
	model, npz := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "d.npz")
	nan := graph.New("nan")
	x := nan.AddInput("x", tensor.Float32, 1, 2)
	v := nan.Add("", "Mul", nil, x, nan.NewConst("w", tensor.From([]float32{float32(math.NaN()), float32(math.Inf(1))}, 2)))
	v.Name = "y"
	nan.Outputs = []*graph.Value{v}
	save(t, nan, filepath.Join(dir, "nan.onnx"))
	save(t, smallGraph(1), model)
	dataset(t, npz, 50)
	trained := filepath.Join(dir, "t.onnx")
	for _, args := range [][]string{
		{"version"}, {"data", "list"}, {"check", model}, {"inspect", model}, {"inspect", model, "--plan"},
		{"run", model, "--seed-input"}, {"run", filepath.Join(dir, "nan.onnx"), "--seed-input"}, {"inspect", filepath.Join(dir, "nan.onnx")},
		{"bench", model, "--iters", "2"}, {"bench", model, "--iters", "2", "--nodes"},
		{"train", "--data", npz, "--epochs", "1", "-o", trained}, {"eval", trained, "--data", npz},
		{"eval", trained, "--data", npz, "--against", trained, "--metric", "top1"}, {"eval", trained, "--data", npz, "--against", trained, "--metric", "cosine"},
		{"eval", trained, "--data", npz, "--metric", "verification"},
		{"scan", trained, "--data", npz, "--methods", "zero,round", "--report", filepath.Join(dir, "s.html"), "--plot", filepath.Join(dir, "s.svg")},
		{"encode", npz, filepath.Join(dir, "e.bin")},
	} {
		code, out, errs := contract(t, append(args, "--json")...)
		if code != exitOK {
			t.Errorf("%q: exit %d, %q", args, code, errs)
			continue
		}
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		for _, l := range lines {
			var m map[string]any
			if err := json.Unmarshal([]byte(l), &m); err != nil || m["schema"] != 1.0 {
				t.Errorf("%q: %v, schema %v: %s", args, err, m["schema"], l)
			}
		}
		var m map[string]any
		json.Unmarshal([]byte(lines[len(lines)-1]), &m)
		for _, k := range map[string][]string{
			"bench": {"median", "min", "p95", "max", "load_ms", "first_ms", "peak_rss_bytes"},
			"train": {"error", "samples_per_second", "seconds"},
			"eval":  {"metric", "value", "error", "loss", "samples_per_second", "classes", "groups"},
			"scan":  {"curves", "ranks", "n"},
		}[args[0]] {
			if _, ok := m[k]; !ok {
				t.Errorf("%q: no %s in %s", args, k, out)
			}
		}
	}
	_, out, _ := contract(t, "bench", model, "--iters", "3", "--plain", "--threads", "1")
	if !regexp.MustCompile(`^[0-9.e+-]+\n$`).MatchString(out) {
		t.Errorf("--plain prints %q", out)
	}
}

// TestConvertThereAndBack: weights, names and results stay.
func TestConvertThereAndBack(t *testing.T) {
	dir := t.TempDir()
	p := func(s string) string { return filepath.Join(dir, s) }
	g := smallGraph(9)
	w := tensor.Of[float32](g.Find("fb").Data)
	w[0], w[1], w[2] = float32(math.Inf(1)), math.Float32frombits(0x7fc12345), math.Float32frombits(0x80000000)
	save(t, g, p("a.onnx"))
	for _, args := range [][]string{{"a.onnx", "b.whit"}, {"b.whit", "c.onnx"}, {"c.onnx", "d.whit"}} {
		if code, _, errs := contract(t, "convert", p(args[0]), p(args[1])); code != exitOK {
			t.Fatal(errs)
		}
	}
	if !bytes.Equal(get(t, p("b.whit")), get(t, p("d.whit"))) {
		t.Error("the second .whit differs from the first")
	}
	back, err := modelfile.Load(p("c.onnx"), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Values() {
		if !v.IsConst() {
			continue
		}
		u := back.Graph.Find(v.Name)
		if u == nil || !u.Type.Equal(v.Type) || !bytes.Equal(u.Tensor().Bytes(), v.Tensor().Bytes()) {
			t.Errorf("weight %q has changed", v.Name)
		}
	}
	var first []byte
	for _, m := range []string{"a.onnx", "b.whit", "c.onnx"} {
		if code, _, errs := contract(t, "run", p(m), "--seed-input", "--output", p("y.npz")); code != exitOK {
			t.Fatal(errs)
		}
		y := get(t, p("y.npz"))
		if first == nil {
			first = y
		}
		if !bytes.Equal(y, first) {
			t.Errorf("%s gives other outputs", m)
		}
	}
}

// TestEncodeThereAndBack: bytes of every type, names and shapes stay.
func TestEncodeThereAndBack(t *testing.T) {
	dir := t.TempDir()
	var in []tensor.Named
	for i, d := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.Int8, tensor.Uint8, tensor.Int32, tensor.Int64, tensor.Uint16, tensor.Bool} {
		x := tensor.New(d, 3, i, 5)
		for k := range x.Bytes() {
			x.Bytes()[k] = byte(k*7) & 1
		}
		in = append(in, tensor.Named{Name: fmt.Sprintf("layer/../%d é", i), T: x})
	}
	var b bytes.Buffer
	if err := tensor.WriteNPZ(&b, in); err != nil {
		t.Fatal(err)
	}
	src, bin, back := filepath.Join(dir, "a.npz"), filepath.Join(dir, "a.bin"), filepath.Join(dir, "b.npz")
	put(t, src, b.Bytes())
	for _, level := range []string{"fast", "small"} {
		if code, _, errs := contract(t, "encode", src, bin, "--level", level); code != exitOK {
			t.Fatal(errs)
		}
		if code, _, errs := contract(t, "decode", bin, back); code != exitOK {
			t.Fatal(errs)
		}
		out, err := readNPZ(back)
		if err != nil || len(out) != len(in) {
			t.Fatal(err, len(out))
		}
		for i := range in {
			if in[i].Name != out[i].Name || !in[i].T.Type.Equal(out[i].T.Type) || !bytes.Equal(in[i].T.Bytes(), out[i].T.Bytes()) {
				t.Errorf("%s: array %q has changed", level, in[i].Name)
			}
		}
		whole := get(t, bin)
		for n := 0; n < len(whole); n += 13 {
			put(t, bin, whole[:n])
			if code, _, _ := contract(t, "decode", bin, filepath.Join(dir, "c.npz")); code != exitFailed {
				t.Errorf("cut at %d: exit %d", n, code)
			}
		}
	}
	only(t, dir, "a.npz", "a.bin", "b.npz")
}

// TestCompressFaults: budgets that are missed and data that do not fit.
func TestCompressFaults(t *testing.T) {
	t.Setenv("WHIT_CACHE", t.TempDir())
	dir := t.TempDir()
	p := func(s string) string { return filepath.Join(dir, s) }
	dataset(t, p("d.npz"), 120)
	dataset(t, p("tiny.npz"), 2)
	if code, _, errs := contract(t, "train", "--data", p("d.npz"), "--epochs", "3", "-o", p("m.onnx")); code != exitOK {
		t.Fatal(errs)
	}
	save(t, smallGraph(1), p("other.onnx"))
	put(t, p("deep.yaml"), []byte("recipe: 1\nsteps: "+strings.Repeat("[", 100_000)))
	put(t, p("unknown.yaml"), []byte("recipe: 1\nsteps:\n  - {method: frobnicate}\n"))
	put(t, p("round.yaml"), []byte("recipe: 1\nsteps:\n  - {method: round}\n"))
	put(t, p("taught.yaml"), []byte("recipe: 1\nsteps:\n  - {method: magnitude, rounds: 1, final: 1, distill: 1}\n"))
	if err := os.Mkdir(p("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{list(p("m.onnx")), exitUsage},
		{list(p("m.onnx"), "--data", p("none.npz")), exitFailed},
		{list(p("m.onnx"), "--data", p("empty")), exitFailed},
		{list(p("m.onnx"), "--data", p("tiny.npz")), exitFailed},
		{list(p("m.onnx"), "--data", p("m.onnx")), exitFailed},
		{list(p("other.onnx"), "--data", p("d.npz")), exitFailed},
		{list(p("m.onnx"), "--data", p("d.npz"), "--recipe", p("deep.yaml")), exitFailed},
		{list(p("m.onnx"), "--data", p("d.npz"), "--recipe", p("unknown.yaml")), exitFailed},
		{list(p("m.onnx"), "--data", p("d.npz"), "--teacher", p("none.onnx")), exitFailed},
		{list(p("m.onnx"), "--data", p("d.npz"), "--teacher", p("m.onnx"), "--recipe", p("round.yaml")), exitFailed}, // nothing is taught
		{list(p("m.onnx"), "--data", p("d.npz"), "--teacher", p("other.onnx"), "--recipe", p("taught.yaml")), exitFailed},
		{list(p("m.onnx"), "--data", p("d.npz"), "--max-drop", "lots"), exitUsage},
		{list(p("m.onnx"), "--data", p("d.npz"), "--target-size", "-1"), exitUsage},
		{list(p("m.onnx"), "--data", p("d.npz"), "--methods", "frobnicate"), exitUsage},
		{list(p("m.onnx"), "--data", p("d.npz"), "--metric", "frobnicate"), exitUsage},
	} {
		t.Run(strings.ReplaceAll(strings.Join(c.args, " "), dir+"/", ""), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "o.whit")
			code, _, errs := contract(t, append(append([]string{"compress"}, c.args...), "-o", out)...)
			t.Logf("%d %s", code, errs)
			if code == exitOK || code != c.code && (c.code == exitUsage || code != exitUsage) {
				t.Errorf("exit %d, want %d: %q", code, c.code, errs)
			}
			if es, _ := os.ReadDir(filepath.Dir(out)); len(es) > 0 {
				t.Errorf("%s stands in the folder", es[0].Name())
			}
			if len(c.args) == 3 {
				contract(t, append([]string{"scan"}, append(c.args[:3:3], "-o", out)...)...)
				os.Remove(out)
				contract(t, append([]string{"eval"}, c.args[:3]...)...)
				contract(t, append([]string{"check"}, c.args[:3]...)...)
			}
		})
	}
	t.Run("teachers", func(t *testing.T) {
		dir := t.TempDir()
		taught := filepath.Join(dir, "taught.onnx")
		if code, _, errs := contract(t, "train", "--data", p("d.npz"), "--epochs", "1", "--teacher", p("m.onnx"), "--teacher", p("m.onnx"), "-o", taught); code != exitOK {
			t.Error(errs)
		}
		if code, _, errs := contract(t, "compress", taught, "--data", p("d.npz"), "--teacher", p("m.onnx"), "--recipe", p("taught.yaml"), "-o", filepath.Join(dir, "o.whit")); code != exitOK {
			t.Error(errs)
		}
		only(t, dir, "taught.onnx", "o.whit")
		if code, _, _ := contract(t, "train", "--data", p("d.npz"), "--temperature", "4", "-o", filepath.Join(dir, "x.onnx")); code != exitUsage {
			t.Errorf("exit %d at a temperature without a teacher", code)
		}
		if code, _, _ := contract(t, "train", "--data", p("d.npz"), "--distill", "0.5", "-o", filepath.Join(dir, "x.onnx")); code != exitUsage {
			t.Errorf("exit %d without a teacher", code)
		}
	})
	t.Run("every point of the front can be made", func(t *testing.T) {
		dir := t.TempDir()
		front := filepath.Join(dir, "front")
		code, out, errs := contract(t, "compress", p("m.onnx"), "--data", p("d.npz"), "--finetune", "off", "--target-size", "80000", "--time", "4s", "--front", front, "-o", filepath.Join(dir, "o.whit"), "--json")
		if code != exitOK {
			t.Fatal(errs)
		}
		for _, k := range []string{"candidates", "refused", "notes"} {
			if !strings.Contains(out, `"`+k+`":[`) {
				t.Errorf("the line of JSON lacks %s", k)
			}
		}
		recipes, _ := filepath.Glob(filepath.Join(front, "*.yaml"))
		if len(recipes) == 0 {
			t.Fatal("no recipe")
		}
		for _, r := range recipes {
			again := filepath.Join(dir, "again.whit")
			if code, _, errs := contract(t, "compress", p("m.onnx"), "--data", p("d.npz"), "--finetune", "off", "--recipe", r, "-o", again); code != exitOK {
				t.Fatal(errs)
			}
			size, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(r), ".yaml"), "-")
			if st, err := os.Stat(again); err != nil || strconv.FormatInt(st.Size(), 10) != size {
				t.Errorf("%s: made again it has %d bytes (%v)", filepath.Base(r), st.Size(), err)
			}
		}
		if code, _, _ := contract(t, "compress", p("m.onnx"), "--data", p("d.npz"), "--front", p("m.onnx"), "-o", filepath.Join(dir, "x.whit")); code == exitOK {
			t.Error("a file stands where the folder should be")
		}
	})
	t.Run("a budget that cannot be met", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "o.whit")
		code, _, errs := contract(t, "compress", p("m.onnx"), "--data", p("d.npz"), "--target-size", "100", "--time", "1s", "--finetune", "off", "--json", "-o", out)
		if code != exitFailed {
			t.Errorf("exit %d, %q", code, errs)
		}
		only(t, filepath.Dir(out), "o.unmet.whit")
	})
}

// TestKillAndResume kills train and compress at random moments until they end by themselves.
func TestKillAndResume(t *testing.T) {
	dir := t.TempDir()
	npz, model := filepath.Join(dir, "d.npz"), filepath.Join(dir, "dense.onnx")
	dataset(t, npz, 400)
	if code, _, errs := contract(t, "train", "--data", npz, "--epochs", "4", "-o", model); code != exitOK {
		t.Fatal(errs)
	}
	recipe := filepath.Join(dir, "r.yaml")
	put(t, recipe, []byte(`recipe: 1
steps:
  - {method: magnitude, layers: "fc*", sparsity: 0.8, epochs: 4}
  - {method: codebook, bits: 4, train: true, epochs: 2}
`))
	t.Run("train", func(t *testing.T) {
		killAndResume(t, filepath.Join(dir, "whole.onnx"), filepath.Join(dir, "out.onnx"), "train", "--arch", "lenet300",
			"--data", npz, "--epochs", "12", "--batch", "20", "--seed", "3", "--threads", "2")
	})
	t.Run("compress", func(t *testing.T) {
		killAndResume(t, filepath.Join(dir, "whole.whit"), filepath.Join(dir, "out.whit"), "compress", model,
			"--data", npz, "--recipe", recipe, "--max-drop", "100%", "--batch", "20", "--seed", "3", "--threads", "2")
	})
}

func killAndResume(t *testing.T, whole, out string, args ...string) {
	dir := filepath.Dir(out)
	command := func(out string) []string { return append(append([]string{}, args...), "-o", out) }
	start := time.Now()
	if b, err := child(t, command(whole)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	took := time.Since(start)
	kills := 1
	if long {
		kills = 20
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	killed := 0
	for try := 0; ; try++ {
		args := command(out)
		if try > 0 {
			args = append(args, "--resume")
		}
		c := child(t, args...)
		var errs bytes.Buffer
		c.Stderr = &errs
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Wait() }()
		var wait <-chan time.Time
		if killed < kills {
			wait = time.After(time.Duration(r.Int64N(int64(took))))
		}
		var err error
		select {
		case <-wait:
			c.Process.Kill()
			err = <-done
		case err = <-done:
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == -1 { // killed
			killed++
			if b, rerr := os.ReadFile(out); rerr == nil && !bytes.Equal(b, get(t, whole)) {
				t.Fatal("a half-written model stands under the final name")
			}
			continue
		}
		if err != nil {
			t.Fatalf("try %d: %v: %s", try, err, errs.String())
		}
		if killed < kills {
			if !bytes.Equal(get(t, out), get(t, whole)) {
				t.Fatalf("after %d kills the model differs from an undisturbed run's", killed)
			}
			os.Remove(out)
			os.RemoveAll(out + ".work")
			continue
		}
		break
	}
	if !bytes.Equal(get(t, out), get(t, whole)) {
		t.Errorf("after %d kills the model differs from an undisturbed run's", killed)
	}
	es, _ := os.ReadDir(dir)
	for _, e := range es {
		if strings.HasSuffix(e.Name(), ".work") || strings.HasSuffix(e.Name(), ".lock") {
			t.Errorf("%s stays", e.Name())
		}
	}
}

// TestInterrupt: the interrupt ends train with exit code 1, one line, and nothing under the final name.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	npz, out := filepath.Join(dir, "d.npz"), filepath.Join(dir, "o.onnx")
	dataset(t, npz, 400)
	c := child(t, "train", "--data", npz, "--epochs", "100000", "-o", out)
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		time.Sleep(50 * time.Millisecond)
		if _, err := os.Stat(out + ".work"); err == nil {
			break
		}
	}
	time.Sleep(100 * time.Millisecond)
	c.Process.Signal(os.Interrupt)
	c.Wait()
	if c.ProcessState.ExitCode() != exitFailed || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit %d, %q", c.ProcessState.ExitCode(), errs.String())
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a model stands under the final name")
	}
}
