package op

import (
	"whit/graph"
	"whit/tensor"
)

// DepthToSpace moves channels of [N,C,H,W] into blocks of blocksize x blocksize
// pixels, SpaceToDepth moves them back. Mode DCR orders a pixel's channels as
// [block row, block column, channel], CRD as [channel, block row, block column].
func init() {
	Register(Op{
		Name: "DepthToSpace",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			x, b, err := inferDepth(n)
			if err != nil {
				return nil, err
			}
			s := x.Shape
			if s[1]%(b*b) != 0 {
				return nil, Errorf(n, "%d channels are no multiple of %d", s[1], b*b)
			}
			return []tensor.Type{{DType: x.DType, Shape: tensor.Shape{s[0], s[1] / (b * b), s[2] * b, s[3] * b}}}, nil
		},
		Ref:      moves(depthToSpace[uint8], depthToSpace[uint16], depthToSpace[uint32], depthToSpace[uint64]),
		VJP:      vjpDepth("SpaceToDepth"),
		Channels: func(n *graph.Node) []Coupling { return depthChannels(n, true) },
	})
	Register(Op{
		Name: "SpaceToDepth",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			x, b, err := inferDepth(n)
			if err != nil {
				return nil, err
			}
			s := x.Shape
			if s[2]%b != 0 || s[3]%b != 0 {
				return nil, Errorf(n, "shape %v does not divide into blocks of %d", s, b)
			}
			if s[1] > 1<<40 {
				return nil, Errorf(n, "too many channels")
			}
			return []tensor.Type{{DType: x.DType, Shape: tensor.Shape{s[0], s[1] * b * b, s[2] / b, s[3] / b}}}, nil
		},
		Ref:      moves(spaceToDepth[uint8], spaceToDepth[uint16], spaceToDepth[uint32], spaceToDepth[uint64]),
		VJP:      vjpDepth("DepthToSpace"),
		Channels: func(n *graph.Node) []Coupling { return depthChannels(n, false) },
	})
}

func inferDepth(n *graph.Node) (tensor.Type, int, error) {
	if err := Want(n, 1, 1, wholeTypes...); err != nil {
		return tensor.Type{}, 0, err
	}
	x, b := n.In[0].Type, n.Int("blocksize", 0)
	if len(x.Shape) != 4 {
		return x, 0, Errorf(n, "input has shape %v, want [N,C,H,W]", x.Shape)
	}
	if b < 1 || b > 1<<10 {
		return x, 0, Errorf(n, "blocksize is %d", b)
	}
	if m := n.Str("mode", "DCR"); m != "DCR" && m != "CRD" {
		return x, 0, Errorf(n, "mode %q, want DCR or CRD", m)
	}
	return x, int(b), nil
}

func vjpDepth(other string) func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
	return func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
		if !wantsGrad(n.In[0]) {
			return []*graph.Value{nil}, nil
		}
		return []*graph.Value{g.Add("", other, n.Attrs, grads[0])}, nil
	}
}

// deepStrides are, for the deep side [n,c·b·b,h,w] of a block rearrangement, the
// strides of its elements along [n, c, h, block row, w, block column].
func deepStrides(n *graph.Node, c, h, w int) []int {
	b := int(n.Int("blocksize", 1))
	pixel := h * w
	chan1, rowB, colB := pixel, b*c*pixel, c*pixel
	if n.Str("mode", "DCR") == "CRD" {
		chan1, rowB, colB = b*b*pixel, b*pixel, pixel
	}
	return []int{b * b * c * pixel, chan1, w, rowB, 1, colB}
}

func depthToSpace[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	s, b := out[0].Shape, int(n.Int("blocksize", 1))
	h, w := s[2]/b, s[3]/b
	stridedCopy(words[T](out[0]), tensor.Shape{s[0], s[1], h, b, w, b}, words[T](in[0]), 0, deepStrides(n, s[1], h, w))
	return nil
}

func spaceToDepth[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	s, b := in[0].Shape, int(n.Int("blocksize", 1))
	h, w := s[2]/b, s[3]/b
	x, y := words[T](in[0]), words[T](out[0])
	each(tensor.Shape{s[0], s[1], h, b, w, b}, deepStrides(n, s[1], h, w), func(i, o int) { y[o] = x[i] })
	return nil
}

// depthChannels couples the shallow side's channels with the b·b deep ones that each holds.
func depthChannels(n *graph.Node, deepIn bool) []Coupling {
	b := int(n.Int("blocksize", 1))
	shallow, deep := Port{Out: deepIn}, Port{Out: !deepIn}
	s := n.In[0].Type.Shape
	if deepIn {
		s = n.Out[0].Type.Shape
	}
	c := s[1]
	crd := n.Str("mode", "DCR") == "CRD"
	at := func(p Port, axis int) Port { p.Axis = axis; return p }
	return []Coupling{
		{From: at(shallow, 0), To: at(deep, 0)},
		{From: at(shallow, 1), To: at(deep, 1), Map: func(k int) []int {
			ix := make([]int, b*b)
			for j := range ix {
				if crd {
					ix[j] = k*b*b + j
				} else {
					ix[j] = j*c + k
				}
			}
			return ix
		}},
	}
}
