package stat

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// noise is a dataset of random images.
type noise struct {
	n     int
	shape []int
}

func (d noise) Len() int            { return d.n }
func (d noise) Shape() []int        { return d.shape }
func (d noise) Labels() []string    { return nil }
func (d noise) Hash(i int) [32]byte { return [32]byte{byte(i)} }
func (d noise) Read(_ context.Context, idx []int, x []float32, _ []int32) error {
	size := tensor.Shape(d.shape).NumElements()
	for k, i := range idx {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for e := range size {
			x[k*size+e] = float32(r.NormFloat64())
		}
	}
	return nil
}

// im2col is a group's patches of an image, one after the other, as Conv's definition has them.
func im2col(x []float32, in []int, w *Window, pad [2]int, oh, ow, groups, group int) (rows [][]float64) {
	h, wd := 1, in[len(in)-1]
	if len(in) == 3 {
		h = in[1]
	}
	c := in[0] / groups
	for y := range oh {
		for z := range ow {
			var row []float64
			for ch := group * c; ch < (group+1)*c; ch++ {
				for i := range w.Kernel[0] {
					for j := range w.Kernel[1] {
						a, b := y*w.Stride[0]-pad[0]+i*w.Dilation[0], z*w.Stride[1]-pad[1]+j*w.Dilation[1]
						v := 0.0
						if a >= 0 && a < h && b >= 0 && b < wd {
							v = float64(x[(ch*h+a)*wd+b])
						}
						row = append(row, v)
					}
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// The sums are those of an explicit im2col, whatever the batch and the workers, to the bit.
func TestPatches(t *testing.T) {
	cases := []struct {
		name   string
		in     []int // of a sample
		weight []int
		attrs  map[string]any
		pad    [2]int
	}{
		{"3x3", []int{3, 7, 6}, []int{5, 3, 3, 3}, map[string]any{"pads": []int64{1, 1, 1, 1}}, [2]int{1, 1}},
		{"strides, dilations, uneven pads", []int{2, 11, 9}, []int{3, 2, 3, 2}, map[string]any{"strides": []int64{2, 1}, "dilations": []int64{2, 3}, "pads": []int64{2, 0, 1, 3}}, [2]int{2, 0}},
		{"groups", []int{6, 5, 5}, []int{4, 3, 3, 3}, map[string]any{"group": int64(2), "pads": []int64{1, 1, 1, 1}}, [2]int{1, 1}},
		{"depthwise", []int{5, 6, 6}, []int{5, 1, 3, 3}, map[string]any{"group": int64(5), "strides": []int64{2, 2}}, [2]int{}},
		{"same upper", []int{2, 6, 7}, []int{2, 2, 4, 3}, map[string]any{"auto_pad": "SAME_UPPER", "strides": []int64{2, 2}}, [2]int{1, 1}},
		{"same lower", []int{2, 6, 7}, []int{2, 2, 4, 3}, map[string]any{"auto_pad": "SAME_LOWER", "strides": []int64{1, 1}}, [2]int{2, 1}},
		{"1-D", []int{3, 17}, []int{2, 3, 5}, map[string]any{"pads": []int64{2, 2}}, [2]int{0, 2}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := graph.New("g")
			x := g.AddInput("x", tensor.Float32, append([]int{-1}, c.in...)...)
			wt := tensor.New(tensor.Float32, c.weight...)
			r := rand.New(rand.NewPCG(2, 2))
			for i := range tensor.Of[float32](wt) {
				tensor.Of[float32](wt)[i] = float32(r.NormFloat64())
			}
			y := g.Add("", "Conv", c.attrs, x, g.NewConst("w", wt))
			y.Name = "y"
			g.Outputs = []*graph.Value{y}
			w, err := WindowOf(g.Nodes[0])
			if err != nil {
				t.Fatal(err)
			}
			groups := int(g.Nodes[0].Int("group", 1))
			ds := noise{23, c.in}
			get := func(batch, threads int) *Patches {
				p := &Patches{Window: w, Groups: groups, Threads: threads}
				if err := RunAll(context.Background(), ds, Options{Batch: batch, Threads: threads},
					Probe{g, []Point{{"y", p.Targets()}}}, Probe{g, []Point{{"x", p}}}); err != nil {
					t.Fatal(err)
				}
				return p
			}
			p := get(64, 1)
			for _, o := range [][2]int{{64, 4}, {5, 2}, {1, 1}} {
				if q := get(o[0], o[1]); !slices.EqualFunc(p.Parts, q.Parts, same) || !slices.Equal(p.YSum, q.YSum) {
					t.Errorf("batch %d, %d workers: other bits", o[0], o[1])
				}
			}
			h := 1
			if len(c.in) == 3 {
				h = c.in[1]
			}
			oh, _ := w.at(0, h)
			ow, _ := w.at(1, c.in[len(c.in)-1])
			if p.Rows != int64(ds.n*oh*ow) {
				t.Fatalf("%d rows, want %d", p.Rows, ds.n*oh*ow)
			}
			size := tensor.Shape(c.in).NumElements()
			all := make([]float32, ds.n*size)
			idx := make([]int, ds.n)
			for i := range idx {
				idx[i] = i
			}
			ds.Read(context.Background(), idx, all, nil)
			k, outs := p.Columns(), c.weight[0]/groups
			for gr := range groups {
				gram, sum, cross := make([]float64, k*k), make([]float64, k), make([]float64, outs*k)
				for s := range ds.n {
					for _, row := range im2col(all[s*size:], c.in, w, c.pad, oh, ow, groups, gr) {
						for i, a := range row {
							sum[i] += a
							for j, b := range row {
								gram[i*k+j] += a * b
							}
						}
						for o := range outs {
							y := 0.0
							for i, f := range tensor.Of[float32](wt)[(gr*outs+o)*k:][:k] {
								y += float64(f) * row[i]
							}
							for i, a := range row {
								cross[o*k+i] += y * a
							}
						}
					}
				}
				m := p.Parts[gr]
				near(t, "G", m.G, gram)
				near(t, "Sum", m.Sum, sum)
				near(t, "Cross", m.Cross, cross)
			}
		})
	}
}

func same(a, b Moments) bool {
	return slices.Equal(a.G, b.G) && slices.Equal(a.Sum, b.Sum) && slices.Equal(a.Cross, b.Cross)
}

// near allows for sums of 512 in float32.
func near(t *testing.T, name string, got, want []float64) {
	t.Helper()
	top := 0.0
	for _, v := range want {
		top = max(top, math.Abs(v))
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", name, len(got), len(want))
	}
	for i, v := range want {
		if math.Abs(got[i]-v) > 1e-5*top {
			t.Fatalf("%s[%d] is %v, want %v", name, i, got[i], v)
		}
	}
}

func TestPatchesOfRows(t *testing.T) {
	x := tensor.From([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2) // rows (1,2) (3,4) (5,6) (7,8)
	y := tensor.From([]float32{1, 0, 0, 2}, 2, 2, 1)
	p := &Patches{}
	if err := p.Targets().Observe(y); err != nil {
		t.Fatal(err)
	}
	if err := p.Observe(x); err != nil {
		t.Fatal(err)
	}
	if err := p.Done(); err != nil {
		t.Fatal(err)
	}
	m := p.Parts[0]
	if !slices.Equal(m.G, []float64{84, 100, 100, 120}) || !slices.Equal(m.Sum, []float64{16, 20}) || !slices.Equal(m.Cross, []float64{15, 18}) || p.YSum[0] != 3 || p.YSq[0] != 5 || p.Rows != 4 {
		t.Errorf("%+v", p)
	}
	for _, bad := range []*tensor.Tensor{tensor.New(tensor.Float32, 3), tensor.New(tensor.Float32, 1, 0), tensor.New(tensor.Float32, 1, 3)} {
		if err := p.Observe(bad); err == nil {
			t.Errorf("%v: no error", bad.Shape)
		}
	}
	q := &Patches{}
	q.Observe(tensor.From([]float32{1, float32(math.NaN())}, 1, 2))
	if err := q.Done(); !errors.Is(err, ErrNotFinite) {
		t.Errorf("NaN: %v", err)
	}
}

// A part of the rows is spread over the samples, and is the same for x and y.
func TestPatchesPerSample(t *testing.T) {
	ds := noise{9, []int{4, 10, 10}}
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 4, 10, 10)
	y := g.Add("", "Identity", nil, x)
	y.Name = "y"
	g.Outputs = []*graph.Value{y}
	var first *Patches
	for _, batch := range []int{2, 9} {
		p := &Patches{Window: &Window{Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}, PerSample: 7}
		if err := Run(context.Background(), g, ds, []Point{{"y", p.Targets()}, {"x", p}}, Options{Batch: batch}); err != nil {
			t.Fatal(err)
		}
		if p.Rows != 63 || !slices.Equal(p.Parts[0].G, p.Parts[0].Cross) {
			t.Errorf("%d rows; inputs and targets are not of the same places", p.Rows)
		}
		if first == nil {
			first = p
		} else if !same(first.Parts[0], p.Parts[0]) {
			t.Errorf("batch %d: other bits", batch)
		}
	}
}

// Above MaxColumns the diagonal blocks are kept.
func TestPatchesBlocks(t *testing.T) {
	k := MaxColumns + 2
	x := tensor.New(tensor.Float32, 2, k)
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(i%7) - 3
	}
	p := &Patches{}
	if err := p.Observe(x); err != nil {
		t.Fatal(err)
	}
	if err := p.Done(); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, m := range p.Parts {
		if m.From != at || m.K > BlockColumns {
			t.Fatalf("a block of %d from %d, want from %d", m.K, m.From, at)
		}
		v := tensor.Of[float32](x)
		i, j := m.K-1, m.K/2
		if want := float64(v[at+i]*v[at+j] + v[k+at+i]*v[k+at+j]); m.G[i*m.K+j] != want || m.G[j*m.K+i] != want {
			t.Errorf("block from %d: %v, want %v", at, m.G[i*m.K+j], want)
		}
		at += m.K
	}
	if at != k || p.Blocks() != len(p.Parts) {
		t.Errorf("%d columns, %d blocks", at, p.Blocks())
	}
}

func ExamplePatches() {
	x := tensor.From([]float32{1, 2, 3, 4}, 1, 1, 4) // one image of one channel, 4 pixels long
	p := &Patches{Window: &Window{Kernel: [2]int{1, 2}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}}
	p.Observe(x) // patches (1,2) (2,3) (3,4)
	p.Done()
	fmt.Println(p.Rows, p.Parts[0].G)
	// Output: 3 [14 20 20 29]
}

func BenchmarkPatches(b *testing.B) {
	x := tensor.New(tensor.Float32, 16, 128, 28, 28)
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(i % 13)
	}
	w := &Window{Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Pad: [2]int{1, 1}, End: [2]int{1, 1}}
	for range b.N {
		p := &Patches{Window: w}
		p.Observe(x)
		p.Done()
		b.ReportMetric(float64(p.Rows)*1152*1153/1e9*float64(b.N)/b.Elapsed().Seconds(), "GFLOP/s")
	}
}
