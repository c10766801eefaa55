package zoo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"whit/card"
	"whit/graph"
	"whit/internal/pull"
	"whit/plan"
	"whit/tensor"
)

// nets are the trained networks' builders and one shape that their inputs may have.
var nets = map[string]struct {
	build func(*given) (*graph.Graph, error)
	input []int
}{
	"mtcnn-pnet":         {pnet, []int{1, 3, 41, 52}},
	"mtcnn-rnet":         {rnet, []int{2, 3, 24, 24}},
	"mtcnn-onet":         {onet, []int{2, 3, 48, 48}},
	"demosaicnet-bayer":  {demosaicBayer, []int{1, 3, 74, 78}},
	"demosaicnet-xtrans": {demosaicXTrans, []int{1, 3, 36, 42}},
	"dlib-face":          {dlibFace, []int{2, 3, 150, 150}},
}

// runGraph runs g on the engine and returns its outputs by name.
func runGraph(t *testing.T, g *graph.Graph, x *tensor.Tensor) map[string]*tensor.Tensor {
	t.Helper()
	p, err := plan.NewProgram(g, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"input": x.Type})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	copy(s.Input("input").Bytes(), x.Bytes())
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	out := map[string]*tensor.Tensor{}
	for _, v := range g.Outputs {
		out[v.Name] = s.Output(v.Name).Clone()
	}
	return out
}

// seeded is the input of the golden outputs: a linear congruential generator, which
// any language has, in [-1,1).
func seeded(seed uint32, shape []int) *tensor.Tensor {
	x := tensor.New(tensor.Float32, shape...)
	w := tensor.Of[float32](x)
	for i := range w {
		seed = seed*1664525 + 1013904223
		w[i] = float32(seed>>8)/(1<<23) - 1
	}
	return x
}

// weightsOf are the constants that a builder drew, under the names that it asks for.
func weightsOf(g *graph.Graph) []tensor.Named {
	var list []tensor.Named
	for _, v := range g.Values() {
		if v.Kind != graph.Const || v.Type.DType != tensor.Float32 || strings.HasSuffix(v.Name, ".mean") || strings.HasSuffix(v.Name, ".var") {
			continue
		}
		name, x := v.Name, v.Tensor().Clone()
		if name == "fc.weight" {
			name = "fc"
		}
		if strings.HasPrefix(name, "prelu") {
			x = x.Reshape(x.Len())
		}
		list = append(list, tensor.Named{Name: name, T: x})
	}
	return list
}

// TestTrained builds every trained network with drawn weights, and again from these:
// it takes them all, refuses others, and runs on the engine.
func TestTrained(t *testing.T) {
	for name, n := range nets {
		t.Run(name, func(t *testing.T) {
			g, err := n.build(nil)
			if err != nil {
				t.Fatal(err)
			}
			list := weightsOf(g)
			again := func(change func(*given)) (*graph.Graph, error) {
				s, err := newGiven(list)
				if err != nil {
					t.Fatal(err)
				}
				change(s)
				return n.build(s)
			}
			h, err := again(func(*given) {})
			if err != nil {
				t.Fatal(err)
			}
			x := seeded(1, n.input)
			for out, y := range runGraph(t, h, x) {
				for _, v := range tensor.Of[float32](y) {
					if v-v != 0 {
						t.Fatalf("output %s is not finite", out)
					}
				}
			}
			for what, change := range map[string]func(*given){
				"one more":      func(s *given) { s.w["more"] = list[0].T },
				"one less":      func(s *given) { delete(s.w, list[len(list)-1].Name) },
				"another shape": func(s *given) { s.w[list[1].Name] = tensor.New(tensor.Float32, 7) },
			} {
				if _, err := again(change); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestModels: the table is whole, sorted, and pinned.
func TestModels(t *testing.T) {
	last := ""
	for _, m := range Models() {
		if m.Name <= last {
			t.Errorf("%s is behind %s", m.Name, last)
		}
		last = m.Name
		c, err := card.Parse([]byte(m.Card), nil)
		if err != nil || c.Licence == "" || c.Task == "" || len(c.Missing()) > 0 {
			t.Errorf("%s: %v, licence %q, task %q, missing %v", m.Name, err, c.Licence, c.Task, c.Missing())
		}
		if m.About == "" || m.Package == "" || m.Licence == "" || m.Terms == "" || m.Trained == "" || !slices.Contains([]string{"yes", "no", "unclear"}, m.Commercial) {
			t.Errorf("%s: something is not said: %+v", m.Name, m)
		}
		a, ok := m.Spec.Source.(pull.Archive)
		if !ok || len(a.SHA256) != 64 || a.Size <= 0 || !strings.Contains(m.Command(), a.Package) {
			t.Errorf("%s: source %+v", m.Name, m.Spec.Source)
		}
		for _, f := range m.Spec.Files {
			if len(f.SHA256) != 64 || f.Size <= 0 || f.Size > maxWeights {
				t.Errorf("%s: file %+v", m.Name, f)
			}
		}
	}
	if _, err := FindModel(Models(), "nosuch"); err == nil || !strings.Contains(err.Error(), "dlib-face") {
		t.Error(err)
	}
}

// load is the pulled model, or the test is skipped: without WHIT_LONG only the cache is
// asked.
func load(t *testing.T, name string) *graph.Graph {
	t.Helper()
	m, err := FindModel(Models(), name)
	if err != nil {
		t.Fatal(err)
	}
	if !m.Cached() && (!long || pull.Offline()) {
		t.Skip("not in the cache")
	}
	g, err := m.Load(context.Background(), "", true)
	if errors.Is(err, pull.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGolden holds the pulled models to testdata/golden.npz: the outputs of the packages'
// own PyTorch classes (PyTorch 2.0.1, weights by torch.load), and, for the two forms of
// dlib's network, of the same network written in PyTorch with the weights read by another
// program, on seeded inputs.
func TestGolden(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "golden.npz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	list, err := tensor.ReadNPZ(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		seed        uint32
		scale, move float32
		outputs     int
	}{
		{"mtcnn-pnet", 1, 1, 0, 2}, {"mtcnn-rnet", 2, 1, 0, 2}, {"mtcnn-onet", 3, 1, 0, 3},
		{"demosaicnet-bayer", 4, .5, .5, 1}, {"demosaicnet-xtrans", 5, .5, .5, 1},
		{"dlib-face", 6, .5, 0, 1}, {"dlib-face-u8", 6, .5, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := load(t, c.name)
			x := seeded(c.seed, nets[strings.TrimSuffix(c.name, "-u8")].input)
			for i, v := range tensor.Of[float32](x) {
				tensor.Of[float32](x)[i] = v*c.scale + c.move
			}
			out := runGraph(t, g, x)
			n := 0
			for _, w := range list {
				name, ok := strings.CutPrefix(w.Name, c.name+".")
				if !ok {
					continue
				}
				n++
				y := out[name]
				if y == nil || !y.Shape.Equal(w.T.Shape) {
					t.Errorf("output %s is %v, want %v", name, y, w.T.Type)
					continue
				}
				got, want := tensor.Of[float32](y), tensor.Of[float32](w.T)
				largest, worst := 0.0, 0.0
				for i := range want {
					largest = max(largest, math.Abs(float64(want[i])))
					worst = max(worst, math.Abs(float64(got[i]-want[i])))
				}
				t.Logf("%s: off by %.2g of %.3g", name, worst, largest)
				if !(worst <= 5e-5*largest) {
					t.Errorf("%s: off by %v, the largest is %v", name, worst, largest)
				}
			}
			if n != c.outputs || n != len(out) {
				t.Errorf("%d outputs compared, %d given, want %d", n, len(out), c.outputs)
			}
		})
	}
}

// TestForms: dlib's own weights and face-api's agree, those that are not quantised to
// the bit, the others within a step of the quantisation (its range is moved so that zero
// is a level, at most half a step, and rounding takes the other half), and so do the
// descriptors.
func TestForms(t *testing.T) {
	own, u8 := load(t, "dlib-face"), load(t, "dlib-face-u8")
	exact, quantised := 0, 0
	for _, v := range u8.Values() {
		if v.Kind != graph.Const || v.Type.DType != tensor.Float32 {
			continue
		}
		w := own.Find(v.Name)
		if w == nil || !w.Type.Equal(v.Type) {
			t.Fatalf("%s is %v, dlib has %v", v.Name, v.Type, w)
		}
		a, b := tensor.Of[float32](w.Tensor()), tensor.Of[float32](v.Tensor())
		worst := 0.0
		for i := range a {
			worst = max(worst, math.Abs(float64(a[i]-b[i])))
		}
		if worst == 0 {
			exact += len(a)
			continue
		}
		quantised += len(a)
		step := float64(slices.Max(a)-slices.Min(a)) / 255
		if worst > step*1.001 {
			t.Errorf("%s: off by %v, a step is %v", v.Name, worst, step)
		}
	}
	x := seeded(6, nets["dlib-face"].input)
	for i, v := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = v / 2
	}
	a := tensor.Of[float32](runGraph(t, own, x)["descriptor"])
	b := tensor.Of[float32](runGraph(t, u8, x)["descriptor"])
	for i := range 2 {
		d, n := 0.0, 0.0
		for k := i * 128; k < i*128+128; k++ {
			d += float64(a[k]-b[k]) * float64(a[k]-b[k])
			n += float64(a[k]) * float64(a[k])
		}
		t.Logf("descriptors %.4f apart, length %.4f", math.Sqrt(d), math.Sqrt(n))
		if math.Sqrt(d) > 0.1 { // 0.6 is another person
			t.Errorf("descriptors are %v apart", math.Sqrt(d))
		}
	}
	t.Logf("%d weights equal, %d within a step", exact, quantised)
	if exact < 100000 || quantised < 1000000 {
		t.Errorf("%d weights equal, %d quantised", exact, quantised)
	}
}

// TestTerms: nothing is fetched before terms that are not free are accepted, and offline
// the error says what to type.
func TestTerms(t *testing.T) {
	t.Setenv("WHIT_CACHE", t.TempDir())
	t.Setenv("WHIT_OFFLINE", "1")
	t.Setenv("PATH", t.TempDir()) // npm has a cache of its own
	for _, m := range Models() {
		_, err := m.Load(context.Background(), "", false)
		if errors.Is(err, ErrLicence) == m.Free() {
			t.Errorf("%s, commercial use %s: %v", m.Name, m.Commercial, err)
		}
		if _, err = m.Load(context.Background(), "", true); !errors.Is(err, pull.ErrUnavailable) || !strings.Contains(err.Error(), "`"+m.Command()+"`") {
			t.Errorf("%s: %v", m.Name, err)
		}
		if _, err = m.Load(context.Background(), "models_test.go", true); !errors.Is(err, pull.ErrChecksum) {
			t.Errorf("%s from another file: %v", m.Name, err)
		}
	}
}

// datOf writes dlib's form of the network with the given weights.
func datOf(s *given) []byte {
	var b []byte
	num := func(list ...int) {
		for _, v := range list {
			c, u := byte(0), uint64(v)
			if v < 0 {
				c, u = 0x80, uint64(-v)
			}
			x := binary.LittleEndian.AppendUint64(nil, u)
			n := 8
			for n > 1 && x[n-1] == 0 {
				n--
			}
			b = append(append(b, c|byte(n)), x[:n]...)
		}
	}
	text := func(s string) { num(len(s)); b = append(b, s...) }
	floats := func(dims [4]int, parts ...[]float32) {
		num(2)
		num(dims[:]...)
		for _, w := range parts {
			for _, v := range w {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
		}
	}
	end := func() {
		b = append(b, "110"...)
		for range 3 {
			num(2, 0, 0, 0, 0)
		}
	}
	plain := func(kind string, v ...int) { text(kind); num(v...); end() }
	of := func(name string) []float32 { return tensor.Of[float32](s.w[name]) }
	layer := func(name string, n, c, k, stride, pad int) {
		text("con_4")
		w, bias := of(name+".conv.weight"), of(name+".conv.bias")
		floats([4]int{len(w) + n, 1, 1, 1}, w, bias)
		num(n, k, k, stride, stride, pad, pad)
		num(1, n, c, k, k, 1, 1, n, 1, 1)
		num(1, 0, 1, 0, 1, 0, 0, 0)
		end()
		if name == "conv32_down" {
			num(1)
		}
		text("affine_")
		floats([4]int{2 * n, 1, 1, 1}, of(name+".scale.weight"), of(name+".scale.bias"))
		num(1, 1, n, 1, 1, 1, 1, n, 1, 1, 0)
		end()
	}
	num(1)
	text("loss_metric_2")
	num(10737418, -28, 10066330, -24, 2, 1, 2, 3)
	text("input_rgb_image_sized")
	num(16093282, -17, 0, 0, 0, 0, 150, 150)
	layer("conv32_down", 32, 3, 7, 2, 0)
	plain("relu_")
	plain("max_pool_2", 3, 3, 2, 2, 0, 0)
	c := 32
	for _, l := range faceBlocks {
		stride, pad := 1, 1
		if l.down {
			stride, pad = 2, 0
		}
		layer(l.name+".conv1", l.n, c, 3, stride, pad)
		plain("relu_")
		layer(l.name+".conv2", l.n, l.n, 3, 1, 1)
		if c = l.n; l.down {
			plain("avg_pool_2", 2, 2, 2, 2, 0, 0)
		}
		plain("add_prev_")
		plain("relu_")
	}
	plain("avg_pool_2", 0, 0, 1, 1, 0, 0)
	text("fc_2")
	num(128, 256)
	floats([4]int{256, 128, 1, 1}, of("fc"))
	num(1, 256, 128, 1, 1, 1, 0, 0, 0, 0, 1)
	num(1, 0, 1, 0, 1, 0, 0, 0)
	end()
	return b
}

// TestDat writes and reads dlib's form; what is cut or changed is an error or a network.
func TestDat(t *testing.T) {
	g, err := dlibFace(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newGiven(weightsOf(g))
	if err != nil {
		t.Fatal(err)
	}
	b := datOf(s)
	back, err := readDlibFace(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range s.w {
		if got := back.w[name]; got == nil || !got.Type.Equal(w.Type) || !bytes.Equal(got.Bytes(), w.Bytes()) {
			t.Errorf("%s: %v, want %v", name, got, w.Type)
		}
	}
	for n := 0; n < len(b); n += 1 + n/3 {
		if _, err := readDlibFace(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for n := range 300 {
		c := bytes.Clone(b[:30000])
		c[n] ^= 0xff
		if _, err := readDlibFace(c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d: %v", n, err)
		}
	}
	if _, err := readDlibFace(append(bytes.Clone(b), b[len(b)-200:]...)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("more behind: %v", err)
	}
}

// FuzzDat: no panic, and no more memory than the file stands for.
func FuzzDat(f *testing.F) {
	g, err := dlibFace(nil)
	if err != nil {
		f.Fatal(err)
	}
	s, err := newGiven(weightsOf(g))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(datOf(s)[:20000])
	f.Add(datOf(s)[:400])
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := readDat(b)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		sum := 0
		for _, l := range n.layers {
			sum += 4 * len(l.params)
		}
		if sum > len(b) {
			t.Fatalf("%d bytes of parameters from %d", sum, len(b))
		}
	})
}

func TestManifest(t *testing.T) {
	const good = `[{"weights":[{"name":"a","shape":[2,1],"dtype":"float32"},{"name":"b","shape":[3],"dtype":"float32","quantization":{"dtype":"uint8","scale":0.5,"min":-1}}],"paths":["x"]}]`
	shards := append(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(1.5)), math.Float32bits(-2)), 0, 2, 255)
	list, err := readManifest([]byte(good), shards)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(tensor.Of[float32](list[0].T), list[0].T.Shape, tensor.Of[float32](list[1].T)); got != "[1.5 -2] [2,1] [-1 0 126.5]" {
		t.Error(got)
	}
	for name, c := range map[string]struct {
		manifest string
		shards   []byte
	}{
		"cut":            {good, shards[:10]},
		"more":           {good, append(slices.Clone(shards), 0)},
		"not JSON":       {good[:40], shards},
		"no group":       {"[]", nil},
		"two groups":     {`[{"weights":[]},{"weights":[]}]`, nil},
		"negative shape": {strings.Replace(good, "[3]", "[-3]", 1), shards},
		"huge shape":     {strings.Replace(good, "[3]", "[1000000,1000000]", 1), shards},
		"overflow":       {strings.Replace(good, "[3]", "[4294967296,4294967296,4]", 1), shards},
		"type":           {strings.Replace(good, `"dtype":"float32"}`, `"dtype":"int32"}`, 1), shards},
		"quantisation":   {strings.Replace(good, `"uint8"`, `"uint16"`, 1), shards},
		"scale":          {strings.Replace(good, "0.5", "1e300", 1), shards},
		"null":           {"null", nil},
		"large":          {strings.Repeat(" ", maxManifest+1), nil},
	} {
		if _, err := readManifest([]byte(c.manifest), c.shards); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzManifest: no panic, and tensors of no more than the shards.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`[{"weights":[{"name":"conv32_down/conv/filters","shape":[1,1,1,3],"dtype":"float32","quantization":{"dtype":"uint8","scale":0.5,"min":-1}}]}]`), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, manifest, shards []byte) {
		list, err := readManifest(manifest, shards)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		n := 0
		for _, x := range list {
			n += x.T.Len()
		}
		if n > len(shards) {
			t.Fatalf("%d values from %d bytes", n, len(shards))
		}
		if s, err := readFaceAPI(manifest, shards); err == nil {
			if _, err := dlibFace(s); err == nil {
				t.Fatal("a whole network")
			}
		}
	})
}
