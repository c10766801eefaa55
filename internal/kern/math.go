package kern

import "math"

// The functions below are whit's own float32 approximations: one order of
// operations, each rounded, none fused, so that every CPU gives the same bits.
// Coefficients are those of Cephes (Moshier: Methods and Programs for Mathematical
// Functions, 1989; expf, tanhf) and, for Erf, our own; errors are within 2 units in the last place, Erf's within 7.

// Exp is e^x; results below the smallest normal number are 0.
func Exp(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > 88.72283:
		return float32(math.Inf(1))
	case x < -87.33654:
		return 0
	}
	// x = n·ln 2 + r, |r| <= ln 2 / 2; adding 1.5·2^23 rounds to the nearest integer.
	const round = 12582912
	k := float32(float32(x*1.44269504088896341)+round) - round
	r := x - float32(k*0.693359375)
	r -= float32(k * -2.12194440e-4)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(p*float32(r*r)) + r + 1
	// Two factors: 2^128 alone does not exist.
	n := int32(k)
	h := n >> 1
	return p * math.Float32frombits(uint32(h+127)<<23) * math.Float32frombits(uint32(n-h+127)<<23)
}

// Sigmoid is 1/(1+e^-x).
func Sigmoid(x float32) float32 {
	if x >= 0 {
		return 1 / (1 + Exp(-x))
	}
	e := Exp(x)
	return e / (1 + e)
}

// Swish is x times Sigmoid(x).
func Swish(x float32) float32 { return x * Sigmoid(x) }

// Tanh is the hyperbolic tangent.
func Tanh(x float32) float32 {
	a := x
	if a < 0 {
		a = -a
	}
	if a < 0.625 {
		z := float32(x * x)
		p := float32(-5.70498872745e-3)
		p = float32(p*z) + 2.06390887954e-2
		p = float32(p*z) - 5.37397155531e-2
		p = float32(p*z) + 1.33314422036e-1
		p = float32(p*z) - 3.33332819422e-1
		return float32(float32(p*z)*x) + x
	}
	t := 1 - float32(2/(Exp(2*a)+1))
	if x < 0 {
		return -t
	}
	return t
}

// Erf is x·P(x²)/Q(x²) up to |x| = erfMost, from where on it is 1 in float32; both of degree 5,
// fitted to erf(x)/x for the least greatest relative error (1.4e-8), highest powers first and Q's constant 1.
const erfMost = 3.8325069

var (
	erfP = [6]float32{2.123115336871706e-06, 0.0002859441447071731, 0.0036528140772134066, 0.05241871625185013, 0.18730978667736053, 1.1283791065216064}
	erfQ = [5]float32{3.889815343427472e-05, 0.0011417210334911942, 0.014742618426680565, 0.11290109157562256, 0.49933189153671265}
)

// Erf is the error function.
func Erf(x float32) float32 {
	if x > erfMost {
		x = erfMost
	}
	if x < -erfMost {
		x = -erfMost
	}
	t := float32(x * x)
	p, q := float32(t*erfP[0])+erfP[1], float32(t*erfQ[0])+erfQ[1]
	for _, c := range erfP[2:] {
		p = float32(p*t) + c
	}
	for _, c := range erfQ[2:] {
		q = float32(q*t) + c
	}
	q = float32(q*t) + 1
	y := float32(p*x) / q
	if y > 1 {
		y = 1
	}
	if y < -1 {
		y = -1
	}
	return y
}
