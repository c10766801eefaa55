package optest

import (
	"maps"
	"slices"
	"testing"

	"whit/op"
	"whit/tensor"
)

// TestChannels takes every channel that a case's couplings name, closes it under
// them, and checks that the operator on inputs without these channels answers what
// it answers on inputs with zeros there, less the channels: prune-then-run equals
// mask-then-run.
func TestChannels(t *testing.T) {
	for _, c := range All() {
		if o := op.Lookup(c.Domain, c.Op); c.Err || o == nil || o.Channels == nil || sized[c.Op] {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { channels(t, c) })
	}
}

// sized lists operators with sizes in attributes or inputs, which whoever removes
// channels must change as well.
var sized = map[string]bool{"Expand": true, "Pad": true, "Reshape": true, "Split": true}

// cut says which indices of an axis go.
type cut map[op.Port]map[int]bool

func channels(t *testing.T, c Case) {
	g, feeds := c.Build()
	full, err := Eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	n := g.Nodes[0]
	cs := op.Of(n).Channels(n)
	size := func(p op.Port) int {
		if p.Out {
			return full[p.Index].Shape[p.Axis]
		}
		return c.In[p.Index].Shape[p.Axis]
	}
	var from []op.Port
	for _, k := range cs {
		for _, p := range []op.Port{k.From, k.To} {
			s := tensor.Shape(nil)
			if p.Out && p.Index < len(full) {
				s = full[p.Index].Shape
			} else if !p.Out && p.Index < len(c.In) && c.In[p.Index] != nil {
				s = c.In[p.Index].Shape
			}
			if p.Axis < 0 || p.Axis >= len(s) {
				t.Fatalf("port %+v does not exist", p)
			}
			if !slices.Contains(from, p) {
				from = append(from, p)
			}
		}
		if k.Map == nil && size(k.From) > size(k.To) {
			t.Fatalf("%+v has %d channels, %+v has %d", k.From, size(k.From), k.To, size(k.To))
		}
	}
	for _, p := range from {
		if size(p) < 2 {
			continue
		}
		gone := cut{p: {size(p) / 2: true}}
		closeCut(cs, gone, size)
		prune(t, c, p, gone)
	}
}

// closeCut adds what the couplings ask for, in both directions.
func closeCut(cs []op.Coupling, gone cut, size func(op.Port) int) {
	for grown := true; grown; {
		grown = false
		add := func(p op.Port, i int) {
			if gone[p] == nil {
				gone[p] = map[int]bool{}
			}
			if !gone[p][i] {
				gone[p][i], grown = true, true
			}
		}
		for _, k := range cs {
			for i := range size(k.From) {
				to := []int{i}
				if k.Map != nil {
					to = k.Map(i)
				}
				hit := gone[k.From][i]
				for _, j := range to {
					hit = hit || gone[k.To][j]
				}
				if hit {
					add(k.From, i)
					for _, j := range to {
						add(k.To, j)
					}
				}
			}
		}
	}
}

func prune(t *testing.T, c Case, p op.Port, gone cut) {
	masked, pruned := c, c
	masked.In, pruned.In = slices.Clone(c.In), slices.Clone(c.In)
	empty := false
	for i, x := range c.In {
		if x == nil {
			continue
		}
		masked.In[i] = x.Clone()
		for axis := range x.Shape {
			g := gone[op.Port{Index: i, Axis: axis}]
			if len(g) == 0 {
				continue
			}
			empty = empty || len(g) == x.Shape[axis]
			without(masked.In[i], axis, g, true)
			pruned.In[i] = without(pruned.In[i], axis, g, false)
		}
	}
	if empty {
		return // everything goes
	}
	if c.Op == "Conv" && c.Attrs["group"] != nil && pruned.In[1].Shape[1] == 1 && c.In[0].Shape[1] == int(c.Attrs["group"].(int64)) {
		// A depthwise convolution has as many groups as channels.
		pruned.Attrs = maps.Clone(c.Attrs)
		pruned.Attrs["group"] = int64(pruned.In[0].Shape[1])
	}
	run := func(c Case) []*tensor.Tensor {
		g, feeds := c.Build()
		y, err := Eval(g, feeds)
		if err != nil {
			t.Fatalf("without %v (from %+v): %v", gone, p, err)
		}
		return y
	}
	want, got := run(masked), run(pruned)
	for i, w := range want {
		for axis := range w.Shape {
			if g := gone[op.Port{Out: true, Index: i, Axis: axis}]; len(g) > 0 {
				w = without(w, axis, g, false)
			}
		}
		if got[i].Type.Equal(w.Type) && (c.Op == "Dropout" || c.Op == "MaxPool" && i == 1) {
			continue // what is dropped depends on the place, and indices count in the larger tensor
		}
		if d := Diff(got[i], w); !(d <= tol(c.Tol, w.DType)) {
			t.Errorf("without %v (from %+v): output %d is %v, want %v, differs by %g", gone, p, i, got[i].Type, w.Type, d)
		}
	}
}

// without zeroes the indices of an axis in place, or returns x without them.
func without(x *tensor.Tensor, axis int, gone map[int]bool, zero bool) *tensor.Tensor {
	s := x.Shape.Clone()
	row := s[axis+1:].NumElements() * x.DType.Bits() / 8
	s[axis] -= len(gone)
	y := tensor.New(x.DType, s...)
	to := y.Bytes()
	for i := 0; (i+1)*row <= len(x.Bytes()) && row > 0; i++ {
		b := x.Bytes()[i*row : (i+1)*row]
		switch {
		case !gone[i%x.Shape[axis]]:
			to = to[copy(to, b):]
		case zero:
			clear(b)
		}
	}
	return y
}
