//go:build !amd64 || noasm

package kern

const haveExp = false

func vecExp([]float32, []float32, int)     { panic("kern: no assembly") }
func vecSigmoid([]float32, []float32, int) { panic("kern: no assembly") }
func vecSwish([]float32, []float32, int)   { panic("kern: no assembly") }
func vecTanh([]float32, []float32, int)    { panic("kern: no assembly") }
func vecErf([]float32, []float32, int)     { panic("kern: no assembly") }

func wideSigmoid([]float32, []float32, int) { panic("kern: no assembly") }
func wideSwish([]float32, []float32, int)   { panic("kern: no assembly") }
