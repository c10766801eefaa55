package data

import (
	"context"
	"io"
	"sync"
)

// Batch is some samples of a dataset. It belongs to the caller until Release.
type Batch struct {
	Index []int     // of the samples, aliasing the order that the reader was given
	X     []float32 // len(Index) * product(Shape)
	Y     []int32   // the classes, -1 where there is none
	err   error
	from  *Batches
}

// Release gives the batch's memory back to the reader. The batch is not used after it.
func (b *Batch) Release() {
	select {
	case b.from.free <- b:
	default: // released twice
	}
}

// BatchOptions of NewBatches.
type BatchOptions struct {
	Size    int  // samples of a batch; 0: 128
	Ahead   int  // batches in memory, the one in use among them; 0: 4
	Workers int  // goroutines that read; 0: 2
	Drop    bool // drop the last batch where it is not full
}

// Batches reads batches of a dataset ahead, in parallel, and hands them out in order.
// Its memory is Ahead batches.
type Batches struct {
	cancel context.CancelFunc
	ctx    context.Context
	slots  []chan *Batch // one a batch, filled by a worker
	next   int
	free   chan *Batch
	wg     sync.WaitGroup
}

// NewBatches starts reading the samples order of d, in that order. Close must be
// called. Every batch must be released before Ahead others can be read.
func NewBatches(ctx context.Context, d Dataset, order []int, o BatchOptions) *Batches {
	if o.Size <= 0 {
		o.Size = 128
	}
	if o.Ahead <= 0 {
		o.Ahead = 4
	}
	if o.Workers <= 0 {
		o.Workers = 2
	}
	n := len(order) / o.Size
	if len(order)%o.Size > 0 && !o.Drop {
		n++
	}
	r := &Batches{slots: make([]chan *Batch, n), free: make(chan *Batch, o.Ahead)}
	r.ctx, r.cancel = context.WithCancel(ctx)
	vals := size(d)
	for range o.Ahead {
		r.free <- &Batch{X: make([]float32, o.Size*vals), Y: make([]int32, o.Size), from: r}
	}
	for i := range r.slots {
		r.slots[i] = make(chan *Batch, 1)
	}
	// A worker takes a free batch and the next number in one step: were these two, the
	// batches could all wait behind one that has none.
	var mu sync.Mutex
	at := 0
	for range min(o.Workers, o.Ahead, n) {
		r.wg.Go(func() {
			for {
				mu.Lock()
				if at == n {
					mu.Unlock()
					return
				}
				var b *Batch
				select {
				case b = <-r.free:
				case <-r.ctx.Done():
					mu.Unlock()
					return
				}
				k := at
				at++
				mu.Unlock()
				b.Index = order[k*o.Size : min(len(order), (k+1)*o.Size)]
				b.X, b.Y = b.X[:len(b.Index)*vals], b.Y[:len(b.Index)]
				b.err = d.Read(r.ctx, b.Index, b.X, b.Y)
				r.slots[k] <- b
			}
		})
	}
	return r
}

// Next is the next batch; io.EOF after the last.
func (r *Batches) Next() (*Batch, error) {
	if r.next == len(r.slots) {
		return nil, io.EOF
	}
	select {
	case b := <-r.slots[r.next]:
		r.next++
		if b.err != nil {
			return nil, b.err
		}
		return b, nil
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	}
}

// Close stops the readers and waits for them.
func (r *Batches) Close() {
	r.cancel()
	r.wg.Wait()
}
