package op

import (
	"errors"
	"math"

	"whit/graph"
	"whit/tensor"
)

// Loop runs attribute body again and again: as often as M (input 0, an int64, without
// end where it is absent) says, and while a condition (input 1, a bool, true where it
// is absent) holds. body's inputs are the iteration's number, the condition, the
// state, which begins as the node's further inputs, and what body captures; its
// outputs are the next condition, the next state, and any number of values of which
// the node gives, behind the last state, those of all iterations along a new first axis.
func init() {
	Register(Op{
		Name: "Loop",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			l, err := newLoop(n)
			if err != nil {
				return nil, err
			}
			trips, ok := l.trips(n)
			if !ok {
				return nil, byRunning(n)
			}
			iter := &graph.Value{Name: "iteration", Type: tensor.Type{DType: tensor.Int64, Shape: tensor.Shape{}}}
			cond := &graph.Value{Name: "condition", Type: tensor.Type{DType: tensor.Bool, Shape: tensor.Shape{}}}
			if l.cond != nil {
				cond.Type = l.cond.Type
			}
			ts, err := branchTypes(n, l.body, append(append([]*graph.Value{iter, cond}, typesOnly(l.state)...), l.captured...))
			if need := (*NeedValue)(nil); errors.As(err, &need) {
				return nil, byRunning(n)
			}
			if err != nil {
				return nil, err
			}
			for i, t := range ts[1:] {
				if i >= len(l.state) {
					ts[1+i].Shape = append(tensor.Shape{trips}, t.Shape...)
				} else if !t.Equal(l.state[i].Type) {
					return nil, byRunning(n) // the state grows
				}
			}
			return ts[1:], nil
		},
		Ref: refOfRun(runLoop), Run: runLoop,
	})
}

// typesOnly is values of the same types whose data are not known: the first ones do
// not hold for all iterations.
func typesOnly(vs []*graph.Value) []*graph.Value {
	ts := make([]*graph.Value, len(vs))
	for i, v := range vs {
		ts[i] = &graph.Value{Name: v.Name, Type: v.Type}
	}
	return ts
}

// byRunning is the error of a type rule that cannot tell the types before [Op.Run].
func byRunning(n *graph.Node) error { return &NeedValue{n, -1} }

type loop struct {
	body            *graph.Graph
	trip, cond      *graph.Value
	state, captured []*graph.Value
}

func newLoop(n *graph.Node) (*loop, error) {
	l := &loop{body: n.Graph("body")}
	if l.body == nil {
		return nil, Errorf(n, "no body")
	}
	own := len(n.In) - n.Captures()
	in := append([]*graph.Value(nil), n.In[:own]...)
	for len(in) < 2 {
		in = append(in, nil)
	}
	l.trip, l.cond, l.state, l.captured = in[0], in[1], in[2:], n.In[own:]
	for i, v := range append(l.state[:len(l.state):len(l.state)], l.captured...) {
		if v == nil {
			return nil, Errorf(n, "state or capture %d is missing", i)
		}
	}
	if v := l.trip; v != nil && (v.Type.DType != tensor.Int64 || v.Type.Shape.NumElements() != 1) {
		return nil, Errorf(n, "M is %v, want one int64", v.Type)
	}
	if v := l.cond; v != nil && (v.Type.DType != tensor.Bool || v.Type.Shape.NumElements() != 1) {
		return nil, Errorf(n, "the condition is %v, want one bool", v.Type)
	}
	if want := 2 + len(l.state) + len(l.captured); len(l.body.Inputs) != want {
		return nil, Errorf(n, "body %q has %d inputs, want %d", l.body.Name, len(l.body.Inputs), want)
	}
	if k := len(l.body.Outputs); k < 1+len(l.state) || len(n.Out) > k-1 {
		return nil, Errorf(n, "body %q has %d outputs for a state of %d and %d outputs", l.body.Name, k, len(l.state), len(n.Out))
	}
	return l, nil
}

// trips is the number of iterations, where it can be told from the graph: M is known
// and the condition stays true.
func (l *loop) trips(n *graph.Node) (int, bool) {
	holds := func(v *graph.Value) bool {
		return v.IsConst() && v.Type.DType == tensor.Bool && v.Type.Shape.NumElements() == 1 && v.Tensor().Bytes()[0] != 0
	}
	if !l.trip.IsConst() || l.cond != nil && !holds(l.cond) {
		return 0, false
	}
	next := l.body.Outputs[0]
	for next.Producer != nil && next.Producer.Op == "Identity" && next.Producer.Domain == "" && next.Producer.Input(0) != nil {
		next = next.Producer.In[0]
	}
	if next != l.body.Inputs[1] && !holds(next) {
		return 0, false
	}
	k := vals[int64](l.trip.Tensor())[0]
	return int(max(0, min(k, math.MaxInt32))), true
}

func runLoop(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	m := withData(n, in)
	l, err := newLoop(m)
	if err != nil {
		return nil, err
	}
	own, states := len(in)-len(l.captured), len(l.state)
	trips, cond := int64(math.MaxInt64), tensor.Scalar(true)
	if l.trip != nil {
		trips = vals[int64](l.trip.Data)[0]
	}
	if l.cond != nil {
		cond = l.cond.Data
	}
	iter := tensor.Scalar(int64(0))
	args := append([]*tensor.Tensor{iter, cond}, in[min(2, own):]...)
	state := args[2 : 2+states]
	var spare []*tensor.Tensor // memory of the state before last
	scans := make([]gathered, len(l.body.Outputs)-1-states)
	for k := int64(0); k < trips && args[1].Bytes()[0] != 0; k++ {
		if *c.Left--; *c.Left < 0 {
			return nil, tooLarge(n, "loops run more than %d iterations together", MaxIterations)
		}
		vals[int64](iter)[0] = k
		out, err := c.Body(l.body, args)
		if err != nil {
			return nil, err
		}
		if t := out[0]; t.DType != tensor.Bool || t.Len() != 1 {
			return nil, Errorf(n, "body %q gives the condition as %v", l.body.Name, t.Type)
		}
		for i, t := range out[1+states:] {
			if err := scans[i].add(c, n, t); err != nil {
				return nil, err
			}
		}
		// The results may lie in the memory of the arguments.
		next := make([]*tensor.Tensor, states)
		for i, t := range out[1 : 1+states] {
			var mem *tensor.Tensor
			if spare != nil {
				mem = spare[i]
			}
			next[i] = kept(mem, t)
		}
		args[1] = out[0].Clone()
		if spare = nil; k > 0 {
			spare = append(spare, state...)
		}
		copy(state, next)
	}
	res := append([]*tensor.Tensor(nil), state...)
	for i := range scans {
		t, err := scans[i].result(n, l.body, 1+states+i, args)
		if err != nil {
			return nil, err
		}
		res = append(res, t)
	}
	return res, nil
}

// kept is a copy of t, in mem where that is of t's type.
func kept(mem, t *tensor.Tensor) *tensor.Tensor {
	if mem == nil || !mem.Type.Equal(t.Type) {
		return t.Clone()
	}
	copy(mem.Bytes(), t.Bytes()[:t.NumBytes()])
	return mem
}

// gathered is values of one type, one after the other.
type gathered struct {
	typ   tensor.Type
	count int
	bytes []byte
}

func (g *gathered) add(c *Control, n *graph.Node, t *tensor.Tensor) error {
	if g.count == 0 {
		g.typ = t.Type
	}
	if !t.Type.Equal(g.typ) {
		return Errorf(n, "an iteration gives %v, the first one %v", t.Type, g.typ)
	}
	if t.DType.Packed() {
		return Unsupported(n, "gathering %v", t.DType)
	}
	if size := int64(len(g.bytes)) + int64(t.NumBytes()); size > c.MaxBytes {
		return tooLarge(n, "its iterations give more than %d bytes", c.MaxBytes)
	}
	g.count, g.bytes = g.count+1, append(g.bytes, t.Bytes()[:t.NumBytes()]...)
	return nil
}

// result is the values along a new first axis. Where there is none, the type is what
// the type rules say of body's output i for arguments like args, or what it declares.
func (g *gathered) result(n *graph.Node, body *graph.Graph, i int, args []*tensor.Tensor) (*tensor.Tensor, error) {
	if g.count == 0 {
		g.typ = outputType(n, body, i, args)
	}
	shape := append(tensor.Shape{g.count}, g.typ.Shape...)
	if err := shape.Check(); err != nil {
		return nil, Errorf(n, "%v", err)
	}
	t := tensor.New(g.typ.DType, shape...)
	copy(t.Bytes(), g.bytes)
	return t, nil
}

func outputType(n *graph.Node, body *graph.Graph, i int, args []*tensor.Tensor) tensor.Type {
	in := make([]*graph.Value, len(args))
	for k, t := range args {
		in[k] = &graph.Value{Name: "argument", Type: t.Type}
	}
	if ts, err := branchTypes(n, body, in); err == nil {
		return ts[i]
	}
	d := body.Outputs[i].Decl
	t := tensor.Type{DType: d.DType, Shape: tensor.Shape{}}
	if t.DType == tensor.Invalid {
		t.DType = tensor.Float32
	}
	for _, x := range d.Dims {
		t.Shape = append(t.Shape, max(0, x.Size))
	}
	return t
}
