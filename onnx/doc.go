// Package onnx reads and writes ONNX files.
//
// Unstable: the package may change between releases.
//
// All opset versions are handled here: models of opset 7 and later are upgraded
// node by node to one opset, [Opset], so that the rest of whit knows no versions;
// [Write] chooses the lowest opset from 17 on that can say what the graph says.
//
//	file bytes --decode--> names --inline functions, sort, resolve--> values and nodes --upgrade--> graph.Graph
//
// Decoding is by hand on the wire format: big tensors are read straight from the
// file into aligned memory, or not copied at all where the file is in memory and
// they lie aligned there. Nothing is allocated from a count that has not been
// checked against the bytes that remain: beside the tensors, and external data,
// reading allocates at most 256 bytes for each byte of the file, and 32 MiB.
package onnx
