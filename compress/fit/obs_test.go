package fit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func problem(seed uint64, n, k, threads int) *Problem {
	r := rand.New(rand.NewPCG(seed, 9))
	w := make([]float64, n*k)
	for i := range w {
		w[i] = float64(float32(r.NormFloat64()))
	}
	return NewProblem(gram(seed, k, min(4*k+3, 500)), w, k, 0.01, threads)
}

// leave is the least damped error that a row can have where mask's bits stay.
func leave(p *Problem, r int, mask uint) float64 {
	var at []int
	for k := range p.K {
		if mask>>k&1 == 1 {
			at = append(at, k)
		}
	}
	h := p.sub(at)
	if err := Cholesky(h, len(at), 1); err != nil {
		panic(err)
	}
	w := p.W[r*p.K : (r+1)*p.K]
	x := make([]float64, len(at))
	for a, k := range at {
		x[a] = Dot(p.Damped[k*p.K:(k+1)*p.K], w)
	}
	Solve(h, len(at), x)
	d := slices.Clone(w)
	for a, k := range at {
		d[k] -= x[a]
	}
	return Quadratic(p.Damped, p.K, d)
}

// With 8 weights, what goes is what brute force finds: step by step the one whose removal
// leaves least, with all others free to make good for it.
func TestSelectBruteForce(t *testing.T) {
	for seed := range uint64(20) {
		p := problem(seed, 1, 8, 1)
		want := uint(255)
		for drop := 1; drop < 8; drop++ {
			best, least := want, math.Inf(1)
			for k := range 8 {
				if m := want &^ (1 << k); m != want {
					if e := leave(p, 0, m); e < least {
						best, least = m, e
					}
				}
			}
			want = best
			stay, err := p.Select(Pattern{}, drop, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := uint(0)
			for k, s := range stay {
				if s {
					got |= 1 << k
				}
			}
			if got != want {
				t.Fatalf("problem %d: %08b stay, want %08b", seed, got, want)
			}
			w, err := p.Compensate(stay)
			if err != nil {
				t.Fatal(err)
			}
			for k := range w {
				w[k] = p.W[k] - w[k]
			}
			if e := Quadratic(p.Damped, 8, w); math.Abs(e-least) > 1e-9*(1+least) {
				t.Errorf("problem %d, %d gone: error %v, brute force finds %v", seed, drop, e, least)
			}
		}
	}
}

// Patterns hold, counts are met, more columns than one block can be walked, and bits do not
// depend on the workers.
func TestSelect(t *testing.T) {
	for _, c := range []struct {
		name string
		n, k int
		pt   Pattern
		drop float64
		gone float64 // of keep before
		walk bool    // as rows of more than ExactColumns are
	}{
		{"single", 7, 90, Pattern{}, 0.7, 0, false},
		{"again", 7, 90, Pattern{}, 0.7, 0.4, false},
		{"pairs", 7, 90, Pattern{Rows: 2}, 0.6, 0, false},
		{"fours", 9, 70, Pattern{Rows: 4}, 0.8, 0, false},
		{"fours again", 9, 70, Pattern{Rows: 4}, 0.8, 0.3, false},
		{"2:4", 6, 90, Pattern{N: 2, M: 4}, 0, 0, false},
		{"long", 5, 300, Pattern{}, 0.5, 0.2, true},
		{"long fours", 6, 300, Pattern{Rows: 4}, 0.5, 0, true},
		{"long fours again", 6, 300, Pattern{Rows: 4}, 0.7, 0.3, true},
		{"long 2:4", 3, 301, Pattern{N: 2, M: 4}, 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := problem(5, c.n, c.k, 1)
			keep := make([]bool, c.n*c.k)
			r := rand.New(rand.NewPCG(4, 4))
			for i := range keep {
				keep[i] = r.Float64() >= c.gone
			}
			drop := int(c.drop * float64(c.n*c.k))
			choose := (*Problem).Select
			if c.walk {
				choose = (*Problem).walk
			}
			stay, err := choose(p, c.pt, drop, keep)
			if err != nil {
				t.Fatal(err)
			}
			gone := 0
			for i, s := range stay {
				if !s {
					gone++
				} else if !keep[i] {
					t.Fatalf("element %d is back", i)
				}
				row, col := i/c.k, i%c.k
				if c.pt.Rows > 1 && c.gone == 0 {
					if first := row / c.pt.Rows * c.pt.Rows; s != stay[first*c.k+col] {
						t.Fatalf("rows %d and %d differ in column %d", first, row, col)
					}
				}
				if m := c.pt.M; m > 0 && col%m == 0 {
					n, size := 0, min(m, c.k-col)
					for j := range size {
						if stay[i+j] {
							n++
						}
					}
					if want := (size*c.pt.N + m - 1) / m; n != want {
						t.Fatalf("%d of %d stay from column %d on, want %d", n, size, col, want)
					}
				}
			}
			if c.pt.M == 0 && (gone < drop || gone >= drop+max(1, c.pt.Rows)) {
				t.Errorf("%d are gone, want %d", gone, drop)
			}
			w, err := p.Compensate(stay)
			if err != nil {
				t.Fatal(err)
			}
			plain := slices.Clone(p.W)
			for i, s := range stay {
				if !s {
					plain[i] = 0
				}
				if !s && w[i] != 0 {
					t.Fatalf("element %d is gone and %v", i, w[i])
				}
			}
			a, b := p.Errors(w), p.Errors(plain)
			best := p.Errors(p.Better(w, plain))
			for i := range a {
				if best[i] > min(a[i], b[i])*(1+1e-9) {
					t.Errorf("row %d: error %v of %v and %v", i, best[i], a[i], b[i])
				}
				if a[i] > b[i] {
					t.Errorf("row %d: error %v compensated, %v plain", i, a[i], b[i])
				}
			}
			q := problem(5, c.n, c.k, 4)
			stay4, err := choose(q, c.pt, drop, keep)
			if err != nil {
				t.Fatal(err)
			}
			w4, _ := q.Compensate(stay4)
			if !slices.Equal(stay, stay4) || !slices.Equal(w, w4) {
				t.Error("4 workers give other bits than 1")
			}
		})
	}
}

// Conjugate gradients find what solving row by row finds.
func TestGradients(t *testing.T) {
	p := problem(3, 6, 120, 2)
	r := rand.New(rand.NewPCG(8, 8))
	stay, start := make([]bool, len(p.W)), make([]float64, len(p.W))
	for i := range stay {
		if stay[i] = r.IntN(3) > 0; stay[i] {
			start[i] = p.W[i]
		}
	}
	b := p.times(p.Damped, p.W)
	want, err := p.Solve(b, start, stay)
	if err != nil {
		t.Fatal(err)
	}
	got := p.gradients(b, start, stay)
	e, f := p.Errors(got), p.Errors(want)
	for i := range e {
		if e[i] > f[i]*(1+1e-3)+1e-6 {
			t.Errorf("row %d: error %v, solved %v", i, e[i], f[i])
		}
	}
}

func ExampleProblem() {
	h := []float64{1, 0.9, 0, 0.9, 1, 0, 0, 0, 1} // the first two inputs are nearly one
	p := NewProblem(h, []float64{1, 1.2, 0.8}, 3, 0, 1)
	stay, _ := p.Select(Pattern{}, 1, nil)
	w, _ := p.Compensate(stay)
	fmt.Printf("%v %.2f\n", stay, w) // not the smallest goes: the second makes good for the first
	// Output: [false true true] [0.00 2.10 0.80]
}

func BenchmarkSelect(b *testing.B) {
	for _, drop := range []float64{0.5, 0.9} {
		b.Run(fmt.Sprint(drop), func(b *testing.B) {
			p := problem(1, 16, 1152, 2)
			for b.Loop() {
				p.Select(Pattern{}, int(drop*float64(len(p.W))), nil)
			}
		})
	}
}
