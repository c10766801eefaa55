package plan

import (
	"runtime"
	"sync"
	"sync/atomic"

	"whit/kernel"
)

// crew is a session's runs, shared with helpers. ctr holds (phase index+1) << 32 |
// next tile; a worker claims a tile by adding one. Phases are immutable, so a claim
// names its own phase even if the session has moved on.
//
// A run never waits for a helper that has no tile: one that wakes after the run has
// ended leaves, or joins the next run where that has begun.
type crew struct {
	ctr    atomic.Uint64
	done   atomic.Int64 // tiles finished in the current phase
	closed atomic.Bool  // between runs

	phases []phaseRef
	calls  []kernel.Call
	slots  []slotOf // of helpers; the session's own scratch is apart
}

// slotOf is a helper's place in a crew.
type slotOf struct {
	taken   atomic.Bool
	scratch []byte
}

// helpers are goroutines parked on their channels; idle ones stand in the list.
var pool struct {
	mu   sync.Mutex
	idle []chan task
	made int
}

type task struct {
	c    *crew
	slot int
}

// open begins a run and fills free slots with idle helpers. It reports whether there are any.
func (c *crew) open() bool {
	c.closed.Store(false)
	any := false
	for i := range c.slots {
		if !c.slots[i].taken.Load() {
			ch := take()
			if ch == nil {
				continue
			}
			c.slots[i].taken.Store(true)
			ch <- task{c, i}
		}
		any = true
	}
	return any
}

// take removes an idle helper, or makes one up to limit in all; nil: none. It never waits.
func take() chan task {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if k := len(pool.idle); k > 0 {
		ch := pool.idle[k-1]
		pool.idle = pool.idle[:k-1]
		return ch
	}
	if pool.made >= runtime.GOMAXPROCS(0)-1 {
		return nil
	}
	pool.made++
	ch := make(chan task, 1)
	go help(ch)
	return ch
}

func help(ch chan task) {
	for t := range ch {
		t.c.work(t.c.slots[t.slot].scratch)
		t.c.slots[t.slot].taken.Store(false)
		pool.mu.Lock()
		pool.idle = append(pool.idle, ch)
		pool.mu.Unlock()
	}
}

// work claims tiles until the crew is closed. It spins between phases, giving the
// processor away now and then so that a busy machine does not suffer, and lingers for
// some microseconds after a run: waking for the next one would cost it more.
func (c *crew) work(scratch []byte) {
	const linger = 8 << 10
	for idle := 0; idle < linger || !c.closed.Load(); {
		v := c.ctr.Load()
		p := int(v>>32) - 1
		if p >= 0 && int(uint32(v)) < c.phases[p].tiles {
			if c.claim(scratch) {
				idle = 0
				continue
			}
		}
		if idle++; idle&255 == 0 {
			runtime.Gosched()
		}
	}
}

// claim takes one tile and runs it; false where the phase has none left.
func (c *crew) claim(scratch []byte) bool {
	v := c.ctr.Add(1) - 1
	i := int(uint32(v))
	if v>>32 == 0 || i >= c.phases[v>>32-1].tiles {
		return false
	}
	ph := &c.phases[v>>32-1]
	ph.run(&c.calls[ph.step], i, scratch)
	c.done.Add(1)
	return true
}

// share runs one phase with the helpers that the crew has.
func (c *crew) share(p int, scratch []byte) {
	c.done.Store(0)
	c.ctr.Store(uint64(p+1) << 32)
	for c.claim(scratch) {
	}
	tiles := int64(c.phases[p].tiles)
	for spin := 0; c.done.Load() < tiles; spin++ {
		if spin&255 == 255 {
			runtime.Gosched()
		}
	}
}
