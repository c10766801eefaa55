package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Cast converts elements to the type of attribute to (ONNX's number). Float to
// integer truncates towards zero; ONNX leaves values out of range open: here they
// saturate and NaN is 0, on every CPU. Integer to integer keeps the low bits. To
// bool: nonzero (NaN too) is true. To a float: one rounding to nearest even, then
// infinite where out of range; float8 and narrower as attribute saturate (and, for
// float8e8m0, round_mode) says. CastLike takes the type of its second input.
func init() {
	Register(Op{
		Name: "Cast",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1); err != nil {
				return nil, err
			}
			to := tensor.FromONNX(n.Int("to", 0))
			return inferCast(n, to)
		},
		Ref:      refCast,
		VJP:      vjpCast,
		Channels: castChannels,
	})
	Register(Op{
		Name: "CastLike",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			return inferCast(n, n.In[1].Type.DType)
		},
		Ref:      refCast,
		VJP:      vjpCast,
		Channels: castChannels,
	})
}

func inferCast(n *graph.Node, to tensor.DType) ([]tensor.Type, error) {
	x := n.In[0].Type
	for _, d := range []tensor.DType{x.DType, to} {
		if !castable(d) {
			return nil, Unsupported(n, "%v to %v", x.DType, to)
		}
	}
	if s := n.Int("saturate", 1); s != 0 && s != 1 {
		return nil, Errorf(n, "saturate is %d, want 0 or 1", s)
	}
	switch m := n.Str("round_mode", "up"); m {
	case "up", "down", "nearest":
	default:
		return nil, Errorf(n, "round_mode %q, want up, down or nearest", m)
	}
	return []tensor.Type{{DType: to, Shape: x.Shape}}, nil
}

func refCast(n *graph.Node, in, out []*tensor.Tensor) error {
	castTo(out[0], in[0], castOptions{wrap: n.Int("saturate", 1) == 0, round: n.Str("round_mode", "up")})
	return nil
}

// vjpCast casts the gradient back, between float types.
func vjpCast(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	ds := make([]*graph.Value, len(n.In))
	if wantsGrad(n.In[0]) && dtypeOf(n.In[0]).IsFloat() && dtypeOf(n.Out[0]).IsFloat() {
		ds[0] = g.Add("", "CastLike", nil, grads[0], n.In[0])
	}
	return ds, nil
}

// castChannels is passChannels, but packed elements share bytes: they are storage
// and not pruned.
func castChannels(n *graph.Node) []Coupling {
	if n.In[0].Type.DType.Packed() || n.Out[0].Type.DType.Packed() {
		return nil
	}
	return alignedChannels(0, n.In[0].Type.Shape, n.Out[0].Type.Shape)
}

// castOptions are Cast's attributes: wrap is saturate=0.
type castOptions struct {
	wrap  bool
	round string
}

// castable lists the types that castTo knows: all that there are.
func castable(d tensor.DType) bool { return d != tensor.Invalid && int(d) < tensor.NumDTypes }

func isFullFloat(d tensor.DType) bool { return d >= tensor.Float16 && d <= tensor.Float64 }

// castTo writes src's elements into dst, which has as many.
func castTo(dst, src *tensor.Tensor, o castOptions) {
	switch {
	case dst.DType == src.DType:
		copy(dst.Bytes(), src.Bytes()[:src.NumBytes()])
	case isFullFloat(src.DType) && isFullFloat(dst.DType):
		tensor.Convert(dst, src)
	case isNarrow(src.DType):
		x := narrowFloats(src)
		if isFullFloat(dst.DType) {
			tensor.Convert(dst, tensor.From(x, len(x)))
			return
		}
		fromFloats(dst, x, o)
	case src.DType.IsFloat():
		fromFloats(dst, wide(src), o)
	default:
		fromInts(dst, src, o)
	}
}

// fromFloats converts to integers, bools and narrow floats.
func fromFloats(dst *tensor.Tensor, x []float64, o castOptions) {
	switch dst.DType {
	case tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2:
		// Truncated, then the low bits, as ONNX's cases have it.
		t := tensor.New(tensor.Int64, len(x))
		truncated[int64](t, x, math.MinInt64, math.MaxInt64)
		toPackedInts(dst, vals[int64](t))
	case tensor.Bool:
		d := vals[bool](dst)
		for i, v := range x {
			d[i] = v != 0
		}
	case tensor.Int8:
		truncated[int8](dst, x, math.MinInt8, math.MaxInt8)
	case tensor.Int16:
		truncated[int16](dst, x, math.MinInt16, math.MaxInt16)
	case tensor.Int32:
		truncated[int32](dst, x, math.MinInt32, math.MaxInt32)
	case tensor.Int64:
		truncated[int64](dst, x, math.MinInt64, math.MaxInt64)
	case tensor.Uint8:
		truncated[uint8](dst, x, 0, math.MaxUint8)
	case tensor.Uint16:
		truncated[uint16](dst, x, 0, math.MaxUint16)
	case tensor.Uint32:
		truncated[uint32](dst, x, 0, math.MaxUint32)
	case tensor.Uint64:
		truncated[uint64](dst, x, 0, math.MaxUint64)
	default:
		toNarrow(dst, x, o)
	}
}

func truncated[T Integer](dst *tensor.Tensor, x []float64, lo, hi T) {
	d := vals[T](dst)
	for i, v := range x {
		switch {
		case v != v:
			d[i] = 0
		case v <= float64(lo):
			d[i] = lo
		case v >= float64(hi): // float64(hi) may be hi+1, which is out of range too
			d[i] = hi
		default:
			d[i] = T(v)
		}
	}
}

// fromInts converts from integers and bools.
func fromInts(dst, src *tensor.Tensor, o castOptions) {
	n := src.Len()
	if isNarrow(dst.DType) { // far fewer bits than a float64 has
		f := make([]float64, n)
		for i, v := range ints64(src) {
			if f[i] = float64(v); src.DType == tensor.Uint64 {
				f[i] = float64(uint64(v))
			}
		}
		toNarrow(dst, f, o)
		return
	}
	if src.DType == tensor.Uint64 && dst.DType.IsFloat() {
		x := make([]float64, n)
		for i, v := range vals[uint64](src) {
			if v >= 1<<53 { // keep what rounds away visible to the one rounding that follows
				if dst.DType == tensor.Float64 {
					x[i] = float64(v)
					continue
				}
				if dst.DType == tensor.Float32 {
					x[i] = float64(float32(v))
					continue
				}
				v = sticky(v)
			}
			x[i] = float64(v)
		}
		tensor.Convert(dst, tensor.From(x, n).Reshape(dst.Shape...))
		return
	}
	x := ints64(src)
	switch dst.DType {
	case tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2:
		toPackedInts(dst, x)
	case tensor.Bool:
		d := vals[bool](dst)
		for i, v := range x {
			d[i] = v != 0
		}
	case tensor.Int8, tensor.Uint8:
		cut[uint8](dst, x)
	case tensor.Int16, tensor.Uint16:
		cut[uint16](dst, x)
	case tensor.Int32, tensor.Uint32:
		cut[uint32](dst, x)
	case tensor.Int64, tensor.Uint64:
		cut[uint64](dst, x)
	case tensor.Float32:
		d := vals[float32](dst)
		for i, v := range x {
			d[i] = float32(v)
		}
	case tensor.Float64:
		d := vals[float64](dst)
		for i, v := range x {
			d[i] = float64(v)
		}
	default:
		f := make([]float64, n)
		for i, v := range x {
			u, neg := uint64(v), v < 0
			if neg {
				u = -u
			}
			if u >= 1<<53 {
				u = sticky(u)
			}
			if f[i] = float64(u); neg {
				f[i] = -f[i]
			}
		}
		tensor.Convert(dst, tensor.From(f, n).Reshape(dst.Shape...))
	}
}

// sticky cuts the low 11 bits off and notes in the last bit that stays whether
// they were zero, so that float64 holds it exactly and a later rounding to far
// fewer bits sees on which side of a tie it is.
func sticky(v uint64) uint64 {
	const low = 1<<11 - 1
	if v&low != 0 {
		return v&^low | (low + 1)
	}
	return v
}

// ints64 is the elements of an integer or bool tensor; uint64 keeps its bits.
func ints64(t *tensor.Tensor) []int64 {
	x := make([]int64, t.Len())
	switch t.DType {
	case tensor.Bool:
		for i, v := range vals[bool](t) {
			if v {
				x[i] = 1
			}
		}
	case tensor.Int8:
		widened[int8](x, t)
	case tensor.Int16:
		widened[int16](x, t)
	case tensor.Int32:
		widened[int32](x, t)
	case tensor.Int64:
		widened[int64](x, t)
	case tensor.Uint8:
		widened[uint8](x, t)
	case tensor.Uint16:
		widened[uint16](x, t)
	case tensor.Uint32:
		widened[uint32](x, t)
	case tensor.Uint64:
		widened[uint64](x, t)
	default:
		packedInts(x, t)
	}
	return x
}

func widened[T Integer](x []int64, t *tensor.Tensor) {
	for i, v := range vals[T](t) {
		x[i] = int64(v)
	}
}

func cut[T word](dst *tensor.Tensor, x []int64) {
	d := words[T](dst)
	for i, v := range x {
		d[i] = T(v)
	}
}
