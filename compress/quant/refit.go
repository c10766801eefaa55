package quant

import (
	"context"
	"errors"
	"fmt"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/train"
)

// Refit repairs a network after any other method, without training: layer by layer, from the
// input on, what is left of the weights is solved for once more, so that the layer's outputs are
// those that the float model has there, while its inputs are those that the compressed
// layers before it give (as T.-J. Yang et al.: Designing energy-efficient convolutional neural networks,
// 2017, section 3.4, and Y. He, X. Zhang, J. Sun: Channel pruning, 2017, section 3.2, do for pruned
// layers). Weights that are held as levels or by a codebook stay; their biases are fitted.
//
// It deviates in that the distance from the weights as they are costs too, and how much follows from
// images that were not fitted to: where inputs are few the layer hardly moves.
var Refit = &method.Method{
	Name: "refit",
	Doc:  "fits what is left of each layer, and biases, to the float model's outputs; trains nothing",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "weights", Kind: method.Bool, Default: true, Doc: "fit weights too, not only biases"},
		{Name: "images", Kind: method.Int, Default: 256, Min: 4, Max: 1e5, Doc: "images of the training part that are looked at, without their labels; a quarter judges"},
		fit.RowsParam,
	},
	Apply: refit,
}

// shares are what refit tries as the cost of moving weights, of the mean of H's diagonal.
var shares = []float64{1e-3, 1e-2, 1e-1, 1}

func refit(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	if s.Train == nil || s.Train.Len() < 4 {
		return errors.New("refit: it takes at least 4 images")
	}
	foldNorms(s)
	n := min(a.Int("images"), s.Train.Len())
	look, err := looking(ctx, s, a, n)
	if err != nil {
		return fmt.Errorf("refit: %w", err)
	}
	for i, l := range layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := refitLayer(s, l, a, func(r fit.Rows) ([2]*stat.Patches, error) { return look(l, r) }); errors.Is(err, fit.ErrUnsuited) {
			s.Tell(method.Event{Stage: "layers", Message: err.Error()})
		} else if err != nil {
			return fmt.Errorf("refit: layer %s: %w", l.Name, err)
		}
		s.Tell(method.Event{Stage: "refit", Message: l.Name, Done: float64(i + 1), Total: float64(len(layers))})
	}
	return stage(ctx, s, "refitted")
}

// part is some of a dataset's samples.
type part struct {
	train.Dataset
	from, n int
}

func (p part) Len() int { return p.n }

func (p part) Hash(i int) [32]byte { return p.Dataset.Hash(p.from + i) }

func (p part) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	at := make([]int, len(idx))
	for i, k := range idx {
		at[i] = p.from + k
	}
	return p.Dataset.Read(ctx, at, x, y)
}

// looking is what sums a layer's inputs, and outputs of the float model, over n images: those that are fitted to, and those
// that judge. Layers come in order. Where all images fit into memory both models are gone through once, else from the input on for every layer.
func looking(ctx context.Context, s *method.State, a method.Args, n int) (func(*method.Layer, fit.Rows) ([2]*stat.Patches, error), error) {
	held := max(1, n/4)
	for _, g := range []*graph.Graph{s.Graph, s.Float} {
		m, err := fitting(g, s.Train, n)
		if err != nil {
			return nil, err
		}
		if m == n {
			continue
		}
		return func(l *method.Layer, _ fit.Rows) (sums [2]*stat.Patches, err error) {
			for i, ds := range []train.Dataset{part{s.Train, 0, n - held}, part{s.Train, n - held, held}} {
				c := *s
				c.Train = ds
				if sums[i], err = fit.Against(ctx, &c, l, fit.Options{Images: ds.Len(), Rows: a.Int("rows")}); err != nil {
					break
				}
			}
			return sums, err
		}, nil
	}
	base, err := newWalk(ctx, s.Float, s.Train, n, s.Threads)
	if err != nil {
		return nil, err
	}
	now, err := newWalk(ctx, s.Graph, s.Train, n, s.Threads)
	if err != nil {
		return nil, err
	}
	return func(l *method.Layer, r fit.Rows) (sums [2]*stat.Patches, err error) {
		rows := a.Int("rows")
		if rows == 0 {
			rows = max(16*r.K, 16384)
		}
		for i := range sums {
			if sums[i], err = patches(l, r, rows, n, s.Threads); err != nil {
				return sums, err
			}
		}
		return sums, against(ctx, base, now, s.Float, s.Graph, l, s.Left[l.Weight.Value.Name], sums)
	}, nil
}

// patches is the observer of a layer's inputs that takes so many rows of so many images.
func patches(l *method.Layer, r fit.Rows, rows, images, threads int) (*stat.Patches, error) {
	p := &stat.Patches{Groups: r.Groups, PerSample: (rows + images - 1) / images, Threads: threads}
	if l.Node.Op == "Conv" {
		w, err := stat.WindowOf(l.Node)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Name, err)
		}
		p.Window = w
	}
	return p, nil
}

func refitLayer(s *method.State, l *method.Layer, a method.Args, look func(fit.Rows) ([2]*stat.Patches, error)) error {
	r, err := fit.RowsOf(l)
	if err != nil {
		return err
	}
	if y := s.Float.Find(l.Node.Out[0].Name); y == nil || y.Kind != graph.Computed {
		return fmt.Errorf("%w: the float model has no value %q", fit.ErrUnsuited, l.Node.Out[0].Name)
	}
	sums, err := look(r) // of the images that are fitted to, and of those that judge
	if err != nil {
		return err
	}
	for _, p := range sums {
		if p.Rows == 0 || p.Columns() != r.K {
			return fmt.Errorf("inputs of %d columns in %d rows, the weight has %d", p.Columns(), p.Rows, r.K)
		}
		if p.Outs != r.N {
			return fmt.Errorf("%w: %d outputs, the float model has %d", fit.ErrUnsuited, r.N, p.Outs)
		}
	}
	bias := biasOf(l, r.N)
	free := a.Bool("weights") && l.Weight.As == nil && l.Weight.Centroids == nil && sums[0].Blocks() == 1
	x := append([]float32(nil), l.Weight.Data()...)
	y := append([]float32(nil), bias...)
	each := r.N / r.Groups
	for g := range r.Groups {
		q := &squares{n: each, k: r.K, bias: bias != nil}
		q.cur, q.b, q.stay = make([]float64, each*r.K), make([]float64, each), make([]bool, each*r.K)
		for o := range each {
			if q.bias {
				q.b[o] = float64(bias[g*each+o])
			}
			for k := range r.K {
				e := r.At(g*each+o, k)
				q.cur[o*r.K+k] = float64(l.Weight.Data()[e])
				q.stay[o*r.K+k] = l.Weight.Kept(e)
			}
		}
		for i := range sums {
			q.add(i, sums[i], g, each)
		}
		w, b, err := q.solve(free, s.Threads)
		if err != nil {
			return err
		}
		for o := range each {
			if q.bias {
				y[g*each+o] = float32(b[o])
			}
			for k := range r.K {
				x[r.At(g*each+o, k)] = float32(w[o*r.K+k])
			}
		}
	}
	if free {
		l.Weight.Set(x)
	}
	if bias != nil {
		setBias(s.Graph, l.Node, l, y)
	}
	return nil
}

// squares is the least squares of a group of rows: targets y against w x + b.
type squares struct {
	n, k   int
	bias   bool      // b may move
	cur, b []float64 // as they are, [n,k] and [n]
	stay   []bool
	blocks [2][]stat.Moments // by columns
	ysum   [2][]float64
	ysq    [2][]float64
	rows   [2]float64
}

func (q *squares) add(i int, p *stat.Patches, g, each int) {
	q.blocks[i] = p.Parts[g*p.Blocks() : (g+1)*p.Blocks()]
	q.ysum[i], q.ysq[i] = p.YSum[g*each:(g+1)*each], p.YSq[g*each:(g+1)*each]
	q.rows[i] = float64(p.Rows)
}

// fitted is the b that is best for w on the images that are fitted to.
func (q *squares) fitted(w []float64) []float64 {
	b := append([]float64(nil), q.b...)
	if !q.bias {
		return b
	}
	for o := range b {
		sum := q.ysum[0][o]
		for _, m := range q.blocks[0] {
			for k, v := range m.Sum {
				sum -= float64(w[o*q.k+m.From+k] * v)
			}
		}
		b[o] = sum / q.rows[0]
	}
	return b
}

// errors are Σ (y - w x - b)² of each row over part i, of columns in one block.
func (q *squares) errors(i int, w, b []float64, threads int) []float64 {
	e := make([]float64, q.n)
	parallel(q.n, threads, func(o int) {
		sum := q.ysq[i][o] - float64(2*b[o]*q.ysum[i][o]) + float64(b[o]*b[o]*q.rows[i])
		m, row := q.blocks[i][0], w[o*q.k:(o+1)*q.k]
		sum += fit.Quadratic(m.G, m.K, row)
		for k, v := range row {
			sum += float64(2*v) * (float64(b[o]*m.Sum[k]) - m.Cross[o*m.K+k])
		}
		e[o] = max(0, sum)
	})
	return e
}

func total(e []float64) (sum float64) {
	for _, v := range e {
		sum += v
	}
	return sum
}

// solve is the best rows: of several costs of moving the one that the held images like
// most. A row is moved only if all images together like it.
func (q *squares) solve(free bool, threads int) (w, b []float64, err error) {
	if len(q.blocks[0]) > 1 { // only what the mean says
		return q.cur, q.fitted(q.cur), nil
	}
	now := [2][]float64{q.errors(0, q.cur, q.b, threads), q.errors(1, q.cur, q.b, threads)}
	w, b = q.cur, q.b
	least := total(now[1])
	try := func(tw, tb []float64) {
		if e := total(q.errors(1, tw, tb, threads)); e < least {
			w, b, least = tw, tb, e
		}
	}
	try(q.cur, q.fitted(q.cur))
	if free {
		m := q.blocks[0][0]
		h, rhs := append([]float64(nil), m.G...), append([]float64(nil), m.Cross...)
		if q.bias {
			for i, v := range m.Sum {
				mean := v / q.rows[0]
				for j, u := range m.Sum {
					h[i*m.K+j] -= float64(mean * u)
				}
				h[i*m.K+i] = max(0, h[i*m.K+i])
				for o := range q.n {
					rhs[o*m.K+i] -= float64(mean * q.ysum[0][o])
				}
			}
		}
		for _, share := range shares {
			p := fit.NewProblem(h, q.cur, q.k, share, threads)
			target := make([]float64, len(rhs))
			for e, v := range rhs {
				i := e % q.k
				target[e] = v + float64((p.Damped[i*q.k+i]-h[i*q.k+i])*q.cur[e])
			}
			tw, err := p.Solve(target, q.cur, q.stay)
			if errors.Is(err, fit.ErrSingular) {
				continue // it takes more damping
			}
			if err != nil {
				return nil, nil, err
			}
			for e, v := range tw { // as it is held
				tw[e] = float64(float32(v))
			}
			try(tw, q.fitted(tw))
		}
	}
	a, c := q.errors(0, w, b, threads), q.errors(1, w, b, threads)
	w, b = append([]float64(nil), w...), append([]float64(nil), b...)
	for o := range q.n {
		if !(a[o]+c[o] <= now[0][o]+now[1][o]) {
			copy(w[o*q.k:(o+1)*q.k], q.cur[o*q.k:(o+1)*q.k])
			b[o] = q.b[o]
		}
	}
	return w, b, nil
}
