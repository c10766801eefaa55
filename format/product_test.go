package format

import (
	"errors"
	"strings"
	"testing"

	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// onLevels is a convolution on integers: its input through levels of scale x, its weight of the scales, and its bias of bias scales.
func onLevels(x float32, scales, bias []float32) *File {
	g := graph.New("levels")
	in := g.AddInput("image", tensor.Float32, 1, 2, 4, 4)
	out := len(bias)
	axis := 0
	if len(scales) == 1 {
		axis = weight.PerTensor
	}
	q := tensor.New(tensor.Int8, out, 2, 3, 3)
	for i := range q.Len() {
		tensor.Of[int8](q)[i] = int8(i%7 - 3)
	}
	w := g.NewWeight("first.weight", weight.Int8{Q: q, Axis: axis, Scale: scales})
	xs, zero := g.NewConst("image_scale", tensor.Scalar(x)), g.NewConst("image_zero_point", tensor.Scalar(uint8(3)))
	call := func(n *graph.Node, name string) *graph.Value {
		n.Name, n.Out[0].Name = name, name
		g.Nodes = append(g.Nodes, n)
		return n.Out[0]
	}
	levels := call(g.NewNode("", "QuantizeLinear", nil, 1, in, xs, zero), "image_quantized")
	back := call(g.NewNode("", "DequantizeLinear", nil, 1, levels, xs, zero), "image_dequantized")
	b := tensor.New(tensor.Int32, out)
	for i := range out {
		tensor.Of[int32](b)[i] = int32(100*i - 7)
	}
	dq := call(g.NewNode("", "DequantizeLinear", map[string]any{"axis": int64(0)}, 1, g.NewConst("first.bias_quantized", b), g.NewConst("first.bias_scale", tensor.From(bias, out))), "first.bias_dequantized")
	y := call(g.NewNode("", "Conv", map[string]any{"kernel_shape": []int64{3, 3}}, 1, back, w, dq), "first")
	g.Outputs = []*graph.Value{y}
	return &File{Graph: g}
}

// times are scales times x, rounded once each, n of them.
func times(x float32, scales []float32, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = x * scales[i%len(scales)]
	}
	return out
}

func TestProducts(t *testing.T) {
	scales := make([]float32, 40)
	for i := range scales {
		scales[i] = 1 / float32(30+i*i)
	}
	const x = float32(0.0371)
	off := times(x, scales, 40)
	off[7] *= 1.0000002
	for _, c := range []struct {
		name string
		file *File
		own  bool // the scales of the bias are the product
	}{
		{"by channel", onLevels(x, scales, times(x, scales, 40)), true},
		{"one scale", onLevels(x, scales[:1], times(x, scales[:1], 40)), true},
		{"other scales", onLevels(x, scales, off), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, o := range map[string]Options{"compact": {}, "strip": {Strip: true}, "chunks": {Chunks: true}, "raw": {Profile: Fast}, "rans": {Coder: "rans"}} {
				b, sizes := write(t, c.file, o)
				back, err := read(b)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if err := compare(c.file, back, o.Strip); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				for _, s := range [][]WeightSize{sizes.Weights, back.Sizes.Weights} {
					for _, w := range s {
						if o.Strip || w.Name != "first.bias_scale" {
							continue
						}
						if is := w.Coder == "product" && w.Bytes == 0; is != (c.own && o.Profile == Compact) {
							t.Errorf("%s: the scales of the bias take %d bytes by %s", name, w.Bytes, w.Coder)
						}
					}
				}
			}
		})
	}
}

// What the names of levels are is told by the rest: a file holds none of them.
func TestNamesOfLevels(t *testing.T) {
	scales := []float32{.5, .25}
	f := onLevels(2, scales, times(2, scales, 2))
	text := string(namesOf(f.Graph))
	for _, v := range f.Graph.Values() {
		if told := strings.Contains(text, string(rune(len(v.Name)))+v.Name); told != (v.Name == "first" || v.Name == "first.weight" || v.Name == "first.bias_quantized" || v.Name == "levels") {
			t.Errorf("%q: the text of names holds it: %v", v.Name, told)
		}
	}
	f.Graph.Nodes[1].Name, f.Graph.Nodes[0].In[1].Name = "another", "own scale"
	b, _ := write(t, f, Options{})
	back, err := read(b)
	if err == nil {
		err = compare(f, back, false)
	}
	if err != nil {
		t.Error(err)
	}
}

// A form without what it is the product of is refused.
func TestNoProduct(t *testing.T) {
	scales := []float32{.5, .25}
	const scale, bias, weights = 0, 2, 4 // constants by their order
	for name, change := range map[string]func(g *graph.Graph, items []*item){
		"another operator": func(g *graph.Graph, _ []*item) { g.Nodes[3].Op = "Sum" },
		"no levels":        func(g *graph.Graph, _ []*item) { g.Nodes[3].In[0] = g.Inputs[0] },
		"of itself":        func(g *graph.Graph, _ []*item) { g.Nodes[1].In[1] = g.Nodes[2].In[1] },
		"no scalar":        func(_ *graph.Graph, items []*item) { items[scale].t = tensor.From([]float32{1, 2}, 2) },
		"another type":     func(_ *graph.Graph, items []*item) { items[scale].t = tensor.Scalar(2.0) },
		"too few integers": func(_ *graph.Graph, items []*item) { items[bias].t = tensor.New(tensor.Int32, 1) },
		"no vector":        func(_ *graph.Graph, items []*item) { items[bias].t = tensor.New(tensor.Int32, 1, 2) },
		"weight of another": func(_ *graph.Graph, items []*item) {
			items[weights].w = weight.Dense{T: tensor.New(tensor.Float32, 2, 2, 3, 3)}
		},
		"in groups": func(_ *graph.Graph, items []*item) {
			w := items[weights].w.(weight.Int8)
			w.Group, w.Axis, w.Scale = 2, 1, make([]float32, 18)
			items[weights].w = w
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := graphWriter{}
			if err := w.graph(onLevels(2, scales, times(2, scales, 2)).Graph, false); err != nil {
				t.Fatal(err)
			}
			m := &model{f: &File{}, g: graphReader{r: rbuf{b: w.w.b}, names: map[string]bool{}}}
			m.f.Graph = m.g.graph(0)
			m.g.finish()
			items := make([]*item, len(w.items))
			for i, it := range w.items {
				items[i] = &item{w: it.w, t: it.t}
			}
			change(m.f.Graph, items)
			for i, p := range m.g.places {
				if p.d.form == formProduct {
					items[i].t = nil
				}
			}
			if _, err := m.finish(items); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "no product") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("of an attribute", func(t *testing.T) {
		var w wbuf
		w.uint(1)
		w.byte(attrTensor)
		w.byte(formProduct)
		w.shape(tensor.Shape{2})
		g := &graphReader{r: rbuf{b: w.b}}
		if g.attr(&graph.Node{}, 0); !errors.Is(g.r.err, ErrCorrupt) {
			t.Errorf("got %v", g.r.err)
		}
	})
	t.Run("of a parameter", func(t *testing.T) {
		var w wbuf
		w.byte(formProduct | 1<<kindShift)
		w.shape(tensor.Shape{2})
		r := rbuf{b: w.b}
		if readDesc(&r, nil); !errors.Is(r.err, ErrCorrupt) {
			t.Errorf("got %v", r.err)
		}
	})
}
