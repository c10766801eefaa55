package quant

import (
	"context"
	"errors"
	"fmt"

	"whit/compress/method"
	"whit/tensor"
	"whit/weight"
)

// Coarse trains weights that have two or three levels: every step computes with the levels next to
// dense weights, which take what gradients say of them (M. Courbariaux, Y. Bengio, J.-P. David: BinaryConnect, 2015, section 2.3), and of
// which each set has a scale of its own, the one that misses them least (M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi: XNOR-Net, 2016,
// section 3.1, for two; F. Li, B. Liu: Ternary weight networks, 2016, section 2.2, for three).
//
// It deviates in that dense weights are not clipped, that three levels are placed exactly and not by a rule for
// normally distributed weights, and that no scale is trained by itself, as C. Zhu, S. Han, H. Mao, W. Dally: Trained ternary quantization, 2017, do: for
// that trained has levels: 1.
var Coarse = &method.Method{
	Name: "coarse",
	Doc:  "trains weights of two or three levels",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "levels", Kind: method.String, Default: ternary, Choices: []string{ternary, binary}, Doc: "three levels or two"},
		{Name: "granularity", Kind: method.String, Default: "channel", Choices: []string{"tensor", "channel"}, Doc: "what shares a scale: the tensor or an output channel"},
	}, method.FitParams(20, 1e-3)...),
	Apply: coarse,
}

func coarse(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	o := method.FitOptions(a)
	if o.Epochs == 0 {
		return errors.New("coarse: epochs is 0")
	}
	c := coarsening{threads: s.Threads, targets: map[*method.Layer]target{}}
	for _, l := range layers {
		if l.Weight.Mask != nil {
			return fmt.Errorf("coarse: layer %s is pruned, and of its levels zero would not stay", l.Name)
		}
		c.targets[l] = target{levels: a.String("levels"), sets: setsOf(l, a.String("granularity"), 0)}
	}
	key := fmt.Sprintf("coarse %q %s %s", a.String("layers"), a.String("levels"), a.String("granularity"))
	live, err := s.Live(ctx, "train "+a.String("levels")+" levels", o, method.Rewrite{Key: key, Begin: c.begin, After: c.after})
	if err != nil {
		return fmt.Errorf("coarse: %w", err)
	}
	live.Take()
	for _, x := range c.dense {
		w, err := c.round(x)
		if err != nil {
			return err
		}
		x.p.Held.Hold(w)
	}
	return s.StageShared(ctx)
}

// coarsening is a run of the method.
type coarsening struct {
	threads int
	targets map[*method.Layer]target
	dense   []coarsened
}

// coarsened is a weight that is rounded in every step.
type coarsened struct {
	*method.Latent
	p *method.Part
}

func (c *coarsening) begin(l *method.Live) error {
	for _, p := range l.Parts {
		if _, ok := c.targets[p.Layer]; ok && !p.Bias {
			c.dense = append(c.dense, coarsened{l.Latent(p), p})
		}
	}
	return c.show()
}

func (c *coarsening) after(*method.Live) error {
	for _, x := range c.dense {
		x.Step()
	}
	return c.show()
}

// show gives the network the levels next to the dense weights.
func (c *coarsening) show() error {
	for _, x := range c.dense {
		w, err := c.round(x)
		if err != nil {
			return err
		}
		x.Show(tensor.Of[float32](w.Dense()))
	}
	return nil
}

func (c *coarsening) round(x coarsened) (weight.Weight, error) {
	w, err := c.targets[x.p.Layer].round(x.Dense, c.threads)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", x.p.Layer.Name, err)
	}
	return w, nil
}
