package graph

import (
	"testing"

	"whit/tensor"
)

// TestLift nests an If in an If; both branches read the same outer value.
func TestLift(t *testing.T) {
	g := New("g")
	x := g.AddInput("x", tensor.Float32, 2)
	c := g.AddInput("c", tensor.Bool)
	y := g.Add("", "Relu", nil, x)
	inner := func(name string) *Graph {
		b := New(name)
		b.fresh = g.fresh + 10*len(name)
		b.Outputs = []*Value{b.Add("", "Neg", nil, y)}
		return b
	}
	mid := New("mid")
	mid.fresh = 100
	in := mid.NewNode("", "If", map[string]any{"then_branch": inner("aa"), "else_branch": inner("bbbb")}, 1, c)
	Lift(in, g.NewName)
	mid.Nodes = append(mid.Nodes, in)
	mid.Outputs = []*Value{in.Out[0]}
	direct := New("direct")
	direct.Outputs = []*Value{x}
	n := g.NewNode("", "If", map[string]any{"then_branch": mid, "else_branch": direct}, 1, c)
	Lift(n, g.NewName)
	g.Nodes = append(g.Nodes, n)
	g.Outputs = n.Out
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	if in.Captures() != 2 || len(mid.Inputs) != 2 || len(direct.Inputs) != 1 || n.Captures() != 3 {
		t.Errorf("captures: inner %d, mid takes %d, direct %d, outer %d", in.Captures(), len(mid.Inputs), len(direct.Inputs), n.Captures())
	}
	if n.In[1] != c || n.In[2] != y || n.In[3] != x {
		t.Errorf("captures are %v", n)
	}
}

func TestReserve(t *testing.T) {
	g := New("g")
	g.Reserve("const:7")
	g.Reserve("a:b")
	g.Reserve("x:99999999999999999999")
	if n := g.NewName("const"); n != "const:8" {
		t.Errorf("got %s", n)
	}
}
