// Package lean keeps the memory of a process small that was asked for it with --memory low.
//
//	start of the program ──▶ Release ──▶ a model is read ──▶ Release ──▶ planned ──▶ Release ──▶ runs
//
// Most of what is resident of a small model's process is the program itself: the initialisation of every
// package touches code and tables all over it, and the system maps their neighbours along. [Release] hands
// such pages back; those that are needed are mapped again when they are touched, from the cache of files.
package lean
