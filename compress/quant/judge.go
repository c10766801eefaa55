package quant

import (
	"context"
	"fmt"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// judge says how far what a model gives is from what another one gives, on images of the training part.
type judge struct {
	x       []*tensor.Tensor // batch by batch
	want    [][]*tensor.Tensor
	alike   bool // samples count alike, however little they give
	threads int
}

// judged is how many elements of input a judge looks at: about a million.
const judged = 1 << 20

// newJudge compares with g on up to so many images.
func newJudge(ctx context.Context, s *method.State, g *graph.Graph, images int) (*judge, error) {
	size := max(1, tensor.Shape(s.Train.Shape()).NumElements())
	images = min(images, s.Train.Len(), max(8, judged/size))
	w, err := newWalk(ctx, g, s.Train, images, s.Threads)
	if err != nil {
		return nil, err
	}
	j := &judge{alike: s.Metric == method.Cosine, threads: s.Threads}
	for _, b := range w.live {
		j.x = append(j.x, b[w.first])
	}
	return j, j.run(ctx, g, func(_ int, outs []*tensor.Tensor) {
		for i, t := range outs {
			outs[i] = t.Clone()
		}
		j.want = append(j.want, outs)
	})
}

// run shows f what g gives, batch by batch; the tensors are valid during the call.
func (j *judge) run(ctx context.Context, g *graph.Graph, f func(batch int, outs []*tensor.Tensor)) error {
	g, _ = g.Clone()
	if d := g.Inputs[0].Decl; d.Ranked && len(d.Dims) > 0 {
		d.Dims[0].Size = -1 // it may have been made for one image
	}
	p, err := plan.NewProgram(g, plan.Options{Threads: j.threads})
	if err != nil {
		return err
	}
	var s *plan.Session
	in := g.Inputs[0].Name
	for b, x := range j.x {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b == 0 || !x.Shape.Equal(j.x[b-1].Shape) {
			pl, err := p.Plan(map[string]tensor.Type{in: x.Type})
			if err != nil {
				return err
			}
			if s, err = pl.NewSession(); err != nil {
				return err
			}
		}
		copy(s.Input(in).Bytes(), x.Bytes())
		if err := s.Run(ctx); err != nil {
			return err
		}
		var outs []*tensor.Tensor
		for _, v := range g.Outputs {
			t := s.Output(v.Name)
			if t == nil || t.DType != tensor.Float32 {
				return fmt.Errorf("output %q is no float32", v.Name)
			}
			outs = append(outs, t)
		}
		f(b, outs)
	}
	return nil
}

// far is the squared error of each output of g, as a share of its squares; of at most 1 a sample where these count
// alike.
func (j *judge) far(ctx context.Context, g *graph.Graph) ([]float64, error) {
	off, on := make([]float64, len(g.Outputs)), make([]float64, len(g.Outputs))
	var err error
	if e := j.run(ctx, g, func(b int, outs []*tensor.Tensor) {
		for o, t := range outs {
			got, want := tensor.Of[float32](t), tensor.Of[float32](j.want[b][o])
			if len(got) != len(want) {
				err = fmt.Errorf("output %d is %v, want %v", o, t.Shape, j.want[b][o].Shape)
				return
			}
			n := t.Shape[0]
			each := len(got) / max(1, n)
			for i := range n {
				var d, y float64
				for k := i * each; k < (i+1)*each; k++ {
					e, v := float64(got[k])-float64(want[k]), float64(want[k])
					d, y = d+float64(e*e), y+float64(v*v)
				}
				if j.alike {
					if y > 0 && d < y {
						d /= y
					} else if d > 0 {
						d = 1
					}
					y = 1
				}
				off[o], on[o] = off[o]+d, on[o]+y
			}
		}
	}); e != nil {
		return nil, e
	}
	for o := range off {
		if on[o] > 0 {
			off[o] /= on[o]
		}
		if off[o] != off[o] {
			off[o] = 1
		}
	}
	return off, err
}

// worst is the largest of distances.
func worst(far []float64) float64 { return slices.Max(append([]float64{0}, far...)) }

// through is a copy of g in which the values named go through the levels of a grid before anyone reads them.
func through(g *graph.Graph, names []string, r Grid) *graph.Graph {
	c, _ := g.Clone()
	uses, call := c.Uses(), namesOf(c)
	for _, name := range names {
		v := c.Find(name)
		q, dq := call.both(r, v)
		var first *graph.Node
		for _, u := range uses[v] {
			if u.Node == nil {
				continue // an output of the model is not seen by layers
			}
			u.Node.In[u.Index] = dq.Out[0]
			if first == nil || slices.Index(c.Nodes, u.Node) < slices.Index(c.Nodes, first) {
				first = u.Node
			}
		}
		if first != nil {
			c.Before(first, q)
			c.Before(first, dq)
		}
	}
	return c
}
