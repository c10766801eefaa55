package prune

import (
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// Recalibrate repairs a compressed model without training. Where a BatchNormalization follows a
// convolution, its running mean and variance are estimated anew (Y. He, X. Zhang, J. Sun 2017 and B. Li,
// B. Wu, J. Su, G. Wang: EagleEye: fast sub-net evaluation for efficient neural network pruning, 2020, section
// 3.3); where it has been folded, the bias, and with it the scale of the filters, make the mean and
// variance of every output channel those of the float model (M. Nagel, M. van Baalen, T. Blankevoort, M.
// Welling: Data-free quantization through weight equalization and bias correction, 2019, section 4.2, from data
// as in its appendix D). Layers are repaired in order, each on inputs that the compressed and repaired
// layers before it give.
//
// It deviates in that the variance is matched too, and only of layers whose filters nothing
// quantised holds; a filter's scale changes by a factor of 2 at most.
var Recalibrate = &method.Method{
	Name: "recalibrate",
	Doc:  "estimates normalisations anew, and matches means and variances to the float model's; nothing is trained",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "match", Kind: method.String, Default: "mean", Choices: []string{"mean", "variance"}, Doc: "of layers without a normalisation: the mean of every channel, or mean and variance"},
		{Name: "images", Kind: method.Int, Default: 256, Min: 1, Max: 1e6, Doc: "images of the training part to calibrate on"},
	},
	Apply: recalibrate,
}

func recalibrate(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	uses := s.Graph.Uses()
	for i, l := range layers {
		s.Tell(method.Event{Stage: "recalibrate", Message: l.Name, Done: float64(i), Total: float64(len(layers))})
		if bn := normOf(l.Node, uses); bn != nil {
			if err := renorm(ctx, s, a, bn); err != nil {
				return err
			}
			continue
		}
		if err := rematch(ctx, s, a, l); err != nil {
			return err
		}
	}
	pruned, _, _ := s.Bytes()
	_, err = s.Stage(ctx, "recalibrated", pruned)
	return err
}

// renorm estimates the statistics of a BatchNormalization.
func renorm(ctx context.Context, s *method.State, a method.Args, bn *graph.Node) error {
	o := &spread{axis: 1}
	err := stat.Run(ctx, s.Graph, s.Train, []stat.Point{{Value: bn.In[0].Name, Observer: o}},
		stat.Options{Batch: batch(s), Samples: a.Int("images"), Threads: s.Threads})
	if err != nil {
		return err
	}
	mean, variance := o.moments()
	uses := s.Graph.Uses()
	for i, x := range [][]float64{mean, variance} {
		if v := bn.In[3+i]; len(uses[v]) == 1 {
			v.Data, v.Weight = floats(x), nil
		} else {
			bn.In[3+i] = s.Graph.NewConst("", floats(x))
		}
	}
	return nil
}

// moments are the mean and variance of each channel.
func (o *spread) moments() (mean, variance []float64) {
	n := float64(max(1, o.n))
	for k, s := range o.sum {
		m := s / n
		mean, variance = append(mean, m), append(variance, max(0, o.sq[k]/n-float64(m*m)))
	}
	return mean, variance
}

func floats(x []float64) *tensor.Tensor {
	t := tensor.New(tensor.Float32, len(x))
	for i, v := range x {
		tensor.Of[float32](t)[i] = float32(v)
	}
	return t
}

// rematch gives the layer's outputs the float model's means, and variances.
func rematch(ctx context.Context, s *method.State, a method.Args, l *method.Layer) error {
	n := l.Node
	y := s.Float.Find(n.Out[0].Name)
	if n.Op != "Conv" && n.Op != "Gemm" || y == nil || y.Kind != graph.Computed {
		return nil
	}
	if n.Op == "Gemm" && n.Input(2) != nil && n.In[2].Type.Shape.NumElements() != l.Weight.Value.Type.Shape[l.OutAxis] {
		return nil
	}
	was, now := &spread{axis: 1}, &spread{axis: 1}
	err := stat.RunAll(ctx, s.Train, stat.Options{Batch: batch(s), Samples: a.Int("images"), Threads: s.Threads},
		stat.Probe{Graph: s.Float, Points: []stat.Point{{Value: y.Name, Observer: &stat.Channels{Keep: s.Left[l.Weight.Value.Name], Axis: 1, To: was}}}},
		stat.Probe{Graph: s.Graph, Points: []stat.Point{{Value: n.Out[0].Name, Observer: now}}})
	if err != nil {
		return err
	}
	m0, v0 := was.moments()
	m1, v1 := now.moments()
	if len(m0) != len(m1) {
		s.Refuse("recalibrating "+l.Name, fmt.Sprintf("it has %d channels, the float model's %d", len(m1), len(m0)))
		return nil
	}
	by := make([]float64, len(m0))
	for i := range by {
		by[i] = 1
		if a.String("match") == "variance" && v1[i] > 0 {
			by[i] = min(max(math.Sqrt(v0[i]/v1[i]), 0.5), 2)
		}
	}
	if l.Weight.Centroids != nil || l.Weight.As != nil {
		for i := range by {
			by[i] = 1
		}
	}
	old := make([]float32, len(by))
	if b := n.Input(2); b != nil {
		if !b.IsConst() {
			return nil
		}
		copy(old, tensor.Of[float32](b.Tensor()))
	}
	b := make([]float32, len(by))
	for i := range b {
		v := float64(old[i])*by[i] + m0[i] - float64(m1[i]*by[i])
		if b[i] = float32(v); b[i]-b[i] != 0 {
			s.Refuse("recalibrating "+l.Name, "its bias would not be finite")
			return nil
		}
	}
	if slices.Max(by) != 1 || slices.Min(by) != 1 {
		x := slices.Clone(l.Weight.Data())
		shape := l.Weight.Value.Type.Shape
		st := shape.Strides()[l.OutAxis]
		for i := range x {
			x[i] = float32(float64(x[i]) * by[i/st%len(by)])
		}
		set(&l.Weight, x)
	}
	return setBias(s, l, b)
}
