package method

import (
	"slices"

	"whit/tensor"
)

// Latent are the dense weights behind those that a network computes with while it trains: what a
// training step does to the latter, it does to them (straight through, see Live).
type Latent struct {
	Dense []float32
	p     *Part
	shown []float32 // what the step began with
}

// Latent begins with the part as it is. It is to be called in Rewrite.Begin.
func (l *Live) Latent(p *Part) *Latent {
	t := &Latent{slices.Clone(p.Elems), p, slices.Clone(p.Elems)}
	for name, x := range map[string][]float32{"dense:": t.Dense, "shown:": t.shown} {
		l.Keep(name+p.Held.Value.Name, tensor.From(x, len(x)))
	}
	return t
}

// Step moves the dense weights by what the last training step did.
func (t *Latent) Step() {
	for i, x := range t.p.Elems {
		t.Dense[i] += x - t.shown[i]
	}
}

// Show makes x what the next step computes with; x may be the part's own elements.
func (t *Latent) Show(x []float32) {
	copy(t.p.Elems, x)
	copy(t.shown, t.p.Elems)
}
