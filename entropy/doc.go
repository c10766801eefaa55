// Package entropy codes arrays of small integers, and of raw elements, without loss.
//
// Unstable: the package may change between releases.
//
// A [Coder] turns a list of [Block] (tensors of signed levels or of indices, 0 the
// most frequent) into bytes and back:
//
//	Raw       fixed width
//	Huffman   a canonical prefix code for each block
//	Relative  Deep Compression: gaps between non-zeros, and two prefix codes
//	RANS      fixed or learned frequencies, four interleaved states: the fastest
//	Context   mixed adaptive contexts and an arithmetic coder: the smallest
//
// Levels of a dependent quantiser ([NextState], [LevelValue]) are symbols too, and Context is told of them.
// [Streams] cuts what is large into parts that decode side by side. [AppendElements]
// codes floats and wide integers, whose bytes it splits into planes, [TextWriter] short
// texts that resemble samples, and [AppendDelta] symbols given older ones. [Cost] says what
// symbols would cost under Context, for those who choose them.
//
// All arithmetic is on integers, tables included, and what runs in assembly is specified
// by the portable Go beside it: floating point would not decode on
// every machine. A code may stand for at most [MaxSymbols] symbols, which decoders
// check before they allocate; they never panic. docs/format.md specifies every code
// bit by bit.
package entropy
