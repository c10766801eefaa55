package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// MelWeightMatrix gives the triangular filters that turn a spectrum of
// dft_length/2+1 terms into num_mel_bins bands, equally wide on the mel scale,
// 2595·log10(1 + f/700) (O'Shaughnessy: Speech Communication, 1987), between two
// frequencies: inputs num_mel_bins, dft_length, sample_rate, lower and upper edge.
func init() {
	Register(Op{
		Name: "MelWeightMatrix",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 5, 5); err != nil {
				return nil, err
			}
			var v [2]int64
			for i := range n.In {
				if i < 3 {
					if err := inputType(n, i, indexTypes); err != nil {
						return nil, err
					}
				} else if err := floatInput(n, i); err != nil {
					return nil, err
				}
				if s := n.In[i].Type.Shape; s.NumElements() != 1 {
					return nil, Errorf(n, "input %d has shape %v, want a scalar", i, s)
				}
			}
			for i := range v {
				var err error
				if v[i], err = scalarInt(n, i, 0); err != nil {
					return nil, err
				}
				if v[i] < 1 || v[i] > math.MaxInt32 {
					return nil, Errorf(n, "%d bands of a transform of %d", v[0], v[1])
				}
			}
			d := tensor.FromONNX(n.Int("output_datatype", 1))
			for _, a := range Numbers {
				if a == d {
					return []tensor.Type{{DType: d, Shape: tensor.Shape{int(v[1]/2) + 1, int(v[0])}}}, nil
				}
			}
			return nil, Unsupported(n, "output type %v", d)
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			terms, bands := out[0].Shape[0], out[0].Shape[1]
			length, rate := float64(ints64(in[1])[0]), float64(ints64(in[2])[0])
			lo, hi := mel(wide(in[3])[0]), mel(wide(in[4])[0])
			at := make([]int, bands+2)
			for i := range at {
				hertz := 700 * math.Expm1((lo+float64(i)*(hi-lo)/float64(bands+2))/2595*math.Ln10)
				p := math.Floor((length + 1) * hertz / rate)
				if !(p >= 0 && p < float64(terms)) {
					return Errorf(n, "a band's edge is at %g of %d terms", p, terms)
				}
				at[i] = int(p)
			}
			y := make([]float64, out[0].Len())
			for b := range bands {
				left, mid, right := at[b], at[b+1], at[b+2]
				if left == mid {
					y[mid*bands+b] = 1
				}
				for j := left; j <= mid && left != mid; j++ {
					y[j*bands+b] = float64(j-left) / float64(mid-left)
				}
				for j := mid; j < right; j++ {
					y[j*bands+b] = float64(right-j) / float64(right-mid)
				}
			}
			castTo(out[0], tensor.From(y, out[0].Shape...), castOptions{})
			return nil
		},
	})
}

func mel(hertz float64) float64 { return 2595 * math.Log1p(hertz/700) / math.Ln10 }
