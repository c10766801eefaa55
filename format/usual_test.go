package format

import (
	"bytes"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// usualNet is a network with the usual names.
func usualNet() *File {
	g := graph.New("net")
	g.Meta = map[string]string{archMeta: "net"}
	x := g.AddInput("input", tensor.Float32, -1, 1, 8, 8)
	add := func(name, op string, attrs map[string]any, x *graph.Value, consts ...*graph.Value) *graph.Value {
		y := g.Add("", op, attrs, append([]*graph.Value{x}, consts...)...)
		y.Name, g.Nodes[len(g.Nodes)-1].Name = name, name
		return y
	}
	c := func(name string, shape ...int) *graph.Value {
		return g.NewConst(name, tensor.New(tensor.Float32, shape...))
	}
	y := add("conv1", "Conv", nil, x, c("conv1.weight", 4, 1, 3, 3), c("conv1.bias", 4))
	y = add("bn1", "BatchNormalization", nil, y, c("bn1.weight", 4), c("bn1.bias", 4), c("bn1.running_mean", 4), c("bn1.running_var", 4))
	y = add("relu1", "Relu", nil, y)
	y = add("pool1", "MaxPool", map[string]any{"kernel_shape": []int64{2, 2}}, y)
	y = add("conv2", "Conv", nil, y, c("conv2.weight", 4, 4, 2, 2))
	y = add("relu2", "Relu", nil, y)
	y = add("flatten", "Flatten", nil, y)
	y = add("fc1", "MatMul", nil, y, c("fc1.weight", 16, 5))
	y = add("fc2", "Gemm", nil, y, c("fc2.weight", 5, 3), c("fc2.bias", 3))
	y.Name = "logits"
	g.Outputs = []*graph.Value{y}
	return &File{Graph: g}
}

// TestUsualNames: names that are all usual take no bytes, and come back; any other and all are written.
func TestUsualNames(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(g *graph.Graph)
		usual bool
	}{
		"usual":          {func(*graph.Graph) {}, true},
		"no arch":        {func(g *graph.Graph) { g.Name, g.Meta = "", nil }, true},
		"graph":          {func(g *graph.Graph) { g.Name = "other" }, false},
		"documentation":  {func(g *graph.Graph) { g.Doc = "of 1998" }, false},
		"node":           {func(g *graph.Graph) { g.Nodes[3].Name = "pool" }, false},
		"constant":       {func(g *graph.Graph) { g.Find("fc2.bias").Name = "b" }, false},
		"value":          {func(g *graph.Graph) { g.Find("pool1").Name = "p" }, false},
		"output":         {func(g *graph.Graph) { g.Outputs[0].Name = "fc2" }, true},
		"taken":          {func(g *graph.Graph) { g.Find("relu1").Name = "r"; g.Inputs[0].Name = "relu1" }, false},
		"other operator": {func(g *graph.Graph) { g.Nodes[2].Op = "Sigmoid" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := usualNet()
			c.edit(f.Graph)
			for _, o := range []Options{{}, {Chunks: true}, {Profile: Fast}} {
				b, sizes := write(t, f, o)
				if sizes.Names == 0 != c.usual && (sizes.Names < 2) != c.usual { // absent takes a part of a byte in the small form
					t.Errorf("%+v: names take %d bytes", o, sizes.Names)
				}
				back, err := Read(bytes.NewReader(b), int64(len(b)))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(namesOf(back.Graph), namesOf(f.Graph)) {
					t.Errorf("%+v: names are %q, want %q", o, namesOf(back.Graph), namesOf(f.Graph))
				}
			}
		})
	}
	// Without names a reader calls all it can so, and the rest otherwise.
	f := usualNet()
	f.Graph.Nodes[2].Op = "Sigmoid"
	b, _ := write(t, f, Options{Strip: true})
	back, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range back.Graph.Values() {
		if v.Name == "" || seen[v.Name] {
			t.Errorf("a value is called %q", v.Name)
		}
		seen[v.Name] = true
	}
	if !seen["bn1.running_var"] || !seen["conv2.weight"] || seen["relu2"] {
		t.Errorf("values are called %v", seen)
	}
}
