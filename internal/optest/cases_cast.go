package optest

import (
	"math"

	"whit/tensor"
)

// narrowT makes a tensor of a type narrower than float16 or int8 from its bytes.
func narrowT(d tensor.DType, n int, b ...byte) *tensor.Tensor {
	t := tensor.New(d, n)
	copy(t.Bytes(), b)
	return t
}

func init() {
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	to := func(code int64, kv ...any) map[string]any {
		m := map[string]any{"to": code}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	cast := func(name string, attrs map[string]any, x, want *tensor.Tensor) {
		Add(Case{Name: "cast/" + name, Op: "Cast", Attrs: attrs, F32Only: true, In: in(x), Want: in(want)})
	}
	literal := int64(0)
	x := f(0.47892547, 0.25, 1e6, 1e-7, nan, inf, -inf, float32(math.Copysign(0, -1)), -1e6, 17, 19)
	cast("e4m3fn", to(17), x, narrowT(tensor.Float8E4M3FN, 11, 0x2f, 0x28, 0x7e, 0, 0x7f, 0x7e, 0xfe, 0x80, 0xfe, 0x58, 0x5a))
	cast("e4m3fn/wrap", to(17, "saturate", literal), x, narrowT(tensor.Float8E4M3FN, 11, 0x2f, 0x28, 0x7f, 0, 0x7f, 0x7f, 0xff, 0x80, 0xff, 0x58, 0x5a))
	cast("e4m3fnuz", to(18), x, narrowT(tensor.Float8E4M3FNUZ, 11, 0x37, 0x30, 0x7f, 0, 0x80, 0x7f, 0xff, 0, 0xff, 0x60, 0x62))
	cast("e4m3fnuz/wrap", to(18, "saturate", literal), x, narrowT(tensor.Float8E4M3FNUZ, 11, 0x37, 0x30, 0x80, 0, 0x80, 0x80, 0x80, 0, 0x80, 0x60, 0x62))
	cast("e5m2", to(19), x, narrowT(tensor.Float8E5M2, 11, 0x38, 0x34, 0x7b, 0, 0x7e, 0x7b, 0xfb, 0x80, 0xfb, 0x4c, 0x4d))
	cast("e5m2/wrap", to(19, "saturate", literal), x, narrowT(tensor.Float8E5M2, 11, 0x38, 0x34, 0x7c, 0, 0x7e, 0x7c, 0xfc, 0x80, 0xfc, 0x4c, 0x4d))
	cast("e5m2fnuz", to(20), x, narrowT(tensor.Float8E5M2FNUZ, 11, 0x3c, 0x38, 0x7f, 0, 0x80, 0x7f, 0xff, 0, 0xff, 0x50, 0x51))
	cast("e2m1", to(23), f(0.48, 0.25, 1.05, -3.5, -8, 9, nan, -4, 5), narrowT(tensor.Float4E2M1, 9, 0x01, 0xe2, 0x7f, 0xe8, 0x06))
	cast("e8m0", to(24), f(1, 1.1, 0.7, 0, inf, 1e-40, 6), narrowT(tensor.Float8E8M0, 7, 127, 128, 127, 0, 254, 0, 130))
	cast("e8m0/down", to(24, "round_mode", "down"), f(1, 1.9, 6), narrowT(tensor.Float8E8M0, 3, 127, 127, 129))
	cast("e8m0/nearest", to(24, "round_mode", "nearest", "saturate", literal), f(1.4, 1.5, 6, inf, 0), narrowT(tensor.Float8E8M0, 5, 127, 128, 130, 255, 255))
	cast("e4m3fn/back", to(1), narrowT(tensor.Float8E4M3FN, 6, 0x2f, 0x7e, 0x7f, 0x80, 0x01, 0xfe), f(0.46875, 448, nan, 0, 1.0/512, -448))
	cast("e5m2/back", to(1), narrowT(tensor.Float8E5M2, 5, 0x7b, 0x7c, 0xfc, 0x7d, 0x01), f(57344, inf, -inf, nan, 1.0/65536))
	cast("e4m3fnuz/back", to(1), narrowT(tensor.Float8E4M3FNUZ, 3, 0x7f, 0x80, 0xff), f(240, nan, -240))
	cast("e8m0/back", to(1), narrowT(tensor.Float8E8M0, 3, 127, 130, 255), f(1, 8, nan))
	cast("e2m1/back", to(1), narrowT(tensor.Float4E2M1, 3, 0x71, 0x0e), f(0.5, 6, -4))
	cast("f32i4", to(22), f(-9, -8, -1.5, 7, 8), narrowT(tensor.Int4, 5, 0x87, 0x7f, 0x08))
	cast("i4i8", to(3), narrowT(tensor.Int4, 5, 0x87, 0x7f, 0x08), vec[int8](7, -8, -1, 7, -8))
	cast("u2f32", to(1), narrowT(tensor.Uint2, 5, 0x39, 0x02), f(1, 2, 3, 0, 2))
	cast("i64u2", to(25), i64(1, 2, 3, 4, -1), narrowT(tensor.Uint2, 5, 0x39, 0x03))
	cast("i64e5m2", to(19), i64(3, -1<<40), narrowT(tensor.Float8E5M2, 2, 0x42, 0xfb))
	cast("e5m2i32", to(6), narrowT(tensor.Float8E5M2, 3, 0x42, 0xc5, 0x7d), vec[int32](3, -5, 0))
	cast("e5m2e4m3fn", to(17), narrowT(tensor.Float8E5M2, 2, 0x42, 0x7b), narrowT(tensor.Float8E4M3FN, 2, 0x44, 0x7e))
	cast("f32i16", to(5), f(-1.5, 40000), vec[int16](-1, 32767))
	cast("f32u16", to(4), f(-1.5, 70000), vec[uint16](0, 65535))
	cast("f32u32", to(12), f(-1.5, 7e9), vec[uint32](0, math.MaxUint32))
	cast("f32u64", to(13), f(2.5, 7e20), vec[uint64](2, math.MaxUint64))
	cast("i64bool", to(9), i64(0, -2), vec(false, true))
	cast("u64f64", to(11), vec[uint64](math.MaxUint64), vec(float64(1<<64)))
	cast("u64e5m2", to(19), vec[uint64](math.MaxUint64), narrowT(tensor.Float8E5M2, 1, 0x7b))
	cast("i8i8", to(3), vec[int8](-3), vec[int8](-3))
	cast("u16i32", to(6), vec[uint16](65535), vec[int32](65535))
	cast("u32i64", to(7), vec[uint32](math.MaxUint32), i64(math.MaxUint32))
	cast("i16f16", to(10), vec[int16](-3), vec(tensor.ToF16(-3)))
	cast("e8m0/out", to(24, "saturate", literal), vec(nan, 1e-40), narrowT(tensor.Float8E8M0, 2, 255, 255))
	Add(Case{Name: "cast/intgrad", Op: "Cast", Attrs: to(1), In: in(vec[int32](1)), Want: in(f(1))})
}
