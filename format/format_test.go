package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"whit/entropy"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

var update = flag.Bool("update", false, "rewrite golden files")

// pruned makes a float32 tensor with the given share of normal values, the rest zero.
func pruned(seed uint64, density float64, shape ...int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 7))
	t := tensor.New(tensor.Float32, shape...)
	x := tensor.Of[float32](t)
	for i := range x {
		if r.Float64() < density {
			x[i] = float32(r.NormFloat64())
		}
	}
	return t
}

// shared quantises the non-zeros of t to 2k levels and holds them as sparse(codebook).
func shared(t *tensor.Tensor, k float64) weight.Sparse {
	q := t.Clone()
	x := tensor.Of[float32](q)
	for i, v := range x {
		if v != 0 {
			x[i] = float32((math.Floor(float64(v)*k/3) + .5) * 3 / k)
		}
	}
	s, err := weight.SparseOf(q, nil)
	if err != nil {
		panic(err)
	}
	c, ok := weight.CodebookOf(s.Values.Dense(), 1000)
	if !ok {
		panic("too many values")
	}
	s.Values = c
	return s
}

// lenet is LeNet-300-100 under Deep Compression, as a model graph.
func lenet() *File {
	g := graph.New("lenet300")
	x := g.AddInput("input", tensor.Float32, -1, 1, 28, 28)
	v := g.Add("", "Flatten", nil, x)
	sizes := []int{784, 300, 100, 10}
	for i := 1; i < 4; i++ {
		w := g.NewWeight(fmt.Sprintf("fc%d.weight", i), shared(pruned(uint64(i), []float64{0, .08, .09, .26}[i], sizes[i], sizes[i-1]), 16))
		b := g.NewConst(fmt.Sprintf("fc%d.bias", i), pruned(uint64(10+i), 1, sizes[i]))
		v = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, v, w, b)
		if i < 3 {
			v = g.Add("", "Relu", nil, v)
		}
	}
	v.Name = "logits"
	v.Decl = graph.Decl{DType: tensor.Float32, Ranked: true, Dims: []graph.Dim{{Size: -1}, {Size: 10}}}
	g.Outputs = []*graph.Value{v}
	return &File{Graph: g, Card: []byte("card: 1\ntask: classify\ninput: {name: input, color: gray, scale: 0.003921569}\nlicence: Apache-2.0\n")}
}

// grouped has weights of 2 to 8 bits, with scales of every granularity.
func grouped() *File {
	packed := func(d tensor.DType, shape ...int) *tensor.Tensor {
		levels, lo := make([]int32, tensor.Shape(shape).NumElements()), 0
		if d.IsSigned() {
			lo = -1 << (d.Bits() - 1)
		}
		for i := range levels {
			levels[i] = int32(lo + i*7%(1<<d.Bits()))
		}
		q, err := weight.PackLevels(d, levels, shape...)
		if err != nil {
			panic(err)
		}
		return q
	}
	nine := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}
	g := graph.New("grouped")
	g.Outputs = []*graph.Value{g.AddInput("x", tensor.Float32, 2)}
	in := []*graph.Value{g.Inputs[0],
		g.NewWeight("int4", weight.Int8{Q: packed(tensor.Int4, 3, 5), Axis: weight.PerTensor, Scale: nine[:1]}),
		g.NewWeight("uint4 groups", weight.Int8{Q: packed(tensor.Uint4, 3, 5), Axis: 1, Group: 2, Scale: nine, Zero: []int32{0, 15, 3, 4, 5, 6, 7, 8, 9}}),
		g.NewWeight("int2 axis", weight.Int8{Q: packed(tensor.Int2, 3, 3), Axis: 0, Scale: nine[:3], Zero: []int32{-2, 0, 1}}),
		g.NewWeight("uint2 groups", weight.Int8{Q: packed(tensor.Uint2, 7, 3), Axis: 0, Group: 3, Scale: nine}),
		g.NewWeight("int8 groups", weight.Int8{Q: packed(tensor.Int8, 2, 3), Axis: 1, Group: 2, Scale: nine[:4]}),
		g.NewWeight("int4 images", weight.Int8{Q: packed(tensor.Int4, 3, 8, 1, 3), Axis: 1, Group: 8, Scale: nine}),
		g.NewWeight("sparse int4", weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: []uint64{0b10_0110},
			Values: weight.Int8{Q: packed(tensor.Int4, 3), Axis: 0, Scale: nine[:3], Zero: []int32{1, 2, 3}}}),
	}
	n := g.NewNode("example.org", "Sum", nil, 1, in...)
	g.Nodes = append(g.Nodes, n)
	return &File{Graph: g}
}

// onPaths has weights of a dependent quantiser, of one scale and one for each output.
func onPaths() *File {
	r := rand.New(rand.NewPCG(5, 7))
	levels := func(d tensor.DType, cols int, shape ...int) *tensor.Tensor {
		x := make([]int32, tensor.Shape(shape).NumElements())
		state, most := 0, int32(1<<(d.Bits()-2)-1)
		for i := range x {
			if i%cols == 0 {
				state = 0
			}
			k := min(max(int32(math.Round(2*r.NormFloat64())), -most), most)
			x[i] = entropy.LevelValue(state, k)
			state = entropy.NextState(state, k)
		}
		q, err := weight.PackLevels(d, x, shape...)
		if err != nil {
			panic(err)
		}
		return q
	}
	g := graph.New("dependent")
	g.Outputs = []*graph.Value{g.AddInput("x", tensor.Float32, 2)}
	n := g.NewNode("example.org", "Sum", nil, 1, g.Inputs[0],
		g.NewWeight("matrix", weight.Int8{Q: levels(tensor.Int8, 20, 9, 20), Axis: weight.PerTensor, Scale: []float32{0.5}}),
		g.NewWeight("kernels", weight.Int8{Q: levels(tensor.Int4, 18, 4, 2, 3, 3), Axis: 0, Scale: []float32{1, 2, 3, 4}}))
	g.Nodes = append(g.Nodes, n)
	return &File{Graph: g}
}

// zoo has every form of constant, attribute and value, small.
func zoo() *File {
	g := graph.New("zoo \"é\"")
	g.Doc = "all of it"
	g.Meta = map[string]string{"b": "2", "a": "", "": "empty key"}
	x := g.AddInput("x", tensor.Float32, -1, 3)
	x.Decl.Dims[0].Name = "batch"
	y := g.AddInput("unranked", tensor.Invalid)
	y.Decl.Ranked, y.Decl.Dims = false, nil
	cond := g.AddInput("cond", tensor.Bool)
	f32 := tensor.From([]float32{1, float32(math.Copysign(0, -1)), float32(math.NaN()), 3}, 4)
	palette := tensor.New(tensor.Float32, 6, 8)
	tensor.Of[float32](palette)[5] = -2
	q := tensor.From([]int8{-128, 127, 0, 5, 5, -7}, 2, 3)
	u := tensor.From([]uint8{0, 255, 128, 3, 4, 128}, 2, 3)
	codes := tensor.From([]uint16{300, 2, 2, 0}, 2, 2)
	book := make([]float32, 301)
	book[300], book[0] = -1, float32(math.Inf(1))
	small := weight.Codebook{Indices: tensor.From([]uint8{2, 0, 1}, 3), Centroids: []float32{-3, -1, 2}}
	mask := []uint64{0b10_0110}
	half := tensor.New(tensor.Float16, 3)
	tensor.Convert(half, tensor.From([]float32{1, 2, -1}, 3))
	in := []*graph.Value{x, nil, y,
		g.NewConst("f32", f32),
		g.NewConst("palette", palette),
		g.NewConst("masked", pruned(6, .2, 8, 70)),
		g.NewWeight("masked weight", weight.Dense{T: pruned(7, .6, 500)}),
		g.NewConst("i64", tensor.Ints(-1, 1<<40, 3)),
		g.NewConst("shape", tensor.Ints(0, -1, 300)),
		g.NewConst("bools", tensor.From([]bool{true, false}, 2)),
		g.NewConst("u64", tensor.From([]uint64{1 << 63}, 1)),
		g.NewConst("u32", tensor.From([]uint32{7, 9}, 2)),
		g.NewConst("i16", tensor.From([]int16{-7, 9}, 2, 1)),
		g.NewConst("scalar", tensor.Scalar(float32(3))),
		g.NewConst("f64", tensor.Scalar(math.Pi)),
		g.NewConst("none", tensor.New(tensor.Float32, 0, 7)),
		g.NewConst("int4", tensor.New(tensor.Int4, 3)),
		g.NewConst("f8", tensor.New(tensor.Float8E4M3FN, 3)),
		g.NewVar(graph.Param, "param", pruned(3, 1, 2, 5)),
		g.NewVar(graph.State, "state", pruned(4, .5, 40)),
		g.NewWeight("dense", weight.Dense{T: pruned(5, 1, 3, 3)}),
		g.NewWeight("dense f16", weight.Dense{T: half}),
		g.NewWeight("int8", weight.Int8{Q: q, Axis: weight.PerTensor, Scale: []float32{.5}}),
		g.NewWeight("int8 axis", weight.Int8{Q: u, Axis: 1, Scale: []float32{.5, 1, 2}, Zero: []int32{128, 0, 3}}),
		g.NewWeight("codebook", weight.Codebook{Indices: codes, Centroids: book}),
		g.NewWeight("sparse", weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: mask, Values: weight.Dense{T: tensor.From([]float32{1, 0, -1}, 3)}}),
		g.NewWeight("sparse f16", weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: mask, Values: weight.Dense{T: half}}),
		g.NewWeight("sparse codebook", weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: mask, Values: small}),
		g.NewWeight("sparse int8", weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: mask,
			Values: weight.Int8{Q: tensor.From([]int8{0, -3, 4}, 3), Axis: weight.PerTensor, Scale: []float32{2}}}),
		g.NewWeight("sparse int8 axis", weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: mask,
			Values: weight.Int8{Q: tensor.From([]uint8{9, 1, 4}, 3), Axis: 0, Scale: []float32{2, 3, 4}, Zero: []int32{1, 2, 3}}}),
		g.NewWeight("sparse empty", weight.Sparse{Shape: tensor.Shape{9}, Mask: []uint64{0}, Values: weight.Dense{T: tensor.New(tensor.Float32, 0)}}),
	}
	sub := graph.New("then")
	sx := sub.AddInput("sx", tensor.Float32, 2)
	sv := sub.Add("", "Add", nil, sx, sub.NewConst("sub const", tensor.From([]float32{1, 2}, 2)))
	sv.Name = "sub out"
	sub.Outputs = []*graph.Value{sv}
	sub2 := graph.New("else")
	sub2.Outputs = []*graph.Value{sub2.AddInput("sx2", tensor.Float32, 2)}
	sub3 := graph.New("third")
	sub3.Outputs = []*graph.Value{sub3.AddInput("sx3", tensor.Float32)}
	outs := g.AddN("my.domain", "Strange", map[string]any{
		"int": int64(-5), "small": int64(63), "float": float32(2.5), "alpha": float32(1), "neg zero": float32(math.Copysign(0, -1)),
		"string": "s", "ints": []int64{1, -1, math.MinInt64}, "many": make([]int64, 40), "floats": []float32{1, float32(math.NaN())},
		"strings": []string{"a", ""}, "tensor": tensor.Ints(1, 2, 3), "value": tensor.From([]float32{1.5}, 1), "then_branch": sub, "graphs": []*graph.Graph{sub2, sub3},
	}, 5, in...)
	n := g.Nodes[0]
	n.Out[1], n.Out[3] = nil, nil
	relu := g.Add("", "Relu", nil, outs[2])
	more := g.AddN("", "Split", map[string]any{"axis": int64(1)}, 2, relu)
	c := g.Add("", "If", nil, cond)
	c.Name = "out c"
	g.Outputs = []*graph.Value{c, more[1], x, in[3], more[1]}
	return &File{Graph: g, Card: []byte{}, Receipt: []byte("steps: []")}
}

func write(t testing.TB, f *File, o Options) ([]byte, Sizes) {
	t.Helper()
	var b bytes.Buffer
	s, err := Write(&b, f, o)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), s
}

func read(b []byte) (*File, error) { return Read(bytes.NewReader(b), int64(len(b))) }

func TestRoundTrip(t *testing.T) {
	for name, f := range map[string]*File{"lenet": lenet(), "zoo": zoo(), "grouped": grouped(), "dependent": onPaths(), "empty": {Graph: graph.New("")}} {
		for _, o := range []Options{{}, {Profile: Fast}, {Strip: true}, {Profile: Fast, Strip: true}, {Coder: "raw"}, {Coder: "huffman"}, {Coder: "relative"}, {Coder: "rans"}, {Coder: "context"}, {Chunks: true}} {
			t.Run(fmt.Sprintf("%s/%+v", name, o), func(t *testing.T) {
				if err := f.Graph.Verify(); err != nil {
					t.Fatal(err)
				}
				b, s := write(t, f, o)
				back, err := read(b)
				if err != nil {
					t.Fatal(err)
				}
				if err := compare(f, back, o.Strip); err != nil {
					t.Fatal(err)
				}
				if !o.Strip {
					if a, b := f.Graph.String(), back.Graph.String(); a != b && !strings.Contains(a, "NaN") {
						t.Errorf("graphs differ:\n%s\n%s", a, b)
					}
				}
				again, _ := write(t, back, o)
				if !bytes.Equal(b, again) {
					t.Error("what was read is written as other bytes")
				}
				for _, s := range []Sizes{s, back.Sizes} {
					if s.File != int64(len(b)) || s.Container+s.Graph+s.Data+s.Card+s.Names+s.Meta+s.Receipt != s.File {
						t.Errorf("sizes do not add up: %+v", s)
					}
					total := int64(0)
					for _, w := range s.Weights {
						total += w.Bytes
					}
					if len(s.Weights) > 0 && (total > s.Data || total < s.Data-64) {
						t.Errorf("weights have %d of %d bytes", total, s.Data)
					}
				}
			})
		}
	}
}

// TestDeterministic: the bytes depend on the file and the options alone.
func TestDeterministic(t *testing.T) {
	one, _ := write(t, zoo(), Options{Threads: 1})
	for range 5 {
		if b, _ := write(t, zoo(), Options{Threads: 3}); !bytes.Equal(one, b) {
			t.Fatal("bytes differ")
		}
	}
}

// lenet5 is LeNet-5 as it is after channels were pruned away: any widths.
func lenet5(c1, c2, f1 int) *File { return lenet5As(c1, c2, f1, false) }

// lenet5As is that, with all weights as multiples of a step if steps is set.
func lenet5As(c1, c2, f1 int, steps bool) *File {
	g := graph.New("lenet5")
	g.Meta = map[string]string{"whit.arch": "lenet5"}
	v := g.AddInput("input", tensor.Float32, -1, 1, 28, 28)
	v.Decl.Dims[0].Name = "N"
	layer := func(op, name string, attrs map[string]any, seed uint64, shape ...int) {
		w := g.NewWeight(name+".weight", shared(pruned(seed, .2, shape...), 14))
		c, _ := weight.CodebookOf(shared(pruned(seed+10, 1, shape[0]), 12).Dense(), 100)
		b := g.NewWeight(name+".bias", c)
		if steps {
			w, b = g.NewWeight(name+".weight", stepped(w.Weight.Dense(), .25)), g.NewWeight(name+".bias", stepped(c.Dense(), .0625))
		}
		v = g.Add("", op, attrs, v, w, b)
		v.Name, v.Producer.Name = name, name
	}
	conv := map[string]any{"dilations": []int64{1, 1}, "group": int64(1), "kernel_shape": []int64{5, 5}, "pads": []int64{0, 0, 0, 0}, "strides": []int64{1, 1}}
	gemm := map[string]any{"alpha": float32(1), "beta": float32(1), "transB": int64(1)}
	add := func(op, name string, attrs map[string]any) {
		v = g.Add("", op, attrs, v)
		v.Name, v.Producer.Name = name, name
	}
	layer("Conv", "conv1", conv, 1, c1, 1, 5, 5)
	add("MaxPool", "pool1", map[string]any{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}})
	layer("Conv", "conv2", conv, 2, c2, c1, 5, 5)
	add("MaxPool", "pool2", map[string]any{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}})
	add("Flatten", "flatten", map[string]any{"axis": int64(1)})
	layer("Gemm", "fc1", gemm, 3, f1, 16*c2)
	add("Relu", "relu1", nil)
	layer("Gemm", "fc2", gemm, 4, 10, f1)
	v.Name = "logits"
	v.Decl = graph.Decl{DType: tensor.Float32, Ranked: true, Dims: []graph.Dim{{Size: -1, Name: "N"}, {Size: 10}}}
	g.Outputs = []*graph.Value{v}
	return &File{Graph: g, Card: []byte("card: 1\ntask: classify\ninput: {name: input, color: gray, orient: ignore, resize: {mode: stretch, size: 28, filter: pil-bilinear}, scale: 0.00392156862745098, mean: 0.1307, std: 0.3081}\noutput: {name: logits, activation: none}\nlabels: [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\nlicence: CC-BY-SA-3.0\n")}
}

// stepped holds t in multiples of step.
func stepped(t *tensor.Tensor, step float32) weight.Int8 {
	q := tensor.New(tensor.Int8, t.Shape...)
	for i, x := range tensor.Of[float32](t) {
		q.Bytes()[i] = byte(int8(max(-127, min(127, math.Round(float64(x/step))))))
	}
	return weight.Int8{Q: q, Axis: weight.PerTensor, Scale: []float32{step}}
}

// TestOverhead holds what a small file takes beside its weights: no sample is of a LeNet.
func TestOverhead(t *testing.T) {
	for name, f := range map[string]*File{"lenet300": lenet(), "lenet5": lenet5(20, 50, 500), "lenet5 with channels pruned": lenet5(7, 13, 41),
		"lenet5 in steps": lenet5As(7, 13, 41, true)} {
		for _, strip := range []bool{false, true} {
			b, s := write(t, f, Options{Strip: strip})
			beside := s.File
			for _, w := range s.Weights {
				beside -= w.Bytes
			}
			s.Weights = nil
			t.Logf("%s, strip %v: %d bytes, %d beside the weights, %+v", name, strip, len(b), beside, s)
			if !strip && name == "lenet300" {
				continue // its names are none that are known
			}
			if limit := map[bool]int64{true: 64, false: 96}[strip]; beside > limit {
				t.Errorf("%s, strip %v: %d bytes beside the weights", name, strip, beside)
			}
		}
	}
}

func TestFastIsAligned(t *testing.T) {
	b, _ := write(t, lenet(), Options{Profile: Fast})
	f, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range f.Graph.Values() {
		if v.Data != nil && !aligned64(v.Data.Bytes()) {
			t.Errorf("%q is not aligned in memory", v.Name)
		}
		if s, ok := v.Weight.(weight.Sparse); ok && !aligned64(s.Values.(weight.Codebook).Indices.Bytes()) {
			t.Errorf("indices of %q are not aligned in memory", v.Name)
		}
		if v.Data != nil {
			if i := bytes.Index(b, v.Data.Bytes()); i < 0 || i%64 != 0 {
				t.Errorf("%q stands at byte %d", v.Name, i)
			}
		}
	}
}

func aligned64(b []byte) bool {
	return fmt.Sprintf("%p", b)[len(fmt.Sprintf("%p", b))-1] == '0' && addr(b)%64 == 0
}

func addr(b []byte) (a uint64) {
	fmt.Sscanf(fmt.Sprintf("%p", b), "0x%x", &a)
	return a
}

// tiny is a file of few bytes with every chunk.
func tiny() *File {
	g := graph.New("t")
	g.Meta = map[string]string{"k": "v"}
	w := weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: []uint64{0b100101}, Values: weight.Codebook{Indices: tensor.From([]uint8{0, 1, 0}, 3), Centroids: []float32{-.5, .25}}}
	v := g.Add("", "Gemm", map[string]any{"transB": int64(1)}, g.AddInput("x", tensor.Float32, -1, 3), g.NewWeight("w", w), g.NewConst("b", tensor.From([]float32{1, -2}, 2)))
	v.Name = "y"
	v.Decl = graph.Decl{DType: tensor.Float32, Ranked: true, Dims: []graph.Dim{{Size: -1}, {Size: 2}}}
	g.Outputs = []*graph.Value{v}
	return &File{Graph: g, Card: []byte("card: 1\n"), Receipt: []byte("r")}
}

func refused(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) || errors.Is(err, ErrTooLarge)
}

func TestEveryCutAndFlip(t *testing.T) {
	for name, f := range map[string]*File{"tiny": tiny(), "zoo": zoo(), "grouped": grouped(), "dependent": onPaths()} {
		for _, o := range []Options{{}, {Profile: Fast}, {Chunks: true}} {
			b, _ := write(t, f, o)
			for n := range b {
				if _, err := read(b[:n]); !refused(err) {
					t.Fatalf("%s %+v cut to %d of %d bytes: %v", name, o, n, len(b), err)
				}
			}
			if _, err := read(append(bytes.Clone(b), 0)); !refused(err) {
				t.Errorf("%s: a byte more: %v", name, err)
			}
			for i := range b {
				d := bytes.Clone(b)
				for x := 1; x < 256; x++ {
					if name == "zoo" && x&(x-1) != 0 {
						continue
					}
					d[i] = b[i] ^ byte(x)
					if _, err := read(d); !refused(err) {
						t.Fatalf("%s %+v byte %d of %d changed by %#x: %v", name, o, i, len(b), x, err)
					}
				}
			}
		}
	}
}

// fix recomputes the checksums of a damaged file as far as its chunks can be told.
func fix(b []byte) []byte {
	b = bytes.Clone(b)
	at := len(magic) + 1
	if at+sumSize < len(b) && (b[at] == smallModel || b[at] == smallArrays) {
		end := len(b) - sumSize
		binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
		return b
	}
	for at < len(b) {
		n, k := binary.Uvarint(b[at+1:])
		if k <= 0 || n > uint64(len(b)) {
			break
		}
		end := at + 1 + k + int(n)
		foot := sumSize
		if end+foot > len(b) {
			break
		}
		crc := crc32.Checksum(b[at:end], castagnoli)
		if b[at] == chunkEnd {
			crc = crc32.Checksum(b[:end], castagnoli)
		}
		binary.LittleEndian.PutUint32(b[end:], crc)
		at = end + 4
	}
	return b
}

// check reads damaged bytes: an error of the right kind, or a graph that verifies
// and can be written again.
func check(t testing.TB, b []byte) {
	f, err := Read(bytes.NewReader(b), int64(len(b)), ReadOptions{MaxBytes: 64 << 20})
	if err != nil {
		if !refused(err) {
			t.Fatalf("error is %v", err)
		}
		return
	}
	if err := f.Graph.Verify(); err != nil {
		t.Fatal(err)
	}
	var w bytes.Buffer
	if _, err := Write(&w, f, Options{Profile: Fast, Strip: true}); err != nil {
		t.Fatalf("cannot be written again: %v", err)
	}
	again, err := Read(bytes.NewReader(w.Bytes()), int64(w.Len()))
	if err != nil {
		t.Fatalf("cannot be read again: %v", err)
	}
	if err := compare(f, again, true); err != nil {
		t.Fatal(err)
	}
}

func TestDamageWithChecksumsRecomputed(t *testing.T) {
	long := os.Getenv("WHIT_LONG") != ""
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // thousands of readers of some megabytes each
	for name, f := range map[string]*File{"tiny": tiny(), "zoo": zoo(), "grouped": grouped(), "dependent": onPaths()} {
		for _, o := range []Options{{Coder: "context"}, {Profile: Fast}, {Coder: "relative"}, {Chunks: true}} {
			b, _ := write(t, f, o)
			step := 5
			if name == "zoo" {
				step = 61
			}
			if long {
				step = 1
			}
			for i := len(magic); i < len(b); i += step {
				for _, x := range []byte{1, 2, 0x80, b[i]} {
					d := bytes.Clone(b)
					d[i] ^= x
					check(t, fix(d))
				}
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, file := range []*File{tiny(), zoo(), grouped(), onPaths(), onLevels(.3, []float32{.5, .25}, times(.3, []float32{.5, .25}, 2))} {
		for _, o := range []Options{{}, {Profile: Fast}, {Coder: "relative"}, {Chunks: true}} {
			b, _ := write(f, file, o)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, b)
		check(t, fix(b))
		checkStored(t, b)
		checkStored(t, fix(b))
	})
}

func TestChunksThatAreNotKnown(t *testing.T) {
	build := func(typ byte, version uint64) []byte {
		b, _ := write(t, tiny(), Options{Chunks: true})
		var out bytes.Buffer
		w := &chunkWriter{w: &out}
		w.write(binary.AppendUvarint([]byte(magic), version))
		w.chunk(typ, []byte("payload"))
		out.Write(b[len(magic)+1:])
		return fix(out.Bytes())
	}
	if f, err := read(build(0xf0, Version)); err != nil || f.Graph == nil {
		t.Errorf("unknown optional chunk: %v", err)
	}
	if _, err := read(build(0x70, Version)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("unknown critical chunk: %v", err)
	}
	if _, err := read(build(0x70, 100)); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "needs whit >= 0.100") {
		t.Errorf("newer file: %v", err)
	}
}

func TestBombs(t *testing.T) {
	bomb := func(g []byte, data []byte) []byte {
		var out bytes.Buffer
		w := &chunkWriter{w: &out}
		w.start()
		w.chunk(chunkGraph, g)
		if data != nil {
			w.chunk(chunkData, data)
		}
		w.end()
		return out.Bytes()
	}
	constant := func(shape tensor.Shape) []byte {
		w := wbuf{}
		w.b = append(w.b, 0, 0, 0, 1, 1) // no inputs, no nodes, one output: a constant
		(&desc{form: formSymbols, dtype: tensor.Int64, shape: shape}).write(&w, nil)
		return w.b
	}
	deep := func(n int) (b []byte) {
		for range n {
			b = append(b, 0, 0, 1, 3, 0x20, 53, attrGraph) // a Relu whose attribute is a graph
		}
		return b
	}
	for name, b := range map[string][]byte{
		"2^40 elements":     bomb(constant(tensor.Shape{1 << 20, 1 << 20}), []byte{1, 3, 2, 0, 0}),
		"overflow":          bomb(constant(tensor.Shape{1 << 40, 1 << 40}), []byte{1, 3, 0}),
		"2^30 inputs":       bomb(binary.AppendUvarint([]byte{0}, 1<<30), nil),
		"2^63 nodes":        bomb(binary.AppendUvarint([]byte{0, 0}, 1<<63), nil),
		"nesting":           bomb(deep(10000), nil),
		"constants no data": bomb(constant(tensor.Shape{1}), nil),
		"no graph":          bomb(nil, nil),
	} {
		if _, err := read(b); !refused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ok := bomb(constant(tensor.Shape{2}), append([]byte{1, 0, 5}, 0, 0, 0, 0, 0))
	f, err := read(ok)
	if err != nil {
		t.Fatal(err)
	}
	if got := tensor.Of[int64](f.Graph.Outputs[0].Data); got[0] != 0 || got[1] != 0 {
		t.Error(got)
	}
	if _, err := Read(bytes.NewReader(ok), int64(len(ok)), ReadOptions{MaxBytes: 10}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.whit")
	s, err := WriteFile(path, zoo(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadFile(path)
	if err != nil || f.Sizes.File != s.File {
		t.Fatal(err)
	}
	// What cannot be written leaves the old file and nothing else.
	bad := zoo()
	bad.Graph.Nodes[0].Attrs["bad"] = 3.5
	if _, err := WriteFile(path, bad, Options{}); err == nil {
		t.Fatal("an attribute of type float64")
	}
	if _, err := ReadFile(path); err != nil {
		t.Error(err)
	}
	if es, _ := os.ReadDir(dir); len(es) != 1 {
		t.Errorf("%d files are left", len(es))
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Write(&bytes.Buffer{}, zoo(), Options{Coder: "none"}); err == nil {
		t.Error("unknown coder")
	}
}

// TestDependent: levels that are a path of a dependent quantiser are stored as one, cut into streams too; others as they are.
func TestDependent(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(l []int32)
		want   bool
	}{
		{"path", func([]int32) {}, true},
		{"no path", func(l []int32) { l[len(l)-1]++ }, false},
		{"no odd value", func(l []int32) { clear(l) }, false},
	} {
		w := onPaths().Graph.Find("matrix").Weight.(weight.Int8)
		l := make([]int32, w.Q.Len())
		for i := range l {
			l[i] = w.Level(i)
		}
		tc.change(l)
		var err error
		if w.Q, err = weight.PackLevels(tensor.Int8, l, w.Q.Shape...); err != nil {
			t.Fatal(err)
		}
		it, err := describe(w, nil, graph.Const, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := it.d.flags&flagPath != 0; got != tc.want || it.block.Dependent != tc.want {
			t.Errorf("%s: stored as a path: %v", tc.name, got)
		}
	}
	for _, d := range []desc{
		{form: formInt8, flags: flagPath | flagWide, axis: -1, shape: tensor.Shape{2}},
		{form: formInt8, flags: flagPath, base: 1, axis: -1, shape: tensor.Shape{2}},
		{form: formSparse, inner: formInt8, flags: flagPath, axis: -1, shape: tensor.Shape{2}},
	} {
		var w wbuf
		d.write(&w, nil)
		r := rbuf{b: w.b}
		if readDesc(&r, nil); r.err == nil {
			t.Errorf("%+v is read", d)
		}
	}
	d := desc{form: formInt8, flags: flagPath, axis: -1, shape: tensor.Shape{1, 2}}
	b, elems := d.streams()
	elems[0].Data = []byte{0, 0, 128, 63}
	for _, bad := range []int32{1 << 30, -1 << 31, 129, 65} {
		b.Syms = []int32{1, bad}
		if _, _, err := d.build(b, elems); !errors.Is(err, ErrCorrupt) {
			t.Errorf("level %d: %v", bad, err)
		}
	}
}

func TestGroups(t *testing.T) {
	g := graph.New("big")
	v := g.AddInput("x", tensor.Float32, 1)
	for i := range 3 {
		v = g.Add("", "Add", nil, v, g.NewWeight(fmt.Sprint("w", i), shared(pruned(uint64(i), .01, 2000, 2500), 8)))
	}
	g.Outputs = []*graph.Value{v}
	f := &File{Graph: g}
	b, s := write(t, f, Options{Coder: "relative"})
	back, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(f, back, false); err != nil {
		t.Fatal(err)
	}
	if len(s.Weights) != 3 || s.Weights[0].Encoding != "sparse(codebook)" || s.Weights[0].Coder != "relative" {
		t.Errorf("%+v", s.Weights)
	}
}

// TestChoicesAndLevel: choices of kernels are kept, stripped or not and in every profile, and a
// delta restores them; files of either level say the same.
func TestChoicesAndLevel(t *testing.T) {
	plain, _ := write(t, lenet(), Options{})
	for _, o := range []Options{{}, {Strip: true}, {Profile: Fast}, {Level: FastLevel}, {Level: FastLevel, Chunks: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			f := lenet()
			f.Choices = []byte("choices 1\ncpu portable\nGemm 1x8 8x8 = direct\n")
			b, s := write(t, f, o)
			got, err := Read(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if err := compare(f, got, o.Strip); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(got.Choices, f.Choices) || s.Choices == 0 || got.Sizes.Choices != s.Choices {
				t.Errorf("choices %q of %d bytes, %d read", got.Choices, s.Choices, got.Sizes.Choices)
			}
			if s.Graph+s.Data+s.Card+s.Names+s.Meta+s.Receipt+s.Choices+s.Container != s.File {
				t.Errorf("the sizes %+v do not add up", s)
			}
			d, err := EncodeDelta(plain, b, 1)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := DecodeDelta(plain, d); err != nil || !bytes.Equal(back, b) {
				t.Errorf("the delta gives other bytes: %v", err)
			}
		})
	}
}
