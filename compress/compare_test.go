package compress

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"whit/card"
	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// points is a set of points given by its coordinates, with classes and groups.
type points struct {
	x     [][]float32
	y     []int32
	group []string
}

func (p points) Len() int           { return len(p.x) }
func (p points) Shape() []int       { return []int{len(p.x[0])} }
func (p points) Labels() []string   { return nil }
func (p points) Name(i int) string  { return "" }
func (p points) Group(i int) string { return p.group[i] }
func (p points) Hash(i int) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
}
func (p points) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		copy(x[k*len(p.x[0]):], p.x[i])
		if y != nil {
			y[k] = p.y[i]
		}
	}
	return nil
}

// linear is a network of one product: rows are outputs.
func linear(rows ...[]float32) *graph.Graph {
	g := graph.New("linear")
	x := g.AddInput("input", tensor.Float32, -1, len(rows[0]))
	w := tensor.New(tensor.Float32, len(rows), len(rows[0]))
	for i, r := range rows {
		copy(tensor.Of[float32](w)[i*len(r):], r)
	}
	g.Outputs = []*graph.Value{g.Add("", "Gemm", map[string]any{"transB": int64(1)}, x, g.NewConst("fc.weight", w))}
	return g
}

// Classes and groups are told apart, those that lose most first; flips and the net drop are two things.
func TestCompareParts(t *testing.T) {
	var p points
	for i := range 60 { // one-hot of the class; the model after takes class 2 for 0 and, by the fourth coordinate, 0 for 1
		c := i % 3
		x := make([]float32, 4)
		x[c] = 1
		if c == 0 && i%4 == 0 {
			x[3] = 1
		}
		p.x, p.y, p.group = append(p.x, x), append(p.y, int32(c)), append(p.group, []string{"day", "night"}[i%2])
	}
	before := linear([]float32{1, 0, 0, 0}, []float32{0, 1, 0, 0}, []float32{0, 0, 1, 0})
	after := linear([]float32{1, 0, 1, 0}, []float32{0, 1, 0, 2}, []float32{0, 0, 0, 0})
	c, err := Compare(context.Background(), before, after, p, "top1", []string{"zero", "one", "two"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if c.Metric.N != 60 || c.Metric.Changed != 25 || c.Metric.Lost != 25 || c.Metric.Gained != 0 || len(c.Flips) != 25 {
		t.Errorf("%+v", c.Metric)
	}
	if len(c.Classes) != 3 || c.Classes[0].Name != "two" || c.Classes[0].Drop.Value != 1 || c.Classes[1].Name != "zero" || c.Classes[1].Drop.Value != 0.25 || c.Classes[2].Lost != 0 {
		t.Errorf("classes %+v", c.Classes)
	}
	if d := c.Classes[1].Drop; !(d.Low < d.Value && d.Value < d.High && d.Low > 0) {
		t.Errorf("interval %+v", d)
	}
	if len(c.Groups) != 2 || c.Groups[0].Name != "day" || c.Groups[0].Lost != 15 || c.Groups[1].Lost != 10 || c.Groups[0].Class != -1 {
		t.Errorf("groups %+v", c.Groups)
	}
	// Lost and gained that cancel are still flips.
	c, err = Compare(context.Background(), linear([]float32{1, 0, 1, 0}, []float32{0, 1, 0, 0}, []float32{0, 0, 0, 0}),
		linear([]float32{0, 0, 0, 0}, []float32{1, 1, 0, 0}, []float32{0, 0, 1, 0}), p, "top1", nil, 1)
	if err != nil || c.Metric.Changed != 40 || c.Metric.Drop.Value != 0 || c.Metric.Lost != 20 || c.Metric.Gained != 20 {
		t.Errorf("%v %+v", err, c.Metric)
	}
	// Nothing is right by the first two; one is among the first five of six.
	wide := linear([]float32{0, 0, 0, 0}, []float32{3, 3, 3, 3}, []float32{1, 1, 1, 1}, []float32{2, 2, 2, 2}, []float32{4, 4, 4, 4}, []float32{5, 5, 5, 5})
	c, err = Compare(context.Background(), wide, wide, p, "top5", nil, 1)
	if err != nil || math.Abs(c.Metric.After.Value-2.0/3) > 1e-9 || c.Metric.Changed != 0 {
		t.Errorf("%v %+v", err, c.Metric)
	}
	// Agreement: classes are what the model before decides.
	c, err = Compare(context.Background(), before, after, p, "agreement", nil, 1)
	if err != nil || c.Metric.Before.Value != 1 || c.Metric.Lost != 25 || c.Classes[0].Name != "2" {
		t.Errorf("%v %+v", err, c.Metric)
	}
	if c, err = Compare(context.Background(), before, after, p, "cosine", []string{"zero", "one", "two"}, 1); err != nil || c.Classes[0].Name != "two" || len(c.Groups) != 2 {
		t.Errorf("%v %+v", err, c)
	}
	js, err := json.Marshal(c)
	if err != nil || !strings.Contains(string(js), `"classes"`) {
		t.Errorf("%v %s", err, js)
	}
}

// identities are points around the corners of a simplex, in a shuffled order.
func identities(ids, each int, noise float64) points {
	var p points
	for i := range ids * each {
		h := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		id := i % ids
		x := make([]float32, 16)
		for k := range x {
			x[k] = float32(noise * (float64(h[k])/255 - 0.5))
		}
		g := sha256.Sum256([]byte{byte(id), byte(id >> 8)})
		for k := range x {
			x[k] += float32(g[k])/255 - 0.5
		}
		p.x, p.y, p.group = append(p.x, x), append(p.y, int32(id)), append(p.group, "")
	}
	return p
}

func TestVerification(t *testing.T) {
	same := make([][]float32, 16)
	bad := make([][]float32, 16)
	for i := range same {
		same[i], bad[i] = make([]float32, 16), make([]float32, 16)
		same[i][i] = 1
		if i < 4 {
			bad[i][i] = 1
		}
	}
	p := identities(60, 6, 0.35)
	c, err := Compare(context.Background(), linear(same...), linear(bad...), p, "verification", nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	v := c.Verification
	if v.Before.Same != 60*15 || v.Before.Identities != 60 || v.Before.Different != 360*359/2-900 || len(v.Before.Rates) != 2 {
		t.Errorf("%+v", v.Before)
	}
	for i, r := range v.Before.Rates {
		a := v.After.Rates[i]
		if !(r.Value > 0.95 && a.Value < r.Value-0.1 && a.Low < a.Value && a.Value < a.High) {
			t.Errorf("far %v: %+v, then %+v", r.FAR, r, a)
		}
	}
	if e := v.After.EqualError; !(e.Low < e.Value && e.Value < e.High && e.Value > v.Before.EqualError.Value) {
		t.Errorf("%+v", e)
	}
	if v.Before.Rates[0].Value > v.Before.Rates[1].Value {
		t.Errorf("%+v", v.Before.Rates)
	}
	m := c.Metric
	if math.Abs(m.Drop.Value-(m.Before.Value-m.After.Value)) > 1e-12 || !(m.Drop.Low > 0) || m.Before.Value != v.Before.Rates[0].Value {
		t.Errorf("%+v", m)
	}
	// Pairs that are listed stand for those of classes.
	list, err := method.Verify([]float32{1, 0, 1, 0.1, 0, 1}, []int32{-1, -1, -1}, []method.Pair{{A: 0, B: 1, Same: true}, {A: 0, B: 2}})
	if err != nil || list.Rates[0].Rate != 1 || list.EqualError != 0 {
		t.Errorf("%v %+v", err, list)
	}
	for _, tc := range []struct {
		y     []int32
		pairs []method.Pair
	}{{[]int32{0, 0, 0}, nil}, {[]int32{0, 1, 2}, nil}, {[]int32{-1, -1, -1}, nil}, {nil, nil}, {[]int32{0, 0, 1}, []method.Pair{{A: 0, B: 3}}}} {
		if _, err := method.Verify([]float32{1, 2, 3, 4, 5, 6}, tc.y, tc.pairs); err == nil {
			t.Errorf("%v", tc)
		}
	}
}

// Embeddings are compressed by what they still verify.
func TestCompressVerification(t *testing.T) {
	g := graph.New("embed")
	x := g.AddInput("input", tensor.Float32, -1, 16)
	w := tensor.New(tensor.Float32, 24, 16)
	for i, f := 0, tensor.Of[float32](w); i < len(f); i++ {
		f[i] = float32(math.Sin(float64(i * i)))
	}
	g.Outputs = []*graph.Value{g.Add("", "Gemm", map[string]any{"transB": int64(1)}, x, g.NewConst("fc.weight", w))}
	d := 0.1
	r, err := Run(context.Background(), g, card.Card{}, Data{Set: identities(30, 20, 0.35)}, Options{Metric: "verification", Budget: Budget{MaxDrop: &d}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verification == nil || r.Metric.Name != "verification" || r.Metric.Drop.Value > d || r.Bytes.Ratio < 2 || r.Metric.N != 180 {
		t.Errorf("%+v, ratio %v, %+v, %+v", r.Metric, r.Bytes.Ratio, r.Verification, r.Refused)
	}
	if !strings.Contains(r.Verdict, "verifies") {
		t.Error(r.Verdict)
	}
}
