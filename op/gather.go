package op

import (
	"whit/graph"
	"whit/tensor"
)

func init() {
	// Gather reads slices of data along attribute axis: y[p, i.., q] = data[p,
	// indices[i..], q]. Negative indices count from the end. With a vector of data it
	// is the lookup in a codebook.
	Register(Op{
		Name: "Gather",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			x, ix, a, err := inferIndexed(n, 2)
			if err != nil {
				return nil, err
			}
			s := append(append(x.Shape[:a].Clone(), ix.Shape...), x.Shape[a+1:]...)
			if x.Shape[a] == 0 && ix.Shape.NumElements() > 0 {
				return nil, Errorf(n, "axis %d of %v has no elements to index", a, x.Shape)
			}
			return []tensor.Type{{DType: x.DType, Shape: s}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			x, y := in[0], out[0]
			a, err := normAxis(n, n.Int("axis", 0), len(x.Shape))
			if err != nil {
				return err
			}
			if y.Len() == 0 {
				return nil
			}
			if x.DType.Bits() == 32 && len(x.Shape) == 1 { // a codebook
				if in[1].DType == tensor.Int32 {
					return lookup(n, words[uint32](x), vals[int32](in[1]), words[uint32](y))
				}
				return lookup(n, words[uint32](x), vals[int64](in[1]), words[uint32](y))
			}
			ix, err := indices(n, in[1], x.Shape[a])
			if err != nil {
				return err
			}
			w := x.Shape[a+1:].NumElements() * x.DType.Bits() / 8
			src, dst := x.Bytes(), y.Bytes()
			for p := range x.Shape[:a].NumElements() {
				row := p * x.Shape[a] * w
				for _, k := range ix {
					copy(dst[:w], src[row+k*w:])
					dst = dst[w:]
				}
			}
			return nil
		},
		// The gradient scatters with addition in the order of the indices.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			if wantsGrad(n.In[0]) {
				ds[0] = g.Add(graph.Domain, "GatherGrad", map[string]any{"axis": n.Int("axis", 0)}, grads[0], n.In[1], shapeOf(g, n.In[0]))
			}
			return ds, nil
		},
		// Axes of data other than axis keep their channels.
		Channels: func(n *graph.Node) []Coupling {
			x := n.In[0].Type.Shape
			a, err := normAxis(n, n.Int("axis", 0), len(x))
			if err != nil {
				return nil
			}
			cs, more := []Coupling{}, len(n.In[1].Type.Shape)-1
			for k := range x {
				switch {
				case k < a:
					cs = append(cs, Coupling{From: Port{Axis: k}, To: Port{Out: true, Axis: k}})
				case k > a:
					cs = append(cs, Coupling{From: Port{Axis: k}, To: Port{Out: true, Axis: k + more}})
				}
			}
			return cs
		},
	})

	// GatherGrad is the gradient of Gather with respect to data: inputs dy, indices
	// and the shape of data (int64 vector); attribute axis. Elements that share an
	// index are summed in float64 in the order of the indices, so that the result
	// does not depend on threads.
	Register(Op{
		Domain: graph.Domain, Name: "GatherGrad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 3); err != nil {
				return nil, err
			}
			if err := floatInput(n, 0); err != nil {
				return nil, err
			}
			if err := inputType(n, 1, indexTypes); err != nil {
				return nil, err
			}
			s, err := shapeInput(n, 2)
			if err != nil {
				return nil, err
			}
			a, err := normAxis(n, n.Int("axis", 0), len(s))
			if err != nil {
				return nil, err
			}
			dy := n.In[0].Type
			want := append(append(s[:a].Clone(), n.In[1].Type.Shape...), s[a+1:]...)
			if !dy.Shape.Equal(want) {
				return nil, Errorf(n, "gradient has shape %v, want %v", dy.Shape, want)
			}
			return []tensor.Type{{DType: dy.DType, Shape: s}}, nil
		},
		Ref: float(gatherGrad[float32], gatherGrad[float64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			d := g.Add("", "Gather", map[string]any{"axis": n.Int("axis", 0)}, grads[0], n.In[1])
			return []*graph.Value{d, nil, nil}, nil
		},
	})

	// GatherElements reads y[i][j][k] = data[i][indices[i][j][k]][k] (axis 1).
	Register(Op{
		Name: "GatherElements",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			x, ix, a, err := inferIndexed(n, 2)
			if err != nil {
				return nil, err
			}
			if err := fitsElements(n, x.Shape, ix.Shape, a); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: x.DType, Shape: ix.Shape}}, nil
		},
		Ref: moves(gatherElements[uint8], gatherElements[uint16], gatherElements[uint32], gatherElements[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			if x := n.In[0]; wantsGrad(x) {
				zero := g.Add("", "Expand", nil, scalar(g, 0, x), shapeOf(g, x))
				ds[0] = g.Add("", "ScatterElements", map[string]any{"axis": n.Int("axis", 0), "reduction": "add"}, zero, n.In[1], grads[0])
			}
			return ds, nil
		},
	})

	// GatherND reads slices of data at index tuples, the last axis of indices, after
	// batch_dims axes that both share.
	Register(Op{
		Name: "GatherND",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			if err := inputType(n, 1, []tensor.DType{tensor.Int64}); err != nil {
				return nil, err
			}
			x, ix := n.In[0].Type, n.In[1].Type
			b, r, q := n.Int("batch_dims", 0), len(x.Shape), len(ix.Shape)
			if r < 1 || q < 1 || b < 0 || b >= int64(min(r, q)) {
				return nil, Errorf(n, "batch_dims %d for data %v and indices %v", b, x.Shape, ix.Shape)
			}
			k := ix.Shape[q-1]
			if k < 1 || k > r-int(b) {
				return nil, Errorf(n, "indices %v have tuples of %d for data %v", ix.Shape, k, x.Shape)
			}
			if !x.Shape[:b].Equal(ix.Shape[:b]) {
				return nil, Errorf(n, "data %v and indices %v differ in their batch dimensions", x.Shape, ix.Shape)
			}
			s := append(ix.Shape[:q-1].Clone(), x.Shape[int(b)+k:]...)
			return []tensor.Type{{DType: x.DType, Shape: s}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			offs, err := tuples(n, in[0].Shape, in[1], int(n.Int("batch_dims", 0)))
			if err != nil || out[0].Len() == 0 {
				return err
			}
			w := in[0].DType.Bits() / 8
			k := in[1].Shape[len(in[1].Shape)-1]
			run := in[0].Shape[int(n.Int("batch_dims", 0))+k:].NumElements() * w
			for i, o := range offs {
				copy(out[0].Bytes()[i*run:(i+1)*run], in[0].Bytes()[o*w:])
			}
			return nil
		},
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			if x := n.In[0]; wantsGrad(x) {
				if n.Int("batch_dims", 0) != 0 {
					return nil, Unsupported(n, "gradient with batch_dims")
				}
				zero := g.Add("", "Expand", nil, scalar(g, 0, x), shapeOf(g, x))
				ds[0] = g.Add("", "ScatterND", map[string]any{"reduction": "add"}, zero, n.In[1], grads[0])
			}
			return ds, nil
		},
	})
}

var indexTypes = []tensor.DType{tensor.Int32, tensor.Int64}

// inferIndexed checks data, indices (and updates) of the operators with an axis.
func inferIndexed(n *graph.Node, inputs int) (x, ix tensor.Type, a int, err error) {
	if err = Want(n, inputs, inputs); err != nil {
		return
	}
	if err = inputType(n, 0, wholeTypes); err != nil {
		return
	}
	if err = inputType(n, 1, indexTypes); err != nil {
		return
	}
	x, ix = n.In[0].Type, n.In[1].Type
	a, err = normAxis(n, n.Int("axis", 0), len(x.Shape))
	return
}

// fitsElements checks the shape of indices of GatherElements and ScatterElements.
func fitsElements(n *graph.Node, x, ix tensor.Shape, a int) error {
	if len(ix) != len(x) {
		return Errorf(n, "indices have shape %v, data %v", ix, x)
	}
	for k := range x {
		if k != a && ix[k] > x[k] {
			return Errorf(n, "indices have shape %v, data %v", ix, x)
		}
	}
	return nil
}

// indices is the data of an index tensor as 0..limit-1; an index out of range is an error.
func indices(n *graph.Node, t *tensor.Tensor, limit int) ([]int, error) {
	out := make([]int, t.Len())
	for i, v := range ints64(t) {
		if v < -int64(limit) || v >= int64(limit) {
			return nil, Errorf(n, "index %d is out of range for a dimension of %d", v, limit)
		}
		if v < 0 {
			v += int64(limit)
		}
		out[i] = int(v)
	}
	return out, nil
}

// tuples is the element offset in data of every index tuple of ix, whose first
// batch axes run along those of data.
func tuples(n *graph.Node, data tensor.Shape, ix *tensor.Tensor, batch int) ([]int, error) {
	q := len(ix.Shape)
	k := ix.Shape[q-1]
	count := ix.Shape[:q-1].NumElements()
	per := 1
	if batch > 0 {
		per = ix.Shape[batch : q-1].NumElements()
	}
	st, v := data.Strides(), ints64(ix)
	offs := make([]int, count)
	for i := range offs {
		o := 0
		if batch > 0 {
			o = i / per * data[batch:].NumElements()
		}
		for j := range k {
			d, x := data[batch+j], v[i*k+j]
			if x < -int64(d) || x >= int64(d) {
				return nil, Errorf(n, "index %d is out of range for a dimension of %d", x, d)
			}
			if x < 0 {
				x += int64(d)
			}
			o += int(x) * st[batch+j]
		}
		offs[i] = o
	}
	return offs, nil
}

// lookup is y[i] = x[ix[i]].
func lookup[T word, I int32 | int64](n *graph.Node, x []T, ix []I, y []T) error {
	y = y[:len(ix)]
	for i, k := range ix {
		if k < 0 {
			k += I(len(x))
		}
		if uint64(k) >= uint64(len(x)) {
			return Errorf(n, "index %d is out of range for a dimension of %d", ix[i], len(x))
		}
		y[i] = x[k]
	}
	return nil
}

// lookupGrad is acc[ix[i]] += dy[i].
func lookupGrad[T Float, I int32 | int64](n *graph.Node, acc []float64, ix []I, dy []T) error {
	dy = dy[:len(ix)]
	for i, k := range ix {
		if k < 0 {
			k += I(len(acc))
		}
		if uint64(k) >= uint64(len(acc)) {
			return Errorf(n, "index %d is out of range for a dimension of %d", ix[i], len(acc))
		}
		acc[k] += float64(dy[i])
	}
	return nil
}

func gatherGrad[T Float](n *graph.Node, in, out []*tensor.Tensor) error {
	s := out[0].Shape
	a, err := normAxis(n, n.Int("axis", 0), len(s))
	if err != nil {
		return err
	}
	dy, acc, w := vals[T](in[0]), make([]float64, out[0].Len()), s[a+1:].NumElements()
	if len(s) == 1 {
		if in[1].DType == tensor.Int32 {
			err = lookupGrad(n, acc, vals[int32](in[1]), dy)
		} else {
			err = lookupGrad(n, acc, vals[int64](in[1]), dy)
		}
		if err != nil {
			return err
		}
		rounded(vals[T](out[0]), acc)
		return nil
	}
	ix, err := indices(n, in[1], s[a])
	if err != nil {
		return err
	}
	for p := range s[:a].NumElements() {
		row := acc[p*s[a]*w:]
		for _, k := range ix {
			d := row[k*w : (k+1)*w]
			for j := range d {
				d[j] += float64(dy[j])
			}
			dy = dy[w:]
		}
	}
	rounded(vals[T](out[0]), acc)
	return nil
}

// rounded writes float64 sums into y.
func rounded[T Float](y []T, acc []float64) {
	for i, v := range acc {
		y[i] = T(v)
	}
}

// elementOffsets calls f with the position of every index element and the offset
// in data that it addresses.
func elementOffsets(n *graph.Node, data tensor.Shape, ixt *tensor.Tensor, f func(i, off int)) error {
	a, err := normAxis(n, n.Int("axis", 0), len(data))
	if err != nil {
		return err
	}
	ix, err := indices(n, ixt, data[a])
	if err != nil {
		return err
	}
	st := data.Strides()
	along := st[a]
	st[a] = 0
	walk(ixt.Shape, [][]int{st}, func(pos int, off []int, n int, step []int) {
		o := off[0]
		for i := pos; i < pos+n; i++ {
			f(i, o+ix[i]*along)
			o += step[0]
		}
	})
	return nil
}

func gatherElements[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	x, y := words[T](in[0]), words[T](out[0])
	return elementOffsets(n, in[0].Shape, in[1], func(i, off int) { y[i] = x[off] })
}
