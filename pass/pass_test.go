package pass

import (
	"slices"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/op"
	"whit/tensor"
	"whit/weight"
)

func attrs(kv ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

func eval(t *testing.T, g *graph.Graph, feeds map[string]*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	if err := g.Verify(); err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	y, err := optest.Eval(g, feeds)
	if err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	return y
}

// positive is |x|+0.5.
func positive(t *tensor.Tensor) *tensor.Tensor {
	for i, x := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = max(x, -x) + 0.5
	}
	return t
}

func convNet() (*graph.Graph, map[string]*tensor.Tensor) {
	g := graph.New("convnet")
	x := g.AddInput("x", tensor.Float32, -1, 3, 8, 8)
	c := func(seed uint64, shape ...int) *graph.Value {
		return g.NewConst("", optest.Rand(seed, tensor.Float32, shape...))
	}
	y := g.Add("", "Conv", attrs("pads", []int64{1, 1, 1, 1}), x, c(1, 4, 3, 3, 3), c(2, 4))
	y = g.Add("", "BatchNormalization", attrs("epsilon", float32(1e-3)), y, c(3, 4), c(4, 4), c(5, 4), g.NewConst("", positive(optest.Rand(6, tensor.Float32, 4))))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Conv", nil, y, c(7, 2, 4, 3, 3))
	y = g.Add("", "BatchNormalization", nil, y, c(8, 2), c(9, 2), c(10, 2), g.NewConst("", positive(optest.Rand(11, tensor.Float32, 2))))
	g.Outputs = []*graph.Value{y}
	y.Name = "y"
	return g, map[string]*tensor.Tensor{"x": optest.Rand(20, tensor.Float32, 2, 3, 8, 8)}
}

// TestFoldBatchNormEncoded: a weight that is held under an encoding folds like a dense one.
func TestFoldBatchNormEncoded(t *testing.T) {
	g, feeds := convNet()
	for _, n := range g.Nodes {
		if n.Op == "Conv" {
			c, ok := weight.CodebookOf(n.In[1].Tensor(), 1<<16)
			if !ok {
				t.Fatal("no codebook")
			}
			n.In[1] = g.NewWeight("", c)
		}
	}
	want := eval(t, g, feeds)
	FoldBatchNorm(g)
	if s := g.String(); strings.Contains(s, "BatchNormalization") {
		t.Errorf("a BatchNormalization stays:\n%s", s)
	}
	if d := optest.Diff(eval(t, g, feeds)[0], want[0]); d > 1e-5 {
		t.Errorf("differs by %g", d)
	}
}

func TestFoldBatchNorm(t *testing.T) {
	g, feeds := convNet()
	want := eval(t, g, feeds)
	FoldBatchNorm(g)
	if s := g.String(); strings.Contains(s, "BatchNormalization") {
		t.Errorf("a BatchNormalization stays:\n%s", s)
	}
	if g.Outputs[0].Name != "y" {
		t.Errorf("the output is called %q", g.Outputs[0].Name)
	}
	if d := optest.Diff(eval(t, g, feeds)[0], want[0]); d > 1e-5 {
		t.Errorf("differs by %g", d)
	}
}

func TestFuse(t *testing.T) {
	g, feeds := convNet()
	FoldBatchNorm(g)
	want := eval(t, g, feeds)
	Fuse(g, func(*graph.Node) bool { return false })
	if len(g.Nodes) != 3 {
		t.Errorf("fused what was not accepted:\n%v", g)
	}
	Fuse(g, func(*graph.Node) bool { return true })
	if n := g.Nodes[0]; n.OpName() != "whit.Fused" || len(g.Nodes) != 2 {
		t.Errorf("not fused:\n%v", g)
	}
	if d := optest.Diff(eval(t, g, feeds)[0], want[0]); d > 1e-6 {
		t.Errorf("differs by %g", d)
	}
}

func TestBindFoldsShapeArithmetic(t *testing.T) {
	g := graph.New("flatten by hand")
	x := g.AddInput("x", tensor.Float32, -1, 3, 4)
	n := g.Add("", "Gather", nil, g.Add("", "Shape", nil, x), g.NewConst("", tensor.Scalar(int64(0))))
	n = g.Add("", "Unsqueeze", nil, n, g.NewConst("", tensor.Ints(0)))
	s := g.Add("", "Concat", attrs("axis", int64(0)), n, g.NewConst("", tensor.Ints(-1)))
	g.Outputs = []*graph.Value{g.Add("", "Reshape", nil, x, s)}
	feeds := map[string]*tensor.Tensor{"x": optest.Rand(1, tensor.Float32, 5, 3, 4)}
	b, err := Bind(g, map[string]tensor.Type{"x": feeds["x"].Type}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Rest != nil || len(b.Graph.Nodes) != 1 || !b.Graph.Outputs[0].Type.Shape.Equal(tensor.Shape{5, 12}) {
		t.Errorf("not folded:\n%v", b.Graph)
	}
	eval(t, b.Graph, feeds)
}

func TestBindSplitsWhereShapesDependOnData(t *testing.T) {
	g := graph.New("dynamic")
	x := g.AddInput("x", tensor.Float32, 2, 6)
	s := g.AddInput("s", tensor.Int64, 2)
	a := g.Add("", "Relu", nil, x)
	y := g.Add("", "Relu", nil, g.Add("", "Reshape", nil, a, s))
	g.Outputs = []*graph.Value{y, a}
	b, err := Bind(g, map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{2, 6}}, "s": {DType: tensor.Int64, Shape: tensor.Shape{2}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Rest == nil || len(b.Rest.Nodes) != 2 || len(b.Needs) != 1 || b.Needs[0] != "s" {
		t.Fatalf("graph %v\nrest %v\nneeds %v", b.Graph, b.Rest, b.Needs)
	}
	if err := b.Graph.Verify(); err != nil {
		t.Error(err)
	}
	if err := b.Rest.Verify(); err != nil {
		t.Error(err)
	}
}

func TestBindTakesTheBranchOfIf(t *testing.T) {
	for _, cond := range []bool{true, false} {
		g := graph.New("if")
		x := g.AddInput("x", tensor.Float32, 3)
		th, el := graph.New("then"), graph.New("else")
		a := th.AddInput("a", tensor.Float32, 3)
		th.Outputs = []*graph.Value{th.Add("", "Relu", nil, a)}
		th.Outputs[0].Name = "then_y"
		b := el.AddInput("b", tensor.Float32, 3)
		el.Outputs = []*graph.Value{b}
		c := g.NewConst("", tensor.Scalar(cond))
		y := g.Add("", "If", attrs("then_branch", th, "else_branch", el), c, x, x)
		y.Name = "y"
		g.Outputs = []*graph.Value{y}
		bd, err := Bind(g, map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{3}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := eval(t, bd.Graph, map[string]*tensor.Tensor{"x": optest.F32([]float32{-1, 2, -3}, 3)})
		want := optest.F32([]float32{-1, 2, -3}, 3)
		if cond {
			want = optest.F32([]float32{0, 2, 0}, 3)
		}
		if d := optest.Diff(got[0], want); d != 0 || bd.Graph.Outputs[0].Name != "y" {
			t.Errorf("%v: %v", cond, bd.Graph)
		}
	}
}

func TestBindRefusesOtherShapes(t *testing.T) {
	g, _ := convNet()
	_, err := Bind(g, map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{1, 4, 8, 8}}}, nil)
	if err == nil || !strings.Contains(err.Error(), `input "x"`) {
		t.Errorf("got %v", err)
	}
}

func TestSimplify(t *testing.T) {
	g := graph.New("s")
	x := g.AddInput("x", tensor.Float32, 2)
	y := g.Add("", "Identity", nil, x)
	y = g.Add("", "Dropout", nil, y)
	g.Add("", "Relu", nil, y) // dead
	y = g.Add("", "Add", nil, y, g.Add("", "Constant", attrs("value", optest.F32([]float32{1, 2}, 2))))
	g.Outputs = []*graph.Value{y}
	Simplify(g)
	if len(g.Nodes) != 1 || g.Nodes[0].In[0] != x || !g.Nodes[0].In[1].IsConst() {
		t.Errorf("%v", g)
	}
}

func TestFuseShuffles(t *testing.T) {
	for _, c := range []struct {
		name  string
		reads bool // something else reads what the Transpose makes
		nodes int
	}{{"alone", false, 1}, {"read elsewhere", true, 3}} {
		t.Run(c.name, func(t *testing.T) {
			g := graph.New("shuffle")
			x := g.AddInput("x", tensor.Float32, 1, 6, 2, 3)
			y := g.Add("", "Reshape", nil, x, g.NewConst("", tensor.From([]int64{1, 2, 3, 2, 3}, 5)))
			y = g.Add("", "Transpose", attrs("perm", []int64{0, 2, 1, 3, 4}), y)
			g.Outputs = []*graph.Value{g.Add("", "Reshape", nil, y, g.NewConst("", tensor.From([]int64{1, 6, 2, 3}, 4)))}
			if c.reads {
				g.Outputs = append(g.Outputs, y, y)
			}
			feeds := map[string]*tensor.Tensor{"x": optest.Rand(1, tensor.Float32, 1, 6, 2, 3)}
			want := eval(t, g, feeds)
			Fuse(g, func(*graph.Node) bool { return true })
			if len(g.Nodes) != c.nodes {
				t.Fatalf("%d nodes, want %d:\n%v", len(g.Nodes), c.nodes, g)
			}
			for i, got := range eval(t, g, feeds) {
				if optest.Diff(got, want[i]) != 0 {
					t.Errorf("output %d differs", i)
				}
			}
		})
	}
}

// TestEinsumBecomesMatMul: what is a product of matrices is bound as one.
func TestEinsumBecomesMatMul(t *testing.T) {
	for _, c := range []struct {
		equation string
		shapes   []tensor.Shape
		stays    bool
	}{
		{"bhwc,hkc->bhwk", []tensor.Shape{{2, 3, 4, 5}, {3, 6, 5}}, false},
		{"ij->ji", []tensor.Shape{{2, 3}}, false},
		{"abc->b", []tensor.Shape{{2, 3, 4}}, false},
		{"i,j->ij", []tensor.Shape{{2}, {3}}, false},
		{"ij,ij->", []tensor.Shape{{2, 3}, {2, 3}}, false},
		{"...ij,...jk->...ik", []tensor.Shape{{2, 3, 4}, {2, 4, 5}}, false},
		{"ii->i", []tensor.Shape{{3, 3}}, true},
		{"ij,ij->ij", []tensor.Shape{{2, 1}, {2, 3}}, true},
		{"ij,jk,kl->il", []tensor.Shape{{2, 3}, {3, 4}, {4, 5}}, true},
	} {
		g, in := graph.New(""), map[string]tensor.Type{}
		var vs []*graph.Value
		for i, s := range c.shapes {
			v := g.AddInput(string(rune('a'+i)), tensor.Float32, s...)
			in[v.Name], vs = tensor.Type{DType: tensor.Float32, Shape: s}, append(vs, v)
		}
		y := g.Add("", "Einsum", map[string]any{"equation": c.equation}, vs...)
		g.Outputs = []*graph.Value{y}
		want, err := op.Infer(&graph.Node{Op: "Einsum", Attrs: y.Producer.Attrs, In: bound(vs, in)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Bind(g, in, nil, Lowerings()...)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Graph.Verify(); err != nil {
			t.Fatal(err)
		}
		stays := slices.ContainsFunc(b.Graph.Nodes, func(n *graph.Node) bool { return n.Op == "Einsum" })
		if stays != c.stays || !b.Graph.Outputs[0].Type.Equal(want[0]) {
			t.Errorf("%s: %v, want %v\n%s", c.equation, b.Graph.Outputs[0].Type, want[0], b.Graph)
		}
	}
}

func bound(vs []*graph.Value, in map[string]tensor.Type) []*graph.Value {
	var bs []*graph.Value
	for _, v := range vs {
		bs = append(bs, &graph.Value{Name: v.Name, Type: in[v.Name]})
	}
	return bs
}

// TestFuseCurves: functions of one value become one node, also behind a convolution, unless
// something else reads what lies between.
func TestFuseCurves(t *testing.T) {
	num := func(g *graph.Graph, v float32) *graph.Value { return g.NewConst("", tensor.Scalar(v)) }
	conv := func(g *graph.Graph, x *graph.Value) *graph.Value {
		return g.Add("", "Conv", nil, x, g.NewConst("", optest.Rand(1, tensor.Float32, 3, 3, 1, 1)), g.NewConst("", optest.Rand(2, tensor.Float32, 3)))
	}
	silu := func(g *graph.Graph, x *graph.Value) *graph.Value {
		return g.Add("", "Mul", nil, g.Add("", "Sigmoid", nil, x), x)
	}
	for name, c := range map[string]struct {
		build func(g *graph.Graph, x *graph.Value) []*graph.Value
		want  int // nodes that are left
	}{
		"silu":      {func(g *graph.Graph, x *graph.Value) []*graph.Value { return []*graph.Value{silu(g, x)} }, 1},
		"conv silu": {func(g *graph.Graph, x *graph.Value) []*graph.Value { return []*graph.Value{silu(g, conv(g, x))} }, 1},
		"conv residual silu": {func(g *graph.Graph, x *graph.Value) []*graph.Value {
			return []*graph.Value{silu(g, g.Add("", "Add", nil, conv(g, x), x))}
		}, 1},
		"conv hardswish": {func(g *graph.Graph, x *graph.Value) []*graph.Value {
			y := conv(g, x)
			z := g.Add("", "Clip", nil, g.Add("", "Add", nil, y, num(g, 3)), num(g, 0), num(g, 6))
			return []*graph.Value{g.Add("", "Div", nil, g.Add("", "Mul", nil, z, y), num(g, 6))}
		}, 1},
		"two curves of one value": {func(g *graph.Graph, x *graph.Value) []*graph.Value {
			y := conv(g, x)
			return []*graph.Value{silu(g, y), g.Add("", "Tanh", nil, y)}
		}, 3},
		"read between": {func(g *graph.Graph, x *graph.Value) []*graph.Value {
			s := g.Add("", "Sigmoid", nil, x)
			return []*graph.Value{g.Add("", "Mul", nil, s, x), s}
		}, 2},
		"a gate is no curve": {func(g *graph.Graph, x *graph.Value) []*graph.Value {
			s := g.Add("", "Sigmoid", nil, g.Add("", "GlobalAveragePool", nil, x))
			return []*graph.Value{g.Add("", "Mul", nil, x, s)}
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph.New("g")
			x := g.AddInput("x", tensor.Float32, 1, 3, 4, 5)
			g.Outputs = c.build(g, x)
			feeds := map[string]*tensor.Tensor{"x": optest.Rand(3, tensor.Float32, 1, 3, 4, 5)}
			want := eval(t, g, feeds)
			Fuse(g, func(n *graph.Node) bool { return true })
			if len(g.Nodes) != c.want {
				t.Errorf("%d nodes, want %d:\n%s", len(g.Nodes), c.want, g)
			}
			for i, y := range eval(t, g, feeds) {
				if d := optest.Diff(y, want[i]); d != 0 {
					t.Errorf("output %d differs by %g", i, d)
				}
			}
		})
	}
}
