package compress

import (
	"context"
	"slices"
	"time"

	"whit/compress/search"
	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// millis times one inference of g: the median of its runs' ratios to runs of the model as it came, in turn, so that
// what else the machine does weighs less.
func (r *run) millis(ctx context.Context, g *graph.Graph) (float64, error) {
	s, err := r.session(ctx, g)
	if err != nil {
		return 0, err
	}
	return r.beside(ctx, func(int) (time.Duration, error) {
		t := time.Now()
		err := s.Run(ctx)
		return time.Since(t), err
	})
}

// beside is the median of what now takes, in ms, in turn with the model as it came.
func (r *run) beside(ctx context.Context, now func(k int) (time.Duration, error)) (float64, error) {
	var err error
	if r.dense == nil {
		if r.dense, err = r.session(ctx, r.g); err != nil {
			return 0, err
		}
	}
	var ratios []float64
	began := time.Now()
	for k := 0; k < 5 || time.Since(began) < 400*time.Millisecond && k < 200; k++ {
		t := time.Now()
		if err := r.dense.Run(ctx); err != nil {
			return 0, err
		}
		dense := time.Since(t)
		d, err := now(k)
		if err != nil {
			return 0, err
		}
		if k > 1 { // the first runs pack
			ratios = append(ratios, float64(d)/float64(dense))
			r.denseMs = append(r.denseMs, float64(dense)/float64(time.Millisecond))
		}
	}
	return median(ratios) * median(r.denseMs), nil
}

// session runs g on one sample.
func (r *run) session(ctx context.Context, g *graph.Graph) (*plan.Session, error) {
	p, err := plan.NewProgram(g, plan.Options{Threads: r.o.Threads})
	if err != nil {
		return nil, err
	}
	in := g.Inputs[0]
	t := tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{1}, r.state.Train.Shape()...)}
	pl, err := p.Plan(map[string]tensor.Type{in.Name: t})
	if err != nil {
		return nil, err
	}
	s, err := pl.NewSession()
	if err != nil {
		return nil, err
	}
	return s, r.state.Train.Read(ctx, []int{0}, tensor.Of[float32](s.Input(in.Name)), nil)
}

// nodes times the nodes of g: the least of some runs, scaled so that they sum to what the whole takes.
func (r *run) nodes(ctx context.Context, g *graph.Graph) (search.NodeTimes, error) {
	nt := search.NodeTimes{Ms: map[string]float64{}}
	s, err := r.session(ctx, g)
	if err != nil {
		return nt, err
	}
	infos := s.Plan().Nodes()
	least, now := make([]time.Duration, len(infos)), make([]time.Duration, len(infos))
	all, err := r.beside(ctx, func(k int) (time.Duration, error) {
		clear(now)
		if err := s.RunTimed(ctx, now); err != nil {
			return 0, err
		}
		total := time.Duration(0)
		for i, d := range now {
			if total += d; k < 3 || d < least[i] { // the first runs pack
				least[i] = d
			}
		}
		return total, nil
	})
	if err != nil {
		return nt, err
	}
	sum := time.Duration(0)
	for _, d := range least {
		sum += d
	}
	turns := 0
	for i, n := range infos {
		ms := all * float64(least[i]) / float64(max(1, sum))
		nt.Ms[n.Node] += ms
		if n.Op == "QuantizeLinear" || n.Op == "DequantizeLinear" {
			nt.Turn, turns = nt.Turn+ms, turns+1
		}
	}
	nt.Turn /= float64(max(1, turns))
	return nt, nil
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}
