package op

import (
	"whit/graph"
	"whit/tensor"
)

// The operators on bits of integers, broadcast. BitShift moves X by Y bits in
// attribute direction (LEFT, RIGHT; signed values keep their sign to the right); a
// shift that is negative or as wide as the type leaves the sign to the right, else 0.
func init() {
	reg := func(name string, i func(a, b int64) int64, u func(a, b uint64) uint64) {
		Register(Op{Name: name, Infer: inferBroadcast(2, 2, Integers, tensor.Invalid), Ref: forms{i64: i, u64: u}.ref, Channels: broadcastChannels})
	}
	reg("BitwiseAnd", func(a, b int64) int64 { return a & b }, func(a, b uint64) uint64 { return a & b })
	reg("BitwiseOr", func(a, b int64) int64 { return a | b }, func(a, b uint64) uint64 { return a | b })
	reg("BitwiseXor", func(a, b int64) int64 { return a ^ b }, func(a, b uint64) uint64 { return a ^ b })
	Register(Op{Name: "BitwiseNot", Infer: sameAsOne(Integers), Channels: passChannels,
		Ref: unaryForms{i64: func(x int64) int64 { return ^x }, u64: func(x uint64) uint64 { return ^x }}.ref})
	Register(Op{
		Name: "BitShift", Channels: broadcastChannels,
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if d := n.Str("direction", ""); d != "LEFT" && d != "RIGHT" {
				return nil, Errorf(n, "direction %q, want LEFT or RIGHT", d)
			}
			return inferBroadcast(2, 2, Integers, tensor.Invalid)(n)
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			bits, left := uint64(in[0].DType.Bits()), n.Str("direction", "") == "LEFT"
			return forms{
				i64: func(x, y int64) int64 {
					switch {
					case uint64(y) >= bits && !left: // negative too
						return x >> 63
					case uint64(y) >= bits:
						return 0
					case left:
						return x << y
					}
					return x >> y
				},
				u64: func(x, y uint64) uint64 {
					if left {
						return x << y
					}
					return x >> y
				},
			}.ref(n, in, out)
		},
	})
}
