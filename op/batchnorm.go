package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// BatchNormalization of x [N,C,...] (or [N]: one channel) is, for every channel,
//
//	y = scale·(x - mean)/sqrt(var + epsilon) + bias
//
// with the inputs mean and var; or, with training_mode 1, with the mean and the
// population variance of x over all axes but the channels', and then the optional
// outputs 1 and 2 are the running statistics, momentum·old + (1-momentum)·current.
// Scale and bias may have another float type than x, and mean and var a third.
func init() {
	Register(Op{
		Name:  "BatchNormalization",
		Infer: inferBatchNorm,
		Ref:   refBatchNorm,
		VJP:   vjpBatchNorm,
		Channels: func(n *graph.Node) []Coupling {
			if len(n.In[0].Type.Shape) < 2 {
				return nil
			}
			cs := passLeading(n)
			if n.Int("training_mode", 0) != 0 {
				cs = cs[1:] // the statistics mix the batch
			}
			for i := 1; i <= 4; i++ {
				cs = append(cs, Coupling{From: Port{Axis: 1}, To: Port{Index: i}})
			}
			for i := 1; i < len(n.Out); i++ {
				cs = append(cs, Coupling{From: Port{Axis: 1}, To: Port{Out: true, Index: i}})
			}
			return cs
		},
	})
	// BatchNormalizationGrad gives dx, dscale and dbias. Inputs dy, x and scale, and
	// where training_mode is 0 also mean and var, which are then taken as constants.
	Register(Op{
		Domain: graph.Domain, Name: "BatchNormalizationGrad",
		Infer: inferBatchNormGrad,
		Ref:   refBatchNormGrad,
	})
}

// batchNormChannels is the number of channels and of elements in a row of one.
func batchNormChannels(x tensor.Shape) (channels, inner int) {
	if len(x) < 2 {
		return 1, 1
	}
	return x[1], x[2:].NumElements()
}

// perChannel checks that the inputs are vectors of c.
func perChannel(n *graph.Node, c int, inputs ...int) error {
	for _, i := range inputs {
		if s := n.In[i].Type.Shape; !s.Equal(tensor.Shape{c}) {
			return Errorf(n, "input %d has shape %v, want [%d]", i, s, c)
		}
	}
	return nil
}

func inferBatchNorm(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 5, 5, Floats...); err != nil {
		return nil, err
	}
	x, train := n.In[0].Type, n.Int("training_mode", 0) != 0
	c, _ := batchNormChannels(x.Shape)
	switch {
	case len(x.Shape) < 1:
		return nil, Errorf(n, "x is a scalar")
	case train && x.Shape.NumElements() == 0:
		return nil, Errorf(n, "training on an empty batch %v", x.Shape)
	}
	if err := perChannel(n, c, 1, 2, 3, 4); err != nil {
		return nil, err
	}
	if err := oneType(n, 1, 2); err != nil {
		return nil, err
	}
	if err := oneType(n, 3, 4); err != nil {
		return nil, err
	}
	if !train {
		return []tensor.Type{x}, nil
	}
	return []tensor.Type{x, n.In[3].Type, n.In[4].Type}, nil
}

// batchStats is the mean and population variance of every channel of x.
func batchStats(x []float64, c, inner int) (mean, variance []float64) {
	mean, variance = make([]float64, c), make([]float64, c)
	count := float64(len(x) / max(1, c))
	for i, v := range x {
		mean[i/inner%c] += v
	}
	for i := range mean {
		mean[i] /= count
	}
	for i, v := range x {
		d := v - mean[i/inner%c]
		variance[i/inner%c] += d * d
	}
	for i := range variance {
		variance[i] /= count
	}
	return mean, variance
}

func refBatchNorm(n *graph.Node, in, out []*tensor.Tensor) error {
	x, scale, bias, mean, variance := wide(in[0]), wide(in[1]), wide(in[2]), wide(in[3]), wide(in[4])
	c, inner := batchNormChannels(in[0].Shape)
	if n.Int("training_mode", 0) != 0 {
		m, v := batchStats(x, c, inner)
		keep := float64(n.Float("momentum", 0.9))
		for k, stat := range [][2][]float64{{mean, m}, {variance, v}} {
			if len(out) <= k+1 || out[k+1] == nil {
				continue
			}
			run := make([]float64, c)
			for i := range run {
				run[i] = keep*stat[0][i] + (1-keep)*stat[1][i]
			}
			narrow(out[k+1], run)
		}
		mean, variance = m, v
	}
	if out[0] == nil {
		return nil
	}
	y, eps := make([]float64, len(x)), float64(n.Float("epsilon", 1e-5))
	for i, v := range x {
		k := i / inner % c
		y[i] = scale[k]*(v-mean[k])/math.Sqrt(variance[k]+eps) + bias[k]
	}
	narrow(out[0], y)
	return nil
}

func vjpBatchNorm(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	d := make([]*graph.Value, 5)
	if grads[0] == nil {
		return d, nil
	}
	attrs := map[string]any{"epsilon": n.Float("epsilon", 1e-5), "training_mode": n.Int("training_mode", 0)}
	in := []*graph.Value{grads[0], n.In[0], n.In[1]}
	if n.Int("training_mode", 0) == 0 {
		in = append(in, n.In[3], n.In[4])
	}
	copy(d, g.AddN(graph.Domain, "BatchNormalizationGrad", attrs, 3, in...))
	return d, nil
}

func inferBatchNormGrad(n *graph.Node) ([]tensor.Type, error) {
	want := 5
	if n.Int("training_mode", 0) != 0 {
		want = 3
	}
	if err := Want(n, want, want, Floats...); err != nil {
		return nil, err
	}
	x, s := n.In[1].Type, n.In[2].Type
	if len(x.Shape) < 1 || !n.In[0].Type.Equal(x) {
		return nil, Errorf(n, "dy is %v, x is %v", n.In[0].Type, x)
	}
	c, _ := batchNormChannels(x.Shape)
	if err := perChannel(n, c, []int{2, 3, 4}[:want-2]...); err != nil {
		return nil, err
	}
	return []tensor.Type{x, s, s}, nil
}

func refBatchNormGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, x, scale := wide(in[0]), wide(in[1]), wide(in[2])
	c, inner := batchNormChannels(in[1].Shape)
	train := n.Int("training_mode", 0) != 0
	var mean, variance []float64
	if train {
		mean, variance = batchStats(x, c, inner)
	} else {
		mean, variance = wide(in[3]), wide(in[4])
	}
	inv, eps := make([]float64, c), float64(n.Float("epsilon", 1e-5))
	for i, v := range variance {
		inv[i] = 1 / math.Sqrt(v+eps)
	}
	dx, ds, db := make([]float64, len(x)), make([]float64, c), make([]float64, c)
	for i, v := range dy {
		k := i / inner % c
		ds[k] += v * (x[i] - mean[k]) * inv[k]
		db[k] += v
	}
	count := float64(len(x) / max(1, c))
	for i, v := range dy {
		k := i / inner % c
		if train {
			v -= (db[k] + (x[i]-mean[k])*inv[k]*ds[k]) / count
		}
		dx[i] = v * scale[k] * inv[k]
	}
	narrow(out[0], dx)
	if len(out) > 1 {
		narrow(out[1], ds)
	}
	if len(out) > 2 {
		narrow(out[2], db)
	}
	return nil
}
