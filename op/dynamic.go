package op

import (
	"errors"
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// Control is what an operator's Run may use.
type Control struct {
	// Body runs a body of the node on the inputs in, of any types. The results may
	// be overwritten by the body's next run.
	Body func(b *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error)
	// Left is how many iterations may still be run, those of inner loops included.
	Left *int
	// MaxBytes bounds the memory of what one node puts together.
	MaxBytes int64
}

// MaxIterations is how many iterations the loops of one run may take together: a
// loop that does not end is an error.
const MaxIterations = 1 << 20

// ErrTooLarge is the root of errors about results that are beyond a limit.
var ErrTooLarge = errors.New("too large")

func tooLarge(n *graph.Node, format string, args ...any) error {
	return At(n, fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...)))
}

// onReferences runs bodies on their references.
func onReferences() *Control {
	left := 1 << 16
	c := &Control{Left: &left, MaxBytes: 1 << 30}
	c.Body = func(b *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) { return runGraph(c, b, in) }
	return c
}

type run = func(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error)

// dynamic fills in Infer, Ref and Run of an operator whose output types depend on
// its inputs' data. check is the part of the type rule that needs types only.
func dynamic(o Op, check func(*graph.Node) error, f run) Op {
	o.Run = func(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		if err := check(withData(n, in)); err != nil {
			return nil, err
		}
		return f(c, n, in)
	}
	o.Infer = func(n *graph.Node) ([]tensor.Type, error) {
		if err := check(n); err != nil {
			return nil, err
		}
		in := make([]*tensor.Tensor, len(n.In))
		for i := range n.In {
			t, err := Value(n, i)
			if err != nil {
				return nil, err
			}
			in[i] = t
		}
		out, err := f(onReferences(), n, in)
		if err != nil {
			return nil, err
		}
		ts := make([]tensor.Type, len(out))
		for i, t := range out {
			ts[i] = t.Type
		}
		return ts, nil
	}
	o.Ref = refOfRun(f)
	return o
}

// refOfRun copies what f returns into the outputs.
func refOfRun(f run) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		res, err := f(onReferences(), n, in)
		if err != nil {
			return err
		}
		return Deliver(n, res, out)
	}
}

// Deliver copies the results of a Run into outputs that a type rule has announced.
func Deliver(n *graph.Node, res, out []*tensor.Tensor) error {
	for i, t := range out {
		if t == nil {
			continue
		}
		if i >= len(res) || !t.Type.Equal(res[i].Type) {
			return Errorf(n, "output %d is %v, want %v", i, res[i].Type, t.Type)
		}
		copy(t.Bytes(), res[i].Bytes()[:res[i].NumBytes()])
	}
	return nil
}
