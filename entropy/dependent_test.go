package entropy

import "testing"

// Every value of a scale has one level, and values of the other have none; zero is on both.
func TestLevels(t *testing.T) {
	for state := range 8 {
		for v := int32(-300); v <= 300; v++ {
			k, ok := ValueLevel(state, v)
			if want := v == 0 || v&1 == int32(state&1); ok != want {
				t.Fatalf("state %d, value %d: level %v, want %v", state, v, ok, want)
			}
			if ok && LevelValue(state, k) != v {
				t.Errorf("state %d: level %d is %d, want %d", state, k, LevelValue(state, k), v)
			}
		}
	}
}

// The machine as docs/format.md has it.
func TestNextState(t *testing.T) {
	for state, next := range [][2]int{{0, 7}, {2, 5}, {4, 3}, {6, 1}, {7, 0}, {5, 2}, {3, 4}, {1, 6}} {
		for _, k := range []int32{0, 1, -1, 2, -2, 127, -128, 1<<31 - 1, -1 << 31} {
			if got := NextState(state, k); got != next[k&1] {
				t.Errorf("state %d, level %d: %d, want %d", state, k, got, next[k&1])
			}
		}
	}
}
