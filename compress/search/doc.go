// Package search looks for the smallest model within a promise: over a table of ways to hold each
// layer (mix.go), for speed over measured milliseconds (fast.go), and, where there are classes to train for, over the bytes
// of levels that are trained (finetune.go).
//
// Unstable: the package may change between releases.
//
//	a table of ways ▶ the best mix within a budget ▶ repair ▶ levels trained in fewer and fewer bytes until the promise breaks
//
// It sees a method.State, which has the training and the choice split; the test
// set does not come near it.
package search
