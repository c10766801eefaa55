package entropy

// A dependent quantiser has two scales, and what came before in the row says which one is
// in force. In units of the step, a level k stands for
//
//	scale 0: 2k     ... -4 -2 0 2 4 ...
//	scale 1: 2k - sign(k)   ... -3 -1 0 1 3 ...
//
// A machine of eight states is moved by the parity of levels; a row begins in state 0, and
// the lowest bit of a state is its scale. Of the grid of all values, twice as fine as a scale,
// a coder so pays for half, and an encoder that looks ahead loses little by it.
//
// This is entropy-coded trellis-coded quantisation (T. R. Fischer, M. Wang: Entropy-constrained
// trellis-coded quantization, 1992) with one zero in both scales and parity for the path (J. H. Kasner,
// M. W. Marcellin, B. R. Hunt: Universal trellis coded quantization, 1999; JPEG 2000, part 2).
// The machine is the best of those of eight states that are linear shift registers, found by
// the mean square error that they give on uniform values: 0.99 dB less than a single scale.

// NextState is the state after a level of a dependent quantiser.
func NextState(state int, level int32) int {
	return state<<1&7 ^ -(state>>2^int(level)&1)&7
}

// LevelValue is what a level stands for in a state, in steps.
func LevelValue(state int, level int32) int32 {
	v := 2 * level
	if state&1 != 0 {
		v -= level>>31 | int32(uint32(-level)>>31)
	}
	return v
}

// ValueLevel is the level that stands for a value in a state; false: none does.
func ValueLevel(state int, v int32) (level int32, ok bool) {
	if state&1 == 0 {
		return v / 2, v&1 == 0
	}
	switch {
	case v > 0:
		return (v + 1) / 2, v&1 != 0
	case v < 0:
		return (v - 1) / 2, v&1 != 0
	}
	return 0, true
}
