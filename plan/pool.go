package plan

import (
	"runtime"
	"sync"
	"sync/atomic"

	"whit/kernel"
)

// crew is one run shared by a session and its helpers. ctr holds (phase index+1)
// << 32 | next tile; a worker claims a tile by adding one. Phases are immutable,
// so a claim names its own phase even if the session has moved on.
type crew struct {
	ctr    atomic.Uint64
	done   atomic.Int64 // tiles finished in the current phase
	closed atomic.Bool
	out    sync.WaitGroup // helpers that still hold the crew

	phases []phaseRef
	calls  []kernel.Call
}

// helpers are goroutines parked on their channels; idle ones stand in the list.
var pool struct {
	mu   sync.Mutex
	idle []chan task
	made int
}

type task struct {
	c       *crew
	scratch []byte
}

// take removes up to n idle helpers, making new ones up to limit in all. It never waits.
func take(n int, got []chan task) []chan task {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	limit := runtime.GOMAXPROCS(0) - 1
	for len(got) < n {
		if k := len(pool.idle); k > 0 {
			got = append(got, pool.idle[k-1])
			pool.idle = pool.idle[:k-1]
			continue
		}
		if pool.made >= limit {
			break
		}
		pool.made++
		ch := make(chan task, 1)
		go help(ch)
		got = append(got, ch)
	}
	return got
}

func help(ch chan task) {
	for t := range ch {
		t.c.work(t.scratch)
		t.c.out.Done()
		pool.mu.Lock()
		pool.idle = append(pool.idle, ch)
		pool.mu.Unlock()
	}
}

// work claims tiles until the crew is closed. It spins between phases, giving the
// processor away now and then so that a busy machine does not suffer.
func (c *crew) work(scratch []byte) {
	idle := 0
	for !c.closed.Load() {
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
	ph := &c.phases[int(v>>32)-1]
	i := int(uint32(v))
	if i >= ph.tiles {
		return false
	}
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
