package format

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"whit/graph"
	"whit/tensor"
)

// Attribute tags.
const (
	attrInt = iota
	attrFloat
	attrString
	attrInts
	attrFloats
	attrStrings
	attrTensor
	attrGraph
	attrGraphs

	attrSmallInt   = 0x10 // + v: the integer v, 0..63
	attrSmallInts  = 0x50 // + n: n integers, 0..31
	attrSmallFloat = 0x70 // + v: the float v, 0..15
	attrEnd        = 0x80
)

// Flags of a graph.
const (
	graphDecls = 0x01 // outputs carry what is declared of them
	graphNames = 0x02 // inputs and outputs carry their names
)

// graphWriter turns a graph into the graph chunk and lists its constants in the
// order in which they first appear.
type graphWriter struct {
	w     wbuf
	items []*item
	strip bool
	raw   bool
}

func (g *graphWriter) constant(name string, want []int, describe func() (*item, error)) error {
	it, err := describe()
	if err != nil {
		return fmt.Errorf("constant %q: %w", name, err)
	}
	it.name = name
	it.d.write(&g.w, want)
	g.items = append(g.items, it)
	return nil
}

func (g *graphWriter) decl(d graph.Decl) {
	w := &g.w
	w.byte(byte(d.DType))
	if !d.Ranked {
		w.uint(0)
		return
	}
	w.uint(uint64(len(d.Dims)) + 1)
	for _, x := range d.Dims {
		switch {
		case x.Size >= 0:
			w.uint(uint64(x.Size) + 2)
		case x.Name != "":
			w.uint(1)
			w.str(x.Name)
		default:
			w.uint(0)
		}
	}
}

// graph appends g; sub is set for the body of a node.
func (g *graphWriter) graph(src *graph.Graph, sub bool) error {
	w := &g.w
	flags := byte(0)
	if !g.strip {
		flags |= graphDecls
	}
	if !sub {
		flags |= graphNames
	}
	w.byte(flags)
	number := map[*graph.Value]int{}
	known := shapes{}
	var product map[*graph.Value]*tensor.Tensor
	if !g.raw {
		product = products(src)
	}
	w.uint(uint64(len(src.Inputs)))
	for _, v := range src.Inputs {
		number[v] = len(number)
		if flags&graphNames != 0 {
			w.str(v.Name)
		}
		g.decl(v.Decl)
		known.input(v)
	}
	ref := func(v *graph.Value, want []int) error {
		if v == nil {
			w.uint(0)
			return nil
		}
		if k, ok := number[v]; ok {
			w.uint(uint64(len(number)-k) + 1)
			return nil
		}
		w.uint(1)
		number[v] = len(number)
		return g.constant(v.Name, want, func() (*item, error) {
			if t := product[v]; t != nil && v.Kind == graph.Const && v.Weight == nil && sameTensor(v.Data, t) {
				known.constant(v, t.Shape)
				return &item{t: v.Data, d: desc{form: formProduct, shape: t.Shape, axis: -1}}, nil
			}
			it, err := describe(v.Weight, v.Data, v.Kind, g.raw)
			if err == nil {
				known.constant(v, it.d.shape)
			}
			return it, err
		})
	}
	w.uint(uint64(len(src.Nodes)))
	for _, n := range src.Nodes {
		if k := opIndex[n.Op]; k > 0 && n.Domain == "" {
			w.uint(uint64(k))
		} else {
			w.uint(0)
			w.str(n.Domain)
			w.str(n.Op)
		}
		in, out, attrs := min(len(n.In), 7), min(len(n.Out), 3), min(len(n.Attrs), 7)
		if slices.Contains(n.Out, nil) {
			out = 3
		}
		w.byte(byte(in | out<<3 | attrs<<5))
		if in == 7 {
			w.uint(uint64(len(n.In) - 7))
		}
		if out == 3 { // a byte each says which are there
			w.uint(uint64(len(n.Out)))
			for _, v := range n.Out {
				w.byte(present(v))
			}
		}
		if attrs == 7 {
			w.uint(uint64(len(n.Attrs) - 7))
		}
		names := make([]string, 0, len(n.Attrs))
		for name := range n.Attrs {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			if err := g.attr(n.Name, name, n.Attrs[name]); err != nil {
				return fmt.Errorf("node %q: %w", n.Name, err)
			}
		}
		for i, v := range n.In {
			so := graph.Node{Op: n.Op, Domain: n.Domain, Attrs: n.Attrs, In: n.In[:i]}
			if err := ref(v, known.expect(&so)); err != nil {
				return err
			}
		}
		for _, v := range n.Out {
			if v != nil {
				number[v] = len(number)
			}
		}
		known.node(n)
	}
	w.uint(uint64(len(src.Outputs)))
	for _, v := range src.Outputs {
		if err := ref(v, nil); err != nil {
			return err
		}
		if flags&graphNames != 0 && v.Kind == graph.Computed {
			w.str(v.Name)
		}
		if flags&graphDecls != 0 && v.Kind == graph.Computed {
			g.decl(v.Decl)
		}
	}
	return nil
}

func present(v *graph.Value) byte {
	if v == nil {
		return 0
	}
	return 1
}

func (g *graphWriter) attr(node, name string, a any) error {
	w := &g.w
	if k := attrIndex[name]; k > 0 {
		w.uint(uint64(k))
	} else {
		w.uint(0)
		w.str(name)
	}
	switch a := a.(type) {
	case int64:
		if a >= 0 && a < 64 {
			w.byte(attrSmallInt + byte(a))
			return nil
		}
		w.byte(attrInt)
		w.int(a)
	case float32:
		if a >= 0 && a < 16 && a == float32(int(a)) && !math.Signbit(float64(a)) {
			w.byte(attrSmallFloat + byte(a))
			return nil
		}
		w.byte(attrFloat)
		w.float(a)
	case string:
		w.byte(attrString)
		w.str(a)
	case []int64:
		if len(a) < 32 {
			w.byte(attrSmallInts + byte(len(a)))
		} else {
			w.byte(attrInts)
			w.uint(uint64(len(a)))
		}
		for _, x := range a {
			w.int(x)
		}
	case []float32:
		w.byte(attrFloats)
		w.uint(uint64(len(a)))
		for _, x := range a {
			w.float(x)
		}
	case []string:
		w.byte(attrStrings)
		w.uint(uint64(len(a)))
		for _, x := range a {
			w.str(x)
		}
	case *tensor.Tensor:
		w.byte(attrTensor)
		return g.constant(node+"."+name, nil, func() (*item, error) { return describe(nil, a, graph.Const, g.raw) })
	case *graph.Graph:
		w.byte(attrGraph)
		return g.graph(a, true)
	case []*graph.Graph:
		w.byte(attrGraphs)
		w.uint(uint64(len(a)))
		for _, s := range a {
			if err := g.graph(s, true); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("attribute %q has type %T", name, a)
	}
	return nil
}

// place is where a constant that was read belongs.
type place struct {
	d     *desc
	value *graph.Value // nil: an attribute
	node  *graph.Node
	attr  string
}

// graphReader reads a graph chunk. Names are made up, but for those in the chunk;
// constants get their data later.
type graphReader struct {
	r      rbuf
	places []place
	made   int
	names  map[string]bool
	// values and nodes in the order of the names chunk
	values []*graph.Value
	nodes  []*graph.Node
}

// name makes a name that the file does not hold.
func (g *graphReader) name(prefix string) string {
	for {
		g.made++
		s := fmt.Sprintf("%s%d", prefix, g.made)
		if !g.names[s] {
			return s
		}
	}
}

func (g *graphReader) decl() graph.Decl {
	r := &g.r
	d := graph.Decl{DType: tensor.DType(r.byte())}
	if int(d.DType) >= tensor.NumDTypes {
		r.fail("element type %d", d.DType)
	}
	n := r.below(tensor.MaxRank+2, "rank")
	if n == 0 {
		return d
	}
	d.Ranked = true
	for range n - 1 {
		switch x := r.uint(); {
		case x == 0:
			d.Dims = append(d.Dims, graph.Dim{Size: -1})
		case x == 1:
			d.Dims = append(d.Dims, graph.Dim{Size: -1, Name: r.str()})
		case x-2 > math.MaxInt:
			r.fail("dimension %d", x)
		default:
			d.Dims = append(d.Dims, graph.Dim{Size: int(x - 2)})
		}
	}
	return d
}

// Smallest sizes in bytes of what is counted, so that counts are bounded by what remains.
const (
	minInput = 3 // flags at least: type, rank, and one more in a main graph
	minNode  = 2
	minAttr  = 2
	minGraph = 4
)

func (g *graphReader) graph(depth int) *graph.Graph {
	r := &g.r
	out := &graph.Graph{}
	if depth > graph.MaxDepth {
		r.fail("graphs nest deeper than %d", graph.MaxDepth)
		return out
	}
	flags := r.byte()
	if flags&^(graphDecls|graphNames) != 0 || flags&graphNames != 0 && depth > 0 {
		r.fail("graph flags %#x", flags)
	}
	var values []*graph.Value
	known := shapes{}
	add := func(v *graph.Value) *graph.Value {
		values = append(values, v)
		g.values = append(g.values, v)
		return v
	}
	for range r.count(minInput - 1) {
		v := &graph.Value{Kind: graph.Input}
		if flags&graphNames != 0 {
			v.Name = r.str()
			g.names[v.Name] = true
		}
		v.Decl = g.decl()
		known.input(v)
		out.Inputs = append(out.Inputs, add(v))
	}
	ref := func(want []int) *graph.Value {
		k := r.uint()
		switch {
		case r.err != nil || k == 0:
			return nil
		case k == 1:
			d := readDesc(r, want)
			v := add(&graph.Value{Kind: d.kind})
			known.constant(v, d.shape)
			g.places = append(g.places, place{d: d, value: v})
			return v
		case k-1 > uint64(len(values)):
			r.fail("value %d before the first", k-1-uint64(len(values)))
			return nil
		}
		return values[len(values)-int(k-1)]
	}
	for range r.count(minNode) {
		n := &graph.Node{}
		if k := r.below(uint64(len(opNames)), "operator"); k > 0 {
			n.Op = opNames[k]
		} else {
			n.Domain, n.Op = r.str(), r.str()
		}
		head := r.byte()
		more := func(n, full, size int) int {
			if n == full {
				n += r.count(size)
			}
			return n
		}
		in := more(int(head&7), 7, 1)
		nout, presence := int(head>>3&3), []byte{1, 1}
		if nout == 3 {
			nout = r.count(1)
			presence = r.b[:nout]
			r.b = r.b[nout:]
		}
		attrs := more(int(head>>5), 7, minAttr)
		for range attrs {
			g.attr(n, depth)
		}
		for range in {
			n.In = append(n.In, ref(known.expect(n)))
		}
		for _, there := range presence[:nout] {
			if there > 1 {
				r.fail("presence %d", there)
			}
			if there == 0 {
				n.Out = append(n.Out, nil)
				continue
			}
			n.Out = append(n.Out, add(&graph.Value{Producer: n}))
		}
		known.node(n)
		if r.err != nil {
			return out
		}
		g.nodes = append(g.nodes, n)
		out.Nodes = append(out.Nodes, n)
	}
	for range r.count(1) {
		v := ref(nil)
		if v == nil {
			r.fail("absent output")
			return out
		}
		if flags&graphNames != 0 && v.Kind == graph.Computed {
			v.Name = r.str()
			g.names[v.Name] = true
		}
		if flags&graphDecls != 0 && v.Kind == graph.Computed {
			v.Decl = g.decl()
		}
		out.Outputs = append(out.Outputs, v)
	}
	return out
}

func (g *graphReader) attr(n *graph.Node, depth int) {
	r := &g.r
	var name string
	if k := r.below(uint64(len(attrNames)), "attribute"); k > 0 {
		name = attrNames[k]
	} else {
		name = r.str()
	}
	if r.err != nil {
		return
	}
	if n.Attrs == nil {
		n.Attrs = map[string]any{}
	}
	if _, twice := n.Attrs[name]; twice {
		r.fail("attribute %q stands twice", name)
		return
	}
	ints := func(n int) []int64 {
		a := make([]int64, n)
		for i := range a {
			a[i] = r.int()
		}
		return a
	}
	var a any
	switch tag := r.byte(); {
	case tag >= attrEnd:
		r.fail("attribute tag %#x", tag)
	case tag >= attrSmallFloat:
		a = float32(tag - attrSmallFloat)
	case tag >= attrSmallInts:
		a = ints(int(tag - attrSmallInts))
	case tag >= attrSmallInt:
		a = int64(tag - attrSmallInt)
	case tag == attrInt:
		a = r.int()
	case tag == attrFloat:
		a = r.float()
	case tag == attrString:
		a = r.str()
	case tag == attrInts:
		a = ints(r.count(1))
	case tag == attrFloats:
		f := make([]float32, r.count(4))
		for i := range f {
			f[i] = r.float()
		}
		a = f
	case tag == attrStrings:
		s := make([]string, r.count(1))
		for i := range s {
			s[i] = r.str()
		}
		a = s
	case tag == attrTensor:
		d := readDesc(r, nil)
		if d.weight || d.kind != graph.Const || d.form == formProduct {
			r.fail("attribute %q is a weight", name)
		}
		g.places = append(g.places, place{d: d, node: n, attr: name})
		a = (*tensor.Tensor)(nil)
	case tag == attrGraph:
		a = g.graph(depth + 1)
	case tag == attrGraphs:
		s := make([]*graph.Graph, r.count(minGraph))
		for i := range s {
			s[i] = g.graph(depth + 1)
		}
		a = s
	default:
		r.fail("attribute tag %#x", tag)
	}
	n.Attrs[name] = a
}

// finish names what the file does not name.
func (g *graphReader) finish() {
	prefix := map[graph.Kind]string{graph.Computed: "v", graph.Input: "x", graph.Const: "c", graph.Param: "p", graph.State: "s"}
	for _, v := range g.values {
		if v.Name == "" {
			v.Name = g.name(prefix[v.Kind])
		}
	}
	for _, n := range g.nodes {
		if n.Name == "" {
			n.Name = g.name(n.Op + "_")
		}
	}
}
