package kern

import (
	"slices"
	"testing"
)

// TestWinogradTrial compares the variants' bits.
func TestWinogradTrial(t *testing.T) {
	if !canRun(micros[isaAVX2]) {
		t.Skip("NOT RUN: this CPU or build lacks it")
	}
	var m [2][]float32
	var exact [2][]float64
	for i, w := range []Winograd{{4, isaGo}, {4, isaAVX2}} {
		m[i], exact[i] = random(1, 36*16), make([]float64, 256)
		for seed := range uint64(3) {
			d := make([]float64, 36)
			for k, x := range random(10+seed, 36) {
				d[k] = float64(x)
			}
			w.Trial(m[i], exact[i], random(20+seed, 36), d, random(30+seed, 36*16), random(40+seed, 9*16))
		}
	}
	if !slices.Equal(m[0], m[1]) || !slices.Equal(exact[0], exact[1]) {
		t.Error("bits differ from portable Go's")
	}
}
