package train

import (
	"context"
	"math/bits"
	"slices"

	"whit/op"
)

// Streams of op.Random under the seed of the options.
const (
	streamShuffle = 0x73687566 // one permutation an epoch
	streamAugment = 0x6175676d
	streamDropout = 0x64726f70
)

// shuffle fills perm with the permutation of that epoch (R. A. Fisher, F. Yates;
// R. Durstenfeld: Algorithm 235, 1964).
func shuffle(perm []int, seed, epoch uint64) {
	for i := range perm {
		perm[i] = i
	}
	s := op.Random(seed, streamShuffle, epoch)
	for i := len(perm) - 1; i > 0; i-- {
		hi, _ := bits.Mul64(op.Random(s, 0, uint64(i)), uint64(i+1))
		perm[i], perm[hi] = perm[hi], perm[i]
	}
}

// batches reads batches one ahead of their use. What a batch holds depends on its
// place (epoch, step) alone.
type batches struct {
	ds      Dataset
	seed    uint64
	aug     augment
	views   int // augmented versions of a sample, 0: one an epoch
	size    int // samples a batch
	steps   int // batches an epoch
	sample  int // numbers a sample
	c, h, w int // of a sample, for augmentation
	perm    []int
	permOf  int // the epoch of perm, -1: none
	tmp     []float32
	next    chan *batch // being read, nil: nothing
	nextAt  [2]int
	free    []*batch
}

// batch is one batch: n samples.
type batch struct {
	n   int
	idx []int
	x   []float32
	y   []int32
	err error
}

func newBatches(ds Dataset, o *Options) *batches {
	b := &batches{ds: ds, seed: o.Seed, size: min(o.Batch, ds.Len()), permOf: -1}
	b.aug, b.views = o.augmented()
	b.steps = (ds.Len() + b.size - 1) / b.size
	if o.DropLast {
		b.steps = max(1, ds.Len()/b.size)
	}
	s := ds.Shape()
	b.sample = 1
	for _, d := range s {
		b.sample *= d
	}
	b.c, b.h, b.w = 1, 1, b.sample
	switch len(s) {
	case 2:
		b.h, b.w = s[0], s[1]
	case 3:
		b.c, b.h, b.w = s[0], s[1], s[2]
	}
	b.perm = make([]int, ds.Len())
	b.tmp = make([]float32, b.h*b.w)
	for range 2 {
		b.free = append(b.free, &batch{x: make([]float32, b.size*b.sample), y: make([]int32, b.size)})
	}
	return b
}

// get is the batch at (epoch, step); the caller gives it back with put. ahead
// says whether to begin with the one after it.
func (b *batches) get(ctx context.Context, epoch, step int, ahead bool) (*batch, error) {
	var got *batch
	if b.next != nil {
		got = <-b.next
		b.next = nil
		if b.nextAt != [2]int{epoch, step} || got.err != nil {
			b.free = append(b.free, got)
			got = nil
		}
	}
	if got == nil {
		got = b.take()
		b.read(ctx, got, epoch, step)
		if got.err != nil {
			b.put(got)
			return nil, got.err
		}
	}
	if ahead {
		if step++; step == b.steps {
			epoch, step = epoch+1, 0
		}
		nb := b.take()
		b.next, b.nextAt = make(chan *batch, 1), [2]int{epoch, step}
		go func(ch chan *batch) {
			b.read(ctx, nb, epoch, step)
			ch <- nb
		}(b.next)
	}
	return got, nil
}

func (b *batches) take() *batch {
	k := len(b.free) - 1
	t := b.free[k]
	b.free = b.free[:k]
	return t
}

func (b *batches) put(t *batch) { b.free = append(b.free, t) }

// stop waits for a read that is under way.
func (b *batches) stop() {
	if b.next != nil {
		b.put(<-b.next)
		b.next = nil
	}
}

// read fills t. Only one read is under way at a time.
func (b *batches) read(ctx context.Context, t *batch, epoch, step int) {
	if b.permOf != epoch {
		shuffle(b.perm, b.seed, uint64(epoch))
		b.permOf = epoch
	}
	from := step * b.size
	t.idx = slices.Clone(b.perm[from:min(from+b.size, len(b.perm))])
	t.n = len(t.idx)
	t.err = b.load(ctx, t.idx, b.version(epoch), t.x, t.y, b.tmp)
}

// version is which augmented version of samples an epoch takes.
func (b *batches) version(epoch int) int {
	if b.views > 0 {
		return epoch % b.views
	}
	return epoch
}

// load reads a version of samples; tmp holds at least an image's plane.
func (b *batches) load(ctx context.Context, idx []int, version int, x []float32, y []int32, tmp []float32) error {
	n := len(idx)
	if err := b.ds.Read(ctx, idx, x[:n*b.sample], y[:n]); err != nil || b.aug.none() {
		return err
	}
	seed := op.Random(b.seed, streamAugment, 0)
	for i, s := range idx {
		b.aug.apply(x[i*b.sample:(i+1)*b.sample], tmp, b.c, b.h, b.w, seed, uint64(version), uint64(s))
	}
	return nil
}
