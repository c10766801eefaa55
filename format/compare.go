package format

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// compare reports the first difference between what was to be written and what was
// read back; stripped, names that a stripped file does not hold are not looked at.
func compare(want, got *File, stripped bool) error {
	own := want.Card
	if stripped && own != nil {
		own = stripCard(own)
	}
	if !bytes.Equal(own, got.Card) {
		return fmt.Errorf("the card differs")
	}
	if !bytes.Equal(want.Choices, got.Choices) {
		return fmt.Errorf("the choices differ")
	}
	c := comparer{stripped: stripped}
	if !stripped {
		if !bytes.Equal(want.Receipt, got.Receipt) {
			return fmt.Errorf("the receipt differs")
		}
		if want.Graph.Name != got.Graph.Name || want.Graph.Doc != got.Graph.Doc {
			return fmt.Errorf("the graph's name differs")
		}
		if len(want.Graph.Meta) != len(got.Graph.Meta) {
			return fmt.Errorf("metadata differ")
		}
		for k, v := range want.Graph.Meta {
			if w, ok := got.Graph.Meta[k]; !ok || v != w {
				return fmt.Errorf("metadata %q differ", k)
			}
		}
	}
	return c.graphs(want.Graph, got.Graph, 0)
}

type comparer struct{ stripped bool }

func (c comparer) graphs(a, b *graph.Graph, depth int) error {
	if len(a.Inputs) != len(b.Inputs) || len(a.Nodes) != len(b.Nodes) || len(a.Outputs) != len(b.Outputs) {
		return fmt.Errorf("%d inputs, %d nodes, %d outputs against %d, %d, %d",
			len(a.Inputs), len(a.Nodes), len(a.Outputs), len(b.Inputs), len(b.Nodes), len(b.Outputs))
	}
	to := map[*graph.Value]*graph.Value{}
	values := func(as, bs []*graph.Value, interfaces bool) error {
		if len(as) != len(bs) {
			return fmt.Errorf("%d values against %d", len(as), len(bs))
		}
		for i, x := range as {
			y := bs[i]
			if (x == nil) != (y == nil) {
				return fmt.Errorf("value %d is absent in one", i)
			}
			if x == nil {
				continue
			}
			if (!c.stripped || interfaces && depth == 0 && (x.Kind == graph.Input || x.Kind == graph.Computed)) && x.Name != y.Name {
				return fmt.Errorf("value %q against %q", x.Name, y.Name)
			}
			if interfaces && (x.Kind == graph.Input || x.Kind == graph.Computed && !c.stripped) && !sameDecl(x.Decl, y.Decl) {
				return fmt.Errorf("value %q is declared %v against %v", x.Name, x.Decl, y.Decl)
			}
			if k, ok := to[x]; ok {
				if k != y {
					return fmt.Errorf("value %q is another value", x.Name)
				}
				continue
			}
			to[x] = y
			if x.Kind != y.Kind {
				return fmt.Errorf("value %q is %v against %v", x.Name, x.Kind, y.Kind)
			}
			if (x.Weight == nil) != (y.Weight == nil) || x.Weight != nil && !sameWeight(x.Weight, y.Weight) ||
				(x.Data == nil) != (y.Data == nil) || x.Data != nil && !sameTensor(x.Data, y.Data) {
				return fmt.Errorf("the data of %q differ", x.Name)
			}
		}
		return nil
	}
	if err := values(a.Inputs, b.Inputs, true); err != nil {
		return err
	}
	for i, n := range a.Nodes {
		m := b.Nodes[i]
		if n.Op != m.Op || n.Domain != m.Domain || !c.stripped && n.Name != m.Name {
			return fmt.Errorf("node %q (%s) against %q (%s)", n.Name, n.OpName(), m.Name, m.OpName())
		}
		if err := values(n.In, m.In, false); err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
		if err := values(n.Out, m.Out, false); err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
		if len(n.Attrs) != len(m.Attrs) {
			return fmt.Errorf("node %q: attributes differ", n.Name)
		}
		for name, x := range n.Attrs {
			if err := c.attrs(x, m.Attrs[name], depth); err != nil {
				return fmt.Errorf("node %q: attribute %q: %w", n.Name, name, err)
			}
		}
	}
	return values(a.Outputs, b.Outputs, true)
}

func (c comparer) attrs(a, b any, depth int) error {
	same := false
	switch a := a.(type) {
	case int64:
		same = a == b
	case string:
		same = a == b
	case float32:
		f, ok := b.(float32)
		same = ok && math.Float32bits(a) == math.Float32bits(f)
	case []int64:
		x, ok := b.([]int64)
		same = ok && slices.Equal(a, x)
	case []string:
		x, ok := b.([]string)
		same = ok && slices.Equal(a, x)
	case []float32:
		x, ok := b.([]float32)
		same = ok && sameFloats(a, x)
	case *tensor.Tensor:
		x, ok := b.(*tensor.Tensor)
		same = ok && sameTensor(a, x)
	case *graph.Graph:
		if x, ok := b.(*graph.Graph); ok {
			return c.graphs(a, x, depth+1)
		}
	case []*graph.Graph:
		if x, ok := b.([]*graph.Graph); ok && len(x) == len(a) {
			for i := range a {
				if err := c.graphs(a[i], x[i], depth+1); err != nil {
					return err
				}
			}
			same = true
		}
	}
	if !same {
		return fmt.Errorf("%v against %v", a, b)
	}
	return nil
}

func sameDecl(a, b graph.Decl) bool {
	return a.DType == b.DType && a.Ranked == b.Ranked && slices.EqualFunc(a.Dims, b.Dims, func(x, y graph.Dim) bool {
		return x == y || x.Size >= 0 && x.Size == y.Size // a name beside a size is not kept
	})
}

func sameFloats(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

func sameTensor(a, b *tensor.Tensor) bool {
	n := a.NumBytes()
	return a.Type.Equal(b.Type) && bytes.Equal(a.Bytes()[:n], b.Bytes()[:n])
}

func sameWeight(a, b weight.Weight) bool {
	switch a := a.(type) {
	case weight.Dense:
		b, ok := b.(weight.Dense)
		return ok && sameTensor(a.T, b.T)
	case weight.Int8:
		b, ok := b.(weight.Int8)
		return ok && sameTensor(a.Q, b.Q) && a.Axis == b.Axis && a.Group == b.Group && sameFloats(a.Scale, b.Scale) &&
			(a.Zero == nil) == (b.Zero == nil) && slices.Equal(a.Zero, b.Zero)
	case weight.Codebook:
		b, ok := b.(weight.Codebook)
		return ok && sameTensor(a.Indices, b.Indices) && sameFloats(a.Centroids, b.Centroids)
	case weight.Sparse:
		b, ok := b.(weight.Sparse)
		return ok && a.Shape.Equal(b.Shape) && slices.Equal(a.Mask, b.Mask) && sameWeight(a.Values, b.Values)
	}
	return false
}

// compareArrays reports the first difference between arrays.
func compareArrays(want, got []tensor.Named) error {
	if len(want) != len(got) {
		return fmt.Errorf("%d arrays against %d", len(want), len(got))
	}
	for i, a := range want {
		if a.Name != got[i].Name || !sameTensor(a.T, got[i].T) {
			return fmt.Errorf("array %q differs", a.Name)
		}
	}
	return nil
}
