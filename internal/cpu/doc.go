// Package cpu detects what the processor can do. Tests mask features to run
// every kernel variant that the machine has.
//
//	CPUID, XGETBV | the system ──Detect──▶ Features ──And(mask)──▶ internal/kern chooses
//
// It also counts the physical cores that the process may use ([PhysicalCores]).
package cpu
