// Package compress makes a model small: [Run] takes a model graph, its card, data
// and a budget, searches with the methods of its subpackages, writes the best
// model as a .whit file, and measures that file.
//
// The data are split by content hash: methods fit on one part, decide on another,
// and the test part is opened once, after the file is written, for the figures of
// the [Result]:
//
//	train   fit, calibrate      methods see it
//	choice  every decision      methods see it
//	test    the final figures   opened after the last decision
//
// [Compare] is what the test part is opened for: two models sample by sample, the metric with its paired interval, and
// the classes and groups that lose most. [Scan] measures what each layer can bear.
//
// A [Result] holds all that a report needs, and marshals to JSON with "schema": 1.
package compress
