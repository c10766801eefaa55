package op

import (
	"whit/graph"
	"whit/tensor"
)

// Float is the Go types that float references compute in.
type Float interface{ float32 | float64 }

// Integer is the Go types of whole integers.
type Integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// Number is both.
type Number interface{ Float | Integer }

type ref = func(n *graph.Node, in, out []*tensor.Tensor) error

// float makes a reference for f16, bf16, f32 and f64 from one generic function:
// small floats are widened to f32, computed, and rounded once. The element type
// is the first present input's; other element types than floats pass unchanged.
func float(f32, f64 ref) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		switch d := firstDType(in); {
		case d.IsSmallFloat():
			return viaF32(f32)(n, in, out)
		case d == tensor.Float64:
			return f64(n, in, out)
		default:
			return f32(n, in, out)
		}
	}
}

func firstDType(in []*tensor.Tensor) tensor.DType {
	for _, t := range in {
		if t != nil {
			return t.DType
		}
	}
	return tensor.Invalid
}

// viaF32 runs f on inputs widened to f32 and rounds its f32 outputs once.
func viaF32(f ref) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		win, wout := make([]*tensor.Tensor, len(in)), make([]*tensor.Tensor, len(out))
		for i, t := range in {
			win[i] = t
			if t != nil && t.DType.IsSmallFloat() {
				win[i] = tensor.New(tensor.Float32, t.Shape...)
				tensor.Convert(win[i], t)
			}
		}
		for i, t := range out {
			wout[i] = t
			if t != nil && t.DType.IsSmallFloat() {
				wout[i] = tensor.New(tensor.Float32, t.Shape...)
			}
		}
		if err := f(n, win, wout); err != nil {
			return err
		}
		for i, t := range out {
			if t != nil && wout[i] != t {
				tensor.Convert(t, wout[i])
			}
		}
		return nil
	}
}

// number makes a reference for every number type from the instances of one
// generic function; small floats go through f32. f is called with the element
// type of the first present input.
type numbers struct {
	f32, f64, i8, i16, i32, i64, u8, u16, u32, u64 ref
}

func (r numbers) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	var f ref
	switch d := firstDType(in); d {
	case tensor.Float32:
		f = r.f32
	case tensor.Float64:
		f = r.f64
	case tensor.Int8:
		f = r.i8
	case tensor.Int16:
		f = r.i16
	case tensor.Int32:
		f = r.i32
	case tensor.Int64:
		f = r.i64
	case tensor.Uint8, tensor.Bool:
		f = r.u8
	case tensor.Uint16:
		f = r.u16
	case tensor.Uint32:
		f = r.u32
	case tensor.Uint64:
		f = r.u64
	default:
		if d.IsSmallFloat() {
			f = viaF32(r.f32)
		}
	}
	if f == nil {
		return Unsupported(n, "element type %v", firstDType(in))
	}
	return f(n, in, out)
}
