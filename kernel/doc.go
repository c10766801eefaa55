// Package kernel binds (operator, weight encoding, element type, layout) to
// prepared functions on the micro-kernels of internal/kern.
//
// Unstable: the package may change between releases.
//
// A [Kernel] says which nodes it takes ([Kernel.Match]), which layouts it reads
// and writes ([Kernel.Layout]) and prepares a node ([Kernel.Prepare]): constants
// are packed, and the result is a list of phases of tiles. Tiles never depend on
// the number of workers, are disjoint in what they write and should take less
// than 200 µs, at least 8 a phase where the work allows. Where no kernel takes a
// node, [Reference] runs the operator's specification, on one goroutine.
//
//	Match ▶ Layout ▶ (layouts are assigned) ▶ Prepare ▶ Prepared{phases: tile tile tile | tile tile}
//
// To add a kernel: one file with an init that calls [Register].
package kernel
