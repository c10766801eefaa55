package data

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"whit/card"
)

// Score is one row of Check: a way of preprocessing and how well the model does under it.
type Score struct {
	Preset string  // the card's name: "card" for the model's own, else a preset
	Color  string  // rgb, bgr, gray
	Offset int     // added to the classes of the data, for models whose class 0 is, say, background
	N      int     // labelled samples
	Right  float64 // fraction whose best class is the label, 0..1
	Card   card.Card
	Err    error // why the row could not be measured; Right is then 0
}

// CheckOptions of Check.
type CheckOptions struct {
	Card    *card.Card // the model's own, scored first; nil: none
	Classes int        // of the output; 0 unknown
	Offsets []int      // tried on the classes; nil: -1, 0, 1
	Limit   int        // samples at most, evenly over their order; 0: 512
	Batch   int        // samples handed to the model at once; 0: 32
}

// Predict returns for each of n samples, x of n*product(shape) values, the index of its
// best class.
type Predict func(ctx context.Context, x []float32, n int) ([]int32, error)

// Check scores the model's own card and the common presets in RGB and BGR, or gray where
// the input has one channel, with shifted classes, on the labelled data at name: the
// table that shows at a glance which preprocessing a model was trained with. The best
// row comes first; rows that cannot be measured come last. in is the input's shape
// without N.
func Check(ctx context.Context, name string, in []int, predict Predict, o CheckOptions) ([]Score, error) {
	if o.Offsets == nil {
		o.Offsets = []int{-1, 0, 1}
	}
	if o.Limit <= 0 {
		o.Limit = 512
	}
	if o.Batch <= 0 {
		o.Batch = 32
	}
	type try struct {
		name string
		c    card.Card
	}
	var tries []try
	var labels []string
	if o.Card != nil && !o.Card.IsZero() {
		labels = o.Card.Labels
		if len(o.Card.Missing()) == 0 {
			tries = append(tries, try{"card", o.Card.Clone()})
		}
	}
	colors := []string{"rgb", "bgr"}
	if oneChannel(in) {
		colors = []string{"gray"}
	}
	for _, p := range card.Presets() {
		for _, col := range colors {
			c, _ := card.Preset(p)
			c.Input.Color, c.Labels = col, labels
			if col == "gray" && len(c.Input.Mean) > 1 {
				continue // ImageNet's figures are per channel
			}
			if col == "bgr" && len(c.Input.Mean) > 1 { // they follow the channels
				c.Input.Mean = []float64{c.Input.Mean[2], c.Input.Mean[1], c.Input.Mean[0]}
				c.Input.Std = []float64{c.Input.Std[2], c.Input.Std[1], c.Input.Std[0]}
			}
			if c.Input.Crop != (card.Size{}) { // in the preset's proportion, at the input's size
				if s, ok := imagenetSize(in); ok {
					c.Input.Crop = s
					r := *c.Input.Resize
					short := (min(s.H, s.W)*256 + 112) / 224
					r.Size = card.Size{H: short, W: short}
					c.Input.Resize = &r
				}
			}
			tries = append(tries, try{p, c})
		}
	}
	var out []Score
	for _, t := range tries {
		rows, err := score(ctx, name, in, t.c, predict, o)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if errors.Is(err, ErrLabels) {
				return nil, err
			}
			rows = []Score{{Err: err}}
		}
		for _, r := range rows {
			r.Preset, r.Color, r.Card = t.name, t.c.Input.Color, t.c
			out = append(out, r)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		if (out[i].Err == nil) != (out[j].Err == nil) {
			return out[i].Err == nil
		}
		return out[i].Right > out[j].Right
	})
	return out, nil
}

func oneChannel(in []int) bool {
	return len(in) == 3 && (in[0] == 1 || in[0] != 3 && in[2] == 1) || len(in) < 3
}

func imagenetSize(in []int) (card.Size, bool) {
	if len(in) != 3 {
		return card.Size{}, false
	}
	s := card.Size{H: in[1], W: in[2]}
	if in[0] != 3 {
		s = card.Size{H: in[0], W: in[1]}
	}
	return s, s.H > 0 && s.W > 0 && s != card.Size{H: 224, W: 224}
}

// score measures one card, one row an offset.
func score(ctx context.Context, name string, in []int, c card.Card, predict Predict, o CheckOptions) ([]Score, error) {
	// Lazily: only the samples that are scored are decoded.
	s, err := Open(ctx, name, &c, in, Options{Classes: o.Classes, CacheBytes: -1})
	if err != nil {
		return nil, err
	}
	d := s.All
	if d == nil {
		d = s.Test
	}
	y, err := ClassesOf(ctx, d)
	if err != nil {
		return nil, err
	}
	var idx []int
	for i, v := range y {
		if v >= 0 {
			idx = append(idx, i)
		}
	}
	if len(idx) == 0 {
		return nil, fmt.Errorf("%w: the data have no labels to score", ErrLabels)
	}
	if len(idx) > o.Limit { // evenly over the order, which is by class
		all := idx
		idx = nil
		for k := range o.Limit {
			idx = append(idx, all[int(int64(k)*int64(len(all))/int64(o.Limit))])
		}
	}
	right := make([]int, len(o.Offsets))
	x := make([]float32, min(o.Batch, len(idx))*size(d))
	for at := 0; at < len(idx); at += o.Batch {
		part := idx[at:min(len(idx), at+o.Batch)]
		if err := d.Read(ctx, part, x, nil); err != nil {
			return nil, err
		}
		got, err := predict(ctx, x[:len(part)*size(d)], len(part))
		if err != nil {
			return nil, err
		}
		if len(got) != len(part) {
			return nil, fmt.Errorf("%d predictions for %d samples", len(got), len(part))
		}
		for k, i := range part {
			for j, off := range o.Offsets {
				if got[k] == y[i]+int32(off) {
					right[j]++
				}
			}
		}
	}
	var rows []Score
	for j, off := range o.Offsets {
		rows = append(rows, Score{Offset: off, N: len(idx), Right: float64(right[j]) / float64(len(idx))})
	}
	return rows, nil
}
