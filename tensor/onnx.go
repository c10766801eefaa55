package tensor

// onnxCodes are the element types in the order of ONNX's TensorProto.DataType;
// Invalid where whit has none (strings, complex numbers, float6).
var onnxCodes = [...]DType{
	1: Float32, 2: Uint8, 3: Int8, 4: Uint16, 5: Int16, 6: Int32, 7: Int64, 9: Bool, 10: Float16, 11: Float64,
	12: Uint32, 13: Uint64, 16: BFloat16, 17: Float8E4M3FN, 18: Float8E4M3FNUZ, 19: Float8E5M2, 20: Float8E5M2FNUZ,
	21: Uint4, 22: Int4, 23: Float4E2M1, 24: Float8E8M0, 25: Uint2, 26: Int2,
}

// FromONNX is the element type of ONNX's number for it (TensorProto.DataType, as
// in Cast's attribute to); Invalid where whit has none.
func FromONNX(code int64) DType {
	if code < 0 || code >= int64(len(onnxCodes)) {
		return Invalid
	}
	return onnxCodes[code]
}

// ONNX is the inverse of FromONNX; 0 (ONNX's UNDEFINED) for Invalid.
func (d DType) ONNX() int64 {
	for code, e := range onnxCodes {
		if e == d && d != Invalid {
			return int64(code)
		}
	}
	return 0
}
