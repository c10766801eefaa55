package op

import (
	"errors"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// Scan runs attribute body for every slice of its last num_scan_inputs inputs along
// scan_input_axes (0 by default, from the end where scan_input_directions is 1). body
// takes the state, which begins as the node's first inputs, one slice of each of the
// others and what it captures, and gives the next state and any number of values. The
// node gives the last state, then these values along new axes, scan_output_axes, in
// the order of scan_output_directions.
func init() {
	Register(Op{
		Name: "Scan",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			s, err := newScan(n)
			if err != nil {
				return nil, err
			}
			in := typesOnly(s.state)
			for i, v := range s.seqs {
				in = append(in, &graph.Value{Name: v.Name, Type: s.slice(i)})
			}
			ts, err := branchTypes(n, s.body, append(in, s.captured...))
			if need := (*NeedValue)(nil); errors.As(err, &need) {
				return nil, byRunning(n)
			}
			if err != nil {
				return nil, err
			}
			for i, t := range ts {
				if i < len(s.state) {
					if !t.Equal(s.state[i].Type) {
						return nil, byRunning(n)
					}
					continue
				}
				a, err := s.outAxis(n, i-len(s.state), len(t.Shape))
				if err != nil {
					return nil, err
				}
				ts[i].Shape = slices.Insert(t.Shape.Clone(), a, s.length)
			}
			return ts, nil
		},
		Ref: refOfRun(runScan), Run: runScan,
	})
}

type scan struct {
	body                  *graph.Graph
	state, seqs, captured []*graph.Value
	axes                  []int // of seqs
	length                int
}

func newScan(n *graph.Node) (*scan, error) {
	s := &scan{body: n.Graph("body")}
	if s.body == nil {
		return nil, Errorf(n, "no body")
	}
	for i, v := range n.In {
		if v == nil {
			return nil, Errorf(n, "input %d is missing", i)
		}
	}
	own, m := len(n.In)-n.Captures(), n.Int("num_scan_inputs", 0)
	if m < 1 || m > int64(own) {
		return nil, Errorf(n, "num_scan_inputs is %d of %d inputs", m, own)
	}
	k := own - int(m)
	s.state, s.seqs, s.captured = n.In[:k], n.In[k:own], n.In[own:]
	if len(s.body.Inputs) != len(n.In) {
		return nil, Errorf(n, "body %q has %d inputs, want %d", s.body.Name, len(s.body.Inputs), len(n.In))
	}
	values := len(s.body.Outputs) - k
	if values < 0 || len(n.Out) > len(s.body.Outputs) {
		return nil, Errorf(n, "body %q has %d outputs for a state of %d and %d outputs", s.body.Name, len(s.body.Outputs), k, len(n.Out))
	}
	for name, want := range map[string]int{"scan_input_axes": len(s.seqs), "scan_input_directions": len(s.seqs),
		"scan_output_axes": values, "scan_output_directions": values} {
		if l := n.Ints(name); l != nil && len(l) != want {
			return nil, Errorf(n, "%s has %d entries, want %d", name, len(l), want)
		}
	}
	for i, v := range s.seqs {
		a, err := normAxis(n, entry(n.Ints("scan_input_axes"), i), len(v.Type.Shape))
		if err != nil {
			return nil, err
		}
		if d := v.Type.Shape[a]; i == 0 {
			s.length = d
		} else if d != s.length {
			return nil, Errorf(n, "sequences of %d and %d slices", s.length, d)
		}
		if v.Type.DType.Packed() {
			return nil, Unsupported(n, "slices of %v", v.Type.DType)
		}
		s.axes = append(s.axes, a)
	}
	return s, nil
}

// entry is entry i of an optional list.
func entry(l []int64, i int) int64 {
	if i < len(l) {
		return l[i]
	}
	return 0
}

// slice is the type of a slice of sequence i.
func (s *scan) slice(i int) tensor.Type {
	t := s.seqs[i].Type
	return tensor.Type{DType: t.DType, Shape: slices.Delete(t.Shape.Clone(), s.axes[i], s.axes[i]+1)}
}

// outAxis is the axis of value i, of that rank, along which the values stand.
func (s *scan) outAxis(n *graph.Node, i, rank int) (int, error) {
	return normAxis(n, entry(n.Ints("scan_output_axes"), i), rank+1)
}

func runScan(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	s, err := newScan(withData(n, in))
	if err != nil {
		return nil, err
	}
	k, values := len(s.state), len(s.body.Outputs)-len(s.state)
	args := slices.Clone(in)
	state, parts := args[:k], args[k:k+len(s.seqs)]
	for i := range parts {
		t := s.slice(i)
		parts[i] = tensor.New(t.DType, t.Shape...)
	}
	res := make([]*tensor.Tensor, values)
	first := make([]tensor.Type, values)
	var spare []*tensor.Tensor
	for step := range s.length {
		if *c.Left--; *c.Left < 0 {
			return nil, tooLarge(n, "loops run more than %d iterations together", MaxIterations)
		}
		for i := range parts {
			at := step
			if entry(n.Ints("scan_input_directions"), i) != 0 {
				at = s.length - 1 - step
			}
			alongAxis(in[k+i], parts[i], s.axes[i], at, false)
		}
		out, err := c.Body(s.body, args)
		if err != nil {
			return nil, err
		}
		for i, t := range out[k:] {
			a, err := s.outAxis(n, i, len(t.Shape))
			if err != nil {
				return nil, err
			}
			if step == 0 {
				if first[i] = t.Type; t.DType.Packed() {
					return nil, Unsupported(n, "gathering %v", t.DType)
				}
				y := tensor.Type{DType: t.DType, Shape: slices.Insert(t.Shape.Clone(), a, s.length)}
				if err := y.Shape.Check(); err != nil {
					return nil, Errorf(n, "%v", err)
				}
				if b := int64(y.NumBytes()); b < 0 || b > c.MaxBytes {
					return nil, tooLarge(n, "its iterations give %d bytes, the limit is %d", b, c.MaxBytes)
				}
				res[i] = tensor.New(y.DType, y.Shape...)
			}
			if !t.Type.Equal(first[i]) {
				return nil, Errorf(n, "an iteration gives %v, the first one %v", t.Type, first[i])
			}
			at := step
			if entry(n.Ints("scan_output_directions"), i) != 0 {
				at = s.length - 1 - step
			}
			alongAxis(res[i], t, a, at, true)
		}
		next := make([]*tensor.Tensor, k)
		for i, t := range out[:k] {
			var mem *tensor.Tensor
			if spare != nil {
				mem = spare[i]
			}
			next[i] = kept(mem, t)
		}
		if spare = nil; step > 0 {
			spare = slices.Clone(state)
		}
		copy(state, next)
	}
	for i := range res {
		if s.length == 0 {
			t := outputType(n, s.body, k+i, args)
			a, err := s.outAxis(n, i, len(t.Shape))
			if err != nil {
				return nil, err
			}
			res[i] = tensor.New(t.DType, slices.Insert(t.Shape.Clone(), a, 0)...)
		}
	}
	return append(slices.Clone(state), res...), nil
}

// alongAxis copies slice at of whole along axis to part, or with put from it.
func alongAxis(whole, part *tensor.Tensor, axis, at int, put bool) {
	w := whole.Shape[axis+1:].NumElements() * whole.DType.Bits() / 8
	a, b, d := whole.Bytes(), part.Bytes(), whole.Shape[axis]
	for o := range whole.Shape[:axis].NumElements() {
		x, y := a[(o*d+at)*w:][:w], b[o*w:][:w]
		if put {
			copy(x, y)
		} else {
			copy(y, x)
		}
	}
}
