package kernel

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Kernels on quantised values of 8 bits. Values are NHWC without halo: what reads an image
// beyond its edge widens it into scratch first, less the zero point, so that padding is 0
// there. Pixels are whole blocks of 16 channels, so that kernels may store 16 bytes; what
// is behind the channels is of no meaning.
const qBlock = 16

func round16(c int) int { return (c + qBlock - 1) / qBlock * qBlock }

// qnhwc is the layout of a quantised image of c channels.
func qnhwc(c int) graph.Layout { return graph.Layout{Order: graph.NHWC, CStride: round16(c)} }

// qunfuse looks at a node of that operator, alone or with a Clip of its integers as a
// whit.Fused. It returns the operator's node as if it stood alone, and its limits.
func qunfuse(n *graph.Node, domain, name string) (m *graph.Node, lo, hi int) {
	lo, hi = 0, 255
	if n.Out[0].Type.DType == tensor.Int8 {
		lo, hi = -128, 127
	}
	if n.Domain == domain && n.Op == name {
		return n, lo, hi
	}
	b := n.Graph("body")
	if n.Domain != graph.Domain || n.Op != "Fused" || b == nil || len(b.Nodes) != 2 || len(b.Outputs) != 1 {
		return nil, 0, 0
	}
	m, c := b.Nodes[0], b.Nodes[1]
	if m.Domain != domain || m.Op != name || len(m.In) != len(n.In) || c.Domain != "" || c.Op != "Clip" || c.Input(0) != m.Out[0] || b.Outputs[0] != c.Out[0] {
		return nil, 0, 0
	}
	for i, v := range m.In {
		if i >= len(b.Inputs) || v != b.Inputs[i] {
			return nil, 0, 0
		}
	}
	for i, p := range []*int{&lo, &hi} {
		v := c.Input(1 + i)
		if v == nil {
			continue
		}
		if !v.IsConst() || v.Type.DType != n.Out[0].Type.DType || v.Type.Shape.NumElements() != 1 {
			return nil, 0, 0
		}
		*p = zeroOf(v)
	}
	if lo > hi {
		return nil, 0, 0
	}
	return &graph.Node{Name: n.Name, Domain: domain, Op: name, Attrs: m.Attrs, In: n.In, Out: n.Out}, lo, hi
}

// isByte reports quantised values.
func isByte(v *graph.Value) bool {
	return v != nil && (v.Type.DType == tensor.Int8 || v.Type.DType == tensor.Uint8)
}

// scaleOf is a constant float32 scale; 0 where it is not one finite positive number.
func scaleOf(v *graph.Value) float32 {
	if !v.IsConst() || v.Type.DType != tensor.Float32 || v.Type.Shape.NumElements() != 1 {
		return 0
	}
	if s := tensor.Of[float32](v.Tensor())[0]; s > 0 && !math.IsInf(float64(s), 0) {
		return s
	}
	return 0
}

// isZero reports a constant zero point of one number.
func isZero(v *graph.Value) bool {
	return isByte(v) && v.IsConst() && v.Type.Shape.NumElements() == 1
}

// zeroOf is the first number of a constant of 8 bits.
func zeroOf(v *graph.Value) int { return byteAt(v.Tensor(), 0) }

func byteAt(t *tensor.Tensor, i int) int {
	if t.DType == tensor.Int8 {
		return int(int8(t.Bytes()[i]))
	}
	return int(t.Bytes()[i])
}

// requant are the limits of an output as kern wants them.
type requant struct {
	lo, hi float32
	zero   int32
}

func requantOf(lo, hi, zero int) requant {
	return requant{float32(lo - zero), float32(hi - zero), int32(zero)}
}

// finite reports a multiplier that the kernels may use.
func finite(m float32) bool { return m > 0 && !math.IsInf(float64(m), 0) }

// plain reports a view whose images, rows and pixels follow each other.
func (m *view) plain() bool {
	return m.nhwc && m.halo == [4]int{}
}

// bytewise is the layout of elementwise nodes on quantised values: NHWC passes through, with
// the pixels of the first image.
func bytewise(n *graph.Node, in []graph.Layout, inputs ...int) Layouts {
	l := Layouts{In: make([]graph.Layout, len(in)), Out: make([]graph.Layout, 1)}
	for _, i := range inputs {
		if in[i].Order == graph.NHWC {
			for _, k := range inputs {
				l.In[k] = graph.Layout{Order: graph.NHWC, CStride: in[i].CStride}
			}
			l.Out[0] = graph.Layout{Order: graph.NHWC, CStride: in[i].CStride}
			return l
		}
	}
	return l
}

// span is the physical elements of a value, all in one piece where views have one layout.
func span(v *graph.Value) int { return PhysicalLen(v.Type.Shape, v.Layout) }

// sameLayout reports whether the values may be walked as flat memory: one layout, no halo.
func sameLayout(vs ...*graph.Value) bool {
	for _, v := range vs {
		if v.Layout != vs[0].Layout || v.Layout.Halo != [4]int{} {
			return false
		}
	}
	return true
}
