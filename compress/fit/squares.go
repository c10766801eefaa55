package fit

import (
	"math"
	"slices"

	"whit/internal/cpu"
	"whit/internal/kern"
)

const (
	// directWork is how many multiply-adds may go into solving a problem's rows one by one;
	// above, conjugate gradients solve them all at once.
	directWork = 2e9
	// exactWork is likewise of errors in float64.
	exactWork = 1e9
	// rounds and settled end the gradients: most rounds, and the residual's square of the first.
	rounds  = 60
	settled = 1e-10
)

// Compensate is the rows of the elements that stay that are nearest to W in the damped H: what
// is gone is made good by what stays (the closed form of optimal brain surgery for a
// whole set: B. Hassibi, D. Stork: Second order derivatives for network pruning, 1992, section 3).
func (p *Problem) Compensate(stay []bool) ([]float64, error) {
	b := p.times(p.Damped, p.W)
	start := slices.Clone(p.W)
	for i, s := range stay {
		if !s {
			start[i] = 0
		}
	}
	return p.Solve(b, start, stay)
}

// Solve is the rows of the elements that stay with the least wᵀ H w - 2 wᵀ b, for the damped H and a
// row b of b [N,K] each, from start on.
func (p *Problem) Solve(b, start []float64, stay []bool) ([]float64, error) {
	same := map[string][]int{} // rows by what stays of them
	var keys []string
	key := make([]byte, p.K)
	work := 0.0
	for r := range p.N {
		n := 0.0
		for k, s := range stay[r*p.K : (r+1)*p.K] {
			key[k] = 0
			if s {
				key[k] = 1
				n++
			}
		}
		if same[string(key)] == nil {
			keys = append(keys, string(key))
			work += n * n * n / 6
		}
		work += n * n
		same[string(key)] = append(same[string(key)], r)
	}
	if work > directWork {
		return p.gradients(b, start, stay), nil
	}
	w := make([]float64, p.N*p.K)
	errs := make([]error, len(keys))
	each(len(keys), 1, p.Threads, func(i int) {
		var at []int
		for k, s := range []byte(keys[i]) {
			if s == 1 {
				at = append(at, k)
			}
		}
		n := len(at)
		h := p.sub(at)
		if errs[i] = Cholesky(h, n, 1); errs[i] != nil {
			return
		}
		x := make([]float64, n)
		for _, r := range same[keys[i]] {
			for a, k := range at {
				x[a] = b[r*p.K+k]
			}
			Solve(h, n, x)
			for a, k := range at {
				w[r*p.K+k] = x[a]
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

// sub is the damped H of some columns.
func (p *Problem) sub(at []int) []float64 {
	n := len(at)
	h := make([]float64, n*n)
	for a, i := range at {
		row := p.Damped[i*p.K : (i+1)*p.K]
		for c, j := range at {
			h[a*n+c] = row[j]
		}
	}
	return h
}

// gradients solves all rows by conjugate gradients with the diagonal as preconditioner; the
// products by H, which are all of the work, are of float32 matrices.
func (p *Problem) gradients(b, start []float64, stay []bool) []float64 {
	n, k := p.N, p.K
	w := slices.Clone(start)
	r := make([]float64, n*k)
	d, q := make([]float32, n*k), make([]float32, n*k)
	dir := make([]float64, n*k)
	p.product(q, narrow(w))
	type row struct {
		rz, first float64
		done      bool
	}
	rows := make([]row, n)
	diag := func(i int) float64 { return p.Damped[i*k+i] }
	each(n, 4, p.Threads, func(o int) {
		for i := range k {
			if e := o*k + i; stay[e] {
				r[e] = b[e] - float64(q[e])
				dir[e] = r[e] / diag(i)
				rows[o].rz += float64(r[e] * dir[e])
			}
		}
		rows[o].first, rows[o].done = rows[o].rz, rows[o].rz == 0
	})
	for range rounds {
		all := true
		for i, v := range dir {
			d[i] = float32(v)
			all = all && rows[i/k].done
		}
		if all {
			break
		}
		p.product(q, d)
		each(n, 4, p.Threads, func(o int) {
			c := &rows[o]
			if c.done {
				return
			}
			dq := 0.0
			for e := o * k; e < (o+1)*k; e++ {
				dq += float64(dir[e] * float64(q[e]))
			}
			if !(dq > 0) {
				c.done = true
				return
			}
			f, rz := c.rz/dq, 0.0
			for i := range k {
				e := o*k + i
				if !stay[e] {
					continue
				}
				w[e] += float64(f * dir[e])
				r[e] -= float64(f * float64(q[e]))
				rz += float64(r[e]*r[e]) / diag(i)
			}
			g := rz / c.rz
			for i := range k {
				if e := o*k + i; stay[e] {
					dir[e] = r[e]/diag(i) + float64(g*dir[e])
				}
			}
			c.rz = rz
			if rz <= settled*c.first {
				c.done = true
				clear(dir[o*k : (o+1)*k])
			}
		})
	}
	return w
}

// product is dst = x H for x [N,K] and the damped H, in float32.
func (p *Problem) product(dst, x []float32) {
	if p.h32 == nil {
		p.h32 = narrow(p.Damped)
	}
	gemm(dst, x, p.h32, p.N, p.K, p.K, p.Threads)
}

// gemm is c [m,n] = a [m,k] b [k,n].
func gemm(c, a, b []float32, m, n, k, threads int) {
	g := kern.GEMM{M: m, N: n, K: k}
	g.Init(kern.F32(cpu.Detect()))
	each(g.Tiles(), 1, threads, func(i int) {
		g.Run(i, a, b, c, nil, nil, make([]float32, g.Scratch()))
	})
}

// times is x h for x [N,K] and a symmetric h.
func (p *Problem) times(h, x []float64) []float64 {
	y := make([]float64, p.N*p.K)
	if float64(p.N)*float64(p.K)*float64(p.K) > exactWork {
		z := make([]float32, p.N*p.K)
		gemm(z, narrow(x), narrow(h), p.N, p.K, p.K, p.Threads)
		for i, v := range z {
			y[i] = float64(v)
		}
		return y
	}
	each(p.N, 1, p.Threads, func(r int) {
		for i := range p.K {
			y[r*p.K+i] = Dot(h[i*p.K:(i+1)*p.K], x[r*p.K:(r+1)*p.K])
		}
	})
	return y
}

// Errors is by how much each row w of w [N,K] misses W, in H as it is.
func (p *Problem) Errors(w []float64) []float64 {
	d := make([]float64, len(w))
	for i, v := range w {
		d[i] = p.W[i] - v
	}
	hd := p.times(p.H, d)
	e := make([]float64, p.N)
	for r := range e {
		e[r] = math.Max(0, Dot(d[r*p.K:(r+1)*p.K], hd[r*p.K:(r+1)*p.K]))
	}
	return e
}

// Better takes each row from a or from b, as misses W less, in H as it is; a where both
// are as good.
func (p *Problem) Better(a, b []float64) []float64 {
	ea, eb := p.Errors(a), p.Errors(b)
	out := slices.Clone(a)
	for r := range ea {
		if !(ea[r] <= eb[r]) {
			copy(out[r*p.K:(r+1)*p.K], b[r*p.K:(r+1)*p.K])
		}
	}
	return out
}
