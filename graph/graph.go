package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"whit/tensor"
	"whit/weight"
)

// Domain is the domain of whit's internal operators; ONNX's own is "".
const Domain = "whit"

// Kind says where a value comes from.
type Kind uint8

// The kinds of value.
const (
	Computed Kind = iota // the output of a node
	Input                // fed from outside at every run
	Const                // immutable data: Value.Data or Value.Weight
	Param                // trainable: lives outside the arena, written by nodes with Op.Writes
	State                // like Param, but not trained: running statistics, optimiser moments, step
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"computed", "input", "const", "param", "state"}[k]
}

// Dim is a declared dimension. Size -1 is symbolic: Name is its name, perhaps empty.
type Dim struct {
	Size int
	Name string
}

// Decl is what a model declares of an input, output or intermediate value.
type Decl struct {
	DType  tensor.DType // Invalid: not declared
	Dims   []Dim
	Ranked bool // false: the rank is not declared and Dims is nil
}

// Sizes are the sizes of the dimensions, -1 where one is open.
func (d Decl) Sizes() []int {
	var s []int
	for _, dim := range d.Dims {
		s = append(s, max(dim.Size, -1))
	}
	return s
}

// Order is the physical order of a value's elements.
type Order uint8

// The orders.
const (
	RowMajor Order = iota // as the logical shape says
	NHWC                  // logical [N,C,H,W] held as [N,H,W,C], channel stride and halo as Layout says
)

// Layout is the physical layout of a value of the compiled graph. The zero value
// is row-major. For NHWC a pixel takes CStride elements (at least C), and Halo
// pixels (top, left, bottom, right) of fill surround every image.
type Layout struct {
	Order   Order
	CStride int
	Halo    [4]int
}

// Value is an edge of the graph. Values are compared by identity; Name is unique
// within a graph and its outer graphs.
type Value struct {
	Name string
	Kind Kind
	Decl Decl

	// Type is the bound type. It is set for constants, params and states always,
	// and for every value of a bound graph; DType is Invalid elsewhere.
	Type tensor.Type
	// Layout is assigned in the compiled graph only.
	Layout Layout
	// Within is set in the compiled graph where the value has no memory of its own: it
	// is the channels from At on of that NHWC value, whose layout it shares.
	Within *Value
	At     int

	// Data is the constant, or the initial value of a param or state.
	Data *tensor.Tensor
	// Weight is set instead of Data where a float constant is held under an encoding.
	Weight weight.Weight

	// Producer is the node that computes the value, nil unless Kind is Computed.
	Producer *Node
}

// IsConst reports whether the value's data are known and immutable.
func (v *Value) IsConst() bool { return v != nil && v.Kind == Const }

// Bound reports whether Type is known.
func (v *Value) Bound() bool { return v.Type.DType != tensor.Invalid }

// Tensor is the data of a constant (expanded, and then a copy, where it is a
// Weight) or the initial value of a param or state; nil for other values.
func (v *Value) Tensor() *tensor.Tensor {
	if v == nil {
		return nil
	}
	if v.Data == nil && v.Weight != nil {
		return v.Weight.Dense()
	}
	return v.Data
}

// Node is one operation. In may hold nil for an absent optional input; Out may
// hold nil for an output that nobody wants. Attrs holds int64, float32, string,
// []int64, []float32, []string, *tensor.Tensor, *Graph or []*Graph.
type Node struct {
	Name   string
	Op     string
	Domain string
	Attrs  map[string]any
	In     []*Value
	Out    []*Value
}

// Graph is a network or the body of a control-flow node. Nodes stand in
// topological order. A subgraph's captures are explicit: its Inputs begin with
// the operator's own and end with the captured values, which the node that owns
// it lists at the end of its In (see Lift).
type Graph struct {
	Name    string
	Doc     string
	Inputs  []*Value
	Outputs []*Value
	Nodes   []*Node
	// Meta is ONNX's metadata_props, kept on writing.
	Meta map[string]string
	// fresh numbers the names that NewName makes.
	fresh int
}

// New makes an empty graph.
func New(name string) *Graph { return &Graph{Name: name} }

// AddInput appends an input with declared dimensions (-1: symbolic, unnamed).
func (g *Graph) AddInput(name string, d tensor.DType, dims ...int) *Value {
	v := &Value{Name: name, Kind: Input, Decl: Decl{DType: d, Ranked: true}}
	for _, n := range dims {
		v.Decl.Dims = append(v.Decl.Dims, Dim{Size: n})
	}
	g.Inputs = append(g.Inputs, v)
	return v
}

// NewConst makes a constant over t, which it shares. The name may be empty: one is made.
func (g *Graph) NewConst(name string, t *tensor.Tensor) *Value {
	if name == "" {
		name = g.NewName("const")
	}
	return &Value{Name: name, Kind: Const, Type: t.Type, Data: t}
}

// NewWeight makes a constant held as w.
func (g *Graph) NewWeight(name string, w weight.Weight) *Value {
	if name == "" {
		name = g.NewName("weight")
	}
	return &Value{Name: name, Kind: Const, Type: w.Type(), Weight: w}
}

// NewVar makes a Param or State with the initial value t, which it shares until a plan copies it.
func (g *Graph) NewVar(k Kind, name string, t *tensor.Tensor) *Value {
	if name == "" {
		name = g.NewName("var")
	}
	return &Value{Name: name, Kind: k, Type: t.Type, Data: t}
}

// NewName makes a value name that no other call of NewName on g gives and that
// models do not use: prefix + ":" + a number.
func (g *Graph) NewName(prefix string) string {
	g.fresh++
	return fmt.Sprintf("%s:%d", prefix, g.fresh)
}

// NewNode makes a node with nout fresh outputs without putting it into the graph.
func (g *Graph) NewNode(domain, op string, attrs map[string]any, nout int, in ...*Value) *Node {
	n := &Node{Op: op, Domain: domain, Attrs: attrs, In: in}
	n.Name = g.NewName(op)
	for i := range nout {
		name := n.Name
		if i > 0 {
			name = fmt.Sprintf("%s.%d", n.Name, i)
		}
		n.Out = append(n.Out, &Value{Name: name, Producer: n})
	}
	return n
}

// Add appends a node of one output and returns the output.
func (g *Graph) Add(domain, op string, attrs map[string]any, in ...*Value) *Value {
	return g.AddN(domain, op, attrs, 1, in...)[0]
}

// AddN appends a node of nout outputs and returns them.
func (g *Graph) AddN(domain, op string, attrs map[string]any, nout int, in ...*Value) []*Value {
	n := g.NewNode(domain, op, attrs, nout, in...)
	g.Nodes = append(g.Nodes, n)
	return n.Out
}

// Before puts n into the list of nodes just before at; nil at appends.
func (g *Graph) Before(at *Node, n *Node) {
	i := slices.Index(g.Nodes, at)
	if at == nil || i < 0 {
		i = len(g.Nodes)
	}
	g.Nodes = slices.Insert(g.Nodes, i, n)
}

// Replace makes every use of old, the graph's outputs included, a use of new.
// Where old is an output of the graph, new takes its name so that the graph's
// interface stays; an output may not become an input or constant: Replace then
// inserts an Identity.
func (g *Graph) Replace(old, new *Value) {
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if v == old {
				n.In[i] = new
			}
		}
	}
	for i, v := range g.Outputs {
		if v != old {
			continue
		}
		if new.Kind != Computed || slices.Contains(g.Outputs, new) {
			n := g.NewNode("", "Identity", nil, 1, new)
			n.Out[0].Type = new.Type
			g.Nodes = append(g.Nodes, n)
			name := old.Name
			old.Name = g.NewName(name)
			n.Out[0].Name, n.Out[0].Decl = name, old.Decl
			g.Outputs[i] = n.Out[0]
			continue
		}
		name := old.Name
		old.Name = g.NewName(name)
		new.Name, new.Decl = name, old.Decl
		g.Outputs[i] = new
	}
}

// Use is one place where a value is read: input Index of Node, or output Index
// of the graph where Node is nil.
type Use struct {
	Node  *Node
	Index int
}

// Uses lists the uses of every value, in node order.
func (g *Graph) Uses() map[*Value][]Use {
	m, all := make(map[*Value][]Use, g.size()), make([]Use, 0, g.reads())
	add := func(v *Value, u Use) {
		// Most values have one use: a piece of all.
		if l, ok := m[v]; ok {
			m[v] = append(l, u)
			return
		}
		all = append(all, u)
		m[v] = all[len(all)-1 : len(all) : len(all)]
	}
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if v != nil {
				add(v, Use{n, i})
			}
		}
	}
	for i, v := range g.Outputs {
		add(v, Use{nil, i})
	}
	return m
}

// size is about how many values there are: constants may be read by several nodes.
func (g *Graph) size() int {
	k := len(g.Inputs)
	for _, n := range g.Nodes {
		k += len(n.Out)
	}
	return k + max(0, g.reads()-k)/2
}

// reads is how many times values are read.
func (g *Graph) reads() int {
	k := len(g.Inputs) + len(g.Outputs)
	for _, n := range g.Nodes {
		k += len(n.In)
	}
	return k
}

// Values lists every value of the graph once: inputs, then in node order what
// each node reads and makes; outputs last.
func (g *Graph) Values() []*Value {
	size := g.size()
	seen, vs := make(map[*Value]bool, size), make([]*Value, 0, size)
	add := func(v *Value) {
		if v != nil && !seen[v] {
			seen[v] = true
			vs = append(vs, v)
		}
	}
	for _, v := range g.Inputs {
		add(v)
	}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			add(v)
		}
		for _, v := range n.Out {
			add(v)
		}
	}
	for _, v := range g.Outputs {
		add(v)
	}
	return vs
}

// Find is the value of that name, nil if there is none.
func (g *Graph) Find(name string) *Value {
	for _, v := range g.Values() {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// Clone copies nodes and values; constants' data are shared. The map leads from
// each value of g to its copy.
func (g *Graph) Clone() (*Graph, map[*Value]*Value) {
	size := g.size()
	m := make(map[*Value]*Value, size)
	values, nodes, edges := make([]Value, 0, size), make([]Node, len(g.Nodes)), make([]*Value, 0, 2*size)
	cp := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		c := m[v]
		if c == nil {
			if len(values) == cap(values) {
				values = make([]Value, 0, 64)
			}
			values = append(values, *v)
			c = &values[len(values)-1]
			c.Producer = nil
			c.Decl.Dims = slices.Clone(v.Decl.Dims)
			m[v] = c
		}
		return c
	}
	cps := func(vs []*Value) []*Value {
		if len(vs) == 0 {
			return nil
		}
		if len(vs) > cap(edges)-len(edges) {
			edges = make([]*Value, 0, max(64, len(vs)))
		}
		from := len(edges)
		for _, v := range vs {
			edges = append(edges, cp(v))
		}
		return edges[from:len(edges):len(edges)]
	}
	c := &Graph{Name: g.Name, Doc: g.Doc, fresh: g.fresh, Inputs: cps(g.Inputs), Nodes: make([]*Node, 0, len(g.Nodes))}
	c.Meta = maps.Clone(g.Meta)
	for i, n := range g.Nodes {
		k := &nodes[i]
		*k = Node{Name: n.Name, Op: n.Op, Domain: n.Domain, In: cps(n.In), Out: cps(n.Out), Attrs: maps.Clone(n.Attrs)}
		for name, a := range n.Attrs {
			switch a := a.(type) {
			case *Graph:
				k.Attrs[name], _ = a.Clone()
			case []*Graph:
				cl := make([]*Graph, len(a))
				for i, s := range a {
					cl[i], _ = s.Clone()
				}
				k.Attrs[name] = cl
			}
		}
		for _, v := range k.Out {
			if v != nil {
				v.Producer = k
			}
		}
		c.Nodes = append(c.Nodes, k)
	}
	c.Outputs = cps(g.Outputs)
	return c, m
}

// Int is the integer attribute name, or def where it is absent.
func (n *Node) Int(name string, def int64) int64 {
	if v, ok := n.Attrs[name].(int64); ok {
		return v
	}
	return def
}

// Float is the float attribute name, or def where it is absent.
func (n *Node) Float(name string, def float32) float32 {
	if v, ok := n.Attrs[name].(float32); ok {
		return v
	}
	return def
}

// Str is the string attribute name, or def where it is absent.
func (n *Node) Str(name, def string) string {
	if v, ok := n.Attrs[name].(string); ok {
		return v
	}
	return def
}

// Ints is the integer list attribute name, nil where it is absent.
func (n *Node) Ints(name string) []int64 {
	v, _ := n.Attrs[name].([]int64)
	return v
}

// Floats is the float list attribute name, nil where it is absent.
func (n *Node) Floats(name string) []float32 {
	v, _ := n.Attrs[name].([]float32)
	return v
}

// Graph is the subgraph attribute name, nil where it is absent.
func (n *Node) Graph(name string) *Graph {
	v, _ := n.Attrs[name].(*Graph)
	return v
}

// Input is input i, nil where it is absent.
func (n *Node) Input(i int) *Value {
	if i < len(n.In) {
		return n.In[i]
	}
	return nil
}

// OpName is the operator with its domain: "Conv", "whit.Assign".
func (n *Node) OpName() string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "." + n.Op
}

// String is one line: out, out = Op(in, in) {attr: value}.
func (n *Node) String() string {
	names := func(vs []*Value) string {
		var s []string
		for _, v := range vs {
			if v == nil {
				s = append(s, "_")
			} else {
				s = append(s, v.Name)
			}
		}
		return strings.Join(s, ", ")
	}
	s := fmt.Sprintf("%s = %s(%s)", names(n.Out), n.OpName(), names(n.In))
	if len(n.Attrs) > 0 {
		var as []string
		for k, a := range n.Attrs {
			switch a := a.(type) {
			case *Graph:
				as = append(as, fmt.Sprintf("%s: graph %q", k, a.Name))
			case *tensor.Tensor:
				as = append(as, fmt.Sprintf("%s: %v", k, a.Type))
			default:
				as = append(as, fmt.Sprintf("%s: %v", k, a))
			}
		}
		slices.Sort(as)
		s += " {" + strings.Join(as, ", ") + "}"
	}
	return s
}

// String is the graph as text, one line a node: the form of graph goldens.
func (g *Graph) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph %s\n", g.Name)
	line := func(what string, v *Value) {
		fmt.Fprintf(&b, "%s %s", what, v.Name)
		if v.Bound() {
			fmt.Fprintf(&b, " %v", v.Type)
		} else if v.Decl.DType != tensor.Invalid {
			fmt.Fprintf(&b, " %v", v.Decl)
		}
		if v.Weight != nil {
			fmt.Fprintf(&b, " %s", v.Weight.Kind())
		}
		b.WriteByte('\n')
	}
	for _, v := range g.Values() {
		if v.Kind != Computed {
			line(v.Kind.String(), v)
		}
	}
	for _, n := range g.Nodes {
		b.WriteString("  " + n.String())
		for _, v := range n.Out {
			if v != nil && v.Bound() {
				fmt.Fprintf(&b, " %v", v.Type)
			}
			if v != nil && v.Layout != (Layout{}) {
				fmt.Fprintf(&b, " nhwc/%d%v", v.Layout.CStride, v.Layout.Halo)
			}
		}
		b.WriteByte('\n')
	}
	for _, v := range g.Outputs {
		line("output", v)
	}
	return b.String()
}

// String is for example "float32[N,3,224,224]", with ? for an unnamed symbolic
// dimension and [...] for an unknown rank.
func (d Decl) String() string {
	if !d.Ranked {
		return d.DType.String() + "[...]"
	}
	var s []string
	for _, x := range d.Dims {
		switch {
		case x.Size >= 0:
			s = append(s, fmt.Sprint(x.Size))
		case x.Name != "":
			s = append(s, x.Name)
		default:
			s = append(s, "?")
		}
	}
	return d.DType.String() + "[" + strings.Join(s, ",") + "]"
}
