// Package graph is whit's verified intermediate representation of a network:
// values, nodes, attributes, subgraphs, and edits that keep it valid.
//
// Unstable: the package may change between releases.
//
// There are two graphs. The model graph is always expressible in ONNX (NCHW,
// OIHW, one opset). Compiling clones it; only the clone is bound to shapes,
// folded, fused, quantised and laid out, and only it fills [Value.Type] for
// every value and [Value.Layout]. Operators of whit's own live in the domain
// "whit".
//
//	Graph{Inputs, Nodes (topological order), Outputs}
//	Node{Op, Domain, Attrs, In []*Value, Out []*Value}
//	Value{Kind: input | const | param | state | computed}
//
// The package knows structure only: [Graph.Verify] is structural, and what an
// operator means (types, reference, gradient) is package op's.
package graph
