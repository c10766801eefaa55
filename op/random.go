package op

import (
	"hash/fnv"
	"math"

	"whit/graph"
	"whit/tensor"
)

// The operators that draw random numbers. Element i of a node's output is a
// function of the attribute seed (0 where it is absent), the node's name and i, by
// the generator of [Random]: every run draws the same numbers, two nodes other ones.
func init() {
	type draw = func(n *graph.Node, u draws, y []float64)
	uniform := func(n *graph.Node, u draws, y []float64) {
		lo, hi := float64(n.Float("low", 0)), float64(n.Float("high", 1))
		for i := range y {
			y[i] = lo + (hi-lo)*u.unit(i)
		}
	}
	// Box and Muller, "A note on the generation of random normal deviates", 1958.
	normal := func(n *graph.Node, u draws, y []float64) {
		mean, dev := float64(n.Float("mean", 0)), float64(n.Float("scale", 1))
		for i := range y {
			r := math.Sqrt(-2 * math.Log(1-u.unit(2*i)))
			y[i] = mean + dev*r*math.Cos(2*math.Pi*u.unit(2*i+1))
		}
	}
	fill := func(f draw) ref {
		return func(n *graph.Node, _, out []*tensor.Tensor) error {
			y := make([]float64, out[0].Len())
			f(n, drawsOf(n), y)
			narrow(out[0], y)
			return nil
		}
	}
	none := func(_ *graph.Graph, n *graph.Node, _ []*graph.Value) ([]*graph.Value, error) {
		return make([]*graph.Value, len(n.In)), nil
	}
	for name, f := range map[string]draw{"RandomUniform": uniform, "RandomNormal": normal} {
		// The attribute shape is the output's.
		Register(Op{
			Name: name, Random: true, Ref: fill(f), VJP: none,
			Infer: func(n *graph.Node) ([]tensor.Type, error) {
				if err := Want(n, 0, 0); err != nil {
					return nil, err
				}
				dims := n.Ints("shape")
				if len(dims) > tensor.MaxRank {
					return nil, Unsupported(n, "rank %d", len(dims))
				}
				s := make(tensor.Shape, len(dims))
				for i, d := range dims {
					if d < 0 || d > math.MaxInt32 {
						return nil, Errorf(n, "shape %v", dims)
					}
					s[i] = int(d)
				}
				d, err := dtypeAttr(n, tensor.Float32, Floats)
				return []tensor.Type{{DType: d, Shape: s}}, err
			},
		})
		// The output has the input's shape and, without the attribute dtype, its type.
		Register(Op{
			Name: name + "Like", Random: true, Ref: fill(f), VJP: none,
			Infer: func(n *graph.Node) ([]tensor.Type, error) {
				if err := Want(n, 1, 1, AnyType...); err != nil {
					return nil, err
				}
				d, err := dtypeAttr(n, n.In[0].Type.DType, Floats)
				return []tensor.Type{{DType: d, Shape: n.In[0].Type.Shape}}, err
			},
		})
	}
	// Bernoulli gives 1 with the probability that the input says, else 0.
	Register(Op{
		Name: "Bernoulli", Random: true, VJP: none,
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, Floats...); err != nil {
				return nil, err
			}
			d, err := dtypeAttr(n, n.In[0].Type.DType, AnyType)
			return []tensor.Type{{DType: d, Shape: n.In[0].Type.Shape}}, err
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			u, ones := drawsOf(n), make([]uint8, out[0].Len())
			for i, p := range wide(in[0]) {
				if u.unit(i) < p {
					ones[i] = 1
				}
			}
			castTo(out[0], tensor.From(ones, out[0].Shape...), castOptions{})
			return nil
		},
	})
	// Multinomial draws sample_size classes for each row of unnormalised
	// log-probabilities [N,classes]: y [N,sample_size], by inversion of the sums.
	Register(Op{
		Name: "Multinomial", Random: true, VJP: none,
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, Floats...); err != nil {
				return nil, err
			}
			x, k := n.In[0].Type.Shape, n.Int("sample_size", 1)
			if len(x) != 2 || x[1] < 1 || k < 1 || k > math.MaxInt32 {
				return nil, Errorf(n, "%d samples of %v, want a matrix with classes and at least one sample", k, x)
			}
			d, err := dtypeAttr(n, tensor.Int32, indexTypes)
			return []tensor.Type{{DType: d, Shape: tensor.Shape{x[0], int(k)}}}, err
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			classes, k := in[0].Shape[1], out[0].Shape[1]
			x, y, u := wide(in[0]), make([]int64, out[0].Len()), drawsOf(n)
			sums := make([]float64, classes)
			for r := range in[0].Shape[0] {
				top := math.Inf(-1)
				for _, v := range x[r*classes:][:classes] {
					top = max(top, v)
				}
				var sum float64
				for c, v := range x[r*classes:][:classes] {
					sum += math.Exp(v - top)
					sums[c] = sum
				}
				for i := r * k; i < (r+1)*k; i++ {
					at := u.unit(i) * sum
					for y[i] = 0; int(y[i]) < classes-1 && !(at < sums[y[i]]); y[i]++ {
					}
				}
			}
			castTo(out[0], tensor.From(y, out[0].Shape...), castOptions{})
			return nil
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return int64(n.Out[0].Type.Shape.NumElements()) * int64(n.In[0].Type.Shape[1]), IOBytes(n)
		},
	})
}

// dtypeAttr is the element type that attribute dtype names, def without it.
func dtypeAttr(n *graph.Node, def tensor.DType, allowed []tensor.DType) (tensor.DType, error) {
	d := def
	if _, ok := n.Attrs["dtype"]; ok {
		d = tensor.FromONNX(n.Int("dtype", 0))
	}
	for _, a := range allowed {
		if a == d {
			return d, nil
		}
	}
	return d, Unsupported(n, "output type %v", d)
}

// draws is one node's sequence of random numbers.
type draws struct{ seed, stream uint64 }

func drawsOf(n *graph.Node) draws {
	h := fnv.New64a()
	h.Write([]byte(n.Name))
	return draws{uint64(math.Float32bits(n.Float("seed", 0))), h.Sum64()}
}

// unit is number i, in 0 (inclusive) to 1.
func (d draws) unit(i int) float64 {
	return float64(Random(d.seed, d.stream, uint64(i))>>11) / (1 << 53)
}
