// Package optest is the one harness for operators, encodings and kernels (tests
// only). A [Case] names an operator, attributes and inputs; from it the harness
// tests the type rule against the reference's output, literal expectations, every
// kernel on every CPU variant, layout and worker count against the reference, and
// the gradient against float64 finite differences.
//
//	Case ▶ Infer = Ref's types    Ref = want    kernel = Ref    VJP = finite differences
//
// Cases live in this package, one file a family (cases_*.go), each adding to the
// list with Add in an init function. A meta-test fails where a registered operator
// has no case.
package optest
