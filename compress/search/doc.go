// Package search looks for the smallest model within a promise: over per-layer
// pruning shared out by a sensitivity scan, and over the bits of codebooks.
//
// Unstable: the package may change between releases.
//
//	scan ▶ prune a rung, fit ▶ ... until the promise breaks ▶ share with fewer and fewer bits
//
// It sees a method.State, which has the training and the choice split; the test
// set does not come near it.
package search
