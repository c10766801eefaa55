package prune

import (
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/pass"
	"whit/stat"
	"whit/tensor"
)

// Blocks removes whole layers and residual blocks: the branch beside a shortcut, so that the
// addition becomes the shortcut (A. Veit, M. Wilber, S. Belongie: Residual networks behave like ensembles of
// relatively shallow networks, 2016, section 4.1), and convolutions that keep the shape of
// their input, with their normalisation (S. Chen, Q. Zhao: Shallowing deep networks: layer-wise pruning based on
// feature representations, 2018). Round by round the one goes whose removal changes the model's output least.
//
// It deviates in that what is measured is the squared error of the output against the float model's, as
// a share of the output's energy, on calibration images, not the accuracy of probes.
var Blocks = &method.Method{
	Name: "blocks",
	Doc:  "removes the residual blocks and layers that the output misses least",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers and additions may go: globs, joined by commas"},
		{Name: "kind", Kind: method.String, Default: "all", Choices: []string{"all", "residual", "layer"}, Doc: "what may go: branches beside a shortcut, convolutions that keep the shape, or both"},
		{Name: "count", Kind: method.Int, Default: 1, Min: 1, Max: 1000, Doc: "how many go at most"},
		{Name: "max_loss", Kind: method.Float, Default: 1.0, Min: 0, Max: 1e6, Doc: "squared error of the output, as a share of its energy, up to which more go"},
		{Name: "images", Kind: method.Int, Default: 64, Min: 1, Max: 1e6, Doc: "images of the training part to measure on"},
	}, method.FitParams(0, 1e-3)...),
	Apply: blocks,
}

func blocks(ctx context.Context, s *method.State, a method.Args) error {
	gone := 0
	for gone < a.Int("count") {
		cs, err := candidates(s, a.String("layers"), a.String("kind"))
		if err != nil {
			return err
		}
		best, low := -1, math.Inf(1)
		for i, c := range cs {
			g, m := s.Graph.Clone()
			remove(g, m[c.out], m[c.in])
			loss, err := loss(ctx, s, g, a.Int("images"))
			if err != nil {
				return err
			}
			s.Tell(method.Event{Stage: "blocks", Message: fmt.Sprintf("without %s the output's error is %.3g", c.name, loss), Done: float64(i + 1), Total: float64(len(cs))})
			if loss < low {
				best, low = i, loss
			}
		}
		if best < 0 || low > a.Float("max_loss") {
			if best >= 0 {
				s.Refuse("block "+cs[best].name, fmt.Sprintf("without it the output's error is %.3g", low))
			}
			break
		}
		s.Tell(method.Event{Stage: "blocks", Message: fmt.Sprintf("%s is gone: error %.3g", cs[best].name, low)})
		remove(s.Graph, cs[best].out, cs[best].in)
		if err := s.Graph.Verify(); err != nil {
			return err
		}
		s.Refind()
		gone++
	}
	if gone == 0 {
		if len(s.Refused) > 0 {
			r := s.Refused[len(s.Refused)-1]
			return fmt.Errorf("nothing of %q can be removed (%s: %s)", a.String("layers"), r.What, r.Why)
		}
		return fmt.Errorf("nothing of %q can be removed: no block keeps the shape of its input", a.String("layers"))
	}
	return finish(ctx, s, a, "blocks")
}

// candidate is a part whose output may become its input.
type candidate struct {
	name    string
	out, in *graph.Value
}

// candidates lists what can be removed, in node order.
func candidates(s *method.State, glob, kind string) (cs []candidate, err error) {
	types, err := typesOf(s.Graph, s.Train.Shape())
	if err != nil {
		return nil, err
	}
	kept := map[*graph.Node]bool{}
	for _, l := range method.FindLayers(s.Graph, "") {
		kept[l.Node] = true
	}
	layer := map[*graph.Node]*method.Layer{}
	for _, l := range s.Layers {
		delete(kept, l.Node)
		layer[l.Node] = l
	}
	uses := s.Graph.Uses()
	same := func(a, b *graph.Value) bool {
		x, ok1 := types[a]
		y, ok2 := types[b]
		return ok1 && ok2 && x.Equal(y)
	}
	for _, n := range s.Graph.Nodes {
		if n.Domain != "" || len(n.Out) == 0 || n.Out[0] == nil {
			continue
		}
		switch {
		case n.Op == "Add" && kind != "layer" && len(n.In) == 2:
			name := n.Name
			if name == "" {
				name = n.Out[0].Name
			}
			if !method.Match(glob, name) {
				continue
			}
			for i, short := range n.In {
				branch := n.In[1-i]
				if short.Kind == graph.Const || branch.Kind != graph.Computed || !same(short, n.Out[0]) {
					continue
				}
				if inside, ok := between(short, branch); ok && !slices.ContainsFunc(inside, func(n *graph.Node) bool { return kept[n] }) {
					cs = append(cs, candidate{name, n.Out[0], short})
					break
				}
			}
		case n.Op == "Conv" && kind != "residual" && layer[n] != nil && n.In[0].Kind == graph.Computed:
			out := n.Out[0]
			if bn := normOf(n, uses); bn != nil {
				out = bn.Out[0]
			}
			if l := layer[n]; method.Match(glob, l.Name) && same(n.In[0], out) {
				cs = append(cs, candidate{l.Name, out, n.In[0]})
			}
		}
	}
	return cs, nil
}

// Block is a branch beside a shortcut: the name by which Blocks removes it, and its layers in node order.
type Block struct {
	Name   string
	Layers []*method.Layer
}

// ResidualBlocks lists the branches of a state that Blocks can remove.
func ResidualBlocks(s *method.State) ([]Block, error) {
	cs, err := candidates(s, "*", "residual")
	if err != nil {
		return nil, err
	}
	var out []Block
	for _, c := range cs {
		add := c.out.Producer
		branch := add.In[0]
		if branch == c.in {
			branch = add.In[1]
		}
		inside, _ := between(c.in, branch)
		b := Block{Name: c.name}
		for _, l := range s.Layers {
			if slices.Contains(inside, l.Node) {
				b.Layers = append(b.Layers, l)
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// between lists the nodes that lead from short to branch; ok where all that branch is computed from is short,
// and at least one node is.
func between(short, branch *graph.Value) (ns []*graph.Node, ok bool) {
	seen := map[*graph.Node]bool{}
	todo := []*graph.Value{branch}
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if v == short {
			ok = true
			continue
		}
		switch {
		case v.Kind == graph.Input:
			return nil, false // from before the shortcut
		case v.Kind != graph.Computed || seen[v.Producer]:
			continue
		}
		seen[v.Producer] = true
		ns = append(ns, v.Producer)
		for _, x := range v.Producer.In {
			if x != nil {
				todo = append(todo, x)
			}
		}
	}
	return ns, ok
}

// remove lets in stand for out.
func remove(g *graph.Graph, out, in *graph.Value) {
	g.Replace(out, in)
	pass.DeadCode(g)
}

// loss is the squared error of the outputs of g against the float model's, as a share of their energy.
func loss(ctx context.Context, s *method.State, g *graph.Graph, images int) (float64, error) {
	o := stat.Options{Batch: batch(s), Samples: images, Threads: s.Threads}
	var want, got []stat.Point
	var all []*apart
	for i, v := range s.Float.Outputs {
		d := &apart{}
		all = append(all, d)
		want = append(want, stat.Point{Value: v.Name, Observer: (*before)(d)})
		got = append(got, stat.Point{Value: g.Outputs[i].Name, Observer: d})
	}
	if err := stat.RunAll(ctx, s.Train, o, stat.Probe{Graph: s.Float, Points: want}, stat.Probe{Graph: g, Points: got}); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, d := range all {
		if d.energy > 0 {
			sum += d.error / d.energy
		}
	}
	if math.IsNaN(sum) {
		sum = math.Inf(1)
	}
	return sum / float64(len(all)), nil
}

// apart compares a value with what before saw of the same batch.
type apart struct {
	x             []float32
	error, energy float64
}

// Observe implements stat.Observer.
func (d *apart) Observe(y *tensor.Tensor) error {
	v := tensor.Of[float32](y)
	if len(v) != len(d.x) {
		return fmt.Errorf("%d elements, the float model gives %d", len(v), len(d.x))
	}
	for i, a := range d.x {
		e := float64(a) - float64(v[i])
		d.error += float64(e * e)
		d.energy += float64(a) * float64(a)
	}
	return nil
}

type before apart

// Observe implements stat.Observer.
func (d *before) Observe(y *tensor.Tensor) error {
	d.x = append(d.x[:0], tensor.Of[float32](y)...)
	return nil
}
