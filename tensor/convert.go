package tensor

import "fmt"

// Convert writes src's elements into dst, element by element, between float
// types (rounding to nearest even, once). It is storage conversion only: other
// casts are the operator Cast's. It panics where the lengths differ or a type is
// not a float type that Convert knows: float16, bfloat16, float32, float64.
func Convert(dst, src *Tensor) {
	if dst.Len() != src.Len() {
		panic(fmt.Sprintf("tensor.Convert: %v to %v", src.Type, dst.Type))
	}
	if dst.DType == src.DType {
		copy(dst.Bytes(), src.Bytes())
		return
	}
	switch src.DType {
	case Float16:
		fromF32(dst, Of[F16](src), F16.Float32)
	case BFloat16:
		fromF32(dst, Of[BF16](src), BF16.Float32)
	case Float32:
		fromF32(dst, Of[float32](src), func(x float32) float32 { return x })
	case Float64:
		s := Of[float64](src)
		switch dst.DType {
		case Float32:
			for i, x := range s {
				Of[float32](dst)[i] = float32(x)
			}
		case Float16:
			for i, x := range s {
				Of[F16](dst)[i] = ToF16(roundOdd(x))
			}
		case BFloat16:
			for i, x := range s {
				Of[BF16](dst)[i] = ToBF16(roundOdd(x))
			}
		default:
			panic("tensor.Convert: to " + dst.DType.String())
		}
	default:
		panic("tensor.Convert: from " + src.DType.String())
	}
}

func fromF32[T any](dst *Tensor, src []T, f func(T) float32) {
	switch dst.DType {
	case Float16:
		for i, d := 0, Of[F16](dst); i < len(src); i++ {
			d[i] = ToF16(f(src[i]))
		}
	case BFloat16:
		for i, d := 0, Of[BF16](dst); i < len(src); i++ {
			d[i] = ToBF16(f(src[i]))
		}
	case Float32:
		for i, d := 0, Of[float32](dst); i < len(src); i++ {
			d[i] = f(src[i])
		}
	case Float64:
		for i, d := 0, Of[float64](dst); i < len(src); i++ {
			d[i] = float64(f(src[i]))
		}
	default:
		panic("tensor.Convert: to " + dst.DType.String())
	}
}
