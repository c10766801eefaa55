// Package plan compiles graphs and runs them.
//
// Unstable: the package may change between releases.
//
//	Program  the cleaned graph, packed constants, variables; shared by everything below
//	Plan     one binding of input shapes: kernels, schedule, arena offsets
//	Session  an arena and the calls into it; one goroutine at a time
//
// A Plan lists steps; each step is a prepared node: phases of tiles. One
// process-wide pool of helpers serves every session: a session takes the helpers
// that are free without waiting, wakes them once per run, and all claim tiles from
// one counter; the session's own goroutine never waits for a tile that nobody has
// claimed. Results do not depend on the number of workers.
//
// Where shapes depend on data a plan ends early and the session plans the rest
// when the data are known.
package plan
