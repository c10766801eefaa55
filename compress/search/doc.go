// Package search looks for the smallest model within a promise: with training over per-layer
// pruning shared out by a sensitivity scan, the bits of codebooks and the bytes of trained levels; without, over
// a table of ways to hold each layer (mix.go), and for speed over measured milliseconds (fast.go).
//
// Unstable: the package may change between releases.
//
//	scan ▶ prune a rung, fit ▶ ... until the promise breaks ▶ share with fewer and fewer bits ▶ train levels in fewer and fewer bytes
//
// It sees a method.State, which has the training and the choice split; the test
// set does not come near it.
package search
