// Package modelfile reads and writes models by path: .onnx and .whit, told apart
// by content when reading and by the name's ending when writing, with the model
// card from wherever it stands.
//
//	path ──Load──▶ File{Graph, Card, Sizes} ──Save──▶ path.onnx | path.whit
package modelfile
