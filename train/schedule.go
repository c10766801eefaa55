package train

import "math"

// lrAt is the learning rate at global step s (from 0) of total.
//
//	warm-up  lr·(s+1)/warm                                  s < warm
//	cosine   end + (lr-end)·(1+cos(π·(s-warm)/(total-warm)))/2
//	step     lr·gamma^k after k of the drops, fractions of total
//	constant lr
//
// with end = lr·LREnd. (Cosine: I. Loshchilov, F. Hutter: SGDR, 2017, without restarts.)
func (o *Options) lrAt(s, total int) float64 {
	warm := int(o.Warmup * float64(total))
	if s < warm {
		return o.LR * float64(s+1) / float64(warm)
	}
	switch o.Schedule {
	case "cosine":
		end := o.LR * o.LREnd
		f := float64(s-warm) / float64(max(1, total-warm))
		return end + float64((o.LR-end)*(1+cosine(math.Pi*f)))/2
	case "step":
		lr := o.LR
		for _, d := range o.Drops {
			if s >= int(d*float64(total)) {
				lr = float64(lr * o.Gamma)
			}
		}
		return lr
	}
	return o.LR
}

// sine and cosine for |x| ≤ 2π, to about 1e-12, from their Taylor series in one
// operation order without fused operations: math.Sin may fuse on some CPUs, and
// schedules and augmentation must give the same bits everywhere.
func sine(x float64) float64 {
	const half = math.Pi / 2
	for x > half {
		x -= math.Pi
		x = -x
	}
	for x < -half {
		x += math.Pi
		x = -x
	}
	x2 := float64(x * x)
	t, s := x, x
	for k := 2.0; k < 24; k += 2 {
		t = float64(-t*x2) / float64(k*(k+1))
		s += t
	}
	return s
}

func cosine(x float64) float64 { return sine(x + math.Pi/2) }

// power is b^n by repeated squaring, for n ≥ 0.
func power(b float64, n int) float64 {
	r := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			r = float64(r * b)
		}
		b = float64(b * b)
	}
	return r
}
