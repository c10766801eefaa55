package weight_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"whit/tensor"
	"whit/weight"
)

func f32(v ...float32) []float32 { return v }

func dense(t *testing.T, w weight.Weight) []float32 {
	t.Helper()
	if err := weight.Check(w); err != nil {
		t.Fatal(err)
	}
	d := w.Dense()
	if !d.Type.Equal(w.Type()) {
		t.Fatalf("Dense has type %v, Type says %v", d.Type, w.Type())
	}
	return tensor.Of[float32](d)
}

func TestDenseOfEncodings(t *testing.T) {
	q8 := tensor.From([]int8{-128, -1, 0, 1, 2, 127}, 2, 3)
	u8 := tensor.From([]uint8{0, 1, 2, 3, 128, 255}, 2, 3)
	pack := func(d tensor.DType, levels []int32, shape ...int) *tensor.Tensor {
		q, err := weight.PackLevels(d, levels, shape...)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	book := weight.Codebook{Indices: tensor.From([]uint8{1, 0, 2}, 3), Centroids: f32(-1, 0.5, 3)}
	cases := []struct {
		name  string
		w     weight.Weight
		want  []float32
		bytes int64
	}{
		{"dense", weight.Dense{T: tensor.From(f32(1, 2), 2)}, f32(1, 2), 8},
		{"int8", weight.Int8{Q: q8, Axis: weight.PerTensor, Scale: f32(0.5)}, f32(-64, -.5, 0, .5, 1, 63.5), 10},
		{"int8 axis 0", weight.Int8{Q: q8, Axis: 0, Scale: f32(1, 2)}, f32(-128, -1, 0, 2, 4, 254), 14},
		{"int8 axis 1", weight.Int8{Q: q8, Axis: 1, Scale: f32(1, 2, 4), Zero: []int32{0, 1, 2}}, f32(-128, -4, -8, 1, 2, 500), 30},
		{"uint8 zero point", weight.Int8{Q: u8, Axis: weight.PerTensor, Scale: f32(2), Zero: []int32{128}}, f32(-256, -254, -252, -250, 0, 254), 14},
		{"int4", weight.Int8{Q: pack(tensor.Int4, []int32{-8, 7, -1}, 3), Axis: weight.PerTensor, Scale: f32(.5)}, f32(-4, 3.5, -.5), 6},
		{"uint4 axis 1", weight.Int8{Q: pack(tensor.Uint4, []int32{0, 15, 8, 1}, 2, 2), Axis: 1, Scale: f32(1, 2), Zero: []int32{8, 0}}, f32(-8, 30, 0, 2), 18},
		{"int2", weight.Int8{Q: pack(tensor.Int2, []int32{-2, -1, 0, 1, 1}, 5), Axis: weight.PerTensor, Scale: f32(2)}, f32(-4, -2, 0, 2, 2), 6},
		{"uint2 groups along the last axis", weight.Int8{Q: pack(tensor.Uint2, []int32{0, 1, 2, 3, 3, 2}, 2, 3), Axis: 1, Group: 2,
			Scale: f32(1, 2, 4, 8), Zero: []int32{0, 1, 2, 3}}, f32(0, 1, 2, 4, 4, -8), 34},
		{"int8 groups along the first axis", weight.Int8{Q: tensor.From([]int8{1, 2, 3, 4, 5, 6}, 3, 2), Axis: 0, Group: 2, Scale: f32(1, 10, 2, 20)},
			f32(1, 20, 3, 40, 10, 120), 22},
		{"int4 groups of the middle axis", weight.Int8{Q: pack(tensor.Int4, []int32{1, 2, 3, 4, 5, 6, 7, -8}, 2, 2, 2), Axis: 1, Group: 5, Scale: f32(1, 2, 3, 4)},
			f32(1, 4, 3, 8, 15, 24, 21, -32), 20},
		{"codebook", book, f32(0.5, -1, 3), 15},
		{"codebook uint16", weight.Codebook{Indices: tensor.From([]uint16{300, 0}, 2, 1), Centroids: append(make([]float32, 300), 7)}, f32(7, 0), 1208},
		{"sparse codebook", weight.Sparse{Shape: tensor.Shape{2, 3}, Mask: []uint64{0b101010}, Values: book}, f32(0, .5, 0, -1, 0, 3), 23},
		{"sparse int8", weight.Sparse{Shape: tensor.Shape{4}, Mask: []uint64{0b0110},
			Values: weight.Int8{Q: tensor.From([]int8{3, -4}, 2), Axis: weight.PerTensor, Scale: f32(.25)}}, f32(0, .75, -1, 0), 14},
		{"sparse empty", weight.Sparse{Shape: tensor.Shape{2, 2}, Mask: []uint64{0}, Values: weight.Dense{T: tensor.From(f32(), 0)}}, f32(0, 0, 0, 0), 8},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, dense(t, c.w)); d != "" {
				t.Error(d)
			}
			if b := c.w.Bytes(); b != c.bytes {
				t.Errorf("Bytes is %d, want %d", b, c.bytes)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	q := tensor.From([]int8{1, 2}, 2)
	one := weight.Dense{T: tensor.From(f32(1), 1)}
	nested := weight.Sparse{Shape: tensor.Shape{1}, Mask: []uint64{1}, Values: one}
	for name, w := range map[string]weight.Weight{
		"nil":                     nil,
		"dense nil":               weight.Dense{},
		"dense integers":          weight.Dense{T: q},
		"int8 of floats":          weight.Int8{Q: one.T, Axis: weight.PerTensor, Scale: f32(1)},
		"int8 axis":               weight.Int8{Q: q, Axis: 1, Scale: f32(1, 1)},
		"int8 scales":             weight.Int8{Q: q, Axis: 0, Scale: f32(1)},
		"int8 scale zero":         weight.Int8{Q: q, Axis: weight.PerTensor, Scale: f32(0)},
		"int8 scale NaN":          weight.Int8{Q: q, Axis: weight.PerTensor, Scale: f32(float32(math.NaN()))},
		"int8 scale Inf":          weight.Int8{Q: q, Axis: weight.PerTensor, Scale: f32(float32(math.Inf(1)))},
		"int8 zero points":        weight.Int8{Q: q, Axis: 0, Scale: f32(1, 1), Zero: []int32{1}},
		"int8 zero point range":   weight.Int8{Q: q, Axis: weight.PerTensor, Scale: f32(1), Zero: []int32{128}},
		"int8 group per tensor":   weight.Int8{Q: q, Axis: weight.PerTensor, Group: 1, Scale: f32(1)},
		"int8 group below 0":      weight.Int8{Q: q, Axis: 0, Group: -1, Scale: f32(1)},
		"int8 group scales":       weight.Int8{Q: q, Axis: 0, Group: 2, Scale: f32(1, 1)},
		"int4 zero point range":   weight.Int8{Q: tensor.New(tensor.Int4, 2), Axis: weight.PerTensor, Scale: f32(1), Zero: []int32{8}},
		"int16 levels":            weight.Int8{Q: tensor.New(tensor.Int16, 2), Axis: weight.PerTensor, Scale: f32(1)},
		"sparse groups":           weight.Sparse{Shape: tensor.Shape{2}, Mask: []uint64{3}, Values: weight.Int8{Q: q, Axis: 0, Group: 1, Scale: f32(1, 1)}},
		"codebook of int8":        weight.Codebook{Indices: q, Centroids: f32(1, 2, 3)},
		"codebook index":          weight.Codebook{Indices: tensor.From([]uint8{0, 2}, 2), Centroids: f32(1, 2)},
		"codebook empty":          weight.Codebook{Indices: tensor.From([]uint8{0}, 1)},
		"sparse mask short":       weight.Sparse{Shape: tensor.Shape{65}, Mask: []uint64{1}, Values: one},
		"sparse mask beyond":      weight.Sparse{Shape: tensor.Shape{1}, Mask: []uint64{2}, Values: one},
		"sparse values too few":   weight.Sparse{Shape: tensor.Shape{2}, Mask: []uint64{3}, Values: one},
		"sparse values rank":      weight.Sparse{Shape: tensor.Shape{2}, Mask: []uint64{1}, Values: weight.Dense{T: tensor.From(f32(1), 1, 1)}},
		"sparse of sparse":        weight.Sparse{Shape: tensor.Shape{1}, Mask: []uint64{1}, Values: nested},
		"sparse without values":   weight.Sparse{Shape: tensor.Shape{1}, Mask: []uint64{1}},
		"sparse shape":            weight.Sparse{Shape: tensor.Shape{-1}, Values: one},
		"sparse shape that wraps": weight.Sparse{Shape: tensor.Shape{1 << 40, 1 << 40}, Values: one},
	} {
		t.Run(name, func(t *testing.T) {
			if err := weight.Check(w); !errors.Is(err, weight.ErrInvalid) {
				t.Errorf("error is %v, want ErrInvalid", err)
			}
		})
	}
}

func TestPackLevels(t *testing.T) {
	q, err := weight.PackLevels(tensor.Int4, []int32{-8, 7, 1}, 3)
	if err != nil || len(q.Bytes()) != 2 || q.Bytes()[0] != 0x78 || q.Bytes()[1] != 0x01 {
		t.Fatal(q, err)
	}
	w, err := weight.NewGrouped(q, 0, 2, f32(1, 2), nil)
	if err != nil || w.Kind() != "int4" || w.Level(0) != -8 || w.Level(2) != 1 || !w.ScaleShape().Equal(tensor.Shape{2}) {
		t.Error(w, err)
	}
	for name, f := range map[string]func() (*tensor.Tensor, error){
		"range": func() (*tensor.Tensor, error) { return weight.PackLevels(tensor.Uint4, []int32{16}, 1) },
		"type":  func() (*tensor.Tensor, error) { return weight.PackLevels(tensor.Float32, []int32{1}, 1) },
		"shape": func() (*tensor.Tensor, error) { return weight.PackLevels(tensor.Int8, []int32{1}, 2) },
	} {
		if _, err := f(); !errors.Is(err, weight.ErrInvalid) {
			t.Errorf("%s: error is %v, want ErrInvalid", name, err)
		}
	}
}

// values draws float32s with many zeros, a few repeated values and all the odd ones.
func values() *rapid.Generator[float32] {
	return rapid.OneOf(
		rapid.SampledFrom([]float32{0, 0, 0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.NaN()), 1e-45}),
		rapid.Float32(),
	)
}

func TestSparseOfAndCodebookOfAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(0, 12).Draw(t, "rows"), rapid.IntRange(0, 12).Draw(t, "cols")
		x := rapid.SliceOfN(values(), rows*cols, rows*cols).Draw(t, "x")
		d := tensor.From(x, rows, cols)
		s, err := weight.SparseOf(d, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range tensor.Of[float32](s.Dense()) {
			if x[i] == 0 && (v != 0 || s.Stored(i)) || x[i] != 0 && (math.Float32bits(v) != math.Float32bits(x[i]) || !s.Stored(i)) {
				t.Fatalf("sparse element %d is %v, want %v", i, v, x[i])
			}
		}
		c, ok := weight.CodebookOf(d, len(x))
		if !ok || weight.Check(c) != nil {
			t.Fatal("no codebook")
		}
		again := c.Sorted()
		for i := range x {
			a, b := c.Centroids[c.Index(i)], again.Centroids[again.Index(i)]
			if math.Float32bits(a) != math.Float32bits(x[i]) || math.Float32bits(b) != math.Float32bits(x[i]) || c.Index(i) != again.Index(i) {
				t.Fatalf("codebook element %d is %v, sorted %v, want %v", i, a, b, x[i])
			}
		}
	})
}

func TestCodebookSorted(t *testing.T) {
	c := weight.Codebook{Indices: tensor.From([]uint16{3, 1, 0, 3, 4}, 5), Centroids: f32(2, -1, 9, 0, 2)}
	s := c.Sorted()
	if d := cmp.Diff(f32(-1, 0, 2), s.Centroids); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(dense(t, c), dense(t, s)); d != "" {
		t.Error(d)
	}
	if s.Indices.DType != tensor.Uint8 {
		t.Errorf("indices are %v", s.Indices.DType)
	}
	if _, ok := weight.CodebookOf(c.Dense(), 2); ok {
		t.Error("three values fit a codebook of two")
	}
}

func TestSparseOfMask(t *testing.T) {
	d := tensor.From(f32(0, 1, 2), 3)
	s, err := weight.SparseOf(d, []uint64{0b101}) // a stored zero is kept, an unnamed value dropped
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f32(0, 0, 2), dense(t, s)); diff != "" || s.NNZ() != 2 {
		t.Error(diff, s.NNZ())
	}
	if _, err := weight.SparseOf(d, []uint64{8}); !errors.Is(err, weight.ErrInvalid) {
		t.Errorf("mask beyond the tensor: %v", err)
	}
}

func TestDensity(t *testing.T) {
	d := tensor.From(f32(0, 1, float32(math.Copysign(0, -1)), 4), 4)
	s, _ := weight.SparseOf(d, nil)
	c, _ := weight.CodebookOf(d, 9)
	q := weight.Int8{Q: tensor.From([]int8{5, 0, 5, 5}, 4), Axis: weight.PerTensor, Scale: f32(1), Zero: []int32{5}}
	for _, k := range []struct {
		w    weight.Weight
		want float64
	}{{weight.Dense{T: d}, .5}, {s, .5}, {c, .5}, {q, .25}, {weight.Dense{T: tensor.From(f32(), 0)}, 1}} {
		if got := weight.Density(k.w); got != k.want {
			t.Errorf("density of %s is %v, want %v", k.w.Kind(), got, k.want)
		}
	}
}

// Deep Compression's form: positions, and indices into shared values.
func ExampleSparse() {
	book, _ := weight.NewCodebook(tensor.From([]uint8{0, 1, 1}, 3), []float32{-0.5, 0.25})
	w, _ := weight.NewSparse(tensor.Shape{2, 4}, []uint64{0b0100_1001}, book)
	fmt.Println(tensor.Of[float32](w.Dense()), w.NNZ(), "of", w.Shape.NumElements())
	// Output: [-0.5 0 0 0.25 0 0 0.25 0] 3 of 8
}
