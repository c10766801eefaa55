// Package whit runs vision networks on a CPU from pure Go: no cgo, no Python, no
// shared library.
//
//	m, err := whit.Open("model.whit", whit.Options{})
//	if err != nil { ... }
//	defer m.Close()
//	x := tensor.New(tensor.Float32, 1, 3, 224, 224)
//	err = m.Preprocess(x, img)
//	out, err := m.Run(ctx, whit.Tensors{"input": x})
//
// A [Model] is immutable and safe for concurrent use. A [Session] is one
// goroutine's: it owns its memory, and allocates nothing after its first run.
// Models are .onnx files (opset 7 and later) and .whit files, told apart by their
// content. A program that only runs models links neither training nor compression.
package whit
