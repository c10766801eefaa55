//go:build !amd64 || noasm

package kern

func maxPool(*Pool)                                 { panic("kern: no assembly") }
func avgPool(*Pool)                                 { panic("kern: no assembly") }
func sumPixels([]float64, []float32, int, int, int) { panic("kern: no assembly") }
