package op

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"whit/graph"
	"whit/tensor"
)

// Op is what whit knows of an operator.
type Op struct {
	Domain string
	Name   string

	// Infer is the type rule. The inputs' Types are bound (absent inputs are nil);
	// it returns one type an output. It checks everything that Ref and kernels rely
	// on: attributes, ranks, element types, ranges. Where it must know an input's
	// data it asks Value(n, i), which answers NeedValue for a value not known yet.
	Infer func(n *graph.Node) ([]tensor.Type, error)

	// Ref computes the outputs, which are allocated as Infer said (nil where nobody
	// wants one), from the inputs (nil where absent), all row-major. It never
	// panics on values that Infer accepted, and never writes an input, but for
	// those that Writes lists.
	Ref func(n *graph.Node, in, out []*tensor.Tensor) error

	// VJP appends the nodes of the vector-Jacobian product to g and returns the
	// gradient with respect to each input: nil for an input that has none. grads
	// holds the gradient of each output, nil where it is zero. nil: not differentiable.
	VJP func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error)

	// Channels says which channels are the same channels; nil: a barrier to channel pruning.
	Channels func(n *graph.Node) []Coupling

	// Cost is multiply-accumulates and bytes read and written, on bound types.
	// nil: no MACs, the bytes of inputs and outputs.
	Cost func(n *graph.Node) (macs, bytes int64)

	// Run, where it is set, computes the outputs and their types together: of operators
	// whose type rule cannot tell the types before the data are known, and of those
	// that run bodies. It gives all outputs, wanted or not, and may allocate.
	Run func(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error)

	// Writes lists the inputs that the node writes in place: params and states.
	Writes []int

	// Random says that the result depends on more than inputs and attributes, so
	// that the node is never folded.
	Random bool
}

// Port is an axis of one of a node's values: output Index if Out, else input Index.
type Port struct {
	Out   bool
	Index int
	Axis  int
}

// Coupling says that channel c of From's axis is at the indices Map(c) of To's
// axis; Map nil is the identity. It holds both ways: removing a channel of either
// axis removes all that it is coupled to. An axis that no coupling names is a barrier.
type Coupling struct {
	From, To Port
	Map      func(c int) []int
}

// ErrUnsupported is the root of errors about operators, types or attributes that cannot run.
var ErrUnsupported = errors.New("unsupported")

// ErrType is the root of errors about a node whose inputs break the operator's rules.
var ErrType = errors.New("invalid node")

// NeedValue is the error of a type rule that must know input Input's data. The
// node ends a segment: it is planned when the value has been computed.
type NeedValue struct {
	Node  *graph.Node
	Input int
}

// Error implements error.
func (e *NeedValue) Error() string {
	return fmt.Sprintf("node %q (%s): the shape depends on the data of input %d", e.Node.Name, e.Node.OpName(), e.Input)
}

// Value is the data of input i: nil, nil where it is absent, a *NeedValue error
// where it is not a constant (yet).
func Value(n *graph.Node, i int) (*tensor.Tensor, error) {
	v := n.Input(i)
	if v == nil {
		return nil, nil
	}
	if !v.IsConst() {
		return nil, &NeedValue{n, i}
	}
	return v.Tensor(), nil
}

// Ints is the data of the integer input i as int64s (int32 and int64 are read);
// nil, nil where it is absent, a *NeedValue where it is not known yet.
func Ints(n *graph.Node, i int) ([]int64, error) {
	t, err := Value(n, i)
	if t == nil || err != nil {
		return nil, err
	}
	switch t.DType {
	case tensor.Int64:
		return append(make([]int64, 0, t.Len()), tensor.Of[int64](t)...), nil
	case tensor.Int32:
		out := make([]int64, t.Len())
		for k, x := range tensor.Of[int32](t) {
			out[k] = int64(x)
		}
		return out, nil
	}
	return nil, Errorf(n, "input %d: want int32 or int64, found %v", i, t.DType)
}

// table is by domain and name.
var table = map[string]map[string]*Op{}

// Register adds an operator; a duplicate panics. It is called from init functions of this package only.
func Register(o Op) {
	if table[o.Domain] == nil {
		table[o.Domain] = map[string]*Op{}
	}
	if table[o.Domain][o.Name] != nil || o.Infer == nil || o.Ref == nil {
		panic("op.Register: duplicate or incomplete " + o.Domain + "." + o.Name)
	}
	table[o.Domain][o.Name] = &o
}

// Lookup is the operator of that domain and name, nil if there is none.
func Lookup(domain, name string) *Op { return table[domain][name] }

// Of is the node's operator, nil if there is none.
func Of(n *graph.Node) *Op { return Lookup(n.Domain, n.Op) }

// All lists the operators sorted by domain and name.
func All() []*Op {
	var all []*Op
	for _, ops := range table {
		for _, o := range ops {
			all = append(all, o)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Domain != all[j].Domain {
			return all[i].Domain < all[j].Domain
		}
		return all[i].Name < all[j].Name
	})
	return all
}

// Errorf is an ErrType about node n.
func Errorf(n *graph.Node, format string, args ...any) error {
	return At(n, fmt.Errorf("%w: %s", ErrType, brief(format, args)))
}

// Unsupported is an ErrUnsupported about node n.
func Unsupported(n *graph.Node, format string, args ...any) error {
	return At(n, fmt.Errorf("%w: %s", ErrUnsupported, brief(format, args)))
}

// At is err with the node that it is about, unless it says so itself.
func At(n *graph.Node, err error) error {
	at := fmt.Sprintf("node %q (%s): ", n.Name, n.OpName())
	if strings.HasPrefix(err.Error(), at) {
		return err
	}
	return fmt.Errorf("%s%w", at, err)
}

// brief is a message, cut where what it quotes of a file is long.
func brief(format string, args []any) string {
	const most = 1000
	s := fmt.Sprintf(format, args...)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// Infer runs the node's type rule and checks what it returns. It does not set the outputs' types.
func Infer(n *graph.Node) ([]tensor.Type, error) {
	o := Of(n)
	if o == nil {
		return nil, fmt.Errorf("node %q: %w: operator %s", n.Name, ErrUnsupported, n.OpName())
	}
	for i, v := range n.In {
		if v != nil && !v.Bound() {
			return nil, Errorf(n, "input %d (%q) has no type", i, v.Name)
		}
	}
	ts, err := o.Infer(n)
	if err != nil {
		return nil, err
	}
	if len(n.Out) > len(ts) {
		return nil, Errorf(n, "%d outputs, at most %d expected", len(n.Out), len(ts))
	}
	for i, t := range ts {
		if err := t.Shape.Check(); err != nil {
			return nil, Errorf(n, "output %d: %v", i, err)
		}
	}
	return ts, nil
}

// CheckError lists every node that cannot run.
type CheckError struct{ Errs []error }

// Error implements error: the first problem and how many more there are.
func (e *CheckError) Error() string {
	if len(e.Errs) == 1 {
		return e.Errs[0].Error()
	}
	return fmt.Sprintf("%v (and %d more)", e.Errs[0], len(e.Errs)-1)
}

// Unwrap gives the single errors.
func (e *CheckError) Unwrap() []error { return e.Errs }

// Check lists all nodes, those of subgraphs too, whose operator is not known. The
// type rules themselves need bound shapes and run when a plan is made.
func Check(g *graph.Graph) error {
	var errs []error
	var walk func(*graph.Graph)
	walk = func(g *graph.Graph) {
		for _, n := range g.Nodes {
			if Of(n) == nil {
				errs = append(errs, fmt.Errorf("node %q: %w: operator %s", n.Name, ErrUnsupported, n.OpName()))
			}
			var names []string
			for name, a := range n.Attrs {
				switch a.(type) {
				case *graph.Graph, []*graph.Graph:
					names = append(names, name)
				}
			}
			sort.Strings(names)
			for _, name := range names {
				switch a := n.Attrs[name].(type) {
				case *graph.Graph:
					walk(a)
				case []*graph.Graph:
					for _, s := range a {
						walk(s)
					}
				}
			}
		}
	}
	walk(g)
	if len(errs) > 0 {
		return &CheckError{errs}
	}
	return nil
}

// Cost is the node's multiply-accumulates and the bytes that it reads and writes.
func Cost(n *graph.Node) (macs, bytes int64) {
	if o := Of(n); o != nil && o.Cost != nil {
		return o.Cost(n)
	}
	return 0, IOBytes(n)
}

// IOBytes is the size of the node's inputs and outputs in bytes.
func IOBytes(n *graph.Node) (bytes int64) {
	for _, vs := range [][]*graph.Value{n.In, n.Out} {
		for _, v := range vs {
			if v != nil && v.Bound() {
				bytes += int64(v.Type.NumBytes())
			}
		}
	}
	return bytes
}

// Known types for type rules.
var (
	Floats   = []tensor.DType{tensor.Float16, tensor.BFloat16, tensor.Float32, tensor.Float64}
	Integers = []tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64}
	Numbers  = append(append([]tensor.DType{}, Floats...), Integers...)
	AnyType  = append([]tensor.DType{tensor.Bool}, Numbers...)
)

// Want checks the number of inputs and that those that are present, or required
// (the first min), have an element type of allowed.
func Want(n *graph.Node, min, max int, allowed ...tensor.DType) error {
	if len(n.In) < min || len(n.In) > max {
		return Errorf(n, "%d inputs, want %d to %d", len(n.In), min, max)
	}
	for i, v := range n.In {
		if v == nil {
			if i < min {
				return Errorf(n, "input %d is missing", i)
			}
			continue
		}
		if len(allowed) == 0 {
			continue
		}
		ok := false
		for _, d := range allowed {
			ok = ok || d == v.Type.DType
		}
		if !ok {
			names := make([]string, len(allowed))
			for k, d := range allowed {
				names[k] = d.String()
			}
			return Unsupported(n, "input %d is %v, want one of %s", i, v.Type.DType, strings.Join(names, " "))
		}
	}
	return nil
}
