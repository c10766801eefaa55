package weight

import "whit/tensor"

// Weight is a float constant under some encoding. Weights are immutable and may
// be shared by many nodes and goroutines.
type Weight interface {
	// Kind is the encoding's name: "dense", "int8", "sparse", "codebook", ...
	Kind() string
	// Type is the element type and shape that the weight stands for.
	Type() tensor.Type
	// Dense expands the weight into a new tensor of Type; the caller owns it.
	Dense() *tensor.Tensor
	// Bytes is what the encoding holds in memory, in bytes.
	Bytes() int64
}

// Dense is the trivial encoding: the tensor itself.
type Dense struct{ T *tensor.Tensor }

// Kind implements Weight.
func (Dense) Kind() string { return "dense" }

// Type implements Weight.
func (d Dense) Type() tensor.Type { return d.T.Type }

// Dense implements Weight; it copies.
func (d Dense) Dense() *tensor.Tensor { return d.T.Clone() }

// Bytes implements Weight.
func (d Dense) Bytes() int64 { return int64(len(d.T.Bytes())) }
