package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"whit/graph"
	"whit/op"
	"whit/tensor"
	"whit/weight"
)

// opsetOf is the version that a written model imports for ONNX's own domain.
func opsetOf(t *testing.T, b []byte) int64 {
	t.Helper()
	p, err := parseModel(msg{s: &source{mem: b, size: int64(len(b))}, end: int64(len(b))})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range p.opsets {
		if o.domain == "" {
			return o.version
		}
	}
	t.Fatal("no opset")
	return 0
}

// TestOpset writes one node each; the versions are those of the schemas in which
// an operator, attribute, input or element type first stands.
func TestOpset(t *testing.T) {
	bf, f16, i4, f8 := tensor.BFloat16, tensor.Float16, tensor.Int4, tensor.Float8E4M3FN
	axes := tensor.Ints(1)
	for _, c := range []struct {
		name  string
		op    string
		d     tensor.DType
		attrs map[string]any
		more  []*tensor.Tensor // further inputs, nil where absent
		want  int64
	}{
		{"Relu", "Relu", f32, nil, nil, 17},
		{"Relu bfloat16", "Relu", bf, nil, nil, 17},
		{"HardSwish bfloat16", "HardSwish", bf, nil, nil, 22},
		{"Conv float16", "Conv", f16, nil, []*tensor.Tensor{tensor.New(f16, 1, 1, 1, 1)}, 17},
		{"Conv bfloat16", "Conv", bf, nil, []*tensor.Tensor{tensor.New(bf, 1, 1, 1, 1)}, 22},
		{"ReduceSum", "ReduceSum", f32, nil, []*tensor.Tensor{axes}, 17},
		{"ReduceMean", "ReduceMean", f32, nil, []*tensor.Tensor{axes}, 18},
		{"ReduceMax bool", "ReduceMax", tensor.Bool, nil, []*tensor.Tensor{axes}, 20},
		{"Split", "Split", f32, nil, []*tensor.Tensor{axes}, 17},
		{"Split in equal parts", "Split", f32, map[string]any{"num_outputs": int64(1)}, nil, 18},
		{"Pad", "Pad", f32, nil, []*tensor.Tensor{tensor.Ints(0, 0)}, 17},
		{"Pad wrap", "Pad", f32, map[string]any{"mode": "wrap"}, []*tensor.Tensor{tensor.Ints(0, 0)}, 19},
		{"Pad axes", "Pad", f32, nil, []*tensor.Tensor{tensor.Ints(0, 0), nil, axes}, 18},
		{"Resize", "Resize", f32, nil, []*tensor.Tensor{nil, nil, axes}, 17},
		{"Resize default of a newer attribute", "Resize", f32, map[string]any{"antialias": int64(0)}, []*tensor.Tensor{nil, nil, axes}, 17},
		{"Resize antialias", "Resize", f32, map[string]any{"antialias": int64(1)}, []*tensor.Tensor{nil, nil, axes}, 18},
		{"Resize symmetric", "Resize", f32, map[string]any{"coordinate_transformation_mode": "half_pixel_symmetric"}, []*tensor.Tensor{nil, nil, axes}, 19},
		{"Cast", "Cast", f32, map[string]any{"to": int64(7), "saturate": int64(1)}, nil, 17},
		{"Cast to float8", "Cast", f32, map[string]any{"to": f8.ONNX()}, nil, 19},
		{"Cast to int4", "Cast", f32, map[string]any{"to": i4.ONNX()}, nil, 21},
		{"Cast to int2", "Cast", f32, map[string]any{"to": tensor.Int2.ONNX()}, nil, 25},
		{"Reshape int4", "Reshape", i4, nil, []*tensor.Tensor{axes}, 21},
		{"Transpose float8", "Transpose", f8, nil, nil, 21},
		{"Gelu", "Gelu", f32, nil, nil, 20},
		{"Mish", "Mish", f32, nil, nil, 18},
		{"Swish", "Swish", f32, nil, nil, 24},
		{"AveragePool dilations", "AveragePool", f32, map[string]any{"kernel_shape": []int64{2}, "dilations": []int64{1}}, nil, 19},
		{"AveragePool ceil", "AveragePool", f32, map[string]any{"kernel_shape": []int64{3}, "strides": []int64{2}, "ceil_mode": int64(1)}, nil, 17},
		{"AveragePool ceil with a last window in the padding", "AveragePool", f32, map[string]any{"kernel_shape": []int64{3}, "strides": []int64{2}, "pads": []int64{1, 1}, "ceil_mode": int64(1)}, nil, 22},
		{"QuantizeLinear", "QuantizeLinear", f32, nil, []*tensor.Tensor{tensor.Scalar(float32(1)), tensor.Scalar(int8(0))}, 17},
		{"QuantizeLinear to int16", "QuantizeLinear", f32, nil, []*tensor.Tensor{tensor.Scalar(float32(1)), tensor.Scalar(int16(0))}, 21},
		{"DequantizeLinear blocks", "DequantizeLinear", tensor.Int8, map[string]any{"block_size": int64(32)}, []*tensor.Tensor{tensor.Scalar(float32(1))}, 21},
		{"GroupNormalization", "GroupNormalization", f32, map[string]any{"num_groups": int64(1)}, []*tensor.Tensor{tensor.New(f32, 2), tensor.New(f32, 2)}, 21},
		{"Mod", "Mod", tensor.Int32, nil, []*tensor.Tensor{tensor.Scalar(int32(2))}, 17},
		{"Mod of floats", "Mod", f32, nil, []*tensor.Tensor{tensor.Scalar(float32(2))}, 28},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graph.New("g")
			in := []*graph.Value{g.AddInput("x", c.d, 1, 2, 4)}
			for _, m := range c.more {
				if m == nil {
					in = append(in, nil)
				} else {
					in = append(in, g.NewConst("", m))
				}
			}
			g.Outputs = []*graph.Value{g.Add("", c.op, c.attrs, in...)}
			var b bytes.Buffer
			if err := Write(&b, g); err != nil {
				t.Fatal(err)
			}
			if v := opsetOf(t, b.Bytes()); v != c.want {
				t.Errorf("opset %d, want %d", v, c.want)
			}
			mustRead(t, b.Bytes())
		})
	}
}

// small is a graph with a constant, a weight, a parameter and a state.
func small() *graph.Graph {
	g := graph.New("small")
	g.Meta = map[string]string{"b": "2", "a": "1"}
	x := g.AddInput("x", f32, -1, 2)
	x.Decl.Dims[0].Name = "N"
	v := func(a, b float32) *tensor.Tensor { return tensor.From([]float32{a, b}, 2) }
	h := g.Add("", "Add", nil, x, g.NewConst("c", v(1, 2)))
	h = g.Add("", "Mul", nil, h, g.NewWeight("w", weight.Dense{T: v(3, 4)}))
	h = g.Add("", "Sub", nil, h, g.NewVar(graph.Param, "p", v(5, 6)))
	h = g.Add("", "Div", nil, h, g.NewVar(graph.State, "s", v(7, 8)))
	g.Outputs = []*graph.Value{h}
	return g
}

func TestWrite(t *testing.T) {
	g := small()
	before := g.String()
	h := roundTrip(t, g)
	if g.String() != before {
		t.Error("writing changed the graph")
	}
	for name, want := range map[string][]float32{"c": {1, 2}, "w": {3, 4}, "p": {5, 6}, "s": {7, 8}} {
		v := h.Find(name)
		if v == nil || !v.IsConst() {
			t.Errorf("%s is %v", name, v)
			continue
		}
		if d := cmp.Diff(want, tensor.Of[float32](v.Data)); d != "" {
			t.Error(name, d)
		}
	}
	if d := cmp.Diff(g.Meta, h.Meta); d != "" {
		t.Error(d)
	}
	if s := h.Outputs[0].Decl.String(); s != "float32[?,?]" {
		t.Errorf("output is declared %s", s)
	}
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := Write(w, small()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two writes differ")
	}
}

// TestWriteLevels writes weights of 2 to 8 bits, which become DequantizeLinear.
func TestWriteLevels(t *testing.T) {
	pack := func(d tensor.DType, n int, shape ...int) *tensor.Tensor {
		levels := make([]int32, n)
		for i := range levels {
			levels[i] = int32(i % 2)
		}
		q, err := weight.PackLevels(d, levels, shape...)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	v := []float32{1, 2, 3, 4, 5, 6}
	for name, c := range map[string]struct {
		w     weight.Int8
		opset int64
	}{
		"int8":          {weight.Int8{Q: pack(tensor.Int8, 6, 3, 2), Axis: weight.PerTensor, Scale: v[:1]}, 17},
		"uint8 axis":    {weight.Int8{Q: pack(tensor.Uint8, 6, 3, 2), Axis: 0, Scale: v[:3], Zero: []int32{1, 2, 255}}, 17},
		"int8 groups":   {weight.Int8{Q: pack(tensor.Int8, 6, 3, 2), Axis: 0, Group: 2, Scale: v[:4]}, 21},
		"int4":          {weight.Int8{Q: pack(tensor.Int4, 6, 3, 2), Axis: 1, Scale: v[:2]}, 21},
		"uint4 groups":  {weight.Int8{Q: pack(tensor.Uint4, 6, 3, 2), Axis: 1, Group: 1, Scale: v, Zero: []int32{1, 2, 3, 4, 5, 15}}, 21},
		"int2":          {weight.Int8{Q: pack(tensor.Int2, 6, 3, 2), Axis: 1, Scale: v[:2], Zero: []int32{-2, 1}}, 25},
		"groups beyond": {weight.Int8{Q: pack(tensor.Int4, 6, 3, 2), Axis: 0, Group: 7, Scale: v[:2]}, 21},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph.New("g")
			w := g.NewWeight("w", c.w)
			g.Outputs = []*graph.Value{g.Add("", "Gemm", nil, g.AddInput("x", f32, 1, 3), w)}
			var b bytes.Buffer
			if err := Write(&b, g); err != nil {
				t.Fatal(err)
			}
			if v := opsetOf(t, b.Bytes()); v != c.opset || w.Weight == nil {
				t.Errorf("opset %d, want %d", v, c.opset)
			}
			d := mustRead(t, b.Bytes()).Nodes[0]
			if d.Op != "DequantizeLinear" || d.Out[0].Name != "w" || len(d.In) > 2 != (c.w.Zero != nil) {
				t.Fatal("read back", d)
			}
			var in []*tensor.Tensor
			for _, v := range d.In {
				in = append(in, v.Tensor())
			}
			out := tensor.New(f32, 3, 2)
			if err := op.Of(d).Ref(d, in, []*tensor.Tensor{out}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tensor.Of[float32](c.w.Dense()), tensor.Of[float32](out)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	g := small()
	g.Outputs[0] = g.Add(graph.Domain, "Assign", nil, g.Outputs[0])
	var b bytes.Buffer
	if err := Write(&b, g); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "whit.Assign") {
		t.Errorf("got %v", err)
	}
	g = small()
	g.Outputs = append(g.Outputs, &graph.Value{Name: "nowhere"})
	if err := Write(&b, g); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if b.Len() > 0 {
		t.Error("something was written")
	}
}

// TestOutputs writes outputs that no node computes, and one value twice.
func TestOutputs(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", f32, 2)
	y := g.Add("", "Relu", nil, x)
	g.Outputs = []*graph.Value{y, x, g.NewConst("c", tensor.From([]float32{1}, 1)), y}
	h := roundTrip(t, g)
	if len(h.Outputs) != 4 || h.Outputs[1].Kind != graph.Input {
		t.Errorf("read back:\n%s", h)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := WriteFile(path, small()); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A write that fails leaves the old file and nothing else.
	bad := small()
	bad.Outputs[0] = bad.Add(graph.Domain, "Assign", nil, bad.Outputs[0])
	if err := WriteFile(path, bad); err == nil {
		t.Fatal("no error")
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the old file changed")
	}
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(es) != 1 {
		t.Errorf("the folder holds %v", es)
	}
	if err := WriteFile(filepath.Join(dir, "missing", "m.onnx"), small()); err == nil {
		t.Error("no error for a folder that does not exist")
	}
	if _, err := ReadFile(dir); err == nil {
		t.Error("a folder was read")
	}
	if g, err := ReadFile(path); err != nil || g.Name != "small" {
		t.Error(g, err)
	}
}
