package op

import (
	"errors"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// branch makes a graph of one node on its captures.
func branch(name, opName string, captures int) *graph.Graph {
	g := graph.New(name)
	var in []*graph.Value
	for i := range captures {
		in = append(in, g.AddInput(name+string(rune('0'+i)), tensor.Invalid))
	}
	g.Outputs = []*graph.Value{g.Add("", opName, nil, in...)}
	return g
}

func bound1(k graph.Kind, name string, d tensor.DType, shape ...int) *graph.Value {
	return &graph.Value{Name: name, Kind: k, Type: tensor.Type{DType: d, Shape: shape}}
}

func TestIfWithUnknownCondition(t *testing.T) {
	cond := bound1(graph.Input, "cond", tensor.Bool)
	x, y := bound1(graph.Input, "x", tensor.Float32, 2, 3), bound1(graph.Input, "y", tensor.Float32, 3)
	n := &graph.Node{Op: "If", Attrs: map[string]any{"then_branch": branch("then", "Add", 2), "else_branch": branch("else", "Neg", 1)}}
	n.In = []*graph.Value{cond, x, y, x}
	ts, err := Infer(n)
	if err != nil || len(ts) != 1 || !ts[0].Equal(x.Type) {
		t.Errorf("branches agree: %v, %v", ts, err)
	}
	n.In = []*graph.Value{cond, x, y, y}
	_, err = Infer(n)
	var need *NeedValue
	if !errors.As(err, &need) || need.Input != 0 || need.Node != n {
		t.Errorf("branches differ: %v, want NeedValue of input 0", err)
	}
	// A branch whose shape depends on data that are not known waits too.
	n.Attrs["else_branch"] = branch("nz", "NonZero", 1)
	if _, err = Infer(n); !errors.As(err, &need) || need.Node != n {
		t.Errorf("data-dependent branch: %v, want NeedValue of the If", err)
	}
	n.Attrs["else_branch"] = branch("bad", "And", 1)
	if _, err = Infer(n); !errors.Is(err, ErrType) && !errors.Is(err, ErrUnsupported) {
		t.Errorf("invalid branch: %v", err)
	}
	n.In[3] = nil
	if _, err = Infer(n); err == nil {
		t.Error("a missing capture is accepted")
	}
}

func TestIfReferenceChecksTypes(t *testing.T) {
	n := &graph.Node{Op: "If", Attrs: map[string]any{"then_branch": branch("then", "Abs", 1), "else_branch": branch("else", "Neg", 1)}}
	x := tensor.From([]float32{1, -2}, 2)
	in := []*tensor.Tensor{tensor.Scalar(true), x, x}
	for _, v := range []*tensor.Tensor{in[0], x, x} {
		n.In = append(n.In, &graph.Value{Kind: graph.Const, Type: v.Type, Data: v})
	}
	if err := Of(n).Ref(n, in, []*tensor.Tensor{tensor.New(tensor.Float32, 3)}); err == nil {
		t.Error("an output of another type is accepted")
	}
	if err := Of(n).Ref(n, in, []*tensor.Tensor{nil}); err != nil {
		t.Error(err)
	}
}

func TestNeedValue(t *testing.T) {
	x := bound1(graph.Input, "x", tensor.Float32, 2, 3)
	s := bound1(graph.Input, "s", tensor.Int64, 2)
	for _, c := range []struct {
		op    string
		in    []*graph.Value
		input int
	}{
		{"Reshape", []*graph.Value{x, s}, 1},
		{"Expand", []*graph.Value{x, s}, 1},
		{"Tile", []*graph.Value{x, s}, 1},
		{"Slice", []*graph.Value{x, s, s}, 1},
		{"ReduceSum", []*graph.Value{x, s}, 1},
		{"Unsqueeze", []*graph.Value{x, s}, 1},
		{"Split", []*graph.Value{x, s}, 1},
		{"ConstantOfShape", []*graph.Value{s}, 0},
		{"NonZero", []*graph.Value{x}, 0},
	} {
		_, err := Infer(&graph.Node{Op: c.op, In: c.in})
		var need *NeedValue
		if !errors.As(err, &need) || need.Input != c.input {
			t.Errorf("%s: %v, want NeedValue of input %d", c.op, err, c.input)
		}
	}
}

// Gradients of graphs whose shapes are not bound yet build nodes that take the
// shapes at run time; constants get none.
func TestGradientsWithoutTypes(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float64, -1, 3)
	w := g.NewVar(graph.Param, "w", tensor.New(tensor.Float64, 1, 3))
	m := g.NewConst("m", tensor.New(tensor.Float64, 3))
	for _, c := range []struct {
		op    string
		in    []*graph.Value
		grads []bool
	}{
		{"Mul", []*graph.Value{x, w}, []bool{true, true}},
		{"Mul", []*graph.Value{w, m}, []bool{true, false}},
		{"Add", []*graph.Value{m, x}, []bool{false, true}},
		{"Neg", []*graph.Value{m}, []bool{false}},
		{"ReduceMean", []*graph.Value{x}, []bool{true}},
		{"Floor", []*graph.Value{x}, []bool{false}},
	} {
		y := g.Add("", c.op, nil, c.in...)
		dy := g.Add("", "Identity", nil, y)
		ds, err := Of(y.Producer).VJP(g, y.Producer, []*graph.Value{dy})
		if err != nil {
			t.Errorf("%s: %v", c.op, err)
			continue
		}
		for i, want := range c.grads {
			if (ds[i] != nil) != want {
				t.Errorf("%s: gradient of input %d: %v, want %v", c.op, i, ds[i] != nil, want)
			}
		}
	}
	if d := dtypeOf(x); d != tensor.Float64 {
		t.Errorf("declared type: %v", d)
	}
	if d := dtypeOf(&graph.Value{}); d != tensor.Float32 {
		t.Errorf("unknown type: %v", d)
	}
	if s := shapeOf(g, w); !s.IsConst() {
		t.Error("the shape of a parameter is not a constant")
	}
}

func TestReshapeChannels(t *testing.T) {
	type pair struct {
		fromOut  bool
		from, to int
		of1      []int // what channel 1 maps to
	}
	for _, c := range []struct {
		name    string
		in, out tensor.Shape
		want    []pair
	}{
		{"flatten", tensor.Shape{2, 3, 2, 2}, tensor.Shape{2, 12}, []pair{
			{false, 0, 0, []int{1}}, {false, 1, 1, []int{4, 5, 6, 7}}, {false, 2, 1, []int{2, 3, 6, 7, 10, 11}}, {false, 3, 1, []int{1, 3, 5, 7, 9, 11}}}},
		{"one image", tensor.Shape{1, 3, 2}, tensor.Shape{1, 6}, []pair{{false, 0, 0, []int{1}}, {false, 1, 1, []int{2, 3}}, {false, 2, 1, []int{1, 3, 5}}}},
		{"shuffle", tensor.Shape{2, 6}, tensor.Shape{2, 2, 3}, []pair{{false, 0, 0, []int{1}}, {true, 1, 1, []int{3, 4, 5}}, {true, 2, 1, []int{1, 4}}}},
		{"ones", tensor.Shape{2, 3}, tensor.Shape{2, 1, 3, 1}, []pair{{false, 0, 0, []int{1}}, {false, 1, 2, []int{1}}}},
		{"unrelated", tensor.Shape{2, 3}, tensor.Shape{3, 2}, nil},
		{"empty", tensor.Shape{0, 3}, tensor.Shape{3, 0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &graph.Node{Op: "Reshape", In: []*graph.Value{bound1(graph.Input, "x", tensor.Float32, c.in...)}, Out: []*graph.Value{bound1(graph.Computed, "y", tensor.Float32, c.out...)}}
			got := reshapeChannels(n)
			if got == nil || len(got) != len(c.want) {
				t.Fatalf("%d couplings, want %d", len(got), len(c.want))
			}
			for i, w := range c.want {
				g := got[i]
				ix := []int{1}
				if g.Map != nil {
					ix = g.Map(1)
				}
				same := len(ix) == len(w.of1)
				for k := 0; same && k < len(ix); k++ {
					same = ix[k] == w.of1[k]
				}
				if g.From.Out != w.fromOut || g.From.Axis != w.from || g.To.Axis != w.to || !same {
					t.Errorf("coupling %d: from %+v to %+v, channel 1 at %v; want %+v", i, g.From, g.To, ix, w)
				}
			}
		})
	}
}
