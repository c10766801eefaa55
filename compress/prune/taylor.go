package prune

import (
	"context"
	"fmt"
	"math"

	"whit/graph"
	"whit/internal/kern"
	"whit/plan"
	"whit/tensor"
	"whit/train"
)

// taylorBatch is how many images run together: forward values stay for the way back.
const taylorBatch = 16

// taylor is, where channels are read, the mean over the images of |Σ activation · gradient of the
// cross-entropy|, with the labels of the training part, which are the float model's where
// the data have none.
func (c *cutter) taylor(ctx context.Context, images int) ([]source, error) {
	var src []source
	var names []string
	seen := map[Place]bool{}
	for _, r := range readers(c.s.Graph, c.y.types) {
		if !seen[r.x] && c.y.types[r.x.Value].DType == tensor.Float32 && r.x.Value.Kind == graph.Computed {
			seen[r.x] = true
			names = append(names, r.x.Value.Name)
			src = append(src, source{r.x, make([]float64, c.y.size(r.x))})
		}
	}
	back, err := train.Response(c.s.Graph, c.s.Train.Shape(), taylorBatch, []int{0}, names, names)
	if err != nil {
		return nil, err
	}
	fwd, err := plan.NewProgram(c.s.Graph, plan.Options{Threads: c.s.Threads})
	if err != nil {
		return nil, err
	}
	bwd, err := plan.NewProgram(back, plan.Options{Threads: c.s.Threads})
	if err != nil {
		return nil, err
	}
	in, out := c.s.Graph.Inputs[0].Name, c.s.Graph.Outputs[0].Name
	total := min(images, c.s.Train.Len())
	for at := 0; at < total; at += taylorBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(taylorBatch, total-at)
		x := tensor.New(tensor.Float32, append([]int{n}, c.s.Train.Shape()...)...)
		idx, y := make([]int, n), make([]int32, n)
		for i := range idx {
			idx[i] = at + i
		}
		if err := c.s.Train.Read(ctx, idx, tensor.Of[float32](x), y); err != nil {
			return nil, err
		}
		session := func(p *plan.Program, types map[string]tensor.Type) (*plan.Session, error) {
			types[in] = x.Type
			pl, err := p.Plan(types)
			if err != nil {
				return nil, err
			}
			s, err := pl.NewSession()
			if err != nil {
				return nil, err
			}
			copy(s.Input(in).Bytes(), x.Bytes())
			return s, nil
		}
		f, err := session(fwd, map[string]tensor.Type{})
		if err != nil {
			return nil, err
		}
		if err := f.Run(ctx); err != nil {
			return nil, err
		}
		z := f.Output(out)
		if len(z.Shape) != 2 {
			return nil, fmt.Errorf("taylor: output %q is %v, want logits [N,C]", out, z.Type)
		}
		b, err := session(bwd, map[string]tensor.Type{train.SeedName(0): z.Type})
		if err != nil {
			return nil, err
		}
		seed, k := tensor.Of[float32](b.Input(train.SeedName(0))), z.Shape[1]
		for i := range n {
			lossGradient(seed[i*k:][:k], tensor.Of[float32](z)[i*k:][:k], int(y[i]))
		}
		if err := b.Run(ctx); err != nil {
			return nil, err
		}
		for i, sc := range src {
			v, d := b.Output(names[i]), b.Output(names[i]+":response")
			s := v.Shape
			outer, ch, inner := s[1:max(1, sc.Axis)].NumElements(), s[sc.Axis], s[sc.Axis+1:].NumElements()
			a, g := tensor.Of[float32](v), tensor.Of[float32](d)
			for img := range s[0] {
				for o := range ch {
					sum := 0.0
					for r := range outer {
						from := ((img*outer+r)*ch + o) * inner
						for e := from; e < from+inner; e++ {
							sum += float64(a[e]) * float64(g[e])
						}
					}
					sc.score[o] += math.Abs(sum)
				}
			}
		}
	}
	return src, nil
}

// lossGradient is the gradient of the cross-entropy: softmax(z) less the label; -1 takes the decision as the label.
func lossGradient(dst, z []float32, label int) {
	top, best := float32(math.Inf(-1)), 0
	for i, v := range z {
		if v > top {
			top, best = v, i
		}
	}
	if label < 0 || label >= len(z) {
		label = best
	}
	sum := 0.0
	for i, v := range z {
		dst[i] = kern.Exp(v - top)
		sum += float64(dst[i])
	}
	for i := range dst {
		dst[i] = float32(float64(dst[i]) / sum)
	}
	dst[label]--
}
