package plan

import (
	"runtime"
	"sync"
	"sync/atomic"

	"whit/kernel"
)

// crew is a session's runs, shared with helpers. Every worker has a lane: the part of a
// phase's tiles that it takes first, before it looks for what others have left. What a
// worker wrote in one phase is therefore mostly what it reads in the next, and workers write to
// the same lines of memory only when they help each other out.
//
// open holds the number of the phase that is shared, counted over all runs, << tileBits
// | its index. Phases are immutable, so a worker that claims a tile by that number has its own
// phase even if the session has moved on.
//
// A run never waits for a helper that has no tile: one that wakes after the run has
// ended leaves, or joins the next run where that has begun.
type crew struct {
	open   atomic.Uint64
	closed atomic.Bool // between runs
	_      [112]byte   // what follows does not change

	phases []phaseRef
	calls  []kernel.Call
	slots  []slotOf // of helpers; the session's own scratch is apart
	lanes  []lane   // the session's own is the first
	shared uint64   // tiles of all phases that were shared
	short  bool     // the run found no helper for one of the slots
}

// tileBits are the bits of the number of a tile or of a phase; the others count phases.
const tileBits = 24

// lane is a worker's part of the tiles, apart from what other workers write to.
type lane struct {
	next atomic.Uint64 // number of a phase << tileBits | how many of the lane's tiles are claimed
	done atomic.Uint64 // tiles that the worker has finished, of all phases
	_    [112]byte
}

// slotOf is a helper's place in a crew.
type slotOf struct {
	taken   atomic.Bool
	scratch []byte
}

// helpers are goroutines parked on their channels; idle ones stand in the list.
var pool struct {
	mu     sync.Mutex
	idle   []chan task
	made   int
	none   atomic.Bool // all that there may be are away
	wanted atomic.Bool // a run is short of one: those that linger after another's are to leave it
}

type task struct {
	c    *crew
	slot int
}

// call begins a run, or goes on with one that is short of helpers, and fills free slots with idle ones. It reports whether there are any.
func (c *crew) call() bool {
	c.closed.Store(false)
	any := false
	c.short = false
	for i := range c.slots {
		if !c.slots[i].taken.Load() {
			ch := take()
			if ch == nil {
				c.short = true
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
	if pool.none.Load() {
		pool.wanted.Store(true)
		return nil
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if k := len(pool.idle); k > 0 {
		ch := pool.idle[k-1]
		pool.idle = pool.idle[:k-1]
		return ch
	}
	if pool.made >= runtime.GOMAXPROCS(0)-1 {
		pool.none.Store(pool.made > 0) // until one comes back
		pool.wanted.Store(true)
		return nil
	}
	pool.made++
	ch := make(chan task, 1)
	go help(ch)
	return ch
}

func help(ch chan task) {
	for t := range ch {
		for more := true; more; {
			away := t.c.work(t.slot+1, t.c.slots[t.slot].scratch)
			t.c.slots[t.slot].taken.Store(false)
			pool.mu.Lock()
			pool.idle = append(pool.idle, ch)
			pool.none.Store(false)
			pool.wanted.Store(false)
			pool.mu.Unlock()
			if more = away; more {
				t, more = soon(ch)
			}
		}
	}
}

// soon waits for a task for a little while: a run that is short of helpers asks for them at every step.
func soon(ch chan task) (task, bool) {
	for i := range linger {
		select {
		case t := <-ch:
			return t, true
		default:
			spin(i + 1)
		}
	}
	return task{}, false
}

// spin is the i-th time in a row that a worker finds nothing to do. After some microseconds other
// goroutines may run, and after tens of them other threads: whoever is awaited has then most likely lost its
// processor to one, which a spinning worker would keep from running on this one.
func spin(i int) {
	if i&(1<<8-1) == 0 {
		runtime.Gosched()
	}
	if i&(1<<15-1) == 0 {
		yield()
	}
}

// linger is for how many turns a helper stays where it may be needed next, some microseconds: waking it would cost more.
const linger = 8 << 10

// work claims tiles as worker w until the crew is closed. It spins between phases and lingers
// after a run, unless another is short of helpers: away.
func (c *crew) work(w int, scratch []byte) (away bool) {
	seen, idle, over := uint64(0), 0, 0
	for over < linger { // since the run ended: phases that it had no part in may have taken long before
		if open := c.open.Load(); open != seen {
			if seen = open; c.take(w, open, scratch) {
				idle = 0
			}
			continue
		}
		if idle++; !c.closed.Load() {
			over = 0
		} else if over++; pool.wanted.Load() {
			return true
		}
		spin(idle)
	}
	return false
}

// take runs tiles of an open phase as worker w while there are any, its own ones first; false: there were none.
func (c *crew) take(w int, open uint64, scratch []byte) (any bool) {
	const index = 1<<tileBits - 1
	ph, n := &c.phases[open&index], len(c.lanes)
	for i := range n {
		l := &c.lanes[(w+i)%n]
		from, to := (w+i)%n*ph.tiles/n, ((w+i)%n+1)*ph.tiles/n
		for {
			at, k := l.next.Load(), 0
			if ahead := int64(at&^index - open&^index); ahead > 0 {
				return any // this phase is over
			} else if ahead == 0 {
				k = int(at & index)
			}
			if k >= to-from {
				break
			}
			if l.next.CompareAndSwap(at, open&^index|uint64(k+1)) {
				ph.run(&c.calls[ph.step], from+k, scratch)
				c.lanes[w].done.Add(1)
				any = true
			}
		}
	}
	return any
}

// share runs one phase with the helpers that the crew has.
func (c *crew) share(p int, scratch []byte) {
	open := (c.open.Load()>>tileBits+1)<<tileBits | uint64(p)
	c.shared += uint64(c.phases[p].tiles)
	c.open.Store(open)
	c.take(0, open, scratch)
	for i := 1; ; i++ {
		done := uint64(0)
		for i := range c.lanes {
			done += c.lanes[i].done.Load()
		}
		if done == c.shared {
			return
		}
		spin(i)
	}
}
