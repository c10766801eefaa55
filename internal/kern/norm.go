package kern

import "whit/internal/cpu"

// Norm is the kernels of batch normalization: pixels of channels, whose numbers lie
// side by side, in float64. Assembly and portable Go give the same bits.
type Norm struct{ asm bool }

// NormOf is the kernels for a processor with features f.
func NormOf(f cpu.Features) Norm { return Norm{haveAsm && f.AVX2FMA} }

// NormSums are sums over pixels, one a channel: of r = x - Pivot and r², and, in a
// gradient, of dy and dy·r. A pivot near the mean keeps the sums small.
type NormSums struct{ Pivot, R, RR, DY, DYR []float64 }

// Forward adds pixels of x, stride floats apart, to R and RR, in order.
func (k Norm) Forward(s *NormSums, x []float32, pixels, stride int) {
	c := len(s.Pivot)
	n := k.wide(c, pixels)
	if n > 0 {
		_, _, _ = s.R[n-1], s.RR[n-1], x[(pixels-1)*stride+n-1]
		normSums(&s.R[0], &s.RR[0], &s.Pivot[0], &x[0], n, pixels, stride)
	}
	if n == c {
		return
	}
	pivot, sr, srr := s.Pivot[n:c], s.R[n:c], s.RR[n:c]
	for p := range pixels {
		for i, v := range x[p*stride:][n:c] {
			r := float64(v) - pivot[i]
			sr[i] += r
			srr[i] += float64(r * r)
		}
	}
}

// Backward adds pixels of x and dy to all sums, in order.
func (k Norm) Backward(s *NormSums, dy, x []float32, pixels, dyStride, xStride int) {
	c := len(s.Pivot)
	n := k.wide(c, pixels)
	if n > 0 {
		_, _, _, _ = s.R[n-1], s.RR[n-1], s.DY[n-1], s.DYR[n-1]
		_, _ = dy[(pixels-1)*dyStride+n-1], x[(pixels-1)*xStride+n-1]
		normGradSums(&s.R[0], &s.RR[0], &s.DY[0], &s.DYR[0], &s.Pivot[0], &dy[0], &x[0], n, pixels, dyStride, xStride)
	}
	if n == c {
		return
	}
	pivot, sr, srr, sd, sdr := s.Pivot[n:c], s.R[n:c], s.RR[n:c], s.DY[n:c], s.DYR[n:c]
	for p := range pixels {
		d := dy[p*dyStride:][n:c]
		for i, v := range x[p*xStride:][n:c] {
			r, e := float64(v)-pivot[i], float64(d[i])
			sr[i] += r
			srr[i] += float64(r * r)
			sd[i] += e
			sdr[i] += float64(e * r)
		}
	}
}

// Apply is y = (x - mean)·factor + bias, rounded once, for pixels of len(mean) channels.
func (k Norm) Apply(y, x []float32, mean, factor, bias []float64, pixels, yStride, xStride int) {
	c := len(mean)
	n := k.wide(c, pixels)
	if n > 0 {
		_, _, _, _ = factor[n-1], bias[n-1], y[(pixels-1)*yStride+n-1], x[(pixels-1)*xStride+n-1]
		norm(&y[0], &x[0], &mean[0], &factor[0], &bias[0], n, pixels, yStride, xStride)
	}
	if n == c {
		return
	}
	mean, factor, bias = mean[n:c], factor[n:c], bias[n:c]
	for p := range pixels {
		d := y[p*yStride:][n:c]
		for i, v := range x[p*xStride:][n:c] {
			d[i] = float32(float64(factor[i]*(float64(v)-mean[i])) + bias[i])
		}
	}
}

// Gradient is dx = (dy - off - (x - mean)·slope)·factor, rounded once.
func (k Norm) Gradient(dx, dy, x []float32, mean, off, slope, factor []float64, pixels, dxStride, dyStride, xStride int) {
	c := len(mean)
	n := k.wide(c, pixels)
	if n > 0 {
		_, _, _ = off[n-1], slope[n-1], factor[n-1]
		_, _, _ = dx[(pixels-1)*dxStride+n-1], dy[(pixels-1)*dyStride+n-1], x[(pixels-1)*xStride+n-1]
		normGrad(&dx[0], &dy[0], &x[0], &mean[0], &off[0], &slope[0], &factor[0], n, pixels, dxStride, dyStride, xStride)
	}
	if n == c {
		return
	}
	mean, off, slope, factor = mean[n:c], off[n:c], slope[n:c], factor[n:c]
	for p := range pixels {
		d, e := dx[p*dxStride:][n:c], dy[p*dyStride:][n:c]
		for i, v := range x[p*xStride:][n:c] {
			d[i] = float32((float64(e[i]) - off[i] - float64((float64(v)-mean[i])*slope[i])) * factor[i])
		}
	}
}

// wide is how many of c channels the assembly takes: whole groups of 8.
func (k Norm) wide(c, pixels int) int {
	if !k.asm || pixels < 1 {
		return 0
	}
	return c &^ 7
}
