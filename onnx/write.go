package onnx

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"whit/graph"
	"whit/internal/safefile"
	"whit/tensor"
	"whit/weight"
)

// maxProto is the largest message that protobuf readers accept.
const maxProto = 1<<31 - 1

// Write writes g as an ONNX model, in the lowest opset from 17 on that can say
// what g says. The bytes depend on g only. Constants held as integers ([weight.Int8])
// are written as DequantizeLinear of constants, those of other encodings are expanded;
// params and states become initialisers with their present Data. A graph with
// nodes of whit's own domain is refused, and so are models of 2 GiB and more.
func Write(w io.Writer, g *graph.Graph) error {
	e, err := encodeModel(g)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(w, 1<<16)
	for _, c := range e.chunks {
		d := c.bytes
		if c.value != nil {
			d = c.value.Tensor().Bytes()[:c.size]
		}
		if _, err := b.Write(d); err != nil {
			return err
		}
	}
	return b.Flush()
}

// WriteFile writes g to path. The file appears whole or not at all: it is written
// under another name in the same folder, synced and renamed. Errors begin with the
// file's name.
func WriteFile(path string, g *graph.Graph) error {
	if err := safefile.Write(path, func(w io.Writer) error { return Write(w, g) }); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// encoder is what encoding must know besides the graph.
type encoder struct {
	types infos
	opset int
}

// chunk is a piece of the file: bytes, or the data of a value, of which no second
// copy is held.
type chunk struct {
	bytes []byte
	value *graph.Value
	size  int
}

// rope is a message being built: bytes interleaved with data of values.
type rope struct {
	chunks []chunk
	n      int
}

func (r *rope) add(b []byte) {
	if len(b) == 0 {
		return
	}
	if k := len(r.chunks); k > 0 && r.chunks[k-1].value == nil {
		r.chunks[k-1].bytes = append(r.chunks[k-1].bytes, b...)
	} else {
		r.chunks = append(r.chunks, chunk{bytes: slices.Clone(b)})
	}
	r.n += len(b)
}

func (r *rope) data(v *graph.Value, size int) {
	r.chunks = append(r.chunks, chunk{value: v, size: size})
	r.n += size
}

func (r *rope) header(num protowire.Number, n int) {
	r.add(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.BytesType), uint64(n)))
}

func (r *rope) msg(num protowire.Number, c *rope) {
	r.header(num, c.n)
	for _, k := range c.chunks {
		if k.value != nil {
			r.data(k.value, k.size)
		} else {
			r.add(k.bytes)
		}
	}
}

func (r *rope) str(num protowire.Number, s string) {
	r.add(protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), s))
}

func (r *rope) int(num protowire.Number, v int64) {
	r.add(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v)))
}

func (r *rope) opt(num protowire.Number, s string) {
	if s != "" {
		r.str(num, s)
	}
}

func encodeModel(g *graph.Graph) (*rope, error) {
	if err := g.Verify(); err != nil {
		return nil, err
	}
	g = spelled(g)
	e := &encoder{types: infos{}, opset: minWrite}
	e.types.graph(g)
	domains := map[string]bool{}
	var errs []error
	e.survey(g, domains, &errs)
	if len(errs) > 0 {
		return nil, &UnsupportedError{errs}
	}
	gr, err := e.graph(g, nil)
	if err != nil {
		return nil, err
	}
	m := &rope{}
	m.int(1, irVersion(e.opset))
	m.str(2, "whit")
	m.msg(7, gr)
	m.msg(8, opset("", e.opset))
	for _, d := range sorted(domains) {
		m.msg(8, opset(d, domainVersion(d)))
	}
	for _, k := range sorted(g.Meta) {
		kv := &rope{}
		kv.str(1, k)
		kv.str(2, g.Meta[k])
		m.msg(14, kv)
	}
	if m.n > maxProto {
		return nil, fmt.Errorf("%w: the model takes %d bytes, ONNX files hold at most %d", ErrTooLarge, m.n, maxProto)
	}
	return m, nil
}

func opset(domain string, version int) *rope {
	r := &rope{}
	r.opt(1, domain)
	r.int(2, int64(version))
	return r
}

func sorted[V any](m map[string]V) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

// survey finds the opset, the other domains and what cannot be written.
func (e *encoder) survey(g *graph.Graph, domains map[string]bool, errs *[]error) {
	for _, n := range g.Nodes {
		if n.Domain == graph.Domain {
			if len(*errs) < maxErrors {
				*errs = append(*errs, unsupported("node %q (%s) is not an ONNX operator; write the model graph, before it is compiled", n.Name, n.OpName()))
			}
			continue
		}
		if n.Domain != "" {
			domains[n.Domain] = true
		}
		e.opset = max(e.opset, need(n, e.types))
		for _, b := range n.Bodies() {
			e.survey(b, domains, errs)
		}
	}
}

// names leads from values to their names in the file. A body's captured inputs
// have the names of what they capture, and its constants those of outer constants
// with the same data.
type names struct {
	of   map[*graph.Value]string
	data map[*tensor.Tensor]string
}

func (e *encoder) graph(g *graph.Graph, outer *names) (*rope, error) {
	ns := &names{map[*graph.Value]string{}, map[*tensor.Tensor]string{}}
	if outer != nil {
		ns = &names{maps.Clone(outer.of), maps.Clone(outer.data)}
	}
	r := &rope{}
	// Initialisers first: nodes name them.
	inits := &rope{}
	for _, v := range g.Values() {
		if v.Kind != graph.Const && v.Kind != graph.Param && v.Kind != graph.State {
			continue
		}
		if t := shared(v); t != nil {
			if s, ok := ns.data[t]; ok && outer != nil {
				ns.of[v] = s
				continue
			}
			ns.data[t] = v.Name
		}
		inits.msg(5, tensorValue(v))
	}
	name := func(v *graph.Value) string {
		if v == nil {
			return ""
		}
		if s, ok := ns.of[v]; ok {
			return s
		}
		return v.Name
	}
	for _, n := range g.Nodes {
		nr, err := e.node(n, ns, name)
		if err != nil {
			return nil, fmt.Errorf("node %q (%s): %w", n.Name, n.OpName(), err)
		}
		r.msg(1, nr)
	}
	// What a body or graph puts out must be computed in it and have a name of its own.
	var outs []*rope
	seen := map[*graph.Value]bool{}
	for i, v := range g.Outputs {
		s := v.Name
		if v.Kind != graph.Computed && (outer != nil || v.Kind != graph.Input) || seen[v] {
			s = fmt.Sprintf("%s:output%d", v.Name, i)
			id := &rope{}
			id.str(1, name(v))
			id.str(2, s)
			id.str(3, s)
			id.str(4, "Identity")
			r.msg(1, id)
		}
		seen[v] = true
		outs = append(outs, e.value(v, s))
	}
	if g.Name == "" {
		r.str(2, "graph")
	} else {
		r.str(2, g.Name)
	}
	if inits.n > 0 {
		for _, c := range inits.chunks {
			if c.value != nil {
				r.data(c.value, c.size)
			} else {
				r.add(c.bytes)
			}
		}
	}
	r.opt(10, g.Doc)
	for _, v := range g.Inputs {
		if _, captured := ns.of[v]; !captured {
			r.msg(11, e.value(v, v.Name))
		}
	}
	for _, o := range outs {
		r.msg(12, o)
	}
	return r, nil
}

// shared is the tensor by which constants of inner and outer graphs are known to
// be the same.
func shared(v *graph.Value) *tensor.Tensor {
	if v.Kind != graph.Const {
		return nil
	}
	if d, ok := v.Weight.(weight.Dense); ok {
		return d.T
	}
	return v.Data
}

// value is a ValueInfoProto. Dimensions that nobody declared are left open; a
// value of unknown rank has no shape.
func (e *encoder) value(v *graph.Value, name string) *rope {
	r := &rope{}
	r.str(1, name)
	k := e.types.of(v)
	if k.dtype == tensor.Invalid {
		return r
	}
	tt := &rope{}
	tt.int(1, k.dtype.ONNX())
	var dims []graph.Dim
	switch {
	case v.Decl.Ranked:
		dims = v.Decl.Dims
	case v.Bound():
		for _, d := range v.Type.Shape {
			dims = append(dims, graph.Dim{Size: d})
		}
	default:
		for range max(0, k.rank) {
			dims = append(dims, graph.Dim{Size: -1})
		}
	}
	if k.rank >= 0 || v.Decl.Ranked {
		s := &rope{}
		for _, d := range dims {
			dr := &rope{}
			if d.Size >= 0 {
				dr.int(1, int64(d.Size))
			} else {
				dr.opt(2, d.Name)
			}
			s.msg(1, dr)
		}
		tt.msg(2, s)
	}
	t := &rope{}
	t.msg(1, tt)
	r.msg(2, t)
	return r
}

func tensorHeader(t tensor.Type, name string) *rope {
	r := &rope{}
	var dims []byte
	for _, d := range t.Shape {
		dims = protowire.AppendVarint(dims, uint64(d))
	}
	if len(dims) > 0 {
		r.header(1, len(dims))
		r.add(dims)
	}
	r.int(2, t.DType.ONNX())
	r.opt(8, name)
	return r
}

func tensorValue(v *graph.Value) *rope {
	r := tensorHeader(v.Type, v.Name)
	n := v.Type.NumBytes()
	r.header(9, n)
	r.data(v, n)
	return r
}

func tensorProtoOf(t *tensor.Tensor) *rope {
	r := tensorHeader(t.Type, "")
	n := t.NumBytes()
	r.header(9, n)
	r.add(t.Bytes()[:n])
	return r
}

// node writes one node. The inputs that its bodies capture are not written: the
// bodies name what they capture.
func (e *encoder) node(n *graph.Node, ns *names, name func(*graph.Value) string) (*rope, error) {
	r := &rope{}
	caps := 0
	bodies := n.Bodies()
	if len(bodies) > 0 {
		caps = n.Captures()
	}
	own := trim(slices.Clone(n.In[:len(n.In)-caps]))
	for _, v := range own {
		r.str(1, name(v))
	}
	for _, v := range trim(slices.Clone(n.Out)) {
		r.str(2, name(v))
	}
	r.opt(3, n.Name)
	r.str(4, n.Op)
	// Names of captured inputs, in the order of the bodies.
	captured := n.In[len(n.In)-caps:]
	inner := ns
	if len(bodies) > 0 {
		inner = &names{maps.Clone(ns.of), ns.data}
	}
	for _, b := range bodies {
		k := len(captured)
		if n.Op == "If" && n.Domain == "" {
			k = len(b.Inputs)
		}
		if k > len(b.Inputs) || k > len(captured) {
			return nil, unsupported("its bodies take %d captures, it lists %d", k, caps)
		}
		for i, v := range b.Inputs[len(b.Inputs)-k:] {
			inner.of[v] = name(captured[i])
		}
		if n.Op == "If" && n.Domain == "" {
			captured = captured[k:]
		}
	}
	for _, a := range sorted(n.Attrs) {
		if a == graph.CapturesAttr {
			continue
		}
		if s, ok := attrSince[n.Op][a]; ok && n.Domain == "" && e.opset < s.at {
			continue // the default, which this opset cannot and need not say
		}
		ar, err := e.attr(a, n.Attrs[a], inner)
		if err != nil {
			return nil, err
		}
		r.msg(5, ar)
	}
	r.opt(7, n.Domain)
	return r, nil
}

func (e *encoder) attr(name string, a any, ns *names) (*rope, error) {
	r := &rope{}
	r.str(1, name)
	typ := int64(0)
	switch a := a.(type) {
	case float32:
		typ = attrFloat
		r.add(protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), math.Float32bits(a)))
	case int64:
		typ = attrInt
		r.int(3, a)
	case string:
		typ = attrString
		r.str(4, a)
	case *tensor.Tensor:
		typ = attrTensor
		r.msg(5, tensorProtoOf(a))
	case *graph.Graph:
		typ = attrGraph
		g, err := e.graph(a, ns)
		if err != nil {
			return nil, err
		}
		r.msg(6, g)
	case []float32:
		typ = attrFloats
		for _, f := range a {
			r.add(protowire.AppendFixed32(protowire.AppendTag(nil, 7, protowire.Fixed32Type), math.Float32bits(f)))
		}
	case []int64:
		typ = attrInts
		for _, i := range a {
			r.int(8, i)
		}
	case []string:
		typ = attrStrings
		for _, s := range a {
			r.str(9, s)
		}
	case []*graph.Graph:
		typ = attrGraphs
		for _, b := range a {
			g, err := e.graph(b, ns)
			if err != nil {
				return nil, err
			}
			r.msg(11, g)
		}
	default:
		return nil, unsupported("attribute %q has type %T", name, a)
	}
	r.int(20, typ)
	return r, nil
}
