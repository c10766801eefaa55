package fit

import (
	"context"
	"errors"
	"fmt"

	"whit/compress/method"
	"whit/graph"
	"whit/pass"
	"whit/stat"
	"whit/tensor"
)

// ErrUnsuited means that a layer is not a plain product of its inputs by its weight.
var ErrUnsuited = errors.New("not a layer that can be fitted")

// Rows is a layer's weight as rows, one an output unit; the rows of a group meet the
// same inputs. A layer gives y = w x + b for each of them.
type Rows struct {
	N, K   int // rows, and columns of each
	Groups int
	// step and unit say where an element is: row·unit + column·step.
	step, unit int
}

// RowsOf is the geometry of a layer's weight: Conv with one or two spatial axes, Gemm and MatMul
// of matrices, without factors; ErrUnsuited for all else.
func RowsOf(l *method.Layer) (Rows, error) {
	n, s := l.Node, l.Weight.Value.Type.Shape
	switch {
	case n.Op == "Conv" && (len(s) == 3 || len(s) == 4):
		r := Rows{N: s[0], K: s[1:].NumElements(), Groups: int(n.Int("group", 1)), step: 1}
		r.unit = r.K
		if r.Groups < 1 || r.N%r.Groups != 0 {
			return r, fmt.Errorf("layer %s: %w: %d outputs in %d groups", l.Name, ErrUnsuited, r.N, r.Groups)
		}
		return r, nil
	case n.Op == "Conv" || len(s) != 2 || n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1:
		return Rows{}, fmt.Errorf("layer %s: %w: %s of a weight %v", l.Name, ErrUnsuited, n.Op, s)
	case l.OutAxis == 0:
		return Rows{N: s[0], K: s[1], Groups: 1, step: 1, unit: s[1]}, nil
	}
	return Rows{N: s[1], K: s[0], Groups: 1, step: s[1], unit: 1}, nil
}

// At is the element of the weight in row o and column k.
func (r Rows) At(o, k int) int { return o*r.unit + k*r.step }

// Get copies row o of the weight w into dst [K].
func (r Rows) Get(dst []float64, w []float32, o int) {
	for k := range r.K {
		dst[k] = float64(w[r.At(o, k)])
	}
}

// Options say what a layer is fitted on.
type Options struct {
	// Images is how many of the training part are looked at, without their labels; 0: 256.
	Images int
	// Rows is how many of a layer's inputs (places under a window) are taken of them,
	// at most; 0: 16 for every column, but at least 16384.
	Rows int
}

// RowsParam is the parameter of methods that sets Options.Rows.
var RowsParam = method.Param{Name: "rows", Kind: method.Int, Default: 0, Min: 0, Max: 1 << 24, Doc: "places of a layer's input that are taken of them; 0: 16 for every column, at least 16384"}

// memory bounds what is held at a time, in bytes: the values that are looked at, and the
// Gram matrices.
const memory = 512 << 20

// Inputs collects the inputs of every layer in the state's graph as it stands at the call, and hands
// them to f layer by layer, in order; f may change the state. Layers that cannot be fitted
// are an error.
func Inputs(ctx context.Context, s *method.State, layers []*method.Layer, o Options, f func(l *method.Layer, p *stat.Patches) error) error {
	g, _ := s.Graph.Clone()
	batch, size, err := sizes(g, s.Train.Shape())
	if err != nil {
		return err
	}
	for len(layers) > 0 {
		var ps []*stat.Patches
		var points []stat.Point
		seen := map[string]bool{}
		var values, sums int64
		for _, l := range layers {
			p, err := patches(s, l, o, size)
			if err != nil {
				return err
			}
			name := l.Node.In[0].Name
			r, _ := RowsOf(l)
			c := int64(min(r.K, stat.MaxColumns))
			if !seen[name] {
				values += size[name]
			}
			if sums += 8 * c * c * int64(r.Groups); len(ps) > 0 && (sums > memory || values > memory) {
				break
			}
			seen[name] = true
			ps, points = append(ps, p), append(points, stat.Point{Value: name, Observer: p})
		}
		o := stat.Options{Batch: batch(values), Samples: o.images(), Threads: s.Threads}
		if err := stat.Run(ctx, g, s.Train, points, o); err != nil {
			return err
		}
		for i, p := range ps {
			if err := f(layers[i], p); err != nil {
				return err
			}
			ps[i], points[i] = nil, stat.Point{}
		}
		layers = layers[len(ps):]
	}
	return nil
}

// Against collects the inputs of one layer in the state's graph as it stands, and the outputs
// of the same layer in the float model, of the units that are left: Parts' Cross, YSum and YSq.
func Against(ctx context.Context, s *method.State, l *method.Layer, o Options) (*stat.Patches, error) {
	batch, size, err := sizes(s.Graph, s.Train.Shape())
	if err != nil {
		return nil, err
	}
	p, err := patches(s, l, o, size)
	if err != nil {
		return nil, err
	}
	in, out := l.Node.In[0].Name, l.Node.Out[0].Name
	so := stat.Options{Batch: batch(size[in] + size[out]), Samples: o.images(), Threads: s.Threads}
	axis := 1
	if l.Node.Op != "Conv" {
		axis = -1
	}
	targets := &stat.Channels{Keep: s.Left[l.Weight.Value.Name], Axis: axis, To: p.Targets()}
	return p, stat.RunAll(ctx, s.Train, so,
		stat.Probe{Graph: s.Float, Points: []stat.Point{{Value: out, Observer: targets}}},
		stat.Probe{Graph: s.Graph, Points: []stat.Point{{Value: in, Observer: p}}})
}

func (o Options) images() int {
	if o.Images > 0 {
		return o.Images
	}
	return 256
}

// patches is the observer of a layer's inputs.
func patches(s *method.State, l *method.Layer, o Options, size map[string]int64) (*stat.Patches, error) {
	r, err := RowsOf(l)
	if err != nil {
		return nil, err
	}
	rows := o.Rows
	if rows == 0 {
		rows = max(16*r.K, 16384)
	}
	images := max(1, min(o.images(), s.Train.Len()))
	p := &stat.Patches{Groups: r.Groups, PerSample: (rows + images - 1) / images, Threads: s.Threads}
	if l.Node.Op == "Conv" {
		if p.Window, err = stat.WindowOf(l.Node); err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Name, err)
		}
	}
	return p, nil
}

// sizes are the bytes of the graph's values for one image, and how many images a batch should have
// where values of so many bytes are looked at.
func sizes(g *graph.Graph, shape []int) (batch func(int64) int, size map[string]int64, err error) {
	if len(g.Inputs) != 1 {
		return nil, nil, fmt.Errorf("the model has %d inputs, want one", len(g.Inputs))
	}
	c, _ := g.Clone()
	t := tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{1}, shape...)}
	b, err := pass.Bind(c, map[string]tensor.Type{g.Inputs[0].Name: t}, nil, pass.Lowerings()...)
	if err != nil {
		return nil, nil, err
	}
	size = map[string]int64{}
	var most int64 // what nodes need beside
	for _, v := range b.Graph.Values() {
		if v.Kind == graph.Computed || v.Kind == graph.Input {
			size[v.Name] = int64(max(0, v.Type.NumBytes()))
			most = max(most, size[v.Name])
		}
	}
	return func(n int64) int { return int(min(64, max(1, memory/max(1, n+4*most)))) }, size, nil
}
