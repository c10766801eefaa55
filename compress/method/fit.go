package method

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"whit/graph"
	"whit/tensor"
	"whit/train"
)

// ErrNoFinetune is returned by Fit where training is forbidden.
var ErrNoFinetune = errors.New("fine-tuning is off")

// SmallSplit is the number of images up to which a share of wrong decisions alone
// says too little: methods then look at margins too.
const SmallSplit = 3000

// fitted is what a fit leaves: the trained values by name.
type fitted struct {
	Names  []string
	Values [][]float32
}

// Fit trains the state as it stands on the train split: masks hold, codebooks'
// centroids are trained where sharing is on, all else freely. The seed of o is
// mixed with the state's and with the number of fits so far. name is what progress
// calls it.
func (s *State) Fit(ctx context.Context, name string, o train.Options) error {
	if s.NoFinetune {
		return ErrNoFinetune
	}
	if s.OnIntegers() {
		return fmt.Errorf("%s: %w: the model runs on integers; what trains comes before the step activations", name, train.ErrNoGradient)
	}
	s.fits++
	o.Seed = s.Seed + o.Seed + uint64(s.fits)*0x9e3779b97f4a7c15
	o.Threads = s.Threads
	g, binds, err := s.trainable()
	if err != nil {
		return err
	}
	if err := s.Teach(&o); err != nil {
		return err
	}
	full, err := o.WithDefaults()
	if err != nil {
		return err
	}
	key, err := taught(s.Memo.Key("fit"), full)
	if err != nil {
		return err
	}
	key.Graph(s.Graph)
	for _, l := range s.Layers {
		for _, h := range l.held() {
			key.Held(h)
		}
	}
	var f fitted
	if !s.Memo.Get(key, &f) {
		if s.Memo != nil {
			o.Checkpoint, o.Resume = s.Memo.Path(key, ".ckpt"), true
		}
		o.Progress = func(e train.Event) {
			done := float64(e.Epoch)
			if e.Steps > 0 {
				done = float64(e.Step) / float64(e.Steps) * float64(e.Epochs)
			}
			s.Tell(Event{Stage: name, Done: done, Total: float64(e.Epochs), Message: fmt.Sprintf("loss %.4f", e.Loss)})
		}
		if _, err := train.Run(ctx, g, s.Train, o); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, v := range g.Values() {
			if v.Kind == graph.Param || v.Kind == graph.State {
				if err := diverged(v); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				f.Names, f.Values = append(f.Names, v.Name), append(f.Values, tensor.Of[float32](v.Data))
			}
		}
		if err := s.Memo.Put(key, f); err != nil {
			return err
		}
		if o.Checkpoint != "" {
			if err := os.Remove(o.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return s.absorb(f, binds)
}

// diverged is an error where not all of a variable is finite.
func diverged(v *graph.Value) error {
	for _, x := range tensor.Of[float32](v.Data) {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("training diverged: %q is not finite", v.Name)
		}
	}
	return nil
}

// bind says which trained value a held constant takes its data from.
type bind struct {
	h    *Held
	name string
}

// trainable is a copy of the model graph with its constants promoted, masks as
// products and codebooks as lookups in trained centroids.
func (s *State) trainable() (*graph.Graph, []bind, error) {
	g, m := s.Graph.Clone()
	train.Promote(g)
	var binds []bind
	for _, l := range s.Layers {
		for _, h := range l.held() {
			v := m[h.Value]
			if v.Kind != graph.Param {
				continue // no gradient reaches it: it stays as it is
			}
			if h.As != nil {
				v.Kind = graph.Const // its levels stay
				continue
			}
			if h.Mask == nil && h.Centroids == nil {
				continue
			}
			var users []*graph.Node
			for _, n := range g.Nodes {
				if slices.Contains(n.In, v) {
					users = append(users, n)
				}
			}
			if len(users) == 0 {
				continue
			}
			now := v
			add := func(op string, attrs map[string]any, in ...*graph.Value) {
				n := g.NewNode("", op, attrs, 1, in...)
				g.Before(users[0], n)
				now = n.Out[0]
			}
			if h.Centroids != nil {
				c := g.NewVar(graph.Param, v.Name+":centroids", tensor.From(slices.Clone(h.Centroids), len(h.Centroids)))
				ix := tensor.New(tensor.Int32, v.Type.Shape...)
				for i, k := range h.Index {
					tensor.Of[int32](ix)[i] = int32(k)
				}
				add("Gather", map[string]any{"axis": int64(0)}, c, g.NewConst(v.Name+":index", ix))
				binds = append(binds, bind{h, c.Name})
			}
			if h.Mask != nil {
				mt := tensor.New(tensor.Float32, v.Type.Shape...)
				x := tensor.Of[float32](mt)
				for i := range x {
					if h.Kept(i) {
						x[i] = 1
					}
				}
				add("Mul", nil, now, g.NewConst(v.Name+":mask", mt))
			}
			for _, n := range users {
				for i, in := range n.In {
					if in == v {
						n.In[i] = now
					}
				}
			}
		}
	}
	return g, binds, g.Verify()
}

// absorb puts trained values into the model graph.
func (s *State) absorb(f fitted, binds []bind) error {
	got := map[string][]float32{}
	for i, n := range f.Names {
		got[n] = f.Values[i]
	}
	held := map[*graph.Value]*Held{}
	for _, l := range s.Layers {
		for _, h := range l.held() {
			held[h.Value] = h
		}
	}
	for _, b := range binds {
		c := got[b.name]
		if len(c) != len(b.h.Centroids) {
			return fmt.Errorf("fit: %d centroids of %q, want %d", len(c), b.name, len(b.h.Centroids))
		}
		b.h.Share(c, b.h.Index)
	}
	for _, v := range s.Graph.Values() {
		x, ok := got[v.Name]
		if !ok || v.Kind != graph.Const {
			continue
		}
		if len(x) != v.Type.Shape.NumElements() {
			return fmt.Errorf("fit: %d elements of %q, want %v", len(x), v.Name, v.Type)
		}
		if h := held[v]; h == nil {
			v.Data, v.Weight = tensor.From(x, v.Type.Shape...), nil
		} else if h.Centroids == nil {
			h.Set(slices.Clone(x))
		}
	}
	return nil
}
