package fit

import (
	"errors"
	"math"
	"sync"

	"whit/internal/cpu"
)

// ErrSingular means that a matrix is not positive definite, as far as its rounding shows.
var ErrSingular = errors.New("matrix is not positive definite")

// Damp adds share of the diagonal's mean to the diagonal of h [k,k], and 1 where a column is
// nothing but zeros: no input ever reaches it, and any weight is as good as another.
func Damp(h []float64, k int, share float64) {
	mean := 0.0
	for i := range k {
		mean += h[i*k+i]
	}
	mean /= float64(max(1, k))
	for i := range k {
		if h[i*k+i] == 0 {
			h[i*k+i] = max(mean, math.SmallestNonzeroFloat32)
		}
		h[i*k+i] += float64(share * mean)
	}
}

// cholBlock is the number of columns that are eliminated together.
const cholBlock = 64

// Cholesky replaces the lower half of h [k,k] by L, L Lᵀ = h. The upper half is neither read nor
// written. Threads is the number of workers, 0: the physical cores.
func Cholesky(h []float64, k, threads int) error {
	for j0 := 0; j0 < k; j0 += cholBlock {
		j1 := min(k, j0+cholBlock)
		// Rows from j0 on lose what the columns before explain; then the block's own.
		each(k-j0, 16, threads, func(r int) {
			i := j0 + r
			for j := j0; j < min(j1, i+1); j++ {
				h[i*k+j] -= Dot(h[i*k:i*k+j0], h[j*k:j*k+j0])
			}
		})
		for j := j0; j < j1; j++ {
			d := h[j*k+j] - Dot(h[j*k+j0:j*k+j], h[j*k+j0:j*k+j])
			if !(d > 0) || math.IsInf(d, 0) {
				return ErrSingular
			}
			h[j*k+j] = math.Sqrt(d)
			for i := j + 1; i < j1; i++ {
				h[i*k+j] = (h[i*k+j] - Dot(h[i*k+j0:i*k+j], h[j*k+j0:j*k+j])) / h[j*k+j]
			}
		}
		each(k-j1, 16, threads, func(r int) {
			i := j1 + r
			for j := j0; j < j1; j++ {
				h[i*k+j] = (h[i*k+j] - Dot(h[i*k+j0:i*k+j], h[j*k+j0:j*k+j])) / h[j*k+j]
			}
		})
	}
	return nil
}

// Solve replaces b [k] by the solution of L Lᵀ x = b.
func Solve(l []float64, k int, b []float64) {
	for i := range k {
		b[i] = (b[i] - Dot(l[i*k:i*k+i], b[:i])) / l[i*k+i]
	}
	for i := k - 1; i >= 0; i-- {
		b[i] /= l[i*k+i]
		axpy(b[:i], -b[i], l[i*k:i*k+i])
	}
}

// Inverse replaces h [k,k], of which the lower half is read, by its inverse.
func Inverse(h []float64, k, threads int) error {
	if err := Cholesky(h, k, threads); err != nil {
		return err
	}
	u := invertLower(h, k, threads) // u = L⁻ᵀ: row i has the elements from i on
	each(k, 8, threads, func(i int) {
		for j := range i + 1 { // h⁻¹ = L⁻ᵀ L⁻¹
			h[i*k+j] = Dot(u[i*k+i:(i+1)*k], u[j*k+i:(j+1)*k])
		}
	})
	for i := range k {
		for j := range i {
			h[j*k+i] = h[i*k+j]
		}
	}
	return nil
}

// InverseRoot replaces h [k,k], of which the lower half is read, by the upper triangular U
// with Uᵀ U = h⁻¹: the Cholesky factor of the inverse that GPTQ and SparseGPT walk along. Row i over
// U[i,i] is how an error in column i is best made good by the columns behind it.
func InverseRoot(h []float64, k, threads int) error {
	// With columns and rows in reverse, h = R Rᵀ for an upper R, and U = R⁻¹.
	flip(h, k)
	if err := Cholesky(h, k, threads); err != nil {
		return err
	}
	u := invertLower(h, k, threads) // L⁻ᵀ, of reversed columns
	for i := range k {
		for j := range k {
			h[i*k+j] = 0
			if j >= i { // (L⁻¹)[a,b] = u[b,a], a = k-1-i, b = k-1-j
				h[i*k+j] = u[(k-1-j)*k+k-1-i]
			}
		}
	}
	return nil
}

// flip reverses rows and columns, of the lower half into the lower half.
func flip(h []float64, k int) {
	for i := range k {
		for j := range i {
			h[j*k+i] = h[i*k+j]
		}
	}
	for a, b := 0, k*k-1; a < b; a, b = a+1, b-1 {
		h[a], h[b] = h[b], h[a]
	}
}

// invertLower is the transposed inverse of a lower triangular l: upper triangular.
func invertLower(l []float64, k, threads int) []float64 {
	u := make([]float64, k*k)
	each(k, 8, threads, func(j int) { // column j of the inverse is row j of u
		x := u[j*k : (j+1)*k]
		x[j] = 1 / l[j*k+j]
		for i := j + 1; i < k; i++ {
			x[i] = -Dot(l[i*k+j:i*k+i], x[j:i]) / l[i*k+i]
		}
	})
	return u
}

// Quadratic is dᵀ h d.
func Quadratic(h []float64, k int, d []float64) float64 {
	sum := 0.0
	for i, v := range d {
		if v != 0 {
			sum += float64(v * Dot(h[i*k:(i+1)*k], d))
		}
	}
	return sum
}

// Dot is a · b, summed in four strands.
func Dot(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+3 < len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += float64(x[0] * y[0])
		s1 += float64(x[1] * y[1])
		s2 += float64(x[2] * y[2])
		s3 += float64(x[3] * y[3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i] * b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// axpy adds f·x to y.
func axpy(y []float64, f float64, x []float64) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] += float64(f * v)
	}
}

// each runs f(0..n-1), some at a time, on up to threads goroutines, 0: the physical cores.
func each(n, some, threads int, f func(i int)) {
	if threads <= 0 {
		threads = cpu.PhysicalCores()
	}
	parts := (n + some - 1) / some
	run := func(p int) {
		for i := p * some; i < min(n, (p+1)*some); i++ {
			f(i)
		}
	}
	if threads = min(threads, parts); threads <= 1 {
		for p := range parts {
			run(p)
		}
		return
	}
	next := make(chan int, parts)
	for p := range parts {
		next <- p
	}
	close(next)
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for p := range next {
				run(p)
			}
		})
	}
	wg.Wait()
}
