package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

var (
	// ErrCorrupt means that a file of a dataset cannot be read.
	ErrCorrupt = errors.New("corrupt data")
	// ErrTooLarge means that a file asks for more than a limit allows.
	ErrTooLarge = errors.New("data too large")
	// ErrLabels means that classes cannot be told from the data.
	ErrLabels = errors.New("labels do not fit")
)

// Dataset is a list of samples of one shape, in an order that says nothing of what they are: calibration and the like take the first so many as a fair
// sample of all. Open mixes folders and .npz files. All methods are safe for concurrent use.
type Dataset interface {
	// Len is the number of samples.
	Len() int
	// Shape is one sample's shape as the network's input, without N: [C,H,W] or [K].
	Shape() []int
	// Labels are the class names in the order of the classes, nil without labels.
	Labels() []string
	// Read writes the samples idx into x, len(idx)*product(Shape) values that have
	// passed the card, and their classes into y (-1: none), which may be nil.
	Read(ctx context.Context, idx []int, x []float32, y []int32) error
	// Hash is the SHA-256 of the sample's raw content.
	Hash(i int) [32]byte
}

// Targets is what a dataset of pictures to be restored has beside them: for every sample,
// what the network should give.
type Targets interface {
	// TargetShape is one target's shape, without N: [C,H,W].
	TargetShape() []int
	// ReadTargets writes the targets of the samples idx into t.
	ReadTargets(ctx context.Context, idx []int, t []float32) error
}

// TargetsOf is what d has of targets; ok is false where it has none.
func TargetsOf(d any) (t Targets, ok bool) {
	switch d := d.(type) {
	case *subset:
		if t, ok = TargetsOf(d.Dataset); ok {
			return &subTargets{t, d}, true
		}
		return nil, false
	case *array:
		return d, d.t != nil
	case *reshaped:
		return TargetsOf(d.Dataset)
	}
	if w, is := d.(interface{ Unwrap() any }); is { // a view of the same samples, or of the first of them
		return TargetsOf(w.Unwrap())
	}
	t, ok = d.(Targets)
	return t, ok
}

type subTargets struct {
	Targets
	of *subset
}

func (s *subTargets) ReadTargets(ctx context.Context, idx []int, t []float32) error {
	j, err := s.of.at(idx)
	if err != nil {
		return err
	}
	return s.Targets.ReadTargets(ctx, j, t)
}

// Sets are the parts that a source has: All, or Train and Test; the others are nil.
type Sets struct {
	All, Train, Test Dataset
	Skipped          int // broken images passed over, where Options.SkipBroken allows it
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// size is one sample's number of values.
func size(d Dataset) int { return product(d.Shape()) }

// checkRead finds a programmer's mistakes in the arguments of Read.
func checkRead(n, size int, idx []int, x []float32, y []int32) error {
	if len(x) < len(idx)*size {
		return fmt.Errorf("read: %d samples of %d values into %d", len(idx), size, len(x))
	}
	if y != nil && len(y) < len(idx) {
		return fmt.Errorf("read: %d classes into %d", len(idx), len(y))
	}
	for _, i := range idx {
		if i < 0 || i >= n {
			return fmt.Errorf("read: sample %d of %d", i, n)
		}
	}
	return nil
}

// subset is a choice of samples.
type subset struct {
	Dataset
	idx []int
}

// Subset is the samples idx of d, in that order. It aliases idx and panics where an
// index is outside of d.
func Subset(d Dataset, idx []int) Dataset {
	for _, i := range idx {
		if i < 0 || i >= d.Len() {
			panic(fmt.Sprintf("data.Subset: sample %d of %d", i, d.Len()))
		}
	}
	if s, ok := d.(*subset); ok { // one step, however deep
		j := make([]int, len(idx))
		for k, i := range idx {
			j[k] = s.idx[i]
		}
		return &subset{s.Dataset, j}
	}
	return &subset{d, idx}
}

func (s *subset) Len() int            { return len(s.idx) }
func (s *subset) Hash(i int) [32]byte { return s.Dataset.Hash(s.idx[i]) }

func (s *subset) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	j, err := s.at(idx)
	if err != nil {
		return err
	}
	return s.Dataset.Read(ctx, j, x, y)
}

// at are the samples idx as the dataset numbers them.
func (s *subset) at(idx []int) ([]int, error) {
	j := make([]int, len(idx))
	for k, i := range idx {
		if i < 0 || i >= len(s.idx) {
			return nil, fmt.Errorf("read: sample %d of %d", i, len(s.idx))
		}
		j[k] = s.idx[i]
	}
	return j, nil
}

// reshaped is the same values under another shape.
type reshaped struct {
	Dataset
	shape []int
}

// Reshape is d with samples of another shape of as many values, for example [784]
// for [1,28,28].
func Reshape(d Dataset, shape ...int) (Dataset, error) {
	if slices.Equal(shape, d.Shape()) {
		return d, nil
	}
	for _, n := range shape {
		if n < 1 {
			return nil, fmt.Errorf("samples of shape %v do not make an input of %v", d.Shape(), shape)
		}
	}
	if product(shape) != size(d) {
		return nil, fmt.Errorf("samples of shape %v do not make an input of %v", d.Shape(), shape)
	}
	return &reshaped{d, slices.Clone(shape)}, nil
}

func (r *reshaped) Shape() []int { return slices.Clone(r.shape) }

// Hashes are the hashes of all samples, computed on all cores.
func Hashes(d Dataset) [][32]byte {
	h := make([][32]byte, d.Len())
	each(len(h), func(i int) { h[i] = d.Hash(i) })
	return h
}

// each calls f for 0..n-1 on all cores.
func each(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// mixed is an order of n samples that says nothing of what they show, drawn from their names: whoever looks at the first so many, as
// calibration does, sees a fair sample of them all, and not of the first class.
func mixed(n int, name func(i int) string) []int {
	keys, idx := make([][32]byte, n), make([]int, n)
	for i := range idx {
		keys[i], idx[i] = sha256.Sum256([]byte(name(i))), i
	}
	slices.SortFunc(idx, func(i, j int) int { return bytes.Compare(keys[i][:], keys[j][:]) })
	return idx
}

// Split divides the samples into parts of the given fractions, which should sum to
// at most 1 (the rest is left out). Samples of equal content stay together. The
// order of the samples and their names have no say: samples sort by
// SHA-256(seed, Hash) and are cut where the counts come nearest. The index lists are
// ascending.
func Split(d Dataset, seed uint64, parts ...float64) [][]int {
	n := d.Len()
	type group struct {
		key [32]byte
		idx []int
	}
	at := map[[32]byte]int{}
	var groups []group
	for i, h := range Hashes(d) {
		g, ok := at[h]
		if !ok {
			g = len(groups)
			at[h] = g
			var b [40]byte
			binary.LittleEndian.PutUint64(b[:], seed)
			copy(b[8:], h[:])
			groups = append(groups, group{key: sha256.Sum256(b[:])})
		}
		groups[g].idx = append(groups[g].idx, i)
	}
	slices.SortFunc(groups, func(a, b group) int { return bytes.Compare(a.key[:], b.key[:]) })
	out := make([][]int, len(parts))
	g, taken, sum := 0, 0, 0.0
	for p, f := range parts {
		sum += f
		want := min(n, int(math.Round(float64(n)*sum)))
		out[p] = []int{}
		for g < len(groups) && taken < want {
			// A group that would overshoot by more than half goes to the next part.
			if k := len(groups[g].idx); taken+k-want > want-taken && p+1 < len(parts) && len(out[p]) > 0 {
				break
			}
			out[p] = append(out[p], groups[g].idx...)
			taken += len(groups[g].idx)
			g++
		}
		slices.Sort(out[p])
	}
	return out
}

// Parts are the sets that compression works with. Code that searches never reads Test.
type Parts struct {
	Calib  Dataset // training and calibration
	Choice Dataset // choosing between candidates
	Test   Dataset // the final figure, once
}

// Splits makes the parts: of All 40/30/30 for calibration, choice and test; of Train,
// where there is a test set of its own, 5/6 and 1/6. Samples of the test set's content
// are left out of the others, duplicates stay together.
func Splits(s Sets, seed uint64) (Parts, error) {
	switch {
	case s.All != nil:
		p := Split(s.All, seed, 0.4, 0.3, 0.3)
		return Parts{Subset(s.All, p[0]), Subset(s.All, p[1]), Subset(s.All, p[2])}, nil
	case s.Train != nil && s.Test != nil:
		seen := map[[32]byte]bool{}
		for _, h := range Hashes(s.Test) {
			seen[h] = true
		}
		var keep []int
		for i, h := range Hashes(s.Train) {
			if !seen[h] {
				keep = append(keep, i)
			}
		}
		train := s.Train
		if len(keep) < train.Len() {
			train = Subset(train, keep)
		}
		p := Split(train, seed, 5.0/6, 1.0/6)
		return Parts{Subset(train, p[0]), Subset(train, p[1]), s.Test}, nil
	}
	return Parts{}, errors.New("the data has neither a test set nor one set to split")
}
