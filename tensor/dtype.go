package tensor

import "fmt"

// DType is an element type. The zero value is Invalid.
type DType uint8

// The element types. Those below one byte are storage only: elements are packed
// low bits first, and a tensor's bytes are rounded up to whole bytes.
const (
	Invalid DType = iota
	Bool
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Float16
	BFloat16
	Float32
	Float64
	Int4
	Uint4
	Int2
	Uint2
	Float8E4M3FN
	Float8E4M3FNUZ
	Float8E5M2
	Float8E5M2FNUZ
	Float8E8M0
	Float4E2M1
	numDTypes
)

// NumDTypes is one more than the largest valid DType.
const NumDTypes = int(numDTypes)

var dtypes = [numDTypes]struct {
	name string
	bits int
}{
	Invalid: {"invalid", 0},
	Bool:    {"bool", 8},
	Int8:    {"int8", 8}, Int16: {"int16", 16}, Int32: {"int32", 32}, Int64: {"int64", 64},
	Uint8: {"uint8", 8}, Uint16: {"uint16", 16}, Uint32: {"uint32", 32}, Uint64: {"uint64", 64},
	Float16: {"float16", 16}, BFloat16: {"bfloat16", 16}, Float32: {"float32", 32}, Float64: {"float64", 64},
	Int4: {"int4", 4}, Uint4: {"uint4", 4}, Int2: {"int2", 2}, Uint2: {"uint2", 2},
	Float8E4M3FN: {"float8e4m3fn", 8}, Float8E4M3FNUZ: {"float8e4m3fnuz", 8},
	Float8E5M2: {"float8e5m2", 8}, Float8E5M2FNUZ: {"float8e5m2fnuz", 8},
	Float8E8M0: {"float8e8m0", 8}, Float4E2M1: {"float4e2m1", 4},
}

// String is the type's lower-case name, for example "float32".
func (d DType) String() string {
	if d < numDTypes {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// ParseDType is the inverse of String.
func ParseDType(s string) (DType, bool) {
	for d := Bool; d < numDTypes; d++ {
		if dtypes[d].name == s {
			return d, true
		}
	}
	return Invalid, false
}

// Bits is the storage size of one element in bits; 0 for Invalid.
func (d DType) Bits() int {
	if d < numDTypes {
		return dtypes[d].bits
	}
	return 0
}

// Packed reports whether elements are smaller than a byte.
func (d DType) Packed() bool { return d.Bits() > 0 && d.Bits() < 8 }

// IsFloat reports whether d is a floating-point type of any width.
func (d DType) IsFloat() bool {
	return d >= Float16 && d <= Float64 || d >= Float8E4M3FN && d < numDTypes
}

// IsSmallFloat reports whether arithmetic on d is done in float32 and rounded
// once: float16, bfloat16 and everything narrower.
func (d DType) IsSmallFloat() bool {
	return d == Float16 || d == BFloat16 || d >= Float8E4M3FN && d < numDTypes
}

// IsInt reports whether d is an integer type of any width (bool is not).
func (d DType) IsInt() bool { return d >= Int8 && d <= Uint64 || d >= Int4 && d <= Uint2 }

// IsSigned reports whether d is a signed integer type.
func (d DType) IsSigned() bool { return d >= Int8 && d <= Int64 || d == Int4 || d == Int2 }
