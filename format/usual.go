package format

import (
	"strconv"
	"strings"

	"whit/graph"
)

// usualNodes are what nodes of the domain "" are usually called, before a number from 1 on (flatten has none, and is one), and
// after a point the constants that they read. A file whose names are all usual needs no names chunk.
var usualNodes = map[string]struct {
	name   string
	consts []string // by input
}{
	"Conv":               {"conv", []string{"", "weight", "bias"}},
	"Gemm":               {"fc", []string{"", "weight", "bias"}},
	"MatMul":             {"fc", []string{"", "weight"}},
	"BatchNormalization": {"bn", []string{"", "weight", "bias", "running_mean", "running_var"}},
	"Relu":               {"relu", nil},
	"MaxPool":            {"pool", nil},
	"AveragePool":        {"pool", nil},
	"Flatten":            {"flatten", nil},
}

// usualNames are those of the values that the graph chunk does not name and of the nodes; of some there are none. A value that a node
// computes is called as the node.
func usualNames(g *graph.Graph) (values map[*graph.Value]string, nodes map[*graph.Node]string) {
	values, nodes = map[*graph.Value]string{}, map[*graph.Node]string{}
	held, taken := map[*graph.Value]bool{}, map[string]bool{}
	for _, v := range g.Inputs {
		held[v], taken[v.Name] = true, true
	}
	for _, v := range g.Outputs {
		if v.Kind == graph.Computed {
			held[v], taken[v.Name] = true, true
		}
	}
	call := func(v *graph.Value, name string) {
		if v != nil && !held[v] && !taken[name] {
			values[v], held[v], taken[name] = name, true, true
		}
	}
	count := map[string]int{}
	for _, n := range g.Nodes {
		if r := levelled(n); r != nil && (values[r] != "" || held[r]) {
			name := values[r]
			if name == "" {
				name = r.Name
			}
			nodes[n] = levelNames(n, name, call)
			continue
		}
		u, ok := usualNodes[n.Op]
		if !ok || n.Domain != "" {
			continue
		}
		count[u.name]++
		name := u.name + strconv.Itoa(count[u.name])
		if n.Op == "Flatten" {
			if count[u.name] > 1 {
				continue
			}
			name = u.name
		}
		nodes[n] = name
		for i, suffix := range u.consts {
			if suffix != "" && constant(n, i) {
				call(n.In[i], name+"."+suffix)
			}
		}
		if len(n.Out) == 1 {
			call(n.Out[0], name)
		}
	}
	return values, nodes
}

// constant reports whether a node's input i is there, and neither computed nor given.
func constant(n *graph.Node, i int) bool {
	v := n.Input(i)
	return v != nil && v.Kind != graph.Computed && v.Kind != graph.Input
}

// levelled is what a node makes levels of, or values of again; nil: it does another thing.
func levelled(n *graph.Node) *graph.Value {
	if n.Domain == "" && (n.Op == "QuantizeLinear" || n.Op == "DequantizeLinear") && len(n.In) > 0 {
		return n.In[0]
	}
	return nil
}

// levelNames are the usual names about such a node, after that of what it reads: call takes those of values, its own is returned.
func levelNames(n *graph.Node, name string, call func(v *graph.Value, name string)) string {
	name = strings.TrimSuffix(name, "_quantized")
	for i, suffix := range []string{1: "_scale", 2: "_zero_point"} {
		if suffix != "" && constant(n, i) {
			call(n.In[i], name+suffix)
		}
	}
	own := name + "_dequantized"
	if n.Op == "QuantizeLinear" {
		own = name + "_quantized"
	}
	if len(n.Out) == 1 && n.Out[0] != nil {
		call(n.Out[0], own)
	}
	return own
}

// archMeta is the key of the metadata whose value is a graph's usual name.
const archMeta = "whit.arch"

// usual reports whether a graph's names are what a reader makes up.
func usual(g *graph.Graph) bool {
	values, nodes := usualNames(g)
	yes := g.Name == g.Meta[archMeta] && g.Doc == ""
	named(g, 0, func(v *graph.Value, inFile bool) {
		yes = yes && (inFile || v.Name != "" && values[v] == v.Name)
	}, func(n *graph.Node) { yes = yes && n.Name != "" && nodes[n] == n.Name })
	return yes
}

// call gives a graph of which the file holds no names the usual ones.
func (g *graphReader) call(out *graph.Graph, meta map[string]string) {
	out.Name = meta[archMeta]
	values, nodes := usualNames(out)
	for _, v := range g.values {
		if v.Name == "" && values[v] != "" {
			v.Name = values[v]
			g.names[v.Name] = true
		}
	}
	for _, n := range g.nodes {
		n.Name = nodes[n]
	}
}
