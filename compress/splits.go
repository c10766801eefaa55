package compress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"whit/data"
	"whit/graph"
	"whit/train"
)

// Data are the data of a run.
type Data struct {
	// Set is everything but the test set; where Test is nil, everything.
	Set data.Dataset
	// Test opens the data's own test set. It is called once, after the last decision.
	Test func(context.Context) (data.Dataset, error)
}

// The parts that a set is cut into (by content hash): with a test set of its own
// into training and choice, else into calibration, choice and test.
var (
	withTest    = []float64{5.0 / 6, 1.0 / 6}
	withoutTest = []float64{0.4, 0.3, 0.3}
)

// splitSeed is where the cut comes from; it does not change with Options.Seed, so
// that runs with other seeds are measured on the same images.
const splitSeed = 0x77686974

// splits cuts the data. open gives the test part.
func splits(d Data) (tr, choice data.Dataset, open func(context.Context) (data.Dataset, error), err error) {
	parts := withoutTest
	if d.Test != nil {
		parts = withTest
	}
	idx := data.Split(d.Set, splitSeed, parts...)
	if len(idx) != len(parts) {
		return nil, nil, nil, fmt.Errorf("split: %d parts, want %d", len(idx), len(parts))
	}
	for _, p := range idx {
		if len(p) == 0 {
			return nil, nil, nil, fmt.Errorf("%d samples are too few: a part of the split is empty", d.Set.Len())
		}
	}
	tr, choice, open = data.Subset(d.Set, idx[0]), data.Subset(d.Set, idx[1]), d.Test
	if d.Test == nil {
		test := data.Subset(d.Set, idx[2])
		open = func(context.Context) (data.Dataset, error) { return test, nil }
	}
	return tr, choice, open, nil
}

// union is the samples of set that are in either part, in its order.
func union(set, a, b data.Dataset) data.Dataset {
	in := map[[32]byte]bool{}
	for _, p := range []data.Dataset{a, b} {
		for i := range p.Len() {
			in[p.Hash(i)] = true
		}
	}
	var idx []int
	for i := range set.Len() {
		if in[set.Hash(i)] {
			idx = append(idx, i)
		}
	}
	return data.Subset(set, idx)
}

// splitHash is the SHA-256 over the samples' hashes, sorted.
func splitHash(d data.Dataset) string {
	hs := make([][32]byte, d.Len())
	for i := range hs {
		hs[i] = d.Hash(i)
	}
	slices.SortFunc(hs, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	h := sha256.New()
	for i := range hs {
		h.Write(hs[i][:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// labelled reports whether the data have classes: the first samples decide.
func labelled(ctx context.Context, d data.Dataset) (bool, error) {
	n := min(d.Len(), 16)
	size := 1
	for _, k := range d.Shape() {
		size *= k
	}
	idx, y := make([]int, n), make([]int32, n)
	for i := range idx {
		idx[i] = i
	}
	if err := d.Read(ctx, idx, make([]float32, n*size), y); err != nil {
		return false, err
	}
	for _, c := range y {
		if c >= 0 {
			return true, nil
		}
	}
	return false, nil
}

// relabelled is a dataset whose classes are a model's decisions.
type relabelled struct {
	data.Dataset
	y []int32
}

func (r relabelled) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	if err := r.Dataset.Read(ctx, idx, x, y); err != nil {
		return err
	}
	for k := range y {
		y[k] = r.y[idx[k]]
	}
	return nil
}

// decided is what a model makes of all samples of a dataset.
type decided struct {
	class []int32
	right []bool  // the label is among the top largest logits
	label []int32 // the dataset's, -1: none
}

// decisions are a model's on d.
func decisions(ctx context.Context, g *graph.Graph, d data.Dataset, threads, top int) (out decided, err error) {
	const chunk = 4096
	for at := 0; at < d.Len(); at += chunk {
		idx := make([]int, min(chunk, d.Len()-at))
		for i := range idx {
			idx[i] = at + i
		}
		e, err := train.Evaluate(ctx, g, data.Subset(d, idx), train.EvalOptions{Threads: threads, Logits: true, Top: top})
		if err != nil {
			return out, err
		}
		for i := range idx {
			out.class = append(out.class, int32(train.Argmax(e.Logits[i*e.Classes:(i+1)*e.Classes])))
		}
		out.right, out.label = append(out.right, e.Correct...), append(out.label, e.Labels...)
	}
	return out, nil
}
