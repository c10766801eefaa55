//go:build !noasm

package kern

// copyRows copies where there is assembly for the step.
func copyRows(t *Rows) bool {
	switch t.Step {
	case 1:
		f32RowsAVX2(t)
	case 2:
		f32Rows2AVX2(t)
	default:
		return false
	}
	return true
}
