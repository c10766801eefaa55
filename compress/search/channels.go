package search

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"whit/compress/method"
	"whit/compress/prune"
	"whit/tensor"
)

// cuts are the shares of a group's channels that tables have, none first. cutOrder is how they are measured, so that what
// time there is goes over all groups; of those behind rough nothing is measured where a rough table has to do.
var (
	cuts     = []float64{0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75}
	cutOrder = []int{4, 2, 6, 1, 3, 5}
)

const roughCuts = 3

// thinning is what removing channels of each group of layers that are tied to each other does, nothing else changed: to the
// outputs, and to the sizes of the weights of all layers, which stand for times and bytes.
type thinning struct {
	base   *method.State
	images int           // of the training part that weights are chosen and fitted by
	rough  bool          // few samples, and the readers of what is removed are not fitted
	sample int           // of the choice split that is measured on
	group  map[int][]int // layers whose channels go together, by the first of them
	far    [][]float64   // [first][level]; Inf: it cannot be done; nil: not the first of a group
	kept   [][][]float64 // [first][level][layer]: the share of layers' sizes that is left; nil as far is, and where it cannot be done
}

// looked is how many images of the training part weights are chosen by: many where they are small.
func looked(s *method.State) int {
	n := max(64, min(1500, (1<<22)/max(1, tensor.Shape(s.Train.Shape()).NumElements())))
	return max(4, min(s.Train.Len(), n))
}

// pace makes a table of entries fit the time there is: rough where entries that fit layers anew take too long, and then of as many samples
// as there is time for.
func (t *thinning) pace(ctx context.Context, r *runner, fine, rough int) error {
	t.sample = samples(t.base.Choice)
	t.rough = t.base.Weights() > fewWeights
	if r.o.Deadline.IsZero() {
		return nil
	}
	c := t.part()
	c.Memo = nil
	began := time.Now()
	if _, err := c.Measure(ctx, c.Graph); err != nil {
		return err
	}
	each, left := time.Since(began).Seconds()/2, time.Until(r.limit).Seconds() // the float model ran too
	fit := 4 * (1 + float64(t.images)/float64(max(1, c.Choice.Len())))         // about: gathering, twice, of inputs and outputs
	t.rough = t.rough || float64(fine)*fit*each > left
	if all := float64(rough) * each; t.rough && all > left/2 {
		t.sample = max(4, int(float64(t.sample)*left/2/all))
	}
	return nil
}

// part is a copy of the base that is measured on part of the choice split, and is not told of.
func (t *thinning) part() *method.State {
	c := t.base.Clone()
	c.Choice, c.Progress = some(c.Choice, t.sample), nil
	return c
}

// blind is a copy for methods whose result is not looked at but for its shape.
func (t *thinning) blind() *method.State {
	c := t.base.Clone()
	c.Choice, c.Memo, c.Progress = some(c.Choice, 1), nil, nil
	return c
}

// entry measures what a change of the base does to the outputs, unless the memo has it.
func (t *thinning) entry(ctx context.Context, what string, layer int, level float64, change func(*method.State) error) (far float64, err error) {
	c := t.part()
	var m measured
	key := t.base.Memo.Key("shape").Add(what, layer, level, t.images, t.rough, c.Choice.Len()).Graph(t.base.Graph)
	if t.base.Memo.Get(key, &m) {
		return m.Far, nil
	}
	c.Memo = nil
	choice := c.Choice
	c.Choice = some(choice, 1) // methods measure what they made; nobody asks
	if err := change(c); err != nil {
		return 0, err
	}
	c.Choice = choice
	if err := m.look(ctx, c); err != nil {
		return 0, err
	}
	return m.Far, t.base.Memo.Put(key, m)
}

// tabulate fills the table. What time does not allow to measure is guessed, so that whatever can be removed is there.
func (t *thinning) tabulate(ctx context.Context, r *runner) error {
	layers := t.base.Layers
	n := len(layers)
	t.group, t.far, t.kept = map[int][]int{}, make([][]float64, n), make([][][]float64, n)
	if find("reconstruct") == nil || !r.may("reconstruct") {
		return nil
	}
	groups, err := prune.Groups(t.base)
	if err != nil {
		return err
	}
	for _, g := range groups {
		first := slices.Index(layers, g[0])
		for _, l := range g {
			t.group[first] = append(t.group[first], slices.Index(layers, l))
		}
		t.far[first], t.kept[first] = make([]float64, len(cuts)), make([][]float64, len(cuts))
	}
	for k, level := range cutOrder {
		for _, g := range groups {
			first := slices.Index(layers, g[0])
			if err := t.shapes(ctx, first, level); err != nil {
				return err
			}
			t.far[first][level] = math.NaN()
			switch {
			case t.kept[first][level] == nil:
				t.far[first][level] = math.Inf(1)
			case r.late("channels of "+g[0].Name) || t.rough && k >= roughCuts:
			default:
				by := "reconstruct"
				if t.rough {
					by = "channels"
				}
				far, err := t.entry(ctx, by, first, cuts[level], func(c *method.State) error {
					return c.Step(ctx, t.removal(by, map[int]int{first: level}), Methods)
				})
				if err != nil {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					r.refuse(fmt.Sprintf("%.1f%% of the channels of %s", 100*cuts[level], g[0].Name), err.Error())
					far = math.Inf(1)
				}
				t.far[first][level] = far
				t.base.Tell(method.Event{Stage: "table", Message: fmt.Sprintf("%s: %.1f%% of channels removed, off by %.3g", g[0].Name, 100*cuts[level], far)})
			}
		}
	}
	t.guess()
	return nil
}

// shapes finds what a cut of a group leaves of all layers; nothing where there are too few channels.
func (t *thinning) shapes(ctx context.Context, first, level int) error {
	c := t.blind()
	if err := c.Step(ctx, t.removal("channels", map[int]int{first: level}), Methods); err != nil {
		return ctx.Err()
	}
	share := ones(len(c.Layers))
	less := false
	for i, l := range c.Layers {
		share[i] = float64(l.Weight.Len()) / float64(t.base.Layers[i].Weight.Len())
		less = less || share[i] < 1
	}
	if less {
		t.kept[first][level] = share
	}
	return nil
}

// guess fills in what was not measured: as the square of the share that goes, from the nearest level that was
// measured, or from what is lost elsewhere.
func (t *thinning) guess() {
	gone := func(first, level int) float64 { return 1 - t.kept[first][level][first] }
	sum, n := 0.0, 0.0
	known := func(far float64) bool { return far > 0 && !math.IsInf(far, 1) }
	for i, far := range t.far {
		for v, x := range far {
			if known(x) {
				sum, n = sum+x/gone(i, v)/gone(i, v), n+1
			}
		}
	}
	for i, far := range t.far {
		was := slices.Clone(far)
		for level, x := range was {
			if !math.IsNaN(x) {
				continue
			}
			per, best := cmp.Or(sum, 1)/cmp.Or(n, 1), math.Inf(1)
			for k, y := range was {
				if known(y) && math.Abs(gone(i, k)-gone(i, level)) < best {
					best, per = math.Abs(gone(i, k)-gone(i, level)), y/gone(i, k)/gone(i, k)
				}
			}
			far[level] = per * gone(i, level) * gone(i, level)
		}
	}
}

// levels are the levels of a layer's group that can be had: none, and where it is the first of a group those that can be done.
func (t *thinning) levels(i int) []int {
	out := []int{0}
	for level := 1; level < len(cuts) && t.far[i] != nil; level++ {
		if !math.IsInf(t.far[i][level], 1) {
			out = append(out, level)
		}
	}
	return out
}

// saved is what a cut saves of layers that are neither the group's first nor the one behind it, by their sizes, if
// nothing else is cut.
func (t *thinning) saved(first, level int, size func(i int) float64) (x float64) {
	for i := range t.kept {
		if level > 0 && i != first && i != first+1 {
			x += (1 - t.kept[first][level][i]) * size(i)
		}
	}
	return x
}

// leaves is what the cut of a group leaves of layer i; all of it where there is no such cut.
func (t *thinning) leaves(first, level, i int) float64 {
	if first < 0 || level == 0 || t.kept[first] == nil || t.kept[first][level] == nil {
		return 1
	}
	return t.kept[first][level][i]
}

// share is what the cuts of a layer's own group and of the group of the layer before leave of it.
func (t *thinning) share(i, own, before int) float64 {
	return t.leaves(i, own, i) * t.leaves(i-1, before, i)
}

// left is what all cuts leave of a layer, level being that of a group.
func (t *thinning) left(i int, level func(first int) int) float64 {
	x := 1.0
	for g := range t.kept {
		x *= t.leaves(g, level(g), i)
	}
	return x
}

// removal is the step that removes channels of groups, each by its level.
func (t *thinning) removal(by string, levels map[int]int) method.Step {
	var share method.LayerValues
	var names []string
	for i := range t.base.Layers {
		if levels[i] == 0 {
			continue
		}
		for _, j := range t.group[i] {
			name := t.base.Layers[j].Name
			share = append(share, method.LayerValue{Glob: name, Value: cuts[levels[i]]})
			names = append(names, name)
		}
	}
	set := map[string]any{"layers": strings.Join(names, ","), "sparsity": share, "round_to": 8, "images": t.images}
	if by == "reconstruct" && t.rough {
		set["rows"] = 4096
	}
	return method.Step{Method: by, Set: set}
}

func ones(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = 1
	}
	return x
}
