package onnx

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"whit/graph"
	"whit/tensor"
)

// The messages of onnx.proto, as far as they are used. Names are as there.

type modelProto struct {
	irVersion int64
	opsets    []opsetID
	doc       string
	graph     *graphProto
	meta      []keyValue
	functions []*functionProto
}

type opsetID struct {
	domain  string
	version int64
}

type keyValue struct{ key, value string }

type graphProto struct {
	name, doc    string
	nodes        []*nodeProto
	initializers []*tensorProto
	inputs       []*valueInfo
	outputs      []*valueInfo
	values       []*valueInfo
	sparse       int
	meta         []keyValue
	// free is the names that the graph reads from outside, once free has run.
	free   []string
	walked bool
}

type nodeProto struct {
	name, op, domain, overload string
	inputs, outputs            []string
	attrs                      []*attrProto
}

// The types of attributes.
const (
	attrFloat = iota + 1
	attrInt
	attrString
	attrTensor
	attrGraph
	attrFloats
	attrInts
	attrStrings
	attrTensors
	attrGraphs
	attrSparse
	attrSparses
	attrType
	attrTypes
)

type attrProto struct {
	name, ref string
	typ       int64
	f         float32
	i         int64
	s         string
	t         *tensorProto
	g         *graphProto
	floats    []float32
	ints      []int64
	strings   []string
	graphs    []*graphProto
	other     bool // something that whit has no attribute type for
}

type tensorProto struct {
	name     string
	dtype    int64
	dims     []int64
	body     msg    // the whole message, walked again when the data are loaded
	own      source // of a small message: it is in memory
	raw      msg
	hasRaw   bool
	typed    bool // data in a typed field
	external bool
	location string
	offset   string
	length   string
}

type valueInfo struct {
	name string
	decl graph.Decl
	// kind is the type's case where it is not a tensor: "sequence", ...
	kind string
	code int64 // TensorProto.DataType
	set  bool  // a type is given
}

type functionProto struct {
	name, domain, overload string
	inputs, outputs        []string
	attrs                  []string
	defaults               []*attrProto
	nodes                  []*nodeProto
	opsets                 []opsetID
}

func parseModel(m msg) (*modelProto, error) {
	p := &modelProto{}
	for m.next() {
		switch m.num {
		case 1:
			p.irVersion = m.varint()
		case 6:
			p.doc = m.str()
		case 7:
			c := m.sub()
			if p.graph != nil {
				m.fail("a second graph")
			}
			p.graph = parseGraph(&c, 0)
			m.take(&c)
		case 8:
			c := m.sub()
			p.opsets = append(p.opsets, parseOpset(&c))
			m.take(&c)
		case 14:
			c := m.sub()
			p.meta = append(p.meta, parseKeyValue(&c))
			m.take(&c)
		case 25:
			c := m.sub()
			p.functions = append(p.functions, parseFunction(&c))
			m.take(&c)
		default:
			m.skip()
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	if p.graph == nil {
		return nil, corrupt("no graph: this is not an ONNX model")
	}
	return p, nil
}

func parseOpset(m *msg) (o opsetID) {
	for m.next() {
		switch m.num {
		case 1:
			o.domain = canonical(m.str())
		case 2:
			o.version = m.varint()
		default:
			m.skip()
		}
	}
	return o
}

// canonical is the domain with ONNX's own as "".
func canonical(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func parseKeyValue(m *msg) (kv keyValue) {
	for m.next() {
		switch m.num {
		case 1:
			kv.key = m.str()
		case 2:
			kv.value = m.str()
		default:
			m.skip()
		}
	}
	return kv
}

func parseGraph(m *msg, depth int) *graphProto {
	p := &graphProto{}
	if depth > graph.MaxDepth {
		m.fail("subgraphs nest deeper than %d", graph.MaxDepth)
		return p
	}
	for m.next() {
		switch m.num {
		case 1:
			c := m.sub()
			p.nodes = append(p.nodes, parseNode(&c, depth))
			m.take(&c)
		case 2:
			p.name = m.str()
		case 5:
			c := m.sub()
			p.initializers = append(p.initializers, parseTensor(&c))
			m.take(&c)
		case 10:
			p.doc = m.str()
		case 11:
			c := m.sub()
			p.inputs = append(p.inputs, parseValueInfo(&c))
			m.take(&c)
		case 12:
			c := m.sub()
			p.outputs = append(p.outputs, parseValueInfo(&c))
			m.take(&c)
		case 13:
			c := m.sub()
			p.values = append(p.values, parseValueInfo(&c))
			m.take(&c)
		case 15:
			m.skip()
			p.sparse++
		case 16:
			c := m.sub()
			p.meta = append(p.meta, parseKeyValue(&c))
			m.take(&c)
		default:
			m.skip()
		}
	}
	return p
}

func parseNode(m *msg, depth int) *nodeProto {
	p := m.s.rooms().nodes.next()
	for m.next() {
		switch m.num {
		case 1:
			if p.inputs == nil {
				p.inputs = make([]string, 0, 4)
			}
			p.inputs = append(p.inputs, m.str())
		case 2:
			p.outputs = append(p.outputs, m.str())
		case 3:
			p.name = m.str()
		case 4:
			p.op = m.word()
		case 5:
			c := m.sub()
			p.attrs = append(p.attrs, parseAttr(&c, depth))
			m.take(&c)
		case 7:
			p.domain = canonical(m.word())
		case 8:
			p.overload = m.str()
		default:
			m.skip()
		}
	}
	if m.err == nil && p.op == "" {
		m.fail("node %q has no operator", clean(p.name))
	}
	if m.err == nil && !(printable(p.op) && printable(p.domain)) {
		m.fail("node %q: operator %q", clean(p.name), clean(p.op))
	}
	return p
}

// printable reports whether s is fit for one line as it is.
func printable(s string) bool {
	return len(s) <= 1024 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func parseAttr(m *msg, depth int) *attrProto {
	p := m.s.rooms().attrs.next()
	seen := 0
	for m.next() {
		switch m.num {
		case 1:
			p.name = m.word()
		case 2:
			p.f, seen = m.float(), attrFloat
		case 3:
			p.i, seen = m.varint(), attrInt
		case 4:
			p.s, seen = m.str(), attrString
		case 5:
			c := m.sub()
			p.t, seen = parseTensor(&c), attrTensor
			m.take(&c)
		case 6:
			c := m.sub()
			p.g, seen = parseGraph(&c, depth+1), attrGraph
			m.take(&c)
		case 7:
			m.fixeds(4, func(b []byte) bool {
				p.floats = slices.Grow(p.floats, len(b)/4)
				for ; len(b) >= 4; b = b[4:] {
					p.floats = append(p.floats, math.Float32frombits(binary.LittleEndian.Uint32(b)))
				}
				return true
			})
			seen = attrFloats
		case 8:
			m.varints(func(v int64) bool { p.ints = append(p.ints, v); return true })
			seen = attrInts
		case 9:
			p.strings, seen = append(p.strings, m.str()), attrStrings
		case 11:
			c := m.sub()
			p.graphs, seen = append(p.graphs, parseGraph(&c, depth+1)), attrGraphs
			m.take(&c)
		case 10, 14, 15, 22, 23:
			m.skip()
			p.other = true
		case 20:
			p.typ = m.varint()
		case 21:
			p.ref = m.str()
		default:
			m.skip()
		}
	}
	if p.typ == 0 {
		p.typ = int64(seen) // files of IR version 1 leave the type out
	}
	if m.err == nil && p.name == "" {
		m.fail("an attribute without a name")
	}
	return p
}

func parseTensor(m *msg) *tensorProto {
	p := m.s.rooms().inits.next()
	if n := m.end - m.pos; m.s.mem == nil && 0 < n && n <= jump {
		// Data that are read now need not be looked for later.
		if p.own, m.err = m.s.keep(m.pos, int(n)); m.err != nil {
			return p
		}
		m.s = &p.own
	}
	p.body = *m
	for m.next() {
		switch m.num {
		case 1:
			m.varints(func(v int64) bool {
				p.dims = append(p.dims, v)
				return len(p.dims) <= tensor.MaxRank
			})
		case 2:
			p.dtype = m.varint()
		case 4, 5, 6, 7, 10, 11:
			p.typed = true
			m.skip()
		case 8:
			p.name = m.str()
		case 9:
			p.raw, p.hasRaw = m.sub(), true
		case 13:
			c := m.sub()
			kv := parseKeyValue(&c)
			m.take(&c)
			switch kv.key {
			case "location":
				p.location = kv.value
			case "offset":
				p.offset = kv.value
			case "length":
				p.length = kv.value
			}
		case 14:
			p.external = m.varint() == 1
		default:
			m.skip()
		}
	}
	return p
}

func parseValueInfo(m *msg) *valueInfo {
	p := &valueInfo{}
	for m.next() {
		switch m.num {
		case 1:
			p.name = m.str()
		case 2:
			c := m.sub()
			p.set = true
			parseType(&c, p)
			m.take(&c)
		default:
			m.skip()
		}
	}
	return p
}

func parseType(m *msg, p *valueInfo) {
	for m.next() {
		switch m.num {
		case 1:
			c := m.sub()
			parseTensorType(&c, p)
			m.take(&c)
			continue
		case 4:
			p.kind = "sequence"
		case 5:
			p.kind = "map"
		case 7:
			p.kind = "opaque"
		case 8:
			p.kind = "sparse tensor"
		case 9:
			p.kind = "optional"
		}
		m.skip()
	}
}

func parseTensorType(m *msg, p *valueInfo) {
	for m.next() {
		switch m.num {
		case 1:
			p.code = m.varint()
			p.decl.DType = tensor.FromONNX(p.code)
		case 2:
			c := m.sub()
			p.decl.Ranked = true
			for c.next() {
				if c.num != 1 {
					c.skip()
					continue
				}
				d := c.sub()
				dim := graph.Dim{Size: -1}
				for d.next() {
					switch d.num {
					case 1:
						if v := d.varint(); v >= 0 {
							dim.Size = int(v)
						}
					case 2:
						dim.Name = d.str()
					default:
						d.skip()
					}
				}
				if dim.Size >= 0 {
					dim.Name = ""
				}
				c.take(&d)
				p.decl.Dims = append(p.decl.Dims, dim)
				if len(p.decl.Dims) > tensor.MaxRank {
					c.fail("value %q: rank over %d", clean(p.name), tensor.MaxRank)
				}
			}
			m.take(&c)
		default:
			m.skip()
		}
	}
}

func parseFunction(m *msg) *functionProto {
	p := &functionProto{}
	for m.next() {
		switch m.num {
		case 1:
			p.name = m.str()
		case 4:
			p.inputs = append(p.inputs, m.str())
		case 5:
			p.outputs = append(p.outputs, m.str())
		case 6:
			p.attrs = append(p.attrs, m.str())
		case 7:
			c := m.sub()
			p.nodes = append(p.nodes, parseNode(&c, 0))
			m.take(&c)
		case 9:
			c := m.sub()
			p.opsets = append(p.opsets, parseOpset(&c))
			m.take(&c)
		case 10:
			p.domain = canonical(m.str())
		case 11:
			c := m.sub()
			p.defaults = append(p.defaults, parseAttr(&c, 0))
			m.take(&c)
		case 13:
			p.overload = m.str()
		default:
			m.skip()
		}
	}
	return p
}
