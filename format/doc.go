// Package format reads and writes .whit files: a network with its compressed
// weights, its model card and what else belongs to it.
//
// Unstable: the package may change between releases; files do not: from release 1.0
// on every reader reads every older file.
//
//	magic, version
//	graph    operators, attributes, interface, how each constant is held
//	names, card, metadata, receipt
//	data     the constants: coded (package entropy), or raw and 64-byte aligned
//	end      checksum of the whole file
//
// Everything stands in chunks with a type, a length and a CRC-32C, or, where it is small,
// in one piece whose texts are coded against samples. docs/format.md specifies every byte.
//
// The reader trusts nothing: counts are checked against the bytes that remain
// before anything is allocated, sizes are checked for overflow, and what it returns
// is a graph that verifies, or an error. The writer reads back what it wrote and
// compares before a file takes its name ([WriteFile], [EncodeNPZFile]).
//
// [Open] reads single constants of a file without the others. [EncodeDelta] makes what
// turns one file into another.
//
// [EncodeArrays] and [DecodeArrays] code named arrays (.npz) in the same container.
package format
