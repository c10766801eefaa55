package plan

import "time"

// pace finds out whether helpers make runs faster. Of a small network they may not: where what one processor wrote takes long to
// reach another, or another program has that one, two workers take longer than one. So of every cycle of runs a few are
// made alone and a few together, and the faster way is kept for the rest of it. What is computed is the same.
type pace struct {
	run   int              // of the cycle
	alone bool             // is the faster way
	least [2]time.Duration // of the runs made together, alone
}

const (
	paceCycle    = 1024
	paceAlone    = 8  // the first run that is made alone to be timed; those before pack weights and warm up
	paceTogether = 12 // the first that is made together
	paceKnown    = 20
	paceLong     = 4 * time.Millisecond // of a run; from there on helpers help
)

// next says whether the next run is to be made alone.
func (p *pace) next() bool {
	switch {
	case p.run >= paceAlone && p.run < paceTogether:
		return true
	case p.run >= paceTogether && p.run < paceKnown:
		return false
	}
	return p.alone
}

// took is told what the run took that next was asked about.
func (p *pace) took(d time.Duration) {
	way := 0
	if p.next() {
		way = 1
	}
	switch {
	case p.run >= paceKnown || p.run == 0:
	case d > paceLong:
		p.run, p.alone = paceKnown, false
	case p.run >= paceAlone:
		if p.least[way] == 0 || d < p.least[way] {
			p.least[way] = d
		}
		if p.run == paceKnown-1 {
			p.alone = p.least[1] < p.least[0]-p.least[0]/32
		}
	}
	if p.run++; p.run >= paceCycle {
		*p = pace{alone: p.alone}
	}
}
