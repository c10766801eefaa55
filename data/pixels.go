package data

import (
	"context"
	"crypto/sha256"
	"slices"

	"whit/card"
)

// pixels is a dataset whose 8-bit pixels are resident, one after another as
// card.Prep wants them.
type pixels struct {
	prep   *card.Prep
	shape  []int
	labels []string
	px     []uint8
	y      []int32 // nil: none
	raw    []uint8 // before the card, for the hashes; px where nothing was resized
	rawLen int     // bytes of a raw sample, of rawW a line
	rawW   int
}

func (p *pixels) Len() int         { return len(p.raw) / p.rawLen }
func (p *pixels) Shape() []int     { return slices.Clone(p.shape) }
func (p *pixels) Labels() []string { return p.labels }

func (p *pixels) Hash(i int) [32]byte {
	return sha256.Sum256(p.raw[i*p.rawLen : (i+1)*p.rawLen])
}

func (p *pixels) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	n := p.prep.Len()
	if err := checkRead(p.Len(), n, idx, x, y); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for k, i := range idx {
		p.prep.Floats(x[k*n:(k+1)*n], p.px[i*n:(i+1)*n])
		if y != nil {
			y[k] = -1
			if p.y != nil {
				y[k] = p.y[i]
			}
		}
	}
	return nil
}
