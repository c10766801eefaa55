// Package op is the table of operators: one file an operator (or a family that
// shares one formula), with type rule, reference, gradient, channel coupling and
// cost side by side.
//
// Unstable: the package may change between releases.
//
// Ref is the specification of every kernel: plain Go, exact semantics of ONNX's
// newest opset (package onnx upgrades older nodes; op knows no versions). Float
// rules: f16, bf16 and narrower compute in f32 and round once; f32 sums in
// float64; integers wrap. Products and sums whose bits matter are written
// float32(x*y)+z, because the compiler fuses them otherwise on some CPUs.
//
//	Infer: types of inputs ▶ types of outputs     Ref: inputs ▶ outputs
//	VJP: grad y ▶ grad x, as nodes               Channels: which channels are one
//
// To add an operator: one file with an init that calls [Register], and one
// case in internal/optest.
package op
