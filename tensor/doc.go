// Package tensor holds element types, shapes and arrays, and reads and writes
// .npy and .npz files. It computes nothing.
//
// It is part of whit's promised API.
//
// A tensor is a type and bytes:
//
//	Tensor = Type{DType, Shape} + 64-byte-aligned little-endian []byte, row-major
//
// [Of] is the only typed access to the bytes.
package tensor
