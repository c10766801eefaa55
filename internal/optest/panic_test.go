package optest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// TestNeverPanics bends every case a few times; FuzzOperators goes on from there.
func TestNeverPanics(t *testing.T) {
	for i := range All() {
		for seed := range uint64(20) {
			bend(t, uint64(i), seed)
		}
	}
}

// FuzzOperators looks for a node that a type rule accepts and whose reference panics.
func FuzzOperators(f *testing.F) {
	f.Add(uint64(0), uint64(100))
	f.Fuzz(bend)
}

// bend changes attributes, shapes, element types and inputs of a case at random.
func bend(t *testing.T, which, seed uint64) {
	all := All()
	c := all[which%uint64(len(all))]
	r := rand.New(rand.NewPCG(which, seed))
	c.Attrs, c.In, c.ConstIn = maps.Clone(c.Attrs), slices.Clone(c.In), nil
	names := slices.Sorted(maps.Keys(c.Attrs))
	for _, a := range names {
		switch c.Attrs[a].(type) {
		case *graph.Graph, []*graph.Graph:
			return
		}
	}
	number := func() int64 {
		v := []int64{-1 << 62, -1 << 31, -3, -1, 0, 0, 1, 1, 1, 2, 2, 3, 3, 5, 7, 1 << 20, 1 << 31, 1 << 40, 1 << 62}
		return v[r.IntN(len(v))]
	}
	for range 1 + r.IntN(3) {
		if k := r.IntN(len(names) + len(c.In) + 1); k < len(names) {
			switch v := c.Attrs[names[k]].(type) {
			case int64:
				c.Attrs[names[k]] = number()
			case float32:
				c.Attrs[names[k]] = []float32{-1, 0, .5, 1, 2, 1e30}[r.IntN(6)]
			case string:
				delete(c.Attrs, names[k])
			case []int64:
				v = slices.Clone(v)
				switch {
				case r.IntN(6) == 0:
					v = append(v, number())
				case len(v) > 0 && r.IntN(6) == 0:
					v = v[1:]
				case len(v) > 0:
					v[r.IntN(len(v))] = number()
				}
				c.Attrs[names[k]] = v
			}
		} else if k -= len(names); k < len(c.In) && c.In[k] != nil {
			x := c.In[k]
			switch r.IntN(4) {
			case 0:
				c.In[k] = nil
			case 1:
				if x.DType == tensor.Int64 && x.Len() > 0 {
					c.In[k] = x.Clone()
					tensor.Of[int64](c.In[k])[r.IntN(x.Len())] = number()
					break
				}
				fallthrough
			default:
				s, d := x.Shape.Clone(), x.DType
				switch p := r.IntN(8); {
				case p == 0:
					s = append(s, r.IntN(3))
				case p == 1 && len(s) > 0:
					s = s[1:]
				case p == 2:
					d = op.AnyType[r.IntN(len(op.AnyType))]
				case len(s) > 0:
					s[r.IntN(len(s))] = r.IntN(5)
				}
				c.In[k] = Rand(seed, d, s...)
			}
		} else if r.IntN(2) == 0 && len(c.In) > 0 {
			c.In = c.In[:len(c.In)-1]
		}
	}
	n := &graph.Node{Name: c.Name, Domain: c.Domain, Op: c.Op, Attrs: c.Attrs, Out: make([]*graph.Value, max(1, c.Outs))}
	defer func() {
		if e := recover(); e != nil {
			t.Errorf("which %d, seed %d: %s panics: %v\n%v of %v", which, seed, c.Name, e, n, types(c.In))
		}
	}()
	in := make([]*tensor.Tensor, len(c.In))
	for i, x := range c.In {
		n.In = append(n.In, nil)
		if x != nil {
			in[i] = x.Clone() // some operators write their inputs
			n.In[i] = &graph.Value{Name: "x", Kind: graph.Const, Type: x.Type, Data: in[i]}
		}
	}
	ts, err := op.Infer(n)
	if err != nil {
		return
	}
	out := make([]*tensor.Tensor, len(n.Out))
	for i := range out {
		if ts[i].Shape.NumElements() > 1<<16 {
			return
		}
		n.Out[i] = &graph.Value{Name: "y", Type: ts[i], Producer: n}
		if c.Outs <= 1 || r.IntN(4) > 0 {
			out[i] = tensor.New(ts[i].DType, ts[i].Shape...)
		}
	}
	if err := op.Of(n).Ref(n, in, out); err != nil {
		return
	}
	op.Cost(n)
	if o := op.Of(n); o.Channels != nil {
		o.Channels(n)
	}
}

func types(ts []*tensor.Tensor) (s []tensor.Type) {
	for _, t := range ts {
		if t == nil {
			s = append(s, tensor.Type{})
		} else {
			s = append(s, t.Type)
		}
	}
	return s
}
