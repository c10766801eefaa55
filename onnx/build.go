package onnx

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"whit/graph"
	"whit/tensor"
)

// maxInlined bounds what inlining functions may make: nodes, inputs, outputs and
// attributes together. Functions that call functions could grow without end.
const maxInlined = 1 << 16

// maxErrors is how many unsupported things are listed.
const maxErrors = 100

// builder makes the graph from the messages.
type builder struct {
	l       *loader
	funcs   map[[3]string]*functionProto
	names   map[string]bool // of values
	nodes   map[string]bool
	fresh   int
	infos   infos
	values  slab[graph.Value]
	made    slab[graph.Node]
	inlined int
	errs    []error
}

// scope is where names are looked up: a graph, or the body of a function that is
// being inlined into one.
type scope struct {
	b      *builder
	g      *graph.Graph
	parent *scope
	top    bool // the model's own graph: names are kept
	vals   map[string]*graph.Value
	inits  map[string]*tensorProto
	decls  map[string]*valueInfo
	opsets map[string]int64
	fn     *call
	depth  int
}

// call is one use of a function.
type call struct {
	attrs map[string]*attrProto
	depth int
}

func build(p *modelProto, l *loader) (*graph.Graph, error) {
	nodes := len(p.graph.nodes)
	values := nodes + len(p.graph.initializers)
	b := &builder{l: l, names: make(map[string]bool, values), nodes: make(map[string]bool, nodes), infos: make(infos, nodes), funcs: map[[3]string]*functionProto{}}
	for _, f := range p.functions {
		k := [3]string{f.domain, f.name, f.overload}
		if f.name == "" || b.funcs[k] != nil {
			return nil, corrupt("function %q is without a name or defined twice", clean(f.name))
		}
		b.funcs[k] = f
	}
	opsets, err := opsetMap(p.opsets)
	if err != nil {
		return nil, err
	}
	b.scan(p.graph)
	g := graph.New(p.graph.name)
	g.Doc = p.graph.doc
	sc := &scope{b: b, g: g, top: true, opsets: opsets}
	if err := sc.build(p.graph); err != nil {
		return nil, err
	}
	if len(b.errs) > 0 {
		return nil, &UnsupportedError{b.errs}
	}
	if g.Doc == "" {
		g.Doc = p.doc
	}
	for _, kv := range p.meta {
		if g.Meta == nil {
			g.Meta = map[string]string{}
		}
		g.Meta[kv.key] = kv.value
	}
	b.reserve(g)
	if err := g.Verify(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return g, nil
}

func opsetMap(ids []opsetID) (map[string]int64, error) {
	m := map[string]int64{}
	for _, o := range ids {
		m[o.domain] = max(m[o.domain], o.version)
	}
	if v, ok := m[""]; ok && v > Opset {
		return nil, unsupported("opset %d is newer than %d, the newest that this version knows", v, Opset)
	} else if ok && v < 1 {
		return nil, corrupt("opset %d", v)
	}
	return m, nil
}

// scan finds the largest number at the end of a name, so that fresh names are new.
func (b *builder) scan(p *graphProto) {
	see := func(s string) {
		if i := strings.LastIndexByte(s, ':'); i >= 0 {
			if k, err := strconv.Atoi(s[i+1:]); err == nil && k > b.fresh && k < 1<<40 {
				b.fresh = k
			}
		}
	}
	for _, v := range p.inputs {
		see(v.name)
	}
	for _, t := range p.initializers {
		see(t.name)
	}
	for _, n := range p.nodes {
		see(n.name)
		for _, o := range n.outputs {
			see(o)
		}
		for _, a := range n.attrs {
			if a.g != nil {
				b.scan(a.g)
			}
			for _, g := range a.graphs {
				b.scan(g)
			}
		}
	}
}

// reserve keeps names made later apart from those that are there.
func (b *builder) reserve(g *graph.Graph) {
	g.Reserve(":" + strconv.Itoa(b.fresh))
	for _, n := range g.Nodes {
		for _, s := range n.Bodies() {
			b.reserve(s)
		}
	}
}

// unique makes a new name from prefix.
func (b *builder) unique(prefix string) string {
	if i := strings.LastIndexByte(prefix, ':'); i > 0 {
		prefix = prefix[:i]
	}
	if len(prefix) > 64 {
		prefix = prefix[:64]
	}
	for {
		b.fresh++
		s := prefix + ":" + strconv.Itoa(b.fresh)
		if !b.names[s] && !b.nodes[s] {
			return s
		}
	}
}

func (b *builder) nodeName(n *nodeProto) string {
	name := n.name
	if name == "" && len(n.outputs) > 0 {
		name = n.outputs[0]
	}
	if name == "" {
		name = n.op
	}
	if b.nodes[name] {
		name = b.unique(name)
	}
	b.nodes[name] = true
	return name
}

func (b *builder) unsupported(format string, args ...any) {
	if len(b.errs) < maxErrors {
		b.errs = append(b.errs, unsupported(format, args...))
	}
}

// define gives the scope's name to v. In the model's own graph v keeps it; in
// bodies and functions v gets another where it is taken.
func (sc *scope) define(name string, v *graph.Value) error {
	if _, dup := sc.vals[name]; dup || sc.inits[name] != nil {
		return corrupt("value %q is defined twice", clean(name))
	}
	sc.vals[name] = v
	v.Name = name
	if sc.b.names[name] || sc.fn != nil {
		if sc.top && sc.fn == nil {
			return corrupt("value %q is defined twice", clean(name))
		}
		v.Name = sc.b.unique(name)
	}
	sc.b.names[v.Name] = true
	return nil
}

// lookup finds the value that name means in the scope. Constants of outer graphs
// are copied (their data shared): a body has constants of its own.
func (sc *scope) lookup(name string, reader *nodeProto) (*graph.Value, error) {
	if name == "" {
		return nil, nil
	}
	for s := sc; s != nil; s = s.parent {
		v, ok := s.vals[name]
		if !ok {
			t := s.inits[name]
			if t == nil {
				continue
			}
			var err error
			if v, err = s.constant(name, t, reader); err != nil {
				return nil, err
			}
		}
		if v != nil && v.Kind == graph.Const && s.g != sc.g {
			c := *v
			c.Name = sc.b.unique(v.Name)
			sc.b.names[c.Name] = true
			v = &c
			sc.vals[name] = v
		}
		return v, nil
	}
	if reader == nil {
		return nil, corrupt("graph output %q is not computed by any node", clean(name))
	}
	return nil, corrupt("node %q (%s): input %q is not defined", clean(reader.name), clean(reader.op), clean(name))
}

// constant loads an initialiser at its first use.
func (sc *scope) constant(name string, t *tensorProto, reader *nodeProto) (*graph.Value, error) {
	x, err := sc.b.l.load(t)
	if err != nil {
		who := "graph output"
		if reader != nil {
			who = fmt.Sprintf("node %q (%s)", clean(sc.b.say(reader)), clean(reader.op))
		}
		if !errors.Is(err, ErrUnsupported) {
			return nil, fmt.Errorf("initializer %q: %w", clean(name), err)
		}
		sc.b.unsupported("%s: initializer %q: %s", who, clean(name), strings.TrimPrefix(err.Error(), ErrUnsupported.Error()+": "))
		x = tensor.Scalar(false) // the whole fails in the end
	}
	delete(sc.inits, name)
	v := sc.b.values.next()
	v.Kind, v.Type, v.Data = graph.Const, x.Type, x
	if err := sc.define(name, v); err != nil {
		return nil, err
	}
	return v, nil
}

// say is the node's name, or what stands for it.
func (b *builder) say(n *nodeProto) string {
	if n.name == "" && len(n.outputs) > 0 {
		return n.outputs[0]
	}
	return n.name
}

// build fills sc.g from p.
func (sc *scope) build(p *graphProto) error {
	b := sc.b
	if p.sparse > 0 {
		b.unsupported("graph %q has %d sparse initializers; store them densely", clean(p.name), p.sparse)
	}
	sc.vals, sc.inits = make(map[string]*graph.Value, len(p.nodes)+len(p.initializers)), make(map[string]*tensorProto, len(p.initializers))
	sc.decls = make(map[string]*valueInfo, len(p.values)+len(p.outputs))
	for _, t := range p.initializers {
		if t.name == "" || sc.inits[t.name] != nil {
			return corrupt("initializer %q is without a name or defined twice", clean(t.name))
		}
		sc.inits[t.name] = t
	}
	for _, v := range p.values {
		sc.decls[v.name] = v
	}
	for _, v := range p.outputs {
		sc.decls[v.name] = v
	}
	for _, in := range p.inputs {
		if in.name == "" {
			return corrupt("a graph input without a name")
		}
		if sc.inits[in.name] != nil && sc.top {
			continue // the initialiser is the input's default, and never overridden here
		}
		v := &graph.Value{Kind: graph.Input, Decl: in.decl}
		if err := sc.declared(in, "input"); err != nil {
			return err
		}
		if err := sc.define(in.name, v); err != nil {
			return err
		}
		sc.g.Inputs = append(sc.g.Inputs, v)
	}
	nodes, err := order(p.nodes)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := sc.node(n); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, out := range p.outputs {
		v, err := sc.lookup(out.name, nil)
		if err != nil {
			return err
		}
		if v == nil {
			return corrupt("a graph output without a name")
		}
		if sc.top && seen[out.name] {
			return corrupt("graph output %q is listed twice", clean(out.name))
		}
		seen[out.name] = true
		if err := sc.declared(out, "output"); err != nil {
			return err
		}
		if v.Kind == graph.Const {
			// An output is computed: the constant goes through an Identity.
			name := v.Name
			v.Name = b.unique(name)
			b.names[v.Name] = true
			n := &graph.Node{Name: b.unique(name), Op: "Identity", In: []*graph.Value{v}}
			b.nodes[n.Name] = true
			n.Out = []*graph.Value{{Name: name, Producer: n, Decl: out.decl}}
			sc.g.Nodes = append(sc.g.Nodes, n)
			b.infos.node(n)
			sc.vals[out.name] = n.Out[0]
			v = n.Out[0]
		}
		sc.g.Outputs = append(sc.g.Outputs, v)
	}
	return nil
}

// declared checks the type of an input or output. Bodies may leave it out.
func (sc *scope) declared(v *valueInfo, what string) error {
	switch {
	case v.kind != "":
		sc.b.unsupported("%s %q is of type %s, not a tensor", what, clean(v.name), v.kind)
	case v.set && v.code != 0 && v.decl.DType == tensor.Invalid:
		sc.b.unsupported("%s %q has element type %s", what, clean(v.name), dtypeName(v.code))
	case sc.top && what == "input" && v.decl.DType == tensor.Invalid:
		return corrupt("%s %q has no element type", what, clean(v.name))
	}
	s := make(tensor.Shape, 0, len(v.decl.Dims))
	for _, d := range v.decl.Dims {
		s = append(s, max(d.Size, 1))
	}
	if err := s.Check(); err != nil {
		return corrupt("%s %q: %v", what, clean(v.name), err)
	}
	return nil
}

// title is what errors call a node.
type title struct{ n *graph.Node }

func (t title) String() string {
	return fmt.Sprintf("node %q (%s)", clean(t.n.Name), clean(t.n.OpName()))
}

// node builds one node of the scope, or inlines it.
func (sc *scope) node(p *nodeProto) error {
	b := sc.b
	if sc.fn != nil {
		b.inlined += 1 + len(p.inputs) + len(p.outputs) + len(p.attrs)
		if b.inlined > maxInlined {
			return fmt.Errorf("%w: functions expand to more than %d nodes", ErrTooLarge, maxInlined)
		}
	}
	in := make([]*graph.Value, len(p.inputs))
	for i, name := range p.inputs {
		v, err := sc.lookup(name, p)
		if err != nil {
			return err
		}
		in[i] = v
	}
	attrs, err := sc.attributes(p)
	if err != nil {
		return err
	}
	if f := b.funcs[[3]string{p.domain, p.op, p.overload}]; f != nil {
		return sc.inline(p, f, in, attrs)
	}
	n := b.made.next()
	n.Name, n.Op, n.Domain, n.In = b.nodeName(p), p.op, p.domain, in
	who := title{n}
	version, ok := sc.opsets[p.domain]
	if !ok && p.domain == "" {
		return corrupt("%s: the model imports no opset for its domain", who)
	}
	bodies := 0
	for _, a := range attrs {
		v, err := sc.attribute(a, who)
		if err != nil {
			return fmt.Errorf("%s: attribute %q: %w", who, clean(a.name), err)
		}
		if v == nil {
			continue
		}
		if n.Attrs == nil {
			n.Attrs = make(map[string]any, len(attrs))
		}
		if _, dup := n.Attrs[a.name]; dup {
			return corrupt("%s: attribute %q is given twice", who, clean(a.name))
		}
		switch g := v.(type) {
		case *graph.Graph:
			bodies++
		case []*graph.Graph:
			bodies += len(g)
		}
		n.Attrs[a.name] = v
	}
	if _, ok := n.Attrs[graph.CapturesAttr]; ok {
		return corrupt("%s: attribute %q is reserved", who, graph.CapturesAttr)
	}
	if bodies > 0 {
		if n.Op == "If" && n.Domain == "" && len(n.In) != 1 {
			return corrupt("%s: %d inputs, want 1", who, len(n.In))
		}
		graph.Lift(n, func(s string) string {
			s = b.unique(s)
			b.names[s] = true
			return s
		})
	} else {
		n.In = trim(n.In)
	}
	for _, name := range p.outputs {
		if name == "" {
			n.Out = append(n.Out, nil)
			continue
		}
		v := b.values.next()
		v.Producer = n
		if err := sc.define(name, v); err != nil {
			return err
		}
		if d := sc.decls[name]; d != nil {
			v.Decl = d.decl
		}
		n.Out = append(n.Out, v)
	}
	n.Out = trim(n.Out)
	if n.Op == "Constant" && n.Domain == "" {
		return sc.constNode(n)
	}
	u := &upgrader{b: b}
	if n.Domain == "" {
		if err := u.upgrade(n, int(version)); err != nil {
			return fmt.Errorf("%s: %w", who, err)
		}
	} else {
		u.nodes = []*graph.Node{n}
	}
	for _, m := range u.nodes {
		b.infos.node(m)
		sc.g.Nodes = append(sc.g.Nodes, m)
	}
	return nil
}

// constNode makes the output of a Constant node a constant.
func (sc *scope) constNode(n *graph.Node) error {
	if len(n.Attrs) != 1 || len(n.Out) != 1 || n.Out[0] == nil || len(n.In) > 0 {
		if len(sc.b.errs) > 0 {
			return nil // its attribute was refused
		}
		return corrupt("node %q (Constant): want one attribute and one output", clean(n.Name))
	}
	var t *tensor.Tensor
	for name, a := range n.Attrs {
		switch a := a.(type) {
		case *tensor.Tensor:
			t = a
		case int64:
			t = tensor.Scalar(a)
		case float32:
			t = tensor.Scalar(a)
		case []int64:
			t = tensor.From(slices.Clone(a), len(a))
		case []float32:
			t = tensor.From(slices.Clone(a), len(a))
		case string, []string:
			sc.b.unsupported("node %q (Constant): a tensor of strings", clean(n.Name))
			t = tensor.Scalar(false)
		default:
			return corrupt("node %q (Constant): attribute %q", clean(n.Name), clean(name))
		}
	}
	v := n.Out[0]
	v.Kind, v.Producer, v.Type, v.Data, v.Decl = graph.Const, nil, t.Type, t, graph.Decl{}
	return nil
}

// attributes resolves references to the attributes of the function that the node
// is in.
func (sc *scope) attributes(p *nodeProto) ([]*attrProto, error) {
	refs := false
	for _, a := range p.attrs {
		refs = refs || a.ref != ""
	}
	if !refs {
		return p.attrs, nil
	}
	if sc.fn == nil {
		return nil, corrupt("node %q (%s): an attribute refers to a function's, outside of a function", clean(p.name), clean(p.op))
	}
	var out []*attrProto
	for _, a := range p.attrs {
		if a.ref == "" {
			out = append(out, a)
			continue
		}
		r := sc.fn.attrs[a.ref]
		if r == nil {
			continue // not given: the operator's own default holds
		}
		c := *r
		c.name, c.ref = a.name, ""
		if c.g != nil || len(c.graphs) > 0 {
			sc.b.unsupported("node %q (%s): a graph passed to a function", clean(p.name), clean(p.op))
			continue
		}
		out = append(out, &c)
	}
	return out, nil
}

// attribute is the value as graph.Node holds it, nil where it has none.
func (sc *scope) attribute(a *attrProto, who title) (any, error) {
	switch a.typ {
	case attrFloat:
		return a.f, nil
	case attrInt:
		return a.i, nil
	case attrString:
		return a.s, nil
	case attrTensor:
		if a.t == nil {
			return nil, corrupt("no tensor")
		}
		t, err := sc.b.l.load(a.t)
		if errors.Is(err, errString) {
			return a.t.strings()
		}
		if errors.Is(err, ErrUnsupported) {
			sc.b.unsupported("%s: attribute %q: %s", who, clean(a.name), strings.TrimPrefix(err.Error(), ErrUnsupported.Error()+": "))
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return t, nil
	case attrGraph:
		if a.g == nil {
			return nil, corrupt("no graph")
		}
		return sc.sub(a.g)
	case attrFloats:
		return a.floats, nil
	case attrInts:
		return a.ints, nil
	case attrStrings:
		return a.strings, nil
	case attrGraphs:
		var gs []*graph.Graph
		for _, p := range a.graphs {
			g, err := sc.sub(p)
			if err != nil {
				return nil, err
			}
			gs = append(gs, g)
		}
		return gs, nil
	case attrTensors, attrSparse, attrSparses, attrType, attrTypes:
		sc.b.unsupported("%s: attribute %q is of a type that whit does not have", who, clean(a.name))
		return nil, nil
	}
	return nil, corrupt("type %d", a.typ)
}

// sub builds the body of a node.
func (sc *scope) sub(p *graphProto) (*graph.Graph, error) {
	if sc.depth >= graph.MaxDepth {
		return nil, corrupt("subgraphs nest deeper than %d", graph.MaxDepth)
	}
	g := graph.New(p.name)
	g.Doc = p.doc
	c := &scope{b: sc.b, g: g, parent: sc, opsets: sc.opsets, fn: sc.fn, depth: sc.depth + 1}
	if err := c.build(p); err != nil {
		return nil, err
	}
	return g, nil
}

// inline puts the function's nodes in the place of the node that calls it.
func (sc *scope) inline(p *nodeProto, f *functionProto, in []*graph.Value, attrs []*attrProto) error {
	b := sc.b
	who := fmt.Sprintf("node %q (function %s)", clean(p.name), clean(p.op))
	c := &call{attrs: map[string]*attrProto{}, depth: 1}
	if sc.fn != nil {
		c.depth = sc.fn.depth + 1
	}
	if c.depth > 4*graph.MaxDepth {
		return corrupt("%s: functions call each other deeper than %d", who, 4*graph.MaxDepth)
	}
	for _, a := range f.defaults {
		c.attrs[a.name] = a
	}
	for _, a := range attrs {
		c.attrs[a.name] = a
	}
	if len(in) > len(f.inputs) || len(p.outputs) > len(f.outputs) {
		return corrupt("%s: %d inputs and %d outputs, the function has %d and %d", who, len(in), len(p.outputs), len(f.inputs), len(f.outputs))
	}
	opsets, err := opsetMap(f.opsets)
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	if len(opsets) == 0 {
		opsets = sc.opsets
	}
	// The function sees its inputs only: its scope has no parent.
	fs := &scope{b: b, g: sc.g, fn: c, opsets: opsets, depth: sc.depth,
		vals: make(map[string]*graph.Value, len(f.inputs))}
	for i, name := range f.inputs {
		if _, dup := fs.vals[name]; dup || name == "" {
			return corrupt("%s: input %q is defined twice", who, clean(name))
		}
		fs.vals[name] = nil
		if i < len(in) {
			fs.vals[name] = in[i]
		}
	}
	b.inlined += len(f.inputs)
	nodes, err := order(f.nodes)
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	for _, n := range nodes {
		if err := fs.node(n); err != nil {
			return fmt.Errorf("%s: %w", who, err)
		}
	}
	taken := map[*graph.Value]bool{}
	for i, name := range p.outputs {
		if name == "" {
			continue
		}
		v, err := fs.lookup(f.outputs[i], nil)
		if err != nil {
			return fmt.Errorf("%s: %w", who, err)
		}
		if v == nil {
			return corrupt("%s: output %q is absent", who, clean(name))
		}
		if v.Kind != graph.Computed || taken[v] || slices.Contains(in, v) {
			n := &graph.Node{Name: b.unique(name), Op: "Identity", In: []*graph.Value{v}}
			b.nodes[n.Name] = true
			v = &graph.Value{Producer: n}
			n.Out = []*graph.Value{v}
			sc.g.Nodes = append(sc.g.Nodes, n)
		}
		taken[v] = true
		delete(b.names, v.Name)
		if err := sc.define(name, v); err != nil {
			return err
		}
		if d := sc.decls[name]; d != nil {
			v.Decl = d.decl
		}
		if v.Producer.Op == "Identity" {
			b.infos.node(v.Producer)
		}
	}
	return nil
}

// order sorts nodes topologically, keeping the given order where it is one.
func order(nodes []*nodeProto) ([]*nodeProto, error) {
	made := make(map[string]int, len(nodes))
	for i, n := range nodes {
		for _, o := range n.outputs {
			if o == "" {
				continue
			}
			if _, dup := made[o]; dup {
				return nil, corrupt("value %q is defined twice", clean(o))
			}
			made[o] = i
		}
	}
	sorted := true
	reads := func(n *nodeProto, f func(int)) {
		for _, name := range n.inputs {
			if i, ok := made[name]; ok && name != "" {
				f(i)
			}
		}
		for _, a := range n.attrs {
			each := func(g *graphProto) {
				for _, name := range g.freeNames() {
					if i, ok := made[name]; ok {
						f(i)
					}
				}
			}
			if a.g != nil {
				each(a.g)
			}
			for _, g := range a.graphs {
				each(g)
			}
		}
	}
	for i, n := range nodes {
		reads(n, func(k int) { sorted = sorted && k < i })
	}
	if sorted {
		return nodes, nil
	}
	users, missing := make([][]int32, len(nodes)), make([]int32, len(nodes))
	for i, n := range nodes {
		reads(n, func(k int) {
			users[k] = append(users[k], int32(i))
			missing[i]++
		})
	}
	var ready intHeap
	for i := range nodes {
		if missing[i] == 0 {
			ready = append(ready, i)
		}
	}
	heap.Init(&ready)
	out := make([]*nodeProto, 0, len(nodes))
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int)
		out = append(out, nodes[i])
		for _, k := range users[i] {
			if missing[k]--; missing[k] == 0 {
				heap.Push(&ready, int(k))
			}
		}
	}
	for i, n := range nodes {
		if missing[i] > 0 {
			return nil, corrupt("node %q (%s) is part of a cycle", clean(n.name), clean(n.op))
		}
	}
	return out, nil
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// freeNames lists the names that the graph reads from outside.
func (p *graphProto) freeNames() []string {
	if p.walked {
		return p.free
	}
	p.walked = true
	own, seen := map[string]bool{"": true}, map[string]bool{}
	for _, v := range p.inputs {
		own[v.name] = true
	}
	for _, t := range p.initializers {
		own[t.name] = true
	}
	for _, n := range p.nodes {
		for _, o := range n.outputs {
			own[o] = true
		}
	}
	read := func(name string) {
		if !own[name] && !seen[name] {
			seen[name] = true
			p.free = append(p.free, name)
		}
	}
	for _, n := range p.nodes {
		for _, name := range n.inputs {
			read(name)
		}
		for _, a := range n.attrs {
			if a.g != nil {
				for _, name := range a.g.freeNames() {
					read(name)
				}
			}
			for _, g := range a.graphs {
				for _, name := range g.freeNames() {
					read(name)
				}
			}
		}
	}
	for _, v := range p.outputs {
		read(v.name)
	}
	return p.free
}
