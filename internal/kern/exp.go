package kern

import "math"

// expTable holds the constants of the vector forms of Exp, Sigmoid and Tanh, each
// eight times.
var expTable = func() (t [23 * 8]float32) {
	for i, v := range []float32{
		1.44269504088896341, 12582912, 0.693359375, -2.12194440e-4,
		1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
		1, 88.72283, -87.33654, float32(math.Inf(1)), math.Float32frombits(127), math.Float32frombits(1 << 31),
		-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1, 0.625, 2,
	} {
		for j := range 8 {
			t[8*i+j] = v
		}
	}
	return t
}()

// erfTable holds Erf's constants, each eight times.
var erfTable = func() (t [15 * 8]float32) {
	c := append([]float32{erfMost, -erfMost, 1, -1}, erfP[:]...)
	for i, v := range append(c, erfQ[:]...) {
		for j := range 8 {
			t[8*i+j] = v
		}
	}
	return t
}()

// Exp is dst[i] = Exp(x[i]) for i < len(dst); dst may be x.
func (v Flat) Exp(dst, x []float32) { v.each(dst, x, vecExp, Exp) }

// Sigmoid is dst[i] = Sigmoid(x[i]) for i < len(dst); dst may be x.
func (v Flat) Sigmoid(dst, x []float32) {
	f := vecSigmoid
	if v.wide {
		f = wideSigmoid
	}
	v.each(dst, x, f, Sigmoid)
}

// Swish is dst[i] = Swish(x[i]) for i < len(dst); dst may be x.
func (v Flat) Swish(dst, x []float32) {
	f := vecSwish
	if v.wide {
		f = wideSwish
	}
	v.each(dst, x, f, Swish)
}

// Tanh is dst[i] = Tanh(x[i]) for i < len(dst); dst may be x.
func (v Flat) Tanh(dst, x []float32) { v.each(dst, x, vecTanh, Tanh) }

// Erf is dst[i] = Erf(x[i]) for i < len(dst); dst may be x.
func (v Flat) Erf(dst, x []float32) { v.each(dst, x, vecErf, Erf) }

// each runs f over vectors of 8 and g over the rest: the same operations in the same order.
func (v Flat) each(dst, x []float32, f func(dst, x []float32, n int), g func(float32) float32) {
	x = x[:len(dst)]
	k := 0
	if v.asm && haveExp && len(dst) >= 8 {
		k = len(dst) &^ 7
		f(dst, x, k)
	}
	for i, a := range x[k:] {
		dst[k+i] = g(a)
	}
}
