//go:build !amd64 || noasm

package kern

func normSums(_, _, _ *float64, _ *float32, _, _, _ int)                 { panic("kern: no assembly") }
func normGradSums(_, _, _, _, _ *float64, _, _ *float32, _, _, _, _ int) { panic("kern: no assembly") }
func norm(_, _ *float32, _, _, _ *float64, _, _, _, _ int)               { panic("kern: no assembly") }
func normGrad(_, _, _ *float32, _, _, _, _ *float64, _, _, _, _, _ int)  { panic("kern: no assembly") }
