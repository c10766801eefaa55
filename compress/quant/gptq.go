package quant

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/fit"
	"whit/compress/method"
)

// GPTQ rounds a layer's weights column by column, and makes the error of each good by the
// columns behind (E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh: GPTQ, 2022, section 3 and
// algorithm 1). Weights that are pruned stay zero.
//
// It deviates in that
//   - the bias makes good for errors in the mean: second moments are centred;
//   - what the walk gave is polished: weight by weight the best level for all others, and the
//     best scale of a channel for its levels, as long as the error falls;
//   - a row that plain rounding serves better is rounded plainly;
//   - with average, layers have different numbers of bits (see allot).
var GPTQ = &method.Method{
	Name: "gptq",
	Doc:  "rounds weights to few levels so that a layer's outputs on images stay; trains nothing",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "bits", Kind: method.PerLayer, Default: method.Uniform(4), Min: 2, Max: 8, Doc: "bits of a level, by layer or for all; layers that no pattern matches are left alone"},
		{Name: "average", Kind: method.Float, Default: 0.0, Min: 0, Max: 8, Doc: "bits that the layers have on average over their weights, each from 2 to 8 by what it alone does to the outputs; 0: as bits says"},
		{Name: "granularity", Kind: method.String, Default: "channel", Choices: []string{"tensor", "channel", "group"}, Doc: "what shares a scale: the tensor, an output channel, or groups of its inputs"},
		{Name: "group", Kind: method.Int, Default: 32, Min: 1, Max: 1 << 16, Doc: "inputs in a group"},
		{Name: "symmetric", Kind: method.Bool, Default: true, Doc: "as many levels on both sides of zero; else a zero point fits the range"},
		{Name: "order", Kind: method.String, Default: "activation", Choices: []string{"activation", "columns"}, Doc: "which columns come first: those with the largest inputs, or as they stand"},
		{Name: "polish", Kind: method.Int, Default: 4, Min: 0, Max: 100, Doc: "rounds of choosing level by level and scale by scale anew, after the walk"},
	}, calibration()...),
	Apply: gptq,
}

func gptq(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	bits := a.PerLayer("bits")
	var chosen []*method.Layer
	for _, l := range layers {
		if b, err := bitsOf(bits, l); err != nil {
			return fmt.Errorf("gptq: %w", err)
		} else if b > 0 {
			chosen = append(chosen, l)
		}
	}
	if chosen == nil {
		return fmt.Errorf("gptq: bits names none of the layers %q", a.String("layers"))
	}
	foldNorms(s)
	s.KeepBase()
	if v := a.Float("average"); v > 0 {
		if v < leastBits {
			return fmt.Errorf("gptq: %v bits on average, want at least %d", v, leastBits)
		}
		if bits, err = allot(ctx, s, chosen, v, a.Int("images"), func(s *method.State) error {
			return gptqAll(ctx, s, a, method.Uniform(tellingBits))
		}); err != nil {
			return fmt.Errorf("gptq: %w", err)
		}
	}
	if err := gptqAll(ctx, s, a, bits); err != nil {
		return fmt.Errorf("gptq: %w", err)
	}
	return stage(ctx, s, "rounded")
}

// gptqAll rounds the layers that the step and bits name.
func gptqAll(ctx context.Context, s *method.State, a method.Args, bits method.LayerValues) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	layers = slices.DeleteFunc(layers, func(l *method.Layer) bool { b, _ := bitsOf(bits, l); return b == 0 })
	var z *leveller
	begin := func(l *method.Layer) (err error) {
		b, _ := bitsOf(bits, l)
		spec := Spec{Bits: b, Symmetric: a.Bool("symmetric"), Rule: MSE}
		z = newLeveller(spec, setsOf(l, a.String("granularity"), a.Int("group")), a.String("order") == "activation", a.Int("polish"), s.Threads)
		z.fit(l.Weight.Data())
		return nil
	}
	f := func(l *method.Layer, b *block) ([]float64, error) {
		stay := b.keep
		return z.choose(b, b.p.W, stay)
	}
	return rewrite(ctx, s, layers, a, begin, f, func(l *method.Layer, x []float32) error { return z.hold(l, x) })
}

// leveller chooses the levels of one layer.
type leveller struct {
	spec    Spec
	sets    sets
	sort    bool // columns with large inputs first
	polish  int
	threads int
	set     []int32 // of an element
	grids   []Grid
}

func newLeveller(spec Spec, s sets, sort bool, polish, threads int) *leveller {
	z := &leveller{spec: spec, sets: s, sort: sort, polish: polish, threads: threads, set: make([]int32, s.shape.NumElements()), grids: make([]Grid, s.count())}
	for k := range z.grids {
		s.each(k, func(i int) { z.set[i] = int32(k) })
	}
	return z
}

// fit makes the grids those of the elements x.
func (z *leveller) fit(x []float32) {
	parallel(len(z.grids), z.threads, func(k int) { z.grids[k] = z.spec.Grid(z.sets.gather(nil, x, k)) })
}

// hold makes the layer one of the levels of x, which are values of them.
func (z *leveller) hold(l *method.Layer, x []float32) error {
	levels := make([]int32, len(x))
	for i, v := range x {
		levels[i] = z.grids[z.set[i]].Level(v)
	}
	scales, zeros := make([]float32, len(z.grids)), make([]int32, len(z.grids))
	for k, g := range z.grids {
		scales[k], zeros[k] = g.Scale, g.Zero
	}
	if z.spec.Symmetric {
		zeros = nil
	}
	w, err := z.sets.weight(levels, z.spec.Symmetric, scales, zeros)
	if err != nil {
		return err
	}
	l.Weight.Hold(w)
	return nil
}

// rows of a restricted walk have at most so many columns: what it takes grows with their cube.
const restricted = 640

// choose is levels' values for the rows of a block of which stay (nil: all) names what is not
// zero. from is where the walk begins: the block's rows, or what makes good for what is not there.
func (z *leveller) choose(b *block, from []float64, stay []bool) ([]float64, error) {
	p := b.p
	n, k := p.N, p.K
	grids := make([]*Grid, n*k)
	plain := make([]float64, n*k)
	// A channel's scale may move; sets that reach beyond a row stay.
	own := z.sets.group == 0 && z.sets.axis >= 0 && p.K == b.r.K
	for r := range n {
		g := z.grids[z.set[b.at(r, 0)]]
		for c := range k {
			e := r*k + c
			if grids[e] = &g; !own {
				grids[e] = &z.grids[z.set[b.at(r, c)]]
			}
			g := grids[e]
			if stay == nil || stay[e] {
				plain[e] = float64(g.Value(g.Level(float32(p.W[e]))))
			}
		}
	}
	w, err := z.walk(p, grids, from, stay)
	if err != nil {
		return nil, err
	}
	scales := make([]float32, n)
	parallel(n, z.threads, func(r int) {
		scales[r] = z.settle(p, r, w[r*k:(r+1)*k], grids[r*k:(r+1)*k], stay, own)
	})
	ew, ep := p.Errors(w), p.Errors(plain)
	for r := range n {
		switch {
		case !(ew[r] <= ep[r]):
			copy(w[r*k:(r+1)*k], plain[r*k:(r+1)*k])
		case own:
			z.grids[z.set[b.at(r, 0)]].Scale = scales[r]
		}
	}
	return w, nil
}

// walk rounds column by column.
func (z *leveller) walk(p *fit.Problem, grids []*Grid, from []float64, stay []bool) ([]float64, error) {
	n, k := p.N, p.K
	out := make([]float64, n*k)
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	if z.sort {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.Damped[b*k+b], p.Damped[a*k+a]) })
	}
	// Rows of few elements each have a matrix of their own.
	kept := func(r int) (c int) {
		for _, s := range stay[r*k : (r+1)*k] {
			if s {
				c++
			}
		}
		return c
	}
	var together []int
	var errs []error
	if stay == nil {
		for r := range n {
			together = append(together, r)
		}
	} else {
		errs = make([]error, n)
		alone := make([]bool, n)
		parallel(n, z.threads, func(r int) {
			c := kept(r)
			if alone[r] = c <= restricted && c < k; !alone[r] {
				return
			}
			at := make([]int, 0, c)
			for _, i := range order {
				if stay[r*k+i] {
					at = append(at, i)
				}
			}
			u := make([]float64, c*c)
			for a, i := range at {
				for d, j := range at {
					u[a*c+d] = p.Damped[i*k+j]
				}
			}
			if errs[r] = fit.InverseRoot(u, c, 1); errs[r] == nil {
				walkRows(u, at, k, from, out, grids, nil, []int{r})
			}
		})
		for r := range n {
			if errs[r] != nil {
				return nil, errs[r]
			}
			if !alone[r] {
				together = append(together, r)
			}
		}
	}
	if together == nil {
		return out, nil
	}
	u := make([]float64, k*k)
	for a, i := range order {
		for d, j := range order {
			u[a*k+d] = p.Damped[i*k+j]
		}
	}
	if err := fit.InverseRoot(u, k, z.threads); err != nil {
		return nil, err
	}
	const some = 8 // rows that share a pass over u
	parallel((len(together)+some-1)/some, z.threads, func(t int) {
		walkRows(u, order, k, p.W, out, grids, stay, together[t*some:min(len(together), (t+1)*some)])
	})
	return out, nil
}

// walkRows rounds the columns at of some rows, in their order; u is the root of the inverse of those columns.
func walkRows(u []float64, at []int, k int, from, out []float64, grids []*Grid, stay []bool, rows []int) {
	c := len(at)
	w := make([]float64, len(rows)*c)
	for i, r := range rows {
		for a, j := range at {
			w[i*c+a] = from[r*k+j]
		}
	}
	for a, j := range at {
		behind := u[a*c+a+1 : (a+1)*c]
		for i, r := range rows {
			v, q := w[i*c+a], 0.0
			if e := r*k + j; stay == nil || stay[e] {
				q = float64(grids[e].Value(grids[e].Level(float32(v))))
			}
			out[r*k+j] = q
			f := (v - q) / u[a*c+a]
			if f == 0 {
				continue
			}
			to := w[i*c+a+1 : (i+1)*c]
			for d, x := range behind[:len(to)] {
				to[d] -= float64(f * x)
			}
		}
	}
}

// settle polishes one row, and returns its scale. Where the scale is the row's own it is
// moved to where the error is least for the levels.
func (z *leveller) settle(p *fit.Problem, r int, w []float64, grids []*Grid, stay []bool, own bool) float32 {
	k := p.K
	want := p.W[r*k : (r+1)*k]
	h := p.Damped
	hd, hw := make([]float64, k), make([]float64, k) // H (w - want), H want
	for i := range k {
		row := h[i*k : (i+1)*k]
		for j, v := range row {
			hw[i] += float64(v * want[j])
			hd[i] += float64(v * (w[j] - want[j]))
		}
	}
	scale := grids[0].Scale
	for range z.polish {
		moved := false
		for i := range k {
			d := h[i*k+i]
			if stay != nil && !stay[r*k+i] || d == 0 {
				continue
			}
			best := w[i] - hd[i]/d
			q := float64(grids[i].Value(grids[i].Level(float32(best))))
			by := q - w[i]
			if by == 0 || !(float64(by*(2*hd[i]+float64(by*d))) < 0) {
				continue
			}
			w[i], moved = q, true
			for j, v := range h[i*k : (i+1)*k] {
				hd[j] += float64(by * v)
			}
		}
		if own {
			// Least squares: t w for the t with (t w - want)ᵀ H w = 0.
			up, down := 0.0, 0.0
			for i, v := range w {
				up += float64(v * hw[i])
				down += float64(v * (hd[i] + hw[i]))
			}
			if t := up / down; down > 0 && t > 0.5 && t < 2 && math.Abs(t-1) > 1e-6 {
				if c := float32(float64(scale) * t); c >= minScale {
					g := grids[0]
					next := *g
					next.Scale = c
					for i, v := range w {
						w[i] = float64(next.Value(g.Level(float32(v))))
					}
					*g = next
					scale, moved = c, true
					for i := range k {
						hd[i] = 0
						for j, v := range h[i*k : (i+1)*k] {
							hd[i] += float64(v * (w[j] - want[j]))
						}
					}
				}
			}
		}
		if !moved {
			break
		}
	}
	return scale
}
