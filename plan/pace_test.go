package plan

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const us = time.Microsecond
	var p pace
	for _, x := range []struct {
		name            string
		alone, together time.Duration
		want            int // runs alone
	}{
		{"helpers hinder", 100 * us, 150 * us, paceCycle - paceAlone - (paceKnown - paceTogether)},
		{"they help, where they did not in the last cycle", 100 * us, 60 * us, paceTogether},
		{"they help", 100 * us, 60 * us, paceTogether - paceAlone},
		{"hardly a difference", 100 * us, 101 * us, paceTogether - paceAlone},
		{"long runs are not made alone", 9 * time.Millisecond, 10 * time.Millisecond, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			lone := 0
			for range paceCycle {
				if p.next() {
					lone++
					p.took(x.alone)
				} else {
					p.took(x.together)
				}
			}
			if lone != x.want {
				t.Errorf("%d of %d runs alone, want %d", lone, paceCycle, x.want)
			}
		})
	}
}
